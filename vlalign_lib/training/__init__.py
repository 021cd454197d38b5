"""The training loop: seeded, resumable, distributed, with a progress bar and a history."""

from vlalign_lib.training._seeds import seeded
from vlalign_lib.training.balanced import ClassBalancedSampler
from vlalign_lib.training.checkpoint import load_weights
from vlalign_lib.training.config import FitConfig
from vlalign_lib.training.context import FitContext
from vlalign_lib.training.distributed import World, average_gradients, world
from vlalign_lib.training.history import History
from vlalign_lib.training.launch import launch
from vlalign_lib.training.loop import fit
from vlalign_lib.training.samplers import PairedSampler, Sampler
from vlalign_lib.training.schedules import warmup_constant, warmup_cosine

__all__ = [
    "ClassBalancedSampler",
    "FitConfig",
    "FitContext",
    "History",
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
