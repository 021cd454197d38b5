"""What results are made of: dictionaries that stay as they are, and a comparison of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

import numpy as np

K = TypeVar("K")
V = TypeVar("V")


class ReadOnlyDict(dict[K, V]):
    """A dictionary that cannot be changed, and can be pickled, copied, compared and printed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a result cannot be changed; dict(…) of it gives a copy that can")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)


def same_fields(one: Any, other: Any) -> bool:
    """Tell whether two dataclasses are of one class and hold the same, arrays included."""
    return type(one) is type(other) and all(
        _same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
