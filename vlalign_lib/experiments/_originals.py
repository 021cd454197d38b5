"""Original pictures and texts as they lie on somebody's disk, read into one list of pairs."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.data._cache import DataUnavailable
from vlalign_lib.data._download import download
from vlalign_lib.data._made import PARTS, features_of
from vlalign_lib.data._order import stratified_cut
from vlalign_lib.data._registry import Features
from vlalign_lib.data._tfidf import words
from vlalign_lib.data.wikipedia import SHAPES, published_pairs

_PICTURES = {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"}
_MARK = re.compile(r"<[^>]*>")
_OFFICIAL = 0  # what the cut of the files depends on, beside the set
_SHOWN = 5  # examples in an error


@dataclass(frozen=True)
class Originals:
    """Pairs in the order of the features: train, val, test.

    Args:
        ids: names of the pictures.
        labels: (n,) classes.
        texts: the texts.
        split_rule: how the pairs were cut, in words.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    texts: tuple[str, ...]
    split_rule: str


def read_originals(name: str, texts: Path, split: Path | None) -> Originals:
    """Return the pairs of a set: pictures' names, classes and texts, cut into parts.

    Raises:
        DataUnavailable: a file is not there or not what it should be.
    """
    _, features = features_of(name)
    published = texts.is_dir()
    if published:
        ids, labels, found = _published(name, texts)
    else:
        ids, labels, found = _listed(texts, features)
    _check_pairs(texts, ids, labels, features)
    if split is not None:
        parts, rule = _split_file(split, ids, features), f"as listed in {split.name}"
    elif published:
        parts, rule = _cut_published(labels, features)
    else:
        parts = stratified_cut(labels, features.sizes, features.key, _OFFICIAL)
        rule = "at random, each class in proportion, by the seed that belongs to the set"
    order = np.concatenate(parts)
    return Originals(
        tuple(ids[i] for i in order), labels[order], tuple(found[i] for i in order), rule
    )


def _published(name: str, folder: Path) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """Return Wikipedia's pairs: the published lists name them, a folder holds the texts."""
    if name != "wikipedia_deep":
        raise DataUnavailable(
            f"{folder}: is a folder; for {name} the texts are one file, see `vlalign data card "
            f"{name}`"
        )
    text_names, ids, labels = published_pairs(download("wikipedia")[0].parent)
    there = {path.stem: path for path in folder.rglob("*.xml")}
    missing = [text for text in text_names if text not in there]
    if missing:
        raise DataUnavailable(
            f"{folder}: {len(missing)} of {len(text_names)} texts are not there, such as "
            f"{_some([f'{text}.xml' for text in missing])}; give the folder that holds the "
            ".xml files of the published data set"
        )
    return ids, labels, [_plain(there[text]) for text in text_names]


def _plain(path: Path) -> str:
    """Return the text of an XML file without its marks."""
    return html.unescape(_MARK.sub(" ", _read(path)))


def _listed(path: Path, features: Features) -> tuple[list[str], NDArray[np.int64], list[str]]:
    """Return pairs from a JSON file of captions, or from lines of picture, class and text."""
    text = _read(path)
    rows: list[tuple[str, str, str]] = []
    if path.suffix == ".json":
        try:
            for picture, entry in json.loads(text).items():
                captions = entry["captions"]
                if not isinstance(captions, list):
                    raise TypeError(f"the captions of {picture} are no list")
                rows.append((picture, str(entry["category"]), "\n".join(captions)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataUnavailable(
                f'{path}: expected {{"picture.jpg": {{"category": …, "captions": [… ]}}}} '
                f"({type(error).__name__}: {error})"
            ) from error
    else:
        for number, line in enumerate(text.split("\n"), 1):
            cells = line.split("\t", 2)
            if len(cells) == 3:
                rows.append((cells[0].strip(), cells[1].strip(), cells[2]))
            elif line.strip():
                raise DataUnavailable(
                    f"{path}, line {number}: expected picture, class and text with tabs between, "
                    f"got {line[:60]!r}"
                )
    index = {label: i for i, label in enumerate(features.label_names)}
    unknown = sorted({label for _, label, _ in rows if label.lower() not in index})
    if unknown:
        raise DataUnavailable(
            f"{path}: {len(unknown)} unknown classes, such as {_some(unknown)}; expected "
            f"{', '.join(features.label_names)}"
        )
    labels = np.array([index[label.lower()] for _, label, _ in rows], dtype=np.int64)
    return [row[0] for row in rows], labels, [row[2] for row in rows]


def _check_pairs(
    path: Path, ids: Sequence[str], labels: NDArray[np.int64], features: Features
) -> None:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataUnavailable(
            f"{path}: {len(twice)} pictures are named more than once, such as {_some(twice)}"
        )
    if len(ids) != features.pairs:
        raise DataUnavailable(
            f"{path}: {len(ids):,} pairs, expected {features.pairs:,}: {_sizes(features)}"
        )
    empty = np.flatnonzero(np.bincount(labels, minlength=len(features.label_names)) == 0)
    if empty.size:
        raise DataUnavailable(
            f"{path}: no pair of {_some([features.label_names[i] for i in empty])}"
        )


def _split_file(path: Path, ids: Sequence[str], features: Features) -> list[NDArray[np.int64]]:
    """Return the parts that lines of picture and part name."""
    row = {name: i for i, name in enumerate(ids)}
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for number, line in enumerate(_read(path).split("\n"), 1):
        if not line.strip():
            continue
        name, _, part = (cell.strip() for cell in line.partition("\t"))
        if part not in parts or name not in row:
            what = "picture" if part in parts else f"part (one of {', '.join(PARTS)})"
            raise DataUnavailable(
                f"{path}, line {number}: expected picture and part with a tab between, got "
                f"{line[:60]!r}, whose {what} is not known or was named before"
            )
        parts[part].append(row.pop(name))
    found = tuple(len(rows) for rows in parts.values())
    if found != features.sizes:
        raise DataUnavailable(
            f"{path}: {dict(zip(PARTS, found, strict=True))}, expected {_sizes(features)}"
        )
    return [np.array(rows, dtype=np.int64) for rows in parts.values()]


def _cut_published(
    labels: NDArray[np.int64], features: Features
) -> tuple[list[NDArray[np.int64]], str]:
    """Keep the published training pairs, and cut the published test pairs in two."""
    n = SHAPES["I_tr"][0]
    val, test = stratified_cut(labels[n:], features.sizes[1:], features.key, _OFFICIAL)
    rule = (
        "train: the published training pairs; val and test: the published test pairs, cut at "
        "random, each class in proportion, by the seed that belongs to the set"
    )
    return [np.arange(n), n + val, n + test], rule


def find_pictures(folder: Path, ids: Sequence[str]) -> list[Path]:
    """Return the file of each picture, anywhere below ``folder``, its ending left out or not.

    Raises:
        DataUnavailable: some are not there, or may be several files.
    """
    if not folder.is_dir():
        raise DataUnavailable(f"{folder}: no such folder of pictures")
    there: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _PICTURES and path.is_file():
            inside = path.relative_to(folder)
            names = {path.name, path.stem, inside.as_posix(), inside.with_suffix("").as_posix()}
            for name in names:
                there.setdefault(name, []).append(path)
    ids = [name.replace("\\", "/") for name in ids]
    missing = [name for name in ids if name not in there]
    if missing:
        raise DataUnavailable(
            f"{folder}: {len(missing):,} of {len(ids):,} pictures are not there, such as "
            f"{_some(missing)}; they may lie in folders below it"
        )
    several = [name for name in ids if len(there[name]) > 1]
    if several:
        both = " and ".join(str(path.relative_to(folder)) for path in there[several[0]][:2])
        raise DataUnavailable(
            f"{folder}: {len(several)} pictures may be several files, such as {several[0]}: "
            f"{both}; name them with their folders and endings"
        )
    return [there[name][0] for name in ids]


def count_words(
    texts: Sequence[str], train: int, width: int
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Return the ``width`` most frequent words of the first ``train`` texts, and their counts.

    Words are runs of letters and digits in capitals; the vocabulary is in order of frequency,
    words of one frequency in alphabetical order. There is no list of stop words and no stemming.

    Raises:
        DataUnavailable: the training texts have fewer words.
    """
    split = [words(text) for text in texts]
    frequency = Counter(word for text in split[:train] for word in text)
    if len(frequency) < width:
        raise DataUnavailable(
            f"the training texts have only {len(frequency):,} different words, {width:,} are "
            "needed; check that the texts are whole"
        )
    ranked = sorted(frequency, key=lambda word: (-frequency[word], word))
    vocabulary = tuple(ranked[:width])
    column = {word: i for i, word in enumerate(vocabulary)}
    counts = np.zeros((len(texts), width), dtype=np.float32)
    for row, text in enumerate(split):
        for word in text:
            if word in column:
                counts[row, column[word]] += 1
    return vocabulary, counts


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataUnavailable(f"{path}: cannot be read ({error.strerror or error})") from error


def _sizes(features: Features) -> str:
    return ", ".join(f"{n:,} {part}" for part, n in zip(PARTS, features.sizes, strict=True))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
