"""All the randomness of a training run: seeded at the start, kept in checkpoints."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vlalign_lib.training._seeds import seeded


@dataclass(frozen=True)
class Randomness:
    """The generators that a loss or a model may draw from: torch's, Python's and ``rng``."""

    rng: np.random.Generator
    device: torch.device

    def state_dict(self) -> dict[str, Any]:
        """Return where all of them stand, in types that ``torch.load`` trusts."""
        version, words, gauss = random.getstate()
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "python": [version, list(words), gauss],
            "numpy": self.rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put all of them where ``state`` was taken."""
        torch.set_rng_state(state["torch"])
        if self.device.type == "cuda" and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
        self.rng.bit_generator.state = state["numpy"]


@contextmanager
def randomness(seed: int, rank: int, device: torch.device) -> Iterator[Randomness]:
    """Seed everything inside a ``with`` block, each process differently, and put it back after."""
    before = random.getstate()
    own = seed
    if rank:
        own = int(np.random.SeedSequence([seed, rank]).generate_state(1, np.uint64)[0])
    with seeded(own):
        random.seed(own)
        try:
            yield Randomness(np.random.default_rng([seed, rank]), device)
        finally:
            random.setstate(before)
