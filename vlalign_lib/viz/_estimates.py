"""Means with their intervals, however they come."""

from __future__ import annotations

from typing import Any

import numpy as np


def triple(value: Any, name: str) -> tuple[float, float | None, float | None]:
    """Return (mean, low, high) of a triple, an ``Estimate`` or an ``Interval``.

    Where an end is None or not finite, both are None.

    Raises:
        ValueError: neither of these, a mean that is not finite, or an interval that does not
            hold it.
    """
    if hasattr(value, "low") and hasattr(value, "high"):
        mean = value.estimate if hasattr(value, "estimate") else value.mean
        parts = (mean, value.low, value.high)
    else:
        parts = tuple(value) if np.iterable(value) and not isinstance(value, str) else ()
    if len(parts) != 3 or parts[0] is None or not np.isfinite(parts[0]):
        raise ValueError(f"{name}: expected (mean, low, high) or an Estimate, got {value!r}")
    mean = float(parts[0])
    if any(end is None or not np.isfinite(end) for end in parts[1:]):
        return mean, None, None
    low, high = float(parts[1]), float(parts[2])
    slack = 1e-9 * max(1.0, abs(mean))
    if not low - slack <= mean <= high + slack:
        raise ValueError(f"{name}: the interval {low}–{high} does not hold {mean}")
    return mean, low, high
