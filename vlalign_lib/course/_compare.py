"""What differs between the value that was expected and the one that came, in words."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np

_SMALL = 8  # arrays up to this size are written out


def show(value: Any) -> str:
    """Return ``value`` in a few words: small arrays written out, large ones by their shape."""
    value = _to_numpy(value)
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.4g}"
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return show(value[()])
        if value.size <= 4 * _SMALL and value.dtype.kind in "biuf":
            return " ".join(np.array2string(value, precision=3, separator=", ").split())
        return f"an array of shape {value.shape}"
    if callable(value):
        return f"the function {getattr(value, '__name__', type(value).__name__)}"
    writer = reprlib.Repr()
    writer.maxstring = writer.maxother = 80
    try:
        return writer.repr(value)
    except Exception:
        return f"an object of type {type(value).__name__}"


def difference(expected: Any, got: Any, tolerance: float) -> str | None:
    """Return what is wrong with ``got`` in a clause, or None where it equals ``expected``.

    Numbers and arrays agree within ``tolerance``, relative or absolute; containers entry by
    entry; everything else by ``==``.
    """
    expected, got = _to_numpy(expected), _to_numpy(got)
    if expected is None or isinstance(expected, (str, bytes)):
        same = type(expected) is type(got) and expected == got
        return None if same else f"expected {show(expected)}, got {show(got)}"
    if isinstance(expected, Mapping):
        return _mapping_difference(expected, got, tolerance)
    if isinstance(expected, Set):
        same = isinstance(got, Set) and expected == got
        return None if same else f"expected {show(expected)}, got {show(got)}"
    if isinstance(expected, Sequence):
        return _sequence_difference(expected, got, tolerance)
    if isinstance(expected, (bool, int, float, complex, np.generic, np.ndarray)):
        return _array_difference(expected, got, tolerance)
    same = type(expected) is type(got) and bool(expected == got)
    return None if same else f"expected {show(expected)}, got {show(got)}"


def _to_numpy(value: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy()
    return value


def _mapping_difference(expected: Mapping[Any, Any], got: Any, tolerance: float) -> str | None:
    if not isinstance(got, Mapping):
        return f"expected a dict, got {show(got)}"
    if set(expected) != set(got):
        return f"expected the keys {show(list(expected))}, got {show(list(got))}"
    for key, value in expected.items():
        found = difference(value, got[key], tolerance)
        if found:
            return f"under {key!r}: {found}"
    return None


def _sequence_difference(expected: Sequence[Any], got: Any, tolerance: float) -> str | None:
    if isinstance(got, np.ndarray) and got.ndim:
        got = list(got)
    if not isinstance(got, Sequence) or isinstance(got, (str, bytes)):
        return f"expected a {type(expected).__name__} of {len(expected)}, got {show(got)}"
    if len(expected) != len(got):
        return f"expected {len(expected)} entries, got {len(got)}"
    for place, (left, right) in enumerate(zip(expected, got, strict=True)):
        found = difference(left, right, tolerance)
        if found:
            return f"entry {place}: {found}"
    return None


def _array_difference(expected: Any, got: Any, tolerance: float) -> str | None:
    wanted = np.asarray(expected)
    what = "one number" if wanted.ndim == 0 else f"an array of shape {wanted.shape}"
    if wanted.dtype.kind == "b":
        what = what.replace("one number", "True or False")
    try:
        found = np.asarray(got)
    except Exception:
        return f"expected {what}, got {show(got)}"
    if found.dtype.kind not in "biufc" or got is None:
        return f"expected {what}, got {show(got)}"
    if found.shape != wanted.shape:
        came = "one number" if found.ndim == 0 else f"shape {found.shape}"
        return f"expected {what}, got {came}"
    if (wanted.dtype.kind == "b") != (found.dtype.kind == "b"):
        kind = "True or False" if wanted.dtype.kind == "b" else "numbers"
        return f"expected {kind}, got {show(got)} of type {found.dtype}"
    if found.dtype.kind in "fc" and np.isnan(found).any() and not np.isnan(wanted).any():
        if found.ndim == 0:
            return "got NaN (a division by zero, perhaps)"
        return f"{int(np.isnan(found).sum())} of {found.size} entries are NaN"
    close = np.isclose(found, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    if close.all():
        return None
    if wanted.size <= _SMALL:
        return f"expected {show(wanted)}, got {show(found)}"
    place = np.unravel_index(int(np.argmin(close)), wanted.shape)
    index = ", ".join(str(int(i)) for i in place)
    return (
        f"{int((~close).sum())} of {wanted.size} entries differ, the first at [{index}]: "
        f"expected {show(wanted[place])}, got {show(found[place])}"
    )
