"""What comes in: two views as tensors, which rows count, and how rows are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from vlalign_lib._module import Positive
from vlalign_lib._tensors import as_floats, as_number, as_views, check_same_device
from vlalign_lib._validate import as_array, check_settings, is_tensor

Kernel = Literal["linear", "rbf"]


def as_widths(sigma: Any, name: str) -> tuple[float, float]:
    """Return the widths of two kernels, of which one number stands for both."""
    pair = tuple(sigma) if isinstance(sigma, tuple | list) else (sigma, sigma)
    if len(pair) != 2:
        raise ValueError(f"{name}: expected a number, or a pair for (x, y), got {sigma!r}")
    return as_number(pair[0], name, above=0.0), as_number(pair[1], name, above=0.0)


Widths = Annotated[float | tuple[float, float], as_widths]


@dataclass(frozen=True)
class Settings:
    """How rows are compared, checked."""

    kernel: Kernel
    unbiased: bool
    bandwidth: Positive
    sigma: Widths | None

    def __post_init__(self) -> None:
        self.__dict__.update(check_settings(type(self), vars(self)))

    @property
    def least(self) -> int:
        """How many rows there have to be."""
        return 4 if self.unbiased else 2


def as_rows(x: Any, y: Any, mask: Any, settings: Settings) -> tuple[Tensor, Tensor, bool]:
    """Return the rows that count of two paired views, and whether these came as arrays.

    Whether the numbers are finite is seen by what comes out: ``check_terms``.
    """
    arrays = came_as_arrays(x, y)
    if arrays:
        x, y = _numbers(x, "x"), _numbers(y, "y")
    for view, name in ((x, "x"), (y, "y")):
        if view.ndim > 2:
            raise ValueError(
                f"{name}: expected (n, d), one row an item, got shape {tuple(view.shape)}; "
                f"pair_sequences makes rows of sequences, {name}.reshape(len({name}), -1) of "
                "pictures"
            )
    x, y = as_views(x, y)
    mask = None if mask is None else as_mask(mask, (len(x),), x)
    return *kept_rows(x, y, mask, settings.least), arrays


def kept_rows(x: Tensor, y: Tensor, mask: Tensor | None, least: int) -> tuple[Tensor, Tensor]:
    """Return the rows that count, of which there have to be enough."""
    if mask is not None:
        x, y = x[mask], y[mask]
    if len(x) < least:
        raise ValueError(
            f"{'x and y have' if mask is None else 'mask keeps'} {len(x)} "
            f"row{'s' * (len(x) != 1)}: the {'unbiased' if least == 4 else 'biased'} form needs "
            f"at least {least}; use larger batches, and leave out a last one that is smaller"
        )
    return x, y


def came_as_arrays(x: Any, y: Any) -> bool:
    """Tell arrays from tensors; one of each is refused, since it is unclear what to return."""
    if is_tensor(x) != is_tensor(y):
        one, other = ("x", "y") if is_tensor(x) else ("y", "x")
        raise ValueError(
            f"{one} is a tensor and {other} is not: pass two tensors (the answer is a tensor, "
            "with a gradient) or two arrays (the answer is a number)"
        )
    return not is_tensor(x)


def as_mask(mask: Any, shape: tuple[int, ...], like: Tensor, name: str = "mask") -> Tensor:
    """Return a mask of booleans on the device of ``like``, or raise a ValueError."""
    if not is_tensor(mask):
        mask = as_array(mask, name)
        mask = _shared(mask) if mask.dtype == np.bool_ else mask
    if mask.dtype != torch.bool:
        raise ValueError(
            f"{name}: expected booleans, True where a row counts, got {mask.dtype}; "
            f"write {name} != 0 where numbers say it"
        )
    if tuple(mask.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(mask.shape)}")
    check_same_device(mask, like)
    return mask


def check_terms(terms: Any, x: Tensor, y: Tensor) -> None:
    """Raise a ValueError where NaN or infinity came in, or a kernel has no width."""
    views = ((x, "x", terms.sigma_x), (y, "y", terms.sigma_y))
    if not bool(terms.xy.isfinite()):
        for view, name, _ in views:
            bad = (~view.isfinite()).any(dim=1).nonzero().flatten()
            if len(bad):
                raise ValueError(
                    f"{name}: {len(bad)} row(s) hold NaN or infinity, the first of those that "
                    f"count is row {int(bad[0])}; drop or impute them first"
                )
    for _, name, sigma in views:
        if bool(sigma == 0):
            raise ValueError(
                f"{name}: the median distance between two rows is 0, since half of them or more "
                "are the same; drop repeated rows, or give the width of the kernel as sigma="
            )


def check_variation(terms: Any, x: Tensor, y: Tensor, settings: Settings) -> None:
    """Raise a ValueError where HSIC of a view with itself is 0, so that CKA is 0/0."""
    for value, view, name in ((terms.xx, x, "x"), (terms.yy, y, "y")):
        if bool(value != 0):
            continue
        if bool((view == view[:1]).all()):
            raise ValueError(
                f"{name}: all {len(view)} rows are the same, and CKA with a constant view is 0/0; "
                "the representation has collapsed, or the wrong tensor came in"
            )
        if settings.unbiased:
            raise ValueError(
                f"{name}: apart from rounding, every two rows are equally alike (one-hot rows, "
                "say), so that the unbiased HSIC of the view with itself is 0 and CKA is 0/0; "
                "use more rows or the biased form"
            )
        advice = "use a smaller sigma" if settings.kernel == "rbf" else "scale the view first"
        raise ValueError(
            f"{name}: apart from rounding, all rows are the same under this kernel, and CKA is "
            f"0/0; {advice}"
        )


def as_sequences(values: Any, name: str, axes: str) -> Tensor:
    """Return a batch of sequences as a tensor."""
    return as_floats(values if is_tensor(values) else _numbers(values, name), name, axes)


def _numbers(values: Any, name: str) -> Tensor:
    """Return an array as a tensor of float32 or float64."""
    array = as_array(values, name)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got {array.dtype}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    return _shared(array)


def _shared(array: np.ndarray[Any, Any]) -> Tensor:
    """Share the memory of an array where torch can."""
    array = np.ascontiguousarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
