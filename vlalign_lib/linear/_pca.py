"""Principal axes of one standardised view, as a step before CCA."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from vlalign_lib.linear._checks import is_real, is_whole

Amount = int | float | None


def check_pca(pca: object) -> tuple[Amount, Amount]:
    """Return the amounts for images and texts, or raise a ValueError that says what is allowed."""
    pair = pca if isinstance(pca, tuple | list) else (pca, pca)
    if len(pair) == 2 and all(map(_is_amount, pair)):
        return pair[0], pair[1]
    raise ValueError(
        "pca: expected None, a number of components (an int of at least 1), a share of variance "
        f"(a float in (0, 1)), or a pair of these for (images, texts); got {pca!r}"
    )


def _is_amount(value: object) -> bool:
    if is_whole(value):
        return value >= 1
    return value is None or (is_real(value) and 0 < value < 1)


def principal_axes(z: NDArray[np.float64], amount: int | float) -> NDArray[np.float64]:
    """Return the leading principal axes (p, d) of a centred view (n, p).

    ``amount`` as an int is the most that are kept, as a float the share of the variance that
    they explain at least. Axes without variance are never kept.
    """
    n, p = z.shape
    side = min(n, p)
    whole = is_whole(amount)
    most = min(int(amount), side) if whole else side
    scatter = z.T @ z if p <= n else z @ z.T
    values, vectors = eigh(
        scatter, subset_by_index=[side - most, side - 1], overwrite_a=True, check_finite=False
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = int((values > values[0] * max(n, p) * np.finfo(np.float64).eps).sum())
    if not whole:
        share = np.cumsum(values) / values.sum()
        keep = min(keep, int(np.searchsorted(share, amount)) + 1)
    vectors = vectors[:, :keep]
    return vectors if p <= n else z.T @ (vectors / np.sqrt(values[:keep]))
