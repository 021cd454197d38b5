"""Semantic correlation matching: classifiers on top of CCA."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib.linear import CCA, SemanticMatching
from vlalign_lib.linear._base import Name, TwoViewEstimator


class SCM(TwoViewEstimator):
    r"""Bring both views to CCA's variates, then to class probabilities.

    .. math:: u = \sigma(W_x^\top A^\top x + b_x), \qquad v = \sigma(W_y^\top B^\top y + b_y)

    with CCA's A and B, and a multinomial logistic regression in each view: pairs first, labels
    after. It is :class:`~vlalign_lib.linear.SemanticMatching` on :class:`~vlalign_lib.linear.CCA`
    with plain numbers as parameters, so that a grid can search over them.

    Args:
        n_components: variates of CCA; where the data have fewer, those.
        cca_reg: CCA's ridge κ, relative to the mean variance.
        reg: ridge on the weights of the classifiers.
        random_state: taken by every method; nothing here is random.

    Attributes:
        matching_: the fitted :class:`~vlalign_lib.linear.SemanticMatching`.
        n_components_: C, the classes: the axes of the shared space.

    Raises:
        ValueError: in ``fit``; labels are needed.

    Source:
        Rasiwasia et al., "A new approach to cross-modal multimedia retrieval", ACM Multimedia
        2010, section 4.4.

    Chapter:
        3, Linear coordinates: CCA and kin; 8, The retrieval table.

    Example:
        >>> from vlalign_lib.data import load_digit_halves
        >>> train = load_digit_halves().split("train")
        >>> SCM().fit(train.images, train.texts, train.labels).embed_texts(train.texts).shape
        (800, 10)
    """

    matching_: SemanticMatching

    def __init__(
        self,
        n_components: int | None = 10,
        *,
        cca_reg: float = 1e-1,
        reg: float = 1e-3,
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.cca_reg = cca_reg
        self.reg = reg
        self.random_state = random_state

    @classmethod
    def from_paper(cls) -> Self:
        """Return SCM as in Rasiwasia et al. 2010.

        Certain: CCA, then multinomial logistic regression in each view. Not certain: how many
        variates were kept, and the strengths of the ridges; here the defaults.
        """
        return cls()

    def _fit(
        self, x: NDArray[np.floating], y: NDArray[np.floating], labels: ArrayLike | None
    ) -> None:
        beneath = CCA(self.n_components, self.cca_reg, random_state=self.random_state)
        self.matching_ = SemanticMatching(self.reg, on=beneath, random_state=self.random_state)
        self.matching_.fit(x, y, labels)
        self.n_components_ = self.matching_.n_components_

    def _embed(self, rows: NDArray[np.floating], view: Name) -> NDArray[np.float64]:
        return self.matching_._embed(rows, view)
