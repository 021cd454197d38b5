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

# mypy: ignore-errors  # numba compiles what is written here, by rules of its own

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.extending import overload

from vlalign_lib.temporal._numba_lanes import (
    bits,
    first_lane,
    floats,
    fused,
    gather_tile,
    last_lane,
    load,
    maximum,
    scatter_tile,
    select,
    shift_down,
    shift_up,
    spread,
    store,
    tile,
    width,
)

# Exponents. Those of a matrix whose costs are within the limit stay above -LARGEST; one forbidden
# cell takes a path below 2 * -LARGEST, and no exponent falls below FLOOR.
LARGEST = 1 << 27
FORBIDDEN = -(1 << 29)
FLOOR = -(1 << 30)
CHUNK = 256  # cells that are transposed at a time, at least


class Format(NamedTuple):
    """How floating-point numbers of one size are written in bits."""

    digits: int  # of the fraction
    bias: int  # of the exponent
    rounder: float  # added and subtracted, it rounds to an integer
    powers: tuple[float, ...]  # coefficients of 2^f for |f| <= 1/2, relative error below rounding

    @property
    def one(self) -> int:
        """The bits of 1.0."""
        return self.bias << self.digits

    @property
    def fraction(self) -> int:
        """The bits of the fraction."""
        return (1 << self.digits) - 1

    @property
    def infinity(self) -> int:
        """The bits of +inf."""
        return (2 * self.bias + 1) << self.digits

    @property
    def magnitude(self) -> int:
        """All bits but the sign."""
        return self.infinity | self.fraction


FORMATS = {
    types.float32: Format(
        digits=23,
        bias=127,
        rounder=1.5 * 2**23,
        powers=(
            1.0,
            0.6931471880262288,
            0.24022650760568127,
            0.05550357114219078,
            0.009618082557277851,
            0.0013390863364671234,
            0.0001545316294512069,
        ),
    ),
    types.float64: Format(
        digits=52,
        bias=1023,
        rounder=1.5 * 2**52,
        powers=(
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
    ),
}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep compiled code in: compile in every process
        return numba.njit(**options)(function)


def _inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    return numba.njit(inline="always", error_model="numpy")(function)


def format_of(kind):
    """Return the format of lanes of floats or of integers, or of an array."""
    wide = kind.dtype.bitwidth == 64
    return FORMATS[types.float64 if wide else types.float32]


def exponential(cost, high, low):
    """Return mantissa (about 0.7 to 1.4) and exponent of 2^(cost * (high + low))."""


def power_of_two(exponent):
    """Return 2^exponent for exponents up to 0, exactly zero for very low ones."""


def normalised(value):
    """Return mantissa in [1, 2) and exponent of a positive normal number."""


def magnitude(value):
    """Return the absolute value."""


def oddness(value):
    """Return bits that are zero for +inf only."""


def negative(value):
    """Return the value, not below zero, with the sign set, that of zero too."""


@overload(exponential)
def _exponential(cost, high, low):
    form = format_of(cost)
    rounder = form.rounder
    anchor = int(
        np.array(rounder, f"f{cost.dtype.bitwidth // 8}").view(f"i{cost.dtype.bitwidth // 8}")
    )
    powers = form.powers
    if len(powers) == 7:
        c0, c1, c2, c3, c4, c5, c6 = powers

        def code(cost, high, low):
            shifted = cost * high + rounder
            # Fused, this subtraction is exact: no digits of a large product are lost.
            f = fused(cost, high, rounder - shifted) + cost * low
            power = c0 + f * (c1 + f * (c2 + f * (c3 + f * (c4 + f * (c5 + f * c6)))))
            return power, bits(shifted) - anchor

        return code
    d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, d10, d11 = powers

    def code(cost, high, low):
        shifted = cost * high + rounder
        f = fused(cost, high, rounder - shifted) + cost * low
        power = d6 + f * (d7 + f * (d8 + f * (d9 + f * (d10 + f * d11))))
        power = d0 + f * (d1 + f * (d2 + f * (d3 + f * (d4 + f * (d5 + f * power)))))
        return power, bits(shifted) - anchor

    return code


@overload(power_of_two)
def _power_of_two(exponent):
    form = format_of(exponent)
    bias, digits = form.bias, form.digits

    def code(exponent):
        return floats(maximum(exponent + bias, exponent & 0) << digits)

    return code


@overload(normalised)
def _normalised(value):
    form = format_of(value)
    bias, digits, one, fraction = form.bias, form.digits, form.one, form.fraction

    def code(value):
        pattern = bits(value)
        return floats((pattern & fraction) | one), (pattern >> digits) - bias

    return code


@overload(magnitude)
def _magnitude(value):
    mask = format_of(value).magnitude

    def code(value):
        return floats(bits(value) & mask)

    return code


@overload(oddness)
def _oddness(value):
    infinity = format_of(value).infinity

    def code(value):
        return bits(value) ^ infinity

    return code


@overload(negative)
def _negative(value):
    sign = -1 - format_of(value).magnitude

    def code(value):
        return floats(bits(value) | sign)

    return code


@_inlined
def cell(md, ed, mu, eu, ml, el, cost, odd, high, low, limit):
    """One cell from its three predecessors, each a mantissa and an exponent.

    Returns its mantissa and exponent, the terms of the predecessors above, diagonal and left on a
    common scale, their sum, and ``odd`` with a bit added where the cost is neither +inf nor
    within the limit.
    """
    allowed = magnitude(cost) <= limit  # not so for NaN
    odd = odd | select(allowed, bits(cost) & 0, oddness(cost))
    power, exponent = exponential(select(allowed, cost, floats(bits(cost) & 0)), high, low)
    exponent = select(allowed, exponent, (exponent & 0) + FORBIDDEN)
    top = maximum(maximum(ed, eu), el)
    diagonal = md * power_of_two(ed - top)
    above = mu * power_of_two(eu - top)
    left = ml * power_of_two(el - top)
    total = diagonal + above + left
    mantissa, carry = normalised(total * power)
    exponent = maximum(top + exponent + carry, (exponent & 0) + FLOOR)
    return mantissa, exponent, diagonal, above, left, total, odd


@_inlined
def keep_shares(weights, at, diagonal, above, left, total):
    """Write the probabilities of the predecessors above and diagonal; the third is the rest.

    A left predecessor without any share is marked by the sign of the diagonal one, and the two
    add up to one: probability leaks neither into forbidden cells nor out of the matrix.
    """
    up = above / total
    store(weights, at, up)
    store(
        weights,
        at + width(weights),
        select(left <= 0.0, negative(1.0 - up), diagonal / total),
    )


@_inlined
def load_shares(weights, at):
    """Read the probabilities of the predecessors above, diagonal and left."""
    up = load(weights, at)
    marked = load(weights, at + width(weights))
    diagonal = magnitude(marked)
    rest = 1.0 - up - diagonal
    none = floats(bits(up) & 0)
    return up, diagonal, select(bits(marked) < 0, none, select(none < rest, rest, none))


@_inlined
def split(weights, at, flow):
    """Return what of a flow goes above, diagonally and left; nothing of it is lost."""
    marked = load(weights, at + width(weights))
    up = flow * load(weights, at)
    diagonal = flow * magnitude(marked)
    left = flow - up - diagonal
    none = floats(bits(up) & 0)
    return up, diagonal, select(bits(marked) < 0, none, select(none < left, left, none))


@_inlined
def split_move(weights, at, flow, move):
    """Return the rates of what ``split`` returns, where the flow changes at the rate ``move``."""
    up, diagonal, rest = load_shares(weights, at)
    up_rate, diagonal_rate, rest_rate = load_rates(weights, at, rest)
    return (
        move * up + flow * up_rate,
        move * diagonal + flow * diagonal_rate,
        move * rest + flow * rest_rate,
    )


@_inlined
def keep_rates(weights, at, before, above, left, direction, sharpness):
    """Write the rates of the probabilities above and diagonal, behind them; return that of R.

    ``before``, ``above`` and ``left`` are the rates of R of the predecessors, ``sharpness`` is
    one over gamma.
    """
    up, diagonal, rest = load_shares(weights, at)
    mean = diagonal * before + up * above + rest * left
    store(weights, at + 2 * width(weights), up * (mean - above) * sharpness)
    store(weights, at + 3 * width(weights), diagonal * (mean - before) * sharpness)
    return direction + mean


@_inlined
def load_rates(weights, at, rest):
    """Read the rates of the probabilities above, diagonal and left."""
    up = load(weights, at + 2 * width(weights))
    diagonal = load(weights, at + 3 * width(weights))
    none = floats(bits(up) & 0)
    return up, diagonal, select(rest <= 0.0, none, none - up - diagonal)


@_inlined
def value_of(mantissa, exponent_bits, gamma):
    """Return -gamma log P of one cell, in float64; +inf where no path is open."""
    exponent = bits(exponent_bits)
    if exponent < -2 * LARGEST:
        return math.inf
    return -gamma * (exponent * math.log(2.0) + math.log(mantissa))


# One matrix, one cell at a time: hard minima, and costs too large for exponents.


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
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


@_compiled
def blank_pairs(cells, ends, w, start, rows, m):
    """Zero the cells beyond the ends, where a direction may hold anything."""
    for lane in range(w):
        for i in range(rows):
            first = ends[w + lane] if start + i < ends[lane] else 0
            for j in range(first, m):
                cells[(i * m + j) * w + lane] = 0.0


@_compiled
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
    pitch = 2 * w if directions is None else 3 * w
    none = spread(high - high)
    one = none + 1.0
    floor = bits(none) + FLOOR
    odd = bits(none)
    for j in range(columns + 1):
        store(row, j * pitch, one)
        store(row, j * pitch + w, floats(floor if j else bits(none)))
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
        md, ed, rd = load(row, 0), bits(load(row, w)), none
        store(row, w, floats(floor))
        ml, el, rl = one, floor, none
        for j in range(columns):
            at = (j + 1) * pitch
            mu, eu = load(row, at), bits(load(row, at + w))
            cost = load(cells, start + j * w)
            mantissa, exponent, diagonal, above, left, total, odd = cell(
                md, ed, mu, eu, ml, el, cost, odd, high, low, limit
            )
            store(row, at, mantissa)
            store(row, at + w, floats(exponent))
            md, ed, ml, el = mu, eu, mantissa, exponent
            if weights is not None:
                if directions is None:
                    keep_shares(weights, (i * columns + j) * 2 * w, diagonal, above, left, total)
                else:
                    to = (i * columns + j) * 4 * w
                    keep_shares(weights, to, diagonal, above, left, total)
                    ru = load(row, at + 2 * w)
                    rl = keep_rates(weights, to, rd, ru, rl, load(turned, start + j * w), sharpness)
                    store(row, at + 2 * w, rl)
                    rd = ru
        for lane in range(w):
            if ends[lane] == i + 1:
                at = ends[w + lane] * pitch + lane
                final[lane] = row[at]
                final[w + lane] = row[at + w]
    store(final, 2 * w, floats(odd))


@_compiled
def unwind_pairs(weights, bases, ends, rows, columns, m, final, row, cells, answer, rates):
    """Send probability back from the ends of a block of pairs, and write E or its derivative."""
    w = width(weights)
    group = max(1, CHUNK // m)
    cells[:] = 0.0
    row[:] = 0.0
    none = load(row, 0)
    pitch = 2 * w if rates else w
    for start in range((rows - 1) // group * group, -1, -group):
        count = min(group, rows - start)
        for i in range(start + count - 1, start - 1, -1):
            for lane in range(w):
                if ends[lane] == i + 1 and bits(final[w + lane]) >= -2 * LARGEST:
                    row[(ends[w + lane] - 1) * pitch + lane] = 1.0
            left = diagonal = none
            left_move = diagonal_move = none
            for j in range(columns - 1, -1, -1):
                flow = load(row, j * pitch) + left
                to = ((i - start) * m + j) * w
                if not rates:
                    store(cells, to, flow)
                    up, beside, left = split(weights, (i * columns + j) * 2 * w, flow)
                    store(row, j * pitch, up + diagonal)
                    diagonal = beside
                else:
                    move = load(row, j * pitch + w) + left_move
                    store(cells, to, move)
                    at = (i * columns + j) * 4 * w
                    up, beside, left = split(weights, at, flow)
                    store(row, j * pitch, up + diagonal)
                    diagonal = beside
                    up, beside, left_move = split_move(weights, at, flow, move)
                    store(row, j * pitch + w, up + diagonal_move)
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
        unwind_pairs(weights, bases, ends, rows, columns, m, final, row, cells, answer, False)
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
        unwind_pairs(weights, bases, ends, rows, columns, m, final, row, cells, answer, True)
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


@_compiled
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
    none = spread(high - high)
    odd = bits(load(final, 2 * w))
    ml, el, rl = none + 1.0, bits(none) + FLOOR, none
    md, rd = ml, none
    ed = bits(shift_up(floats(el), above[3 * (w - 1) + 1]))
    for start in range(0, steps, side):
        gather_steps(costs, bases, top, start, n, m, np.inf, cells)
        if directions is not None:
            gather_steps(directions, bases, top, start, n, m, 0.0, turned)
        for k in range(min(side, steps - start)):
            at = 3 * (start + k + w)
            mu, eu = shift_up(ml, above[at]), bits(shift_up(floats(el), above[at + 1]))
            ml, el, diagonal, over, left, total, odd = cell(
                md, ed, mu, eu, ml, el, load(cells, k * w), odd, high, low, limit
            )
            md, ed = mu, eu
            if weights is not None:
                if directions is None:
                    keep_shares(weights, (start + k) * 2 * w, diagonal, over, left, total)
                else:
                    to = (start + k) * 4 * w
                    keep_shares(weights, to, diagonal, over, left, total)
                    ru = shift_up(rl, above[at + 2])
                    rl = keep_rates(weights, to, rd, ru, rl, load(turned, k * w), sharpness)
                    rd = ru
            at = 3 * (start + k + 1)
            below[at] = last_lane(ml)
            below[at + 1] = last_lane(floats(el))
            if directions is not None:
                below[at + 2] = last_lane(rl)
    store(final, 0, ml)
    store(final, w, floats(el))
    store(final, 2 * w, floats(odd))


@_compiled
def unwind_strip(weights, bases, top, n, m, steps, ending, acc, cells, answer, rates):
    """Send probability back through a strip of rows, and write E or its derivative.

    ``acc`` holds what the strip below sends up, two numbers a column after a margin, and
    receives what this one does. The path ends at lane ``ending`` of the last step, or elsewhere
    (-1).
    """
    w = width(weights)
    side = tile(weights)
    cells[:] = 0.0
    none = load(cells, 0)
    if ending >= 0:
        cells[ending] = 1.0
    left = load(cells, 0)
    cells[:] = 0.0
    upward = diagonal = none
    left_move = upward_move = diagonal_move = none
    for start in range((steps - 1) // side * side, -1, -side):
        for k in range(min(side, steps - start) - 1, -1, -1):
            t = start + k
            flow = left + shift_down(upward, acc[2 * (t + 1)])
            if not rates:
                store(cells, k * w, flow)
                up, beside, left = split(weights, t * 2 * w, flow)
                upward = up + diagonal
                diagonal = beside
            else:
                move = left_move + shift_down(upward_move, acc[2 * (t + 1) + 1])
                store(cells, k * w, move)
                up, beside, left = split(weights, t * 4 * w, flow)
                upward = up + diagonal
                diagonal = beside
                up, beside, left_move = split_move(weights, t * 4 * w, flow, move)
                upward_move = up + diagonal_move
                diagonal_move = beside
                acc[2 * (t + w) + 1] = first_lane(upward_move)
            acc[2 * (t + w)] = first_lane(upward)
        scatter_steps(cells, answer, bases, top, start, n, m)
        cells[:] = 0.0


@_compiled
def open_border(above, scale, first):
    """Set what lies above a strip: nothing, but for the start of the path above the first one."""
    none = spread(scale[0] - scale[0])
    above[0::3] = 1.0
    above[1::3] = first_lane(floats(bits(none) + FLOOR))
    above[2::3] = 0.0
    if first:
        above[3 * (width(above) - 1) + 1] = 0.0


@_compiled
def choose_strip(base, strip, m, w, bases):
    """Set where the cell of each lane at step 0 lies; return the first row."""
    for lane in range(w):
        bases[lane] = base + (strip * w + lane) * m - lane
    return strip * w


@_compiled
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
                open_border(above, scale, True)
            open_border(below, scale, False)
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
            open_border(borders[strip], scale, strip == 0)
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
                weights, bases, top, rows, columns, steps, ending, acc, cells, answer, False
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
            open_border(borders[strip], scale, strip == 0)
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
                weights, bases, top, rows, columns, steps, ending, acc, cells, answer, True
            )
        if is_odd(final):
            settle_product(costs, directions, base, rows, columns, n, m, gamma, scale, answer)
