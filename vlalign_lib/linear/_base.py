"""What every closed-form method shares: checks, scoring, standardised inputs, saving, loading."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import metadata_routing
from sklearn.utils.validation import check_is_fitted

from vlalign_lib._validate import as_matrix, check_paired
from vlalign_lib.linear import _store
from vlalign_lib.linear._canonical import standardise
from vlalign_lib.linear._signs import settle_signs

Name = Literal["images", "texts"]


class TwoViewEstimator(BaseEstimator, ABC):
    """Two views in, two embeddings in one space out; scikit-learn's habits throughout.

    A method writes ``_fit`` and ``_embed``; the rest is here.
    """

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
                any real dtype, any units: columns are standardised inside.
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
        self._finish_fit(x, y)
        return self

    def _finish_fit(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
        """Remember the widths, and lay what was learned out as it will lie when it is loaded.

        A product's last bits depend on how its factors lie in memory. With their rows in order
        from the start, a saved and loaded estimator says the same to the last bit.
        """
        self.n_features_in_, self.n_text_features_in_ = x.shape[1], y.shape[1]
        for name, value in vars(self).items():
            if name.endswith("_") and isinstance(value, np.ndarray) and value.ndim > 1:
                setattr(self, name, np.ascontiguousarray(value))

    def embed_images(self, images: ArrayLike) -> NDArray[np.float64]:
        """Return the images' places in the shared space, (n, k); no text is needed.

        Raises:
            ValueError: a width other than the training images', NaN or infinity.
            sklearn.exceptions.NotFittedError: before ``fit``.
        """
        return self._embed(self._rows(images, "images"), "images")

    def embed_texts(self, texts: ArrayLike) -> NDArray[np.float64]:
        """Return the texts' places in the shared space, (n, k); no image is needed.

        Raises:
            ValueError: a width other than the training texts', NaN or infinity.
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
        check_is_fitted(self, "n_components_")
        arrays: dict[str, NDArray[Any]] = {}
        record = self._record(arrays, prefix="")
        _store.write(path, record, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the estimator that ``save`` wrote to ``path``.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file holds another class, is damaged or not of this library.
        """
        record, arrays = _store.read(path)
        if record["class"] != cls.__name__:
            raise ValueError(
                f"{path}: holds a {record['class']}, not a {cls.__name__}; "
                f"use {record['class']}.load"
            )
        try:
            return cls._restore(record, arrays, prefix="")
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: the header is damaged ({error!r}); save it again") from error

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

    @staticmethod
    def _pairs(
        images: ArrayLike, texts: ArrayLike
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return both views checked, (n, p) and (n, q)."""
        x = as_matrix(images, "images", min_rows=2)
        y = as_matrix(texts, "texts", min_rows=2)
        check_paired(x, y, ("images", "texts"))
        return x, y

    def _rows(self, values: ArrayLike, view: Name) -> NDArray[np.floating]:
        check_is_fitted(self, "n_components_")
        rows = as_matrix(values, view)
        width = self.n_features_in_ if view == "images" else self.n_text_features_in_
        if rows.shape[1] != width:
            raise ValueError(
                f"{view}: expected {width} numbers a row, as in fit, got {rows.shape[1]}; "
                f"prepare these {view} exactly as the training ones, or check that the two "
                "views are not swapped"
            )
        return rows

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

    def _record(self, arrays: dict[str, NDArray[Any]], prefix: str) -> dict[str, Any]:
        """Return what JSON can hold of the estimator; put what it cannot into ``arrays``."""
        learned: dict[str, Any] = {}
        for name, value in vars(self).items():
            if not name.endswith("_"):
                continue
            if isinstance(value, np.ndarray):
                arrays[prefix + name] = value
            elif isinstance(value, TwoViewEstimator):
                learned[name] = value._record(arrays, f"{prefix}{name}.")
            else:
                learned[name] = _plain(value)
        return {"class": type(self).__name__, "params": self._plain_params(), "learned": learned}

    def _plain_params(self) -> dict[str, Any]:
        params = self.get_params(deep=False)
        for name, value in params.items():
            if isinstance(value, TwoViewEstimator):
                params[name] = {"class": type(value).__name__, "params": value._plain_params()}
            elif name == "random_state" and not isinstance(value, int | np.integer):
                params[name] = None
            else:
                params[name] = _plain(value)
        return params

    @classmethod
    def _restore(cls, record: dict[str, Any], arrays: dict[str, NDArray[Any]], prefix: str) -> Self:
        estimator = cls(**{name: _rebuilt(value) for name, value in record["params"].items()})
        learned = {
            name: _class_named(value["class"])._restore(value, arrays, f"{prefix}{name}.")
            if isinstance(value, dict)
            else value
            for name, value in record["learned"].items()
        }
        learned |= {
            name.removeprefix(prefix): array
            for name, array in arrays.items()
            if name.startswith(prefix) and "." not in name.removeprefix(prefix)
        }
        for name, value in learned.items():
            if not name.endswith("_") or name.startswith("_"):
                raise KeyError(name)  # a file never replaces anything but what fit learns
            setattr(estimator, name, value)
        return estimator


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


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON knows it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value


def _rebuilt(value: Any) -> Any:
    """Return a parameter as it was before JSON: tuples, and estimators that were not fitted."""
    if isinstance(value, dict):
        params = {name: _rebuilt(entry) for name, entry in value["params"].items()}
        return _class_named(value["class"])(**params)
    if isinstance(value, list):
        return tuple(_rebuilt(entry) for entry in value)
    return value


def _class_named(name: str) -> type[TwoViewEstimator]:
    """Return the estimator class of this name among those that are imported."""
    waiting = TwoViewEstimator.__subclasses__()
    while waiting:
        candidate = waiting.pop()
        if candidate.__name__ == name:
            return candidate
        waiting += candidate.__subclasses__()
    raise KeyError(name)
