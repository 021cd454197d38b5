"""Features that are made, not downloaded: how they lie on disk, and whether they are sound.

A folder holds three arrays, ``images.npy``, ``texts.npy`` (float32) and ``labels.npy`` (int64), one
row a pair, the training pairs first, then those for validation, then those for the test; and
``meta.json``, written last, which says what the rows are, how they were made, and the sha256 of the
arrays. Nothing in them is ever executed: arrays are read without pickle.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib import __version__
from vlalign_lib._files import replacing
from vlalign_lib.data._cache import DataUnavailable, cache_dir
from vlalign_lib.data._download import FileState, mirror_folder, sha256_of
from vlalign_lib.data._registry import DataSet, Features, lookup

FORMAT = 1
ARRAYS = ("images.npy", "texts.npy", "labels.npy")
META = "meta.json"
PARTS = ("train", "val", "test")
_ROWS = 1000  # rows looked at together


@dataclass(frozen=True)
class Meta:
    """What ``meta.json`` says of the arrays beside it."""

    name: str
    ids: tuple[str, ...]
    vocabulary: tuple[str, ...]
    made: Mapping[str, str]
    sha256: Mapping[str, str]
    twin: bool = False


def features_of(name: str) -> tuple[DataSet, Features]:
    """Return the entry of a set whose features are made, or raise a ValueError."""
    entry = lookup(name)
    if entry.features is None:
        raise ValueError(f"{name}: its features are not made; load it, or fetch it")
    return entry, entry.features


def shapes(features: Features) -> dict[str, tuple[tuple[int, ...], type]]:
    """Return shape and type of each array."""
    return {
        "images.npy": ((features.pairs, features.image_width), np.float32),
        "texts.npy": ((features.pairs, features.text_width), np.float32),
        "labels.npy": ((features.pairs,), np.int64),
    }


def write_meta(folder: Path, meta: Meta) -> None:
    """Write ``meta.json``, whole or not at all; with it the folder is complete."""
    _, features = features_of(meta.name)
    record = {
        "format": FORMAT,
        "name": meta.name,
        "twin": meta.twin,
        "splits": dict(zip(PARTS, features.sizes, strict=True)),
        "label_names": features.label_names,
        "made": {
            **meta.made,
            "with": f"vlalign_lib {__version__}, numpy {np.__version__}, "
            f"Python {platform.python_version()}",
        },
        "sha256": meta.sha256,
        "vocabulary": meta.vocabulary,
        "ids": meta.ids,
    }
    with replacing(folder / META) as path:
        path.write_text(json.dumps(record, ensure_ascii=False, indent=1), encoding="utf-8")


def read_meta(folder: Path, name: str) -> Meta:
    """Return what ``meta.json`` says.

    Raises:
        FileNotFoundError: it is not there.
        ValueError: it is of another set or format, or damaged.
    """
    _, features = features_of(name)
    text = (folder / META).read_text(encoding="utf-8")
    try:
        record: dict[str, Any] = json.loads(text)
        if record["format"] > FORMAT:
            raise ValueError(f"is of format {record['format']}; install a newer vlalign_lib")
        if record["name"] != name:
            raise ValueError(f"belongs to {record['name']}, not to {name}")
        if list(record["splits"].values()) != list(features.sizes):
            raise ValueError(f"has splits {record['splits']}, expected {features.sizes}")
        if tuple(record["label_names"]) != features.label_names:
            raise ValueError("names other classes")
        if set(record["sha256"]) != set(ARRAYS):
            raise ValueError("lacks check sums")
        if len(record["ids"]) != features.pairs:
            raise ValueError(f"names {len(record['ids'])} pairs, expected {features.pairs}")
        if len(record["vocabulary"]) != features.text_width:
            raise ValueError(f"has {len(record['vocabulary'])} words for {features.text_width}")
        return Meta(
            name=name,
            ids=tuple(map(str, record["ids"])),
            vocabulary=tuple(map(str, record["vocabulary"])),
            made=dict(record["made"]),
            sha256=dict(record["sha256"]),
            twin=bool(record["twin"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"is damaged ({error!r})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"is damaged ({error})") from error


def read_array(path: Path, features: Features) -> NDArray[Any]:
    """Return one array, read-only, having looked at its shape and type before reading it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not what the layout says.
    """
    shape, dtype = shapes(features)[path.name]
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(mapped, np.ndarray) or (mapped.shape, mapped.dtype) != (shape, dtype):
        found = f"{mapped.dtype} {mapped.shape}" if isinstance(mapped, np.ndarray) else "an archive"
        raise ValueError(f"is {found}, expected {np.dtype(dtype)} {shape}")
    array = np.array(mapped)
    for start in range(0, len(array), _ROWS):
        if not np.isfinite(array[start : start + _ROWS]).all():
            raise ValueError(f"holds NaN or infinity in rows {start} to {start + _ROWS}")
    if path.name == "labels.npy" and not (
        0 <= array.min() <= array.max() < len(features.label_names)
    ):
        raise ValueError(f"expected classes 0 … {len(features.label_names) - 1}")
    array.setflags(write=False)
    return array


def made_states(name: str) -> list[FileState]:
    """Return the state of the files of a set that is made, where they lie, byte for byte."""
    folder = made_folder(name) or cache_dir() / name
    paths = [folder / file for file in (META, *ARRAYS)]
    try:
        meta = read_meta(folder, name)
    except FileNotFoundError:
        first = FileState(paths[0], "missing", "not there")
    except (OSError, ValueError) as error:
        first = FileState(paths[0], "damaged", str(error))
    else:
        if meta.twin:
            first = FileState(paths[0], "damaged", "belongs to a synthetic twin, not to the data")
        else:
            return [FileState(paths[0], "ok"), *(_state(p, meta) for p in paths[1:])]
    others = [
        FileState(path, "damaged", "cannot be checked without meta.json")
        if path.exists()
        else FileState(path, "missing", "not there")
        for path in paths[1:]
    ]
    return [first, *others]


def _state(path: Path, meta: Meta) -> FileState:
    try:
        found = sha256_of(path)
    except FileNotFoundError:
        return FileState(path, "missing", "not there")
    except OSError as error:
        return FileState(path, "damaged", f"cannot be read: {error.strerror or error}")
    if found != meta.sha256[path.name]:
        return FileState(path, "damaged", f"altered: its sha256 is {found}, not as recorded")
    return FileState(path, "ok")


def made_folder(name: str) -> Path | None:
    """Return the folder with the files of a set that is made: the cache's, else the mirror's."""
    for base in (cache_dir(), mirror_folder()):
        if base is not None and (base / name / META).is_file():
            return base / name
    return None


def made_paths(name: str) -> tuple[Path, ...]:
    """Return the files of a set that is made.

    Raises:
        DataUnavailable: they are not there; the text says how to make them.
    """
    folder = made_folder(name)
    if folder is None:
        raise DataUnavailable(how_to_make(name))
    return tuple(folder / file for file in (META, *ARRAYS))


def how_to_make(name: str, why: str = "") -> str:
    """Return what to do where the features of a set are not there."""
    entry, features = features_of(name)
    return (
        (why or f"{name} ({entry.title}) is not here, and there is nothing to download")
        + f": its {features.pairs:,} pairs are made from the original pictures and texts, by "
        f"`vlalign data features {name} --images DIR --texts FILE`. `vlalign data card {name}` "
        f"says where those come from. Files made elsewhere belong into {cache_dir() / name}, or "
        f"into {name}/ in a folder that VLALIGN_MIRROR names"
    )
