"""Fitted estimators on disk: arrays as safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import sklearn
from numpy.typing import NDArray

from vlalign_lib import __version__
from vlalign_lib._files import replacing
from vlalign_lib.linear._base import TwoViewEstimator

Estimator = TypeVar("Estimator", bound=TwoViewEstimator)

_FORMAT = 1
_KEY = "vlalign_lib.linear"
_WEIGHTS = "network."
_KINDS: dict[str, type] = {"format": int, "class": str, "params": dict, "learned": dict}


def save(estimator: TwoViewEstimator, path: str | os.PathLike[str]) -> None:
    """Write a fitted estimator to one file, whole or not at all."""
    import safetensors.numpy

    arrays: dict[str, NDArray[Any]] = {}
    record = _record(estimator, arrays, prefix="")
    header = {
        "format": _FORMAT,
        "versions": {
            "vlalign_lib": __version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        **record,
    }
    # safetensors takes the bytes as they lie in memory, so rows must lie in order.
    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    blob = safetensors.numpy.save(tensors, metadata={_KEY: json.dumps(header, allow_nan=False)})
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(blob)


def load(cls: type[Estimator], path: str | os.PathLike[str]) -> Estimator:
    """Return the estimator of class ``cls`` that :func:`save` wrote to ``path``."""
    record, arrays = _read(path)
    if record["class"] != cls.__name__:
        raise ValueError(
            f"{path}: holds a {record['class']}, not a {cls.__name__}; use {record['class']}.load"
        )
    try:
        return _restore(cls, record, arrays, prefix="")
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: the header is damaged ({error!r}); save it again") from error


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the record and the arrays of a file."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a safetensors file, or a damaged one ({error}); save the estimator again"
        ) from error
    if _KEY not in metadata:
        raise ValueError(f"{path}: holds tensors, but not an estimator saved by vlalign_lib")
    try:
        record = json.loads(metadata[_KEY])
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: the header is damaged ({error}); save it again") from error
    kinds = {name: type(v) for name, v in record.items()} if isinstance(record, dict) else {}
    if not _KINDS.items() <= kinds.items():
        raise ValueError(f"{path}: the header is damaged; save the estimator again")
    if record["format"] > _FORMAT:
        raise ValueError(
            f"{path}: written in format {record['format']}, this version reads up to {_FORMAT}; "
            "install a newer vlalign_lib"
        )
    return record, arrays


def _record(
    estimator: TwoViewEstimator, arrays: dict[str, NDArray[Any]], prefix: str
) -> dict[str, Any]:
    """Return what JSON can hold of an estimator; put what it cannot into ``arrays``."""
    learned: dict[str, Any] = {}
    for name, value in vars(estimator).items():
        if not name.endswith("_"):
            continue
        if isinstance(value, np.ndarray) and value.dtype != object:
            arrays[prefix + name] = value
        elif isinstance(value, TwoViewEstimator):
            learned[name] = _record(value, arrays, f"{prefix}{name}.")
        elif hasattr(value, "state_dict"):  # network_, whose weights load into a fresh one
            for key, weight in value.state_dict().items():
                arrays[f"{prefix}{_WEIGHTS}{key}"] = weight.cpu().numpy()
        else:
            learned[name] = _plain(value)
    return {"class": type(estimator).__name__, "params": _params(estimator), "learned": learned}


def _params(estimator: TwoViewEstimator) -> dict[str, Any]:
    params = estimator.get_params(deep=False)
    for name, value in params.items():
        if isinstance(value, TwoViewEstimator):
            params[name] = {"class": type(value).__name__, "params": _params(value)}
        elif name == "random_state" and not isinstance(value, int | np.integer):
            params[name] = None
        else:
            params[name] = _plain(value)
    return params


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON knows it."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return value


def _restore(
    cls: type[Estimator], record: dict[str, Any], arrays: dict[str, NDArray[Any]], prefix: str
) -> Estimator:
    estimator = cls(**{name: _rebuilt(value) for name, value in record["params"].items()})
    learned = {
        name: _restore(_class_named(value["class"]), value, arrays, f"{prefix}{name}.")
        if isinstance(value, dict)
        else value
        for name, value in record["learned"].items()
    }
    own = {n.removeprefix(prefix): array for n, array in arrays.items() if n.startswith(prefix)}
    learned |= {name: array for name, array in own.items() if "." not in name}
    for name, value in learned.items():
        if not name.endswith("_") or name.startswith("_"):
            raise KeyError(name)  # a file never replaces anything but what fit learns
        names = name.endswith("feature_names_in_")
        setattr(estimator, name, np.array(value, dtype=object) if names else value)
    weights = {n.removeprefix(_WEIGHTS): w for n, w in own.items() if n.startswith(_WEIGHTS)}
    if weights:
        estimator._load_network(weights)
    return estimator


def _rebuilt(value: Any) -> Any:
    """Return a parameter as it was before JSON: tuples, and estimators that were not fitted."""
    if isinstance(value, dict):
        params = {name: _rebuilt(entry) for name, entry in value["params"].items()}
        return _class_named(value["class"])(**params)
    if isinstance(value, list):
        return tuple(_rebuilt(entry) for entry in value)
    return value


def _class_named(name: str) -> type[TwoViewEstimator]:
    """Return the estimator class of this name among those that are imported."""
    waiting = TwoViewEstimator.__subclasses__()
    while waiting:
        candidate = waiting.pop()
        if candidate.__name__ == name:
            return candidate
        waiting += candidate.__subclasses__()
    raise KeyError(name)
