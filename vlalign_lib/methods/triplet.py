"""Triplets: a partner nearer than a stranger, by a margin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, Self

from torch import Tensor

from vlalign_lib._validate import Rule, as_flag, check_choice
from vlalign_lib.losses import triplet_loss
from vlalign_lib.methods._base import DeepMethod, TwoViewNetwork
from vlalign_lib.methods._inputs import own_classes
from vlalign_lib.training import FitContext


@dataclass(kw_only=True, repr=False, eq=False)
class Triplet(DeepMethod):
    r"""Train two encoders so that friends are more similar than strangers, in both directions.

    .. math::

        \min \; \frac{1}{|T|} \sum_{(a, p, n) \in T} \bigl[m - s(a, p) + s(a, n)\bigr]_+

    with the cosine s, and triplets T chosen in each batch by ``mining``. With labels the friends
    of an anchor are all items of its class; without them, or with ``positives="pair"``, its own
    partner alone, and then items of its class are strangers: better for finding the partner,
    worse for finding the class.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`.

    Args:
        margin: m ≥ 0, between cosines.
        mining: ``"semi-hard"``, ``"all"`` that violate the margin, ``"hardest"`` or ``"random"``;
            see :func:`vlalign_lib.losses.triplet_loss`.
        positives: ``"class"`` or ``"pair"``. A pair without a class is its own.
        intra: also compare items within each view; needs labels.
        n_components: dimensions k of the shared space.

    Raises:
        ValueError: in ``fit``; see there. A batch of one pair, which has no strangers.

    Source:
        Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, equation 3 and section 3.2 for
        semi-hard negatives; hardest negatives in both directions between images and texts: Faghri
        et al., "VSE++", BMVC 2018, equation 6.

    Chapter:
        7, Ranking.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = Triplet(epochs=2, random_state=0)
        >>> method = method.fit(train.images, train.texts, train.labels)
        >>> method.embed_images(train.images[:3]).shape
        (3, 64)
    """

    needs_strangers: ClassVar[bool] = True
    _rules: ClassVar[dict[str, Rule]] = DeepMethod._rules | {
        "positives": partial(check_choice, choices=("class", "pair")),
        "intra": as_flag,
    }

    margin: float = 0.2
    mining: Literal["semi-hard", "all", "hardest", "random"] = "semi-hard"
    positives: str = "class"
    intra: bool = False

    @classmethod
    def from_paper(cls) -> Self:
        """Return the settings of FaceNet that fit here.

        Certain: semi-hard negatives, a margin of 0.2 (there between squared distances of unit
        vectors, which are 2 − 2s: half of it between cosines), 128 dimensions. Not theirs: the
        networks, the batch of 1,800.
        """
        return cls(margin=0.1, n_components=128)

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        u, v = network(x, y)
        return triplet_loss(
            u,
            v,
            None if self.positives == "pair" else own_classes(labels),
            margin=self.margin,
            mining=self.mining,
            intra=self.intra,
            gather=True,
        )
