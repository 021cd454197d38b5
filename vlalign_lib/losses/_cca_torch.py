"""The same as ``_cca_lapack`` in torch, for every device; it never waits for the device itself.

What cannot be computed, a singular covariance without a ridge included, comes out as NaN: to look
for it would make the host wait.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vlalign_lib.losses._cca_lapack import EPS, FAINT

State = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def forward(
    x: Tensor, y: Tensor, top_k: int | None, reg: float, squares: bool, *, keep: bool
) -> tuple[Tensor, State | None]:
    """Return −Σf(ρ) as a float64 scalar, and what ``backward`` needs where ``keep`` asks for it."""
    hx, hy = _centred(x), _centred(y)
    (lx, bad_x), (ly, bad_y) = _root(hx.mT @ hx, reg), _root(hy.mT @ hy, reg)
    t = torch.linalg.solve_triangular(lx, hx.mT @ hy, upper=False)
    t = torch.linalg.solve_triangular(ly.mT, t, upper=True, left=False)
    # Decompositions may refuse NaN; zeros go through them, and NaN is put back afterwards.
    bad = bad_x | bad_y | ~t.isfinite().all()
    poison = torch.where(bad, torch.nan, 0.0).to(t)
    t = torch.where(bad, 0.0, t)
    if squares and top_k is None:
        value = t.square().sum() + poison
        if not keep:
            return -value, None
        a, b = _unwhiten(lx, t), _unwhiten(ly, t.mT)
        mxy = 2 * torch.linalg.solve_triangular(ly, a, upper=False, left=False)
        mx, my = -2 * a @ a.mT, -2 * b @ b.mT
    else:
        u, rho, vt = torch.linalg.svd(t, full_matrices=False)
        rho = rho[:top_k]
        value = (rho.square() if squares else rho).sum() + poison
        if not keep:
            return -value, None
        slope = 2 * rho if squares else (rho > FAINT).to(rho)
        a, b = _unwhiten(lx, u[:, : len(rho)]), _unwhiten(ly, vt[: len(rho)].mT)
        mxy = (a * slope) @ b.mT
        mx, my = -(a * (slope * rho)) @ a.mT, -(b * (slope * rho)) @ b.mT
    for m in (mx, my):
        m.diagonal().add_(reg / len(m) * m.trace())
    return -value, (hx, hy, mx + poison, my + poison, mxy + poison)


def backward(state: State, slope: Tensor, wanted: tuple[bool, bool]) -> list[Tensor | None]:
    """Return the derivatives with respect to the views, ``slope`` times those of −Σf(ρ)."""
    hx, hy, mx, my, mxy = state
    slope = -slope.double()
    return [
        torch.addmm(hy @ (slope * mxy.mT), hx, slope * mx) if wanted[0] else None,
        torch.addmm(hx @ (slope * mxy), hy, slope * my) if wanted[1] else None,
    ]


def _centred(view: Tensor) -> Tensor:
    h = view.detach().double()
    h = h - h[0]  # a unit that is constant becomes 0, where its mean would leave rounding
    return h - h.mean(dim=0)


def _root(c: Tensor, reg: float) -> tuple[Tensor, Tensor]:
    """Return the lower Cholesky factor of c + reg · mean variance · I, and whether it is none."""
    variances = c.diagonal()
    ridge = reg * variances.mean()
    variances.add_(torch.where(variances.any(), ridge, 1.0))
    root, info = torch.linalg.cholesky_ex(c)
    pivots = root.diagonal().square()
    return root, (info != 0) | (pivots <= 8 * len(c) * EPS * variances).any()


def _unwhiten(root: Tensor, u: Tensor) -> Tensor:
    return torch.linalg.solve_triangular(root.mT, u, upper=True)
