"""Where pairs come from: digits, glyphs, Wikipedia, deep features; downloads; data cards."""

from vlalign_lib.data._cache import DataUnavailable, cache_dir, offline
from vlalign_lib.data._download import FileState
from vlalign_lib.data._paired import PairedDataset
from vlalign_lib.data._registry import DATASETS
from vlalign_lib.data._twins import synthetic_twin
from vlalign_lib.data.access import DataCard, available, card, fetch, verify
from vlalign_lib.data.deep_features import (
    load_nus_wide_10k,
    load_pascal_sentences,
    load_wikipedia_deep,
)
from vlalign_lib.data.digits import load_digit_halves
from vlalign_lib.data.features import make_features
from vlalign_lib.data.glyphs import load_glyphs
from vlalign_lib.data.wikipedia import load_wikipedia

__all__ = [
    "DATASETS",
    "DataCard",
    "DataUnavailable",
    "FileState",
    "PairedDataset",
    "available",
    "cache_dir",
    "card",
    "fetch",
    "load_digit_halves",
    "load_glyphs",
    "load_nus_wide_10k",
    "load_pascal_sentences",
    "load_wikipedia",
    "load_wikipedia_deep",
    "make_features",
    "offline",
    "synthetic_twin",
    "verify",
]
