"""Networks that turn one view into a point of the shared space (chapters 04 to 08)."""

from vlalign_lib.models.encoders.picture import PictureEncoder
from vlalign_lib.models.encoders.shift import random_shift
from vlalign_lib.models.encoders.vector import VectorEncoder
from vlalign_lib.models.encoders.view import encoder_for

__all__ = [
    "PictureEncoder",
    "VectorEncoder",
    "encoder_for",
    "random_shift",
]
