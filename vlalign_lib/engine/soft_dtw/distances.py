"""Distances between the vectors of two sequences, in no more room than the distances take."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from vlalign_lib._fast import plain_of
from vlalign_lib._tensors import is_transformed


def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Return the distances (..., n, m) of vectors (..., n, d) and (..., m, d)."""
    if torch.compiler.is_compiling():
        return _distances(x, y)
    if is_transformed(x, y):
        return NotImplemented
    distances: Tensor = _Distances.apply(x, y)
    return distances


class _Distances(Function):
    """Euclidean distances whose second derivative exists, which that of ``cdist`` does not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(x, y)
        return _distances(x, y)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            # New names, so that only what depends on these very inputs is differentiated.
            x, y = (v.view_as(v) if further else v.detach() for v in ctx.saved_tensors)
            x, y = (v if v.requires_grad else v.requires_grad_() for v in (x, y))
            distances = plain_of("euclidean_cost")(x, y) if further else _distances(x, y)
            return torch.autograd.grad(distances, (x, y), gradient, create_graph=further)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
