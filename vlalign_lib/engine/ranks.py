"""Counting loops and closed forms for ties, compiled: ranks and average precisions on the CPU.

Each public function here is the fast form of one of ``vlalign_lib.metrics``, where the mathematics
is explained. Arrays on a device are declined, since the plain forms run there.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

from vlalign_lib.engine._numba import compiled

TABLE = 8  # entries of the lookup table for each distinct relevant score
NARROW = 16  # a block of ties is at most so many tolerances wide


def count_above(scores, targets, tolerance):
    """Count larger and tied scores in one pass over them."""
    if not isinstance(scores, np.ndarray):
        return NotImplemented
    greater, tied = np.empty((2, len(scores)), dtype=np.int64)
    _count_above(scores, targets, tolerance, greater, tied)
    if (greater < 0).any():
        raise ValueError("scores hold NaN or infinity")
    return greater, tied


def average_precisions(scores, starts, stops, tolerance, top_k, by_hits, harmonic):
    """Sort the relevant scores of every row in place, and count the others."""
    if not isinstance(scores, np.ndarray):
        return NotImplemented
    changes = np.flatnonzero(np.diff(starts) | np.diff(stops)) + 1
    for top, bottom in zip([0, *changes], [*changes, len(scores)], strict=True):
        scores[top:bottom, starts[top] : stops[top]].sort(axis=1)
    found = np.empty(len(scores))
    _average_precisions(scores, starts, stops, tolerance, top_k, by_hits, harmonic, found)
    return found


def tie_blocks(ascending, tolerance):
    """Gather relevant scores that tie, row by row."""
    rows, most = ascending.shape
    lower = np.full((rows, most + 1), np.inf, dtype=ascending.dtype)
    upper = np.full_like(lower, np.inf)
    sizes = np.zeros((rows, most), dtype=np.int64)
    _tie_blocks(ascending, np.isfinite(ascending).sum(axis=1), tolerance, lower, upper, sizes)
    return lower, upper, sizes


def expected_precisions(counts, sizes, top_k, by_hits, harmonic):
    """Return the expected average precision of every row of counts."""
    found = np.empty(len(counts))
    _expected_precisions(counts, sizes, top_k, by_hits, harmonic, found)
    return found


@compiled
def expected_cut(before, hits, tied, relevant, drawn, gain, harmonic):
    """Return the expected gain per hit where the list ends inside a tie."""
    return _cut(before, hits, tied, relevant, drawn, gain, harmonic)


@numba.njit
def _gain(before, hits, tied, relevant, drawn, harmonic):
    """Expected sum of the precisions at the hits among the first places of a tie."""
    if tied == 1:
        return relevant * (hits + 1.0) / (before + 1.0)
    slope = (relevant - 1.0) / (tied - 1.0)
    if drawn <= 16:  # the difference of the harmonic numbers would cancel
        total = 0.0
        for place in range(drawn):
            total += (hits + 1.0 + place * slope) / (before + 1.0 + place)
        return relevant * total / tied
    span = harmonic[before + drawn] - harmonic[before]
    return relevant * (slope * drawn + (hits + 1.0 - slope * (before + 1.0)) * span) / tied


@numba.njit
def _cut(before, hits, tied, relevant, drawn, gain, harmonic):
    """Expected gain per hit where the list ends inside a tie.

    The hypergeometric probabilities follow from the ratio of neighbours, outwards from the mode
    and then divided by their sum, so that nothing overflows.
    """
    others = tied - relevant
    lowest = max(0, drawn - others)
    highest = min(relevant, drawn)
    mode = min(max((drawn + 1) * (relevant + 1) // (tied + 2), lowest), highest)
    value = 0.0
    mass = 0.0
    for step in (1, -1):
        found = mode
        weight = 1.0
        while lowest <= found <= highest and weight > 1e-18 * mass:
            if step == 1 or found < mode:
                mass += weight
                if hits + found > 0:
                    inside = 0.0
                    if found > 0:
                        inside = _gain(before, hits, drawn, found, drawn, harmonic)
                    value += weight * (gain + inside) / (hits + found)
            if step == 1:
                weight *= (relevant - found) * (drawn - found)
                weight /= (found + 1.0) * (others - drawn + found + 1.0)
            else:
                weight *= found * (others - drawn + found)
                weight /= (relevant - found + 1.0) * (drawn - found + 1.0)
            found += step
    return value / mass


@numba.njit
def _expected_precision(before, tied, relevant, blocks, top_k, by_hits, harmonic):
    """Expected average precision of one ranking from its blocks of ties, best first.

    The orders inside different blocks are independent, so expected gains add; only the block that
    ``top_k`` cuts needs care, and only where the divisor is the random number of hits.
    """
    gain = 0.0
    hits = 0
    for block in range(blocks):
        if before[block] >= top_k:
            break
        drawn = min(tied[block], top_k - before[block])
        if by_hits and drawn < tied[block]:
            return _cut(before[block], hits, tied[block], relevant[block], drawn, gain, harmonic)
        gain += _gain(before[block], hits, tied[block], relevant[block], drawn, harmonic)
        hits += relevant[block]
    divisor = hits
    if not by_hits:
        total = 0
        for block in range(blocks):
            total += relevant[block]
        divisor = min(total, top_k)
    return gain / divisor if divisor > 0 else 0.0


@numba.njit
def _tie_blocks_of_row(ascending, tolerance, lower, upper, sizes):
    """Gather relevant scores that tie and return how many blocks they form."""
    infinity = ascending.dtype.type(np.inf)
    near = ascending.dtype.type(2) * tolerance
    wide = ascending.dtype.type(NARROW) * tolerance
    block = 0
    first = 0
    for i in range(1, ascending.size + 1):
        if (
            i < ascending.size
            and ascending[i] - ascending[i - 1] <= near
            and ascending[i] - ascending[first] <= wide
        ):
            continue
        start = ascending[first] - tolerance
        stop = np.nextafter(ascending[i - 1] + tolerance, infinity)
        if block > 0:
            start = max(start, upper[block - 1])
        if i < ascending.size:
            stop = min(stop, ascending[i])
        lower[block] = start
        upper[block] = stop
        sizes[block] = i - first
        block += 1
        first = i
    lower[block] = infinity
    upper[block] = infinity
    return block


@numba.njit
def _precision_of_counts(counts, sizes, blocks, top_k, by_hits, harmonic, before, tied, relevant):
    """Expected average precision from the counts of one row; the last three are room to work."""
    above = 0
    for i in range(blocks):
        block = blocks - 1 - i
        above += counts[2 * block + 2]
        before[i] = above
        tied[i] = counts[2 * block + 1]
        relevant[i] = sizes[block]
        above += tied[i]
    return _expected_precision(before, tied, relevant, blocks, top_k, by_hits, harmonic)


@compiled
def _average_precisions(scores, starts, stops, tolerance, top_k, by_hits, harmonic, out):
    """Write the expected average precision of every row of ``scores`` to ``out``.

    The relevant items of row i are the columns ``starts[i]`` to ``stops[i]``, sorted ascending;
    nothing else is sorted. Every score finds its place among them through a table over equal
    steps of the score, which leaves about one comparison each, and is counted there.
    """
    rows, columns = scores.shape
    number = scores.dtype.type
    most = 1
    for i in range(rows):
        most = max(most, stops[i] - starts[i])
    lower = np.empty(most + 1, scores.dtype)
    upper = np.empty(most + 1, scores.dtype)
    sizes = np.empty(most, np.int64)
    before = np.empty(most, np.int64)
    tied = np.empty(most, np.int64)
    relevant = np.empty(most, np.int64)
    counts = np.empty(2 * most + 1, np.int64)
    table = np.empty(TABLE * most + 2, np.int32)
    steps = np.empty(columns, np.int32)
    for i in range(rows):
        if stops[i] == starts[i]:
            out[i] = 0.0
            continue
        row = scores[i]
        blocks = _tie_blocks_of_row(row[starts[i] : stops[i]], tolerance[i], lower, upper, sizes)
        last = number(TABLE * blocks - 1)
        origin = lower[0]
        scale = number(TABLE * blocks / (np.float64(upper[blocks - 1]) - np.float64(origin)))
        if not np.isfinite(scale):  # one score, next to zero
            scale = number(0)
        for j in range(columns):
            steps[j] = np.int32(min(max((row[j] - origin) * scale, number(0)), last))
        # table[b]: blocks whose upper end lies in a step before b
        table[: TABLE * blocks + 1] = 0
        for block in range(blocks):
            end = np.uint32(min(max((upper[block] - origin) * scale, number(0)), last))
            table[end + np.uint32(1)] += 1
        running = 0
        for entry in range(TABLE * blocks + 1):
            running += table[entry]
            table[entry] = running
        counts[: 2 * blocks + 1] = 0
        for j in range(columns):
            step = np.uint32(steps[j])
            score = row[j]
            place = np.uint32(table[step])
            stop = np.uint32(table[step + np.uint32(1)])
            while stop - place > np.uint32(8):  # a crowded step: halve it
                middle = (place + stop) >> np.uint32(1)
                if upper[middle] <= score:
                    place = middle + np.uint32(1)
                else:
                    stop = middle
            while upper[place] <= score:
                place += np.uint32(1)
            counts[np.uint32(2) * place + np.uint32(score >= lower[place])] += 1
        out[i] = _precision_of_counts(
            counts, sizes, blocks, top_k, by_hits, harmonic, before, tied, relevant
        )


@compiled
def _count_above(scores, targets, tolerance, greater, tied):
    """Count in every row; one with NaN or infinity in it gets −1 for ``greater``."""
    rows, columns = scores.shape
    infinity = scores.dtype.type(np.inf)
    for i in range(rows):
        row = scores[i]
        high = row[targets[i]] + tolerance[i]
        low = row[targets[i]] - tolerance[i]
        above = 0
        reached = 0
        finite = 0
        for j in range(columns):
            above += row[j] > high
            reached += row[j] >= low
            finite += abs(row[j]) < infinity
        greater[i] = above if finite == columns else -1
        tied[i] = reached - above - 1


@compiled
def _tie_blocks(ascending, widths, tolerance, lower, upper, sizes):
    """Fill one row after the other; ``widths[i]`` scores of row i are true."""
    for i in range(len(widths)):
        _tie_blocks_of_row(ascending[i, : widths[i]], tolerance[i], lower[i], upper[i], sizes[i])


@compiled
def _expected_precisions(counts, sizes, top_k, by_hits, harmonic, out):
    """Write the expected average precision of every row of ``counts`` to ``out``."""
    rows, most = sizes.shape
    before = np.empty(most, np.int64)
    tied = np.empty(most, np.int64)
    relevant = np.empty(most, np.int64)
    for i in range(rows):
        blocks = (sizes[i] > 0).sum()
        out[i] = _precision_of_counts(
            counts[i], sizes[i], blocks, top_k, by_hits, harmonic, before, tied, relevant
        )
