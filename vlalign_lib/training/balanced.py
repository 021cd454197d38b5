"""Batches in which every item meets others of its class."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlalign_lib._validate import as_array, as_labels
from vlalign_lib.training._checks import check_whole
from vlalign_lib.training.samplers import Sampler


class ClassBalancedSampler(Sampler):
    """P classes and K items of each a batch, so that every item meets others of its class.

    Classes take turns in a shuffled order until all have had one, and so do the items of a class;
    none is twice in a batch unless its class has fewer than K. Frequent classes are seen less
    often than their share, rare ones more often.

    Args:
        labels: (n,) class of each item. Items with a negative label belong to no class and are
            never drawn.
        classes: P, classes a batch.
        items: K, items of each class in a batch.
        batches: batches an epoch; None takes as many as the items would fill, at least one.
        seed: of the order.

    Raises:
        ValueError: labels that are no classes, fewer than P classes, or a count below 1.

    Chapter:
        07, where the batch decides what a triplet loss sees.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
        >>> [sorted(labels[rows].tolist()) for rows in ClassBalancedSampler(labels, 3, 2)]
        [[0, 0, 1, 1, 2, 2]]
    """

    def __init__(
        self,
        labels: Any,
        classes: int = 8,
        items: int = 8,
        *,
        batches: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        for name, value in (("classes", classes), ("items", items), ("batches", batches)):
            if name != "batches" or value is not None:
                check_whole(name, value)
        known = as_labels(labels, 0 if labels is None else as_array(labels, "labels").size)
        self._rows = [
            torch.from_numpy(np.flatnonzero(known == c)) for c in np.unique(known[known >= 0])
        ]
        if len(self._rows) < classes:
            raise ValueError(
                f"classes: {classes} a batch, but the labels hold {len(self._rows)}; use fewer"
            )
        self.classes, self.items = int(classes), int(items)
        filled = sum(len(rows) for rows in self._rows) // (self.classes * self.items)
        self.batches = max(1, filled) if batches is None else int(batches)

    def settings(self) -> dict[str, Any]:
        """Return the seed, the make-up of a batch, and a digest of which items are of a class."""
        rows = repr([rows.tolist() for rows in self._rows]).encode()
        made_of = {"classes": self.classes, "items": self.items, "batches": self.batches}
        return super().settings() | made_of | {"labels": hashlib.sha256(rows).hexdigest()[:16]}

    def epoch(self, generator: torch.Generator) -> list[Tensor]:
        """Return the batches of one epoch."""
        turns = _Turns(torch.arange(len(self._rows)), generator)
        queues = [_Turns(rows, generator) for rows in self._rows]
        return [
            torch.cat([queues[c].take(self.items) for c in turns.take(self.classes).tolist()])
            for _ in range(self.batches)
        ]

    def __len__(self) -> int:
        return self.batches

    @property
    def sizes(self) -> tuple[int, ...]:
        """P · K, the one size that there is."""
        return (self.classes * self.items,)


class _Turns:
    """A shuffled queue that refills itself, and gives nothing twice in one ``take`` if it can."""

    def __init__(self, values: Tensor, generator: torch.Generator) -> None:
        self._values, self._generator = values, generator
        self._left = values[:0]

    def take(self, count: int) -> Tensor:
        """Return the next ``count`` values."""
        while len(self._left) < count:
            fresh = self._values[torch.randperm(len(self._values), generator=self._generator)]
            waiting = torch.isin(fresh, self._left)
            self._left = torch.cat([self._left, fresh[~waiting], fresh[waiting]])
        taken, self._left = self._left[:count], self._left[count:]
        return taken
