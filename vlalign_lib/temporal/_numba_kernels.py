r"""The recursions of alignment on many lanes at once, without a logarithm.

With :math:`P = e^{-R/\gamma}` the soft minimum is a sum: :math:`P_{ij} = e^{-\Delta_{ij}/\gamma}
(P_{i-1,j-1} + P_{i-1,j} + P_{i,j-1})`, one exponential a cell. A cell is a mantissa in [1, 2) and
an integer exponent of two, so that nothing under- or overflows, and the shares of the three terms
are the transition probabilities. Nothing is kept for the gradient but the costs: to compute the
probabilities of a block again while it lies in the cache is quicker than to write them to memory
and to read them back.

The lanes (``_numba_lanes``) are either

- the *pairs* of a batch, each lane at the same cell of another matrix, or
- the *rows* of one matrix, in strips of as many rows as there are lanes; lane l is l columns behind
  lane 0, since a cell needs the one above it. A *step* is one such slanted line of cells.

A cost that no path may pay (+inf) gets the exponent ``FORBIDDEN``, far below all others: its share
is exactly zero beside any open cell. Where :math:`|\Delta|/\gamma` is so large that exponents might
reach that far, and where :math:`\gamma = 0`, a matrix is computed by ``exactly`` in the logarithmic
domain, one cell at a time.
"""

# mypy: ignore-errors

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from vlalign_lib.temporal._numba_lanes import (
    bits,
    first_lane,
    gather_tile,
    last_lane,
    load,
    on_lanes,
    scatter_tile,
    shift_down,
    shift_up,
    store,
    tile,
    width,
    zeros,
)

# Exponents. Those of a matrix whose costs are within the limit stay above -LARGEST; one forbidden
# cell takes a path below 2 * -LARGEST, and no exponent falls below FLOOR.
LARGEST = 1 << 27
FORBIDDEN = -(1 << 29)
FLOOR = -(1 << 30)
CHUNK = 256  # cells that are transposed at a time, at least

# Coefficients of 2^f for |f| <= 1/2, interpolated so that the relative error is below 1e-8 and
# 1e-17, rounding aside; by size in bytes.
POWERS = {
    4: (
        1.0,
        0.6931471880262288,
        0.24022650760568127,
        0.05550357114219078,
        0.009618082557277851,
        0.0013390863364671234,
        0.0001545316294512069,
    ),
    8: (
        1.0,
        0.69314718055994531,
        0.24022650695910098,
        0.055504108664821594,
        0.0096181291076068885,
        0.0013333558146416935,
        0.0001540353044173605,
        1.5252733829836118e-5,
        1.321544258792169e-6,
        1.0178062445845774e-7,
        7.0725859492692237e-9,
        4.4549605981865184e-10,
    ),
}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile what Python calls."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep compiled code in: compile in every process
        return numba.njit(**options)(function)


def _part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile what compiled code calls, as a part of it."""
    return numba.njit(nogil=True, error_model="numpy")(function)


# On all lanes at once.


def exponential(cost, high, low):
    """Return mantissa (about 0.7 to 1.4) and exponent of 2^(cost * (high + low))."""
    form = cost.format
    shifted = cost * high + form.rounder
    # Fused, this product and sum is exact: no digits of a large product are lost.
    fraction = cost.fused(high, form.rounder - shifted) + cost * low
    first, *others = reversed(POWERS[form.size])
    power = fraction * first + others[0]
    for coefficient in others[1:]:
        power = power * fraction + coefficient
    return power, shifted.bits() - form.anchor


def power_of_two(exponent):
    """Return 2^exponent for exponents up to 0, exactly zero for very low ones."""
    form = exponent.format
    return ((exponent + form.bias).or_larger(0) << form.digits).floats()


def normalised(value):
    """Return mantissa in [1, 2) and exponent of a positive normal number."""
    form, pattern = value.format, value.bits()
    return ((pattern & form.fraction) | form.one).floats(), (pattern >> form.digits) - form.bias


@on_lanes
def cell(md, ed, mu, eu, ml, el, cost, odd, high, low, limit):
    """One cell from its three predecessors, each a mantissa and an exponent.

    Returns its mantissa and exponent, the terms of the predecessors diagonal, above and left on a
    common scale, their sum, and ``odd`` with a bit added where the cost is neither +inf nor
    within the limit.
    """
    ed, eu, el, odd = (each.bits() for each in (ed, eu, el, odd))
    allowed = cost.magnitude() <= limit  # not so for NaN
    odd = odd | allowed.choose(0, cost.bits() ^ cost.format.infinity)
    power, exponent = exponential(allowed.choose(cost, 0.0), high, low)
    exponent = allowed.choose(exponent, FORBIDDEN)
    top = ed.or_larger(eu).or_larger(el)
    diagonal = md * power_of_two(ed - top)
    above = mu * power_of_two(eu - top)
    left = ml * power_of_two(el - top)
    total = diagonal + above + left
    mantissa, carry = normalised(total * power)
    exponent = (top + exponent + carry).or_larger(FLOOR)
    return mantissa, exponent, diagonal, above, left, total, odd


@on_lanes
def unreachable(zero):
    """Return mantissa and exponent of a cell that no path reaches."""
    return zero + 1.0, zero.bits() + FLOOR


@on_lanes
def shares(diagonal, above, left, total):
    """Return the probabilities of the predecessors above and diagonal; the third is the rest.

    A left predecessor without any share is marked by the sign of the diagonal one, and the two
    add up to one: probability leaks neither into forbidden cells nor out of the matrix.
    """
    up = above / total
    return up, (left <= 0.0).choose((1.0 - up).negative(), diagonal / total)


@on_lanes
def split(up, marked, flow):
    """Return what of a flow goes above, diagonally and left; nothing of it is lost."""
    above, diagonal = flow * up, flow * marked.magnitude()
    left = (flow - above - diagonal).or_larger(0.0)
    return above, diagonal, (marked.bits() < 0).choose(0.0, left)


@on_lanes
def rates(up, marked, before, above, left, direction, sharpness):
    """Return the rates of R and of the probabilities of the predecessors above and diagonal.

    ``before``, ``above`` and ``left`` are the rates of R of the predecessors, ``sharpness`` is
    one over gamma.
    """
    diagonal = marked.magnitude()
    rest = (marked.bits() < 0).choose(0.0, (1.0 - up - diagonal).or_larger(0.0))
    mean = diagonal * before + up * above + rest * left
    return (
        direction + mean,
        up * (mean - above) * sharpness,
        diagonal * (mean - before) * sharpness,
    )


@on_lanes
def split_move(up, marked, up_rate, diagonal_rate, flow, move):
    """Return the rates of what ``split`` returns, where the flow changes at the rate ``move``."""
    diagonal = marked.magnitude()
    closed = marked.bits() < 0
    rest = closed.choose(0.0, (1.0 - up - diagonal).or_larger(0.0))
    rest_rate = closed.choose(0.0, 0.0 - up_rate - diagonal_rate)
    return (
        move * up + flow * up_rate,
        move * diagonal + flow * diagonal_rate,
        move * rest + flow * rest_rate,
    )


@on_lanes
def plus(a, b):
    """Return the sum."""
    return a + b


@_part
def value_of(mantissa, exponent_bits, gamma):
    """Return -gamma log P of one cell, in float64; +inf where no path is open."""
    exponent = bits(exponent_bits)
    if exponent < -2 * LARGEST:
        return math.inf
    return -gamma * (exponent * math.log(2.0) + math.log(mantissa))


# One matrix, one cell at a time: hard minima, and costs too large for exponents.


@_part
def is_ordinary(costs, base, n, m, columns, limit):
    """Tell whether costs are NaN or -inf (-1), too large for exponents (0), or neither (1)."""
    answer = 1
    for i in range(n):
        for j in range(m):
            cost = costs[base + i * columns + j]
            if not (abs(cost) <= limit or cost == math.inf):
                if math.isnan(cost) or cost == -math.inf:
                    return -1
                answer = 0
    return answer


@_part
def exactly(costs, base, n, m, columns, gamma, weights):
    """Return the value of one matrix, by minima taken out of the sums, in float64.

    Unless it is None, the probabilities of the predecessors (diagonal, above, left) of cell (i, j)
    go to ``weights[i, j]``; they are zero where the cell is closed.
    """
    above = np.full(m + 1, math.inf)
    above[0] = 0.0
    for i in range(n):
        before = above[0]
        above[0] = math.inf
        for j in range(m):
            a, b, c = before, above[j + 1], above[j]
            before = b
            least = min(a, b, c)
            p = q = r = 0.0
            if least < math.inf:
                if gamma == 0.0:
                    p = 1.0 if a == least else 0.0
                    q = 1.0 if p == 0.0 and b == least else 0.0
                    r = 1.0 - p - q
                    soft = least
                else:
                    p, q, r = (
                        math.exp((least - a) / gamma),
                        math.exp((least - b) / gamma),
                        math.exp((least - c) / gamma),
                    )
                    total = p + q + r
                    p, q, r = p / total, q / total, r / total
                    soft = least - gamma * math.log(total)
                least = soft + costs[base + i * columns + j]
                if least == math.inf:
                    p = q = r = 0.0
            above[j + 1] = least
            if weights is not None:
                weights[i, j, 0] = p
                weights[i, j, 1] = q
                weights[i, j, 2] = r
    return above[m]


@_part
def expected_exactly(weights, n, m, columns, answer, base):
    """Write E of one matrix from the probabilities of its cells."""
    below = np.zeros(m + 1)
    below[m - 1] = 1.0 if weights[n - 1, m - 1].sum() > 0.0 else 0.0
    for i in range(n - 1, -1, -1):
        diagonal = left = 0.0
        for j in range(m - 1, -1, -1):
            flow = below[j] + left
            answer[base + i * columns + j] = flow
            below[j] = diagonal + flow * weights[i, j, 1]
            diagonal = flow * weights[i, j, 0]
            left = flow * weights[i, j, 2]


@_part
def product_exactly(weights, n, m, columns, gamma, directions, answer, base):
    """Write the derivative of E of one matrix in a direction, from the probabilities."""
    rates = np.zeros((n + 1, m + 1))
    changes = np.zeros((n, m, 3))
    for i in range(n):
        for j in range(m):
            p = weights[i, j]
            a, b, c = rates[i, j], rates[i, j + 1], rates[i + 1, j]
            mean = p[0] * a + p[1] * b + p[2] * c
            rates[i + 1, j + 1] = directions[base + i * columns + j] + mean
            changes[i, j, 0] = p[0] * (mean - a) / gamma
            changes[i, j, 1] = p[1] * (mean - b) / gamma
            changes[i, j, 2] = p[2] * (mean - c) / gamma
    flows = np.zeros((n + 1, m + 1))
    moves = np.zeros((n + 1, m + 1))
    flows[n - 1, m - 1] = 1.0 if weights[n - 1, m - 1].sum() > 0.0 else 0.0
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            flow, move = flows[i, j], moves[i, j]
            answer[base + i * columns + j] = move
            for k, (y, x) in enumerate(((i - 1, j - 1), (i - 1, j), (i, j - 1))):
                if y >= 0 and x >= 0:
                    flows[y, x] += flow * weights[i, j, k]
                    moves[y, x] += move * weights[i, j, k] + flow * changes[i, j, k]


@_part
def settled_value(costs, base, n, m, columns, gamma, scale, mantissa, exponent, odd):
    """Return the value of a pair from its last cell, or by other means if it has odd costs."""
    if odd:
        kind = is_ordinary(costs, base, n, m, columns, scale[2])
        if kind < 0:
            return math.nan
        if kind == 0:
            return exactly(costs, base, n, m, columns, gamma, None)
    if n == 1 or m == 1:  # one path: spare it the rounding of exponentials
        total = 0.0
        for i in range(n):
            for j in range(m):
                total += costs[base + i * columns + j]
        return total
    return value_of(mantissa, exponent, gamma)


@_part
def settle_alignment(costs, base, rows, columns, n, m, gamma, scale, answer):
    """Write E of a pair that has odd costs, unless they lie beyond its ends."""
    kind = is_ordinary(costs, base, rows, columns, m, scale[2])
    if kind == 1:
        return
    answer[base : base + n * m] = 0.0
    if kind < 0:
        for i in range(rows):
            answer[base + i * m : base + i * m + columns] = math.nan
        return
    weights = np.empty((rows, columns, 3))
    exactly(costs, base, rows, columns, m, gamma, weights)
    expected_exactly(weights, rows, columns, m, answer, base)


@_part
def settle_product(costs, directions, base, rows, columns, n, m, gamma, scale, answer):
    """Write the derivative of E of a pair that has odd costs, unless they lie beyond its ends."""
    kind = is_ordinary(costs, base, rows, columns, m, scale[2])
    if kind == 1:
        return
    answer[base : base + n * m] = 0.0
    if kind < 0:
        for i in range(rows):
            answer[base + i * m : base + i * m + columns] = math.nan
        return
    weights = np.empty((rows, columns, 3))
    exactly(costs, base, rows, columns, m, gamma, weights)
    product_exactly(weights, rows, columns, m, gamma, directions, answer, base)


# Between matrices and lanes.


@_part
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


@_part
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


@_part
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


@_part
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


# The lanes are pairs.


@_part
def choose_pairs(block, lengths, size, w, bases, ends):
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


@_part
def blank_pairs(cells, ends, w, start, rows, m):
    """Zero the cells beyond the ends, where a direction may hold anything."""
    for lane in range(w):
        for i in range(rows):
            first = ends[w + lane] if start + i < ends[lane] else 0
            for j in range(first, m):
                cells[(i * m + j) * w + lane] = 0.0


@_part
def sweep_pairs(
    costs, bases, ends, rows, columns, m, scale, row, cells, final, weights, directions, turned
):
    """Run the recursion over a block of pairs.

    ``row`` holds the row before, ``final`` receives mantissas, exponents and oddness of the
    lanes. Unless they are None, ``weights`` receives the probabilities of all cells and, in the
    given directions, their rates.
    """
    w = width(costs)
    high, low, limit, sharpness = scale
    group = max(1, CHUNK // m)
    pitch, depth = (2 * w, 2 * w) if directions is None else (3 * w, 4 * w)
    none = odd = zeros(costs)
    one, floor = unreachable(none)
    for j in range(columns + 1):
        store(row, j * pitch, one)
        store(row, j * pitch + w, floor if j else none)
        if directions is not None:
            store(row, j * pitch + 2 * w, none)
    for i in range(rows):
        if i % group == 0:
            count = min(group, rows - i)
            gather(costs, bases, i * m, count * m, cells)
            if directions is not None:
                gather(directions, bases, i * m, count * m, turned)
                blank_pairs(turned, ends, w, i, count, m)
        start = i % group * m * w
        md, ed, rd = load(row, 0), load(row, w), none
        store(row, w, floor)
        ml, el, rl = one, floor, none
        for j in range(columns):
            at = (j + 1) * pitch
            mu, eu = load(row, at), load(row, at + w)
            cost = load(cells, start + j * w)
            mantissa, exponent, diagonal, above, left, total, odd = cell(
                md, ed, mu, eu, ml, el, cost, odd, high, low, limit
            )
            store(row, at, mantissa)
            store(row, at + w, exponent)
            md, ed, ml, el = mu, eu, mantissa, exponent
            if weights is not None:
                up, marked = shares(diagonal, above, left, total)
                to = (i * columns + j) * depth
                store(weights, to, up)
                store(weights, to + w, marked)
                if directions is not None:
                    ru, direction = load(row, at + 2 * w), load(turned, start + j * w)
                    rl, up_rate, diagonal_rate = rates(up, marked, rd, ru, rl, direction, sharpness)
                    store(weights, to + 2 * w, up_rate)
                    store(weights, to + 3 * w, diagonal_rate)
                    store(row, at + 2 * w, rl)
                    rd = ru
        for lane in range(w):
            if ends[lane] == i + 1:
                at = ends[w + lane] * pitch + lane
                final[lane] = row[at]
                final[w + lane] = row[at + w]
    store(final, 2 * w, odd)


@_part
def unwind_pairs(weights, bases, ends, rows, columns, m, final, row, cells, answer, directions):
    """Send probability back from the ends of a block of pairs, and write E.

    Where there are directions, its derivative is written.
    """
    w = width(weights)
    group = max(1, CHUNK // m)
    cells[:] = 0.0
    row[:] = 0.0
    none = zeros(weights)
    pitch, depth = (w, 2 * w) if directions is None else (2 * w, 4 * w)
    for start in range((rows - 1) // group * group, -1, -group):
        count = min(group, rows - start)
        for i in range(start + count - 1, start - 1, -1):
            for lane in range(w):
                if ends[lane] == i + 1 and bits(final[w + lane]) >= -2 * LARGEST:
                    row[(ends[w + lane] - 1) * pitch + lane] = 1.0
            left = diagonal = left_move = diagonal_move = none
            for j in range(columns - 1, -1, -1):
                at = (i * columns + j) * depth
                to = ((i - start) * m + j) * w
                up, marked = load(weights, at), load(weights, at + w)
                flow = plus(load(row, j * pitch), left)
                above, beside, left = split(up, marked, flow)
                store(row, j * pitch, plus(above, diagonal))
                diagonal = beside
                if directions is None:
                    store(cells, to, flow)
                else:
                    move = plus(load(row, j * pitch + w), left_move)
                    store(cells, to, move)
                    above, beside, left_move = split_move(
                        up, marked, load(weights, at + 2 * w), load(weights, at + 3 * w), flow, move
                    )
                    store(row, j * pitch + w, plus(above, diagonal_move))
                    diagonal_move = beside
        scatter(cells, count * m, answer, bases, start * m)


@_compiled
def forward_pairs(costs, lengths, n, m, gamma, scale, first, last, values):
    """Write the values of the pairs of some blocks."""
    w = width(costs)
    bases, ends = np.empty(w, np.int64), np.empty(2 * w, np.int64)
    row = np.empty((m + 1) * 2 * w, costs.dtype)
    cells = np.empty((CHUNK + m) * w, costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    for block in range(first, last):
        rows, columns = choose_pairs(block, lengths, n * m, w, bases, ends)
        sweep_pairs(
            costs, bases, ends, rows, columns, m, scale, row, cells, final, None, None, None
        )
        for lane in range(min(w, len(lengths) - block * w)):
            values[block * w + lane] = settled_value(
                costs,
                bases[lane],
                ends[lane],
                ends[w + lane],
                m,
                gamma,
                scale,
                final[lane],
                final[w + lane],
                bits(final[2 * w + lane]) != 0,
            )


@_compiled
def alignment_pairs(costs, lengths, n, m, gamma, scale, first, last, answer):
    """Write E of the pairs of some blocks."""
    w = width(costs)
    bases, ends = np.empty(w, np.int64), np.empty(2 * w, np.int64)
    row = np.empty((m + 1) * 2 * w, costs.dtype)
    cells = np.empty((CHUNK + m) * w, costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    weights = np.empty(n * m * 2 * w, costs.dtype)
    for block in range(first, last):
        rows, columns = choose_pairs(block, lengths, n * m, w, bases, ends)
        sweep_pairs(
            costs, bases, ends, rows, columns, m, scale, row, cells, final, weights, None, None
        )
        unwind_pairs(weights, bases, ends, rows, columns, m, final, row, cells, answer, None)
        for lane in range(min(w, len(lengths) - block * w)):
            answer[bases[lane] + rows * m : bases[lane] + n * m] = 0.0
            if bits(final[2 * w + lane]) != 0:
                settle_alignment(
                    costs, bases[lane], ends[lane], ends[w + lane], n, m, gamma, scale, answer
                )


@_compiled
def product_pairs(costs, directions, lengths, n, m, gamma, scale, first, last, answer):
    """Write the derivatives of E in some directions, of the pairs of some blocks."""
    w = width(costs)
    bases, ends = np.empty(w, np.int64), np.empty(2 * w, np.int64)
    row = np.empty((m + 1) * 3 * w, costs.dtype)
    cells, turned = np.empty((2, (CHUNK + m) * w), costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    weights = np.empty(n * m * 4 * w, costs.dtype)
    for block in range(first, last):
        rows, columns = choose_pairs(block, lengths, n * m, w, bases, ends)
        sweep_pairs(
            costs,
            bases,
            ends,
            rows,
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
        unwind_pairs(weights, bases, ends, rows, columns, m, final, row, cells, answer, directions)
        for lane in range(min(w, len(lengths) - block * w)):
            answer[bases[lane] + rows * m : bases[lane] + n * m] = 0.0
            if bits(final[2 * w + lane]) != 0:
                settle_product(
                    costs,
                    directions,
                    bases[lane],
                    ends[lane],
                    ends[w + lane],
                    n,
                    m,
                    gamma,
                    scale,
                    answer,
                )


# The lanes are rows.


@_part
def sweep_strip(
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


@_part
def unwind_strip(weights, bases, top, n, m, steps, ending, acc, cells, answer, directions):
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


@_part
def open_border(above, first):
    """Set what lies above a strip: nothing, but for the start of the path above the first one."""
    mantissa, exponent = unreachable(zeros(above))
    above[0::3] = first_lane(mantissa)
    above[1::3] = first_lane(exponent)
    above[2::3] = 0.0
    if first:
        above[3 * (width(above) - 1) + 1] = 0.0


@_part
def choose_strip(base, strip, m, w, bases):
    """Set where the cell of each lane at step 0 lies; return the first row."""
    for lane in range(w):
        bases[lane] = base + (strip * w + lane) * m - lane
    return strip * w


@_part
def is_odd(final):
    """Tell whether any lane has met an odd cost."""
    w = width(final)
    odd = False
    for lane in range(w):
        odd |= bits(final[2 * w + lane]) != 0
    return odd


@_compiled
def forward_rows(costs, lengths, n, m, gamma, scale, first, last, values):
    """Write the values of some pairs."""
    w = width(costs)
    bases = np.empty(w, np.int64)
    borders = np.empty((2, 3 * (m + 2 * w)), costs.dtype)
    cells = np.empty(tile(costs) * w, costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    for pair in range(first, last):
        rows, columns = lengths[pair]
        final[:] = 0.0
        for strip in range((rows - 1) // w + 1):
            top = choose_strip(pair * n * m, strip, m, w, bases)
            steps = columns + min(w, rows - top) - 1
            above, below = borders[strip % 2], borders[1 - strip % 2]
            if strip == 0:
                open_border(above, True)
            open_border(below, False)
            sweep_strip(
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
        end = (rows - 1) % w
        values[pair] = settled_value(
            costs,
            pair * n * m,
            rows,
            columns,
            m,
            gamma,
            scale,
            final[end],
            final[w + end],
            is_odd(final),
        )


@_compiled
def alignment_rows(costs, lengths, n, m, gamma, scale, first, last, answer):
    """Write E of some pairs."""
    w = width(costs)
    bases = np.empty(w, np.int64)
    borders = np.empty(((n - 1) // w + 2, 3 * (m + 2 * w)), costs.dtype)
    acc = np.empty(2 * (m + 2 * w), costs.dtype)
    cells = np.empty(tile(costs) * w, costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    weights = np.empty((m + w) * 2 * w, costs.dtype)
    for pair in range(first, last):
        rows, columns = lengths[pair]
        base = pair * n * m
        if rows < n or columns < m:
            answer[base : base + n * m] = 0.0
        final[:] = 0.0
        strips = (rows - 1) // w + 1
        for strip in range(strips + 1):
            open_border(borders[strip], strip == 0)
        for strip in range(strips - 1):
            top = choose_strip(base, strip, m, w, bases)
            sweep_strip(
                costs,
                bases,
                top,
                rows,
                columns,
                columns + w - 1,
                scale,
                borders[strip],
                borders[strip + 1],
                cells,
                final,
                None,
                None,
                None,
            )
        acc[:] = 0.0
        for strip in range(strips - 1, -1, -1):
            top = choose_strip(base, strip, m, w, bases)
            last_row = min(w, rows - top) - 1
            steps = columns + last_row
            sweep_strip(
                costs,
                bases,
                top,
                rows,
                columns,
                steps,
                scale,
                borders[strip],
                borders[strip + 1],
                cells,
                final,
                weights,
                None,
                None,
            )
            ending = -1
            if strip == strips - 1 and bits(final[w + last_row]) >= -2 * LARGEST:
                ending = last_row
            unwind_strip(
                weights, bases, top, rows, columns, steps, ending, acc, cells, answer, None
            )
        if is_odd(final):
            settle_alignment(costs, base, rows, columns, n, m, gamma, scale, answer)


@_compiled
def product_rows(costs, directions, lengths, n, m, gamma, scale, first, last, answer):
    """Write the derivatives of E in some directions, of some pairs."""
    w = width(costs)
    bases = np.empty(w, np.int64)
    borders = np.empty(((n - 1) // w + 2, 3 * (m + 2 * w)), costs.dtype)
    acc = np.empty(2 * (m + 2 * w), costs.dtype)
    cells, turned = np.empty((2, tile(costs) * w), costs.dtype)
    final = np.empty(3 * w, costs.dtype)
    weights = np.empty((m + w) * 4 * w, costs.dtype)
    for pair in range(first, last):
        rows, columns = lengths[pair]
        base = pair * n * m
        answer[base : base + n * m] = 0.0
        final[:] = 0.0
        strips = (rows - 1) // w + 1
        for strip in range(strips + 1):
            open_border(borders[strip], strip == 0)
        for strip in range(strips - 1):
            top = choose_strip(base, strip, m, w, bases)
            sweep_strip(
                costs,
                bases,
                top,
                rows,
                columns,
                columns + w - 1,
                scale,
                borders[strip],
                borders[strip + 1],
                cells,
                final,
                weights,
                directions,
                turned,
            )
        acc[:] = 0.0
        for strip in range(strips - 1, -1, -1):
            top = choose_strip(base, strip, m, w, bases)
            last_row = min(w, rows - top) - 1
            steps = columns + last_row
            sweep_strip(
                costs,
                bases,
                top,
                rows,
                columns,
                steps,
                scale,
                borders[strip],
                borders[strip + 1],
                cells,
                final,
                weights,
                directions,
                turned,
            )
            ending = -1
            if strip == strips - 1 and bits(final[w + last_row]) >= -2 * LARGEST:
                ending = last_row
            unwind_strip(
                weights, bases, top, rows, columns, steps, ending, acc, cells, answer, directions
            )
        if is_odd(final):
            settle_product(costs, directions, base, rows, columns, n, m, gamma, scale, answer)
