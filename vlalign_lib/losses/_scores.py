"""Sums over all pairs of a batch without keeping all pairs: blocks of rows, gradients by hand.

The scores of B rows with m others are B·m numbers, of which autograd would keep several copies.
Here a block of rows is scored, used and dropped. Up to ``KEEP`` scores are kept for backward,
which saves it a product; above that it scores the blocks again. Small batches and second
derivatives go through the plain formulas, which keep everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vlalign_lib._tensors import as_number
from vlalign_lib.losses._cosine import unit_rows

BLOCK = {"cpu": 2**19, "cuda": 2**24}  # scores of a block: what a cache holds; enough for a GPU
KEEP = 2**23  # scores
SMALL = 2**18  # scores, below which the plain formula is quicker
Similarity = Literal["cosine", "dot"]
SIMILARITIES = ("cosine", "dot")


def row_blocks(rows: int, columns: int, device: torch.device) -> Iterator[slice]:
    """Cut the rows of a matrix of scores into blocks that are scored at once."""
    size = max(1, BLOCK.get(device.type, BLOCK["cuda"]) // columns)
    for first in range(0, rows, size):
        yield slice(first, min(first + size, rows))


def as_scalar(value: float | Tensor, name: str, like: Tensor, *, above: float | None) -> Any:
    """Return a number, or a tensor of one number with its gradient, in the manner of ``like``.

    A number is looked at; a tensor is not, which may lie on a device that would have to be
    waited for.
    """
    if not isinstance(value, Tensor):
        return as_number(value, name, above=above)
    if value.numel() != 1:
        raise ValueError(f"{name}: expected one number, got a tensor {tuple(value.shape)}")
    if value.is_meta or value.is_complex() or value.dtype == torch.bool:
        what = "a tensor on the meta device, which has no values" if value.is_meta else value.dtype
        raise ValueError(f"{name}: expected one real number, got {what}")
    return value.reshape(()).to(like)


def _as_tensor(value: float | Tensor, like: Tensor) -> Tensor:
    """Return a number as a tensor, filled in where it lies: a copy to a GPU would be waited for."""
    return value if isinstance(value, Tensor) else like.new_full((), value)


def comparable(rows: Tensor, similarity: Similarity) -> Tensor:
    """Return rows (…, k) whose products are the similarities: of length one for the cosine."""
    return unit_rows(rows) if similarity == "cosine" else rows


Columns = Literal["all", "others", "none"]


def log_partitions(
    u: Tensor, v: Tensor, scale: float | Tensor, *, columns: Columns = "all"
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the logarithms of the sums of exp(z) over rows, columns and each row's own part.

    With :math:`z_{ij} = c\,\langle u_i, v_j\rangle` and K = m/B columns of v for each row of u,
    the columns :math:`iK, …, iK + K - 1` are row i's own.

    Args:
        u: (B, k) rows.
        v: (m, k) columns, m a multiple of B.
        scale: c, a number or a tensor without axes.
        columns: over which rows to sum each column: ``"all"``; ``"others"`` without the one that
            owns it (B > 1); ``"none"`` where the sums are not needed (they are 0 then).

    Returns:
        Over rows (B,), over columns (m,), over each row's own columns (B,).
    """
    if len(u) * len(v) <= SMALL:
        return plain_log_partitions(u, v, scale, columns)
    over_rows, over_columns, own = _LogPartitions.apply(u, v, _as_tensor(scale, u), columns)
    return over_rows, over_columns, own


def plain_log_partitions(
    u: Tensor, v: Tensor, scale: float | Tensor, columns: Columns
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same from all scores at once and by autograd."""
    z = (scale * u) @ v.T
    none = u.new_zeros(len(v))
    if len(u) == len(v) and columns != "others":
        # A score less the logarithm of its share is the sum it has a share in. torch takes the
        # shares in one pass and the sum in five; and the sum is then never less than its part.
        own = z.diagonal()
        over_columns = own - z.log_softmax(dim=0).diagonal() if columns == "all" else none
        return own - z.log_softmax(dim=1).diagonal(), over_columns, own
    owner = torch.arange(len(v), device=v.device) // (len(v) // len(u))
    mine = owner == torch.arange(len(u), device=u.device)[:, None]
    counted = z.masked_fill(mine, -torch.inf) if columns == "others" else z
    over_columns = none if columns == "none" else counted.logsumexp(dim=0)
    return z.logsumexp(dim=1), over_columns, _own(z, slice(0, len(u)), len(u)).logsumexp(dim=0)


def sigmoid_sums(u: Tensor, v: Tensor, scale: float | Tensor, bias: float | Tensor) -> Tensor:
    r"""Return :math:`\sum_j \log(1 + e^{-t_{ij}(c\langle u_i, v_j\rangle + b)})`, t = ±1, (B,)."""
    if len(u) * len(v) <= SMALL:
        return plain_sigmoid_sums(u, v, scale, bias)
    sums: Tensor = _SigmoidSums.apply(u, v, _as_tensor(scale, u), _as_tensor(bias, u))
    return sums


def plain_sigmoid_sums(u: Tensor, v: Tensor, scale: float | Tensor, bias: float | Tensor) -> Tensor:
    """Return the same from all scores at once and by autograd."""
    z = (scale * u) @ v.T + bias
    partners = torch.eye(len(u), dtype=torch.bool, device=u.device)
    return F.softplus(torch.where(partners, -z, z), threshold=50).sum(dim=1)


class _LogPartitions(torch.autograd.Function):
    """The gradient of a sum's logarithm is the share of each score in it."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, scale: Tensor, columns: Columns) -> Any:
        ctx.columns, ctx.kept = columns, []
        keep = any(ctx.needs_input_grad) and len(u) * len(v) <= KEEP
        over_rows, own = u.new_empty(len(u)), u.new_empty(len(u))
        over_columns = u.new_full((len(v),), 0.0 if columns == "none" else -torch.inf)
        for part, z in _scored(u, v, scale):
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
            return *differentiable(plain_log_partitions, (u, v, scale), grads, ctx.columns), None
        for_rows, for_columns, for_own = grads
        du, dv = torch.empty_like(u), torch.zeros_like(v)
        for part, z in _scored(u, v, scale, ctx.kept):
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
        return scale * du, scale * dv, (u * du).sum(), None


class _SigmoidSums(torch.autograd.Function):
    """The derivative of log(1 + exp(z)) is the sigmoid of z."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        ctx.kept = []
        keep = any(ctx.needs_input_grad) and len(u) * len(v) <= KEEP
        sums = u.new_empty(len(u))
        for part, z in _scored(u, v, scale):
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
            return differentiable(plain_sigmoid_sums, (u, v, scale, bias), grads)
        du, dv, dbias = torch.empty_like(u), torch.zeros_like(v), torch.zeros_like(bias)
        for part, z in _scored(u, v, scale, ctx.kept):
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


def _scored(
    u: Tensor, v: Tensor, scale: Tensor, kept: list[Tensor] | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Give the scores block by block: those that were kept, or new ones."""
    for i, part in enumerate(row_blocks(len(u), len(v), u.device)):
        yield part, kept[i] if kept else (scale * u[part]) @ v.T


def _own(z: Tensor, part: slice, rows: int) -> Tensor:
    """Return the scores of the rows in ``part`` with their own columns, a view (K, b)."""
    each = z.shape[1] // rows
    columns = z[:, part.start * each : part.stop * each]
    return columns.unflatten(1, (part.stop - part.start, each)).diagonal(dim1=0, dim2=1)


def differentiable(
    plain: Callable[..., Any], inputs: tuple[Tensor, ...], grads: tuple[Tensor, ...], *rest: Any
) -> tuple[Tensor | None, ...]:
    """Return the gradients through the plain formula, so that they can be differentiated."""
    outputs = plain(*inputs, *rest)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    live = [i for i, output in enumerate(outputs) if output.requires_grad]
    wanted = [each for each in inputs if each.requires_grad]
    slopes = torch.autograd.grad(
        [outputs[i] for i in live], wanted, [grads[i] for i in live], create_graph=True
    )
    found = iter(slopes)
    return tuple(next(found) if each.requires_grad else None for each in inputs)
