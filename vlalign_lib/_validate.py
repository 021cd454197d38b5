"""Checks of what comes in, with errors that say what was expected, what came and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_matrix(values: Any, name: str, *, min_rows: int = 1) -> NDArray[np.floating]:
    """Return ``values`` as a finite floating-point array (n, d), one row an item.

    Arrays of more than two axes (pictures, say) are flattened row by row. float32 and
    float64 keep their type, everything else becomes float64.

    Raises:
        ValueError: not numbers, no second axis, too few rows, no columns, NaN or infinity.
    """
    array = np.asarray(values)
    if array.dtype == object or not (
        np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_
    ):
        raise ValueError(
            f"{name}: expected numbers, got {array.dtype}; turn words into vectors first "
            "(load_glyphs does it with TF-IDF)"
        )
    if np.iscomplexobj(array):
        raise ValueError(f"{name}: expected real numbers, got {array.dtype}")
    if array.ndim < 2:
        raise ValueError(
            f"{name}: expected (n, d), one row an item, got shape {array.shape}; "
            "a single item is array[None, :]"
        )
    if array.shape[0] < min_rows:
        raise ValueError(f"{name}: needs at least {min_rows} rows, got {array.shape[0]}")
    if array.size == 0:
        raise ValueError(f"{name}: is empty, shape {array.shape}")
    array = array.reshape(array.shape[0], -1)
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
        raise ValueError(
            f"{name}: {bad.size} row(s) hold NaN or infinity, the first is row {bad[0]}; "
            "drop or impute them first"
        )
    return array


def check_paired(x: NDArray[Any], y: NDArray[Any], names: tuple[str, str]) -> None:
    """Raise a ValueError unless ``x`` and ``y`` have the same number of rows."""
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f"{names[0]} has {x.shape[0]} rows and {names[1]} has {y.shape[0]}: row i of one "
            "must be the partner of row i of the other"
        )


def as_labels(labels: Any, n: int, name: str = "labels") -> NDArray[np.int64]:
    """Return ``labels`` as integers (n,), one class an item.

    Raises:
        ValueError: missing, not whole numbers, not one axis, or not ``n`` of them.
    """
    if labels is None:
        raise ValueError(f"{name}: needed here, got None; pass one class index an item")
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), one an item, got {array.shape}")
    if array.dtype.kind not in "iub":
        whole = array.dtype.kind == "f" and np.isfinite(array).all() and (array % 1 == 0).all()
        if not whole:
            raise ValueError(f"{name}: expected whole numbers, got {array.dtype}")
    return array.astype(np.int64)
