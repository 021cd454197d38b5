"""What a training run tells afterwards."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class History:
    """What happened during training.

    Args:
        train_loss: mean loss over the items of each epoch, as the weights moved.
        validation_loss: loss after each epoch; empty where no validation data was given.
        best_epoch: the epoch, counted from 1, whose weights the model holds now.
        stopped_early: whether the patience ran out.
        steps: updates of the weights.
        seconds: wall-clock time, that of interrupted runs up to their checkpoints included.
        device: where it ran.
        peak_memory_mb: largest resident memory of the process in MiB, None where it cannot be
            read.
        peak_gpu_mb: largest memory of tensors on the GPU in MiB, None without one.
        energy_joules: over all processes; an estimate from CPU time and from wall-clock time on a
            GPU, as the ledger's, no meter.
        processes: how many trained together.

    Chapter:
        02, where the first model is trained.

    Example:
        >>> History((2.0, 1.0), (), 2, False, 10, 0.1, "cpu").train_loss[-1]
        1.0
    """

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    best_epoch: int
    stopped_early: bool
    steps: int
    seconds: float
    device: str
    peak_memory_mb: float | None = None
    peak_gpu_mb: float | None = None
    energy_joules: float = 0.0
    processes: int = 1
