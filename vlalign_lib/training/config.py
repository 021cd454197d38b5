"""The settings of a training run, and what they name: learning rates, a device, seeds."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch

from vlalign_lib._validate import as_flag, as_number, as_seed, as_whole, check_choice

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
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or "None" not in str(field.type):
                # Numbers of numpy become plain ones, so that nothing else has to know of them.
                object.__setattr__(self, field.name, _RULES[field.name](value, field.name))
        if self.warmup_start > 1:
            raise ValueError(
                f"warmup_start: expected a share between 0 and 1, got {self.warmup_start}"
            )
        for name in ("tensorboard", "checkpoint_every", "log_every"):
            if getattr(self, name) and self.folder is None:
                raise ValueError(f"{name}: needs a folder to write to; pass folder=…")

    def settings(self) -> dict[str, Any]:
        """Return the fields that the numbers depend on, as JSON would hold them.

        A run is continued only under the same ones; device, folder and what is shown may differ.
        """
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _FREE}


def as_torch_seed(seed: Any, name: str = "seed") -> int:
    """Return a seed that torch takes, or raise a ValueError."""
    seed = as_seed(seed, name)
    if seed >= 2**64:
        raise ValueError(f"{name}: expected a whole number below 2**64, got {seed}")
    return seed


def _instance(of: Any, what: str) -> Callable[[Any, str], Any]:
    """Return a rule that lets instances of some classes through."""

    def rule(value: Any, name: str) -> Any:
        if not isinstance(value, of):
            raise ValueError(f"{name}: expected {what}, got {value!r}")
        return value

    return rule


_WHOLE = ("epochs", "batch_size", "patience", "checkpoint_every", "log_every")
_ABOVE_0 = ("learning_rate", "max_grad_norm", "timeout")
_FLAGS = ("progress", "drop_last", "resume", "tensorboard")
_RULES: dict[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(_WHOLE, as_whole),
    **dict.fromkeys(_ABOVE_0, partial(as_number, above=0)),
    **dict.fromkeys(_FLAGS, as_flag),
    "weight_decay": partial(as_number, low=0),
    "seed": as_torch_seed,
    "device": _instance(str, 'a name such as "cpu" or "auto"'),
    "schedule": partial(check_choice, choices=("constant", "cosine")),
    "warmup": partial(as_whole, least=0),
    "warmup_start": partial(as_number, low=0),
    "precision": partial(check_choice, choices=("auto", "float32", "bf16", "fp16")),
    "folder": _instance(str | os.PathLike, "a path or None"),
}


def warmup_cosine(step: int, total: int, *, warmup: int = 0, start: float = 0.0) -> float:
    r"""Return the share of the learning rate that a step uses: up in a line, down in a cosine.

    .. math::
        f(t) = \begin{cases}
            f_0 + (1 - f_0)\, t / T_w & t < T_w \\
            \tfrac{1}{2} \big(1 + \cos \pi \tfrac{t - T_w}{T - T_w}\big) & T_w \le t \le T
        \end{cases}

    Args:
        step: t, the number of updates that were made before; in [0, T].
        total: T, the number of updates of the whole training.
        warmup: :math:`T_w`, the steps of the line; 0 begins at the top.
        start: :math:`f_0`, the share at the very first step, in [0, 1].

    Returns:
        A factor between 0 and 1.

    Raises:
        ValueError: a step outside [0, T], a warm-up longer than T, a share outside [0, 1].

    Chapter:
        13, where weak temporal alignment is trained.

    Example:
        >>> [warmup_cosine(t, 8, warmup=4, start=0.01) for t in (0, 4, 8)]
        [0.01, 1.0, 0.0]
    """
    _check_steps(step, total, warmup, start)
    if step < warmup:
        return warmup_constant(step, total, warmup=warmup, start=start)
    if total == warmup:
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def warmup_constant(step: int, total: int, *, warmup: int = 0, start: float = 0.0) -> float:
    r"""Return the share of the learning rate that a step uses: up in a line, then constant.

    .. math:: f(t) = \min\big(1,\; f_0 + (1 - f_0)\, t / T_w\big)

    Args:
        step: t, the number of updates that were made before; in [0, T].
        total: T, the number of updates of the whole training.
        warmup: :math:`T_w`, the steps of the line; 0 gives 1 throughout.
        start: :math:`f_0`, the share at the very first step, in [0, 1].

    Returns:
        A factor between 0 and 1.

    Raises:
        ValueError: a step outside [0, T], a warm-up longer than T, a share outside [0, 1].

    Chapter:
        13, where weak temporal alignment is trained.

    Example:
        >>> [warmup_constant(t, 8, warmup=4) for t in (0, 2, 4, 8)]
        [0.0, 0.5, 1.0, 1.0]
    """
    _check_steps(step, total, warmup, start)
    if step >= warmup:
        return 1.0
    return start + (1.0 - start) * step / warmup


def _check_steps(step: int, total: int, warmup: int, start: float) -> None:
    if not 0 <= step <= total:
        raise ValueError(f"step: expected 0 to {total}, the number of all steps, got {step!r}")
    if not 0 <= warmup <= total:
        raise ValueError(
            f"warmup: {warmup!r} steps, but training has {total}; use fewer, or more epochs"
        )
    if not 0 <= as_number(start, "start") <= 1:
        raise ValueError(f"start: expected a share between 0 and 1, got {start!r}")


def as_device(name: str) -> torch.device:
    """Return the device of a name; "auto" is a GPU where there is one.

    Raises:
        ValueError: no device that torch knows, or none that is there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device: {name!r} cannot be used here, with {torch.cuda.device_count()} CUDA devices; "
            f'use "cpu", or "auto" for what there is ({str(error).partition(chr(10))[0]})'
        ) from error
    if device.type == "cuda":
        # Read when the first matrix product runs on the GPU; without it that one may vary.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return device


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Seed torch inside a ``with`` block, and put its random state back afterwards.

    Modules draw their initial weights from torch's global generator. Building them in here, on
    the CPU, gives the same weights on every device.

    Args:
        seed: a whole number of at least 0.

    Yields:
        A generator of its own, seeded alike, for what takes one.

    Raises:
        ValueError: a seed below 0 or from 2**64 on, or no whole number.

    Chapter:
        02, where the first model is trained.

    Example:
        >>> with seeded(0):
        ...     first = torch.rand(1)
        >>> with seeded(0):
        ...     bool(first == torch.rand(1))
        True
    """
    seed = as_torch_seed(seed)
    # A GPU that nobody has used yet has no state worth keeping, and asking would start it.
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


@contextmanager
def reproducible(seed: int, rank: int, device: torch.device) -> Iterator[np.random.Generator]:
    """Seed all that a loss or a model may draw from, each process differently; put it back after.

    A GPU adds numbers in the same order every time in here, as the CPU does anyway; operations
    that cannot only warn. A default device other than the CPU becomes the one of the run.
    """
    own = seed
    if rank:
        own = int(np.random.SeedSequence([seed, rank]).generate_state(1, np.uint64)[0])
    on_gpu, before = device.type == "cuda", random.getstate()
    deterministic = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    default = nullcontext() if torch.get_default_device().type == "cpu" else device
    with seeded(own), default:
        random.seed(own)
        if on_gpu:
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield np.random.default_rng([seed, rank])
        finally:
            random.setstate(before)
            if on_gpu:
                torch.use_deterministic_algorithms(deterministic, warn_only=only_warns)
