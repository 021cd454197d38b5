r"""The solver behind LGCFL and JRL: two linear maps drawn to the labels and to each other.

With Z_m the standardised rows of view m (the n pairs first, rows of one view alone after them),
T_m their class targets, X and Y the paired rows alone, both methods minimise

    F = Σ_m [ μ ‖Z_m W_m − T_m‖² (labelled rows) + σ tr(W_mᵀ Z_mᵀ L_m Z_m W_m)
              + γ Σ_b ‖W_m^(b)‖ ] + λ ‖X W_x − Y W_y‖²,

where W^(b) are the weights of the columns in group b, and ‖·‖ is smoothed at zero,
√(‖·‖² + ε²). F is convex. One view at a time, every group norm is replaced by the quadratic that
touches it at the current weights and lies above it everywhere else; the minimum of that is a ridge
regression, and F falls with each of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, pinvh, solve

from vlalign_lib._validate import Rule, as_number, as_whole
from vlalign_lib.linear._base import class_numbers, classes_of

Matrix = NDArray[np.float64]
WEIGHT: Rule = partial(as_number, low=0)
ROUNDS: dict[str, Rule] = {"max_iter": as_whole, "tol": WEIGHT}

#: Where group norms are smooth: far below the weights that tell classes apart, about 0.01.
EPSILON = 1e-6


@dataclass
class Side:
    """One view: its rows, what they should become, and what is needed to solve for its weights.

    Args:
        rows: (m, p) standardised rows.
        targets: (m, C), zeros where a row has no label.
        labelled: (m,) which rows have a label.
        pairs: how many of the rows, from the first on, have a partner in the other view.
        groups: (p,) group of each column, 0 … g − 1.
        supervision: μ.
        coupling: λ.
        sparsity: γ.
        penalty: (m, m) σL, sparse or dense, or None.
    """

    rows: Matrix
    targets: Matrix
    labelled: NDArray[np.bool_]
    pairs: int
    groups: NDArray[np.intp]
    supervision: float
    coupling: float
    sparsity: float
    penalty: Any = None
    weights: Matrix = field(init=False)
    curvature: Matrix | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        m, p = self.rows.shape
        self.weights = np.zeros((p, self.targets.shape[1]))
        self.fidelity = self.supervision * self.labelled
        self.fidelity[: self.pairs] += self.coupling
        if p <= m or self.sparsity == 0:
            self.curvature = self.rows.T @ self._weigh(self.rows)

    def _weigh(self, matrix: Matrix) -> Matrix:
        """Return (diag(fidelity) + σL) @ matrix: what every row contributes to the curvature."""
        weighed: Matrix = self.fidelity[:, None] * matrix
        if self.penalty is not None:
            weighed += self.penalty @ matrix
        return weighed

    def norms(self) -> Matrix:
        """Return the smoothed norm of the weights of each group, (g,)."""
        squares = np.bincount(self.groups, np.einsum("ij,ij->i", self.weights, self.weights))
        return np.sqrt(squares + EPSILON**2)

    def embedded(self) -> Matrix:
        """Return the paired rows in the shared space, (n, C)."""
        return self.rows[: self.pairs] @ self.weights

    def update(self, partner: Matrix, norms: Matrix) -> None:
        """Solve for the weights, given where the partners lie (n, C) and the norms to touch at."""
        aim = self.supervision * self.targets
        aim[: self.pairs] += self.coupling * partner
        if self.sparsity == 0:
            assert self.curvature is not None
            # The least weights of all that are equally good.
            self.weights = pinvh(self.curvature, rtol=1e-12) @ (self.rows.T @ aim)
            return
        slack = (2 / self.sparsity) * norms[self.groups]  # the inverse of the ridge, (p,)
        if self.curvature is not None:
            system = self.curvature + np.diag(1 / slack)
            self.weights = _solve(system, self.rows.T @ aim)
            return
        # (E + ZᵀMZ)⁻¹Zᵀ = E⁻¹Zᵀ(I + M Z E⁻¹ Zᵀ)⁻¹: as many unknowns as rows, nothing divided by.
        spread = self.rows * slack
        system = self._weigh(spread @ self.rows.T)
        system[np.diag_indices_from(system)] += 1
        self.weights = spread.T @ solve(system, aim, overwrite_a=True, check_finite=False)

    def cost(self) -> float:
        """Return this view's part of F."""
        embedded = self.rows @ self.weights
        residual = (embedded - self.targets)[self.labelled]
        cost = self.supervision * float(np.vdot(residual, residual))
        if self.penalty is not None:
            cost += float(np.vdot(embedded, self.penalty @ embedded))
        return cost + self.sparsity * float(self.norms().sum())


def _solve(system: Matrix, right: Matrix) -> Matrix:
    try:
        solved: Matrix = cho_solve(cho_factor(system, check_finite=False), right)
    except np.linalg.LinAlgError:  # a penalty that is no Laplacian can make it indefinite
        solved = solve(system, right)
    return solved


def minimise(x: Side, y: Side, *, max_iter: int, tol: float) -> Matrix:
    """Fit both sides, in turn, and return F after each round, (rounds,).

    The first round takes every group for one of norm 1/2 and every partner for its target. The
    rounds end where F changes by less than ``tol`` of itself, or after ``max_iter``.
    """
    costs: list[float] = []
    for round_ in range(max_iter):
        for side, other in ((x, y), (y, x)):
            known = round_ > 0
            partner = other.embedded() if known or side is y else side.targets[: side.pairs]
            side.update(partner, side.norms() if known else np.full(side.groups.max() + 1, 0.5))
        gap = x.embedded() - y.embedded()
        costs.append(x.cost() + y.cost() + x.coupling * float(np.vdot(gap, gap)))
        if len(costs) > 1 and abs(costs[-2] - costs[-1]) < tol * costs[-2]:
            break
    return np.array(costs)


def class_targets(
    labels: ArrayLike | None, n: int, method: str, *alone: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[tuple[Matrix, NDArray[np.bool_]]]]:
    """Return the classes (C,), and for the pairs and each of ``alone`` targets and who has one.

    A target is the indicator of the class minus the share of the class among all labelled rows,
    which where all have a label changes nothing, since the columns are centred. A label of −1 has
    the target zero.
    """
    groups = [class_numbers(labels, n, method), *alone]
    everything = np.concatenate(groups)
    classes = classes_of(everything)
    shares = (everything[:, None] == classes).sum(axis=0) / (everything >= 0).sum()
    targets = []
    for values in groups:
        known = values >= 0
        hit = values[:, None] == classes
        targets.append((np.where(known[:, None], hit - shares, 0.0), known))
    return classes, targets
