"""What differs between the value that was expected and the one that came, in words."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

_SMALL = 8  # arrays up to this size are written out
_WIDE = 120  # characters that a value may take


def show(value: Any) -> str:
    """Return ``value`` in a few words: small arrays written out, large ones by their shape."""
    try:
        shown = _show(value, depth=0)
    except Exception:
        return f"an object of type {type(value).__name__}"
    return shown if len(shown) <= _WIDE else shown[: _WIDE - 1] + "…"


def _show(value: Any, depth: int) -> str:
    value = _to_numpy(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)) and len(value) <= _SMALL and depth < 3:
        inner = ", ".join(_show(entry, depth + 1) for entry in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    if isinstance(value, np.ndarray):
        if value.ndim == 0:
            return _show(value[()], depth)
        if value.size <= 4 * _SMALL and value.dtype.kind in "biuf":
            return " ".join(np.array2string(value, precision=3, separator=", ").split())
        return f"an array of shape {value.shape}"
    if callable(value):
        return f"the function {getattr(value, '__name__', type(value).__name__)}"
    return reprlib.repr(value)


def difference(expected: Any, got: Any, tolerance: float, *, reveal: bool = True) -> str | None:
    """Return what is wrong with ``got`` in a clause, or None where it equals ``expected``.

    Numbers and arrays agree within ``tolerance``, relative or absolute; containers entry by
    entry; everything else by ``==``. With ``reveal`` the clause says which value was expected,
    without it only of which kind.
    """
    return _Comparison(tolerance, reveal).difference(expected, got)


def _to_numpy(value: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        try:
            return value.detach().cpu().numpy()
        except TypeError:  # a number type that numpy does not have
            return value.detach().cpu().double().numpy()
    return value


@dataclass(frozen=True)
class _Comparison:
    tolerance: float
    reveal: bool

    def difference(self, expected: Any, got: Any) -> str | None:
        expected, got = _to_numpy(expected), _to_numpy(got)
        if isinstance(expected, Mapping):
            return self._mapping(expected, got)
        if isinstance(expected, Sequence) and not isinstance(expected, (str, bytes)):
            return self._sequence(expected, got)
        if isinstance(expected, (bool, int, float, complex, np.generic, np.ndarray)):
            return self._array(expected, got)
        kind = Set if isinstance(expected, Set) else type(expected)
        if isinstance(got, kind) and bool(expected == got):
            return None
        return self._values(expected, got)

    def _values(self, expected: Any, got: Any) -> str:
        if self.reveal:
            return f"expected {show(expected)}, got {show(got)}"
        return f"{show(got)} is not it"

    def _mapping(self, expected: Mapping[Any, Any], got: Any) -> str | None:
        if not isinstance(got, Mapping):
            return f"expected a dict, got {show(got)}"
        if set(expected) != set(got):
            return f"expected the keys {show(list(expected))}, got {show(list(got))}"
        for key, value in expected.items():
            found = self.difference(value, got[key])
            if found:
                return f"under {key!r}: {found}"
        return None

    def _sequence(self, expected: Sequence[Any], got: Any) -> str | None:
        if isinstance(got, np.ndarray) and got.ndim:
            got = list(got)
        if not isinstance(got, Sequence) or isinstance(got, (str, bytes)):
            return f"expected a {type(expected).__name__} of {len(expected)}, got {show(got)}"
        if len(expected) != len(got):
            return f"expected {len(expected)} entries, got {len(got)}"
        for place, (left, right) in enumerate(zip(expected, got, strict=True)):
            found = self.difference(left, right)
            if found:
                return f"entry {place}: {found}"
        return None

    def _array(self, expected: Any, got: Any) -> str | None:
        wanted = np.asarray(expected)
        truth = wanted.dtype.kind == "b"
        kind = "True or False" if truth else "one number"
        what = kind if wanted.ndim == 0 else f"an array of shape {wanted.shape}"
        try:
            found = np.asarray(got)
        except Exception:
            return f"expected {what}, got {show(got)}"
        if found.dtype.kind not in "biufc":
            return f"expected {what}, got {show(got)}"
        if found.shape != wanted.shape:
            came = "one number" if found.ndim == 0 else f"shape {found.shape}"
            return f"expected {what}, got {came}"
        if truth != (found.dtype.kind == "b"):
            return f"expected {'True or False' if truth else 'numbers'}, got {show(got)}"
        missing = np.isnan(found) if found.dtype.kind in "fc" else np.zeros(found.shape, bool)
        if missing.any() and not np.isnan(wanted).any():
            if found.ndim == 0:
                return "got NaN (a division by zero, perhaps)"
            return f"{int(missing.sum())} of {found.size} entries are NaN"
        close = np.isclose(found, wanted, rtol=self.tolerance, atol=self.tolerance, equal_nan=True)
        if close.all():
            return None
        if wanted.size <= _SMALL:
            return self._values(wanted, found)
        place = np.unravel_index(int(np.argmin(close)), wanted.shape)
        index = ", ".join(str(int(i)) for i in place)
        return (
            f"{int((~close).sum())} of {wanted.size} entries differ, the first at [{index}]: "
            f"{self._values(wanted[place], found[place])}"
        )
