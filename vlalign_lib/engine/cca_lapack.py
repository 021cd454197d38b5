r"""The canonical correlations of a batch and their derivative on the CPU, through LAPACK.

With :math:`C_x = H_x^\top H_x + c_x I = L_x L_x^\top` and :math:`C_{xy} = H_x^\top H_y` of the
centred views, the correlations are the singular values of
:math:`T = L_x^{-1} C_{xy} L_y^{-\top} = U \Sigma V^\top`. The derivative of
:math:`\sum_j f(\rho_j)` with respect to :math:`H_x` is :math:`H_x M_x + H_y M_{xy}^\top`, where

.. math::

    M_{xy} = A F B^\top, \quad M_x = -A F \Sigma A^\top + \text{ridge}, \qquad
    A = L_x^{-\top} U, \quad B = L_y^{-\top} V, \quad F = \operatorname{diag} f'(\rho),

and the ridge, which grows with the trace, adds :math:`\kappa/p \operatorname{tr}(M_x) I`. No
decomposition is differentiated: equal correlations and dead units cost no digit. The
symmetric product of BLAS, half the work of a matrix product, is one that torch has not.
"""

from __future__ import annotations

from typing import Any

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
# Below this width a singular value decomposition costs next to nothing.
_SMALL = 32
# Squares of singular values that are smaller than this share of the largest have lost digits.
_SHARP = 1e-2


def correlations(x: Tensor, y: Tensor, top_k: int | None, reg: float, squares: bool) -> Any:
    """Return −Σf(ρ), with its derivative."""
    # A compiler would trace numpy as if it were torch, and get it wrong.
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return NotImplemented
    keep = torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)
    if top_k == min(x.shape[1], y.shape[1]):
        top_k = None
    return _Correlations.apply(x, y, top_k, reg, squares, keep)


class _Correlations(torch.autograd.Function):
    """Minus Σρ or Σρ², with the derivative in closed form."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, top_k: int | None, reg: float, squares: bool, keep: bool
    ) -> Tensor:
        value, ctx.state = forward(x, y, top_k, reg, squares, keep=keep)
        ctx.save_for_backward(x, y)
        return value.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        views = backward(ctx.state, grads[0].detach(), ctx.needs_input_grad[:2])
        found = [None if view is None else view.to(grads[0].dtype) for view in views]
        if torch.is_grad_enabled():  # create_graph=True
            found = [None if g is None else _Final.apply(g, *ctx.saved_tensors) for g in found]
        return *found, None, None, None, None


class _Final(torch.autograd.Function):
    """A gradient that cannot be differentiated once more, and does not pass for a constant."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return grad

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError(
            "cca_loss has no second derivative: its gradient cannot be part of another loss"
        )


@np.errstate(invalid="ignore", over="ignore")
def forward(
    x: Tensor, y: Tensor, top_k: int | None, reg: float, squares: bool, *, keep: bool
) -> tuple[Tensor, State | None]:
    """Return −Σf(ρ) as a float64 scalar, and what ``backward`` needs where ``keep`` asks for it."""
    hx, hy = _centred(x), _centred(y)
    lx, ly = _root(hx, reg), _root(hy, reg)
    if lx is None or ly is None:
        return _nothing(hx, hy, keep)
    t = blas.dgemm(1.0, hx.T, hy.T, trans_b=1)
    t = blas.dtrsm(1.0, lx, t, lower=1, overwrite_b=1)
    t = blas.dtrsm(1.0, ly, t, side=1, lower=1, trans_a=1, overwrite_b=1)
    if squares and top_k is None:  # the squared Frobenius norm needs no singular values
        value = float(np.vdot(t, t))
        if not keep:
            return _scalar(-value), None
        a, b = _unwhiten(lx, t), _unwhiten(ly, t.T)
        mxy = blas.dtrsm(2.0, ly, a, side=1, lower=1)
        scale = -2.0
    else:
        u, rho, v, info = singular_triplets(t, vectors=keep)
        if info != 0:
            return _nothing(hx, hy, keep)
        if top_k is not None:
            u, rho, v = u[:, -top_k:], rho[-top_k:], v[:, -top_k:]
        value = float(rho @ rho if squares else rho.sum())
        if not keep:
            return _scalar(-value), None
        slope = 2 * rho if squares else (rho > FAINT).astype(np.float64)
        a, b = _unwhiten(lx, u), _unwhiten(ly, v)
        mxy = blas.dgemm(1.0, a * slope, b, trans_b=1)
        weight = np.sqrt(slope * rho)
        a *= weight
        b *= weight
        scale = -1.0
    return _scalar(-value), (hx, hy, _own(a, scale, reg), _own(b, scale, reg), mxy)


def backward(state: State, slope: Tensor, wanted: tuple[bool, bool]) -> list[Tensor | None]:
    """Return the derivatives with respect to the views, ``slope`` times those of −Σf(ρ)."""
    hx, hy, mx, my, mxy = state
    factor = -slope.item()

    def derivative(own: Matrix, m: Matrix, other: Matrix, transposed: bool) -> Tensor:
        grad = blas.dsymm(factor, m, own.T, lower=1)
        grad = blas.dgemm(factor, mxy, other.T, 1.0, grad, trans_a=transposed, overwrite_c=1)
        return torch.from_numpy(grad.T)

    return [
        derivative(hx, mx, hy, False) if wanted[0] else None,
        derivative(hy, my, hx, True) if wanted[1] else None,
    ]


def singular_triplets(t: Matrix, *, vectors: bool) -> tuple[Matrix, Matrix, Matrix, int]:
    """Return u, the singular values of ``t`` **ascending**, v, and whether LAPACK failed.

    u and v are thin, and empty where ``vectors`` are not asked for. From about 30 columns on the
    eigenvectors of TᵀT cost half of what a singular value decomposition does. They know large
    singular values as well as that, and lose digits of small ones: for those, a decomposition of
    T on the few directions that are left.
    """
    if not vectors or min(t.shape) < _SMALL:
        u, s, vt, info = lapack.dgesdd(t, compute_uv=vectors, full_matrices=0)
        return u[:, ::-1], s[::-1], vt[::-1].T, info
    if t.shape[0] < t.shape[1]:
        v, s, u, info = singular_triplets(np.asfortranarray(t.T), vectors=True)
        return u, s, v, info
    squares, v, info = lapack.dsyevd(blas.dsyrk(1.0, t, trans=1, lower=1), lower=1, overwrite_a=1)
    u = blas.dgemm(1.0, t, v)
    s = np.sqrt(np.einsum("ij,ij->j", u, u))
    faint = int(np.searchsorted(squares, _SHARP * squares[-1], side="right"))
    u[:, faint:] /= s[faint:]
    if faint:
        rest, sharp = u[:, :faint], u[:, faint:]
        rest -= sharp @ (sharp.T @ rest)
        left, values, right, failed = lapack.dgesdd(rest, full_matrices=0)
        left -= sharp @ (sharp.T @ left)  # what rounding made of the smallest
        u[:, :faint], s[:faint] = left[:, ::-1], values[::-1]
        v[:, :faint] = v[:, :faint] @ right[::-1].T
        info = info or failed
    return u, s, v, info


def _centred(view: Tensor) -> Matrix:
    values = view.detach().numpy()
    # First by a row: a unit that is constant becomes 0, where its mean would leave rounding.
    h: Matrix = np.subtract(values, values[0], dtype=np.float64)
    h -= h.sum(axis=0) / len(h)
    return h


def _root(h: Matrix, reg: float) -> Matrix | None:
    """Return the Cholesky factor of HᵀH + reg · mean variance · I, None where there is none."""
    c = blas.dsyrk(1.0, h.T, lower=1)
    diagonal = c.ravel(order="K")[:: len(c) + 1]  # a view of it
    total = float(diagonal.sum())
    # A view without any variance has no correlation; any ridge says so.
    diagonal += reg * total / len(c) if total != 0 else 1.0
    smallest = 8 * len(c) * EPS * diagonal
    root: Matrix
    root, info = lapack.dpotrf(c, lower=1, clean=0, overwrite_a=1)
    # A pivot is the share of a column's variance that the columns before it do not explain.
    pivots = root.ravel(order="K")[:: len(c) + 1]
    if info == 0 and bool((pivots * pivots > smallest).all()):
        return root
    return None


def _own(half: Matrix, scale: float, reg: float) -> Matrix:
    """Return M = scale · half halfᵀ + (κ/p) tr(M) I, its lower triangle: the ridge's own term."""
    m: Matrix = blas.dsyrk(scale, half, lower=1)
    diagonal = m.ravel(order="K")[:: len(m) + 1]
    diagonal += reg / len(m) * diagonal.sum()
    return m


def _unwhiten(root: Matrix, u: Matrix) -> Matrix:
    w: Matrix = blas.dtrsm(1.0, root, u, lower=1, trans_a=1)
    return w


def _scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _nothing(hx: Matrix, hy: Matrix, keep: bool) -> tuple[Tensor, State | None]:
    """Answer what cannot be computed: NaN, in value and derivative."""
    p, q = hx.shape[1], hy.shape[1]
    mx, my, mxy = (np.full(shape, np.nan, order="F") for shape in ((p, p), (q, q), (p, q)))
    return _scalar(np.nan), (hx, hy, mx, my, mxy) if keep else None
