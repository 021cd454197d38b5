"""Decision fusion: a classifier for each view, and their posteriors averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlalign_lib.models.encoders import check_dims
from vlalign_lib.models.fusion._inputs import resolve_views
from vlalign_lib.models.fusion.single import SingleView


class DecisionFusion(nn.Module):
    r"""Two classifiers that never meet; only their answers are averaged.

    .. math::

        p(c \mid x, y) = \frac{m_x\, p(c \mid x) + m_y\, p(c \mid y)}{m_x + m_y}

    with :math:`m_x, m_y \in \{0, 1\}` saying which views are there. Much of the literature
    calls this late fusion. With one view missing it *is* the single-view model, so that its
    fall is the price of the missing information and of nothing else.

    Args:
        dim_x: columns p of the first view.
        dim_y: columns q of the second view.
        dim_out: classes C.
        hidden: widths of the layers between, the same for both classifiers.

    Source:
        Kittler, Hatef, Duin and Matas, On combining classifiers, PAMI 20(3), 1998, the sum rule
        (equation 11, with equal priors).

    Chapter:
        02, beside the two wirings.

    Example:
        >>> model = DecisionFusion(3, 2, dim_out=4)
        >>> x = torch.ones(1, 3)
        >>> torch.equal(model(x, None).argmax(1), model.view_x(x).argmax(1))
        True
    """

    def __init__(self, dim_x: int, dim_y: int, dim_out: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        check_dims(dim_x=dim_x, dim_y=dim_y, dim_out=dim_out)
        self.view_x = SingleView(dim_x, dim_out, hidden)
        self.view_y = SingleView(dim_y, dim_out, hidden)

    def fit_inputs(self, x: Tensor, y: Tensor) -> DecisionFusion:
        """Learn means and scales of both blocks from training data, (n, p) and (n, q)."""
        self.view_x.fit_inputs(x)
        self.view_y.fit_inputs(y)
        return self

    def forward(
        self,
        x: Tensor | None,
        y: Tensor | None,
        has_x: Tensor | None = None,
        has_y: Tensor | None = None,
    ) -> Tensor:
        """Return the logarithm of the averaged posterior, (B, C).

        Args:
            x: first view, (B, p), or None where it is missing for all.
            y: second view, (B, q), or None.
            has_x: booleans (B,), true where the item has its first view; None for all.
            has_y: the same of the second view.

        Raises:
            ValueError: wrong shapes, or an item with neither view.
        """
        dims = (self.view_x.block.dim, self.view_y.block.dim)
        x, y, has_x, has_y = resolve_views(x, y, has_x, has_y, dims)
        # log-sum-exp of the log-posteriors: no posterior is ever rounded to zero
        apart = torch.stack([self.view_x(x).log_softmax(1), self.view_y(y).log_softmax(1)])
        there = torch.stack([has_x, has_y])  # (2, B)
        apart = torch.where(there[..., None], apart, -torch.inf)  # (2, B, C)
        return apart.logsumexp(0) - there.sum(0).to(apart.dtype).log()[:, None]  # (B, C)
