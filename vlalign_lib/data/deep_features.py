"""The three data sets of the printed table, as deep features that everybody makes."""

from __future__ import annotations

from itertools import pairwise
from os import PathLike
from pathlib import Path

import numpy as np

from vlalign_lib.data._cache import DataUnavailable
from vlalign_lib.data._made import (
    ARRAYS,
    META,
    PARTS,
    features_of,
    how_to_make,
    made_paths,
    read_array,
    read_meta,
)
from vlalign_lib.data._order import check_seed, stratified_cut
from vlalign_lib.data._paired import PairedDataset

_RESPLIT = 1  # what random cuts by seed depend on, beside the set and the seed


def load_wikipedia_deep(
    *, seed: int | None = None, root: str | PathLike[str] | None = None
) -> PairedDataset:
    """Return Wikipedia's pairs as deep features: VGG-19 fc7 and counts of 3,000 words.

    They are the pairs of ``load_wikipedia`` with other features, and with the cut of the printed
    table: 2,173 to train on, 231 for validation, 462 to test. Nobody publishes these features
    under an address that can be relied on; ``vlalign data features wikipedia_deep`` makes them.

    Args:
        seed: None for the cut that the files have; a whole number cuts all pairs anew into parts
            of the same sizes, each class in proportion. The vocabulary stays that of the first
            training texts.
        root: a folder with the files, a synthetic twin's for instance; None for the cache,
            else ``VLALIGN_MIRROR``.

    Returns:
        ``images`` (2866, 4096) float32, ``texts`` (2866, 3000) float32, counts of words;
        ``labels`` 0 … 9; no captions; ``ids`` the pictures' names.

    Raises:
        ValueError: ``seed`` is neither None nor a whole number.
        DataUnavailable: the files are not there, or are not what they should be.

    Source:
        N. Rasiwasia et al. (2010), A New Approach to Cross-Modal Multimedia Retrieval.

    Chapter:
        8, "The retrieval table".

    Example:
        >>> try:
        ...     load_wikipedia_deep(root="no such folder")
        ... except DataUnavailable as error:
        ...     print("vlalign data features wikipedia_deep" in str(error))
        True
    """
    return _load("wikipedia_deep", seed, root)


def load_pascal_sentences(
    *, seed: int | None = None, root: str | PathLike[str] | None = None
) -> PairedDataset:
    """Return Pascal Sentences as deep features: VGG-19 fc7 and counts of 1,000 words.

    A thousand photographs of 20 classes, 50 of each, with five sentences each: 800 to train on,
    100 for validation, 100 to test. ``vlalign data features pascal_sentences`` makes the files.

    Args:
        seed: None for the cut that the files have; a whole number cuts all pairs anew into parts
            of the same sizes, each class in proportion. The vocabulary stays that of the first
            training texts.
        root: a folder with the files, a synthetic twin's for instance; None for the cache,
            else ``VLALIGN_MIRROR``.

    Returns:
        ``images`` (1000, 4096) float32, ``texts`` (1000, 1000) float32, counts of words;
        ``labels`` 0 … 19; no captions; ``ids`` the pictures' names.

    Raises:
        ValueError: ``seed`` is neither None nor a whole number.
        DataUnavailable: the files are not there, or are not what they should be.

    Source:
        C. Rashtchian et al. (2010), Collecting Image Annotations Using Amazon's Mechanical Turk.

    Chapter:
        8, "The retrieval table".

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from vlalign_lib.data import synthetic_twin
        >>> with TemporaryDirectory() as folder:
        ...     ds = load_pascal_sentences(root=synthetic_twin("pascal_sentences", folder))
        >>> ds.images.shape, ds.texts.shape, {part: len(r) for part, r in ds.splits.items()}
        ((1000, 4096), (1000, 1000), {'train': 800, 'val': 100, 'test': 100})
    """
    return _load("pascal_sentences", seed, root)


def load_nus_wide_10k(
    *, seed: int | None = None, root: str | PathLike[str] | None = None
) -> PairedDataset:
    """Return NUS-WIDE-10k as deep features: VGG-19 fc7 and counts of 1,000 tags.

    Ten thousand photographs from Flickr with one of 10 classes each, a thousand of each: 8,000
    to train on, 1,000 for validation, 1,000 to test. ``vlalign data features nus_wide_10k`` makes
    the files, 204 MB of them.

    Args:
        seed: None for the cut that the files have; a whole number cuts all pairs anew into parts
            of the same sizes, each class in proportion. The vocabulary stays that of the first
            training texts.
        root: a folder with the files, a synthetic twin's for instance; None for the cache,
            else ``VLALIGN_MIRROR``.

    Returns:
        ``images`` (10000, 4096) float32, ``texts`` (10000, 1000) float32, counts of words;
        ``labels`` 0 … 9; no captions; ``ids`` the pictures' names.

    Raises:
        ValueError: ``seed`` is neither None nor a whole number.
        DataUnavailable: the files are not there, or are not what they should be.

    Source:
        T.-S. Chua et al. (2009), NUS-WIDE: A Real-World Web Image Database.

    Chapter:
        8, "The retrieval table".

    Example:
        >>> try:
        ...     load_nus_wide_10k(root="no such folder")
        ... except DataUnavailable as error:
        ...     print("vlalign data features nus_wide_10k" in str(error))
        True
    """
    return _load("nus_wide_10k", seed, root)


def _load(name: str, seed: int | None, root: str | PathLike[str] | None) -> PairedDataset:
    seed = check_seed(seed)
    _, features = features_of(name)
    folder = made_paths(name)[0].parent if root is None else Path(root)
    path = folder / META
    try:
        meta = read_meta(folder, name)
        if meta.twin and root is None:
            raise ValueError("belongs to a synthetic twin, which is read by root= alone")
        arrays = []
        for file in ARRAYS:
            path = folder / file
            arrays.append(read_array(path, features))
    except FileNotFoundError as error:
        raise DataUnavailable(how_to_make(name, f"{path} is not there")) from error
    except (OSError, ValueError) as error:
        why = f"{path}: not the file it should be ({error})"
        raise DataUnavailable(how_to_make(name, why)) from error
    images, texts, labels = arrays
    if seed is None:
        ends = np.cumsum((0, *features.sizes))
        parts = [np.arange(a, b) for a, b in pairwise(ends.tolist())]
    else:
        parts = stratified_cut(labels, features.sizes, features.key, _RESPLIT, seed)
    return PairedDataset(
        f"{name} (synthetic twin)" if meta.twin else name,
        images=images,
        texts=texts,
        labels=labels,
        label_names=features.label_names,
        ids=meta.ids,
        splits=dict(zip(PARTS, parts, strict=True)),
    )
