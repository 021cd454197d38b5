"""Kernels between standardised rows, their centring and their width."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import is_one_of
from vlalign_lib.linear._checks import is_real

Matrix = NDArray[np.float64]
Kernel = Literal["rbf", "linear"]


def gram(a: Matrix, b: Matrix, gamma: float | None) -> Matrix:
    """Return the kernel between the rows of a (n, p) and b (m, p); gamma None: linear."""
    if gamma is None:
        return a @ b.T
    return rbf(squared_distances(a, b), gamma)


def rbf(distances: Matrix, gamma: float) -> Matrix:
    """Turn squared distances into exp(−γd²), in place."""
    distances *= -gamma
    return np.exp(distances, out=distances)


def squared_distances(a: Matrix, b: Matrix) -> Matrix:
    """Return ‖a_i − b_j‖², (n, m)."""
    distances = a @ b.T
    distances *= -2
    distances += np.einsum("ij,ij->i", a, a)[:, None]
    distances += np.einsum("ij,ij->i", b, b)
    if a is b:
        np.fill_diagonal(distances, 0.0)
    return np.maximum(distances, 0.0, out=distances)


def median_gamma(distances: Matrix) -> float:
    """Return 1/(2 median d²) over the pairs i < j of a square matrix of squared distances.

    Where more than half of the rows coincide the mean takes the place of the median.
    """
    below = distances[np.tri(len(distances), k=-1, dtype=bool)]
    typical = float(np.median(below)) or float(below.mean())
    return 1 / (2 * typical)


def centre(kernel: Matrix) -> Matrix:
    """Centre a Gram matrix (n, n) in feature space, in place; return its column means (n,)."""
    means: Matrix = kernel.mean(axis=0)
    kernel -= means
    kernel -= (means - means.mean())[:, None]
    return means


def check_kernel(kernel: object) -> tuple[Kernel, Kernel]:
    """Return the kernels for images and texts."""
    pair = tuple(kernel) if isinstance(kernel, tuple | list) else (kernel, kernel)
    if len(pair) == 2 and all(is_one_of(entry, get_args(Kernel)) for entry in pair):
        return pair
    raise ValueError(
        f'kernel: expected "rbf", "linear", or a pair of these for (images, texts); got {kernel!r}'
    )


def check_gamma(gamma: object) -> tuple[float | None, float | None]:
    """Return γ for images and texts, None for the median heuristic."""
    pair = tuple(gamma) if isinstance(gamma, tuple | list) else (gamma, gamma)
    if len(pair) == 2 and all(map(_is_width, pair)):
        return pair
    raise ValueError(
        "gamma: expected None (median heuristic), a positive number, or a pair of these for "
        f"(images, texts); got {gamma!r}"
    )


def _is_width(gamma: object) -> bool:
    return gamma is None or (is_real(gamma) and gamma > 0)
