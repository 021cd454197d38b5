"""Names beside marks, moved apart so that none hides another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def spread(wanted: Sequence[float], gap: float) -> NDArray[np.float64]:
    """Return places at least ``gap`` apart, in the order of ``wanted`` and as near as can be.

    Neighbours that are too near are pooled and stand evenly around the mean of their places:
    least squares under an order, by pooling adjacent violators.
    """
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    blocks: list[list[float]] = []  # of what the places are without the steps between them
    for value in np.asarray(wanted, dtype=np.float64)[order] - steps:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    places = np.empty(len(wanted))
    places[order] = np.concatenate([np.full(len(b), np.mean(b)) for b in blocks]) + steps
    return places
