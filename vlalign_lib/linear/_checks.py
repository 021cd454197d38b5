"""Checks of parameters, with errors that say what is allowed."""

from __future__ import annotations

import sys
from typing import TypeGuard

import numpy as np


def is_whole(value: object) -> TypeGuard[int]:
    """Tell whether a parameter is a whole number (True and False are not)."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_real(value: object) -> TypeGuard[float]:
    """Tell whether a parameter is a finite real number (True and False are not)."""
    if is_whole(value):
        return abs(value) <= sys.float_info.max
    return isinstance(value, float | np.floating) and bool(np.isfinite(value))


def check_components(asked: object) -> None:
    """Raise unless ``asked`` is None or a whole number of at least one."""
    if asked is not None and not (is_whole(asked) and asked >= 1):
        raise ValueError(
            f"n_components: expected a whole number of at least 1, or None for as many as the "
            f"data have, got {asked!r}"
        )


def check_reg(reg: object) -> float:
    """Return ``reg`` as a number of at least zero."""
    if is_real(reg) and reg >= 0:
        return float(reg)
    raise ValueError(
        f"reg: expected a number of at least 0, got {reg!r}; it is relative to the data's own "
        "scale, so 1e-4 to 1 is the range to search"
    )


def as_generator(random_state: object) -> np.random.Generator:
    """Return the generator that ``random_state`` stands for."""
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None or (is_whole(random_state) and random_state >= 0):
        return np.random.default_rng(random_state)
    raise ValueError(
        "random_state: expected None, a whole number of at least 0 or a numpy Generator, got "
        f"{random_state!r}"
    )
