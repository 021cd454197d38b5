"""Checks of what comes in, with errors that say what was expected, what came and what to do."""

from __future__ import annotations

import functools
import sys
import typing
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeGuard, Union

import numpy as np
from numpy.typing import NDArray

Rule = Callable[[Any, str], Any]
"""``rule(value, name)`` returns a parameter as a plain value, or raises a ValueError."""


def is_tensor(values: Any) -> bool:
    """Tell torch tensors without importing torch: nobody can hold one who has not done so."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def as_array(values: Any, name: str) -> NDArray[Any]:
    """Return ``values`` as an array: lists, arrays, data frames, tensors wherever they lie.

    A tensor is detached from its gradient and shared where it lies in main memory; half
    precision becomes float32. Numbers that come as objects, as those of a data frame do whose
    columns are of several kinds or nullable, become float64, and a missing one NaN.

    Raises:
        ValueError: rows of unequal length, a sparse matrix, masked values, a tensor without data.
    """
    if is_tensor(values):
        return _from_tensor(values, name)
    if hasattr(values, "toarray"):
        raise ValueError(f"{name}: expected a dense array, got a sparse one; use {name}.toarray()")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise ValueError(
            f"{name}: {np.ma.count_masked(values)} values are masked, and a mask is not read here; "
            "leave such rows out, or fill them with .filled(…)"
        )
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name}: the rows make no array, since they differ in length or shape; each item "
            "needs the same number of values"
        ) from error
    return _from_objects(array) if array.dtype == object else array


def _from_objects(array: NDArray[Any]) -> NDArray[Any]:
    """Return objects that are numbers as float64; text stays what it is, digits or not."""
    flat = [np.nan if type(value).__name__ == "NAType" else value for value in array.flat]
    if not any(isinstance(value, str | bytes) for value in flat):
        with suppress(TypeError, ValueError, OverflowError):
            return np.array(flat, dtype=np.float64).reshape(array.shape)
    return array


def _from_tensor(tensor: Any, name: str) -> NDArray[Any]:
    if tensor.is_meta:
        raise ValueError(f"{name}: is a tensor on the meta device, which has no values")
    if tensor.layout != sys.modules["torch"].strided:
        raise ValueError(f"{name}: expected a dense tensor, got a sparse one; use .to_dense()")
    tensor = tensor.detach()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()
    array: NDArray[Any] = tensor.cpu().resolve_conj().resolve_neg().numpy()
    return array


def as_matrix(values: Any, name: str, *, min_rows: int = 1) -> NDArray[np.floating]:
    """Return ``values`` as a finite floating-point array (n, d), one row an item.

    Arrays of more than two axes (pictures, say) are flattened row by row. float32 and
    float64 keep their type, everything else becomes float64.

    Raises:
        ValueError: not numbers, no second axis, too few rows, no columns, NaN or infinity.
    """
    array = as_array(values, name)
    if array.dtype.kind not in "fiubc":
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


def column_names(values: Any, name: str) -> list[str] | None:
    """Return the names of a data frame's columns; None where they are no words, or no frame.

    Raises:
        ValueError: some of the names are words and some are not.
    """
    columns = list(getattr(values, "columns", ()))
    words = sum(isinstance(column, str) for column in columns)
    if 0 < words < len(columns):
        raise ValueError(
            f"{name}: {words} of {len(columns)} column names are words; make all of them words, "
            "with frame.columns = frame.columns.astype(str) say, or none"
        )
    return columns if words else None


def check_names(found: list[str] | None, fitted: list[str] | None, name: str) -> None:
    """Raise a ValueError unless columns have the names that ``fit`` saw, in the same order.

    Where only one of the two has names, a warning says so.
    """
    if found == fitted:
        return
    if found is None or fitted is None:
        here, there = ("no names", "names") if found is None else ("names", "no names")
        warnings.warn(
            f"{name}: the columns have {here}, those of fit had {there}; they are taken in the "
            "order in which they come",
            UserWarning,
            stacklevel=5,
        )
        return
    missing = [column for column in fitted if column not in set(found)]
    unseen = [column for column in found if column not in set(fitted)]
    what = [f"{', '.join(missing[:5])} missing"] if missing else []
    what += [f"{', '.join(unseen[:5])} not there in fit"] if unseen else []
    raise ValueError(
        f"{name}: expected the columns of fit, in their order; got "
        f"{' and '.join(what) or 'them in another order'} (see feature_names_in_ and "
        "text_feature_names_in_)"
    )


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
    array = as_array(labels, name)
    if array.shape != (n,):
        raise ValueError(f"{name}: expected shape ({n},), one an item, got {array.shape}")
    if array.dtype.kind not in "iub":
        whole = array.dtype.kind == "f" and np.isfinite(array).all() and (array % 1 == 0).all()
        if not whole:
            raise ValueError(f"{name}: expected whole numbers, got {array.dtype}")
    largest = float(np.abs(array.astype(np.float64)).max()) if array.size else 0.0
    if largest >= 2.0**63:
        raise ValueError(
            f"{name}: expected class indices, got numbers up to {largest:.3g}, beyond "
            "any whole number of 64 bits"
        )
    return array.astype(np.int64)


def as_numbers(values: Any, name: str) -> NDArray[np.float64]:
    """Return ``values`` as a float64 array of any shape.

    Raises:
        ValueError: not real numbers, or no array at all.
    """
    array = as_array(values, name)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name}: expected real numbers, got {array.dtype}")
    return array.astype(np.float64)


def as_indices(values: Any, n: int, name: str) -> list[int]:
    """Return ``values`` as whole numbers from 0 to ``n`` − 1.

    Raises:
        ValueError: not one axis, not whole numbers, or out of range.
    """
    array = as_array(values, name)
    whole = array.ndim == 1 and (array.dtype.kind in "iu" or array.size == 0)
    if not whole or (array.size and not 0 <= array.min() <= array.max() < n):
        raise ValueError(f"{name}: expected indices from 0 to {n - 1}, got {values!r}")
    return [int(index) for index in array]


def check_mapping(values: Any, name: str, what: str) -> None:
    """Raise a ValueError unless ``values`` is a dictionary, or like one; ``what`` shows it."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{name}: expected {what}, got {type(values).__name__}")


def is_one_of(value: Any, choices: tuple[str, ...]) -> bool:
    """Tell whether ``value`` is one of the words; anything else, arrays included, is not."""
    return isinstance(value, str) and value in choices


def check_choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """Return ``value`` where it is one of the words, else raise a ValueError."""
    if not is_one_of(value, tuple(choices)):
        words = ", ".join(f'"{choice}"' for choice in choices)
        raise ValueError(f"{name}: expected one of {words}, got {value!r}")
    return str(value)


def as_flag(value: Any, name: str) -> bool:
    """Return ``value`` where it is True or False, of Python or of numpy, else raise."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def is_whole(value: Any) -> TypeGuard[int]:
    """Tell whether ``value`` is a whole number, of Python or of numpy; True and False are not."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def as_whole(value: Any, name: str, least: int = 1, hint: str = "") -> int:
    """Return ``value`` as an int of at least ``least``, or raise a ValueError."""
    if is_whole(value) and value >= least:
        return int(value)
    raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}{hint}")


def as_number(
    value: Any,
    name: str,
    *,
    low: float | None = None,
    above: float | None = None,
    high: float | None = None,
    below: float | None = None,
    hint: str = "",
) -> float:
    """Return a finite Python number within the bounds; ``low`` and ``high`` are allowed ones.

    Raises:
        ValueError: not a number, not finite, out of bounds.
    """
    given = value
    if not isinstance(value, int | float) and getattr(value, "size", None) is not None:
        with suppress(AttributeError, ValueError, RuntimeError):
            value = value.item()  # a numpy scalar or a tensor of one element
    number = isinstance(value, int | float) and not isinstance(value, bool)
    finite = number and abs(value) <= sys.float_info.max
    bounds = {"of at least": low, "greater than": above, "of at most": high, "less than": below}
    said = [f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None]
    fits = finite and (low is None or value >= low) and (above is None or value > above)
    if fits and (high is None or value <= high) and (below is None or value < below):
        return float(value)
    kind = " ".join(
        ["number" if finite else "finite number", *([" and ".join(said)] if said else [])]
    )
    raise ValueError(f"{name}: expected a {kind}, got {given!r}{hint}")


def as_seed(seed: Any, name: str = "seed") -> int:
    """Return ``seed`` as an int.

    Raises:
        ValueError: not a whole number, or below 0.
    """
    return as_whole(seed, name, 0)


def optional(rule: Rule) -> Rule:
    """Return a rule that lets None through and asks ``rule`` about everything else."""
    return lambda value, name: None if value is None else rule(value, name)


@functools.cache
def checks_of(function: Callable[..., Any]) -> dict[str, Rule]:
    """Return for each setting the check that its annotation stands for.

    ``Annotated[type, check]`` is checked by ``check(value, name)``, which returns the value to
    use or raises a ValueError; ``Literal`` takes one of its words, ``bool`` True or False,
    ``float`` a finite number. Beside ``None`` in a union, None passes. Everything else is left
    to the function.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    found = {name: _check_for(hint) for name, hint in hints.items() if name != "return"}
    return {name: check for name, check in found.items() if check is not None}


def check_settings(function: Callable[..., Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as the annotations of ``function`` want them.

    Raises:
        ValueError: a setting that is not allowed.
    """
    checks = checks_of(function)
    return {
        name: checks[name](value, name) if name in checks else value
        for name, value in settings.items()
    }


def _check_for(hint: Any) -> Rule | None:
    origin = typing.get_origin(hint)
    if origin is Annotated:
        check: Rule = hint.__metadata__[0]
        return check
    if origin is Literal:
        return functools.partial(check_choice, choices=typing.get_args(hint))
    if origin in (Union, UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not NoneType]
        inner = _check_for(kinds[0]) if len(kinds) == 1 else None
        return inner and optional(inner)
    return as_flag if hint is bool else as_number if hint is float else None
