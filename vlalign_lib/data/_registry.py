"""What there is, as ``sets.json`` beside this file says: files, check sums, licences, citations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from vlalign_lib._validate import is_one_of


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Args:
        path: where it lies inside the folder of its set.
        size: length in bytes.
        sha256: its check sum, in hexadecimal.
        urls: addresses that have it, the best one first.
    """

    path: str
    size: int
    sha256: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Features:
    """What the features of a data set look like that everybody makes from the originals.

    Args:
        sizes: pairs in train, val and test.
        image_width: numbers a picture.
        text_width: numbers a text.
        label_names: the classes.
        key: sets the data set apart from others in random orders.
    """

    sizes: tuple[int, int, int]
    image_width: int
    text_width: int
    label_names: tuple[str, ...]
    key: int

    @property
    def pairs(self) -> int:
        """All pairs."""
        return sum(self.sizes)


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Args:
        name: the word that names it everywhere.
        title: what it is, in a few words.
        licence: under which terms it may be used.
        citation: whom to cite.
        files: what has to be downloaded; nothing where a dependency brings the data.
        features: the layout of what ``vlalign data features`` makes; None for other sets.
    """

    name: str
    title: str
    licence: str
    citation: str
    files: tuple[DataFile, ...] = ()
    features: Features | None = None

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)


def _entry(name: str, facts: dict[str, Any]) -> DataSet:
    files = tuple(
        DataFile(**{**file, "urls": tuple(file["urls"])}) for file in facts.get("files", ())
    )
    made = facts.get("features")
    if made is not None:
        a, b, c = made["sizes"]
        made = {**made, "sizes": (a, b, c), "label_names": tuple(made["label_names"])}
    features = None if made is None else Features(**made)
    return DataSet(name, facts["title"], facts["licence"], facts["citation"], files, features)


SETS = {
    name: _entry(name, facts)
    for name, facts in json.loads(
        resources.files("vlalign_lib.data").joinpath("sets.json").read_text(encoding="utf-8")
    ).items()
}

#: Names of the data sets.
DATASETS: tuple[str, ...] = tuple(SETS)


def lookup(name: str) -> DataSet:
    """Return the entry of a data set, or raise a ValueError that lists the names."""
    if not is_one_of(name, tuple(SETS)):
        raise ValueError(f"data set: expected one of {', '.join(DATASETS)}, got {name!r}")
    return SETS[name]
