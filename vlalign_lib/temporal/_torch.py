r"""Soft-DTW in plain torch: the readable reference, and what runs where no kernel does.

All cells of an anti-diagonal i + j = k depend only on the two anti-diagonals before it, so that n
+ m − 1 steps of whole-tensor operations do for any batch. The anti-diagonals lie in a skewed copy
of the matrix: row i shifted right by i, one column an anti-diagonal. With costs :math:`\Delta`,

.. math::

    R_{ij} = \Delta_{ij} + {\min}^\gamma \{R_{i-1,j-1}, R_{i-1,j}, R_{i,j-1}\}, \qquad
    p_{ij \to q} = \exp\bigl(({\min}^\gamma_{ij} - R_q) / \gamma\bigr),

where q is one of the three predecessors: a path drawn from the end backwards steps from (i, j) to
q with probability p. That is all the derivatives need (``alignment``, ``hessian_product``).
Everything is computed in float64: single precision loses three digits at length 500.

Cells that no path may enter (+inf, beyond the lengths, out of the matrix) are *closed*: R is +inf,
all three probabilities are 0. The path starts at a virtual cell with R = 0 diagonally before the
first one. In a pair with NaN (or −inf, for which there is no smallest path) every valid cell
becomes NaN.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

State = tuple[Tensor, ...]
INF = float("inf")


def forward(
    cost: Tensor, lengths: Tensor | None, gamma: float, *, keep: bool
) -> tuple[Tensor, State]:
    """Return the soft-DTW values (B,), and the transition probabilities (K, 3, B, n) to keep.

    K = n + m − 1 anti-diagonals; the three predecessors are the diagonal one, the one above, and
    the one to the left.
    """
    kept = []
    values = cost
    for so_far, probabilities in _recursion(cost, lengths, gamma, keep=keep):
        values = so_far
        if keep:
            kept.append(probabilities)
    return values.to(cost.dtype), (torch.stack(kept),) if keep else ()


def differentiable(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    """Return the values (B,) by operations that autograd follows to any order."""
    *_, (values, _) = _recursion(cost, lengths, gamma, keep=False)
    return values.to(cost.dtype)


def alignment(state: State, lengths: Tensor | None, gamma: float, shape: tuple[int, ...]) -> Tensor:
    r"""Return E (B, n, m), how probable it is that the path visits each cell.

    .. math:: E_{nm} = 1, \qquad E_{q} = \sum_{s} E_s\, p_{s \to q} \text{ over successors } s.
    """
    (probabilities,) = state
    seeds = _path_ends(probabilities, lengths, shape[2])
    after = torch.zeros_like(seeds[0])
    second = after
    flows = []
    for k in reversed(range(len(probabilities))):
        flow = seeds[k] + _from_successors(probabilities, k, after, second)
        flows.append(flow)
        after, second = flow, after
    return _unskew(torch.stack(flows[::-1]), shape)


def hessian_product(
    state: State, expected: Tensor, direction: Tensor, lengths: Tensor | None, gamma: float
) -> Tensor:
    r"""Return the derivative (B, n, m) of E in a direction Z of the costs.

    .. math::

        \dot R_{ij} = Z_{ij} + \sum_q p_q \dot R_q, \qquad
        \dot p_q = -\frac{p_q}{\gamma} \Bigl(\dot R_q - \sum_r p_r \dot R_r\Bigr), \qquad
        \dot E_q = \sum_s \bigl(\dot E_s\, p_{s \to q} + E_s\, \dot p_{s \to q}\bigr).
    """
    shape = tuple(direction.shape)
    if gamma == 0:
        return torch.zeros_like(direction)
    (probabilities,) = state
    z, e = (_skew(values.to(probabilities.dtype), 0.0) for values in (direction, expected))
    before = torch.zeros_like(z[0])
    second = before
    changes = []
    for k, p in enumerate(probabilities):
        rates = torch.stack(_predecessors(before, second, border=0.0, corner=0.0))
        closed = p == 0  # even if NaN lies before it
        mean = torch.where(closed, 0.0, p * rates).sum(0)
        changes.append(torch.where(closed, 0.0, -p * (rates - mean) / gamma))
        before, second = z[k] + mean, before
    change = torch.stack(changes)
    after = torch.zeros_like(z[0])
    second = after
    flows = []
    for k in reversed(range(len(probabilities))):
        flow = 0.0 * e[k] + _from_successors(probabilities, k, after, second)  # NaN stays NaN
        flow = flow + _from_successors(change, k, *(e[min(k + s, len(e) - 1)] for s in (1, 2)))
        flows.append(flow)
        after, second = flow, after
    return _unskew(torch.stack(flows[::-1]), shape).to(direction.dtype)


def _recursion(
    cost: Tensor, lengths: Tensor | None, gamma: float, *, keep: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield for each anti-diagonal the values so far (B,) and the probabilities (3, B, n)."""
    n, m = cost.shape[1:]
    # Apple's devices have no float64.
    work = cost.to(torch.float32 if cost.device.type == "mps" else torch.float64)
    ends = _as_ends(lengths, cost)
    valid = is_valid(ends, n, m)
    inside = torch.where(valid, work, 0.0)
    broken = (inside.isnan() | inside.isneginf()).flatten(1).any(1)
    # A factor, not a replacement: the gradient is to be NaN as well.
    factor = torch.where(broken, float("nan"), torch.ones_like(inside[:, 0, 0]))[:, None]
    diagonals = _skew(torch.where(valid, inside * factor[:, None], INF), INF)
    rows, last = ends[:, :1] - 1, ends.sum(1) - 2
    before = torch.full_like(diagonals[0], INF)
    second = before
    values = torch.full_like(before[:, 0], INF)
    for k, costs in enumerate(diagonals):
        predecessors = _predecessors(before, second, border=INF, corner=INF if k else 0.0)
        least, probabilities = _soft_min(torch.stack(predecessors), gamma, keep=keep)
        # Not even NaN opens a cell at +inf.
        before, second = torch.where(costs == INF, INF, costs + least), before
        values = torch.where(last == k, before.gather(1, rows)[:, 0], values)
        if keep:
            probabilities = torch.where(before == INF, 0.0, probabilities * factor)
        yield values, probabilities


def _soft_min(values: Tensor, gamma: float, *, keep: bool) -> tuple[Tensor, Tensor]:
    """Return the soft minimum over the first axis and, to keep, the weights of the three.

    Where all are +inf the answer is +inf, without a gradient.
    """
    if gamma == 0:
        which = values.argmin(0)  # the first of equals: diagonal, above, left
        weights = torch.stack([which == q for q in range(3)]).to(values.dtype)
        return values.gather(0, which[None])[0], weights
    least = values.detach().amin(0)
    closed = least == INF
    scaled = torch.where(closed, 0.0, (least - values) / gamma)
    soft = torch.where(closed, INF, least - gamma * scaled.logsumexp(0))
    return soft, scaled.softmax(0) if keep else scaled


def _predecessors(
    before: Tensor, second: Tensor, *, border: float, corner: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the cells of an anti-diagonal see diagonally, above and to the left."""
    return (
        pad(second[:, :-1], (1, 0), value=corner),
        pad(before[:, :-1], (1, 0), value=border),
        before,
    )


def _from_successors(weights: Tensor, k: int, after: Tensor, second: Tensor) -> Tensor:
    """Return what flows back into anti-diagonal k from the next one and the one after it."""
    flow = torch.zeros_like(after)
    if k + 1 < len(weights):
        flow = after * weights[k + 1, 2] + _row_below(after * weights[k + 1, 1])
    if k + 2 < len(weights):
        flow = flow + _row_below(second * weights[k + 2, 0])
    return flow


def _row_below(values: Tensor) -> Tensor:
    return pad(values[:, 1:], (0, 1))


def _as_ends(lengths: Tensor | None, like: Tensor) -> Tensor:
    """Return the lengths (B, 2), those of the whole array where none are given."""
    if lengths is not None:
        return lengths
    size, n, m = like.shape
    return torch.stack([torch.full((size,), end, device=like.device) for end in (n, m)], 1)


def is_valid(ends: Tensor, n: int, m: int) -> Tensor:
    """Tell which cells (B, n, m) lie within the lengths."""
    rows, columns = (torch.arange(size, device=ends.device) for size in (n, m))
    return (rows[:, None] < ends[:, 0, None, None]) & (columns < ends[:, 1, None, None])


def _path_ends(probabilities: Tensor, lengths: Tensor | None, m: int) -> Tensor:
    """Return 1 at the last cell of every pair that has a path, on anti-diagonals (K, B, n)."""
    diagonals, _, size, n = probabilities.shape
    ends = _as_ends(lengths, probabilities.new_empty(size, n, m))
    on_diagonal = torch.arange(diagonals, device=ends.device)[:, None] == ends.sum(1) - 2
    in_row = torch.arange(n, device=ends.device) == ends[:, :1] - 1
    return torch.where(on_diagonal[:, :, None] & in_row, probabilities.sum(1), 0.0)


def _skew(values: Tensor, fill: float) -> Tensor:
    """Return the anti-diagonals (n + m - 1, B, n) of (B, n, m), row i at place i of each."""
    size, n, m = values.shape
    shifted = pad(values, (0, n), value=fill).flatten(1)[:, :-n]
    return shifted.view(size, n, n + m - 1).permute(2, 0, 1)


def _unskew(diagonals: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the matrices (B, n, m) of which these are the anti-diagonals."""
    size, n, m = shape
    rows = pad(diagonals.permute(1, 2, 0).flatten(1), (0, n)).view(size, n, n + m)
    return rows[:, :, :m].contiguous()
