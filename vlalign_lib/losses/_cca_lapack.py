r"""The canonical correlations of a batch and their derivative on the CPU, through LAPACK.

With :math:`C_x = H_x^\top H_x + c_x I = L_x L_x^\top` and :math:`C_{xy} = H_x^\top H_y` of the
centred views, the correlations are the singular values of
:math:`T = L_x^{-1} C_{xy} L_y^{-\top} = U \Sigma V^\top`. The derivative of
:math:`\sum_j f(\rho_j)` with respect to :math:`H_x` is :math:`H_x M_x + H_y M_{xy}^\top`, where

.. math::

    M_{xy} = A F B^\top, \quad M_x = -A F \Sigma A^\top + \text{ridge}, \qquad
    A = L_x^{-\top} U, \quad B = L_y^{-\top} V, \quad F = \operatorname{diag} f'(\rho),

and the ridge, which grows with the trace, adds :math:`\kappa/p \operatorname{tr}(M_x) I`. No
decomposition is differentiated: equal correlations and dead units cost no digit. numpy's
``h.T @ h`` is a symmetric product, half the work of a matrix product, which torch has not.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import blas, lapack
from torch import Tensor

Matrix = NDArray[np.float64]
State = tuple[Matrix, Matrix, Matrix, Matrix, Matrix]

# What rounding makes of a correlation that is zero stays below; it has no direction to follow.
FAINT = 1e-10
EPS = float(np.finfo(np.float64).eps)


@np.errstate(invalid="ignore", over="ignore")
def forward(
    x: Tensor, y: Tensor, top_k: int | None, reg: float, squares: bool, *, keep: bool
) -> tuple[Tensor, State | None]:
    """Return Σf(ρ) as a float64 scalar, and what ``backward`` needs where ``keep`` asks for it.

    Raises:
        ValueError: a covariance that cannot be inverted.
    """
    hx, hy = _centred(x), _centred(y)
    cx, cy, t = hx.T @ hx, hy.T @ hy, (hy.T @ hx).T
    if not np.isfinite(np.trace(cx) + np.trace(cy) + t.sum()):
        return _nothing(hx, hy, keep)
    lx, ly = _root(cx, reg, "x"), _root(cy, reg, "y")
    t = blas.dtrsm(1.0, lx, t, lower=1, overwrite_b=1)
    t = blas.dtrsm(1.0, ly, t, side=1, lower=1, trans_a=1, overwrite_b=1)
    if squares and top_k is None:  # the squared Frobenius norm needs no singular values
        value = float(np.vdot(t, t))
        if not keep:
            return _scalar(value), None
        a, b = _unwhiten(lx, t), _unwhiten(ly, t.T)
        mxy = blas.dtrsm(2.0, ly, a, side=1, lower=1)
        mx, my = a @ a.T, b @ b.T
        mx *= -2.0
        my *= -2.0
    else:
        u, rho, vt, info = lapack.dgesdd(t, compute_uv=keep, full_matrices=0, overwrite_a=1)
        if info != 0:
            return _nothing(hx, hy, keep)
        rho = rho[:top_k]
        value = float(rho @ rho if squares else rho.sum())
        if not keep:
            return _scalar(value), None
        slope = 2 * rho if squares else np.where(rho > FAINT, 1.0, 0.0)
        a, b = _unwhiten(lx, u[:, : len(rho)]), _unwhiten(ly, vt[: len(rho)].T)
        mxy = (a * slope) @ b.T
        weight = np.sqrt(slope * rho)
        a *= weight
        b *= weight
        mx, my = np.negative(a @ a.T), np.negative(b @ b.T)
    for m in (mx, my):
        m.flat[:: len(m) + 1] += reg / len(m) * np.trace(m)
    return _scalar(value), (hx, hy, mx, my, mxy)


def backward(state: State, slope: Tensor, wanted: tuple[bool, bool]) -> list[Tensor | None]:
    """Return the derivatives with respect to the views, ``slope`` times those of Σf(ρ)."""
    hx, hy, mx, my, mxy = state
    factor = slope.item()

    def derivative(own: Matrix, m: Matrix, other: Matrix, cross: Matrix) -> Tensor:
        grad = own @ (factor * m)
        grad += other @ (factor * cross)
        return torch.from_numpy(grad)

    return [
        derivative(hx, mx, hy, mxy.T) if wanted[0] else None,
        derivative(hy, my, hx, mxy) if wanted[1] else None,
    ]


def _centred(view: Tensor) -> Matrix:
    values = view.detach().numpy()
    # First by a row: a unit that is constant becomes 0, where its mean would leave rounding.
    h: Matrix = np.subtract(values, values[0], dtype=np.float64)
    h -= h.mean(axis=0)
    return h


def _root(c: Matrix, reg: float, name: str) -> Matrix:
    """Return the lower Cholesky factor of c + reg · mean variance · I; ``c`` is overwritten."""
    variances = np.diagonal(c).copy()
    ridge = reg * variances.mean()
    # A view without any variance has no correlation; any ridge says so.
    variances += ridge if variances.any() else 1.0
    c.flat[:: len(c) + 1] = variances
    root, info = lapack.dpotrf(c.T, lower=1, clean=0, overwrite_a=1)
    # A pivot is the share of a column's variance that the columns before it do not explain.
    if info != 0 or (np.diagonal(root) ** 2 <= 8 * len(c) * EPS * variances).any():
        raise ValueError(
            f"reg={reg:g}: {name} has no variance in some direction (a unit that is dead, or a "
            "combination of others), so that its covariance cannot be inverted; use a ridge, "
            "reg=1e-4 say"
        )
    return root


def _unwhiten(root: Matrix, u: Matrix) -> Matrix:
    return blas.dtrsm(1.0, root, u, lower=1, trans_a=1)


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _nothing(hx: Matrix, hy: Matrix, keep: bool) -> tuple[Tensor, State | None]:
    """Answer numbers that are not finite: NaN, in value and derivative."""
    p, q = hx.shape[1], hy.shape[1]
    mx, my, mxy = (np.full(shape, np.nan) for shape in ((p, p), (q, q), (p, q)))
    return _scalar(np.nan), (hx, hy, mx, my, mxy) if keep else None
