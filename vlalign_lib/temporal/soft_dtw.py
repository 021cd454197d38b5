"""Soft-DTW: the cost of aligning two sequences, over all their alignments at once."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import pad

from vlalign_lib._fast import fast
from vlalign_lib._module import FunctionModule
from vlalign_lib._tensors import without_autocast
from vlalign_lib.temporal._checks import Gamma, as_cost, as_gamma, as_lengths, is_valid

INF = float("inf")


def soft_dtw(
    cost: Tensor, gamma: Gamma = 1.0, *, lengths: Tensor | ArrayLike | None = None
) -> Tensor:
    r"""Return the soft-DTW value of every cost matrix.

    .. math::

        \mathrm{sDTW}_\gamma(\Delta) = -\gamma \log \sum_{\pi} \exp\Bigl(-\frac1\gamma
        \sum_{(i,j) \in \pi} \Delta_{ij}\Bigr) = R_{nm}, \qquad
        R_{ij} = \Delta_{ij} + {\min}^\gamma \{R_{i-1,j-1}, R_{i-1,j}, R_{i,j-1}\}

    over the paths :math:`\pi` from (1, 1) to (n, m) that step right, down or diagonally. With D
    the number of paths (a Delannoy number), the value lies between
    :math:`\mathrm{DTW} - \gamma \log D` and DTW: it may be negative, and two equal sequences do
    not have the value 0. Its gradient is the expected alignment, ``soft_alignment``. Derivatives
    of every order exist; γ = 0 is DTW, whose gradient is its path.

    A cost of +inf forbids a cell; without any path left the value is +inf and the gradient 0.
    A pair with NaN (or −inf) has the value NaN and a gradient of NaN; other pairs are not
    touched.

    Args:
        cost: (B, n, m) matrices of costs, any finite size and sign; float32 or float64 (half
            precision is computed, and returned, in float32). Never written to.
        gamma: γ ≥ 0, in units of the cost: how far from the best a path may be and still count.
        lengths: (B, 2) whole numbers, the true (n, m) of each pair; what lies beyond matters
            neither to the value nor to the gradient, which is 0 there. None for full arrays.

    Returns:
        (B,) values, with the dtype and device of ``cost``.

    Raises:
        ValueError: not a dense floating-point tensor of three axes, sequences of length 0, γ
            negative or not finite, lengths that do not fit (those on a GPU are not looked at,
            since the host would have to wait, but brought into range).

    Source:
        Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017,
        algorithms 1 and 2.

    Chapter:
        12, From DTW to soft-DTW.

    Example:
        >>> import torch
        >>> cost = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> round(soft_dtw(cost, gamma=1.0).item(), 4)  # -log(1 + 2/e): three paths
        -0.5514
        >>> soft_dtw(cost, gamma=0.0).item()
        0.0
    """
    cost = as_cost(cost)
    with without_autocast(cost.device):
        return soft_dtw_values(cost, as_lengths(lengths, cost), as_gamma(gamma))


@fast("soft_dtw")
def soft_dtw_values(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    r"""Return the values (B,) of checked costs (B, n, m), by operations that autograd follows.

    All cells of an anti-diagonal i + j = k depend only on the two anti-diagonals before it, so
    that n + m − 1 steps of whole-tensor operations do for any batch. The anti-diagonals lie in a
    skewed copy of the matrix: row i shifted right by i, one column an anti-diagonal.

    Cells that no path may enter (+inf, beyond the lengths, out of the matrix) have R = +inf. The
    path starts at a virtual cell with R = 0 diagonally before the first one. In a pair with NaN
    (or −inf, for which there is no smallest path) every valid cell becomes NaN. Everything is
    computed in float64: single precision loses three digits at length 500.
    """
    size, n, m = cost.shape
    if size == 0:
        return cost.sum((1, 2))
    # Apple's devices have no float64.
    work = cost.to(torch.float32 if cost.device.type == "mps" else torch.float64)
    if lengths is None:
        lengths = torch.tensor([[n, m]], device=cost.device).expand(size, 2)
    valid = is_valid(lengths, n, m)
    inside = torch.where(valid, work, 0.0)
    broken = (inside.isnan() | inside.isneginf()).flatten(1).any(1)
    # A factor, not a replacement: the gradient is to be NaN as well.
    factor = torch.where(broken, float("nan"), torch.ones_like(inside[:, 0, 0]))[:, None]
    diagonals = _skewed(torch.where(valid, inside * factor[:, None], INF))  # (n + m - 1, B, n)
    rows, last = lengths[:, :1] - 1, lengths.sum(1) - 2
    before = second = torch.full_like(diagonals[0], INF)  # R of the last two anti-diagonals
    values = torch.full_like(before[:, 0], INF)
    for k, delta in enumerate(diagonals):
        diagonal = pad(second[:, :-1], (1, 0), value=INF if k else 0.0)
        above, left = pad(before[:, :-1], (1, 0), value=INF), before
        least = _soft_min(torch.stack([diagonal, above, left]), gamma)
        # Not even NaN opens a cell at +inf.
        before, second = torch.where(delta == INF, INF, delta + least), before
        values = torch.where(last == k, before.gather(1, rows)[:, 0], values)
    values = torch.where(values == INF, INF, values)  # without a path there is no gradient
    return values.to(cost.dtype)


def _soft_min(values: Tensor, gamma: float) -> Tensor:
    """Return the soft minimum over the first axis: +inf, without a gradient, where all are."""
    if gamma == 0:
        return values.gather(0, values.argmin(0, keepdim=True))[0]  # diagonal, above, left
    least = values.detach().amin(0)
    closed = least == INF
    scaled = torch.where(closed, 0.0, (least - values) / gamma)
    return torch.where(closed, INF, least - gamma * scaled.logsumexp(0))


def _skewed(values: Tensor) -> Tensor:
    """Return the anti-diagonals (n + m - 1, B, n) of (B, n, m), row i at place i of each."""
    size, n, m = values.shape
    shifted = pad(values, (0, n), value=INF).flatten(1)[:, :-n]
    return shifted.view(size, n, n + m - 1).permute(2, 0, 1)


class SoftDTW(FunctionModule, function=soft_dtw, inputs=("cost", "lengths")):
    """Compute the soft-DTW value of every cost matrix, as a module.

    Args:
        gamma: γ of :func:`soft_dtw`.

    Chapter:
        12, From DTW to soft-DTW.

    Example:
        >>> import torch
        >>> SoftDTW(gamma=0.0)(torch.ones(2, 3, 4)).tolist()
        [4.0, 4.0]
    """
