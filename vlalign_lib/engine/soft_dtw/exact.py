"""One matrix after another, one cell at a time: hard minima, and costs too large for exponents.

The minimum is taken out of every sum of exponentials, in float64, as the textbook has it.
"""

# mypy: ignore-errors

from __future__ import annotations

import math

import numpy as np

from vlalign_lib.engine.soft_dtw.lanes import compiled, part


@part
def kind_of(costs, base, n, m, columns, limit):
    """Tell whether a matrix holds NaN or -inf (-1), is to be computed here (0), or is not (1).

    It is where costs are too large for exponents, or no cost is small enough for them, and where
    there is only one path, which is to be spared the rounding of exponentials.
    """
    answer = 0 if n == 1 or m == 1 or limit < 0 else 1
    for i in range(n):
        for j in range(m):
            cost = costs[base + i * columns + j]
            if not (abs(cost) <= limit or cost == math.inf):
                if math.isnan(cost) or cost == -math.inf:
                    return -1
                answer = 0
    return answer


@part
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


@part
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


@part
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


@compiled
def values(costs, lengths, odd, n, m, gamma, limit, answer):
    """Write the values of the pairs that are odd; leave those that only seemed to be."""
    for pair in range(len(lengths)):
        if odd[pair]:
            rows, columns = lengths[pair]
            kind = kind_of(costs, pair * n * m, rows, columns, m, limit)
            if kind < 0:
                answer[pair] = math.nan
            elif kind == 0:
                answer[pair] = exactly(costs, pair * n * m, rows, columns, m, gamma, None)


@compiled
def alignments(costs, directions, lengths, odd, n, m, gamma, limit, answer):
    """Write E of the pairs that are odd, or where there are directions, its derivative."""
    for pair in range(len(lengths)):
        rows, columns = lengths[pair]
        base = pair * n * m
        kind = kind_of(costs, base, rows, columns, m, limit) if odd[pair] else 1
        if kind > 0:
            continue
        answer[base : base + n * m] = 0.0
        if kind < 0:
            for i in range(rows):
                answer[base + i * m : base + i * m + columns] = math.nan
            continue
        weights = np.empty((rows, columns, 3))
        exactly(costs, base, rows, columns, m, gamma, weights)
        if directions is None:
            expected_exactly(weights, rows, columns, m, answer, base)
        else:
            product_exactly(weights, rows, columns, m, gamma, directions, answer, base)
