"""Signs that do not depend on the machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def settle_signs(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flip paired columns so that the entry of largest magnitude in each column of a is positive.

    A pair of directions is defined up to one common sign.
    """
    largest = np.abs(a).argmax(axis=0)
    sign = np.where(a[largest, np.arange(a.shape[1])] < 0, -1.0, 1.0)
    return a * sign, b * sign
