"""Standardisation of one view's block of columns, learned on the training data."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlalign_lib._validate import as_number
from vlalign_lib.models.encoders import check_dims
from vlalign_lib.models.fusion._inputs import check_mask, check_view


class BlockStandardiser(nn.Module):
    r"""Bring one view's columns to mean 0 and, unless told not to, to standard deviation 1.

    .. math:: z_{ij} = w\,\frac{x_{ij} - \mu_j}{\sigma_j}

    with :math:`\mu_j, \sigma_j` of the training data and a weight :math:`w` for the whole
    block. A missing item becomes :math:`z_i = 0`, that is, the training mean: mean imputation.
    A column that is constant in the training data gets :math:`\sigma_j = 1`. Before
    :meth:`fit` is called, :math:`\mu = 0` and :math:`\sigma = w = 1`.

    Args:
        dim: number of columns.

    Chapter:
        02, where a view in volts meets one in millivolts.

    Example:
        >>> block = BlockStandardiser(2).fit(torch.tensor([[0.0, 5.0], [2.0, 5.0]]))
        >>> block(torch.tensor([[2.0, 5.0]]))
        tensor([[1., 0.]])
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        check_dims(dim=dim)
        self.dim = dim
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))

    def fit(self, x: Tensor, *, scale: bool = True, weight: float = 1.0) -> BlockStandardiser:
        """Learn the means and, with ``scale``, the standard deviations.

        Args:
            x: training rows of this view, (n, dim), finite.
            scale: divide by the standard deviations (with n in the denominator); False only
                takes the means off and leaves the units alone.
            weight: factor w of the whole block, above 0.

        Returns:
            Itself.

        Raises:
            ValueError: wrong shape, no rows, or values that are not finite.
        """
        check_view(x, self.dim, "x")
        if x.shape[0] == 0 or not bool(torch.isfinite(x).all()):
            raise ValueError(
                "x: needs at least one row and only finite values; fit on the rows that are there"
            )
        weight = as_number(weight, "weight", above=0)
        x = x.detach().to(torch.float64)
        sigma = x.std(dim=0, correction=0) if scale else torch.ones_like(x[0])
        constant = (x == x[0]).all(dim=0)
        self.mean.copy_(x.mean(dim=0))
        self.scale.copy_(torch.where(constant, 1.0, sigma) / weight)
        return self

    def forward(self, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Return the standardised block (B, dim), zero in the rows that are not present.

        Args:
            x: rows of this view, (B, dim), in any floating-point type.
            present: booleans (B,), None for all.

        Raises:
            ValueError: wrong shapes or types.
        """
        check_view(x, self.dim, "x")
        if present is not None:
            check_mask(present, len(x), "present", "the view")
        z = ((x - self.mean) / self.scale).to(self.mean.dtype)  # (B, dim)
        return z if present is None else torch.where(present[:, None], z, 0.0)
