"""Handwritten digits, cut down the middle: the two-view benchmark in miniature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.data._order import check_seed, stratified_cut
from vlalign_lib.data._paired import PairedDataset

SIZES = {"train": 800, "val": 200, "test": 797}
_KEY = 1  # sets digits apart from the other sets in random orders


def load_digit_halves(*, seed: int | None = None) -> PairedDataset:
    """Return scikit-learn's 1,797 digits with their left half as image, right half as text.

    Both halves show the same stroke of the same hand, so the pairing is real, and what is
    common to both is mostly which digit it is. The cut has 800 pairs to train, 200 to validate
    and 797 to test, and gives each part its share of every digit.

    Args:
        seed: None for the official cut, a whole number for another random one of the same
            sizes.

    Returns:
        ``images`` (1797, 8, 4) float32 in [0, 1], the left halves; ``texts`` (1797, 32)
        float32 in [0, 1], the right halves row by row (``texts.reshape(-1, 8, 4)`` shows
        them); ``labels`` the digit; no captions; ``ids`` the number in scikit-learn's order.

    Raises:
        ValueError: ``seed`` is neither None nor a whole number.

    Source:
        E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI
        Machine Learning Repository; the 1,797 of its test part, as scikit-learn ships them.

    Chapter:
        2, "Early and late fusion".

    Example:
        >>> ds = load_digit_halves()
        >>> ds.images.shape, ds.texts.shape, len(ds.split("train")), len(ds.split("test"))
        ((1797, 8, 4), (1797, 32), 800, 797)
    """
    seed = check_seed(seed)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pictures: NDArray[np.float32] = (bunch.images / 16.0).astype(np.float32)
    labels = bunch.target.astype(np.int64)
    key = (_KEY, 0) if seed is None else (_KEY, 1, seed)
    parts = stratified_cut(labels, tuple(SIZES.values()), *key)
    return PairedDataset(
        "digits",
        images=pictures[:, :, :4],
        texts=pictures[:, :, 4:].reshape(len(pictures), -1),
        labels=labels,
        label_names=tuple("0123456789"),
        ids=tuple(str(i) for i in range(len(pictures))),
        splits=dict(zip(SIZES, parts, strict=True)),
    )
