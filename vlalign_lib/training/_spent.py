"""What a run has cost, interruptions included."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vlalign_lib._cost import CostMeter
from vlalign_lib.training.distributed import gather_objects


@dataclass
class Spent:
    """Seconds, peaks of this process, and the energy of all processes."""

    seconds: float = 0.0
    joules: float = 0.0
    peak_mb: float | None = None
    peak_gpu_mb: float | None = None


class Purse:
    """Counts from its creation on, and adds what the run had spent up to its checkpoint."""

    def __init__(self, device: torch.device) -> None:
        self.before = Spent()
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._meter = CostMeter(gpu=self._on_gpu)
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats(device)

    @property
    def seconds(self) -> float:
        """Wall-clock time so far."""
        return self.before.seconds + self._meter.read().wall_s

    def spent(self) -> Spent:
        """Return what was spent so far; all processes have to ask together."""
        cost, before = self._meter.read(), self.before
        gpu = torch.cuda.max_memory_allocated(self._device) / 2**20 if self._on_gpu else None
        return Spent(
            before.seconds + cost.wall_s,
            before.joules + sum(gather_objects(cost.joules)),
            max(filter(None, (before.peak_mb, cost.peak_mb)), default=None),
            max(filter(None, (before.peak_gpu_mb, gpu)), default=None),
        )
