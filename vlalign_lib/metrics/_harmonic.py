"""Numbers that closed forms for ties are made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def harmonic_numbers(n: int) -> NDArray[np.float64]:
    """Return H (n + 1,) with ``H[i]`` = 1 + 1/2 + … + 1/i, and ``H[0]`` = 0."""
    terms = np.zeros(n + 1, dtype=np.longdouble)
    terms[1:] = 1 / np.arange(1, n + 1, dtype=np.longdouble)
    return np.cumsum(terms).astype(np.float64)
