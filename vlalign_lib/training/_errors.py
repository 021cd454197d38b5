"""Errors of training that say what to do about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

_ON_CPU = ("can't allocate memory", "not enough memory", "DefaultCPUAllocator")
_ON_GPU = ("CUDA error: out of memory", "CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


@contextmanager
def memory_advice(
    what: str,
    items: int | None = None,
    on_gpu: Sequence[str] = (),
    *,
    otherwise: str = "use a smaller model",
) -> Iterator[None]:
    """Turn running out of memory inside a ``with`` block into advice on what to set.

    Args:
        what: what was to be held, "a step" say.
        items: of the batch, where a smaller one would help; None where its size has no say.
        on_gpu: what else would help, where it is a GPU's memory that is full.
        otherwise: what helps where no smaller batch does.

    Raises:
        MemoryError: the memory did not suffice.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's OutOfMemoryError is a RuntimeError
        text = str(error)
        gpu = isinstance(error, torch.cuda.OutOfMemoryError) or any(w in text for w in _ON_GPU)
        if not (gpu or isinstance(error, MemoryError) or any(w in text for w in _ON_CPU)):
            raise
        half = (items or 1) // 2
        ways = [f"set batch_size={half}" if half else otherwise]
        ways += on_gpu if gpu else ()
        of_items = "" if items is None else f" of {items} items"
        first_line = text.strip().partition("\n")[0] or type(error).__name__
        raise MemoryError(
            f"the {'GPU' if gpu else 'main'} memory does not suffice for {what}{of_items}: "
            f"{', or '.join(ways)} ({first_line})"
        ) from error


def diverged(what: str, value: float, step: int, epoch: int, rate: float) -> FloatingPointError:
    """Return the error for a loss or a gradient that is not a number."""
    return FloatingPointError(
        f"the {what} is {value} at step {step} (epoch {epoch}), with a learning rate of {rate:g}: "
        f"look for NaN in the data; else try learning_rate={rate / 10:g}, a warm-up, or "
        "max_grad_norm=1.0"
    )
