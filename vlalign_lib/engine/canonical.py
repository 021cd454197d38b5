"""Fast forms of the solver behind CCA and kernel CCA: Cholesky factors, and half a decomposition.

A view keeps its own columns where there are fewer columns than rows, and the pivoted Cholesky
factor of its Gram matrix where there are more (or where there is only a kernel). Where a factor
would lose digits, the form declines and the plain one decomposes the view itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, eigh, lapack, solve_triangular, svd

Matrix = NDArray[np.float64]

# Below this reciprocal condition number a Cholesky factor of ZᵀZ + cI no longer gives
# correlations to 1e-8, and the singular values of Z itself have to.
_MIN_RCOND = 1e-9
# A correlation below this is too small to divide by when weights are recovered from a Gram matrix.
_MIN_CORRELATION = 1e-6
# Below this size a complete decomposition costs nothing.
_SMALL = 256


@dataclass(frozen=True)
class CholeskyView:
    """One centred view, whitened by a Cholesky factor; what its methods mean, ``View`` says."""

    scores: Matrix  # Z (n, d): the view in its own coordinates
    rank: int  # directions that rounding did not make up; an upper bound where that will do
    root: Matrix  # (d, d) lower L with LLᵀ = ZᵀZ + cI, and W = L⁻ᵀ
    ridge: float = 0.0  # c, where pivots are given
    pivots: NDArray[np.intp] | None = None  # rows of Z that form a lower triangle; None: Z = X

    def whiten_rows(self, product: Matrix) -> Matrix:
        """Return Wᵀ @ product, product (d, m) in Fortran order and free to be overwritten."""
        return blas.dtrsm(1.0, self.root, product, lower=1, overwrite_b=1)

    def whiten_columns(self, product: Matrix) -> Matrix:
        """Return product @ W, product (m, d) in Fortran order and free to be overwritten."""
        return blas.dtrsm(1.0, self.root, product, side=1, lower=1, trans_a=1, overwrite_b=1)

    def unwhiten(self, u: Matrix) -> Matrix:
        """Return W @ u: the weights on the scores, (d, k)."""
        return solve_triangular(self.root, u, trans="T", lower=True, check_finite=False)

    def duals(self, weights: Matrix, partner: Matrix, correlations: Matrix) -> Matrix:
        """Return α (n, k) with Kα = Z @ weights: one weight a training pair.

        ``partner`` holds the variates of the other view, (n, k). α = (K + cI)⁻¹ partner / ρ
        inverts nothing singular; where ρ is too small to divide by, α lives on the pivots alone.
        """
        assert self.pivots is not None
        safe = correlations >= _MIN_CORRELATION
        alpha = np.zeros(partner.shape)
        if safe.any():
            v = partner[:, safe]
            # (Z Zᵀ + cI)⁻¹ = (I − Z (ZᵀZ + cI)⁻¹ Zᵀ) / c, and the inner inverse is at hand.
            solved, _ = lapack.dpotrs(self.root, self.scores.T @ v, lower=1)
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
        return weights


def linear_view(x: Matrix, reg: float, eps: float, wanted: int) -> Any:
    """Factorise a centred view (n, p), ridge c = reg · mean variance of what varies · (n − 1)."""
    n, p = x.shape
    if p < n:
        scatter = x.T @ x
        varying = int(np.count_nonzero(np.diag(scatter)))
        root = _cholesky(scatter, reg * float(np.trace(scatter)) / varying)
        if root is None:
            return NotImplemented
        rank = p if reg == 0 else _rank(scatter, max(n, p) * eps, wanted)
        return CholeskyView(scores=x, rank=rank, root=root)
    if reg == 0:
        return NotImplemented
    gram = x @ x.T
    ridge = reg * float(np.trace(gram)) / int(x.any(axis=0).sum())
    return _gram_view(gram, ridge, eps) or NotImplemented


def kernel_view(gram: Matrix, reg: float, eps: float) -> Any:
    """Factorise a centred Gram matrix K (n, n), ridge c = reg · tr(K)/n."""
    if reg == 0:
        return NotImplemented
    return _gram_view(gram, reg * float(np.trace(gram)) / len(gram), eps) or NotImplemented


def _gram_view(gram: Matrix, ridge: float, eps: float) -> CholeskyView | None:
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
    return CholeskyView(
        scores=scores,
        rank=int((pivot > pivot[0] * n * eps).sum()),
        root=root,
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


def leading_svd(matrix: Matrix, k: int) -> Any:
    """Return the ``k`` leading singular triplets: u (d_x, k), s (k,) descending, v (d_y, k)."""
    small = min(matrix.shape)
    if small <= _SMALL or 4 * k > small:
        return NotImplemented
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
