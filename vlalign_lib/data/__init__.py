"""Where pairs come from: digits, glyphs, Wikipedia, deep features; downloads; data cards."""

from importlib import import_module
from typing import Any

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


def __getattr__(name: str) -> Any:
    # Recipes belong to the experiments; their name is offered here, beside the loaders, too.
    if name == "make_features":
        return import_module("vlalign_lib.experiments.features").make_features
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
