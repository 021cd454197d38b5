"""Networks that turn one view into a point of the shared space (chapters 04 to 08)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlalign_lib._validate import as_number, as_whole, is_one_of, is_whole

__all__ = ["PictureEncoder", "VectorEncoder", "encoder_for", "random_shift"]


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


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


def encoder_for(
    shape: Sequence[int],
    dim_out: int,
    *,
    hidden: Sequence[int] = (256,),
    channels: int = 24,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Module:
    """Return a network for items of ``shape``: convolutions for pictures, layers for vectors.

    Args:
        shape: of one item: (height, width) for pictures, (p,) for feature vectors.
        dim_out: dimensions k of the shared space.
        hidden: widths between, where the items are vectors.
        channels: filters of the first convolution, where they are pictures.
        activation: of the hidden layers, where the items are vectors.
        dropout: share of units left out of each training step.

    Returns:
        A :class:`PictureEncoder` or a :class:`VectorEncoder`.

    Raises:
        ValueError: neither one axis nor two, or a width that makes no sense.

    Chapter:
        08, where every method of the table takes pictures and vectors alike.

    Example:
        >>> type(encoder_for((32, 32), 10)).__name__, type(encoder_for((128,), 10)).__name__
        ('PictureEncoder', 'VectorEncoder')
    """
    if len(shape) == 1:
        return VectorEncoder(shape[0], dim_out, hidden, activation=activation, dropout=dropout)
    if len(shape) == 2:
        return PictureEncoder((shape[0], shape[1]), dim_out, channels, dropout=dropout)
    raise ValueError(
        f"shape: expected (p,) for vectors or (height, width) for pictures, got {tuple(shape)}"
    )


def random_shift(x: Tensor, most: int, generator: torch.Generator | None = None) -> Tensor:
    r"""Move each picture by its own random step, up to ``most`` pixels each way.

    .. math:: x'_{b,i,j} = x_{b,\, [i - s_b],\, [j - t_b]}, \qquad
              s_b, t_b \sim \mathcal U\{-\text{most}, \dots, \text{most}\},

    where [·] is the nearest row or column that there is: the picture's own edge is what enters
    at the border, in whatever units the picture has.

    Args:
        x: pictures (B, height, width); not written to.
        most: largest step in pixels, smaller than both sides; 0 returns ``x`` itself.
        generator: where the steps are drawn from; on the CPU. None takes torch's own.

    Returns:
        (B, height, width), same dtype and device.

    Raises:
        ValueError: no pictures, or a step as large as a side.

    Chapter:
        07, where encoders of pictures are trained.

    Example:
        >>> x = torch.eye(3)[None]
        >>> random_shift(x, 1, torch.Generator().manual_seed(3)).shape
        torch.Size([1, 3, 3])
    """
    if x.ndim != 3:
        raise ValueError(f"x: expected pictures (B, height, width), got {tuple(x.shape)}")
    count, height, width = x.shape
    if not (is_whole(most) and 0 <= most < min(height, width)):
        raise ValueError(
            f"most: expected whole pixels from 0 to below {min(height, width)}, got {most!r}"
        )
    if most == 0:
        return x
    steps = torch.randint(-most, most + 1, (2, count, 1), generator=generator).to(x.device)
    rows = (torch.arange(height, device=x.device) - steps[0]).clamp(0, height - 1)  # (B, height)
    columns = (torch.arange(width, device=x.device) - steps[1]).clamp(0, width - 1)  # (B, width)
    items = torch.arange(count, device=x.device)
    return x[items[:, None, None], rows[:, :, None], columns[:, None, :]]


def check_dims(**dims: int) -> None:
    """Raise a ValueError unless every named width is a whole number of at least 1."""
    for name, value in dims.items():
        as_whole(value, name)


def check_share(value: float, name: str) -> None:
    """Raise a ValueError unless ``value`` is a number in [0, 1)."""
    with suppress(ValueError):
        if 0 <= as_number(value, name) < 1:
            return
    raise ValueError(f"{name}: expected a number from 0 to below 1, got {value!r}")


def as_widths(hidden: Any, name: str = "hidden") -> tuple[int, ...]:
    """Return a sequence of whole numbers of at least 1 as such, or raise a ValueError."""
    if isinstance(hidden, str) or not isinstance(hidden, Sequence | np.ndarray):
        raise ValueError(f"{name}: expected a sequence of widths such as (64,), got {hidden!r}")
    return tuple(as_whole(width, f"{name}[{i}]") for i, width in enumerate(hidden))


def mlp(
    dim_in: int,
    hidden: Sequence[int],
    dim_out: int,
    *,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """Return linear layers ``dim_in → hidden… → dim_out`` with an activation between any two."""
    hidden = as_widths(hidden)
    if not is_one_of(activation, tuple(ACTIVATIONS)):
        raise ValueError(
            f"activation: expected one of {', '.join(ACTIVATIONS)}; got {activation!r}"
        )
    check_share(dropout, "dropout")
    *between, last = pairwise([dim_in, *hidden, dim_out])
    layers: list[nn.Module] = []
    for left, right in between:
        layers += [nn.Linear(left, right), ACTIVATIONS[activation]()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(*last))
