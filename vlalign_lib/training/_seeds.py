"""Randomness that is asked for by name and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vlalign_lib._validate import as_seed


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
    seed = as_seed(seed)
    if seed >= 2**64:
        raise ValueError(f"seed: expected a whole number below 2**64, got {seed}")
    # A GPU that nobody has used yet has no state worth keeping, and asking would start it.
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=gpus):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
