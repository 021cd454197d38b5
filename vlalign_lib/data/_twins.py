"""Synthetic twins: the shapes and the file layout of a data set, and none of its data."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_seed
from vlalign_lib.data._order import shares
from vlalign_lib.data._registry import lookup
from vlalign_lib.data.wikipedia import CLASSES, SHAPES


def synthetic_twin(name: str, folder: str | PathLike[str], *, seed: int = 0) -> Path:
    """Write files laid out like those of a downloaded data set, filled with made-up numbers.

    With a twin the whole way of a data set, from its files to a table, runs in a test without
    its data. Each class has its own mean in both views, so that methods have something to
    find; no number about the real data can be had from it.

    Args:
        name: a data set that is downloaded: ``"wikipedia"``.
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
    if not lookup(name).files:
        raise ValueError(f"{name} comes with the library's dependencies and needs no twin")
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(as_seed(seed))
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
    return target
