"""Which items make a batch, in an order that can be put down and taken up again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from vlalign_lib._validate import as_seed
from vlalign_lib.training._checks import check_whole


class Sampler(ABC):
    """Batches of row numbers, an epoch at a time, from a generator of its own.

    Iterating gives one epoch; iterating again gives the next one. :meth:`state_dict` in the
    middle of an epoch and :meth:`load_state_dict` on a fresh sampler of the same arguments
    continue it with the very next batch. A sampler of your own overrides :meth:`epoch`, and
    :meth:`settings` where it has any besides the seed.

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
        self.seed = as_seed(seed)
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
        for rows in self.epoch(self._generator)[self._given :]:
            self._given += 1
            yield rows
        self._before, self._given = self._generator.get_state(), 0

    def settings(self) -> dict[str, Any]:
        """Return what the order depends on, so that no checkpoint of another order is gone on."""
        return {"seed": self.seed}

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
        for name, value in (("n", n), ("batch_size", n if batch_size is None else batch_size)):
            check_whole(name, value)
        size = n if batch_size is None else int(batch_size)
        if size > n:
            raise ValueError(
                f"batch_size: {size} items a step, but the data has {n}; use at most {n}, or "
                "None for all of them at once"
            )
        self.n, self.batch_size, self.drop_last = int(n), int(size), bool(drop_last)

    def settings(self) -> dict[str, Any]:
        """Return the seed and how the pairs are cut into batches."""
        cut = {"n": self.n, "batch_size": self.batch_size, "drop_last": self.drop_last}
        return super().settings() | cut

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
