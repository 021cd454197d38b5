"""Scheduled adaptive margins: a reconstruction of SAM, with its controls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

from torch import Tensor

from vlalign_lib._validate import Rule, check_choice
from vlalign_lib.losses import AdaptiveMarginTripletLoss, triplet_loss
from vlalign_lib.methods._base import DeepMethod, TwoViewNetwork
from vlalign_lib.training import FitContext


@dataclass(kw_only=True, repr=False, eq=False)
class SAM(DeepMethod):
    r"""Train on triplets whose margin depends on how alike the two classes are.

    .. math::

        \min \; \frac{1}{|T|} \sum_{(a, p, n) \in T}
            \bigl[M_{c_a c_n} - s(a, p) + s(a, n)\bigr]_+, \qquad
        M_{cd} = (1 - w_t)\, m + w_t\, m\,(1 - \bar s_{cd})

    over both directions and within each view. The likeness of two classes, :math:`\bar s`, is the
    cosine of their running centroids; the schedule :math:`w_t` goes from 0 to 1 along a logistic
    curve of the training's progress, so that the margins adapt once classes have formed.

    Certain of the paper: the constant margin is replaced by one of each triplet, inferred from
    semantic correlation and activated smoothly over the epochs. Formula, schedule and settings
    are **reconstructed** here; none of its numbers is claimed. ``control`` gives the honest
    comparisons: the same loss with margins that stay static, or adapt to the wrong classes.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`.

    Args:
        margin: m ≥ 0, between cosines.
        control: ``"none"``; ``"static"``, the margin stays m; ``"random"``, adaptive margins
            with the classes' names shuffled at every step.
        steepness: κ of the schedule.
        centre: t₀, the share of the training at which half the way is done.
        momentum: of the centroids.
        n_components: dimensions k of the shared space.

    Raises:
        ValueError: in ``fit``; labels are needed, of at least two classes, and batches of more
            than one pair.

    Source:
        Semedo, Magalhães, "Cross-modal subspace learning with scheduled adaptive margin
        constraints", ACM Multimedia 2019; reconstructed.

    Chapter:
        7, Ranking.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = SAM(epochs=2, random_state=0).fit(train.images, train.texts, train.labels)
        >>> method.embed_images(train.images[:3]).shape
        (3, 64)
    """

    needs_labels: ClassVar[bool] = True
    needs_strangers: ClassVar[bool] = True
    _rules: ClassVar[dict[str, Rule]] = DeepMethod._rules | {
        "control": partial(check_choice, choices=("none", "static", "random"))
    }

    margin: float = 0.2
    control: str = "none"
    steepness: float = 20.0
    centre: float = 0.3
    momentum: float = 0.9

    @classmethod
    def from_paper(cls) -> Self:
        """Return the settings that are plausible for Semedo and Magalhães 2019.

        Certain: none of the numbers. Reconstructed: layers of 1,024 units, dropout, a rate of
        1e-4, batches of 64 to 128.
        """
        return cls(hidden=(1024,), dropout=0.5, learning_rate=1e-4, batch_size=64)

    def _network(self) -> TwoViewNetwork:
        margins = AdaptiveMarginTripletLoss(
            len(self.classes_),
            self.n_components,
            margin=self.margin,
            momentum=self.momentum,
            steepness=self.steepness,
            centre=self.centre,
            max_weight=0.0 if self.control == "static" else 1.0,
            random_margins=self.control == "random",
            gather=True,
        )
        return TwoViewNetwork(*self._encoders(self.n_components), margins=margins)

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        u, v = network(x, y)
        known = labels >= 0
        if not bool(known.any()):
            return triplet_loss(u, v, margin=self.margin, gather=True)
        margins: Any = network.margins
        return margins(u[known], v[known], labels[known], epoch_fraction=context.progress)
