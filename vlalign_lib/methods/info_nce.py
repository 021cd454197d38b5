"""InfoNCE: every other pair of the batch is a negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from vlalign_lib.losses import info_nce_loss
from vlalign_lib.methods._base import DeepMethod, TwoViewNetwork
from vlalign_lib.training import FitContext


@dataclass(kw_only=True, repr=False, eq=False)
class InfoNCE(DeepMethod):
    r"""Train two encoders so that each item picks its partner out of the batch.

    .. math::

        \mathcal{L} = -\frac{1}{2B} \sum_i \Bigl(
            \log \frac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ij}/\tau}} +
            \log \frac{e^{s_{ii}/\tau}}{\sum_j e^{s_{ji}/\tau}} \Bigr),
        \qquad s_{ij} = \cos(u_i, v_j)

    It needs pairs and no labels. Items of one class push each other away like any others, so it
    finds the partner and does not gather classes.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`.

    Args:
        temperature: τ; the smaller, the more the nearest wrong partner counts.
        n_components: dimensions k of the shared space.

    Raises:
        ValueError: in ``fit``; see there. A batch of one pair, which has no strangers.

    Source:
        van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding",
        2018, equation 4; between images and texts, in both directions, as in Radford et al.,
        "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.

    Chapter:
        7, Ranking; 17, From here to CLIP.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = InfoNCE(epochs=2, random_state=0).fit(train.images, train.texts)
        >>> method.embed_texts(train.texts[:3]).shape
        (3, 64)
    """

    needs_strangers: ClassVar[bool] = True

    temperature: float = 0.07

    @classmethod
    def from_paper(cls) -> Self:
        """Return the settings of Radford et al. that a small network can have.

        Certain: the symmetric loss, the temperature at its start (0.07; learned there, fixed
        here), weight decay 0.2. Not theirs: the encoders, the batch (32,768 there), the epochs.
        """
        return cls(temperature=0.07, weight_decay=0.2)

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        u, v = network(x, y)
        return info_nce_loss(u, v, temperature=self.temperature, gather=True)
