"""Names beside marks, placed so that none hides another; the same on every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# where a label may stand, as shares of half its size: right first, then left, above, below, …
_SIDES = np.array(
    [
        *[(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)],
        *[(0.5, 1), (-0.5, 1), (0.5, -1), (-0.5, -1), (1, 0.5), (1, -0.5), (-1, 0.5), (-1, -0.5)],
    ]
)
# how far from its mark, in heights of a label
_GAPS = np.array([0.25, 0.8, 1.5, 2.3, 3.2, 4.2, 5.3, 6.5, 8.0, 10.0])
_NEAR = 0.4  # a label farther than this wants a leader
_PASSES = 12


def place_labels(marks: Array, radius: float, sizes: Array, bounds: Array, lines: Array) -> Array:
    """Return the middle of each label (n, 2), in the unit of ``marks``.

    Every label has the same candidates around its mark, from near to far. In turn each takes the
    cheapest beside the others, again and again until none moves; of five orders of turns the
    one that costs least in the end is kept. To leave the bounds costs most, then to cover a
    label or a mark, then a leader that crosses something, then to cover a line, then distance.

    Args:
        marks: (n, 2) middles of the marks.
        radius: half the side of the square that a mark takes.
        sizes: (n, 2) width and height of each label.
        bounds: (4,) left, bottom, right, top of what the labels should not leave.
        lines: (m, 4) segments (x0, y0, x1, y1) better not covered: whiskers, say.
    """
    n = len(marks)
    unit = float(sizes[:, 1].max())
    squares = np.hstack([marks - radius, marks + radius])
    gaps = np.repeat(_GAPS, len(_SIDES))
    sides = np.tile(_SIDES, (len(_GAPS), 1))
    likes = np.tile(0.03 * np.arange(len(_SIDES)), len(_GAPS))
    middles, boxes, leaders, alone = [], [], [], []
    for i in range(n):
        middle = marks[i] + sides * (sizes[i] / 2 + radius + gaps[:, None] * unit)
        box = np.hstack([middle - sizes[i] / 2, middle + sizes[i] / 2])
        leader = leaders_of(np.broadcast_to(marks[i], middle.shape), box, marks, radius, unit)
        apart = (np.abs(marks - marks[i]) > radius).any(axis=1)  # a leader can keep clear of these
        out = np.maximum(0, np.hstack([bounds[:2] - box[:, :2], box[:, 2:] - bounds[2:]])).sum(1)
        cost = 10000 * (out > 1e-9) + out / unit + gaps + 0.2 * gaps**2 + likes
        cost += _covered(box, squares, unit)
        cost += 15 * (_inside(leader, squares[apart]) > 0).sum(1)
        cost += (leader[:, :2] != leader[:, 2:]).any(axis=1)
        cost += 3 * _inside(lines, box).sum(0) / unit
        middles.append(middle)
        boxes.append(box)
        leaders.append(leader)
        alone.append(cost)

    def costs(i: int, chosen: dict[int, int]) -> Array:
        """What each candidate of label ``i`` costs beside the labels chosen so far."""
        placed = [(j, chosen[j]) for j in chosen if j != i]
        box = np.array([boxes[j][c] for j, c in placed]).reshape(-1, 4)
        leader = np.array([leaders[j][c] for j, c in placed]).reshape(-1, 4)
        crossed = (_inside(leaders[i], box) > 0).sum(1) + (_inside(leader, boxes[i]) > 0).sum(0)
        cost: Array = _covered(boxes[i], box, unit) + 25 * crossed
        return alone[i] + cost + 20 * _cross(leaders[i], leader).sum(1)

    def settled(order: list[int]) -> tuple[float, dict[int, int]]:
        """Choose in this order, then again until nothing moves; what it costs, and the choice."""
        chosen: dict[int, int] = {}
        for _ in range(_PASSES):
            before = dict(chosen)
            for i in order:
                chosen[i] = int(costs(i, chosen).argmin())
            if chosen == before:
                break
        return sum(float(costs(i, chosen)[chosen[i]]) for i in order), chosen

    distance = (np.abs(marks[:, None] - marks[None]) / (sizes.mean(0) + radius)).max(axis=2)
    orders = [
        np.argsort(key, kind="stable").tolist()
        for key in (-(distance < 2).sum(1), marks[:, 0], -marks[:, 0], marks[:, 1], -marks[:, 1])
    ]
    _, chosen = min(map(settled, orders), key=lambda found: found[0])
    return np.array([middles[i][chosen[i]] for i in range(n)])


def leaders_of(own: Array, boxes: Array, marks: Array, radius: float, unit: float) -> Array:
    """Return a segment (n, 4) from its own mark to the nearest point of each label's box.

    Where a label stands next to its mark, and no other of the ``marks`` is about as near to it,
    the segment is a point: it needs no leader.
    """
    low, high = boxes[:, :2], boxes[:, 2:]
    ends = np.clip(own, low, high)
    gap = np.abs(ends - own).max(axis=1) - radius
    apart = (np.abs(marks - own[:, None]) > radius).any(axis=2)  # (n, marks)
    away = np.linalg.norm(np.clip(marks, low[:, None], high[:, None]) - marks, axis=2)
    rival = np.where(apart, away, np.inf).min(axis=1) < 1.3 * np.linalg.norm(ends - own, axis=1)
    ends = np.where((rival | (gap > _NEAR * unit))[:, None], ends, own)
    return np.hstack([own, ends])


def _covered(boxes: Array, others: Array, unit: float) -> Array:
    """Return what it costs each box to cover others: a lot for each, and more the more of it."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(0, high - low).prod(axis=2)
    cost: Array = 1000.0 * (shared > 0).sum(1) + 100 * shared.sum(1) / unit**2
    return cost


def _inside(segments: Array, boxes: Array) -> Array:
    """Return how much of each segment lies inside each box, (segments, boxes)."""
    start, step = segments[:, None, :2], (segments[:, 2:] - segments[:, :2])[:, None]
    flat = step == 0
    safe = np.where(flat, 1.0, step)
    one, two = (boxes[None, :, :2] - start) / safe, (boxes[None, :, 2:] - start) / safe
    within = (boxes[None, :, :2] <= start) & (start <= boxes[None, :, 2:])
    enter = np.where(flat, np.where(within, 0.0, 2.0), np.minimum(one, two)).max(axis=2)
    leave = np.where(flat, 1.0, np.maximum(one, two)).min(axis=2)
    share = np.clip(np.minimum(leave, 1) - np.maximum(enter, 0), 0, 1)
    length: Array = share * np.linalg.norm(step, axis=2)
    return length


def _cross(some: Array, others: Array) -> NDArray[np.bool_]:
    """Tell which segments cross, (some, others)."""

    def side(a: Array, b: Array) -> Array:
        """On which side of segment ``a`` the two ends of segment ``b`` lie."""
        along = (a[:, 2:] - a[:, :2])[:, None, None]
        there = b.reshape(1, -1, 2, 2) - a[:, None, None, :2]
        cross: Array = along[..., 0] * there[..., 1] - along[..., 1] * there[..., 0]
        return cross

    first = side(some, others).prod(axis=2) < 0
    second = side(others, some).prod(axis=2).T < 0
    found: NDArray[np.bool_] = first & second
    return found
