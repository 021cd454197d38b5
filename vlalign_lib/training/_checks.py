"""Checks of plain settings."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Raise a ValueError unless ``value`` is a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def is_real(value: Any) -> bool:
    """Tell whether ``value`` is a finite number, of Python or of numpy."""
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return real and bool(np.isfinite(value))
