"""Which triplets of a batch count: anchors in one view, positives and negatives in the other.

``mined_hinges`` goes over one direction in blocks of anchors. A block of scores is mined by the
kernels of ``_mining_numba`` on the CPU and by ``mine`` below anywhere else: the same answer, with
sorting and counting instead of loops, without waiting for a device. No triplet is ever written
down: what mining leaves behind are the slopes, how often each score counts in the sum of the
hinges, positive as a negative's score and negative as a positive's. The gradient is two products
with them. A block is dropped before the next one comes, so that memory grows with the batch and
not with its square.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from vlalign_lib.losses._scores import row_blocks

Mining = Literal["semi-hard", "all", "hardest", "random"]
MININGS = ("semi-hard", "all", "hardest", "random")


@dataclass(frozen=True)
class Rule:
    """What counts in one direction of a batch.

    ``labels`` (B,) are classes; rows of one class are positives of each other. ``margin`` is one
    number, or ``margins`` (C, C) has one for each class of the anchor and class of the negative.
    ``picks`` (B,) is for each anchor the row of its random negative. ``within`` says that both
    views are the same one, so that a row is neither its own positive nor negative.
    """

    labels: Tensor
    margin: float
    mining: Mining
    margins: Tensor | None = None
    picks: Tensor | None = None
    within: bool = False

    @functools.cached_property
    def groups(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows sorted by class, and for each row where its class starts and ends among them."""
        return class_groups(self.labels)


def class_groups(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows sorted by class (B,), and for each row where its class starts and ends (B,)."""
    ordered, order = labels.sort(stable=True)
    return (
        order,
        torch.searchsorted(ordered, labels),
        torch.searchsorted(ordered, labels, right=True),
    )


def random_negatives(labels: Tensor, draws: Tensor) -> Tensor:
    """Return for each row one of another class, by its number in [0, 1); any where none is."""
    order, start, end = class_groups(labels)
    others = len(labels) - (end - start)
    place = (draws * others).long().clamp(max=len(labels) - 1).minimum((others - 1).clamp(min=0))
    return order[(place + (place >= start) * (end - start)).clamp(max=len(labels) - 1)]


def check_generator(generator: torch.Generator | None, gather: bool) -> None:
    """Raise a ValueError where processes that share their rows would draw different numbers."""
    together = gather and dist.is_available() and dist.is_initialized()
    if generator is None and together and dist.get_world_size() > 1:
        raise ValueError(
            "gather=True: what is drawn at random has to be the same on every process; pass a "
            "generator that is seeded alike on all of them"
        )


def directions(u: Tensor, v: Tensor, intra: bool) -> list[tuple[Tensor, Tensor]]:
    """Return who are anchors and who the others: both directions, and each view with itself."""
    return [(u, v), (v, u)] + ([(u, u), (v, v)] if intra else [])


class Mined(NamedTuple):
    """For each anchor (B,): the sum of its hinges, how many are active, how many were looked at."""

    hinge: Tensor
    active: Tensor
    triplets: Tensor


def mined_hinges(u: Tensor, v: Tensor, rule: Rule, *, pooled: bool) -> Mined:
    """Return the mined triplets with anchors u (B, k) and the others in v (B, k).

    ``pooled`` promises that the hinges are only going to be added up with the same weight, so
    that the gradient can be taken in the same pass. Without it, backward goes over the batch again.
    """
    return Mined(*_Hinges.apply(u, v, rule, pooled))


class _Hinges(torch.autograd.Function):
    """The hinges of one direction; the gradient is that of the mined triplets held fixed."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, rule: Rule, pooled: bool) -> Any:
        ctx.rule = rule
        if pooled and any(ctx.needs_input_grad):
            mined, *slopes = _go_over(u, v, rule, torch.ones_like(u[:, 0]))
            ctx.save_for_backward(u, v, *slopes)
        else:
            mined, *_ = _go_over(u, v, rule, None)
            ctx.save_for_backward(u, v)
        ctx.mark_non_differentiable(mined.active, mined.triplets)
        return tuple(mined)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        u, v, *slopes = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants second derivatives: through u and v alone
            every = torch.empty(len(u), len(v), dtype=u.dtype, device=u.device)
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
    u: Tensor, v: Tensor, rule: Rule, weights: Tensor | None
) -> tuple[Mined, Tensor, Tensor]:
    """Mine block by block; with ``weights`` (B,) of the anchors, gather the gradient as well."""
    u, v, n = u.detach().contiguous(), v.detach().contiguous(), len(v)
    mined = Mined(
        torch.zeros_like(u[:, 0]),
        torch.zeros_like(rule.labels),
        torch.zeros_like(rule.labels),
    )
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
    mined.hinge.add_(0 * (u.sum(dim=1) + v.sum()))
    if weights is not None:
        du.add_(0 * (u.sum(dim=1, keepdim=True) + v.sum()))
        dv.add_(0 * (u.sum() + v.sum(dim=1, keepdim=True)))
    return mined, du, dv


def _blocks(u: Tensor) -> Iterator[slice]:
    return row_blocks(len(u), len(u), u.device)


def _mine_block(
    u: Tensor, v: Tensor, rule: Rule, rows: slice, scores: Tensor, slopes: Tensor
) -> Mined:
    """Mine the anchors in ``rows``, writing their scores and slopes (b, B) where they belong."""
    torch.mm(u[rows], v.T, out=scores)
    if rule.margins is not None:
        scores += rule.margins[rule.labels[rows, None], rule.labels]
    kernels = compiled() if u.device.type == "cpu" else None
    return (mine if kernels is None else kernels.mine)(scores, slopes.zero_(), rule, rows)


def _add_products(
    slopes: Tensor, weights: Tensor, u: Tensor, v: Tensor, du: Tensor, dv: Tensor, rule: Rule
) -> None:
    """Set ``du`` (b, k) to weights · slopes · v and add the transpose's product with u to dv."""
    kernels = compiled() if u.device.type == "cpu" else None
    if kernels is not None and rule.mining != "all":  # nearly all slopes are zero
        kernels.add_products(slopes, weights, u, v, du, dv)
        return
    slopes = slopes * weights[:, None]
    torch.mm(slopes, v, out=du)
    dv.addmm_(slopes.T, u)


def mine(scores: Tensor, slopes: Tensor, rule: Rule, rows: slice) -> Mined:
    """Return the hinges of the anchors in ``rows``, given their scores (b, B).

    The slopes are added to ``slopes`` (b, B), which come as zeros.

    The readable reference, and what runs on a GPU.
    """
    same = rule.labels[rows, None] == rule.labels
    positive, negative = same, ~same
    if rule.within:
        n = len(rule.labels)
        each = torch.arange(n, device=scores.device)
        positive = same & (each[rows, None] != each)
    usable = positive & negative.any(dim=1, keepdim=True)  # a pair makes triplets with negatives
    raised = scores + rule.margin  # a triplet is active where its negative, raised, wins
    never = torch.inf
    if rule.mining == "all":
        counted = negative & positive.any(dim=1, keepdim=True)
        ordered = scores.masked_fill(~positive, never).sort(dim=1).values
        beaten = torch.searchsorted(ordered, raised.contiguous())  # positives below a negative
        ordered = raised.masked_fill(~negative, -never).sort(dim=1).values
        beating = scores.shape[1] - torch.searchsorted(ordered, scores.contiguous(), right=True)
        beaten, beating = beaten * counted, beating * usable
        slopes += beaten - beating
        active = beaten.sum(dim=1)
        hinge = (beaten * raised.double() - beating * scores.double()).sum(dim=1)
        triplets = positive.sum(dim=1) * negative.sum(dim=1)
        return Mined(hinge.to(scores.dtype), active, triplets)

    if rule.mining == "hardest":
        best, chosen = scores.masked_fill(~usable, never).min(dim=1, keepdim=True)
        usable = usable.any(dim=1, keepdim=True)
        worst, against = raised.masked_fill(~negative, -never).max(dim=1, keepdim=True)
        gap = worst - best  # (b, 1)
    else:
        chosen = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
        if rule.mining == "random":
            assert rule.picks is not None
            against = rule.picks[rows, None].expand_as(scores)
        else:
            ordered, order = scores.masked_fill(~negative, never).sort(dim=1)
            below = torch.searchsorted(ordered, scores.contiguous())  # negatives below each score
            against = order.gather(1, (below - 1).clamp(min=0))  # the next one, or the easiest
        gap = raised.gather(1, against) - scores  # (b, B)
    on = usable & (gap > 0)
    amount = on.to(scores.dtype)
    slopes.scatter_add_(1, chosen, -amount).scatter_add_(1, against, amount)
    hinge = gap.masked_fill(~on, 0.0).sum(dim=1)
    return Mined(hinge, on.sum(dim=1), usable.sum(dim=1))


@functools.cache
def compiled() -> Any:
    """Return the kernels for the CPU; None where numba does not load, as on a Python too new."""
    try:
        return importlib.import_module("vlalign_lib.losses._mining_numba")
    except ImportError:
        return None
