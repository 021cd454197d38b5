"""Which items make a batch, in an order that can be put down and taken up again."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlalign_lib._validate import as_array, as_labels, as_whole
from vlalign_lib.training.config import as_torch_seed


class Sampler(ABC):
    """Batches of row numbers, an epoch at a time, from a generator of its own.

    Iterating gives one epoch; iterating again gives the next one. :meth:`state_dict` in the
    middle of an epoch and :meth:`load_state_dict` on a fresh sampler of the same arguments
    continue it with the very next batch. A sampler of your own overrides :meth:`epoch`; what its
    order depends on are its attributes, or what its :meth:`settings` returns.

    Args:
        seed: of the order, a whole number of at least 0.

    Chapter:
        07, where the batch decides what a triplet loss sees.

    Example:
        >>> class Forwards(Sampler):
        ...     def epoch(self, generator):
        ...         return [torch.tensor([0, 1]), torch.tensor([2, 3])]
        ...     def __len__(self):
        ...         return 2
        ...     @property
        ...     def sizes(self):
        ...         return (2,)
        >>> [rows.tolist() for rows in Forwards()]
        [[0, 1], [2, 3]]
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = as_torch_seed(seed)
        self._generator = torch.Generator().manual_seed(self.seed)
        self._before = self._generator.get_state()  # as it was when the epoch began
        self._given = 0  # batches of this epoch that were handed out
        self._continues = False

    @abstractmethod
    def epoch(self, generator: torch.Generator) -> list[Tensor]:
        """Return the batches of one epoch, int64 row numbers, drawn from ``generator`` alone."""

    @abstractmethod
    def __len__(self) -> int:
        """Batches of an epoch."""

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """The sizes that batches of an epoch have."""

    def __iter__(self) -> Iterator[Tensor]:
        if not self._continues:
            self._before = self._generator.get_state()
            self._given = 0
        self._continues = False
        self._generator.set_state(self._before)
        with torch.device("cpu"):  # where the generator is, whatever the default device
            batches = self.epoch(self._generator)
        for rows in batches[self._given :]:
            self._given += 1
            yield rows
        self._before, self._given = self._generator.get_state(), 0

    def settings(self) -> dict[str, Any]:
        """Return what the order depends on, so that no checkpoint of another order is gone on."""
        return {name: value for name, value in vars(self).items() if name[0] != "_"}

    @property
    def given(self) -> int:
        """Batches of this epoch that were handed out; 0 between two epochs."""
        return self._given

    def state_dict(self) -> dict[str, Any]:
        """Return where the sampler stands: a generator's state and the batches handed out."""
        return {"generator": self._before.clone(), "given": self._given}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Stand where ``state`` was taken; the next iteration goes on from there."""
        self._before = state["generator"].clone()
        self._given = int(state["given"])
        self._continues = True


class PairedSampler(Sampler):
    """Every pair once an epoch, in a new order each time.

    Args:
        n: number of pairs.
        batch_size: pairs a batch; None takes all of them.
        drop_last: whether to leave out the incomplete last batch. Losses that compare the items
            of a batch with each other see an easier problem in a small one.
        seed: of the order.

    Raises:
        ValueError: no pairs, or a batch larger than all of them.

    Chapter:
        05, where the size of the batch decides what a correlation means.

    Example:
        >>> [len(rows) for rows in PairedSampler(10, 4)]
        [4, 4, 2]
    """

    def __init__(
        self, n: int, batch_size: int | None = 64, *, drop_last: bool = False, seed: int = 0
    ) -> None:
        super().__init__(seed=seed)
        n = as_whole(n, "n")
        size = n if batch_size is None else as_whole(batch_size, "batch_size")
        if size > n:
            raise ValueError(
                f"batch_size: {size} items a step, but the data has {n}; use at most {n}, or "
                "None for all of them at once"
            )
        self.n, self.batch_size, self.drop_last = n, size, bool(drop_last)

    def epoch(self, generator: torch.Generator) -> list[Tensor]:
        """Return the batches of one epoch."""
        batches = torch.randperm(self.n, generator=generator).split(self.batch_size)
        return list(batches[: len(self)])

    def __len__(self) -> int:
        return self.n // self.batch_size if self.drop_last else -(-self.n // self.batch_size)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The full size, and that of the last batch where it is smaller and kept."""
        rest = self.n % self.batch_size
        return (self.batch_size,) if self.drop_last or not rest else (self.batch_size, rest)


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
        self.classes, self.items = as_whole(classes, "classes"), as_whole(items, "items")
        known = as_labels(labels, 0 if labels is None else as_array(labels, "labels").size)
        self._rows = [
            torch.from_numpy(np.flatnonzero(known == c)) for c in np.unique(known[known >= 0])
        ]
        if len(self._rows) < self.classes:
            raise ValueError(
                f"classes: {self.classes} a batch, but the labels hold {len(self._rows)}; use fewer"
            )
        filled = sum(len(rows) for rows in self._rows) // (self.classes * self.items)
        self.batches = max(1, filled) if batches is None else as_whole(batches, "batches")

    def settings(self) -> dict[str, Any]:
        """Return the seed, the make-up of a batch, and a digest of which items are of a class."""
        rows = repr([rows.tolist() for rows in self._rows]).encode()
        return super().settings() | {"labels": hashlib.sha256(rows).hexdigest()[:16]}

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
