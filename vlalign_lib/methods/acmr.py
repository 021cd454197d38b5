"""Adversarial cross-modal retrieval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from vlalign_lib._validate import Rule, as_flag
from vlalign_lib.losses import (
    classification_proxy_loss,
    domain_adversarial_loss,
    reversal_schedule,
    triplet_loss,
)
from vlalign_lib.methods._base import DeepMethod, TwoViewNetwork
from vlalign_lib.methods._inputs import own_classes
from vlalign_lib.training import FitContext


@dataclass(kw_only=True, repr=False, eq=False)
class ACMR(DeepMethod):
    r"""Train two encoders on labels and triplets against a judge who guesses the view.

    .. math::

        \min_{f, g, P} \max_{D} \;
        \beta \, \mathcal L_{\text{classes}}(f, g, P) + \mathcal L_{\text{triplets}}(f, g)
        - \lambda_t \, \mathcal L_{\text{views}}(D, f, g)

    Codes lie between −1 and 1 (tanh). One label layer P reads both views' codes; the
    discriminator D tells images from texts, and its gradient reaches the encoders reversed, with a
    strength :math:`\lambda_t` that grows from 0 (:func:`vlalign_lib.losses.reversal_schedule`).
    One step of one optimiser moves everything.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`.

    Args:
        class_weight: β, of the label layer's cross-entropy.
        adversary: factor of the reversed gradient's strength; 0 switches the adversary off.
        margin: of the triplets, between cosines; semi-hard negatives of the batch.
        as_released: train as the authors' published code does instead: the discriminator learns
            from codes that its gradient does not reach, so that there is no adversary, and the
            label layer keeps its random weights. (Its triplets also measure sums of coordinates
            where squared lengths are meant; that is not imitated.)
        n_components: dimensions k of the shared space.

    Raises:
        ValueError: in ``fit``; labels are needed, of at least two classes.

    Source:
        Wang, Yang, Xu, Hanjalic, Shen, "Adversarial cross-modal retrieval", ACM Multimedia 2017.
        Certain: the three terms, gradient reversal and its schedule, tanh codes, a discriminator of
        three linear layers, each half as wide as the one before. Different here: cosine triplets
        with semi-hard negatives, where the paper takes the item of another class that looks most
        alike; every item of an anchor's class is its friend.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = ACMR(epochs=2, random_state=0).fit(train.images, train.texts, train.labels)
        >>> method.embed_images(train.images[:3]).shape
        (3, 40)
    """

    needs_labels: ClassVar[bool] = True

    _rules: ClassVar[dict[str, Rule]] = DeepMethod._rules | {"as_released": as_flag}

    n_components: int = 40
    class_weight: float = 1.0
    adversary: float = 0.1
    margin: float = 0.2
    as_released: bool = False

    @classmethod
    def from_paper(cls) -> Self:
        """Return the settings of the paper's code for Wikipedia.

        Certain: 40 dimensions, tanh layers of 512 and 100 units for images and 100 for texts (here
        rectifiers, 512 and 100 for both), Adam at 1e-4, batches of 64, 200 epochs, a weight of 100
        on the label layer.
        """
        return cls(
            class_weight=100.0,
            adversary=1.0,
            hidden=(512, 100),
            batch_size=64,
            epochs=200,
            learning_rate=1e-4,
        )

    def _network(self) -> TwoViewNetwork:
        k = self.n_components
        label_layer = nn.Linear(k, len(self.classes_)).requires_grad_(not self.as_released)
        half, quarter = max(k // 2, 2), max(k // 4, 2)
        judge = nn.Sequential(nn.Linear(k, half), nn.Linear(half, quarter), nn.Linear(quarter, 2))
        images, texts = (nn.Sequential(encoder, nn.Tanh()) for encoder in self._encoders(k))
        return TwoViewNetwork(images, texts, label_layer=label_layer, judge=judge)

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        parts: Any = network
        u, v = network(x, y)
        classes = classification_proxy_loss(
            parts.label_layer(u), parts.label_layer(v), labels, gather=True
        )
        triplets = triplet_loss(
            u, v, own_classes(labels), margin=self.margin, mining="semi-hard", gather=True
        )
        seen = (u.detach(), v.detach()) if self.as_released else (u, v)
        views = domain_adversarial_loss(
            *seen,
            parts.judge,
            strength=self.adversary * reversal_schedule(context.progress),
            gather=True,
        )
        return self.class_weight * classes + triplets + views
