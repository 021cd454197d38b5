"""What figures ask of their arguments, said once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_indices, as_matrix, as_numbers, check_mapping, check_paired

_LETTERS = "ABCDEFGH"


def check_some(values: Any, name: str, what: str) -> None:
    """Check that ``values`` is a mapping of the form ``what`` and not empty."""
    check_mapping(values, name, what)
    if not values:
        raise ValueError(f"{name}: expected at least one, {what}, got none")


def check_groups(values: Any, name: str, what: str, inner: str) -> None:
    """Check that ``values`` is a mapping of mappings, neither of them empty."""
    check_some(values, name, what)
    for key, group in values.items():
        check_some(group, f"{name}[{key!r}]", inner)


def check_said(**labels: str) -> None:
    """Check that each axis says what it measures."""
    for name, label in labels.items():
        if not label.strip():
            raise ValueError(f"{name}: say what is measured, and in which unit")


def as_pair(pair: Any, name: str, what: str) -> tuple[Any, Any]:
    """Return the two parts of a pair."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        several = isinstance(pair, tuple | list)
        one = repr(pair) if np.isscalar(pair) else type(pair).__name__
        got = f"{len(pair)} of them" if several else one
        raise ValueError(f"{name}: expected a pair {what}, got {got}")
    return pair[0], pair[1]


def as_views(
    images: Any, texts: Any, names: tuple[str, str] = ("images", "texts"), *, min_rows: int = 1
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both views as matrices, row i of one the partner of row i of the other."""
    x, y = (
        as_matrix(images, names[0], min_rows=min_rows),
        as_matrix(texts, names[1], min_rows=min_rows),
    )
    check_paired(x, y, names)
    return x, y


def as_embeddings(
    images: Any, texts: Any, names: tuple[str, str] = ("images", "texts")
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both views of a shared space, paired and of one width."""
    u, v = as_views(images, texts, names, min_rows=2)
    if u.shape[1] != v.shape[1] or u.shape[1] < 2:
        raise ValueError(
            f"{names[0]} and {names[1]}: expected two embeddings of the same width, 2 or more, got "
            f"{u.shape[1]} and {v.shape[1]}; embed both into the shared space first"
        )
    return u, v


def as_letters(partners: Sequence[int], n: int) -> list[tuple[str, int]]:
    """Return the pairs that get a letter, each after its letter."""
    chosen = as_indices(partners, n, "partners")
    if len(chosen) > len(_LETTERS):
        raise ValueError(f"partners: expected up to {len(_LETTERS)} pairs, got {len(chosen)}")
    return list(zip(_LETTERS, chosen, strict=False))


def as_finite(values: Any, name: str, shape: tuple[int, ...], what: str) -> NDArray[np.float64]:
    """Return ``values`` as finite numbers of a ``shape`` that the words ``what`` describe."""
    array = as_numbers(values, name)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected {what}, all finite, got shape {array.shape}")
    return array


def place_of(value: Any, values: Sequence[Any], name: str) -> int | None:
    """Return where ``value`` stands among ``values``; None stays None."""
    known = list(values)
    if value is not None and value not in known:
        raise ValueError(f"{name}: expected one of {known}, got {value!r}")
    return None if value is None else known.index(value)


def as_curves(
    curves: Any, n: int | None, most: int, name: str = "curves"
) -> dict[str, NDArray[np.float64]]:
    """Return by name a line of ``n`` numbers; None takes the length of the first."""
    check_some(curves, name, "{name: values}")
    if len(curves) > most:
        raise ValueError(f"{name}: expected 1 to {most}, got {len(curves)}")
    found: dict[str, NDArray[np.float64]] = {}
    for key, values in curves.items():
        line = as_numbers(values, f"{name}[{key!r}]")
        n = line.size if n is None else n
        if line.shape != (n,):
            raise ValueError(f"{name}[{key!r}]: expected {n} values, got shape {line.shape}")
        found[key] = line
    return found


def as_label_names(names: Sequence[str] | None, present: NDArray[Any]) -> Mapping[int, str]:
    """Return the name of each class that is ``present``, or its number."""
    least = int(present.max()) + 1 if present.size else 0
    if names is not None and not (hasattr(names, "__len__") and len(names) >= least):
        raise ValueError(f"label_names: expected {least} names or more, got {names!r}")
    return {int(c): str(c) if names is None else str(names[int(c)]) for c in present}
