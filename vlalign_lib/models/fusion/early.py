"""Early fusion: concatenate the views, then learn one model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlalign_lib.models.encoders import check_dims, mlp
from vlalign_lib.models.fusion._inputs import resolve_views
from vlalign_lib.models.fusion.standardise import BlockStandardiser


class EarlyFusion(nn.Module):
    r"""One classifier on the two views laid side by side.

    .. math:: \operatorname{logits} = h\big([\,\tilde x \,;\, \tilde y\,]\big)

    where :math:`\tilde x, \tilde y` are the views standardised block by block and :math:`h` is
    linear, or a network with ReLUs. A missing view is filled with its training mean: the model
    has no other notion of absence.

    Args:
        dim_x: columns p of the first view.
        dim_y: columns q of the second view.
        dim_out: classes C.
        hidden: widths of the layers between; none makes it a logistic regression.

    Source:
        Baltrušaitis, Ahuja and Morency, Multimodal Machine Learning: A Survey and Taxonomy,
        PAMI 2019, section 6 (feature-level fusion).

    Chapter:
        02, the first of the two wirings.

    Example:
        >>> model = EarlyFusion(3, 2, dim_out=4)
        >>> model(torch.zeros(5, 3), None).shape  # the second view is missing
        torch.Size([5, 4])
    """

    def __init__(self, dim_x: int, dim_y: int, dim_out: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        check_dims(dim_x=dim_x, dim_y=dim_y, dim_out=dim_out)
        self.block_x = BlockStandardiser(dim_x)
        self.block_y = BlockStandardiser(dim_y)
        self.head = mlp(dim_x + dim_y, hidden, dim_out)

    def fit_inputs(self, x: Tensor, y: Tensor, *, scale: bool = True) -> EarlyFusion:
        r"""Learn means and scales of both blocks from training data.

        Each column is brought to variance 1, then each block to the same total variance,
        :math:`(p + q)/2`: otherwise 4,096 columns drown 10. Blocks of equal width are
        multiplied by 1.

        Args:
            x: first view, (n, p).
            y: second view, (n, q).
            scale: False only takes the means off, and leaves the units as they are.

        Returns:
            Itself.
        """
        p, q = self.block_x.dim, self.block_y.dim
        for block, view, dim in ((self.block_x, x, p), (self.block_y, y, q)):
            weight = ((p + q) / (2 * dim)) ** 0.5 if scale else 1.0
            block.fit(view, scale=scale, weight=weight)
        return self

    def forward(
        self,
        x: Tensor | None,
        y: Tensor | None,
        has_x: Tensor | None = None,
        has_y: Tensor | None = None,
    ) -> Tensor:
        """Return the logits, (B, C).

        Args:
            x: first view, (B, p), or None where it is missing for all.
            y: second view, (B, q), or None.
            has_x: booleans (B,), true where the item has its first view; None for all.
            has_y: the same of the second view.

        Raises:
            ValueError: wrong shapes, or an item with neither view.
        """
        x, y, has_x, has_y = resolve_views(x, y, has_x, has_y, (self.block_x.dim, self.block_y.dim))
        both = torch.cat([self.block_x(x, has_x), self.block_y(y, has_y)], dim=1)  # (B, p + q)
        return self.head(both)  # (B, C)
