"""S2DTW between all sequences of one batch and all of another, a part of the pairs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.autograd import Function

from vlalign_lib._tensors import as_number, check_choice, check_same_device, without_autocast
from vlalign_lib.temporal._checks import as_gamma, as_sequence_lengths, is_transformed
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
    if isinstance(max_cells, bool) or not isinstance(max_cells, int) or max_cells < 1:
        raise ValueError(f"max_cells: expected a whole number of at least 1, got {max_cells!r}")
    ends_x = as_sequence_lengths(lengths_x, x, "lengths_x")
    ends_y = as_sequence_lengths(lengths_y, y, "lengths_y")
    dtype = torch.promote_types(x.dtype, y.dtype)
    with without_autocast(x.device):
        x, y = (_without_padding(v.to(dtype), e) for v, e in ((x, ends_x), (y, ends_y)))
        x, y = prepared(x, y, cost)
        pairs = _Pairs(gamma, dummy, smoothing, weak, cost, ends_x, ends_y, max_cells)
        wanted = torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)
        if not wanted or is_transformed(x, y, ends_x, ends_y):
            return pairs.values(x, y)
        values: Tensor = _Blockwise.apply(x, y, pairs)
        return values


def _without_padding(values: Tensor, ends: Tensor | None) -> Tensor:
    if ends is None:
        return values
    valid = torch.arange(values.shape[1], device=values.device) < ends[:, None]
    return torch.where(valid[:, :, None], values, 0.0)


@dataclass(frozen=True)
class _Pairs:
    """The settings, and how to go through all pairs a block at a time."""

    gamma: float
    dummy: float
    smoothing: bool
    weak: bool
    metric: Metric
    ends_x: Tensor | None
    ends_y: Tensor | None
    max_cells: int

    def blocks(self, x: Tensor, y: Tensor) -> Iterator[tuple[slice, slice]]:
        """Yield which sequences to compare: all of ``y`` if they fit, and some of ``x``."""
        n, m = x.shape[1], y.shape[1]
        cells = (2 * n + 1) * (2 * m + 1) if self.weak else n * m
        columns = max(1, min(len(y), self.max_cells // cells))
        rows = max(1, self.max_cells // (cells * columns))
        for row in range(0, len(x), rows):
            for column in range(0, len(y), columns):
                yield slice(row, row + rows), slice(column, column + columns)

    def block(self, x: Tensor, y: Tensor, row: slice, column: slice) -> Tensor:
        """Return the values (b, c) of prepared sequences (b, n, d) and (c, m, d)."""
        (b, n, _), (c, m, _) = x.shape, y.shape
        flat = cost_of(x.flatten(0, 1), y.flatten(0, 1), self.metric)
        costs = flat.view(b, n, c, m).transpose(1, 2).reshape(b * c, n, m)
        ends = None
        if self.ends_x is not None or self.ends_y is not None:
            full = torch.full((1,), n, device=x.device), torch.full((1,), m, device=x.device)
            rows = full[0] if self.ends_x is None else self.ends_x[row]
            columns = full[1] if self.ends_y is None else self.ends_y[column]
            ends = torch.stack(
                [rows[:, None].expand(b, c).flatten(), columns.expand(b, c).flatten()], 1
            )
        layers = (self.dummy, self.smoothing, self.weak)
        return s2dtw_values(costs, ends, self.gamma, *layers).view(b, c)

    def values(self, x: Tensor, y: Tensor) -> Tensor:
        """Return all values (B, C)."""
        if len(x) == 0 or len(y) == 0:
            return (x.sum() + y.sum()) * x.new_zeros(len(x), len(y))
        lines: dict[int, list[Tensor]] = {}
        for row, column in self.blocks(x, y):
            values = self.block(x[row], y[column], row, column)
            lines.setdefault(row.start, []).append(values)
        return torch.cat([torch.cat(line, 1) for line in lines.values()])


class _Blockwise(Function):
    """All pairs, each block of which is computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, pairs: _Pairs) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.pairs = pairs
        return pairs.values(x.detach(), y.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        x, y = ctx.saved_tensors
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            # New names, so that only what depends on these very inputs is differentiated.
            x, y = (v.view_as(v) if further else v.detach() for v in (x, y))
            by_x, by_y = torch.zeros_like(x), torch.zeros_like(y)
            for row, column in ctx.pairs.blocks(x, y):
                inputs = [v if v.requires_grad else v.requires_grad_() for v in (x[row], y[column])]
                values = ctx.pairs.block(*inputs, row, column)
                slopes = torch.autograd.grad(
                    values, inputs, gradient[row, column], create_graph=further
                )
                if further:
                    by_x = by_x.index_put(_rows(row, x), slopes[0], accumulate=True)
                    by_y = by_y.index_put(_rows(column, y), slopes[1], accumulate=True)
                else:
                    by_x[row] += slopes[0]
                    by_y[column] += slopes[1]
        return by_x, by_y, None


def _rows(which: slice, values: Tensor) -> tuple[Tensor]:
    return (torch.arange(*which.indices(len(values)), device=values.device),)
