"""Canonical correlation analysis with a relative ridge."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import is_one_of
from vlalign_lib.linear._base import LinearProjection, available_components
from vlalign_lib.linear._canonical import Matrix, canonical_pairs, linear_view
from vlalign_lib.linear._checks import check_components, check_reg
from vlalign_lib.linear._mixed import mixed_pairs
from vlalign_lib.linear._pca import Amount, check_pca, principal_axes
from vlalign_lib.linear.correlation import rank_report, warn_if_perfect


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
        reg: :math:`\kappa`, the ridge relative to the mean variance of the view; 0 for none.
        pca: Reduce each view to principal components first: how many at most (an int), or
            the share of the variance that they explain (a float in (0, 1)); None for no
            reduction; a pair ``(images, texts)`` to treat the views differently.
        precision: ``"double"`` computes in float64. ``"mixed"`` forms the large products in
            float32 and finishes in float64: about half the time where there are thousands of
            pairs and columns, correlations within 1e-8, weights within 0.5 % of their norm. It
            returns to ``"double"`` by itself where a view has as many columns as pairs, or
            some direction with less than a thousandth of the mean variance, ridge included.
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

    correlations_: NDArray[np.float64]

    def __init__(
        self,
        n_components: int | None = 10,
        reg: float = 1e-4,
        *,
        pca: Amount | tuple[Amount, Amount] = None,
        precision: Literal["double", "mixed"] = "double",
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.reg = reg
        self.pca = pca
        self.precision = precision
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
        check_components(self.n_components)
        reg = check_reg(self.reg)
        amounts = check_pca(self.pca)
        if not is_one_of(self.precision, ("double", "mixed")):
            raise ValueError(f'precision: expected "double" or "mixed", got {self.precision!r}')
        z = self._learn_scale(x, y)
        axes = [
            None if amount is None else principal_axes(view, amount)
            for view, amount in zip(z, amounts, strict=True)
        ]
        px, py = (view if axis is None else view @ axis for view, axis in zip(z, axes, strict=True))
        eps = max(float(np.finfo(view.dtype).eps) for view in (x, y))
        a, b, rho = self._solve(px, py, reg, eps)
        a = a if axes[0] is None else axes[0] @ a
        b = b if axes[1] is None else axes[1] @ b
        self._learn_weights(z, (a, b))
        self.correlations_ = rho
        self.n_components_ = len(rho)

    def _solve(self, x: Matrix, y: Matrix, reg: float, eps: float) -> tuple[Matrix, Matrix, Matrix]:
        """Return the weights on the columns of centred views, and the correlations."""
        n, k = len(x), self.n_components
        if self.precision == "mixed" and k is not None:
            found = mixed_pairs(x, y, reg, k)
            if found is not None:
                return found
        first, second = (linear_view(z, reg, eps, wanted=k or z.shape[1]) for z in (x, y))
        ranks = (first.rank, second.rank)
        k = available_components(k, min(ranks), rank_report(ranks, n), stacklevel=5)
        if reg == 0:
            warn_if_perfect(ranks, n, stacklevel=5)
        a, b, rho = canonical_pairs(first, second, k)
        u, v = first.scores @ a, second.scores @ b
        return first.weights(x, a, v, rho), second.weights(y, b, u, rho), rho
