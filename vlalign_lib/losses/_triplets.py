"""Which triplets of a batch count: anchors in one view, positives and negatives in the other.

The hinges of one direction are linear in the scores once it is chosen which triplets count: each
score counts with a slope, positive as a negative's score and negative as a positive's. No triplet
is ever written down.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from vlalign_lib._fast import fast

Mining = Literal["semi-hard", "all", "hardest", "random"]


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

    def choose(self, scores: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        """Return the slopes of the hinges (b, B) by the scores (b, B) of the anchors in ``rows``.

        With them, for each anchor, how many triplets are active and how many were looked at.
        """
        same = self.labels[rows, None] == self.labels
        positive, negative = same, ~same
        if self.within:
            each = torch.arange(len(self.labels), device=scores.device)
            positive = same & (each[rows, None] != each)
        usable = positive & negative.any(
            dim=1, keepdim=True
        )  # a pair makes triplets with negatives
        raised = scores + self.margin  # a triplet is active where its negative, raised, wins
        never = torch.inf
        if self.mining == "all":
            counted = negative & positive.any(dim=1, keepdim=True)
            ordered = scores.masked_fill(~positive, never).sort(dim=1).values
            beaten = counted * torch.searchsorted(ordered, raised.contiguous())  # positives below
            ordered = raised.masked_fill(~negative, -never).sort(dim=1).values
            below = torch.searchsorted(ordered, scores.contiguous(), right=True)
            beating = usable * (scores.shape[1] - below)  # negatives above each positive
            slopes = (beaten - beating).to(scores.dtype)
            return slopes, beaten.sum(dim=1), positive.sum(dim=1) * negative.sum(dim=1)

        chosen = torch.arange(scores.shape[1], device=scores.device).expand_as(scores)
        if self.mining == "hardest":
            chosen = scores.masked_fill(~usable, never).argmin(dim=1, keepdim=True)
            usable = usable.any(dim=1, keepdim=True)
            against = scores.masked_fill(~negative, -never).argmax(dim=1, keepdim=True)
        elif self.mining == "random":
            assert self.picks is not None
            against = self.picks[rows, None].expand_as(scores)
        else:
            ordered, order = scores.masked_fill(~negative, never).sort(dim=1)
            below = torch.searchsorted(ordered, scores.contiguous())  # negatives below each score
            against = order.gather(1, (below - 1).clamp(min=0))  # the next one, or the easiest
        on = usable & (raised.gather(1, against) > scores.gather(1, chosen))
        amount = on.to(scores.dtype)
        slopes = torch.zeros_like(scores)
        slopes.scatter_add_(1, chosen, -amount).scatter_add_(1, against, amount)
        return slopes, on.sum(dim=1), usable.sum(dim=1)

    @functools.cached_property
    def groups(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows sorted by class, and for each row where its class starts and ends among them."""
        return class_groups(self.labels)


class Mined(NamedTuple):
    """For each anchor (B,): the sum of its hinges, how many are active, how many were looked at."""

    hinge: Tensor
    active: Tensor
    triplets: Tensor


@fast("mined_hinges")
def mined_hinges(u: Tensor, v: Tensor, rule: Rule, *, pooled: bool) -> tuple[Tensor, ...]:
    """Return the fields of ``Mined`` for the anchors u (B, k) and the others in v (B, k).

    ``pooled`` promises that the hinges are only going to be added up with the same weight, so
    that the engine may take the gradient in the same pass.
    """
    scores = u @ v.T  # (B, B)
    if rule.margins is not None:
        scores = scores + rule.margins[rule.labels[:, None], rule.labels]
    slopes, active, triplets = rule.choose(scores.detach(), slice(0, len(u)))
    return (slopes * scores).sum(dim=1) + rule.margin * active.to(scores.dtype), active, triplets


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


def draw(labels: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return for each row the number of a random row of another class."""
    device = labels.device if generator is None else generator.device
    numbers = torch.rand(len(labels), generator=generator, dtype=torch.float64, device=device)
    return random_negatives(labels, numbers.to(labels.device))


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
