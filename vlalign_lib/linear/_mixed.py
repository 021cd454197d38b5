"""The same CCA with the three large products in float32 and the answer finished in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack, solve_triangular

from vlalign_lib.linear._canonical import Matrix, leading_svd

Single = NDArray[np.float32]

# Rounding puts errors of about 1e-6 into directions of unit variance, and more the smaller the
# smallest variance (ridge included) of any direction: this share of the mean bounds them by 0.5 %.
# The errors of the correlations, once they are measured in float64, are those squared.
_MIN_VARIANCE = 1e-3
# Directions computed beyond those asked for, so that the last of these is as good as the first.
_SPARE = 6


def mixed_pairs(x: Matrix, y: Matrix, reg: float, k: int) -> tuple[Matrix, Matrix, Matrix] | None:
    """Return weights a (p, k), b (q, k) and correlations (k,) of two centred views.

    Directions come from float32; then the best combinations of them are found with the views
    themselves in float64, so that the constraints hold to float64 rounding and the errors of
    the correlations are those of the directions squared. None where either view has too little
    variance in some direction for that, or as many columns as rows.
    """
    if max(x.shape[1], y.shape[1]) >= len(x) or k > min(x.shape[1], y.shape[1]):
        return None
    x32, y32 = x.astype(np.float32), y.astype(np.float32)
    roots = _root(x32, reg), _root(y32, reg)
    if roots[0] is None or roots[1] is None:
        return None
    cross = blas.strsm(1.0, roots[0], (y32.T @ x32).T, lower=1, overwrite_b=1)
    cross = blas.strsm(1.0, roots[1], cross, side=1, lower=1, trans_a=1, overwrite_b=1)
    u, _, v = leading_svd(cross, min(k + _SPARE, *cross.shape))
    a = solve_triangular(roots[0], u, trans="T", lower=True).astype(np.float64)
    b = solve_triangular(roots[1], v, trans="T", lower=True).astype(np.float64)
    xa, yb = x @ a, y @ b
    left, right = _exact_root(x, a, xa, reg), _exact_root(y, b, yb, reg)
    cross = solve_triangular(left, xa.T @ yb, lower=True)
    u, rho, vt = np.linalg.svd(solve_triangular(right, cross.T, lower=True).T)
    a = a @ solve_triangular(left, u[:, :k], trans="T", lower=True)
    b = b @ solve_triangular(right, vt[:k].T, trans="T", lower=True)
    size = np.sqrt(len(x) - 1)
    return size * a, size * b, np.clip(rho[:k], 0.0, 1.0)


def _root(z: Single, reg: float) -> Single | None:
    """Return the lower Cholesky factor of ZᵀZ + cI, None where float32 cannot be trusted."""
    scatter = blas.ssyrk(1.0, z.T, lower=1)
    mean = float(np.trace(scatter)) / len(scatter)
    scatter[np.diag_indices_from(scatter)] += reg * mean
    root, info = lapack.spotrf(scatter, lower=1, overwrite_a=1, clean=0)
    if info != 0:
        return None
    smallest, _ = lapack.spocon(root, 1.0, uplo="L")  # 1/‖(ZᵀZ + cI)⁻¹‖, the least eigenvalue
    return root if smallest > _MIN_VARIANCE * mean else None


def _exact_root(z: Matrix, a: Matrix, za: Matrix, reg: float) -> Matrix:
    """Return the lower Cholesky factor of aᵀ(ZᵀZ + cI)a."""
    ridge = reg * float(np.vdot(z, z)) / z.shape[1]
    root: Matrix = np.linalg.cholesky(za.T @ za + ridge * (a.T @ a))
    return root
