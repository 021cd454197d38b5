"""Dynamic time warping: the cheapest alignment of two sequences."""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from vlalign_lib._tensors import is_transformed, without_autocast
from vlalign_lib.temporal._checks import as_cost, as_lengths
from vlalign_lib.temporal.soft_alignment import soft_alignments
from vlalign_lib.temporal.soft_dtw import soft_dtw_values


def dtw(cost: Tensor, *, lengths: Tensor | ArrayLike | None = None) -> tuple[Tensor, list[Tensor]]:
    r"""Return the cost of the cheapest path through every matrix, and that path.

    .. math::

        \mathrm{DTW}(\Delta) = \min_\pi \sum_{(i,j) \in \pi} \Delta_{ij} = R_{nm}, \qquad
        R_{ij} = \Delta_{ij} + \min \{R_{i-1,j-1}, R_{i-1,j}, R_{i,j-1}\}

    over the paths :math:`\pi` from (1, 1) to (n, m) that step right, down or diagonally. Of equal
    predecessors the path comes from the diagonal one, else from above, else from the left. The
    gradient of the value is 1 along the path and 0 elsewhere.

    Args:
        cost: (B, n, m) matrices of costs, as for :func:`soft_dtw`; +inf forbids a cell.
        lengths: (B, 2) whole numbers, the true (n, m) of each pair; None for full arrays.

    Returns:
        The values (B,), and a list of B paths, int64 tensors (L, 2) of rows i and columns j from
        (0, 0) on. Where every path is forbidden the value is +inf, where NaN is in the matrix it
        is NaN; the path is then empty, (0, 2).

    Raises:
        ValueError: as :func:`soft_dtw`.

    Source:
        Sakoe and Chiba, Dynamic programming algorithm optimization for spoken word recognition,
        IEEE Trans. Acoustics, Speech and Signal Processing 26, 1978.

    Chapter:
        12, From DTW to soft-DTW.

    Example:
        >>> import torch
        >>> cost = torch.tensor([[[0.0, 0.1, 1.0], [1.0, 0.1, 0.0]]])
        >>> values, paths = dtw(cost)
        >>> round(values.item(), 4)
        0.1
        >>> paths[0].tolist()
        [[0, 0], [0, 1], [1, 2]]
    """
    cost = as_cost(cost)
    ends = as_lengths(lengths, cost)
    if not torch.compiler.is_compiling() and is_transformed(cost, ends):
        raise RuntimeError(
            "dtw returns paths of different lengths, which torch.func cannot follow; "
            "soft_dtw(cost, 0.0) has the same values"
        )
    with without_autocast(cost.device):
        values = soft_dtw_values(cost, ends, 0.0)
        visited = soft_alignments(cost.detach(), ends, 0.0)
    # Row by row is the order of the path, since it never goes back.
    return values, [(matrix == 1).nonzero() for matrix in visited]
