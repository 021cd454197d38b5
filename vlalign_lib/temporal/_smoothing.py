"""The first two layers of S2DTW: local smoothing, and the dummy cells."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import pad

from vlalign_lib.temporal._checks import is_transformed
from vlalign_lib.temporal.soft_min import smooth_minimum


def smoothed(cost: Tensor, gamma: float) -> Tensor:
    """Return every cost (B, n, m) plus the soft minimum of its three predecessors.

    Predecessors outside the matrix have no share; the first cell has three of cost 0.
    """
    if gamma == 0 or is_transformed(cost):
        return _smoothed_plainly(cost, gamma)
    result: Tensor = _Smoothing.apply(cost, gamma)
    return result


def with_dummies(cost: Tensor, dummy: float) -> Tensor:
    """Return the matrices (B, 2n + 1, 2m + 1) with ``dummy`` around and between all cells."""
    size, n, m = cost.shape
    wide = cost.new_full((size, 2 * n + 1, 2 * m + 1), dummy)
    wide[:, 1::2, 1::2] = cost
    return wide


def _smoothed_plainly(cost: Tensor, gamma: float) -> Tensor:
    """Return the same by operations that autograd follows to any order."""
    neighbours = torch.stack(_predecessors(pad(cost, (1, 0, 1, 0), value=math.inf)))
    first = torch.zeros(cost.shape[1:], dtype=torch.bool, device=cost.device)
    first[:1, :1] = True
    least = smooth_minimum(neighbours, gamma, 0)
    return cost + torch.where(first, -gamma * math.log(3), least)


class _Smoothing(Function):
    """The same with its gradient in closed form, in half the time.

    +inf is replaced by the largest number where two would be subtracted: a cell without open
    predecessors then comes out at +inf, with weights of 0, and NaN stays NaN.
    """

    @staticmethod
    def forward(ctx: Any, cost: Tensor, gamma: float) -> Tensor:
        neighbours = _predecessors(_bordered(cost, gamma))
        least = torch.minimum(torch.minimum(*neighbours[:2]), neighbours[2])
        total = _weights(least, neighbours, gamma)
        share = total[0].add_(total[1]).add_(total[2]).log_().mul_(gamma)
        soft = _finite(least).sub_(share)
        ctx.save_for_backward(cost, soft)
        ctx.gamma = gamma
        return cost + soft

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        cost, soft = ctx.saved_tensors
        if torch.is_grad_enabled():
            # A new name, so that only what depends on this very input is differentiated.
            cost = cost.view_as(cost)
            plain = _smoothed_plainly(cost, ctx.gamma)
            return torch.autograd.grad(plain, cost, gradient, create_graph=True)[0], None
        neighbours = _predecessors(_bordered(cost, ctx.gamma))
        diagonal, above, left = _weights(soft, neighbours, ctx.gamma)
        total = gradient.clone(memory_format=torch.contiguous_format)
        total[:, :-1, :-1] += diagonal.mul_(gradient)[:, 1:, 1:]
        total[:, :-1] += above.mul_(gradient)[:, 1:]
        total[:, :, :-1] += left.mul_(gradient)[:, :, 1:]
        return total, None


def _bordered(cost: Tensor, gamma: float) -> Tensor:
    """Return costs with a row above and a column to the left, closed but for the corner.

    Only the first cell looks at the corner: it stands for three of cost 0.
    """
    bordered = pad(cost, (1, 0, 1, 0), value=math.inf)
    bordered[:, 0, 0] = -gamma * math.log(3)
    return bordered


def _predecessors(bordered: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what every cell sees diagonally, above and to the left."""
    return bordered[:, :-1, :-1], bordered[:, :-1, 1:], bordered[:, 1:, :-1]


def _weights(least: Tensor, values: tuple[Tensor, ...], gamma: float) -> list[Tensor]:
    """Return exp((least − value) / γ) of each of the values."""
    least = _finite(least)
    # In single precision the smallest γ would be 0.
    gamma = max(gamma, torch.finfo(least.dtype).tiny)
    return [(least - value).div_(gamma).exp_() for value in values]


def _finite(values: Tensor) -> Tensor:
    return values.clamp(max=torch.finfo(values.dtype).max)
