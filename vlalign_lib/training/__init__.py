"""The training loop: seeded, plain, and handed a keeper for files, processes and narrow types."""

from typing import Any

from vlalign_lib._fast import form
from vlalign_lib.training.config import FitConfig, seeded, warmup_constant, warmup_cosine
from vlalign_lib.training.history import FitContext, History
from vlalign_lib.training.keeper import Keeper
from vlalign_lib.training.loop import fit
from vlalign_lib.training.samplers import ClassBalancedSampler, PairedSampler, Sampler

__all__ = [
    "ClassBalancedSampler",
    "FitConfig",
    "FitContext",
    "History",
    "Keeper",
    "PairedSampler",
    "Sampler",
    "World",
    "average_gradients",
    "fit",
    "launch",
    "load_weights",
    "seeded",
    "warmup_constant",
    "warmup_cosine",
    "world",
]


def __getattr__(name: str) -> Any:
    """Return what belongs to kept runs and several processes, from the engine."""
    found = form(f"training.{name}")
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    """Return all names, those that come from the engine included: the API pages ask for them."""
    return sorted({*globals(), *__all__})
