"""What a computation costs: time, memory, and an estimate of the energy."""

from __future__ import annotations

import sys
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

WATTS_PER_CORE = 10.0
WATTS_PER_GPU = 250.0
ENERGY_METHOD = (
    f"an estimate, no meter: {WATTS_PER_CORE:g} W for each second of CPU time and "
    f"{WATTS_PER_GPU:g} W for each second of wall-clock time with a GPU"
)
"""How the energy is computed; a laptop core draws 3–15 W under load."""


@dataclass(frozen=True)
class Cost:
    """What one part of a run has cost.

    Args:
        wall_s: seconds of wall-clock time.
        cpu_s: seconds of CPU time, all threads.
        gpu_s: seconds of wall-clock time with a GPU in use.
        peak_mb: largest resident memory in MiB, None where it cannot be read.
    """

    wall_s: float
    cpu_s: float
    gpu_s: float = 0.0
    peak_mb: float | None = None

    @property
    def joules(self) -> float:
        """The estimated energy; see :data:`ENERGY_METHOD`."""
        return WATTS_PER_CORE * self.cpu_s + WATTS_PER_GPU * self.gpu_s


class CostMeter:
    """Counts from its creation on; :meth:`read` gives the cost so far.

    Meters may run inside one another. ``gpu`` says whether a GPU is at work; None looks whether
    the process has touched one.
    """

    _running: ClassVar[weakref.WeakSet[CostMeter]] = weakref.WeakSet()

    def __init__(self, *, gpu: bool | None = None) -> None:
        # On Linux the kernel's high-water mark can be set back to the present size. Meters that
        # are running already take note of it before.
        so_far = peak_memory_mb()
        for meter in CostMeter._running:
            meter._before = max(filter(None, (meter._before, so_far)), default=None)
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._before: float | None = None
        self._gpu = gpu
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        CostMeter._running.add(self)

    def read(self) -> Cost:
        """Return the cost since this meter was made."""
        wall = time.perf_counter() - self._wall
        torch = sys.modules.get("torch")
        touched = torch is not None and torch.cuda.is_initialized()
        on_gpu = touched if self._gpu is None else self._gpu
        return Cost(
            wall_s=round(wall, 3),
            cpu_s=round(time.process_time() - self._cpu, 3),
            gpu_s=round(wall, 3) if on_gpu else 0.0,
            peak_mb=max(filter(None, (self._before, peak_memory_mb())), default=None),
        )


def peak_memory_mb() -> float | None:
    """Return the process's largest resident memory in MiB, None where it cannot be read."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM"))
        return round(int(line.split()[1]) / 1024, 1)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024), 1)
