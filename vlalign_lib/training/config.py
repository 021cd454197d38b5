"""Everything about a training run that is a plain value."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from vlalign_lib._validate import as_seed, is_one_of
from vlalign_lib.training._checks import check_whole, is_real

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("auto", "float32", "bf16", "fp16")

# What may differ when a run is continued, because no number depends on it.
_FREE = frozenset(
    ("device", "progress", "folder", "resume", "checkpoint_every", "log_every", "tensorboard")
) | {"timeout"}


@dataclass(frozen=True)
class FitConfig:
    """How long, how fast, from which seed and where a model is trained.

    Args:
        epochs: passes through the training data.
        batch_size: items a step, over all processes together; None takes all of them at once.
            The last batch of an epoch is smaller where the size does not divide the number of
            items (see ``drop_last``). A sampler of your own decides instead.
        learning_rate: AdamW's step size; with a schedule the largest one.
        weight_decay: AdamW's decoupled weight decay.
        patience: epochs without a lower validation loss after which training stops; None never
            stops early.
        seed: of the order of the items and of whatever the loss or the model draws.
        device: ``"cpu"``, ``"cuda"``, …, or ``"auto"`` for a GPU where there is one.
        progress: whether to show a bar with the loss and the time left.
        drop_last: whether to leave out the incomplete last batch of an epoch.
        schedule: ``"constant"`` or ``"cosine"``, which falls to 0 at the last step; see
            :func:`warmup_cosine`.
        warmup: steps over which the rate grows linearly at the beginning.
        warmup_start: share of ``learning_rate`` at the first of them, in [0, 1].
        max_grad_norm: the gradient's Euclidean length over all weights is cut down to this;
            None leaves it.
        precision: ``"float32"``; ``"bf16"`` or ``"fp16"`` for the modules' arithmetic in training
            (losses and validation stay in float32, and fp16 scales the loss); ``"auto"`` is bf16
            on a GPU that has it and float32 elsewhere, which pays with large encoders.
        folder: where checkpoints and the log of this one run go; None keeps all in memory.
        resume: whether to continue what ``folder`` holds; False starts anew.
        checkpoint_every: steps between checkpoints, besides those at the end of every epoch;
            None leaves it at those.
        log_every: steps between lines of the log, besides those of every epoch.
        tensorboard: whether to write the log for TensorBoard too; needs ``folder``.
        timeout: seconds after which a process gives up waiting for the others.

    Raises:
        ValueError: a number or a word that makes no sense; the text names it.

    Chapter:
        02, where the first model is trained.

    Example:
        >>> FitConfig(epochs=5).batch_size
        64
    """

    epochs: int = 100
    batch_size: int | None = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    patience: int | None = None
    seed: int = 0
    device: str = "auto"
    progress: bool = True
    drop_last: bool = False
    schedule: str = "constant"
    warmup: int = 0
    warmup_start: float = 0.0
    max_grad_norm: float | None = None
    precision: str = "float32"
    folder: str | os.PathLike[str] | None = None
    resume: bool = True
    checkpoint_every: int | None = None
    log_every: int | None = None
    tensorboard: bool = False
    timeout: float = 600.0

    def __post_init__(self) -> None:
        optional = ("batch_size", "patience", "checkpoint_every", "log_every")
        for name in ("epochs", *optional):
            if name == "epochs" or getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        check_whole("warmup", self.warmup, 0)
        for name in ("learning_rate", "timeout", "max_grad_norm"):
            value = getattr(self, name)
            if name == "max_grad_norm" and value is None:
                continue
            if not (is_real(value) and value > 0):
                raise ValueError(f"{name}: expected a number above 0, got {value!r}")
        if not (is_real(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(
                f"weight_decay: expected a number of at least 0, got {self.weight_decay!r}"
            )
        if not (is_real(self.warmup_start) and 0 <= self.warmup_start <= 1):
            raise ValueError(
                f"warmup_start: expected a share of the learning rate between 0 and 1, "
                f"got {self.warmup_start!r}"
            )
        as_seed(self.seed)
        for name, words in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if not is_one_of(getattr(self, name), words):
                shown = ", ".join(f'"{word}"' for word in words)
                raise ValueError(f"{name}: expected one of {shown}, got {getattr(self, name)!r}")
        for name in ("progress", "drop_last", "resume", "tensorboard"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name}: expected True or False, got {getattr(self, name)!r}")
        if self.folder is not None and not isinstance(self.folder, str | os.PathLike):
            raise ValueError(f"folder: expected a path or None, got {self.folder!r}")
        for name in ("tensorboard", "checkpoint_every", "log_every"):
            if getattr(self, name) and self.folder is None:
                raise ValueError(f"{name}: needs a folder to write to; pass folder=…")

    def settings(self) -> dict[str, Any]:
        """Return the fields that the numbers depend on, as JSON would hold them.

        A run is continued only under the same ones; device, folder and what is shown may differ.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _FREE}
        return {k: v.item() if isinstance(v, np.generic) else v for k, v in values.items()}
