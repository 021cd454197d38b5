"""The expected alignment: how probable it is that the path visits each cell."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from vlalign_lib._fast import fast
from vlalign_lib._tensors import is_transformed, without_autocast
from vlalign_lib.temporal._checks import as_cost, as_gamma, as_lengths
from vlalign_lib.temporal.soft_dtw import soft_dtw_values


def soft_alignment(
    cost: Tensor, gamma: float = 1.0, *, lengths: Tensor | ArrayLike | None = None
) -> Tensor:
    r"""Return the expected alignment of every cost matrix, itself differentiable.

    .. math::

        E_{ij} = \frac{\partial\, \mathrm{sDTW}_\gamma(\Delta)}{\partial \Delta_{ij}}
        = \sum_\pi p(\pi)\, 1[(i, j) \in \pi], \qquad
        p(\pi) \propto \exp\Bigl(-\frac1\gamma \sum_{(i,j) \in \pi} \Delta_{ij}\Bigr)

    so that each entry is the probability that a path visits the cell. The first and the last
    cell have 1; every row and every column sums to at least 1; all entries together make the
    expected length of the path, from max(n, m) to n + m − 1. A loss may be put on it: its own
    derivative runs the Hessian-vector recursions of soft-DTW, and derivatives of every order
    exist. With γ = 0 it is the one best path, ties going to the diagonal, then down, then right
    (as the path is traced from its end), and its derivative is 0.

    Cells at +inf have 0. A pair whose every path is forbidden has 0 everywhere, a pair with NaN
    (or −inf) has NaN everywhere within its lengths.

    Args:
        cost: (B, n, m) matrices of costs, as for :func:`soft_dtw`.
        gamma: γ ≥ 0, in units of the cost.
        lengths: (B, 2) whole numbers, the true (n, m) of each pair; the alignment is 0 beyond.
            None for full arrays.

    Returns:
        (B, n, m) probabilities, with the dtype and device of ``cost``.

    Raises:
        ValueError: as :func:`soft_dtw`.

    Source:
        Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017,
        algorithm 2; as a layer with its second derivative: Mensch and Blondel, Differentiable
        dynamic programming for structured prediction and attention, ICML 2018.

    Chapter:
        12, From DTW to soft-DTW.

    Example:
        >>> import torch
        >>> cost = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
        >>> soft_alignment(cost, gamma=1.0).round(decimals=3)
        tensor([[[1.0000, 0.2120],
                 [0.2120, 1.0000]]])
        >>> soft_alignment(cost, gamma=0.0)
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    cost = as_cost(cost)
    with without_autocast(cost.device):
        return soft_alignments(cost, as_lengths(lengths, cost), as_gamma(gamma))


@fast("soft_alignment")
def soft_alignments(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    """Return the expected alignments (B, n, m) of checked costs: the gradient of the values."""
    plain = soft_dtw_values.plain  # type: ignore[attr-defined]
    if is_transformed(cost, lengths):
        result: Tensor = torch.func.grad(lambda c: plain(c, lengths, gamma).sum())(cost)
        return result
    further = torch.is_grad_enabled() and cost.requires_grad
    with torch.enable_grad():
        # A new name, so that only what depends on this very input is differentiated.
        c = cost.view_as(cost) if further else cost.detach().requires_grad_()
        values = plain(c, lengths, gamma).sum()
        (expected,) = torch.autograd.grad(values, c, create_graph=further)
        if further and not expected.requires_grad:  # constant: derivatives of every order are 0
            never = torch.zeros_like(c, dtype=torch.bool)
            expected = torch.where(never, c.nan_to_num(0.0, 0.0, 0.0).tanh(), expected)
    return expected
