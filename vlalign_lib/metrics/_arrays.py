"""Arrays and tensors: take either, compute in numpy or on the device, give back the same kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_array, as_labels, is_tensor

if TYPE_CHECKING:
    import torch


def cuda_device(*arrays: Any) -> torch.device | None:
    """Return the CUDA device on which the work should be done, if one of the arrays is there."""
    for array in arrays:
        if is_tensor(array) and array.device.type == "cuda":
            device: torch.device = array.device
            return device
    return None


def like(reference: Any, values: NDArray[np.float64]) -> Any:
    """Return per-query values as the kind of the queries: float64 array, or tensor beside them.

    A tensor keeps the dtype of the queries, float32 at least: half precision has no whole
    numbers above 2,048 and could not hold a rank.
    """
    if not is_tensor(reference):
        return values
    import torch

    dtype = torch.float64 if reference.dtype == torch.float64 else torch.float32
    return torch.as_tensor(values, dtype=dtype, device=reference.device)


def as_items(values: Any, name: str) -> Any:
    """Return ``values`` as something with a shape and at least one row."""
    values = values if hasattr(values, "shape") else as_array(values, name)
    if len(values.shape) == 0 or values.shape[0] == 0:
        raise ValueError(
            f"{name}: expected at least one row, one row an item, got shape {tuple(values.shape)}"
        )
    return values


def count_items(values: Any, name: str) -> int:
    """Return the number of rows."""
    return int(as_items(values, name).shape[0])


def as_class_labels(labels: Any, n: int, name: str) -> NDArray[np.int64]:
    """Return class indices (n,); an item without a class (−1) is the caller's to leave out."""
    array = as_labels(labels, n, name)
    if (array < 0).any():
        count = int((array < 0).sum())
        raise ValueError(
            f"{name}: {count} of {n} labels are negative, and -1 marks an item without a class; "
            "leave such items out of queries and gallery first: keep = labels >= 0"
        )
    return array


def as_cutoff(k: Any, gallery: int, name: str) -> int:
    """Return ``k`` as an integer between 1 and the size of the gallery."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)):
        raise ValueError(f"{name}: expected a whole number, got {k!r}")
    if k < 1:
        raise ValueError(f"{name}: expected at least 1, got {k}")
    if k > gallery:
        raise ValueError(
            f"{name}={k}, but the gallery has {gallery} items: everything would count as found; "
            f"use {name} <= {gallery} or a larger gallery"
        )
    return int(k)


def as_cutoffs(k: Any, gallery: int) -> list[int]:
    """Return one or several ``k`` as integers, each once, in their order."""
    several = isinstance(k, Iterable) and getattr(k, "ndim", 1) > 0
    return list(dict.fromkeys(as_cutoff(each, gallery, "k") for each in (k if several else [k])))
