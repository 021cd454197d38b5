"""The triplet loss over both directions, with the minings of the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, overload

import torch
from torch import Tensor

from vlalign_lib._module import FunctionModule, NotNegative
from vlalign_lib._tensors import Reduction, objective
from vlalign_lib.losses._cosine import comparable
from vlalign_lib.losses._triplets import (
    Mined,
    Mining,
    Rule,
    check_generator,
    directions,
    draw,
    mined_hinges,
)


@dataclass(frozen=True, eq=False)
class TripletStatistics:
    """What a batch of triplets looked like, read in the pass that computed the loss.

    The numbers are tensors without axes, on the device of the batch: nothing waits for them until
    they are printed. An active fraction that falls towards 0 says that the loss has nothing left
    to learn from. A loss that stands at the margin is not yet a collapsed space (a pair that is
    its own stranger does it too), and neither is a mean cosine across the views an alarm: where
    pictures lie on one point and texts on another it is anything between −1 and 1. Watch the
    cosines within each view, and retrieval on pairs that were held out.

    Attributes:
        active: triplets whose hinge is greater than zero.
        triplets: triplets looked at: all there are for ``"all"``; otherwise those that mining
            chose.
        active_fraction: active / triplets, 0 where there is none.
        mean_cosine: mean of s(u, v) over all rows of the two views that are not partners.

    Chapter:
        7, Ranking: triplets and adaptive margins.
    """

    active: Tensor
    triplets: Tensor
    active_fraction: Tensor
    mean_cosine: Tensor


@overload
def triplet_loss(
    x: Tensor,
    y: Tensor,
    labels: Any = None,
    *,
    margin: float = ...,
    mining: Mining = ...,
    intra: bool = ...,
    gather: bool = ...,
    reduction: Reduction = ...,
    generator: torch.Generator | None = ...,
    return_statistics: Literal[False] = ...,
) -> Tensor: ...


@overload
def triplet_loss(
    x: Tensor,
    y: Tensor,
    labels: Any = None,
    *,
    margin: float = ...,
    mining: Mining = ...,
    intra: bool = ...,
    gather: bool = ...,
    reduction: Reduction = ...,
    generator: torch.Generator | None = ...,
    return_statistics: Literal[True],
) -> tuple[Tensor, TripletStatistics]: ...


@objective(same_width=True)  # type: ignore[misc]
def triplet_loss(
    x: Tensor,
    y: Tensor,
    labels: Any = None,
    *,
    margin: NotNegative = 0.2,
    mining: Mining = "semi-hard",
    intra: bool = False,
    gather: bool = False,
    reduction: Reduction = "mean",
    generator: torch.Generator | None = None,
    return_statistics: bool = False,
) -> Any:
    r"""Ask that a partner be more similar than a stranger, by a margin, in both directions.

    .. math::

        \ell(a, p, n) = \bigl[m - s(a, p) + s(a, n)\bigr]_+, \qquad
        L = \frac{1}{|T|} \sum_{(a, p, n) \in T} \ell(a, p, n)

    with the cosine s. Anchors are images with positives and negatives among the texts, and texts
    with theirs among the images; ``intra`` adds anchors with both in their own view. Positives
    are all items of the anchor's class, or its own partner alone where there are no labels. The
    triplets T are

    - ``"all"``: all whose hinge is greater than zero. Averaging over these alone keeps the
      gradient alive when most triplets are solved;
    - ``"semi-hard"``: for each anchor and positive the most similar negative that is less similar
      than the positive, :math:`s(a, n) < s(a, p)`, which counts as long as it is within the
      margin; where no negative is below the positive, the easiest one;
    - ``"hardest"``: for each anchor the least similar positive and the most similar negative, the
      largest of its hinges;
    - ``"random"``: for each anchor one random negative, against each of its positives.

    Of several equally hard rows one is taken, and the gradient is its own. A hinge of exactly
    zero is not active. Cosines are compared as they were rounded: beside a twin of the positive in
    another class, semi-hard mining may take the twin or pass it over.

    The gradient is that of the chosen triplets held fixed, which is the gradient wherever the
    choice does not jump. Time grows with B² (B² log B for ``"all"`` and ``"semi-hard"``), memory
    with B; second derivatives keep B² numbers.

    Args:
        x: (B, k) embedded images, floating point, of any length: cosines are taken here. A row
            of zeros has cosine 0 with everything and the gradient zero.
        y: (B, k) embedded texts, row i the partner of row i of ``x``.
        labels: (B,) whole numbers, the class of each pair; None makes each pair its own class.
            Every number is a class, −1 too.
        margin: m ≥ 0, between cosines; 0.1 to 0.3 is usual.
        mining: ``"semi-hard"``, ``"all"``, ``"hardest"`` or ``"random"``.
        intra: also compare items within each view. Needs labels.
        gather: compute the loss of the rows of all processes together. Every process then has to
            pass as many rows; random negatives need a ``generator`` in the same state everywhere.
        reduction: ``"mean"`` over the triplets of T; ``"sum"``; ``"none"`` for the sum of
            the hinges (B,) whose anchor belongs to each pair (a second pass in backward).
        generator: of the random negatives; None is torch's own.
        return_statistics: return the counts and the mean cosine as well.

    Returns:
        The loss, at least 0: without axes, or (B,) for ``reduction="none"``. It is 0 where there
        is no triplet at all, with one class or one pair. With ``return_statistics`` the pair
        (loss, :class:`TripletStatistics`).

    Raises:
        ValueError: shapes that do not fit, an unknown word, a negative margin, ``intra`` without
            labels, random negatives gathered without a generator.

    Source:
        Schroff, Kalenichenko and Philbin, FaceNet, CVPR 2015 (semi-hard); Hermans, Beyer and
        Leibe, In defense of the triplet loss for person re-identification, 2017 (hardest positive
        and negative); Faghri et al., VSE++, BMVC 2018 (the largest hinge, own partner).

    Chapter:
        7, Ranking: triplets and adaptive margins.

    Example:
        >>> import torch
        >>> pictures = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> names = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
        >>> loss = triplet_loss(pictures, names, margin=0.25, mining="hardest")
        >>> round(float(loss), 4)  # hinges 0, 0, 0 and 0.25 − 0.8 + 0.6
        0.0125
        >>> loss, seen = triplet_loss(pictures, names, mining="all", return_statistics=True)
        >>> int(seen.active), int(seen.triplets)
        (0, 4)
    """
    if labels is None:
        if intra:
            raise ValueError(
                "intra=True: without labels an item has no other positive in its own view; pass "
                "labels, or leave intra out"
            )
        labels = torch.arange(len(x), device=x.device)
    if mining == "random":
        check_generator(generator, gather)
    u, v = comparable(x, y)
    mined = []
    for anchors, others in directions(u, v, intra):
        picks = draw(labels, generator) if mining == "random" else None
        rule = Rule(labels, margin, mining, picks=picks, within=anchors is others)
        mined.append(Mined(*mined_hinges(anchors, others, rule, pooled=reduction != "none")))
    values = added(mined, over_active=mining == "all")
    return (*values, statistics(mined, u, v)) if return_statistics else values


class TripletLoss(
    FunctionModule, function=triplet_loss, inputs=("x", "y", "labels", "return_statistics")
):
    """The triplet loss over both directions as a module.

    Args:
        margin: as for :func:`triplet_loss`, like all that follow.
        mining: which triplets count.
        intra: also compare items within each view.
        gather: over all processes.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        generator: of the random negatives.

    Attributes:
        statistics: :class:`TripletStatistics` of the last batch, None before the first.

    Chapter:
        7, Ranking: triplets and adaptive margins.

    Example:
        >>> import torch
        >>> loss = TripletLoss(mining="all")
        >>> float(loss(torch.eye(3), torch.eye(3)))
        0.0
        >>> float(loss.statistics.active_fraction)
        0.0
    """

    statistics: TripletStatistics | None = None

    def forward(self, x: Tensor, y: Tensor, labels: Any = None) -> Any:
        """Return the loss of the batch and keep its statistics."""
        loss, self.statistics = super().forward(x, y, labels, return_statistics=True)
        return loss


def added(mined: list[Mined], *, over_active: bool) -> tuple[Tensor, Tensor]:
    """Return the hinges (B,) of all directions, and how many triplets the mean is over."""
    hinges = torch.stack([each.hinge for each in mined]).sum(dim=0)
    counts = [each.active if over_active else each.triplets for each in mined]
    return hinges, torch.stack(counts)


@torch.no_grad()
def statistics(mined: list[Mined], u: Tensor, v: Tensor) -> TripletStatistics:
    """Return the counts over the directions, and the mean cosine of the pairs of strangers."""
    active = torch.stack([each.active for each in mined]).sum()
    triplets = torch.stack([each.triplets for each in mined]).sum()
    n = len(u)
    strangers = u.sum(dim=0) @ v.sum(dim=0) - (u * v).sum()
    return TripletStatistics(
        active, triplets, active / triplets.clamp(min=1), strangers / max(1, n * (n - 1))
    )
