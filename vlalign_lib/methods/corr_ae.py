"""Correspondence autoencoders: plain, cross and full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from vlalign_lib.losses import correspondence_loss
from vlalign_lib.methods._base import TwoViewNetwork
from vlalign_lib.methods._decoding import DecodingMethod
from vlalign_lib.training import FitContext


@dataclass(kw_only=True, repr=False, eq=False)
class CorrAE(DecodingMethod):
    r"""Train one autoencoder a view, and draw the codes of partners together.

    .. math::

        \min \; (1 - \alpha) \Bigl( \tfrac1p \lVert x - \hat x(u) \rVert^2
            + \tfrac1q \lVert y - \hat y(v) \rVert^2 \Bigr)
            + \tfrac{\alpha}{k} \lVert u - v \rVert^2,
        \qquad u = f(x), \quad v = g(y)

    An autoencoder alone is not cross-modal: nothing relates the two codes. Here the last term
    does, and each encoder is usable alone. At α = 1 nothing keeps the codes apart and all items
    fall on one point. The two networks share no weights. Labels are not read.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`. Decoders are layers of the widths
    ``hidden``, turned round, for pictures too.

    Args:
        alpha: α in [0, 1], the weight of the codes' distance; None for the paper's value of the
            variant (0.8, 0.2 for cross, 0.8 for full).
        n_components: dimensions k of the codes.

    Raises:
        ValueError: in ``fit``; see there.

    Source:
        Feng, Wang, Li, "Cross-modal retrieval with correspondence autoencoder", ACM Multimedia
        2014, the model Corr-AE. Certain: the objective. Different here: means over the dimensions
        in place of sums, rectifiers and Adam in place of logistic units pretrained as restricted
        Boltzmann machines.

    Chapter:
        4, Autoencoders.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = CorrAE(epochs=2, random_state=0).fit(train.images, train.texts)
        >>> method.embed_images(train.images[:3]).shape
        (3, 64)
    """

    dropout: float = 0.0
    weight_decay: float = 1e-3
    alpha: float | None = None

    _variant: ClassVar[Literal["plain", "cross", "full"]] = "plain"

    @classmethod
    def from_paper(cls) -> Self:
        """Return the settings of Feng et al. that these networks can have.

        Certain: α of the variant, a code of 1,024 units, batches of 100. Not theirs: the
        pretraining, and the optimiser.
        """
        return cls(n_components=1024, hidden=(1024,), batch_size=100)

    def _network(self) -> TwoViewNetwork:
        return TwoViewNetwork(
            *self._encoders(self.n_components),
            to_images=self._decoder(self.n_components, self.n_features_in_),
            to_texts=self._decoder(self.n_components, self.n_text_features_in_),
        )

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        u, v = network(x, y)
        to_images: Any = network.to_images
        to_texts: Any = network.to_texts
        return correspondence_loss(
            u,
            v,
            x.flatten(1),
            y,
            own=None if self._variant == "cross" else (to_images(u), to_texts(v)),
            crossed=None if self._variant == "plain" else (to_images(v), to_texts(u)),
            variant=self._variant,
            alpha=self.alpha,
            gather=True,
        )


@dataclass(kw_only=True, repr=False, eq=False)
class CorrCrossAE(CorrAE):
    r"""Train two encoders whose codes each reconstruct the partner's view.

    .. math::

        \min \; (1 - \alpha) \Bigl( \tfrac1p \lVert x - \hat x(v) \rVert^2
            + \tfrac1q \lVert y - \hat y(u) \rVert^2 \Bigr)
            + \tfrac{\alpha}{k} \lVert u - v \rVert^2

    What one view alone shows has no use in the partner's reconstruction, and need not be kept.
    At α = 0 this is two separate translations, whose codes have nothing to do with each other.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`.

    Args:
        alpha: α in [0, 1]; None for the paper's 0.2.
        n_components: dimensions k of the codes.

    Raises:
        ValueError: in ``fit``; see there.

    Source:
        Feng, Wang, Li, ACM Multimedia 2014, the model Corr-Cross-AE; see :class:`CorrAE`.

    Chapter:
        4, Autoencoders.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = CorrCrossAE(epochs=2, random_state=0).fit(train.images, train.texts)
        >>> images, texts = method.reconstruct_from_images(train.images[:3])
        >>> images.shape, texts.shape
        ((3, 32), (3, 32))
    """

    _variant = "cross"


@dataclass(kw_only=True, repr=False, eq=False)
class CorrFullAE(CorrAE):
    r"""Train two encoders whose codes each reconstruct both views.

    .. math::

        \min \; (1 - \alpha) \sum_{c \in \{u, v\}} \Bigl( \tfrac1p \lVert x - \hat x(c) \rVert^2
            + \tfrac1q \lVert y - \hat y(c) \rVert^2 \Bigr)
            + \tfrac{\alpha}{k} \lVert u - v \rVert^2

    Each decoder reads both codes, and that alone ties them: a decoder has one language. Even at
    α = 0 the codes of partners come near.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`.

    Args:
        alpha: α in [0, 1]; None for the paper's 0.8.
        n_components: dimensions k of the codes.

    Raises:
        ValueError: in ``fit``; see there.

    Source:
        Feng, Wang, Li, ACM Multimedia 2014, the model Corr-Full-AE; see :class:`CorrAE`.

    Chapter:
        4, Autoencoders.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = CorrFullAE(epochs=2, random_state=0).fit(train.images, train.texts)
        >>> images, texts = method.reconstruct_from_images(train.images[:3])
        >>> images.shape, texts.shape
        ((3, 32), (3, 32))
    """

    _variant = "full"
