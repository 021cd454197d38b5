"""An encoder of small pictures."""

from __future__ import annotations

from torch import Tensor, nn

from vlalign_lib.models._layers import check_dims, check_share


class PictureEncoder(nn.Module):
    r"""Map pictures to k numbers with three strided convolutions and one linear layer.

    Each convolution halves both sides and doubles the channels, c, 2c, 4c:

    .. math::

        u = W \operatorname{vec}\big(\phi(K_3 * \phi(K_2 * \phi(K_1 * x)))\big) + b, \qquad
        \phi = \max(0, \cdot).

    There is no batch normalisation: a picture's place does not depend on which others are in
    its batch, so that training on several processes is training on one.

    Args:
        shape: (height, width) of a picture, each at least 8.
        dim_out: dimensions k of the shared space.
        channels: c, the filters of the first convolution.
        dropout: share of the last layer's inputs that are left out of each training step.

    Raises:
        ValueError: a picture below 8 by 8, no channels, a share outside [0, 1).

    Chapter:
        07, where it finds characters by their names.

    Example:
        >>> import torch
        >>> PictureEncoder((32, 32), 10)(torch.zeros(5, 32, 32)).shape
        torch.Size([5, 10])
    """

    def __init__(
        self, shape: tuple[int, int], dim_out: int, channels: int = 24, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        height, width = shape
        check_dims(height=height, width=width, dim_out=dim_out, channels=channels)
        check_share(dropout, "dropout")
        if min(height, width) < 8:
            raise ValueError(f"shape: expected at least 8 by 8 pixels, got {height} by {width}")
        self.shape = (height, width)
        self.filters = nn.Sequential(
            nn.Conv2d(1, channels, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * channels, 4 * channels, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        cells = -(-height // 8) * -(-width // 8)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * channels * cells, dim_out))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, k) for pictures ``x``, (B, height, width).

        Raises:
            ValueError: wrong shape.
        """
        if tuple(x.shape[1:]) != self.shape:
            height, width = self.shape
            raise ValueError(f"x: expected pictures (B, {height}, {width}), got {tuple(x.shape)}")
        return self.head(self.filters(x[:, None]))  # (B, 1, h, w) -> (B, k)
