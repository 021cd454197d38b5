"""Which implementation of the recursions runs: numba on the CPU, Triton on CUDA, else torch.

All three are modules with the functions of ``_torch``. They are imported at the first call, so
that importing the library stays quick.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Protocol, cast

import torch
from torch import Tensor

from vlalign_lib._tensors import check_choice

State = tuple[Tensor, ...]
NAMES = ("numba", "torch", "triton")


class Backend(Protocol):
    """The recursions on tensors (B, n, m) outside autograd; ``_torch`` documents them."""

    forward: Callable[..., tuple[Tensor, State]]
    alignment: Callable[..., Tensor]
    hessian_product: Callable[..., Tensor]


def backend_for(device: torch.device) -> Backend:
    """Return the implementation for tensors on ``device``.

    The environment variable ``VLALIGN_TEMPORAL_BACKEND`` names one to use instead; the tests
    and the benchmarks do so.

    Raises:
        ValueError: the variable holds another word than ``NAMES``, or numba for a GPU.
    """
    name = os.environ.get("VLALIGN_TEMPORAL_BACKEND")
    if name:
        check_choice(name, "VLALIGN_TEMPORAL_BACKEND", NAMES)
        if name == "numba" and device.type != "cpu":
            raise ValueError(
                f"VLALIGN_TEMPORAL_BACKEND: numba runs on the CPU, and the costs are on {device}"
            )
        return _load(name)
    preferred = {"cpu": "numba", "cuda": "triton"}.get(device.type, "torch")
    return _load_or_torch(preferred)


def _load(name: str) -> Backend:
    return cast(Backend, importlib.import_module(f"vlalign_lib.temporal._{name}"))


@cache
def _load_or_torch(name: str) -> Backend:
    try:
        return _load(name)
    except Exception as error:  # a broken numba raises errors of every kind
        if name == "numba":
            warnings.warn(
                f"numba cannot be used ({type(error).__name__}: {error}): soft-DTW runs in plain "
                "torch, right but many times slower",
                UserWarning,
                stacklevel=2,
            )
        return _load("torch")
