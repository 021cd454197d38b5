"""Soft-DTW: the cost of aligning two sequences, over all their alignments at once."""

from __future__ import annotations

from numpy.typing import ArrayLike
from torch import Tensor, nn

from vlalign_lib._tensors import without_autocast
from vlalign_lib.temporal._autograd import soft_dtw_values
from vlalign_lib.temporal._checks import as_cost, as_gamma, as_lengths


def soft_dtw(
    cost: Tensor, gamma: float = 1.0, *, lengths: Tensor | ArrayLike | None = None
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


class SoftDTW(nn.Module):
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

    def __init__(self, gamma: float = 1.0) -> None:
        super().__init__()
        self.gamma = as_gamma(gamma)

    def forward(self, cost: Tensor, lengths: Tensor | ArrayLike | None = None) -> Tensor:
        """Return the values (B,) of costs (B, n, m); see :func:`soft_dtw`."""
        return soft_dtw(cost, self.gamma, lengths=lengths)

    def extra_repr(self) -> str:
        """Return the settings, as ``print`` shows them."""
        return f"gamma={self.gamma:g}"
