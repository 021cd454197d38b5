"""What a loss may ask about the moment it is called in."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn


@dataclass(frozen=True)
class FitContext:
    """Where training stands; a loss that has a parameter named ``context`` is given one.

    Args:
        step: the update that this loss is for, counted from 1; in validation the last one made.
        epoch: the pass through the data, counted from 1.
        progress: share of all planned updates that were made before, in [0, 1]; for the strength
            of an adversary or the weight of a margin.
        training: false in validation.
        rng: a numpy generator, seeded, whose state is kept in checkpoints; draw from it (or from
            torch) and a continued run draws the same.

    Chapter:
        06, where an adversary grows stronger as training goes on.

    Example:
        >>> def loss(model, x, y, context):
        ...     return (1 - context.progress) * (model(x) - y).square().mean()
    """

    step: int
    epoch: int
    progress: float
    training: bool
    rng: np.random.Generator


def takes_context(loss_fn: Callable[..., Any]) -> bool:
    """Return whether a loss has a parameter named ``context``.

    Raises:
        ValueError: the loss is a module with a state of its own, which no checkpoint would hold.
    """
    if isinstance(loss_fn, nn.Module) and loss_fn.state_dict():
        raise ValueError(
            f"loss_fn: {type(loss_fn).__name__} has weights or running values of its own, which "
            "would neither be trained nor saved; make it a part of the model, "
            "model.extra = …, and call it as model.extra(…) in the loss"
        )
    try:
        return "context" in inspect.signature(loss_fn).parameters
    except (TypeError, ValueError):  # some built-in functions have no signature
        return False
