"""Mining on the CPU: one pass over the scores of an anchor, and only what is active goes on.

This module is imported on first use: numba takes a moment to load, and its first compilation a
little longer. Later runs find the compiled code in numba's cache. NaN is not looked for (the
caller makes NaN what it touches); it only must not lead outside an array.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from vlalign_lib.engine._numba import compiled

# A maximum can then be taken in several lanes; infinities stay legal.
FLAGS = {"nnan", "nsz"}
FEW = 128  # levels that are compared with all scores rather than searched


def mine(scores: Tensor, slopes: Tensor, rule: Any, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Return the hinges of the anchors in ``rows``; add the slopes to ``slopes``, zeros so far."""
    hinge = np.zeros(len(scores))
    active, triplets = np.zeros((2, len(scores)), dtype=np.int64)
    order, start, end = (part.numpy() for part in rule.groups)
    KERNELS[rule.mining](
        scores.numpy(),
        scores.new_tensor(rule.margin).numpy()[()],
        order,
        start[rows],
        end[rows],
        order if rule.picks is None else rule.picks[rows].numpy(),
        rows.start if rule.within else -len(order),
        hinge,
        active,
        triplets,
        slopes.numpy(),
    )
    counts = torch.from_numpy(active), torch.from_numpy(triplets)
    return torch.from_numpy(hinge).to(scores.dtype), *counts


def add_products(
    slopes: Tensor, weights: Tensor, u: Tensor, v: Tensor, du: Tensor, dv: Tensor
) -> None:
    """Add weights · slopes · v to ``du`` (b, k) and its transpose's product with u to ``dv``.

    For slopes (b, B) that are nearly all zero.
    """
    _add_products(*(each.numpy() for each in (slopes, weights, u, v, du, dv)))


@numba.njit(fastmath=FLAGS)
def _others(row, order, start, end, own, members, rest):
    """List the positives of an anchor; copy its scores with −∞ for all that are no negatives."""
    rest[:] = row
    count = 0
    for place in range(start, end):
        member = order[place]
        rest[member] = -np.inf
        if member != own:
            members[count] = member
            count += 1
    return count


@numba.njit(fastmath=FLAGS)
def _place(values, wanted):
    for place in range(len(values)):
        if values[place] == wanted:
            return place
    return 0


@functools.partial(compiled, fastmath=FLAGS)
def _hardest(scores, margin, order, start, end, picks, own, hinge, active, triplets, slopes):
    """The least similar positive against the most similar negative."""
    n = scores.shape[1]
    members = np.empty(n, np.int64)
    rest = np.empty(n, scores.dtype)
    for i in range(len(scores)):
        row = scores[i]
        count = _others(row, order, start[i], end[i], own + i, members, rest)
        if count == 0 or end[i] - start[i] == n:
            continue
        largest = rest[0]
        for value in rest:
            largest = max(largest, value)
        positive = members[0]
        for member in members[1:count]:
            if row[member] < row[positive]:
                positive = member
        triplets[i] = 1
        gap = (largest + margin) - row[positive]
        if gap > 0:
            hinge[i] = gap
            active[i] = 1
            slopes[i, _place(rest, largest)] += 1
            slopes[i, positive] -= 1


@numba.njit(fastmath=FLAGS)
def _count_above(values, levels, found):
    """Count for each value how many of the ascending ``levels`` are greater."""
    found[:] = 0
    if len(levels) <= FEW:  # comparing with all of them in several lanes beats searching
        for level in levels:
            for j in range(len(values)):
                found[j] += np.int32(level > values[j])
        return
    for j in range(len(values)):
        low = 0
        size = len(levels)
        while size > 1:
            half = size >> 1
            if levels[low + half - 1] <= values[j]:
                low += half
            size -= half
        found[j] = len(levels) - low - np.int32(levels[low] <= values[j])


@functools.partial(compiled, fastmath=FLAGS)
def _all(scores, margin, order, start, end, picks, own, hinge, active, triplets, slopes):
    """Each positive against each negative: with s(n) + m > s(p) a triplet is active."""
    n = scores.shape[1]
    members = np.empty(n, np.int64)
    rest = np.empty(n, scores.dtype)
    found = np.empty(n, np.int32)
    tally = np.empty(n + 1, np.int64)
    for i in range(len(scores)):
        row = scores[i]
        count = _others(row, order, start[i], end[i], own + i, members, rest)
        if count == 0 or end[i] - start[i] == n:
            continue
        triplets[i] = count * (n - (end[i] - start[i]))
        levels = -row[members[:count]]
        rising = np.argsort(levels)
        for j in range(n):
            rest[j] = -(rest[j] + margin)
        _count_above(rest, levels[rising], found)  # turned round: positives below the negative
        tally[: count + 1] = 0
        total = 0.0
        for j in range(n):
            if found[j] > 0:
                tally[found[j]] += 1
                slopes[i, j] = found[j]
                total -= found[j] * np.float64(rest[j])
        beating = 0  # negatives that beat the positive, the most similar positive first
        for k in range(count):
            beating += tally[count - k]
            active[i] += beating
            total += beating * np.float64(levels[rising[k]])
            slopes[i, members[rising[k]]] = -beating
        hinge[i] = total


@functools.partial(compiled, fastmath=FLAGS)
def _semi_hard(scores, margin, order, start, end, picks, own, hinge, active, triplets, slopes):
    """Each positive against the largest negative below it, or the smallest of all."""
    n = scores.shape[1]
    members = np.empty(n, np.int64)
    rest = np.empty(n, scores.dtype)
    found = np.empty(n, np.int32)
    chosen = np.empty(n + 1, np.int64)
    best = np.empty(n + 1, scores.dtype)
    for i in range(len(scores)):
        row = scores[i]
        count = _others(row, order, start[i], end[i], own + i, members, rest)
        if count == 0 or end[i] - start[i] == n:
            continue
        triplets[i] = count
        levels = row[members[:count]]
        rising = np.argsort(levels)
        _count_above(rest, levels[rising], found)
        # best[f]: the largest negative with exactly f positives above it
        best[1 : count + 1] = -np.inf
        best[0] = np.inf
        for j in range(n):
            if rest[j] > best[found[j]]:
                best[found[j]] = rest[j]
                chosen[found[j]] = j
        easiest = -1
        for k in range(count):
            f = count - k
            if k > 0 and best[f + 1] >= best[f]:
                best[f] = best[f + 1]
                chosen[f] = chosen[f + 1]
            against = chosen[f]
            if best[f] == -np.inf:
                if easiest < 0:
                    easiest = _easiest(rest)
                against = easiest
            positive = members[rising[k]]
            gap = (row[against] + margin) - row[positive]
            if gap > 0:
                hinge[i] += gap
                active[i] += 1
                slopes[i, against] += 1
                slopes[i, positive] -= 1


@numba.njit(fastmath=FLAGS)
def _easiest(rest):
    lowest = np.inf
    easiest = 0
    for j in range(len(rest)):
        if -np.inf < rest[j] < lowest:
            lowest = rest[j]
            easiest = j
    return easiest


@functools.partial(compiled, fastmath=FLAGS)
def _random(scores, margin, order, start, end, picks, own, hinge, active, triplets, slopes):
    """Each positive against the one negative that was drawn for the anchor."""
    n = scores.shape[1]
    for i in range(len(scores)):
        row = scores[i]
        if end[i] - start[i] == n:
            continue
        raised = row[picks[i]] + margin
        for place in range(start[i], end[i]):
            positive = order[place]
            if positive == own + i:
                continue
            triplets[i] += 1
            gap = raised - row[positive]
            if gap > 0:
                hinge[i] += gap
                active[i] += 1
                slopes[i, picks[i]] += 1
                slopes[i, positive] -= 1


KERNELS = {"hardest": _hardest, "semi-hard": _semi_hard, "random": _random, "all": _all}


@functools.partial(compiled, fastmath=FLAGS)
def _add_products(slopes, weights, u, v, du, dv):
    for i in range(len(slopes)):
        row = slopes[i]
        for j in range(len(row)):
            if row[j] != 0:
                weight = row[j] * weights[i]
                for k in range(u.shape[1]):
                    du[i, k] += weight * v[j, k]
                for k in range(u.shape[1]):
                    dv[j, k] += weight * u[i, k]
