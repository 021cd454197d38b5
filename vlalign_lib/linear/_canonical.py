"""The solver behind CCA and kernel CCA: two centred views in, weights and correlations out.

Both methods ask for the leading singular triplets of the whitened cross product

    M = W_xᵀ Z_xᵀ Z_y W_y,   Wᵀ (ZᵀZ + cI) W = I,

where Z holds a view in coordinates chosen to be cheap: its own columns where there are fewer
columns than rows, the Cholesky factor of its Gram matrix where there are more (or where there
is only a kernel), its singular vectors where everything else would lose digits.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, eigh, lapack, solve_triangular, svd

Matrix = NDArray[np.float64]

# Below this reciprocal condition number a Cholesky factor of ZᵀZ + cI no longer gives
# correlations to 1e-8, and the singular values of Z itself take over.
_MIN_RCOND = 1e-9
# A correlation below this is too small to divide by when weights are recovered from a Gram matrix.
_MIN_CORRELATION = 1e-6
# Below this size a complete decomposition costs nothing.
_SMALL = 256


@dataclass(frozen=True)
class View:
    """One centred view, factorised once, ready to be paired with another."""

    scores: Matrix  # Z (n, d): the view in its own coordinates
    rank: int  # directions that rounding did not make up; an upper bound where that will do
    whitener: Matrix  # (d, d) lower L with LLᵀ = ZᵀZ + cI, or (d, r) W itself
    triangular: bool  # which of the two
    basis: Matrix | None = None  # (p, d) with Z = X @ basis; None: Z = X, or see pivots
    ridge: float = 0.0  # c, where pivots are given
    pivots: NDArray[np.intp] | None = None  # rows of Z that form a lower triangle; K = Z Zᵀ

    def whiten_rows(self, product: Matrix) -> Matrix:
        """Return Wᵀ @ product, product (d, m) in Fortran order and free to be overwritten."""
        if not self.triangular:
            return self.whitener.T @ product
        return blas.dtrsm(1.0, self.whitener, product, lower=1, overwrite_b=1)

    def whiten_columns(self, product: Matrix) -> Matrix:
        """Return product @ W, product (m, d) in Fortran order and free to be overwritten."""
        if not self.triangular:
            return product @ self.whitener
        return blas.dtrsm(1.0, self.whitener, product, side=1, lower=1, trans_a=1, overwrite_b=1)

    def unwhiten(self, u: Matrix) -> Matrix:
        """Return W @ u: the weights on the scores, (d, k)."""
        if not self.triangular:
            return self.whitener @ u
        return solve_triangular(self.whitener, u, trans="T", lower=True, check_finite=False)

    def duals(self, weights: Matrix, partner: Matrix, correlations: Matrix) -> Matrix:
        """Return α (n, k) with Kα = Z @ weights: one weight a training pair.

        ``partner`` holds the variates of the other view, (n, k). α = (K + cI)⁻¹ partner / ρ
        inverts nothing singular; where ρ is too small to divide by, α lives on the pivots alone.
        """
        if self.pivots is None:
            assert self.basis is not None
            return self.basis @ weights
        safe = correlations >= _MIN_CORRELATION
        alpha = np.zeros(partner.shape)
        if safe.any():
            v = partner[:, safe]
            # (Z Zᵀ + cI)⁻¹ = (I − Z (ZᵀZ + cI)⁻¹ Zᵀ) / c, and the inner inverse is at hand.
            solved, _ = lapack.dpotrs(self.whitener, self.scores.T @ v, lower=1)
            alpha[:, safe] = (v - self.scores @ solved) / (self.ridge * correlations[safe])
        if not safe.all():
            corner = self.scores[self.pivots]
            alpha[np.ix_(self.pivots, ~safe)] = solve_triangular(
                corner, weights[:, ~safe], trans="T", lower=True
            )
        return alpha - alpha.mean(axis=0)  # K is centred: constants in α change nothing

    def weights(self, x: Matrix, weights: Matrix, partner: Matrix, correlations: Matrix) -> Matrix:
        """Return the weights on the columns of ``x``, (p, k), from those on the scores."""
        if self.pivots is not None:
            return x.T @ self.duals(weights, partner, correlations)
        return weights if self.basis is None else self.basis @ weights


def linear_view(x: Matrix, reg: float, eps: float, wanted: int) -> View:
    """Factorise a centred view (n, p), ridge c = reg · mean variance · (n − 1).

    ``eps`` is the rounding unit of the numbers it came from, ``wanted`` how many components
    will be asked for: beyond it the rank need not be known.
    """
    n, p = x.shape
    if p < n:
        scatter = x.T @ x
        root = _cholesky(scatter, reg * float(np.trace(scatter)) / p)
        if root is not None:
            rank = p if reg == 0 else _rank(scatter, max(n, p) * eps, wanted)
            return View(scores=x, rank=rank, whitener=root, triangular=True)
    elif reg > 0:
        gram = x @ x.T
        view = _gram_view(gram, reg * float(np.trace(gram)) / p, eps)
        if view is not None:
            return view
    u, s, vt = svd(x, full_matrices=False, check_finite=False)
    rank = min(int((s > s[0] * max(n, p) * eps).sum()), n - 1)
    s, ridge = s[:rank], reg * float(s @ s) / p
    return View(
        scores=u[:, :rank] * s,
        rank=rank,
        whitener=np.diag(1 / np.sqrt(s * s + ridge)),
        triangular=False,
        basis=vt[:rank].T,
    )


def kernel_view(gram: Matrix, reg: float, eps: float) -> View:
    """Factorise a centred Gram matrix K (n, n), ridge c = reg · tr(K)/n."""
    n = gram.shape[0]
    ridge = reg * float(np.trace(gram)) / n
    view = _gram_view(gram, ridge, eps) if reg > 0 else None
    if view is not None:
        return view
    values, vectors = np.linalg.eigh(gram)
    keep = values > values[-1] * n * eps
    values, vectors = values[keep], vectors[:, keep]
    return View(
        scores=vectors * np.sqrt(values),
        rank=len(values),
        whitener=np.diag(1 / np.sqrt(values + ridge)),
        triangular=False,
        basis=vectors / np.sqrt(values),
    )


def _gram_view(gram: Matrix, ridge: float, eps: float) -> View | None:
    """Factorise K by pivoted Cholesky, which stops at its rank; None where K + cI is singular."""
    n = gram.shape[0]
    factor, pivots, found, _ = lapack.dpstrf(gram.T, lower=1)
    order = pivots.astype(np.intp) - 1
    d = min(int(found), n - 1)  # centred: one dimension is lost
    if d == 0:
        return None
    pivot = np.diagonal(factor)[:d]
    scores = np.empty((n, d))
    scores[order] = np.tril(factor[:, :d])
    root = _cholesky(scores.T @ scores, ridge)
    if root is None:
        return None
    return View(
        scores=scores,
        rank=int((pivot > pivot[0] * n * eps).sum()),
        whitener=root,
        triangular=True,
        ridge=ridge,
        pivots=order[:d],
    )


def _cholesky(scatter: Matrix, ridge: float) -> Matrix | None:
    """Return the lower Cholesky factor of scatter + ridge·I, None where it is not trustworthy."""
    shifted = scatter.copy()
    shifted.flat[:: len(shifted) + 1] += ridge
    norm = lapack.dlange("1", shifted.T)
    root, info = lapack.dpotrf(shifted.T, lower=1, overwrite_a=1)
    if info != 0:
        return None
    rcond, _ = lapack.dpocon(root, norm, uplo="L")
    return root if rcond > _MIN_RCOND else None


def _rank(scatter: Matrix, tolerance: float, wanted: int) -> int:
    """Return the number of directions of ZᵀZ that rounding did not make up."""
    # (Σλ)²/Σλ² never exceeds the number of non-zero eigenvalues and needs none of them.
    wanted = min(wanted, len(scatter))
    if float(np.trace(scatter)) ** 2 >= wanted * float(np.vdot(scatter, scatter)):
        return len(scatter)
    values = np.linalg.eigvalsh(scatter)
    smallest = max(tolerance**2, len(scatter) * float(np.finfo(np.float64).eps))
    return int((values > values[-1] * smallest).sum())


def leading_svd(matrix: Matrix, k: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return the ``k`` leading singular triplets: u (d_x, k), s (k,) descending, v (d_y, k)."""
    small = min(matrix.shape)
    if small <= _SMALL or 4 * k > small:
        u, s, vt = svd(matrix, full_matrices=False, check_finite=False)
        return u[:, :k], s[:k], vt[:k].T
    if matrix.shape[0] < matrix.shape[1]:
        v, s, u = leading_svd(matrix.T, k)
        return u, s, v
    _, v = eigh(
        matrix.T @ matrix,
        subset_by_index=[small - k, small - 1],
        lower=False,  # the faster half
        overwrite_a=True,
        check_finite=False,
    )
    # The eigenvectors of MᵀM span the space; the values come from M itself, not from squares.
    u, s, rotation = svd(matrix @ v, full_matrices=False, check_finite=False)
    return u, s, v @ rotation.T


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
