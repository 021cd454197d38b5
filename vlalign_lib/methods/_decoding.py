"""What methods with decoders can do besides embedding: give the views back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib.linear._base import Name
from vlalign_lib.methods._base import DeepMethod

Views = tuple[NDArray[np.float64], NDArray[np.float64]]


class DecodingMethod(DeepMethod):
    """A method whose network has ``to_images`` and ``to_texts``, from codes to views."""

    def reconstruct_from_images(self, images: ArrayLike) -> Views:
        """Return both views as the images' codes tell them; no text is needed.

        The second one is what a picture leads the model to expect of its text.

        Args:
            images: (n, p), or pictures (n, height, width), as in ``fit``.

        Returns:
            (n, p) images, pictures flattened row by row, and (n, q) texts, in the units of
            the training data.

        Raises:
            ValueError: a width other than the training images', NaN or infinity.
            sklearn.exceptions.NotFittedError: before ``fit``.
        """
        return self._decoded(self.embed_images(images))

    def reconstruct_from_texts(self, texts: ArrayLike) -> Views:
        """Return both views as the texts' codes tell them; no image is needed.

        Args:
            texts: (n, q), as in ``fit``.

        Returns:
            (n, p) images and (n, q) texts, in the units of the training data.

        Raises:
            ValueError: a width other than the training texts', NaN or infinity.
            sklearn.exceptions.NotFittedError: before ``fit``.
        """
        return self._decoded(self.embed_texts(texts))

    def _decoded(self, codes: NDArray[np.float64]) -> Views:
        """Return what both decoders make of codes (n, k), in the units of the training data."""
        network: Any = self.network_
        rows = self._shaped(codes, "texts")
        x, y = (self._through(decode, rows) for decode in (network.to_images, network.to_texts))
        return self._in_units(x, "images"), self._in_units(y, "texts")

    def _in_units(self, z: NDArray[np.float64], view: Name) -> NDArray[np.float64]:
        return z * self._learned(view, "scale") + self._learned(view, "mean")
