"""Errors of training that say what to do about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_CPU_ALLOCATION = ("can't allocate memory", "not enough memory", "DefaultCPUAllocator")


@contextmanager
def memory_advice(batch_size: int, what: str) -> Iterator[None]:
    """Turn running out of memory inside a ``with`` block into advice on the batch size.

    Raises:
        MemoryError: the memory did not suffice for ``batch_size`` items.
    """
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
        on_gpu = isinstance(error, torch.cuda.OutOfMemoryError)
        if type(error) is RuntimeError and not any(w in str(error) for w in _CPU_ALLOCATION):
            raise
        if not (on_gpu or isinstance(error, MemoryError) or type(error) is RuntimeError):
            raise
        smaller = max(1, batch_size // 2)
        then = f"set batch_size={smaller}" if batch_size > 1 else "use a smaller model"
        if on_gpu:
            then += ', or precision="bf16", or spread the batch over more GPUs with torchrun'
        raise MemoryError(
            f"the {'GPU' if on_gpu else 'main'} memory does not suffice for {what} of "
            f"{batch_size} items: {then} ({str(error).splitlines()[0]})"
        ) from error


def diverged(what: str, value: float, step: int, epoch: int, rate: float) -> FloatingPointError:
    """Return the error for a loss or a gradient that is not a number."""
    return FloatingPointError(
        f"the {what} is {value} at step {step} (epoch {epoch}), with a learning rate of {rate:g}: "
        f"look for NaN in the data; else try learning_rate={rate / 10:g}, a warm-up, or "
        "max_grad_norm=1.0"
    )
