"""A triplet loss whose margins follow the likeness of classes: a reconstruction, with controls."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vlalign_lib._module import FunctionModule, NotNegative, Share
from vlalign_lib._tensors import (
    Reduction,
    as_classes,
    as_floats,
    as_number,
    as_views,
    check_same_device,
    gather_rows,
    objective,
)
from vlalign_lib._validate import as_whole
from vlalign_lib.losses._cosine import comparable, unit_rows
from vlalign_lib.losses._triplets import Mined, Rule, check_generator, directions, mined_hinges
from vlalign_lib.losses.triplet import added


def margin_weight(epoch_fraction: float, *, steepness: float = 20.0, centre: float = 0.3) -> float:
    r"""Return how far the margins have gone from static to adaptive at a point of the training.

    .. math:: w(t) = \frac{1}{1 + e^{-\kappa (t - t_0)}}

    Classes have to have formed before their likeness means anything.

    Args:
        epoch_fraction: t, the share of the epochs that is over, 0 to 1.
        steepness: κ > 0 of the transition.
        centre: t₀, where half of the way is done.

    Returns:
        w in [0, 1].

    Raises:
        ValueError: not a finite number, a steepness not above 0.

    Source:
        Our reconstruction: the paper says that the margins are activated smoothly over the epochs
        (Semedo and Magalhães, ACM Multimedia 2019) and its schedule was not available.

    Chapter:
        7, Ranking: triplets and adaptive margins.

    Example:
        >>> [round(margin_weight(t), 3) for t in (0.0, 0.3, 1.0)]
        [0.002, 0.5, 1.0]
    """
    t = as_number(epoch_fraction, "epoch_fraction")
    slope = as_number(steepness, "steepness", above=0)
    z = slope * (t - as_number(centre, "centre"))
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


@objective(same_width=True)
def adaptive_margin_triplet_loss(
    x: Tensor,
    y: Tensor,
    labels: Any,
    class_similarity: Tensor,
    *,
    margin: NotNegative = 0.2,
    weight: Share = 1.0,
    random_margins: bool = False,
    intra: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
    generator: torch.Generator | None = None,
) -> Any:
    r"""Ask for smaller margins between classes that are alike: a reconstruction.

    .. math::

        L = \frac{1}{|T|} \sum_{(a, p, n) \in T} \bigl[M_{c_a c_n} - s(a, p) + s(a, n)\bigr]_+,
        \qquad
        M_{cd} = (1 - w)\, m + w\, m\, (1 - \bar s_{cd})

    with the cosine s, the class similarity :math:`\bar s` (1 for classes that cannot be told
    apart, which leaves them no margin; −1 doubles it) and T all triplets whose hinge is greater
    than zero, both directions between the views and, with ``intra``, within each view.

    Two controls tell what the adaptive margins contribute. ``weight=0`` is the static margin, the
    loss of :func:`triplet_loss` with ``mining="all"``. ``random_margins`` gives the classes of
    the margins other classes' names, drawn anew at every call: the same margins, in the wrong
    places.

    Gradient, ties and memory are as for :func:`triplet_loss`.

    Args:
        x: (B, k) embedded images, floating point.
        y: (B, k) embedded texts, row i the partner of row i of ``x``.
        labels: (B,) whole numbers from 0 to C − 1, the class of each pair.
        class_similarity: (C, C) the similarity of the anchor's class and the negative's, usually
            the cosines of class centroids, as :class:`AdaptiveMarginTripletLoss` keeps them. No
            gradient goes into it.
        margin: m ≥ 0, between cosines.
        weight: w in [0, 1], usually from :func:`margin_weight`.
        random_margins: the control.
        intra: also compare items within each view.
        gather: compute the loss of the rows of all processes together. Random margins then need a
            ``generator`` in the same state everywhere.
        reduction: ``"mean"`` over T; ``"sum"``; ``"none"`` for the sum of the hinges (B,) whose
            anchor belongs to each pair.
        generator: of the random margins; None is torch's own.

    Returns:
        The loss, at least 0: without axes, or (B,) for ``reduction="none"``.

    Raises:
        ValueError: shapes that do not fit, classes without a similarity (looked for on the CPU),
            an unknown word, a negative margin, a weight outside [0, 1].

    Source:
        Our reconstruction of the idea of SAM: Semedo and Magalhães, Cross-modal subspace learning
        with scheduled adaptive margin constraints, ACM Multimedia 2019. Formula, schedule and
        settings of the paper were not available; its numbers cannot be expected from this.

    Chapter:
        7, Ranking: triplets and adaptive margins.

    Example:
        >>> import torch
        >>> pictures = torch.eye(3)
        >>> names = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0.6, 0.8]])
        >>> alike = torch.tensor([[1.0, 0, 0], [0, 1, 0.5], [0, 0.5, 1]])  # 1 and 2 are alike
        >>> for weight in (0.0, 1.0):  # margins of 0.5 throughout; of 0.25 between 1 and 2
        ...     loss = adaptive_margin_triplet_loss(
        ...         pictures, names, [0, 1, 2], alike, margin=0.5, weight=weight, intra=False
        ...     )
        ...     print(round(float(loss), 4))
        0.2
        0.05
    """
    alike = _as_class_similarity(class_similarity, labels, x)
    if random_margins:
        check_generator(generator, gather)
        device = x.device if generator is None else generator.device
        renamed = torch.randperm(len(alike), generator=generator, device=device).to(x.device)
        alike = alike[renamed[:, None], renamed]
    margins = margin * (1 - weight * alike)  # (C, C)
    margins.fill_diagonal_(0)  # within a class there are positives, which are not raised
    mined = []
    for anchors, others in directions(*comparable(x, y), intra):
        rule = Rule(labels, 0.0, "all", margins=margins, within=anchors is others)
        mined.append(Mined(*mined_hinges(anchors, others, rule, pooled=reduction != "none")))
    return added(mined, over_active=True)


class AdaptiveMarginTripletLoss(
    FunctionModule,
    function=adaptive_margin_triplet_loss,
    inputs=("x", "y", "labels", "class_similarity", "weight"),
):
    r"""The adaptive-margin loss as a module that keeps the centroids of the classes.

    The class similarity is the cosine of running means of the unit vectors of both views,

    .. math:: \mu_c \leftarrow \beta \mu_c + (1 - \beta)\, \bar u_c,

    updated with every batch in training mode and never differentiated; pairs with NaN leave them
    as they are. A class that has not been seen is like no other (0), which leaves the static
    margin.

    Args:
        n_classes: C.
        n_features: k, dimensions of the embedding.
        margin: m ≥ 0, between cosines.
        momentum: β in [0, 1) of the centroids.
        steepness: κ of :func:`margin_weight`.
        centre: t₀ of :func:`margin_weight`.
        max_weight: what the schedule ends at; 0 is the control with a static margin.
        random_margins: the control with random margins.
        intra: also compare items within each view.
        gather: over all processes, which then keep the same centroids.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        generator: of the random margins.

    Raises:
        ValueError: no classes or features, a momentum outside [0, 1); when it is called, as
            :func:`adaptive_margin_triplet_loss`.

    Attributes:
        centroids: (C, k) running means.
        seen: (C,) whether a class has been met.

    Chapter:
        7, Ranking: triplets and adaptive margins.

    Example:
        >>> import torch
        >>> loss = AdaptiveMarginTripletLoss(n_classes=2, n_features=3)
        >>> x = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        >>> round(float(loss(x, x, [0, 1], epoch_fraction=0.5)), 4)
        0.0
        >>> loss.seen.tolist()
        [True, True]
    """

    centroids: Tensor
    seen: Tensor

    def __init__(
        self,
        n_classes: int,
        n_features: int,
        margin: float = 0.2,
        momentum: float = 0.9,
        steepness: float = 20.0,
        centre: float = 0.3,
        max_weight: float = 1.0,
        *args: Any,
        **settings: Any,
    ) -> None:
        super().__init__(margin, *args, **settings)
        n_classes, n_features = as_whole(n_classes, "n_classes"), as_whole(n_features, "n_features")
        self.momentum = as_number(momentum, "momentum", low=0, below=1)
        self.steepness = as_number(steepness, "steepness", above=0)
        self.centre = as_number(centre, "centre")
        self.max_weight = as_number(max_weight, "max_weight", low=0, high=1)
        self.register_buffer("centroids", torch.zeros(n_classes, n_features))
        self.register_buffer("seen", torch.zeros(n_classes, dtype=torch.bool))

    def forward(self, x: Tensor, y: Tensor, labels: Any, epoch_fraction: float = 1.0) -> Any:
        """Return the loss of the batch at a point of the training, 0 to 1."""
        x, y = as_views(x, y, same_width=True)
        classes, width = self.centroids.shape
        if x.shape[1] != width:
            raise ValueError(f"x and y: expected {width} columns (n_features), got {x.shape[1]}")
        labels = as_classes(labels, len(x), x.device)
        check_classes(labels, classes, "n_classes")
        if self.training:
            self.update(*(gather_rows(x, y, labels) if self.gather else (x, y, labels)))
        centres = unit_rows(self.centroids.to(x.dtype))
        weight = margin_weight(epoch_fraction, steepness=self.steepness, centre=self.centre)
        return super().forward(x, y, labels, centres @ centres.T, self.max_weight * weight)

    @torch.no_grad()
    def update(self, x: Tensor, y: Tensor, labels: Tensor) -> None:
        """Move the centroids of the classes in the batch towards their means there.

        Pairs with NaN are left out: they would stay in a running mean for ever.
        """
        means = torch.zeros_like(self.centroids)
        u, v = comparable(x, y)
        units = (u + v).to(means) / 2
        sound = units.isfinite().all(dim=1, keepdim=True)
        means.index_add_(0, labels, torch.where(sound, units, 0.0))
        counts = torch.zeros(len(means), 1, dtype=torch.int64, device=means.device)
        counts.index_add_(0, labels, sound.long())
        means /= counts.clamp(min=1)
        moved = torch.where(
            self.seen[:, None], self.centroids.lerp(means, 1 - self.momentum), means
        )
        self.centroids.copy_(torch.where(counts > 0, moved, self.centroids))
        self.seen |= counts[:, 0] > 0

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{super().extra_repr()}, momentum={self.momentum}, max_weight={self.max_weight}"


def _as_class_similarity(values: Any, labels: Tensor, x: Tensor) -> Tensor:
    """Return the similarities of the classes (C, C) without a gradient, or raise a ValueError."""
    alike = as_floats(values, "class_similarity", "(C, C)").detach().to(x.dtype)
    check_same_device(x, alike)
    classes = len(alike)
    if alike.shape[1] != classes or classes == 0:
        raise ValueError(f"class_similarity: expected shape (C, C), got {tuple(alike.shape)}")
    check_classes(labels, classes, "class_similarity")
    broken = int((~alike.isfinite()).sum()) if alike.device.type == "cpu" else 0
    if broken:
        raise ValueError(
            f"class_similarity: {broken} values are NaN or infinity, and triplets of their classes "
            "would count for nothing; give classes that have not been seen a 0"
        )
    return alike


def check_classes(labels: Tensor, classes: int, source: str) -> None:
    """Raise a ValueError for labels that ``source`` does not know; on a GPU nobody looks."""
    if labels.device.type != "cpu":
        return
    least, most = (int(each) for each in labels.aminmax())
    if least < 0 or most >= classes:
        raise ValueError(
            f"labels: expected classes from 0 to {classes - 1} ({source}), got values from "
            f"{least} to {most}"
        )
