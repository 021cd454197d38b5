r"""The solver behind CCA and kernel CCA: two centred views in, weights and correlations out.

Both methods ask for the leading singular triplets of the whitened cross product

    M = W_xᵀ Z_xᵀ Z_y W_y,   Wᵀ (ZᵀZ + cI) W = I,

where Z holds a view in coordinates of its own. Here those are its singular vectors, Z = U S and
W = (S² + cI)^(-1/2), which is right whatever the data. Where the numbers allow it, the engine's
form is many times faster: the columns themselves and a Cholesky factor.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import svd

from vlalign_lib._fast import fast

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class View:
    """One centred view, factorised once, ready to be paired with another."""

    scores: Matrix  # Z (n, r)
    whitener: Matrix  # W (r, r)
    basis: Matrix  # B, (p, r) with Z = X B, or (n, r) with Z = K B

    @property
    def rank(self) -> int:
        """The directions that rounding did not make up."""
        return self.scores.shape[1]

    def whiten_rows(self, product: Matrix) -> Matrix:
        """Return Wᵀ @ product, product (r, m)."""
        return self.whitener.T @ product

    def whiten_columns(self, product: Matrix) -> Matrix:
        """Return product @ W, product (m, r)."""
        return product @ self.whitener

    def unwhiten(self, u: Matrix) -> Matrix:
        """Return W @ u: the weights on the scores, (r, k)."""
        return self.whitener @ u

    def duals(self, weights: Matrix, partner: Matrix, correlations: Matrix) -> Matrix:
        """Return α (n, k) with Kα = Z @ weights: one weight a training pair.

        ``partner`` holds the variates of the other view, (n, k): where there is a ridge,
        α = (K + cI)⁻¹ partner / ρ as well, which the engine's form makes use of.
        """
        alpha = self.basis @ weights
        return alpha - alpha.mean(axis=0)  # K is centred: constants in α change nothing

    def weights(self, x: Matrix, weights: Matrix, partner: Matrix, correlations: Matrix) -> Matrix:
        """Return the weights on the columns of ``x``, (p, k), from those on the scores."""
        return self.basis @ weights


@fast("linear_view")
def linear_view(x: Matrix, reg: float, eps: float, wanted: int) -> View:
    """Factorise a centred view (n, p), ridge c = reg · mean variance of what varies · (n − 1).

    ``eps`` is the rounding unit of the numbers it came from, ``wanted`` how many components
    will be asked for: beyond it the rank need not be known.
    """
    n, p = x.shape
    u, s, vt = svd(x, full_matrices=False, check_finite=False)
    rank = min(int((s > s[0] * max(n, p) * eps).sum()), n - 1)
    s = s[:rank]
    ridge = reg * float(s @ s) / int(x.any(axis=0).sum())
    return View(u[:, :rank] * s, np.diag(1 / np.sqrt(s * s + ridge)), vt[:rank].T)


@fast("kernel_view")
def kernel_view(gram: Matrix, reg: float, eps: float) -> View:
    """Factorise a centred Gram matrix K (n, n), ridge c = reg · tr(K)/n."""
    n = gram.shape[0]
    ridge = reg * float(np.trace(gram)) / n
    values, vectors = np.linalg.eigh(gram)
    keep = values > values[-1] * n * eps
    values, vectors = values[keep], vectors[:, keep]
    root = np.sqrt(values)
    return View(vectors * root, np.diag(1 / np.sqrt(values + ridge)), vectors / root)


@fast("leading_svd")
def leading_svd(matrix: Matrix, k: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return the ``k`` leading singular triplets: u (d_x, k), s (k,) descending, v (d_y, k)."""
    u, s, vt = svd(matrix, full_matrices=False, check_finite=False)
    return u[:, :k], s[:k], vt[:k].T


def canonical_pairs(
    x: View, y: View, asked: int | None, reg: float, *, stacklevel: int
) -> tuple[Matrix, Matrix, Matrix]:
    """Return score weights a (d_x, k), b (d_y, k) and correlations (k,), descending.

    aᵀ(Z_xᵀZ_x + c_xI)a = (n − 1)I, likewise b, and aᵀZ_xᵀZ_yb is diagonal. k is what was asked
    for, or what there is: then, and where a correlation is 1 whatever the data, a warning says so.
    """
    n = len(x.scores)
    why = (
        f"over the {n} pairs the images vary in {x.rank} independent directions and the texts "
        f"in {y.rank}"
    )
    k = available_components(asked, min(x.rank, y.rank), why, stacklevel=stacklevel + 1)
    if reg == 0:
        _warn_if_perfect((x.rank, y.rank), n, stacklevel=stacklevel + 1)
    cross = y.whiten_columns(x.whiten_rows((y.scores.T @ x.scores).T))
    u, s, v = leading_svd(cross, k)
    size = np.sqrt(n - 1)
    return size * x.unwhiten(u), size * y.unwhiten(v), np.clip(s, 0.0, 1.0)


def available_components(asked: int | None, most: int, why: str, *, stacklevel: int) -> int:
    """Return how many components to keep, with a warning where the data have fewer than asked."""
    if asked is None:
        return most
    if asked > most:
        warnings.warn(
            f"n_components={asked}, but only {most} can be learned here: {why}; keeping {most} "
            "(see n_components_)",
            UserWarning,
            stacklevel=stacklevel,
        )
    return min(asked, most)


def _warn_if_perfect(ranks: tuple[int, int], n: int, *, stacklevel: int) -> None:
    """Warn where n pairs leave so little room that some correlations are 1 whatever the data.

    The centred columns of the two views span subspaces of n − 1 dimensions. Two subspaces whose
    dimensions add up to more than that must meet.
    """
    perfect = min(sum(ranks) - (n - 1), *ranks)
    if perfect > 0:
        warnings.warn(
            f"{n} pairs with {ranks[0]} and {ranks[1]} independent dimensions and reg=0: "
            f"{perfect} of the correlations are 1 whatever the data; use more than "
            f"{5 * max(ranks)} pairs, fewer dimensions (pca=), or reg between 1e-4 and 1 "
            "(chapter 3)",
            UserWarning,
            stacklevel=stacklevel,
        )


def settle_signs(a: Matrix, b: Matrix) -> tuple[Matrix, Matrix]:
    """Flip paired columns so that the entry of largest magnitude in each column of a is positive.

    A pair of directions is defined up to one common sign.
    """
    largest = np.abs(a).argmax(axis=0)
    sign = np.where(a[largest, np.arange(a.shape[1])] < 0, -1.0, 1.0)
    return a * sign, b * sign


def paired_correlation(u: NDArray[np.floating], v: NDArray[np.floating]) -> Matrix:
    """Return the Pearson correlation of each column of u with that of v, 0 for constant ones."""
    a, b = _unit_columns(u), _unit_columns(v)
    return np.clip(np.einsum("ij,ij->j", a, b), -1.0, 1.0)


def _unit_columns(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Centre the columns and scale them to length 1; constant columns become 0."""
    _, exponents = np.frexp(np.abs(x).max(axis=0))
    x = np.ldexp(
        x.astype(np.float64), -exponents
    )  # the same columns, with squares that are numbers
    centred = x - x.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    constant = length <= len(x) * np.finfo(np.float64).eps * np.abs(x).max(axis=0)
    unit: NDArray[np.float64] = centred / np.where(constant, 1.0, length)
    unit[:, constant] = 0.0
    return unit
