r"""One cell of the recursions on many lanes at once, without a logarithm.

With :math:`P = e^{-R/\gamma}` the soft minimum is a sum: :math:`P_{ij} = e^{-\Delta_{ij}/\gamma}
(P_{i-1,j-1} + P_{i-1,j} + P_{i,j-1})`, one exponential a cell. A cell is a mantissa in [1, 2) and
an integer exponent of two, so that nothing under- or overflows, and the shares of the three terms
are the transition probabilities.

A cost that no path may pay (+inf) gets the exponent ``FORBIDDEN``, far below all others: its share
is exactly zero beside any open cell. Costs so large that exponents might reach that far are *odd*,
as are NaN and -inf: ``exact`` computes their matrices.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

from vlalign_lib.engine.soft_dtw.lanes import bits, on_lanes, part

# Exponents. Those of a matrix whose costs are within the limit stay above -LARGEST; one forbidden
# cell takes a path below 2 * -LARGEST, and no exponent falls below FLOOR.
LARGEST = 1 << 27
FORBIDDEN = -(1 << 29)
FLOOR = -(1 << 30)

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


@part
def value_of(mantissa, exponent_bits, gamma):
    """Return -gamma log P of one cell, in float64; +inf where no path is open."""
    exponent = bits(exponent_bits)
    if exponent < -2 * LARGEST:
        return math.inf
    return -gamma * (exponent * math.log(2.0) + math.log(mantissa))


@part
def is_reached(exponent):
    """Tell whether any path is open to a cell, from the bits of its exponent."""
    return bits(exponent) >= -2 * LARGEST
