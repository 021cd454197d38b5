"""The recursions with a pair in every lane, all at the same cell of another matrix.

The lanes of a batch that does not fill them repeat its last pair. Pairs of different lengths walk
as far as the longest of their block; a pair's value is read, and its probability let in, where
its own matrix ends.
"""

# mypy: ignore-errors

from __future__ import annotations

import numpy as np

from vlalign_lib.engine.soft_dtw.cell import (
    cell,
    is_reached,
    plus,
    rates,
    shares,
    split,
    split_move,
    unreachable,
    value_of,
)
from vlalign_lib.engine.soft_dtw.lanes import (
    bits,
    compiled,
    gather_tile,
    load,
    part,
    scatter_tile,
    store,
    tile,
    width,
    zeros,
)

CHUNK = 256  # cells that are transposed at a time, at least


@part
def gather(source, bases, at, count, cells):
    """Copy ``count`` cells from ``bases[lane] + at`` on, of every lane, to ``cells``."""
    w = width(source)
    side = tile(source)
    if count < side:
        for lane in range(w):
            for k in range(count):
                cells[k * w + lane] = source[bases[lane] + at + k]
        return
    for k in range(0, count, side):
        start = min(k, count - side)
        for lane in range(0, w, side):
            gather_tile(source, bases, lane, at + start, cells, start * w)


@part
def scatter(cells, count, target, bases, at):
    """Copy ``count`` cells of every lane to ``bases[lane] + at`` on."""
    w = width(target)
    side = tile(target)
    if count < side:
        for lane in range(w):
            for k in range(count):
                target[bases[lane] + at + k] = cells[k * w + lane]
        return
    for k in range(0, count, side):
        start = min(k, count - side)
        for lane in range(0, w, side):
            scatter_tile(cells, start * w, target, bases, lane, at + start)


@part
def choose(block, lengths, size, w, bases, ends):
    """Set where the matrices of a block begin and where they end; return the largest ends."""
    rows = columns = 0
    for lane in range(w):
        pair = min(block * w + lane, len(lengths) - 1)
        bases[lane] = pair * size
        ends[lane] = lengths[pair, 0]
        ends[w + lane] = lengths[pair, 1]
        rows = max(rows, lengths[pair, 0])
        columns = max(columns, lengths[pair, 1])
    return rows, columns


@part
def blank(cells, ends, w, start, rows, m):
    """Zero the cells beyond the ends, where a direction may hold anything."""
    for lane in range(w):
        for i in range(rows):
            first = ends[w + lane] if start + i < ends[lane] else 0
            for j in range(first, m):
                cells[(i * m + j) * w + lane] = 0.0


@part
def open_border(row, directions):
    """Set what lies above the first row of a block: nothing, but for the start of the path."""
    w = width(row)
    one, floor = unreachable(zeros(row))
    pitch = 2 * w if directions is None else 3 * w
    row[:] = 0.0
    for at in range(0, len(row), pitch):
        store(row, at, one)
        if at > 0:
            store(row, at + w, floor)


@part
def sweep(
    costs,
    bases,
    ends,
    start,
    stop,
    columns,
    m,
    scale,
    row,
    cells,
    final,
    weights,
    directions,
    turned,
):
    """Run the recursion over some rows of a block of pairs.

    ``row`` holds the row before: mantissas, exponents and, in the given directions, rates. It
    receives the last row. ``final`` receives mantissas and exponents where the pairs end, and
    oddness. Unless it is None, ``weights`` receives the probabilities of all cells and their
    rates.
    """
    w = width(costs)
    high, low, limit, sharpness = scale
    group = max(1, CHUNK // m)
    pitch, depth = (2 * w, 2 * w) if directions is None else (3 * w, 4 * w)
    none, odd = zeros(costs), load(final, 2 * w)
    one, floor = unreachable(none)
    to = 0
    for i in range(start, stop):
        at_cell = (i - start) % group * m * w
        if at_cell == 0:
            count = min(group, stop - i)
            gather(costs, bases, i * m, count * m, cells)
            if directions is not None:
                gather(directions, bases, i * m, count * m, turned)
                blank(turned, ends, w, i, count, m)
        md, ed, rd = load(row, 0), load(row, w), none
        store(row, w, floor)  # only the first path starts beside the matrix
        ml, el, rl = one, floor, none
        for at in range(pitch, (columns + 1) * pitch, pitch):
            mu, eu = load(row, at), load(row, at + w)
            ml, el, diagonal, above, left, total, odd = cell(
                md, ed, mu, eu, ml, el, load(cells, at_cell), odd, high, low, limit
            )
            store(row, at, ml)
            store(row, at + w, el)
            md, ed = mu, eu
            if weights is not None:
                up, marked = shares(diagonal, above, left, total)
                store(weights, to, up)
                store(weights, to + w, marked)
                if directions is not None:
                    ru, direction = load(row, at + 2 * w), load(turned, at_cell)
                    rl, up_rate, diagonal_rate = rates(up, marked, rd, ru, rl, direction, sharpness)
                    store(weights, to + 2 * w, up_rate)
                    store(weights, to + 3 * w, diagonal_rate)
                    store(row, at + 2 * w, rl)
                    rd = ru
                to += depth
            at_cell += w
        for lane in range(w):
            if ends[lane] == i + 1:
                at = ends[w + lane] * pitch + lane
                final[lane] = row[at]
                final[w + lane] = row[at + w]
    store(final, 2 * w, odd)


@part
def unwind(weights, bases, ends, start, stop, columns, m, final, flows, cells, answer, directions):
    """Send probability back through some rows of a block of pairs, and write E.

    ``flows`` holds what reaches the last of the rows from below, and receives what reaches the
    row above the first. Where there are directions, the derivative of E is written.
    """
    w = width(weights)
    group = max(1, CHUNK // m)
    none = zeros(weights)
    pitch, depth = (w, 2 * w) if directions is None else (2 * w, 4 * w)
    cells[:] = 0.0  # where the columns of the block are fewer than those of the array
    at = (stop - start) * columns * depth
    for head in range(start + (stop - start - 1) // group * group, start - 1, -group):
        count = min(group, stop - head)
        for i in range(head + count - 1, head - 1, -1):
            for lane in range(w):
                if ends[lane] == i + 1 and is_reached(final[w + lane]):
                    flows[(ends[w + lane] - 1) * pitch + lane] = 1.0
            left = diagonal = left_move = diagonal_move = none
            to = ((i - head) * m + columns) * w
            for here in range((columns - 1) * pitch, -1, -pitch):
                at -= depth
                to -= w
                up, marked = load(weights, at), load(weights, at + w)
                flow = plus(load(flows, here), left)
                above, beside, left = split(up, marked, flow)
                store(flows, here, plus(above, diagonal))
                diagonal = beside
                if directions is None:
                    store(cells, to, flow)
                else:
                    move = plus(load(flows, here + w), left_move)
                    store(cells, to, move)
                    above, beside, left_move = split_move(
                        up, marked, load(weights, at + 2 * w), load(weights, at + 3 * w), flow, move
                    )
                    store(flows, here + w, plus(above, diagonal_move))
                    diagonal_move = beside
        scatter(cells, count * m, answer, bases, head * m)


@compiled
def values(costs, lengths, n, m, gamma, scale, first, last, answer, odd):
    """Write the values of the pairs of some blocks, and which of them have odd costs."""
    w = width(costs)
    bases, ends = np.empty(w, np.int64), np.empty(2 * w, np.int64)
    row = np.empty((m + 1) * 2 * w, costs.dtype)
    cells = np.empty((CHUNK + m) * w, costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    for block in range(first, last):
        rows, columns = choose(block, lengths, n * m, w, bases, ends)
        open_border(row, None)
        final[:] = 0.0
        sweep(costs, bases, ends, 0, rows, columns, m, scale, row, cells, final, None, None, None)
        for lane in range(min(w, len(lengths) - block * w)):
            pair = block * w + lane
            single = ends[lane] == 1 or ends[w + lane] == 1
            odd[pair] = single or bits(final[2 * w + lane]) != 0
            answer[pair] = value_of(final[lane], final[w + lane], gamma)


@compiled
def alignments(costs, directions, lengths, n, m, scale, weights, first, last, answer, odd):
    """Write E of the pairs of some blocks, or where there are directions, its derivative.

    As many rows at a time as ``weights`` has room for the probabilities of.
    """
    w = width(costs)
    extra = 0 if directions is None else 1
    depth = (2 + 2 * extra) * w
    height = min(n, len(weights) // (depth * m))
    bases, ends = np.empty(w, np.int64), np.empty(2 * w, np.int64)
    borders = np.empty(((n - 1) // height + 1, (m + 1) * (2 + extra) * w), costs.dtype)
    flows = np.empty(m * (1 + extra) * w, costs.dtype)
    cells = np.empty((CHUNK + m) * w, costs.dtype)
    turned = np.empty((CHUNK + m) * w * extra, costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    for block in range(first, last):
        rows, columns = choose(block, lengths, n * m, w, bases, ends)
        open_border(borders[0], directions)
        final[:] = 0.0
        flows[:] = 0.0
        strips = (rows - 1) // height + 1
        # Down to the last strip of rows for the borders, then up again.
        for turn in range(1 - strips, strips):
            strip = strips - 1 - abs(turn)
            start, stop = strip * height, min(strip * height + height, rows)
            if turn < 0:
                for k in range(borders.shape[1]):  # a slice would compile its error message
                    borders[strip + 1, k] = borders[strip, k]
            row = borders[strip + 1 if turn < 0 else strip]
            sweep(
                costs,
                bases,
                ends,
                start,
                stop,
                columns,
                m,
                scale,
                row,
                cells,
                final,
                weights,
                directions,
                turned,
            )
            if turn >= 0:
                unwind(
                    weights,
                    bases,
                    ends,
                    start,
                    stop,
                    columns,
                    m,
                    final,
                    flows,
                    cells,
                    answer,
                    directions,
                )
        for lane in range(min(w, len(lengths) - block * w)):
            odd[block * w + lane] = bits(final[2 * w + lane]) != 0
            answer[bases[lane] + rows * m : bases[lane] + n * m] = 0.0
