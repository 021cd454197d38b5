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
    a, variates_x = _whitened(x, solve_triangular(roots[0], u, trans="T", lower=True), reg)
    b, variates_y = _whitened(y, solve_triangular(roots[1], v, trans="T", lower=True), reg)
    u, rho, vt = np.linalg.svd(variates_x.T @ variates_y)
    size = np.sqrt(len(x) - 1)
    return size * a @ u[:, :k], size * b @ vt[:k].T, np.clip(rho[:k], 0.0, 1.0)


def _root(z: Single, reg: float) -> Single | None:
    """Return the lower Cholesky factor of ZᵀZ + cI, None where float32 cannot be trusted."""
    scatter = z.T @ z
    mean = float(np.trace(scatter)) / len(scatter)
    scatter.flat[:: len(scatter) + 1] += reg * mean
    norm = lapack.slange("1", scatter)
    root, info = lapack.spotrf(scatter.T, lower=1, overwrite_a=1, clean=0)
    if info != 0:
        return None
    rcond, _ = lapack.spocon(root, norm, uplo="L")  # rcond · norm: the smallest eigenvalue
    return root if rcond * norm > _MIN_VARIANCE * mean else None


def _whitened(z: Matrix, weights: NDArray[np.floating], reg: float) -> tuple[Matrix, Matrix]:
    """Return the weights recombined so that aᵀ(ZᵀZ + cI)a = I exactly, and Z @ a."""
    a = weights.astype(np.float64)
    variates = z @ a
    ridge = reg * float(np.vdot(z, z)) / z.shape[1]
    root = np.linalg.cholesky(variates.T @ variates + ridge * (a.T @ a))
    a, variates = (solve_triangular(root, m.T, lower=True).T for m in (a, variates))
    return a, variates
