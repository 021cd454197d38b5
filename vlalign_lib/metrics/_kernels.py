"""The counting loops and the closed forms for ties, compiled by numba.

This module is imported on first use: numba takes a moment to load, and its first compilation a
little longer. Later runs find the compiled code in numba's cache.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

TABLE = 8  # entries of the lookup table for each distinct relevant score
NARROW = 16  # a block of ties is at most so many tolerances wide


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to keep compiled code in: compile in every process
        return numba.njit(nogil=True)(function)


@_compiled
def expected_gain(before, hits, tied, relevant, drawn, harmonic):
    r"""Return the expected sum of the precisions at the hits among the first places of a tie.

    Above a block of ``tied`` items in random order, ``relevant`` of them relevant, rank
    ``before`` others with ``hits`` hits; the first ``drawn`` places of the block are looked at.
    Place p of the block holds a relevant item with probability r/m, and then each place before
    it does with probability :math:`\beta = (r-1)/(m-1)`. With b items and h hits before,

    .. math::

        \sum_{p=1}^{P} \frac{r}{m}\,\frac{h + 1 + (p-1)\beta}{b + p}
        = \frac{r}{m}\Bigl(\beta P + \bigl(h + 1 - \beta(b+1)\bigr)(H_{b+P} - H_b)\Bigr).
    """
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


@_compiled
def expected_cut(before, hits, tied, relevant, drawn, gain, harmonic):
    r"""Return the expected gain per hit where the list ends inside a tie.

    The number j of hits among the ``drawn`` first places of the block is hypergeometric. Given
    j, these places are a block of their own with j relevant items, so that, with
    :math:`G_j` from ``expected_gain``, the expectation is

    .. math::

        \sum_j \frac{\binom{r}{j}\binom{m-r}{P-j}}{\binom{m}{P}}\,\frac{g + G_j}{h + j},

    a list without a hit counting 0. The probabilities follow from the ratio of neighbours,
    outwards from the mode and then divided by their sum, so that nothing overflows.
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
                        inside = expected_gain(before, hits, drawn, found, drawn, harmonic)
                    value += weight * (gain + inside) / (hits + found)
            if step == 1:
                weight *= (relevant - found) * (drawn - found)
                weight /= (found + 1.0) * (others - drawn + found + 1.0)
            else:
                weight *= found * (others - drawn + found)
                weight /= (relevant - found + 1.0) * (drawn - found + 1.0)
            found += step
    return value / mass


@_compiled
def expected_average_precision(before, tied, relevant, blocks, top_k, by_hits, harmonic):
    """Return the expected average precision of one ranking from its blocks of ties.

    The first ``blocks`` entries of the arrays describe, from the best score down, every block
    that holds a relevant item: how many items rank above it, how many it has, how many of those
    are relevant. A relevant item that ties with nobody is a block of one. The orders inside
    different blocks are independent, so expected gains add; only the block that ``top_k`` cuts
    needs care, and only where the divisor is the random number of hits.
    """
    gain = 0.0
    hits = 0
    for block in range(blocks):
        if before[block] >= top_k:
            break
        drawn = min(tied[block], top_k - before[block])
        if by_hits and drawn < tied[block]:
            return expected_cut(
                before[block], hits, tied[block], relevant[block], drawn, gain, harmonic
            )
        gain += expected_gain(before[block], hits, tied[block], relevant[block], drawn, harmonic)
        hits += relevant[block]
    divisor = hits
    if not by_hits:
        total = 0
        for block in range(blocks):
            total += relevant[block]
        divisor = min(total, top_k)
    return gain / divisor if divisor > 0 else 0.0


@_compiled
def tie_blocks(ascending, tolerance, lower, upper, sizes):
    """Gather relevant scores that tie and return how many blocks they form.

    Scores nearer than twice the tolerance share a block, as long as it stays narrow: a long
    chain of distinct scores is no tie. Block g claims every score s with
    ``lower[g] <= s < upper[g]``; the claims ascend and do not overlap, and one entry of infinity
    ends them. ``sizes[g]`` counts the relevant items.
    """
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


@_compiled
def block_average_precision(
    counts, sizes, blocks, top_k, by_hits, harmonic, before, tied, relevant
):
    """Return the expected average precision from the counts of one row.

    ``counts[2g + 1]`` items fell into block g and ``counts[2g]`` between it and the block below.
    ``before``, ``tied`` and ``relevant`` are room to work in.
    """
    above = 0
    for i in range(blocks):
        block = blocks - 1 - i
        above += counts[2 * block + 2]
        before[i] = above
        tied[i] = counts[2 * block + 1]
        relevant[i] = sizes[block]
        above += tied[i]
    return expected_average_precision(before, tied, relevant, blocks, top_k, by_hits, harmonic)


@_compiled
def average_precisions(scores, starts, stops, tolerance, top_k, by_hits, harmonic, out):
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
        blocks = tie_blocks(row[starts[i] : stops[i]], tolerance[i], lower, upper, sizes)
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
        out[i] = block_average_precision(
            counts, sizes, blocks, top_k, by_hits, harmonic, before, tied, relevant
        )


@_compiled
def count_above(scores, targets, tolerance, greater, tied):
    """Count, in every row, the scores above the target's and the others that tie with it.

    A row with NaN or infinity in it gets −1 for ``greater``.
    """
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


@_compiled
def tie_blocks_of_rows(ascending, widths, tolerance, lower, upper, sizes, blocks):
    """Fill one row of ``tie_blocks`` after the other; ``widths[i]`` scores of row i are true."""
    for i in range(len(widths)):
        blocks[i] = tie_blocks(
            ascending[i, : widths[i]], tolerance[i], lower[i], upper[i], sizes[i]
        )


@_compiled
def average_precisions_of_counts(counts, sizes, blocks, top_k, by_hits, harmonic, out):
    """Write the expected average precision of every row of ``counts`` to ``out``."""
    rows, most = sizes.shape
    before = np.empty(most, np.int64)
    tied = np.empty(most, np.int64)
    relevant = np.empty(most, np.int64)
    for i in range(rows):
        out[i] = block_average_precision(
            counts[i], sizes[i], blocks[i], top_k, by_hits, harmonic, before, tied, relevant
        )
