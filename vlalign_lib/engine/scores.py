"""Sums over all pairs of a batch without keeping all pairs: blocks of rows, gradients by hand.

The scores of B rows with m others are B·m numbers, of which autograd would keep several copies.
Here a block of rows is scored, used and dropped. Up to ``KEEP`` scores are kept for backward,
which saves it a product; above that it scores the blocks again. Small batches and second
derivatives go through the plain formulas, which keep everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlalign_lib._fast import plain_of

BLOCK = {"cpu": 2**19, "cuda": 2**24}  # scores of a block: what a cache holds; enough for a GPU
KEEP = 2**23  # scores
SMALL = 2**18  # scores, below which the plain formula is quicker


def row_blocks(
    rows: int, columns: int, device: torch.device, size: int | None = None
) -> Iterator[slice]:
    """Cut the rows of a matrix of scores into blocks that are scored at once."""
    size = size or max(1, BLOCK.get(device.type, BLOCK["cuda"]) // columns)
    for first in range(0, rows, size):
        yield slice(first, min(first + size, rows))


def _as_tensor(value: float | Tensor, like: Tensor) -> Tensor:
    """Return a number as a tensor, filled in where it lies: a copy to a GPU would be waited for."""
    return value.to(like) if isinstance(value, Tensor) else like.new_full((), value)


def log_partitions(
    u: Tensor,
    v: Tensor,
    scale: float | Tensor,
    columns: str = "all",
    block_size: int | None = None,
) -> Any:
    """Return the logarithms of the sums of exp(z) over rows, columns and each row's own part."""
    if block_size is None and len(u) * len(v) <= SMALL:
        return NotImplemented
    return _LogPartitions.apply(u, v, _as_tensor(scale, u), columns, block_size)


def sigmoid_sums(u: Tensor, v: Tensor, scale: float | Tensor, bias: float | Tensor) -> Any:
    """Return the sums of the logarithms of 1 + exp(−t z) over rows."""
    if len(u) * len(v) <= SMALL:
        return NotImplemented
    return _SigmoidSums.apply(u, v, _as_tensor(scale, u), _as_tensor(bias, u))


def pair_sums(x: Tensor, y: Tensor, labels: Tensor | None, margin: float) -> Tensor:
    """Return half the sum over the texts (B,) of each image of the contrastive loss."""
    labels = torch.arange(len(x), device=x.device) if labels is None else labels
    sums: Tensor = _PairSums.apply(x, y, labels, margin)
    return sums


class _LogPartitions(torch.autograd.Function):
    """The gradient of a sum's logarithm is the share of each score in it."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, v: Tensor, scale: Tensor, columns: str, size: int | None
    ) -> Any:
        ctx.columns, ctx.size, ctx.kept = columns, size, []
        keep = any(ctx.needs_input_grad) and len(u) * len(v) <= KEEP
        over_rows, own = u.new_empty(len(u)), u.new_empty(len(u))
        over_columns = u.new_full((len(v),), 0.0 if columns == "none" else -torch.inf)
        for part, z in _scored(u, v, scale, size):
            mine = _own(z, part, len(u))
            # A score less the logarithm of its share is the sum it has a share in: the shares
            # take one pass and the sum five, and a sum is then never less than its part.
            over_rows[part] = (mine - _own(z.log_softmax(dim=1), part, len(u)))[0]
            own[part] = mine.logsumexp(dim=0)
            if keep:
                ctx.kept.append(z.clone() if columns == "others" else z)
            if columns == "others":
                mine.fill_(-torch.inf)
            if columns != "none":
                torch.logaddexp(over_columns, z.logsumexp(dim=0), out=over_columns)
        ctx.save_for_backward(u, v, scale, over_columns, own)
        return over_rows, over_columns, own

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        u, v, scale, over_columns, own = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants second derivatives
            return *differentiable("log_partitions", (u, v, scale), grads, ctx.columns), None, None
        for_rows, for_columns, for_own = grads
        du, dv = torch.empty_like(u), torch.zeros_like(v)
        for part, z in _scored(u, v, scale, ctx.size, ctx.kept):
            share = z.softmax(dim=1).mul_(for_rows[part, None])  # (b, m)
            mine = _own(share, part, len(u))
            mine += (_own(z, part, len(u)) - own[part]).exp_() * for_own[part]
            if ctx.columns != "none":
                down = (z - over_columns).exp_()
                if ctx.columns == "others":
                    _own(down, part, len(u)).fill_(0)
                share.addcmul_(down, for_columns)
            torch.mm(share, v, out=du[part])
            dv.addmm_(share.T, u[part])
        ctx.kept = []
        return scale * du, scale * dv, (u * du).sum(), None, None


class _SigmoidSums(torch.autograd.Function):
    """The derivative of log(1 + exp(z)) is the sigmoid of z."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        ctx.kept = []
        keep = any(ctx.needs_input_grad) and len(u) * len(v) <= KEEP
        sums = u.new_empty(len(u))
        for part, z in _scored(u, v, scale, None):
            z += bias
            _own(z, part, len(u)).neg_()
            sums[part] = F.softplus(z, threshold=50).sum(dim=1)
            if keep:
                ctx.kept.append(z)
        ctx.save_for_backward(u, v, scale, bias)
        return sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        u, v, scale, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return differentiable("sigmoid_sums", (u, v, scale, bias), grads)
        du, dv, dbias = torch.empty_like(u), torch.zeros_like(v), torch.zeros_like(bias)
        for part, z in _scored(u, v, scale, None, ctx.kept):
            if not ctx.kept:
                z += bias
                _own(z, part, len(u)).neg_()
            slope = z.sigmoid().mul_(grads[0][part, None])
            _own(slope, part, len(u)).neg_()
            torch.mm(slope, v, out=du[part])
            dv.addmm_(slope.T, u[part])
            dbias += slope.sum()
        ctx.kept = []
        return scale * du, scale * dv, (u * du).sum(), dbias


class _PairSums(torch.autograd.Function):
    """Half the sum over the texts (B,), block by block; the gradient is two products.

    With h half a term of the sum, :math:`w = dh / d(d^2)` is 1/2 within a class and
    :math:`-[m - d]_+ / 2d` between classes, and the gradient of h with respect to the image is
    2w times the difference of the two.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, labels: Tensor, margin: float) -> Tensor:
        ctx.margin, ctx.kept = margin, []
        ctx.save_for_backward(x, y, labels)
        sums = x.new_empty(len(x))
        for part in row_blocks(len(x), len(y), x.device):
            d = _distances(x[part], y)
            if len(x) * len(y) <= KEEP:
                ctx.kept.append(d)
            same = labels[part, None] == labels
            sums[part] = torch.where(same, d, (margin - d).clamp(min=0)).square().sum(dim=1) / 2
        return sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, y, labels = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants second derivatives
            return *differentiable("pair_sums", (x, y), grads, labels, ctx.margin), None, None
        (grad,) = grads
        dx, dy = torch.empty_like(x), torch.zeros_like(y)
        for i, part in enumerate(row_blocks(len(x), len(y), x.device)):
            d = ctx.kept[i] if ctx.kept else _distances(x[part], y)
            same = labels[part, None] == labels
            push = (d - ctx.margin).clamp(max=0) / torch.where(d == 0, 1, d)
            pull = torch.where(same, 1, push * (d != 0)) * grad[part, None]  # (b, B)
            torch.sub(pull.sum(dim=1, keepdim=True) * x[part], pull @ y, out=dx[part])
            dy += pull.sum(dim=0)[:, None] * y - pull.T @ x[part]
        ctx.kept = []
        return dx, dy, None, None


def _scored(
    u: Tensor, v: Tensor, scale: Tensor, size: int | None, kept: list[Tensor] | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Give the scores block by block: those that were kept, or new ones."""
    for i, part in enumerate(row_blocks(len(u), len(v), u.device, size)):
        yield part, kept[i] if kept else (scale * u[part]) @ v.T


def _own(z: Tensor, part: slice, rows: int) -> Tensor:
    """Return the scores of the rows in ``part`` with their own columns, a view (K, b)."""
    each = z.shape[1] // rows
    columns = z[:, part.start * each : part.stop * each]
    return columns.unflatten(1, (part.stop - part.start, each)).diagonal(dim1=0, dim2=1)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Return the Euclidean distances (b, B) of rows, from their differences."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def differentiable(
    name: str, inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...], *rest: Any
) -> tuple[Tensor | None, ...]:
    """Return the gradients through the plain function, so that they can be differentiated."""
    outputs = plain_of(name)(*inputs, *rest)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    live = [i for i, output in enumerate(outputs) if output.requires_grad]
    wanted = [each for each in inputs if each.requires_grad]
    slopes = torch.autograd.grad(
        [outputs[i] for i in live], wanted, [grads[i] for i in live], create_graph=True
    )
    found = iter(slopes)
    return tuple(next(found) if each.requires_grad else None for each in inputs)
