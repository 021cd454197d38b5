"""What the loop calls while it trains: here the keeper that does nothing besides."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


class Keeper:
    """The hooks of :func:`fit`, none of which does more than the plain loop needs.

    With this one a run is the mathematics alone: on one process, in the precision of the weights,
    with no file and no bar. ``fit`` takes the engine's keeper where no other is given: it adds
    checkpoints and their resumption, the log, the progress bar, several processes, narrow types,
    advice where memory runs out, and what was spent. A keeper of your own overrides what it needs.

    Chapter:
        02, where the first model is trained.

    Example:
        >>> class Steps(Keeper):
        ...     count = 0
        ...     def after_step(self):
        ...         self.count += 1
        >>> steps = Steps()
        >>> line = torch.nn.Linear(1, 1)
        >>> from vlalign_lib.training import FitConfig, fit
        >>> config = FitConfig(epochs=2, batch_size=4, device="cpu")
        >>> history = fit(line, lambda m, x: m(x).mean(), (torch.ones(8, 1),), config, keeper=steps)
        >>> steps.count
        4
    """

    rank: int = 0
    """Number of this process among those that train together."""
    scales_loss: bool = False
    """Whether ``backward`` scales the loss, and ``update`` leaves out steps that overflow."""

    def open(self, config: Any) -> str:
        """Take the settings, and return the name of the device to use; called first.

        Raises:
            ValueError: the settings ask for what this keeper does not do.
        """
        narrow = config.precision in ("bf16", "fp16")
        if config.folder is not None or narrow or os.environ.get("WORLD_SIZE", "1") != "1":
            raise ValueError(
                "keeper: a bare one writes to no folder, knows no precision but that of the "
                "weights and trains in one process; leave out folder=…, precision=… and torchrun, "
                "or let vlalign_lib.engine keep the run"
            )
        return str(config.device)

    def start(self, **run: Any) -> None:
        """Take the run: all is in place, nothing is updated. A kept state may be restored here.

        Args:
            run: ``model``, ``optimiser``, ``sampler``, ``state``, ``rng`` and ``device``; the
                ``columns`` of ``data`` and of ``validation``; and the ``functions`` that ``fit``
                was given, by name.
        """

    def guard(self, what: str, items: int | None = None) -> AbstractContextManager[None]:
        """Surround what every process does alike: ``"the model"`` moving, validation, monitor."""
        return nullcontext()

    def step(self, rows: Tensor) -> AbstractContextManager[Tensor]:
        """Surround an update; gives those rows of the batch that this process computes."""
        return nullcontext(rows)

    def mean(self, value: Tensor | float) -> float:
        """Return the mean of a number over the processes."""
        return float(value)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the whole batch."""
        loss.backward()

    def update(self, optimiser: torch.optim.Optimizer) -> None:
        """Move the weights."""
        optimiser.step()

    def after_step(self) -> None:
        """Note that an update was made."""

    def after_epoch(self) -> None:
        """Note that an epoch is over, its losses known, and the next one not begun."""

    def close(self) -> None:
        """Note that training is over, by an error or without; called last but for ``cost``."""

    def cost(self) -> dict[str, Any]:
        """Return those fields of :class:`History` that tell what the run has cost."""
        return {}
