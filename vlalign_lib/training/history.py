"""Where training stands while it runs, and what it tells afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class FitContext:
    """Where training stands; a loss that has a parameter named ``context`` is given one.

    Args:
        step: the update that this loss is for, counted from 1; in validation the last one made.
        epoch: the pass through the data, counted from 1.
        progress: share of all planned updates that were made before, in [0, 1]; for the strength
            of an adversary or the weight of a margin.
        training: false in validation.
        rng: a numpy generator, seeded, whose state is kept in checkpoints; draw from it (or from
            torch) and a continued run draws the same.

    Chapter:
        06, where an adversary grows stronger as training goes on.

    Example:
        >>> def loss(model, x, y, context):
        ...     return (1 - context.progress) * (model(x) - y).square().mean()
    """

    step: int
    epoch: int
    progress: float
    training: bool
    rng: np.random.Generator


@dataclass
class TrainState:
    """Where the loop stands between two updates; what a checkpoint has to hold of it."""

    step: int = 0
    epoch: int = 1
    summed: float = 0.0  # the losses of this epoch's items so far
    seen: int = 0
    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    best_epoch: int = 0  # 0 where nothing was validated yet
    best: dict[str, Any] | None = None  # the weights of that epoch
    ended: bool = False
    stopped_early: bool = False


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
