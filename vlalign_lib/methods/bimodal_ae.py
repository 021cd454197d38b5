"""The bimodal autoencoder: one code of both views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from vlalign_lib._validate import Rule, check_paired
from vlalign_lib.linear._base import Name
from vlalign_lib.methods._base import DeepMethod, TwoViewNetwork, as_missing
from vlalign_lib.methods._decoding import DecodingMethod, Views
from vlalign_lib.methods._inputs import IMAGES, TEXTS, check_near
from vlalign_lib.training import FitContext


class _OneCode(TwoViewNetwork):
    """Two inlets into one code; a view that is missing is a row of zeros, its mean."""

    joint: nn.Module
    shapes: dict[str, tuple[int, ...]]

    def code(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the code (B, k) of both views."""
        return self.joint(torch.cat([self.images(x), self.texts(y)], dim=1).relu())

    def encode(self, rows: Tensor, view: Name) -> Tensor:
        """Return the code (B, k) of one view, the other one missing."""
        other: Name = "texts" if view == "images" else "images"
        nothing = rows.new_zeros(len(rows), *self.shapes[other])
        return self.code(rows, nothing) if view == "images" else self.code(nothing, rows)


@dataclass(kw_only=True, repr=False, eq=False)
class BimodalAE(DecodingMethod):
    r"""Train one code from which both views can be reconstructed.

    .. math::

        \min \; \tfrac1p \lVert x - \hat x(c) \rVert^2 + \tfrac1q \lVert y - \hat y(c) \rVert^2,
        \qquad c = h\bigl([\phi(x); \psi(y)]\bigr)

    Trained on whole pairs only, it is not cross-modal: the code of a picture without its text has
    never been asked for. With ``missing`` above 0 that share of the pairs is shown without the
    text and the same share without the image, and both are reconstructed all the same; then a
    code from either view alone comes near the code of the pair. Labels are not read.

    ``hidden``, ``channels``, ``dropout``, ``shift``, ``scaling``, ``epochs``, ``batch_size``,
    ``learning_rate``, ``weight_decay``, ``random_state``, ``device`` and ``progress`` are those of
    every trained method; see :mod:`vlalign_lib.methods`. Each inlet gives as many numbers as the
    code has.

    Args:
        missing: share of the pairs, in [0, 1/2], shown with one view only, for each view. 1/3
            shows a third whole, a third as images, a third as texts.
        n_components: dimensions k of the code.

    Raises:
        ValueError: in ``fit``; see there.

    Source:
        Ngiam et al., "Multimodal deep learning", ICML 2011, section 3. Certain: the shared code,
        and the missing modality replaced by zeros with both views to be reconstructed. Different
        here: no pretraining by restricted Boltzmann machines.

    Chapter:
        4, Autoencoders.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> method = BimodalAE(epochs=2, random_state=0).fit(train.images, train.texts)
        >>> method.embed_texts(train.texts[:3]).shape
        (3, 64)
        >>> method.embed_pairs(train.images[:3], train.texts[:3]).shape
        (3, 64)
    """

    _rules: ClassVar[dict[str, Rule]] = DeepMethod._rules | {"missing": as_missing}

    dropout: float = 0.0
    weight_decay: float = 1e-3
    missing: float = 1 / 3

    @classmethod
    def from_paper(cls) -> Self:
        """Return the settings of Ngiam et al. that these networks can have.

        Certain: a third of the data whole, a third with each view alone. Not theirs: the widths.
        """
        return cls(missing=1 / 3)

    def embed_pairs(self, images: ArrayLike, texts: ArrayLike) -> NDArray[np.float64]:
        """Return the codes (n, k) of whole pairs: features of both views, or a query of both.

        Args:
            images: (n, p), or pictures (n, height, width), as in ``fit``.
            texts: (n, q), the partners.

        Returns:
            (n, k), in the space of ``embed_images`` and ``embed_texts``.

        Raises:
            ValueError: views that are not paired, or of another width than in training.
            sklearn.exceptions.NotFittedError: before ``fit``.
        """
        x, y = self._rows(images, "images"), self._rows(texts, "texts")
        check_paired(x, y, ("images", "texts"))
        network: Any = self.network_
        zx, zy = (
            self._shaped(self._standardised(rows, view), view)
            for rows, view in ((x, IMAGES), (y, TEXTS))
        )
        codes = self._through(network.code, zx, zy)
        check_near(codes, "images and texts")
        return codes

    def reconstruct(self, images: ArrayLike, texts: ArrayLike) -> Views:
        """Return both views as the code of the pair tells them.

        Args:
            images: (n, p), or pictures (n, height, width), as in ``fit``.
            texts: (n, q), the partners.

        Returns:
            (n, p) images and (n, q) texts, in the units of the training data.

        Raises:
            ValueError: views that are not paired, or of another width than in training.
            sklearn.exceptions.NotFittedError: before ``fit``.
        """
        return self._decoded(self.embed_pairs(images, texts))

    def _network(self) -> TwoViewNetwork:
        k = self.n_components
        network = _OneCode(
            *self._encoders(k),
            joint=nn.Linear(2 * k, k),
            to_images=self._decoder(k, self.n_features_in_),
            to_texts=self._decoder(k, self.n_text_features_in_),
        )
        network.shapes = {"images": self.image_shape_, "texts": (self.n_text_features_in_,)}
        return network

    def _loss(
        self, network: TwoViewNetwork, x: Tensor, y: Tensor, labels: Tensor, context: FitContext
    ) -> Tensor:
        whole: Any = network

        def lost(seen_x: Tensor, seen_y: Tensor) -> Tensor:
            code = whole.code(seen_x, seen_y)
            lost_x = (whole.to_images(code) - x.flatten(1)).square().mean()
            return lost_x + (whole.to_texts(code) - y).square().mean()

        p = self.missing
        if context.training:
            drawn = torch.as_tensor(context.rng.random(len(x)), device=x.device)
            seen_x = x * (drawn >= p).view(-1, *[1] * (x.ndim - 1))
            return lost(seen_x, y * (drawn < 1 - p)[:, None])
        # Held-out pairs are judged by what training draws, in its mean.
        if not p:
            return lost(x, y)
        alone = lost(x, torch.zeros_like(y)) + lost(torch.zeros_like(x), y)
        return (1 - 2 * p) * lost(x, y) + p * alone
