"""The training loop: seeded, with a progress bar, early stopping and a history."""

from vlalign_lib.training._seeds import seeded
from vlalign_lib.training.loop import FitConfig, History, fit

__all__ = ["FitConfig", "History", "fit", "seeded"]
