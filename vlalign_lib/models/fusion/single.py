"""The control: one view alone."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vlalign_lib.models.encoders import check_dims, mlp
from vlalign_lib.models.fusion._inputs import check_view
from vlalign_lib.models.fusion.standardise import BlockStandardiser


class SingleView(nn.Module):
    r"""A classifier that looks at one view only.

    .. math:: \operatorname{logits} = h(\tilde x)

    Without it, a fall of accuracy when the other view is missing says nothing about fusion: it
    may be what the lost view was worth.

    Args:
        dim: columns p of the view.
        dim_out: classes C.
        hidden: widths of the layers between; none makes it a logistic regression.

    Chapter:
        02, the control of every curve.

    Example:
        >>> import torch
        >>> SingleView(3, dim_out=4)(torch.zeros(5, 3)).shape
        torch.Size([5, 4])
    """

    def __init__(self, dim: int, dim_out: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        check_dims(dim=dim, dim_out=dim_out)
        self.block = BlockStandardiser(dim)
        self.head = mlp(dim, hidden, dim_out)

    def fit_inputs(self, x: Tensor) -> SingleView:
        """Learn means and scales of the view from training data, (n, p)."""
        self.block.fit(x)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (B, C), of the view ``x``, (B, p).

        Raises:
            ValueError: wrong shape.
        """
        return self.head(self.block(check_view(x, self.block.dim, "x")))  # (B, C)
