"""Where pairs come from: digits, glyphs, Wikipedia; downloads; data cards."""

from vlalign_lib.data._cache import DataUnavailable
from vlalign_lib.data._paired import PairedDataset
from vlalign_lib.data.digits import load_digit_halves
from vlalign_lib.data.glyphs import load_glyphs

__all__ = [
    "DataUnavailable",
    "PairedDataset",
    "load_digit_halves",
    "load_glyphs",
]
