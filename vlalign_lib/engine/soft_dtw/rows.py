"""The recursions with a row in every lane, for few and long sequences.

A strip has as many rows as there are lanes. Lane l is l columns behind lane 0, since a cell needs
the one above it; a *step* is one such slanted line of cells. Of all strips only the borders
between them are kept: their probabilities are computed again when they are needed.
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
    first_lane,
    gather_tile,
    last_lane,
    load,
    part,
    scatter_tile,
    shift_down,
    shift_up,
    store,
    tile,
    width,
    zeros,
)


@part
def gather_steps(source, bases, top, step, n, m, blank, cells):
    """Copy the cells of a tile's worth of steps of a strip; ``blank`` outside of the matrix."""
    w = width(source)
    side = tile(source)
    for lane in range(0, w, side):
        column = step - lane
        if top + lane + side <= n and column >= side - 1 and column + side <= m:
            gather_tile(source, bases, lane, step, cells, 0)
            continue
        for row in range(lane, lane + side):
            for k in range(side):
                column = step + k - row
                inside = top + row < n and 0 <= column < m
                cells[k * w + row] = source[bases[row] + step + k] if inside else blank


@part
def scatter_steps(cells, target, bases, top, step, n, m):
    """Copy the cells of a tile's worth of steps of a strip to the matrix."""
    w = width(target)
    side = tile(target)
    for lane in range(0, w, side):
        column = step - lane
        if top + lane + side <= n and column >= side - 1 and column + side <= m:
            scatter_tile(cells, 0, target, bases, lane, step)
            continue
        for row in range(lane, min(lane + side, n - top)):
            for k in range(max(0, row - step), min(side, m + row - step)):
                target[bases[row] + step + k] = cells[k * w + row]


@part
def sweep(
    costs,
    bases,
    top,
    n,
    m,
    steps,
    scale,
    above,
    below,
    cells,
    final,
    weights,
    directions,
    turned,
):
    """Run the recursion over a strip of rows, some steps far.

    ``above`` holds mantissa, exponent and rate of the row above it, three numbers a column after
    a margin, and ``below`` receives those of its last row (they may be the same array). ``final``
    receives the last step, and oddness.
    """
    w = width(costs)
    side = tile(costs)
    high, low, limit, sharpness = scale
    none = zeros(costs)
    odd = load(final, 2 * w)
    md, floor = unreachable(none)
    ml, el, ed = md, floor, shift_up(floor, above[3 * (w - 1) + 1])
    rd = rl = none
    depth = 2 * w if directions is None else 4 * w
    for start in range(0, steps, side):
        gather_steps(costs, bases, top, start, n, m, np.inf, cells)
        if directions is not None:
            gather_steps(directions, bases, top, start, n, m, 0.0, turned)
        for k in range(min(side, steps - start)):
            at = 3 * (start + k + w)
            mu, eu = shift_up(ml, above[at]), shift_up(el, above[at + 1])
            ml, el, diagonal, over, left, total, odd = cell(
                md, ed, mu, eu, ml, el, load(cells, k * w), odd, high, low, limit
            )
            md, ed = mu, eu
            if weights is not None:
                up, marked = shares(diagonal, over, left, total)
                to = (start + k) * depth
                store(weights, to, up)
                store(weights, to + w, marked)
                if directions is not None:
                    ru, direction = shift_up(rl, above[at + 2]), load(turned, k * w)
                    rl, up_rate, diagonal_rate = rates(up, marked, rd, ru, rl, direction, sharpness)
                    store(weights, to + 2 * w, up_rate)
                    store(weights, to + 3 * w, diagonal_rate)
                    rd = ru
            at = 3 * (start + k + 1)
            below[at] = last_lane(ml)
            below[at + 1] = last_lane(el)
            if directions is not None:
                below[at + 2] = last_lane(rl)
    store(final, 0, ml)
    store(final, w, el)
    store(final, 2 * w, odd)


@part
def unwind(weights, bases, top, n, m, steps, ending, acc, cells, answer, directions):
    """Send probability back through a strip of rows, and write E.

    ``acc`` holds what the strip below sends up, two numbers a column after a margin, and
    receives what this one does. The path ends at lane ``ending`` of the last step, or elsewhere
    (-1). Where there are directions, the derivative of E is written.
    """
    w = width(weights)
    side = tile(weights)
    depth = 2 * w if directions is None else 4 * w
    cells[:] = 0.0
    if ending >= 0:
        cells[ending] = 1.0
    left = load(cells, 0)
    cells[:] = 0.0
    upward = diagonal = left_move = upward_move = diagonal_move = zeros(weights)
    for start in range((steps - 1) // side * side, -1, -side):
        for k in range(min(side, steps - start) - 1, -1, -1):
            t = start + k
            up, marked = load(weights, t * depth), load(weights, t * depth + w)
            flow = plus(left, shift_down(upward, acc[2 * (t + 1)]))
            above, beside, left = split(up, marked, flow)
            upward = plus(above, diagonal)
            diagonal = beside
            acc[2 * (t + w)] = first_lane(upward)
            if directions is None:
                store(cells, k * w, flow)
            else:
                move = plus(left_move, shift_down(upward_move, acc[2 * (t + 1) + 1]))
                store(cells, k * w, move)
                at = t * depth + 2 * w
                above, beside, left_move = split_move(
                    up, marked, load(weights, at), load(weights, at + w), flow, move
                )
                upward_move = plus(above, diagonal_move)
                diagonal_move = beside
                acc[2 * (t + w) + 1] = first_lane(upward_move)
        scatter_steps(cells, answer, bases, top, start, n, m)
        cells[:] = 0.0


@part
def open_border(above, first):
    """Set what lies above a strip: nothing, but for the start of the path above the first one."""
    mantissa, exponent = unreachable(zeros(above))
    above[0::3] = first_lane(mantissa)
    above[1::3] = first_lane(exponent)
    above[2::3] = 0.0
    if first:
        above[3 * (width(above) - 1) + 1] = 0.0


@part
def choose_strip(base, strip, m, w, bases):
    """Set where the cell of each lane at step 0 lies; return the first row."""
    for lane in range(w):
        bases[lane] = base + (strip * w + lane) * m - lane
    return strip * w


@part
def is_odd(final):
    """Tell whether any lane has met an odd cost."""
    w = width(final)
    odd = False
    for lane in range(w):
        odd |= bits(final[2 * w + lane]) != 0
    return odd


@compiled
def values(costs, lengths, n, m, gamma, scale, first, last, answer, odd):
    """Write the values of some pairs, and which of them have odd costs."""
    w = width(costs)
    bases = np.empty(w, np.int64)
    borders = np.empty((2, 3 * (m + 2 * w)), costs.dtype)
    cells = np.empty(tile(costs) * w, costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    for pair in range(first, last):
        rows, columns = lengths[pair]
        final[:] = 0.0
        open_border(borders[0], True)
        for strip in range((rows - 1) // w + 1):
            above, below = borders[strip % 2], borders[1 - strip % 2]
            open_border(below, False)
            top = choose_strip(pair * n * m, strip, m, w, bases)
            steps = columns + min(w, rows - top) - 1
            sweep(
                costs,
                bases,
                top,
                rows,
                columns,
                steps,
                scale,
                above,
                below,
                cells,
                final,
                None,
                None,
                None,
            )
        last_row = (rows - 1) % w
        odd[pair] = rows == 1 or columns == 1 or is_odd(final)
        answer[pair] = value_of(final[last_row], final[w + last_row], gamma)


@compiled
def alignments(costs, directions, lengths, n, m, scale, weights, first, last, answer, odd):
    """Write E of some pairs, or where there are directions, its derivative.

    ``weights`` has room for the probabilities of a strip.
    """
    w = width(costs)
    extra = 0 if directions is None else 1
    bases = np.empty(w, np.int64)
    borders = np.empty(((n - 1) // w + 2, 3 * (m + 2 * w)), costs.dtype)
    acc = np.empty(2 * (m + 2 * w), costs.dtype)
    cells = np.empty(tile(costs) * w, costs.dtype)
    turned = np.empty(tile(costs) * w * extra, costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    for pair in range(first, last):
        rows, columns = lengths[pair]
        base = pair * n * m
        if rows < n or columns < m:
            answer[base : base + n * m] = 0.0
        final[:] = 0.0
        acc[:] = 0.0
        strips = (rows - 1) // w + 1
        for strip in range(strips + 1):
            open_border(borders[strip], strip == 0)
        # Down to the last strip for the borders, then up again.
        for turn in range(1 - strips, strips):
            strip = strips - 1 - abs(turn)
            top = choose_strip(base, strip, m, w, bases)
            last_row = min(w, rows - top) - 1
            if turn < 0 and directions is None:
                sweep(
                    costs,
                    bases,
                    top,
                    rows,
                    columns,
                    columns + last_row,
                    scale,
                    borders[strip],
                    borders[strip + 1],
                    cells,
                    final,
                    None,
                    None,
                    None,
                )
                continue
            sweep(
                costs,
                bases,
                top,
                rows,
                columns,
                columns + last_row,
                scale,
                borders[strip],
                borders[strip + 1],
                cells,
                final,
                weights,
                directions,
                turned,
            )
            if turn < 0:
                continue
            ending = last_row if turn == 0 and is_reached(final[w + last_row]) else -1
            unwind(
                weights,
                bases,
                top,
                rows,
                columns,
                columns + last_row,
                ending,
                acc,
                cells,
                answer,
                directions,
            )
        odd[pair] = is_odd(final)
