"""Fitted estimators on disk: arrays as safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray

from vlalign_lib import __version__
from vlalign_lib._files import replacing

_FORMAT = 1
_KEY = "vlalign_lib.linear"
_KINDS: dict[str, type] = {"format": int, "class": str, "params": dict, "learned": dict}


def write(path: str | os.PathLike[str], record: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Write ``arrays`` and a JSON ``record`` to one file, whole or not at all."""
    from safetensors.numpy import save

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
    blob = save(tensors, metadata={_KEY: json.dumps(header, allow_nan=False)})
    target = Path(path)
    with replacing(target) as temporary:
        temporary.write_bytes(blob)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the record and the arrays that ``write`` put into ``path``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of this library, damaged, or of a later format.
    """
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
    if not (isinstance(record, dict) and _KINDS.items() <= _kinds(record).items()):
        raise ValueError(f"{path}: the header is damaged; save the estimator again")
    if record["format"] > _FORMAT:
        raise ValueError(
            f"{path}: written in format {record['format']}, this version reads up to {_FORMAT}; "
            "install a newer vlalign_lib"
        )
    return record, arrays


def _kinds(record: dict[str, Any]) -> dict[str, type]:
    return {name: type(value) for name, value in record.items()}
