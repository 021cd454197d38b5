"""Sections of Wikipedia's featured articles: a picture's visual words and the text's topics."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.data._cache import DataUnavailable
from vlalign_lib.data._download import download, state_of
from vlalign_lib.data._order import check_seed, stratified_cut
from vlalign_lib.data._paired import PairedDataset
from vlalign_lib.data._registry import SETS

SIZES = {"train": 1942, "val": 231, "test": 693}
SHAPES = {"I_tr": (2173, 128), "T_tr": (2173, 10), "I_te": (693, 128), "T_te": (693, 10)}
CLASSES = 10
_KEY = 10  # sets wikipedia apart from the other sets in random orders


def load_wikipedia(
    *, seed: int | None = None, root: str | PathLike[str] | None = None
) -> PairedDataset:
    """Return the classic Wikipedia pairs of Rasiwasia et al. (2010), 2,173 and 693 of them.

    The features are the published ones, not pictures or words: counts of 128 visual words
    (SIFT) and the shares of 10 topics (LDA) in the text. The 693 test pairs are the published
    ones. The 2,173 training pairs are cut into 1,942 and 231, each class in proportion, at
    random but the same everywhere.

    The files come from the cache, else they are fetched and checked; see ``fetch``.

    Args:
        seed: None for the official cut; a whole number cuts the pooled 2,866 pairs anew into
            parts of the same sizes, each class in proportion.
        root: a folder that holds the four files; nothing is fetched then. The names, shapes
            and numbers are checked, the check sums are not, so a synthetic twin will do.

    Returns:
        ``images`` (2866, 128) float32, rows sum to 1; ``texts`` (2866, 10) float32, rows sum to
        1; ``labels`` the category; no captions; ``ids`` the pictures' names. Training rows
        come first, in the published order.

    Raises:
        ValueError: ``seed`` is neither None nor a whole number.
        DataUnavailable: the files cannot be had, or are not what they should be.

    Source:
        N. Rasiwasia et al. (2010), A New Approach to Cross-Modal Multimedia Retrieval.

    Chapter:
        3, "Linear coordinates: CCA and kin".

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from vlalign_lib.data import synthetic_twin
        >>> with TemporaryDirectory() as folder:
        ...     ds = load_wikipedia(root=synthetic_twin("wikipedia", folder))
        >>> ds.images.shape, ds.texts.shape, {part: len(r) for part, r in ds.splits.items()}
        ((2866, 128), (2866, 10), {'train': 1942, 'val': 231, 'test': 693})
    """
    seed = check_seed(seed)
    files = SETS["wikipedia"].files
    if root is None:
        folder = download("wikipedia")[0].parent
        name = "wikipedia"
    else:
        folder = Path(root)
        real = all(state_of(folder / file.path, file).state == "ok" for file in files)
        name = "wikipedia" if real else f"wikipedia (unchecked files in {folder.name})"
    arrays = _features(folder / "raw_features.mat")
    _, ids, labels = published_pairs(folder)
    images = np.concatenate([arrays["I_tr"], arrays["I_te"]]).astype(np.float32)
    texts = np.concatenate([arrays["T_tr"], arrays["T_te"]]).astype(np.float32)

    if seed is None:
        n = SHAPES["I_tr"][0]
        train, val = stratified_cut(labels[:n], (SIZES["train"], SIZES["val"]), _KEY, 0)
        parts = [train, val, np.arange(n, len(labels))]
    else:
        parts = stratified_cut(labels, tuple(SIZES.values()), _KEY, 1, seed)
    return PairedDataset(
        name,
        images=images,
        texts=texts,
        labels=labels,
        label_names=_categories(folder / "categories.list"),
        ids=tuple(ids),
        splits=dict(zip(SIZES, parts, strict=True)),
    )


def _features(path: Path) -> dict[str, NDArray[np.float64]]:
    """Return the four matrices, having looked at names, shapes and kinds before reading them."""
    from scipy.io import loadmat, whosmat

    try:
        # Only plain matrices of doubles are ever read: no objects, no functions, no surprises.
        found = {name: (shape, kind) for name, shape, kind in whosmat(path, appendmat=False)}
        for name, shape in SHAPES.items():
            if found.get(name) != (shape, "double"):
                raise ValueError(
                    f"expected {name} {shape} of doubles, found {found.get(name, 'none')}"
                )
        arrays = loadmat(path, appendmat=False, variable_names=list(SHAPES))
        for name, shape in SHAPES.items():
            matrix = arrays[name]
            if matrix.shape != shape or matrix.dtype.kind != "f":
                raise ValueError(f"{name} is {matrix.dtype} {matrix.shape}, expected {shape}")
            if not np.isfinite(matrix).all():
                raise ValueError(f"{name} holds NaN or infinity")
    except Exception as error:
        raise _unreadable(path, error) from error
    return {name: arrays[name] for name in SHAPES}


def published_pairs(folder: Path) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Return the texts' and the pictures' names and the classes: 2,173 to train on, 693 to test."""
    train = _list(folder / "trainset_txt_img_cat.list", SHAPES["I_tr"][0])
    test = _list(folder / "testset_txt_img_cat.list", SHAPES["I_te"][0])
    return train[0] + test[0], train[1] + test[1], np.concatenate([train[2], test[2]])


def _list(path: Path, n: int) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Return names and classes from lines of text, picture, category."""
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="ascii").splitlines()]
        if len(rows) != n or any(len(row) != 3 for row in rows):
            raise ValueError(f"expected {n} lines of text, picture and category between tabs")
        labels = np.array([int(row[2]) for row in rows], dtype=np.int64) - 1
        if not 0 <= labels.min() <= labels.max() < CLASSES:
            raise ValueError(f"expected categories 1 … {CLASSES}")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return [row[0] for row in rows], [row[1] for row in rows], labels


def _categories(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(path.read_text(encoding="ascii").split())
        if len(names) != CLASSES:
            raise ValueError(f"expected {CLASSES} names, found {len(names)}")
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return names


def _unreadable(path: Path, error: Exception) -> DataUnavailable:
    return DataUnavailable(
        f"{path}: not the file it should be ({error}). Fetch it again with `vlalign data fetch "
        "wikipedia`, or give `root` a folder with the four files"
    )
