r"""Canonical correlation analysis with a relative ridge, and the solver behind it.

CCA and kernel CCA ask for the leading singular triplets of the whitened cross product

    M = W_xᵀ Z_xᵀ Z_y W_y,   Wᵀ (ZᵀZ + cI) W = I,

where Z holds a view in coordinates of its own. Here those are its singular vectors, Z = U S and
W = (S² + cI)^(-1/2), which is right whatever the data. Where the numbers allow it, the engine's
form is many times faster: the columns themselves and a Cholesky factor.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, svd

from vlalign_lib._fast import fast
from vlalign_lib._validate import Rule, as_number, as_whole, is_whole
from vlalign_lib.linear._base import (
    LinearProjection,
    Matrix,
    as_pair,
    available_components,
    components,
    leading_svd,
    ridge,
)

Amount = int | float | None


class CCA(LinearProjection):
    r"""Find the pairs of directions, one in each view, along which the pairs agree most.

    .. math::

        \max_{A, B} \operatorname{tr}(A^\top S_{xy} B)
        \quad\text{s.t.}\quad A^\top (S_x + r_x I) A = B^\top (S_y + r_y I) B = I,
        \qquad r_x = \kappa \frac{\operatorname{tr} S_x}{p},
        \quad r_y = \kappa \frac{\operatorname{tr} S_y}{q},

    solved by the singular vectors of the whitened cross-covariance,
    :math:`L_x^{-1} S_{xy} L_y^{-\top} = U \Sigma V^\top` with :math:`L_x L_x^\top = S_x + r_x I`:
    :math:`A = L_x^{-\top} U_k`, :math:`B = L_y^{-\top} V_k`,
    :math:`\rho = \operatorname{diag} \Sigma`. A view with more columns than there are pairs is
    handled through its Gram matrix, with the same answer; one that is singular without a ridge,
    through its singular values.

    With as many dimensions as pairs and no ridge, every correlation on the training pairs is 1
    whatever the data: ``fit`` warns. A ridge, or ``pca``, is the cure.

    Args:
        n_components: Shared dimensions k; None for as many as there are. Where the data have
            fewer, ``fit`` warns and keeps those (``n_components_``).
        reg: :math:`\kappa`, the ridge relative to the mean variance of the view; 0 for none. A
            column that never changes, a blank pixel say, has no variance and does not count in p:
            adding such columns, or dropping them, changes nothing.
        pca: Reduce each view to principal components first: how many at most (an int), or
            the share of the variance that they explain (a float in (0, 1)); None for no
            reduction; a pair ``(images, texts)`` to treat the views differently.
        random_state: Taken by every method; nothing here is random.

    Attributes:
        correlations_: (k,) :math:`\rho`, descending. With a ridge they are smaller than the
            correlations of the training variates, which ``correlation`` measures.
        image_weights_: (p, k) A, on the standardised columns. Signs: in each column the entry
            of largest magnitude is positive, and :math:`\rho \ge 0` settles the texts' sign.
        text_weights_: (q, k) B.
        image_mean_, image_scale_, text_mean_, text_scale_: What the inputs were standardised
            with; a constant column has scale 1.
        n_components_: k as learned.

    Raises:
        ValueError: in ``fit``; see there.

    Source:
        Hotelling, "Relations between two sets of variates", Biometrika 28, 1936; ridge:
        Vinod, J. Econometrics 4, 1976; for retrieval: Rasiwasia et al., "A new approach to
        cross-modal multimedia retrieval", ACM Multimedia 2010, section 4.

    Chapter:
        3, Linear coordinates: CCA and kin.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> topic = rng.normal(size=(1000, 1))
        >>> images = np.hstack([topic, topic]) + rng.normal(size=(1000, 2))
        >>> texts = topic + rng.normal(size=(1000, 1))
        >>> cca = CCA(n_components=1, reg=0).fit(images, texts)
        >>> bool(abs(cca.correlations_[0] - 3**-0.5) < 0.05)
        True
        >>> cca.embed_images(images[:3]).shape
        (3, 1)
    """

    _rules: ClassVar[dict[str, Rule]] = {
        "n_components": components,
        "reg": ridge,
        "pca": partial(
            as_pair,
            rule=lambda value, name: _amount(value, name),
            what="None, a number of components (an int of at least 1), or a share of variance "
            "(a float in (0, 1))",
        ),
    }

    correlations_: NDArray[np.float64]

    def __init__(
        self,
        n_components: int | None = 10,
        reg: float = 1e-4,
        *,
        pca: Amount | tuple[Amount, Amount] = None,
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.reg = reg
        self.pca = pca
        self.random_state = random_state

    @classmethod
    def from_paper(cls) -> Self:
        """Return plain CCA as in Rasiwasia et al. 2010: no ridge, every component.

        Certain: classic CCA, cosine of the variates (there "normalised correlation"), 128-d
        visual words and 10-d topics. Not certain: how many components were kept, and whether
        the inputs were standardised, which without a ridge changes nothing.
        """
        return cls(n_components=None, reg=0.0)

    def _fit(
        self, x: NDArray[np.floating], y: NDArray[np.floating], labels: ArrayLike | None
    ) -> None:
        given = self._checked()
        z = self._learn_scale(x, y)
        axes = [
            None if amount is None else _principal_axes(view, amount)
            for view, amount in zip(z, given.pca, strict=True)
        ]
        px, py = (view if axis is None else view @ axis for view, axis in zip(z, axes, strict=True))
        eps = max(float(np.finfo(view.dtype).eps) for view in (x, y))
        first, second = (
            linear_view(view, given.reg, eps, wanted=given.n_components or view.shape[1])
            for view in (px, py)
        )
        a, b, rho = canonical_pairs(first, second, given.n_components, given.reg, stacklevel=4)
        u, v = first.scores @ a, second.scores @ b
        a, b = first.weights(px, a, v, rho), second.weights(py, b, u, rho)
        a = a if axes[0] is None else axes[0] @ a
        b = b if axes[1] is None else axes[1] @ b
        self._learn_weights(z, (a, b))
        self.correlations_ = rho
        self.n_components_ = len(rho)


def _amount(value: Any, name: str) -> Amount:
    """Return how many principal components, or which share of the variance, are kept."""
    if value is None or is_whole(value):
        return None if value is None else as_whole(value, name)
    share = as_number(value, name, above=0)
    if share >= 1:
        raise ValueError(name)
    return share


def _principal_axes(z: NDArray[np.float64], amount: int | float) -> NDArray[np.float64]:
    """Return the leading principal axes (p, d) of a centred view (n, p).

    ``amount`` as an int is the most that are kept, as a float the share of the variance that
    they explain at least. Axes without variance are never kept.
    """
    n, p = z.shape
    side = min(n, p)
    whole = is_whole(amount)
    most = min(int(amount), side) if whole else side
    scatter = z.T @ z if p <= n else z @ z.T
    values, vectors = eigh(
        scatter, subset_by_index=[side - most, side - 1], overwrite_a=True, check_finite=False
    )
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = int((values > values[0] * max(n, p) * np.finfo(np.float64).eps).sum())
    if not whole:
        share = np.cumsum(values) / values.sum()
        keep = min(keep, int(np.searchsorted(share, amount)) + 1)
    vectors = vectors[:, :keep]
    return vectors if p <= n else z.T @ (vectors / np.sqrt(values[:keep]))


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
