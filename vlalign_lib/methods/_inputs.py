"""What a trained method makes of its inputs: tensors of float32, in units of the training data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from vlalign_lib._validate import as_labels, check_paired
from vlalign_lib.linear._base import Name, TwoViewEstimator, class_numbers, classes_of

IMAGES: Name = "images"
TEXTS: Name = "texts"
Rows = NDArray[np.floating]


class NetworkInputs(TwoViewEstimator):
    """Checked rows of both views, standardised and as tensors; classes counted from 0."""

    needs_labels: ClassVar[bool] = False

    scaling: str
    image_shape_: tuple[int, ...]
    classes_: NDArray[np.int64]

    def _learn_scale(self, x: Rows, y: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return both views standardised, column by column or each view as a whole."""
        zx, zy = super()._learn_scale(x, y)
        pictures = len(self.image_shape_) == 2
        if pictures:
            self.image_mean_ = np.full(x.shape[1], x.mean(dtype=np.float64))
            spread = float(np.sqrt(((x - self.image_mean_) ** 2).mean(dtype=np.float64)))
            _check_visible(spread, "images")
            self.image_scale_ = np.full(x.shape[1], spread)
            zx = (x - self.image_mean_) / self.image_scale_
        if self.scaling == "view":
            if not pictures:
                zx, self.image_scale_ = _as_a_whole(zx, self.image_scale_, "images")
            zy, self.text_scale_ = _as_a_whole(zy, self.text_scale_, "texts")
        return zx, zy

    def _standardised(self, rows: Rows, view: Name, name: str | None = None) -> NDArray[np.float64]:
        """Return rows in the units of training; ``name`` is what errors call them."""
        with np.errstate(over="ignore"):
            z = (rows - self._learned(view, "mean")) / self._learned(view, "scale")
        check_near(z, name or view)
        return z

    def _shaped(self, z: NDArray[np.float64], view: Name) -> Tensor:
        """Return standardised rows as float32, pictures with their two sides."""
        rows = torch.as_tensor(z, dtype=torch.float32, device="cpu")
        return rows.unflatten(1, self.image_shape_) if view == "images" else rows

    def _learn_classes(self, labels: ArrayLike | None, n: int) -> Tensor:
        """Return class numbers from 0, −1 for none, and remember the classes."""
        if labels is None and not self.needs_labels:
            self.classes_ = np.empty(0, dtype=np.int64)
            return torch.full((n,), -1)
        known = class_numbers(labels, n, type(self).__name__)
        self.classes_ = classes_of(known) if self.needs_labels else np.unique(known[known >= 0])
        return self._class_numbers(known)

    def _class_numbers(self, labels: NDArray[np.int64]) -> Tensor:
        numbers = {label: number for number, label in enumerate(self.classes_.tolist())}
        return torch.tensor([numbers.get(label, -1) for label in labels.tolist()])

    def _held_out(self, validation: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return held-out pairs as training gets its own; a class that is new there is none."""
        several = isinstance(validation, tuple | list)
        if not several or len(validation) not in (2, 3):
            got = f"{len(validation)} things" if several else type(validation).__name__
            raise ValueError(
                f"validation: expected (images, texts, labels) of held-out pairs, got {got}"
            )
        images, texts, labels = (*validation, None)[:3]
        if item_shape(images) != self.image_shape_:
            raise ValueError(
                f"validation: expected items like those of training, images {self.image_shape_}, "
                f"got {item_shape(images)}"
            )
        x, y = (
            self._as_in_fit(rows, view, f"validation {view}")
            for rows, view in ((images, IMAGES), (texts, TEXTS))
        )
        check_paired(x, y, ("validation images", "validation texts"))
        known = (
            np.full(len(x), -1, dtype=np.int64)
            if labels is None and not self.needs_labels
            else as_labels(labels, len(x), "validation labels")
        )
        zx = self._standardised(x, "images", "validation images")
        zy = self._standardised(y, "texts", "validation texts")
        return self._shaped(zx, "images"), self._shaped(zy, "texts"), self._class_numbers(known)


@contextmanager
def float32_on_cpu() -> Iterator[None]:
    """Make new tensors float32 in main memory, whatever torch's defaults are at the moment."""
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    torch.set_default_dtype(torch.float32)
    try:
        with nullcontext() if device.type == "cpu" else torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)


def item_shape(images: ArrayLike) -> tuple[int, ...]:
    """Return (height, width) of pictures, (p,) of vectors; other shapes are flattened."""
    shape = tuple(images.shape) if hasattr(images, "shape") else np.shape(images)
    return shape[1:] if len(shape) == 3 and min(shape[1:]) >= 8 else (int(np.prod(shape[1:])),)


def own_classes(labels: Tensor) -> Tensor:
    """Return the labels with a class of its own, below 0, for each pair that has none."""
    own = -1 - torch.arange(len(labels), device=labels.device)
    return torch.where(labels < 0, own, labels)


def check_near(values: NDArray[np.float64], name: str) -> None:
    """Raise a ValueError where a row has become too large for the network's float32."""
    far = np.flatnonzero(~(np.abs(values) <= np.finfo(np.float32).max).all(axis=1))
    if far.size:
        raise ValueError(
            f"{name}: row {far[0]} is so far from the training rows that its place overflows "
            f"({far.size} such row(s)); check its units"
        )


def _as_a_whole(
    z: NDArray[np.float64], scale: NDArray[np.float64], name: Name
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return columns with their own spread again, divided by that of the view as a whole.

    Rare words keep a small weight; a column at its own deviation 1 would give each a large one.
    """
    moving = z.any(axis=0)
    spread = float(np.sqrt((scale[moving] ** 2).mean()))
    _check_visible(spread, name)
    whole = np.full_like(scale, spread)
    return z * (scale / whole), whole


def _check_visible(spread: float, name: Name) -> None:
    """Raise a ValueError where the spread of a whole view is so small that its square vanishes."""
    if spread**2 < np.finfo(np.float64).tiny:
        raise ValueError(
            f"{name}: values so close together (a spread of {spread:.3g}) that their squares "
            "vanish; check their units, and multiply them by a constant first"
        )
