"""The right encoder for a view, whatever it is."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from vlalign_lib.models.encoders.picture import PictureEncoder
from vlalign_lib.models.encoders.vector import VectorEncoder


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
