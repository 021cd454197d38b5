"""An encoder of feature vectors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vlalign_lib.models._layers import check_dims, mlp


class VectorEncoder(nn.Module):
    r"""Map feature vectors to k numbers with a multi-layer perceptron.

    .. math:: u = W_L\, \phi(W_{L-1} \cdots \phi(W_1 x + b_1) \cdots + b_{L-1}) + b_L

    The last layer is linear: what is compared, and how, is left to the objective.

    Args:
        dim: numbers a row, p.
        dim_out: dimensions k of the shared space.
        hidden: widths of the layers between; none makes the map linear.
        activation: φ, ``"relu"``, ``"gelu"``, ``"tanh"`` or ``"sigmoid"``.
        dropout: share of the hidden units that are left out of each training step.

    Raises:
        ValueError: a width below 1, an unknown activation, a share outside [0, 1).

    Chapter:
        04, whose autoencoder it is one half of.

    Example:
        >>> import torch
        >>> VectorEncoder(30, 10, hidden=(64,))(torch.zeros(5, 30)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self,
        dim: int,
        dim_out: int,
        hidden: Sequence[int] = (256,),
        *,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_dims(dim=dim, dim_out=dim_out)
        self.dim = dim
        self.layers = mlp(dim, hidden, dim_out, activation=activation, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, k) for rows ``x``, (B, p).

        Raises:
            ValueError: wrong shape.
        """
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise ValueError(f"x: expected (B, {self.dim}), one row an item, got {tuple(x.shape)}")
        return self.layers(x)  # (B, k)
