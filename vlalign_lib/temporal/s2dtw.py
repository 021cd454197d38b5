"""S2DTW: locally smoothed soft-DTW that may leave items of either sequence unaligned."""

from __future__ import annotations

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import pad

from vlalign_lib._fast import fast
from vlalign_lib._module import FunctionModule
from vlalign_lib._tensors import as_number, without_autocast
from vlalign_lib.temporal._checks import Gamma, as_cost, as_gamma, as_lengths, is_valid
from vlalign_lib.temporal.soft_dtw import soft_dtw_values
from vlalign_lib.temporal.soft_min import smooth_minimum


def s2dtw(
    cost: Tensor,
    gamma: Gamma = 0.1,
    *,
    dummy: float = 0.5,
    smoothing: bool = True,
    weak: bool = True,
    lengths: Tensor | ArrayLike | None = None,
) -> Tensor:
    r"""Return the S2DTW value of every cost matrix, for sequences that match only in part.

    Three layers, the first two of which can be left out: local smoothing, weak alignment (a
    matrix of (2n + 1) × (2m + 1) cells) and soft-DTW,

    .. math::

        D_{ij} &= \delta_{ij}
            + {\min}^\gamma \{\delta_{i-1,j-1}, \delta_{i-1,j}, \delta_{i,j-1}\}, \\
        W_{2i,\,2j} &= D_{ij}, \quad W_{kl} = \theta \text{ elsewhere}, \\
        \mathrm{S2DTW}(\delta) &= \mathrm{sDTW}_\gamma(W).

    Smoothing lets a good neighbour carry a cell: neighbours outside the matrix have no share, and
    the first cell has three of cost 0 (:math:`D_{11} = \delta_{11} - \gamma \log 3`). A dummy row
    and column lie before, between and behind all items, so that either sequence may skip items,
    start late or end early at θ a cell. Through dummies alone a path costs θ(2n + 2) when n = m,
    so that no matrix costs more than that (as γ → 0).

    Args:
        cost: (B, n, m) matrices of costs δ, any n and m, as for :func:`soft_dtw`. Meant for the
            shifted cosine, −cos in [−1, 1].
        gamma: γ ≥ 0 of both the smoothing and soft-DTW, in units of the cost.
        dummy: θ, the cost of a dummy cell.
        smoothing: whether to smooth; without it D = δ.
        weak: whether to lay dummies around; without them W = D.
        lengths: (B, 2) whole numbers, the true (n, m) of each pair; None for full arrays.

    Returns:
        (B,) values, with the dtype and device of ``cost``; differentiable to every order. +inf
        and NaN are treated as by :func:`soft_dtw`.

    Raises:
        ValueError: as :func:`soft_dtw`; a ``dummy`` that is no finite number.

    Source:
        Ko et al., Video-text representation learning via differentiable weak temporal alignment,
        CVPR 2022, as in the code released with it, for matrices of any shape.

    Chapter:
        13, Weak temporal alignment.

    Example:
        >>> import torch
        >>> unrelated = torch.full((1, 8, 8), 2.0)
        >>> s2dtw(unrelated, gamma=0.0).item()  # dummies all the way, 0.5 * 18
        9.0
        >>> s2dtw(-torch.ones(1, 8, 8), gamma=0.0).item()
        -21.0
    """
    cost = as_cost(cost)
    gamma, dummy = as_gamma(gamma), as_number(dummy, "dummy")
    ends = as_lengths(lengths, cost)
    with without_autocast(cost.device):
        return s2dtw_values(cost, ends, gamma, dummy, smoothing, weak)


def s2dtw_values(
    cost: Tensor, ends: Tensor | None, gamma: float, dummy: float, smoothing: bool, weak: bool
) -> Tensor:
    """Return the values (B,) of checked costs (B, n, m)."""
    if smoothing:
        if ends is not None:  # or NaN beyond the lengths would reach the gradient
            cost = torch.where(is_valid(ends, *cost.shape[1:]), cost, 0.0)
        cost = smoothed(cost, gamma)
    if weak:
        cost = with_dummies(cost, dummy)
        ends = None if ends is None else 2 * ends + 1
    return soft_dtw_values(cost, ends, gamma)


@fast("s2dtw_smoothing")
def smoothed(cost: Tensor, gamma: float) -> Tensor:
    """Return every cost (B, n, m) plus the soft minimum of its three predecessors.

    Predecessors outside the matrix have no share; the first cell has three of cost 0.
    """
    bordered = pad(cost, (1, 0, 1, 0), value=math.inf)
    diagonal, above, left = bordered[:, :-1, :-1], bordered[:, :-1, 1:], bordered[:, 1:, :-1]
    first = torch.zeros(cost.shape[1:], dtype=torch.bool, device=cost.device)
    first[:1, :1] = True
    least = smooth_minimum(torch.stack([diagonal, above, left]), gamma, 0)
    return cost + torch.where(first, -gamma * math.log(3), least)


def with_dummies(cost: Tensor, dummy: float) -> Tensor:
    """Return the matrices (B, 2n + 1, 2m + 1) with ``dummy`` around and between all cells."""
    size, n, m = cost.shape
    wide = cost.new_full((size, 2 * n + 1, 2 * m + 1), dummy)
    wide[:, 1::2, 1::2] = cost
    return wide


class S2DTW(FunctionModule, function=s2dtw, inputs=("cost", "lengths")):
    """Compute the S2DTW value of every cost matrix, as a module.

    Args:
        gamma: γ of :func:`s2dtw`.
        dummy: θ, the cost of a dummy cell.
        smoothing: whether to smooth.
        weak: whether to lay dummies around.

    Chapter:
        13, Weak temporal alignment.

    Example:
        >>> import torch
        >>> round(S2DTW()(-torch.ones(1, 8, 8)).item(), 2)
        -23.31
    """
