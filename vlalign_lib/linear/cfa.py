"""Cross-modal factor analysis."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import Rule
from vlalign_lib.linear._base import (
    LinearProjection,
    available_components,
    components,
    leading_svd,
)
from vlalign_lib.linear.correlation import paired_correlation


class CFA(LinearProjection):
    r"""Find orthonormal directions in each view along which the pairs covary most.

    .. math::

        \max_{A, B} \operatorname{tr}(A^\top X^\top Y B)
        \quad\text{s.t.}\quad A^\top A = B^\top B = I,

    solved by the singular value decomposition of the cross-covariance,
    :math:`S_{xy} = U \Sigma V^\top`: :math:`A = U_k`, :math:`B = V_k`. Nothing is inverted, so
    nothing blows up, however few the pairs; but the answer depends on the scale of the columns,
    which are therefore standardised. Turning either view (an orthogonal map of the standardised
    columns) changes nothing.

    Args:
        n_components: Shared dimensions k; None for as many as there are. Where the data have
            fewer, ``fit`` warns and keeps those (``n_components_``).
        random_state: Taken by every method; nothing here is random.

    Attributes:
        singular_values_: (k,) :math:`\Sigma`, the covariances of the paired components,
            descending.
        correlations_: (k,) the correlations of the paired components on the training pairs;
            not necessarily descending.
        image_weights_: (p, k) A, orthonormal, on the standardised columns. Signs: in each
            column the entry of largest magnitude is positive.
        text_weights_: (q, k) B, orthonormal.
        image_mean_, image_scale_, text_mean_, text_scale_: What the inputs were standardised
            with; a constant column has scale 1.
        n_components_: k as learned.

    Raises:
        ValueError: in ``fit``; see there.

    Source:
        Li, Dimitrova, Li, Sethi, "Multimedia content processing through cross-modal
        association", ACM Multimedia 2003, section 3.

    Chapter:
        3, Linear coordinates: CCA and kin.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> topic = rng.normal(size=(500, 2))
        >>> images = np.hstack([topic, rng.normal(size=(500, 3))])
        >>> cfa = CFA(n_components=2).fit(images, topic)
        >>> np.allclose(cfa.image_weights_.T @ cfa.image_weights_, np.eye(2))
        True
    """

    _rules: ClassVar[dict[str, Rule]] = {"n_components": components}

    correlations_: NDArray[np.float64]
    singular_values_: NDArray[np.float64]

    def __init__(self, n_components: int | None = 10, *, random_state: int | None = None) -> None:
        self.n_components = n_components
        self.random_state = random_state

    @classmethod
    def from_paper(cls) -> Self:
        """Return CFA as in Li et al. 2003.

        Certain: the objective, which has no other setting. Not certain: how many components
        were kept there; here, as many as there are.
        """
        return cls(n_components=None)

    def _fit(
        self, x: NDArray[np.floating], y: NDArray[np.floating], labels: ArrayLike | None
    ) -> None:
        asked, n = self._checked().n_components, len(x)
        zx, zy = self._learn_scale(x, y)
        most = min(n - 1, zx.shape[1], zy.shape[1])
        u, s, v = leading_svd(zx.T @ zy, min(asked or most, most))
        # What the product's own rounding leaves of a covariance of nothing is nothing.
        rounding = np.finfo(np.float64).eps * np.linalg.norm(zx) * np.linalg.norm(zy)
        s = np.where(s > rounding, s, 0.0)
        eps = max(float(np.finfo(x.dtype).eps), float(np.finfo(y.dtype).eps))
        found = int((s > s[0] * max(*zx.shape, zy.shape[1]) * eps).sum())
        found = max(found, 1)
        k = available_components(
            asked,
            found,
            f"over the {n} pairs the views covary in {found} independent directions",
            stacklevel=4,
        )
        self._learn_weights((zx, zy), (u[:, :k], v[:, :k]))
        self.singular_values_ = s[:k] / (n - 1)
        correlations = paired_correlation(zx @ self.image_weights_, zy @ self.text_weights_)
        self.correlations_ = np.where(self.singular_values_ > 0, correlations, 0.0)
        self.n_components_ = k
