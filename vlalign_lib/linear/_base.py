"""What every method shares: checked inputs, standardised, and two embeddings that are scored."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import svd
from sklearn.base import BaseEstimator
from sklearn.utils import metadata_routing
from sklearn.utils.validation import check_is_fitted

from vlalign_lib._fast import fast
from vlalign_lib._validate import (
    Rule,
    as_labels,
    as_matrix,
    as_number,
    as_whole,
    check_names,
    check_paired,
    column_names,
    optional,
)

Name = Literal["images", "texts"]
Matrix = NDArray[np.float64]

_NAMES = {"images": "feature_names_in_", "texts": "text_feature_names_in_"}
# The square of a scale below this has lost digits.
_FAINT = 1e-140

components: Rule = optional(
    partial(as_whole, hint="; None is for as many components as the data have")
)
"""The rule of ``n_components``."""

ridge: Rule = partial(
    as_number,
    low=0,
    hint="; it is relative to the data's own scale, so 1e-4 to 1 is the range to search",
)
"""The rule of a relative ridge."""


class TwoViewEstimator(BaseEstimator, ABC):
    """Two views in, two embeddings in one space out; scikit-learn's habits throughout.

    A method writes ``_fit`` and ``_embed``, and lists in ``_rules`` what its parameters may be;
    the rest is here.
    """

    _rules: ClassVar[dict[str, Rule]] = {}

    # To scikit-learn the two views are data, not metadata to be routed; labels can be.
    __metadata_request__fit = {  # noqa: RUF012
        "images": metadata_routing.UNUSED,
        "texts": metadata_routing.UNUSED,
        "validation": metadata_routing.UNUSED,
    }
    __metadata_request__score = {  # noqa: RUF012
        "images": metadata_routing.UNUSED,
        "texts": metadata_routing.UNUSED,
    }

    image_mean_: NDArray[np.float64]
    image_scale_: NDArray[np.float64]
    text_mean_: NDArray[np.float64]
    text_scale_: NDArray[np.float64]
    n_features_in_: int
    n_text_features_in_: int
    n_components_: int

    def fit(
        self,
        images: ArrayLike,
        texts: ArrayLike,
        labels: ArrayLike | None = None,
        *,
        validation: tuple[Any, ...] | None = None,
    ) -> Self:
        """Learn from pairs: row i of ``images`` belongs to row i of ``texts``.

        Args:
            images: (n, p), or pictures (n, height, width), which are flattened row by row;
                any real dtype, any units: columns are standardised inside. Of a data frame the
                names of the columns are remembered, and asked for again (``feature_names_in_``,
                ``text_feature_names_in_``).
            texts: (n, q), the partners.
            labels: (n,) class indices, read by the methods that need them only.
            validation: held-out ``(images, texts, labels)``. Every method takes it, so that all
                are called alike; a closed form has nothing to stop early and does not read it.

        Returns:
            The estimator itself, fitted on every row it was given.

        Raises:
            ValueError: views that are not paired, fewer than two pairs, NaN or infinity,
                a view without any variation, or a parameter out of range.
        """
        x, y = self._pairs(images, texts)
        self._fit(x, y, labels)
        self._finish_fit()
        return self

    def _finish_fit(self) -> None:
        """Lay what was learned out in memory as it will lie when it is loaded.

        A product's last bits depend on how its factors lie in memory. With their rows in order
        from the start, a saved and loaded estimator says the same to the last bit.
        """
        for name, value in vars(self).items():
            if name.endswith("_") and isinstance(value, np.ndarray) and value.ndim > 1:
                setattr(self, name, np.ascontiguousarray(value))

    def embed_images(self, images: ArrayLike) -> NDArray[np.float64]:
        """Return the images' places in the shared space, (n, k); no text is needed.

        Raises:
            ValueError: a width other than the training images', NaN or infinity; a data frame
                whose columns have other names than in ``fit``, or lie in another order.
            sklearn.exceptions.NotFittedError: before ``fit``.
        """
        return self._embed(self._rows(images, "images"), "images")

    def embed_texts(self, texts: ArrayLike) -> NDArray[np.float64]:
        """Return the texts' places in the shared space, (n, k); no image is needed.

        Raises:
            ValueError: a width other than the training texts', NaN or infinity; a data frame
                whose columns have other names than in ``fit``, or lie in another order.
            sklearn.exceptions.NotFittedError: before ``fit``.
        """
        return self._embed(self._rows(texts, "texts"), "texts")

    def score(self, images: ArrayLike, texts: ArrayLike) -> float:
        """Return the mean reciprocal rank of the partner, both directions averaged, in (0, 1].

        It needs no labels and more is better, so ``GridSearchCV`` can search with it.

        Raises:
            ValueError: views that are not paired, or of another width than in training.
            sklearn.exceptions.NotFittedError: before ``fit``.
        """
        from vlalign_lib.metrics import mean_reciprocal_rank

        u, v = self.embed_images(images), self.embed_texts(texts)
        check_paired(u, v, ("images", "texts"))
        return (mean_reciprocal_rank(u, v) + mean_reciprocal_rank(v, u)) / 2

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to ``path``: safetensors with a JSON header, no pickle.

        The file is written whole or not at all. A ``random_state`` that is not an integer is
        saved as None: nothing in a fitted estimator depends on it.

        Raises:
            sklearn.exceptions.NotFittedError: before ``fit``.
        """
        from vlalign_lib.linear import _saving

        check_is_fitted(self, "n_components_")
        _saving.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the estimator that ``save`` wrote to ``path``.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file holds another class, is damaged or not of this library.
        """
        from vlalign_lib.linear import _saving

        return _saving.load(cls, path)

    @classmethod
    @abstractmethod
    def from_paper(cls) -> Self:
        """Return the method with the settings of its paper, as far as they are known."""

    @abstractmethod
    def _fit(
        self, x: NDArray[np.floating], y: NDArray[np.floating], labels: ArrayLike | None
    ) -> None:
        """Learn from checked views (n, p) and (n, q)."""

    @abstractmethod
    def _embed(self, rows: NDArray[np.floating], view: Name) -> NDArray[np.float64]:
        """Embed checked rows of one view."""

    def _checked(self) -> SimpleNamespace:
        """Return the parameters as plain values, each as its rule wants it.

        Raises:
            ValueError: a parameter that makes no sense, by name.
        """
        return SimpleNamespace(
            **{name: rule(getattr(self, name), name) for name, rule in self._rules.items()}
        )

    def _pairs(
        self, images: ArrayLike, texts: ArrayLike
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return both views checked, (n, p) and (n, q), and remember their columns."""
        x = as_matrix(images, "images", min_rows=2)
        y = as_matrix(texts, "texts", min_rows=2)
        check_paired(x, y, ("images", "texts"))
        self.n_features_in_, self.n_text_features_in_ = x.shape[1], y.shape[1]
        for view, values in (("images", images), ("texts", texts)):
            names = column_names(values, view)
            if names is not None:
                setattr(self, _NAMES[view], np.array(names, dtype=object))
            elif hasattr(self, _NAMES[view]):
                delattr(self, _NAMES[view])  # of an earlier fit
        return x, y

    def _rows(self, values: ArrayLike, view: Name) -> NDArray[np.floating]:
        check_is_fitted(self, "n_components_")
        return self._as_in_fit(values, view, view)

    def _as_in_fit(self, values: ArrayLike, view: Name, name: str) -> NDArray[np.floating]:
        """Return further rows of a view; ``name`` is what errors call them."""
        rows, width = as_matrix(values, name), self._width(view)
        if rows.shape[1] != width:
            raise ValueError(
                f"{name}: expected {width} numbers a row, as in fit, got {rows.shape[1]}; "
                f"prepare these {view} exactly as the training ones, or check that the two "
                "views are not swapped"
            )
        fitted = getattr(self, _NAMES[view], None)
        check_names(column_names(values, name), None if fitted is None else list(fitted), name)
        return rows

    def _width(self, view: Name) -> int:
        """Return how many numbers a row of a view has."""
        return self.n_features_in_ if view == "images" else self.n_text_features_in_

    def _learned(self, view: Name, what: str) -> NDArray[np.float64]:
        """Return ``image_<what>_`` or ``text_<what>_``."""
        learned: NDArray[np.float64] = getattr(self, f"{view[:-1]}_{what}_")
        return learned

    def _learn_scale(
        self, x: NDArray[np.floating], y: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return both views standardised and remember how."""
        zx, self.image_mean_, self.image_scale_ = standardise(x, "images")
        zy, self.text_mean_, self.text_scale_ = standardise(y, "texts")
        return zx, zy


class LinearProjection(TwoViewEstimator):
    """A method whose two embeddings are u = Aᵀ(x − m)/s: standardise, then project."""

    image_weights_: NDArray[np.float64]
    text_weights_: NDArray[np.float64]

    def _learn_weights(
        self,
        z: tuple[NDArray[np.float64], NDArray[np.float64]],
        weights: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:
        """Keep the weights on the standardised columns ``z`` of both views, signs settled."""
        for scale, columns, w in zip(
            (self.image_scale_, self.text_scale_), z, weights, strict=True
        ):
            still = np.flatnonzero(scale == 1)
            still = still[~columns[:, still].any(axis=0)]
            w[still] = 0.0  # rounding gives constant columns a weight
        self.image_weights_, self.text_weights_ = settle_signs(*weights)

    def _embed(self, rows: NDArray[np.floating], view: Name) -> NDArray[np.float64]:
        centred = rows - self._learned(view, "mean")
        embedded: NDArray[np.float64] = centred @ (
            self._learned(view, "weights") / self._learned(view, "scale")[:, None]
        )
        return embedded


def standardise(x: NDArray[np.floating], name: str) -> tuple[Matrix, Matrix, Matrix]:
    """Return (x − mean)/scale in float64, the mean (p,) and the scale (p,).

    A column that never changes keeps the scale 1 and becomes exactly zero.
    """
    n = x.shape[0]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = x.mean(axis=0, dtype=np.float64)
        z = x - mean
        scale = np.sqrt(np.einsum("ij,ij->j", z, z) / (n - 1))
    if not np.isfinite(scale).all():
        raise ValueError(f"{name}: values too large to square; divide them by a constant first")
    faint = scale < _FAINT
    if faint.any():  # squares may have vanished
        scale[faint] = _faint_scale(z[:, faint])
    constant = scale <= n * np.finfo(np.float64).eps * np.abs(mean)
    if constant.all():
        raise ValueError(
            f"{name}: all {x.shape[1]} columns are constant over the {n} rows, so there is nothing "
            "that could go with the other view; check that rows are items"
        )
    scale[constant] = 1.0
    z /= scale
    z[:, constant] = 0.0
    return z, mean, scale


def _faint_scale(z: Matrix) -> Matrix:
    """Return the standard deviations of centred columns whose squares are no numbers any more."""
    _, exponents = np.frexp(np.abs(z).max(axis=0))
    columns = np.ldexp(z, -exponents)
    length = np.sqrt(np.einsum("ij,ij->j", columns, columns) / (len(z) - 1))
    scale: Matrix = np.ldexp(length, exponents)
    return scale


def squared_distances(a: Matrix, b: Matrix) -> Matrix:
    """Return ‖a_i − b_j‖², (n, m)."""
    distances = a @ b.T
    distances *= -2
    distances += np.einsum("ij,ij->i", a, a)[:, None]
    distances += np.einsum("ij,ij->i", b, b)
    if a is b:
        np.fill_diagonal(distances, 0.0)
    return np.maximum(distances, 0.0, out=distances)


def class_numbers(labels: ArrayLike | None, n: int, method: str) -> NDArray[np.int64]:
    """Return class indices (n,), where negative ones stand for no class.

    Raises:
        ValueError: no labels, no class indices, or not ``n`` of them.
    """
    if labels is None:
        raise ValueError(
            f"labels: {method} needs one class index a pair, got None; call "
            "fit(images, texts, labels), or use CCA where there are no labels"
        )
    return as_labels(labels, n)


def classes_of(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the classes among the labels, ascending.

    Raises:
        ValueError: fewer than two, which leaves nothing to tell apart.
    """
    classes = np.unique(labels[labels >= 0])
    if len(classes) < 2:
        raise ValueError(
            f"labels: needs pairs of two classes or more to tell apart, got classes "
            f"{classes.tolist()}" + (" (-1 means no label)" if (labels < 0).any() else "")
        )
    return classes


def as_pair(value: Any, name: str, *, rule: Rule, what: str) -> tuple[Any, Any]:
    """Return a parameter for images and one for texts, given as one for both or as a pair.

    Raises:
        ValueError: neither is what ``rule`` lets through, or what is given is no pair.
    """
    try:
        x, y = value if isinstance(value, tuple | list) else (value, value)
        return rule(x, name), rule(y, name)
    except ValueError:
        raise ValueError(
            f"{name}: expected {what}, or a pair of these for (images, texts); got {value!r}"
        ) from None


@fast("leading_svd")
def leading_svd(matrix: Matrix, k: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return the ``k`` leading singular triplets: u (d_x, k), s (k,) descending, v (d_y, k)."""
    u, s, vt = svd(matrix, full_matrices=False, check_finite=False)
    return u[:, :k], s[:k], vt[:k].T


def available_components(asked: int | None, most: int, why: str, *, stacklevel: int) -> int:
    """Return how many components to keep, with a warning where the data have fewer than asked."""
    if asked is None:
        return most
    if asked > most:
        warnings.warn(
            f"n_components={asked}, but only {most} can be learned here: {why}; keeping {most} "
            "(see n_components_)",
            UserWarning,
            stacklevel=stacklevel,
        )
    return min(asked, most)


def settle_signs(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Flip paired columns so that the entry of largest magnitude in each column of a is positive.

    A pair of directions is defined up to one common sign.
    """
    largest = np.abs(a).argmax(axis=0)
    sign = np.where(a[largest, np.arange(a.shape[1])] < 0, -1.0, 1.0)
    return a * sign, b * sign
