"""Where to compute, and the same bits there every time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vlalign_lib.training.distributed import own_gpu


def as_device(name: str) -> torch.device:
    """Return the device that a configuration names; "auto" is a GPU where there is one.

    Raises:
        ValueError: no name, no device that torch knows, or none that is there.
    """
    if not isinstance(name, str):
        raise ValueError(f'device: expected a name such as "cpu" or "auto", got {name!r}')
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        name = f"cuda:{own_gpu()}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device: {name!r} is no device torch knows ({error})") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError('device: no CUDA device here; use "cpu", or "auto" for what there is')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device: {name!r} asked for, but there are {torch.cuda.device_count()} CUDA devices, "
            'counted from 0; use one of them, or "auto"'
        )
    if device.type == "cuda":
        # Read when the first matrix product runs on the GPU; without it that one may vary.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f'device: {name!r} cannot be used here; use "cpu" or "auto"') from error
    return device


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Let a GPU add numbers in the same order every time inside a ``with`` block.

    The CPU does so by itself. Operations that cannot only warn.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warns)
