"""Synthetic twins: the shapes and the file layout of a data set, and none of its data."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from vlalign_lib._validate import as_seed
from vlalign_lib.data._download import sha256_of
from vlalign_lib.data._made import ARRAYS, Meta, shapes, write_meta
from vlalign_lib.data._order import shares
from vlalign_lib.data._registry import Features, lookup
from vlalign_lib.data.wikipedia import CLASSES, SHAPES

_ROWS = 1000  # rows made together


def synthetic_twin(name: str, folder: str | PathLike[str], *, seed: int = 0) -> Path:
    """Write files laid out like those of a data set that is not here, filled with made-up numbers.

    With a twin the whole way of a data set, from its files to a table, runs in a test without
    its data. Each class has its own mean in both views, so that methods have something to
    find; no number about the real data can be had from it.

    Args:
        name: a data set that is downloaded or made: ``"wikipedia"``, ``"wikipedia_deep"``,
            ``"pascal_sentences"``, ``"nus_wide_10k"`` (20 to 204 MB for the last three).
        folder: where to write; it is made where it is missing.
        seed: what the numbers depend on.

    Returns:
        The folder, for the loader's ``root``.

    Raises:
        ValueError: no such data set, or one that comes with the library's dependencies and
            needs no twin.

    Chapter:
        3, "Linear coordinates: CCA and kin".

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     sorted(file.name for file in synthetic_twin("wikipedia", folder).iterdir())[:2]
        ['categories.list', 'raw_features.mat']
    """
    entry = lookup(name)
    if not entry.files and entry.features is None:
        raise ValueError(f"{name} comes with the library's dependencies and needs no twin")
    rng = np.random.default_rng(as_seed(seed))
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if entry.features is not None:
        _deep_twin(name, entry.features, target, rng)
    else:
        _wikipedia_twin(target, rng)
    return target


def _deep_twin(name: str, features: Features, target: Path, rng: np.random.Generator) -> None:
    """Write rectified numbers and counts of words, a block of rows at a time."""
    classes = len(features.label_names)
    sizes = np.ones(classes, dtype=np.int64)
    labels = np.concatenate(
        [rng.permutation(np.repeat(np.arange(classes), shares(n, sizes))) for n in features.sizes]
    )
    second = rng.integers(classes, size=features.pairs)
    share = rng.uniform(0.0, 0.4, size=(features.pairs, 1)).astype(np.float32)
    means = rng.normal(-0.5, 0.5, size=(classes, features.image_width)).astype(np.float32)
    rates = rng.gamma(0.2, 1.0, size=(classes, features.text_width))
    rates *= 60 / rates.sum(axis=1, keepdims=True)  # words a text
    np.save(target / "labels.npy", labels)
    images, texts = (
        open_memmap(target / file, "w+", dtype, shape)
        for file, (shape, dtype) in shapes(features).items()
        if file != "labels.npy"
    )
    for start in range(0, features.pairs, _ROWS):
        rows = slice(start, start + _ROWS)
        own, other, part = labels[rows], second[rows], share[rows]
        noise = rng.standard_normal((len(own), features.image_width), dtype=np.float32)
        images[rows] = np.maximum((1 - part) * means[own] + part * means[other] + noise, 0.0)
        texts[rows] = rng.poisson((1 - part) * rates[own] + part * rates[other])
    images.flush()
    texts.flush()
    meta = Meta(
        name=name,
        ids=tuple(f"twin{i:05d}" for i in range(features.pairs)),
        vocabulary=tuple(f"WORD{i:04d}" for i in range(features.text_width)),
        made={"how": "made-up numbers; nothing about the real data can be had from them"},
        sha256={file: sha256_of(target / file) for file in ARRAYS},
        twin=True,
    )
    write_meta(target, meta)


def _wikipedia_twin(target: Path, rng: np.random.Generator) -> None:
    from scipy.io import savemat

    images = rng.dirichlet(np.full(SHAPES["I_tr"][1], 2.0), size=CLASSES)
    texts = rng.dirichlet(np.full(SHAPES["T_tr"][1], 1.0), size=CLASSES)
    arrays: dict[str, NDArray[np.float64]] = {}
    for part, file in (("tr", "trainset"), ("te", "testset")):
        n = SHAPES[f"I_{part}"][0]
        labels = np.repeat(np.arange(CLASSES), shares(n, np.ones(CLASSES, dtype=np.int64)))
        labels = rng.permutation(labels)
        # What ties picture and text of one pair beyond their class: a second class in the mix.
        second = rng.integers(CLASSES, size=n)
        share = rng.uniform(0.0, 0.4, size=(n, 1))
        for view, means in (("I", images), ("T", texts)):
            mixed = (1 - share) * means[labels] + share * means[second]
            counts = rng.gamma(40.0 * mixed + 0.05)
            arrays[f"{view}_{part}"] = counts / counts.sum(axis=1, keepdims=True)
        lines = [
            f"{part}{i:030x}-1\t{part}{i:030x}\t{label + 1}\n" for i, label in enumerate(labels)
        ]
        (target / f"{file}_txt_img_cat.list").write_text("".join(lines), encoding="ascii")
    savemat(target / "raw_features.mat", arrays, appendmat=False, do_compression=True)
    categories = "".join(f"class{i}\n" for i in range(CLASSES))
    (target / "categories.list").write_text(categories, encoding="ascii")
