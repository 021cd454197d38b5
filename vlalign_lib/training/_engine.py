"""One update of the weights, and one look at held-out items."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vlalign_lib.training._data import Columns, count, rows_of
from vlalign_lib.training._errors import diverged, memory_advice
from vlalign_lib.training._precision import mixed_precision
from vlalign_lib.training.context import FitContext
from vlalign_lib.training.distributed import (
    World,
    average_gradients,
    copy_from_first,
    mean_over_processes,
)

LossFn = Callable[..., Tensor]
"""``loss_fn(model, *batch)`` returns a scalar; ``model.training`` is false in validation."""

ScheduleFn = Callable[[int, int], float]
"""``schedule(step, total)`` returns the share of the learning rate for the next update."""


@dataclass
class Engine:
    """A model, its loss and its optimiser, on one device and in one world."""

    model: nn.Module
    loss_fn: LossFn
    with_context: bool
    weights: list[nn.Parameter]
    optimiser: torch.optim.Optimizer
    schedule: ScheduleFn
    total: int
    max_grad_norm: float | None
    narrow: torch.dtype | None
    device: torch.device
    world: World

    def __post_init__(self) -> None:
        for group in self.optimiser.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.narrow == torch.float16)
        self._buffers = [b for b in self.model.buffers() if b.is_floating_point()]

    @property
    def rate(self) -> float:
        """The learning rate of the latest update."""
        return float(self.optimiser.param_groups[0]["lr"])

    def update(self, columns: Columns, rows: Tensor, context: FitContext) -> float:
        """Move the weights once, and return the loss before, a mean over all processes."""
        factor = float(self.schedule(context.step - 1, self.total))
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
        with memory_advice("a step", len(rows), self._narrower()):
            batch = rows_of(columns, self.world.share(rows), self.device)
            with mixed_precision(self.model, self.narrow):
                loss = self._loss(batch, context)
            if not loss.requires_grad:
                raise ValueError(
                    "loss_fn: the loss does not depend on the model's weights; compute it from "
                    "model(…), without detach() or no_grad()"
                )
            value = mean_over_processes(loss)
            if not math.isfinite(value):
                raise diverged("loss", value, context.step, context.epoch, self.rate)
            self.optimiser.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            average_gradients(self.weights)
            copy_from_first(self._buffers)
            self._clip(context)
            self.scaler.step(self.optimiser)
            self.scaler.update()
        return value

    def evaluate(self, columns: Columns, batch_size: int, context: FitContext) -> float:
        """Return the mean loss over held-out items, batch by batch in their own order."""
        n = count(columns)
        summed = 0.0
        # Neither a narrow type nor more processes would help: it is in float32, all on each.
        with torch.no_grad(), apart(self.world), memory_advice("validation", min(n, batch_size)):
            for start in range(0, n, batch_size):
                rows = slice(start, min(start + batch_size, n))
                loss = self._loss(rows_of(columns, rows, self.device), context)
                summed += float(loss) * (rows.stop - rows.start)
        return summed / n

    def _loss(self, batch: Columns, context: FitContext) -> Tensor:
        extra: dict[str, Any] = {"context": context} if self.with_context else {}
        loss: Any = self.loss_fn(self.model, *batch, **extra)
        if not isinstance(loss, Tensor) or loss.ndim != 0:
            what = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise ValueError(f"loss_fn: expected a scalar tensor, got {what}; take the mean")
        if not loss.is_floating_point():
            raise ValueError(f"loss_fn: expected a floating-point number, got {loss.dtype}")
        return loss

    def _narrower(self) -> list[str]:
        """Return what makes a training step smaller on each GPU, besides a smaller batch."""
        narrow = [] if self.narrow else ['precision="bf16"']
        return [*narrow, "spread the batch over more GPUs with torchrun"]

    def _clip(self, context: FitContext) -> None:
        if self.max_grad_norm is None:
            return
        self.scaler.unscale_(self.optimiser)
        norm = float(nn.utils.clip_grad_norm_(self.weights, self.max_grad_norm))
        # Where the loss is scaled, the scaler sees it too, leaves the step out and scales less.
        if not math.isfinite(norm) and not self.scaler.is_enabled():
            raise diverged("gradient's norm", norm, context.step, context.epoch, self.rate)


def apart(world: World) -> AbstractContextManager[None]:
    """Keep losses from gathering rows: in validation every process has all of them."""
    if world.size == 1:
        return nullcontext()
    from vlalign_lib._gather import alone

    return alone()
