"""CCA and kernel CCA beside cca-zoo and scikit-learn.

The views are standardised beforehand, so that everybody solves the same problem (ours does it
once more inside). cca-zoo blends, (1 − c)S + cI; ours adds, S + κI: the same answers where
κ = c/(1 − c). What is timed is ``fit``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from _harness import Case, Peer, main
from numpy.typing import NDArray
from sklearn.cross_decomposition import CCA as SklearnCCA

from vlalign_lib.linear import CCA, KernelCCA

PACKAGES = ("numpy", "scipy", "scikit-learn", "cca-zoo")
Matrix = NDArray[np.float64]


def linear_views(n: int, p: int, q: int, shared: int = 20) -> tuple[Matrix, Matrix]:
    """Two views with ``shared`` common directions of falling strength in unit noise."""
    rng = np.random.default_rng(0)
    signal = rng.standard_normal((n, shared)) * np.geomspace(1, 0.1, shared)
    return tuple(
        standardised(signal @ rng.standard_normal((shared, d)) + rng.standard_normal((n, d)))
        for d in (p, q)
    )


def curved_views(n: int, p: int, q: int) -> tuple[Matrix, Matrix]:
    """Two views of an angle and a radius that no linear map relates."""
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, n), rng.uniform(1, 2, n)
    once = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None]
    twice = np.column_stack([np.cos(2 * angle), np.sin(2 * angle)]) / radius[:, None]
    return tuple(
        standardised(view @ rng.standard_normal((2, d)) + 0.2 * rng.standard_normal((n, d)))
        for view, d in ((once, p), (twice, q))
    )


def standardised(view: Matrix) -> Matrix:
    return (view - view.mean(axis=0)) / view.std(axis=0, ddof=1)


def distance(x: Matrix, y: Matrix) -> Callable[[CCA | KernelCCA, Any], float]:
    """The largest distance between paired training variates at length 1, signs settled."""

    def measure(ours: CCA | KernelCCA, theirs: Any) -> float:
        views = (x, y) if isinstance(theirs, SklearnCCA) else ([x, y],)
        largest = 0.0
        for u, v in zip(
            (ours.embed_images(x), ours.embed_texts(y)), theirs.transform(*views), strict=True
        ):
            u, v = u / np.linalg.norm(u, axis=0), v / np.linalg.norm(v, axis=0)
            sign = np.sign(np.einsum("ij,ij->j", u, v))
            largest = max(largest, float(np.linalg.norm(u - sign * v, axis=0).max()))
        return largest

    return measure


def blend(reg: float) -> float:
    return reg / (1 + reg)


def cca_case(n: int, p: int, q: int, reg: float) -> Case:
    from cca_zoo.linear import RidgeCCA

    x, y = linear_views(n, p, q)
    return Case(
        operation="CCA",
        size=f"{n}×{p}, {n}×{q}, 10 components, reg {reg:g}",
        ours=lambda: CCA(10, reg).fit(x, y),
        peers={"cca-zoo": Peer(lambda: RidgeCCA(10, shrinkage=blend(reg)).fit([x, y]))},
        difference=distance(x, y),
        tolerance=1e-8,
        goal=5.0,
    )


def tall() -> Case:
    return cca_case(5000, 1000, 1000, 1e-4)


def wide() -> Case:
    return cca_case(2000, 4096, 3000, 0.1)


def one_component() -> Case:
    from cca_zoo.linear import CCA as ZooCCA

    x, y = linear_views(2000, 200, 100)
    return Case(
        operation="CCA without ridge",
        size="2000×200, 2000×100, 1 component",
        ours=lambda: CCA(1, 0.0).fit(x, y),
        peers={
            "cca-zoo": Peer(lambda: ZooCCA(1).fit([x, y])),
            "scikit-learn": Peer(
                lambda: SklearnCCA(1, scale=False, tol=1e-20, max_iter=10_000).fit(x, y),
                tolerance=1e-6,
                note="an iteration, here to its end; it has no ridge",
            ),
        },
        difference=distance(x, y),
        tolerance=1e-8,
    )


def kernel() -> Case:
    from cca_zoo.nonparametric import KCCA

    n, reg, gamma = 2000, 0.1, 0.02
    x, y = curved_views(n, 50, 40)

    # Theirs blends K²/(n − 1) with K, each view with its own c; ours adds κ·tr(K)/n times K.
    def ridge(view: Matrix) -> float:
        squares = (view**2).sum(axis=1)
        k = np.exp(-gamma * (squares[:, None] + squares - 2 * view @ view.T))
        return reg * (1 - float(k.mean())) / (n - 1)

    shrinkage = [blend(ridge(view)) for view in (x, y)]
    return Case(
        operation="kernel CCA, rbf",
        size=f"{n}×50, {n}×40, 4 components, reg {reg:g}",
        ours=lambda: KernelCCA(4, gamma=gamma, reg=reg).fit(x, y),
        peers={
            "cca-zoo": Peer(
                lambda: KCCA(4, kernel="rbf", gamma=gamma, shrinkage=shrinkage).fit([x, y]),
                rounds=3,
            )
        },
        difference=distance(x, y),
        tolerance=1e-8,
        goal=10.0,
        rounds=5,
    )


if __name__ == "__main__":
    raise SystemExit(main("linear", [tall, wide, one_component, kernel], PACKAGES))
