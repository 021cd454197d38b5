"""The triplets of a batch, mined block by block: memory grows with the batch, not with its square.

A block of scores is mined by the kernels of ``mining_numba`` on the CPU, and by the rule's own
words anywhere else, without waiting for a device. What mining leaves behind are the slopes, how
often each score counts in the sum of the hinges; the gradient is two products with them. A block
is dropped before the next one comes.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vlalign_lib.engine import scores

FEW = 2**13  # scores, below which the plain form is quicker where nothing is sorted


def mined_hinges(u: Tensor, v: Tensor, rule: Any, *, pooled: bool) -> Any:
    """Return for each anchor the sum of its hinges, how many are active, how many there are."""
    few = len(u) * len(v) <= min(FEW, scores.SMALL)
    if few and rule.mining in ("hardest", "random"):
        return NotImplemented
    return _Hinges.apply(u, v, rule, pooled)


class _Hinges(torch.autograd.Function):
    """The hinges of one direction; the gradient is that of the mined triplets held fixed."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, rule: Any, pooled: bool) -> Any:
        ctx.rule = rule
        if pooled and any(ctx.needs_input_grad):
            mined, *slopes = _go_over(u, v, rule, torch.ones_like(u[:, 0]))
            ctx.save_for_backward(u, v, *slopes)
        else:
            mined, *_ = _go_over(u, v, rule, None)
            ctx.save_for_backward(u, v)
        ctx.mark_non_differentiable(*mined[1:])
        return mined

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        u, v, *slopes = ctx.saved_tensors
        grad = grads[0]
        if torch.is_grad_enabled():  # somebody wants second derivatives: through u and v alone
            every = torch.zeros(len(u), len(v), dtype=u.dtype, device=u.device)
            with torch.no_grad():
                for rows in _blocks(u):
                    _mine_block(u, v, ctx.rule, rows, torch.empty_like(every[rows]), every[rows])
            weighted = grad[:, None] * every
            return weighted @ v, weighted.T @ u, None, None
        if slopes:
            du, dv = (grad[0] * slope for slope in slopes)
        else:
            _, du, dv = _go_over(u, v, ctx.rule, grad)
        return du, dv, None, None


def _go_over(
    u: Tensor, v: Tensor, rule: Any, weights: Tensor | None
) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """Mine block by block; with ``weights`` (B,) of the anchors, gather the gradient as well."""
    u, v, n = u.detach().contiguous(), v.detach().contiguous(), len(v)
    counts = torch.zeros_like(rule.labels)
    mined = torch.zeros_like(u[:, 0]), counts, counts.clone()
    du, dv = (torch.zeros_like(u), torch.zeros_like(v)) if weights is not None else (u, v)
    blocks = list(_blocks(u))
    # Scores and slopes of a block lie where the last ones lay, in the cache.
    rooms = [u.new_empty(blocks[0].stop, n) for _ in range(2)]
    for rows in blocks:
        scores, slopes = (room[: rows.stop - rows.start] for room in rooms)
        part = _mine_block(u, v, rule, rows, scores, slopes)
        for whole, piece in zip(mined, part, strict=True):
            whole[rows] = piece
        if weights is not None:
            _add_products(slopes, weights[rows], u[rows], v, du[rows], dv, rule)
    # Mining compares, and comparisons swallow NaN: what NaN touches is made NaN here.
    mined[0].add_(0 * (u.sum(dim=1) + v.sum()))
    if weights is not None:
        du.add_(0 * (u.sum(dim=1, keepdim=True) + v.sum()))
        dv.add_(0 * (u.sum() + v.sum(dim=1, keepdim=True)))
    return mined, du, dv


def _blocks(u: Tensor) -> Iterator[slice]:
    return scores.row_blocks(len(u), len(u), u.device)


def _mine_block(
    u: Tensor, v: Tensor, rule: Any, rows: slice, scores: Tensor, slopes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mine the anchors in ``rows``, writing their scores and slopes (b, B) where they belong."""
    torch.mm(u[rows], v.T, out=scores)
    if rule.margins is not None:
        scores += rule.margins[rule.labels[rows, None], rule.labels]
    if u.device.type == "cpu":
        return kernels().mine(scores, slopes.zero_(), rule, rows)
    found, active, triplets = rule.choose(scores, rows)
    slopes.copy_(found)
    return (slopes * scores).sum(dim=1) + rule.margin * active.to(scores.dtype), active, triplets


def _add_products(
    slopes: Tensor, weights: Tensor, u: Tensor, v: Tensor, du: Tensor, dv: Tensor, rule: Any
) -> None:
    """Set ``du`` (b, k) to weights · slopes · v and add the transpose's product with u to dv."""
    if u.device.type == "cpu" and rule.mining != "all":  # nearly all slopes are zero
        kernels().add_products(slopes, weights, u, v, du, dv)
        return
    slopes = slopes * weights[:, None]
    torch.mm(slopes, v, out=du)
    dv.addmm_(slopes.T, u)


def kernels() -> Any:
    """Return the kernels for the CPU, imported at first use: numba takes a moment to load."""
    return importlib.import_module("vlalign_lib.engine.mining_numba")
