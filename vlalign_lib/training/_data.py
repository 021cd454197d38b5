"""The arrays that training is given, as tensors where the model is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlalign_lib._validate import as_array

Columns = list[Tensor | None]
"""Tensors with one row an item; None for a view that is missing."""


def as_columns(arrays: Sequence[Any], name: str, precision: torch.dtype) -> Columns:
    """Return the arrays as tensors where they lie, floating-point ones in ``precision``."""
    if isinstance(arrays, Tensor | np.ndarray | str) or not isinstance(arrays, Sequence):
        raise ValueError(f"{name}: expected a tuple of arrays, got {type(arrays).__name__}")
    if all(array is None for array in arrays):
        raise ValueError(f"{name}: expected at least one array, got none")
    columns: Columns = []
    first: tuple[str, int] | None = None
    for i, array in enumerate(arrays):
        if array is None:
            columns.append(None)
            continue
        # A copy, because arrays of a data set are read-only and torch would warn.
        tensor = array if isinstance(array, Tensor) else _copied(array, f"{name}[{i}]")
        if tensor.is_meta or tensor.layout != torch.strided:
            raise ValueError(
                f"{name}[{i}]: expected a dense tensor with values; use .to_dense() on a sparse one"
            )
        if tensor.ndim < 1 or tensor.shape[0] == 0:
            raise ValueError(
                f"{name}[{i}]: expected one row an item, at least one; "
                f"got shape {tuple(tensor.shape)}"
            )
        first = first or (f"{name}[{i}]", tensor.shape[0])
        if tensor.shape[0] != first[1]:
            raise ValueError(
                f"{name}[{i}]: has {tensor.shape[0]} rows and {first[0]} has {first[1]}: "
                "row i of each must belong to the same item"
            )
        if tensor.is_floating_point():
            tensor = tensor.to(precision)
        columns.append(tensor.detach())
    return columns


def count(columns: Columns) -> int:
    """Return the number of items."""
    return next(column.shape[0] for column in columns if column is not None)


def place(columns: Columns, device: torch.device) -> Columns:
    """Return the columns on ``device`` where half of its free memory holds them; else as they are.

    What stays behind is moved batch by batch.
    """
    if device.type == "cuda":
        size = sum(c.numel() * c.element_size() for c in columns if c is not None)
        if size > torch.cuda.mem_get_info(device)[0] / 2:
            return columns
    return [None if column is None else column.to(device) for column in columns]


def rows_of(columns: Columns, rows: Tensor | slice, device: torch.device) -> Columns:
    """Return the given rows of each column, on ``device``."""
    batch: Columns = []
    for column in columns:
        if column is None:
            batch.append(None)
        else:
            picked = rows.to(column.device) if isinstance(rows, Tensor) else rows
            batch.append(column[picked].to(device))
    return batch


def _copied(array: Any, name: str) -> Tensor:
    values = as_array(array, name)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, one row an item, got {values.dtype}")
    native = values.dtype.newbyteorder("=")
    if native == np.longdouble:
        native = np.dtype(np.float64)
    return torch.from_numpy(np.array(values, dtype=native))
