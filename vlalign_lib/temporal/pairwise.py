"""S2DTW between all sequences of one batch and all of another, a part of the pairs at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vlalign_lib._tensors import (
    as_number,
    check_choice,
    check_same_device,
    in_full_precision,
    is_transformed,
)
from vlalign_lib._validate import as_whole
from vlalign_lib.temporal._checks import as_gamma, as_sequence_lengths
from vlalign_lib.temporal.s2dtw import s2dtw_values
from vlalign_lib.temporal.sequence_cost import (
    METRICS,
    Metric,
    as_sequences,
    check_widths,
    cost_of,
    prepared,
)

# How many cells to hold at a time: few enough for the caches of a processor and enough to share
# among its threads; a GPU wants more.
CELLS_CPU, CELLS_GPU = 2**20, 2**24


def pairwise_s2dtw(
    x: Tensor,
    y: Tensor,
    gamma: float = 0.1,
    *,
    dummy: float = 0.5,
    smoothing: bool = True,
    weak: bool = True,
    cost: Metric = "shifted_cosine",
    lengths_x: Tensor | ArrayLike | None = None,
    lengths_y: Tensor | ArrayLike | None = None,
    max_cells: int | None = None,
) -> Tensor:
    r"""Return the S2DTW value of every sequence of ``x`` with every sequence of ``y``.

    .. math:: S_{bc} = \mathrm{S2DTW}\bigl(\delta(x_b, y_c)\bigr)

    as :func:`s2dtw` of :func:`sequence_cost`, but the B·C cost matrices are never there at once:
    they are made, aligned and dropped a block of pairs at a time, and made again in the backward
    pass. Memory grows with ``max_cells`` and with B·C numbers, not with B·C matrices. With
    ``smoothing=False, weak=False`` it is plain soft-DTW.

    Args:
        x: (B, n, d) sequences, clips say.
        y: (C, m, d) sequences, captions say.
        gamma: γ ≥ 0, as for :func:`s2dtw`.
        dummy: θ, the cost of a dummy cell.
        smoothing: whether to smooth.
        weak: whether to lay dummies around.
        cost: the ``metric`` of :func:`sequence_cost`.
        lengths_x: (B,) whole numbers, the true length of each sequence of ``x``; what lies
            beyond, NaN included, matters neither to values nor to gradients. None for full ones.
        lengths_y: (C,) the same for ``y``.
        max_cells: how many cells of matrices, dummies included, to hold at a time; None for
            2**20 on a CPU and 2**24 on a GPU. At least one pair is held.

    Returns:
        (B, C) values, in the wider precision of the two; differentiable to every order (from the
        second derivative on without the saving of memory).

    Raises:
        ValueError: as :func:`sequence_cost` and :func:`s2dtw`; ``max_cells`` below 1.

    Source:
        Ko et al., Video-text representation learning via differentiable weak temporal alignment,
        CVPR 2022.

    Chapter:
        13, Weak temporal alignment.

    Example:
        >>> import torch
        >>> clips = torch.eye(4).view(2, 2, 4)
        >>> pairwise_s2dtw(clips, clips, gamma=0.0, smoothing=False).tolist()
        [[-0.5, 1.5], [1.5, -0.5]]
    """
    x, y = as_sequences(x, "x"), as_sequences(y, "y")
    check_choice(cost, "cost", METRICS)
    check_same_device(x, y)
    check_widths(x, y)
    gamma, dummy = as_gamma(gamma), as_number(dummy, "dummy")
    if max_cells is None:
        max_cells = CELLS_CPU if x.device.type == "cpu" else CELLS_GPU
    max_cells = as_whole(max_cells, "max_cells")
    ends_x = as_sequence_lengths(lengths_x, x, "lengths_x")
    ends_y = as_sequence_lengths(lengths_y, y, "lengths_y")
    dtype = torch.promote_types(x.dtype, y.dtype)
    layers = (dummy, smoothing, weak)

    def values(x: Tensor, y: Tensor) -> Tensor:
        x, y = prepared(_without_padding(x, ends_x), _without_padding(y, ends_y), cost)
        return _all_pairs(x, y, ends_x, ends_y, cost, gamma, layers, max_cells)

    return in_full_precision(values, x.to(dtype), y.to(dtype))


def _without_padding(values: Tensor, ends: Tensor | None) -> Tensor:
    if ends is None:
        return values
    valid = torch.arange(values.shape[1], device=values.device) < ends[:, None]
    return torch.where(valid[:, :, None], values, 0.0)


def _all_pairs(
    x: Tensor,
    y: Tensor,
    ends_x: Tensor | None,
    ends_y: Tensor | None,
    metric: Metric,
    gamma: float,
    layers: tuple[float, bool, bool],
    max_cells: int,
) -> Tensor:
    """Return the values (B, C) of prepared sequences (B, n, d) and (C, m, d), block by block.

    A block holds all of ``y`` if they fit, and some of ``x``.
    """
    (size, n, _), (others, m, _) = x.shape, y.shape
    if size == 0 or others == 0:
        return (x.sum() + y.sum()) * x.new_zeros(size, others)
    cells = (2 * n + 1) * (2 * m + 1) if layers[2] else n * m
    c = max(1, min(others, max_cells // cells))
    b = max(1, max_cells // (cells * c))
    if ends_x is None and ends_y is not None:
        ends_x = torch.full((size,), n, device=x.device)
    if ends_y is None and ends_x is not None:
        ends_y = torch.full((others,), m, device=y.device)
    rows = list(zip(x.split(b), _split(ends_x, b, size), strict=True))
    columns = list(zip(y.split(c), _split(ends_y, c, others), strict=True))

    def block(x: Tensor, y: Tensor, ends_x: Tensor | None, ends_y: Tensor | None) -> Tensor:
        flat = cost_of(x.flatten(0, 1), y.flatten(0, 1), metric)
        costs = flat.view(len(x), n, len(y), m).transpose(1, 2).reshape(-1, n, m)
        ends = None
        if ends_x is not None and ends_y is not None:
            ends = torch.cartesian_prod(ends_x, ends_y)
        return s2dtw_values(costs, ends, gamma, *layers).view(len(x), len(y))

    again: Callable[..., Tensor] = block
    if len(rows) * len(columns) > 1 and not is_transformed(x, y, ends_x, ends_y):
        # The matrices of a block are dropped and made again in the backward pass.
        again = partial(checkpoint, block, use_reentrant=False, preserve_rng_state=False)
    lines = [[again(u, v, p, q) for v, q in columns] for u, p in rows]
    return torch.cat([torch.cat(line, 1) for line in lines])


def _split(ends: Tensor | None, size: int, total: int) -> Sequence[Tensor | None]:
    return [None] * -(-total // size) if ends is None else ends.split(size)
