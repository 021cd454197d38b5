"""From the shared space onto the page: two directions that both views share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def flatten(points: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, str]]:
    """Return ``points`` in two dimensions, and what the axes are.

    Two dimensions stay as they are; more are turned onto the two directions of greatest
    variance, each with the sign that makes its largest weight positive.
    """
    if points.shape[1] == 2:
        return points, ("dimension 1", "dimension 2")
    flat, shares = principal(points)
    names = [f"direction {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares)]
    return flat, (names[0], names[1])


def principal(points: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ``points`` along their two principal directions, and the shares of the variance."""
    centred = points - points.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    directions = directions[:2]
    signs = np.sign(directions[np.arange(2), np.abs(directions).argmax(axis=1)])
    total = float((singular**2).sum())
    shares = singular[:2] ** 2 / total if total > 0 else np.zeros(2)
    return centred @ (directions * signs[:, None]).T, shares
