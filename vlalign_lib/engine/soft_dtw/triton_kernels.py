r"""The recursions of soft-DTW as Triton kernels, for CUDA devices.

Values, alignments and their derivatives, as ``temporal`` defines them. All three sweep the
anti-diagonals of the matrix, and what the cells of one hand to the next stays in registers.

**Lanes and steps.** A program has 32 lanes, the threads of one warp. A lane owns a row and moves
one column a step, one step behind the lane above it, so that in every step a lane needs two
numbers of its own and one that the lane above it had a step ago. ``tl.gather`` hands that over:
one shuffle, no shared memory, no barrier. Where a matrix is taller than wide, lanes own columns.
Matrices with up to 16 lanes share a program: 2 of 16 lanes, 4 of 8 or 8 of 4.

**Tiles.** A matrix with more lanes than 32 is cut into strips of 32, and, where there are too few
pairs to keep a card busy, into blocks of columns as well. What crosses from tile to tile goes
through memory. Tiles on one anti-diagonal of tiles run in one launch, and read only what
*earlier launches* have written; everything is written once. So nothing depends on how programs,
warps or threads are scheduled, and there is no limit on the length.

**Numbers.** Single precision works with probabilities, :math:`P = e^{-R/\gamma}`, so that

.. math:: P_{ij} = e^{-\Delta_{ij}/\gamma}\,(P_{i-1,j-1} + P_{i-1,j} + P_{i,j-1}),

each P as a float in [1, 2) and an integer power of two: one exponential a cell, no logarithm, and
neither overflow nor underflow. A pair whose costs are too large for that (a power beyond
:math:`2^{20}` for a cell, or :math:`2^{29}` for a path), double precision, and :math:`\gamma = 0`
take R itself in float64 and the soft minimum as it is defined. Both ways are in one kernel; a pair
takes the one it needs without the host being asked. Two of the three transition probabilities of
a cell are kept, and the third is what is missing from 1; E is added up in float64. So no mass is
lost on the way back, and single precision is right to some :math:`10^{-7}` at length 2,000.

**Why not otherwise.** A scan along a row needs the same shuffle for the diagonal neighbour, and
log n rounds of more of them. A block of threads for a long matrix needs a barrier a step. Lanes
that own whole pairs need no shuffle, but their rows do not fit into registers, and some ten
thousand pairs to fill a card.
"""

# mypy: disable-error-code="no-untyped-def, import-not-found, import-untyped"

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

State = tuple[Tensor, ...]

WARP = 32  # threads; a program has as many pairs as fill it
LANES = 32  # of a tile
WIDTH = 128  # columns of a tile where there are few pairs
MANY = 1024  # pairs that keep a card busy without cutting matrices into blocks
SHORT = 256  # steps up to which a program looks at the costs of its pairs itself
LARGEST = 1 << 20  # exponent of a single cost, so that its fraction has digits left
NOTHING = tl.constexpr(-(1 << 30))  # exponent of a probability of zero

# How a pair is computed.
PROBABILITIES = tl.constexpr(0)
LOGARITHMS = tl.constexpr(1)
BROKEN = tl.constexpr(2)  # NaN or -inf among its costs

# Sizes are not compiled into the kernels, so that a kernel is compiled once.
MATRIX = ("pairs", "lanes", "steps", "lane_stride", "step_stride")
SIZES = (*MATRIX, "strips", "blocks", "diagonal", "width")


def forward(
    cost: Tensor, lengths: Tensor | None, gamma: float, *, keep: bool
) -> tuple[Tensor, State]:
    """Return the soft-DTW values (B,) and what the other functions need.

    That is two transition probabilities (B, n, m), to the diagonal cell and to that of the lane
    above, and E at the last cells (B,): 1, or 0 for a pair without a path.
    """
    plan = Plan.of(cost.shape)
    values, seeds = (cost.new_empty(plan.pairs) for _ in range(2))
    kept = [torch.empty_like(cost) for _ in range(2)] if keep else [cost, cost]
    fused = plan.strips == 1 and plan.steps <= SHORT
    modes = (torch.empty if fused else torch.zeros)(
        plan.pairs, dtype=torch.int32, device=cost.device
    )
    by_rows, by_columns = plan.edges(cost, torch.int64)
    constants = plan.constants(lengths)
    quick = cost.dtype == torch.float32 and gamma > 0 and 1e-30 < 1 / gamma / math.log(2) < 1e30
    rate = -1 / gamma / math.log(2) if quick else 0.0
    coarse = float(np.float32(rate))
    limit = float(min(LARGEST, (1 << 29) // (plan.lanes + plan.steps) - 8))
    with _on(cost.device):
        if not fused:
            tiles = triton.cdiv(cost.shape[1], 32), triton.cdiv(cost.shape[2], 128)
            _classify[(plan.pairs * tiles[0] * tiles[1],)](
                cost,
                modes,
                cost if lengths is None else lengths,
                *cost.shape[1:],
                *tiles,
                coarse,
                limit,
                LENGTHS=lengths is not None,
                num_warps=4,
                num_stages=1,
            )
        for diagonal, grid in plan.launches():
            _forward_tile[grid](
                cost,
                modes,
                cost if lengths is None else lengths,
                *kept,
                by_rows,
                by_columns,
                values,
                seeds,
                *plan.sizes(diagonal),
                _bits(gamma),
                _bits(gamma * math.log(2)),
                coarse,
                rate - coarse,
                limit,
                **constants,
                QUICK=quick,
                HARD=gamma == 0,
                KEEP=keep,
                FUSED=fused,
                num_warps=1,
                num_stages=1,
            )
    return values, (*kept, seeds) if keep else ()


def alignment(state: State, lengths: Tensor | None, gamma: float, shape: tuple[int, ...]) -> Tensor:
    """Return E (B, n, m), how probable it is that the path visits each cell."""
    to_diagonal, to_above, seeds = state
    unused = to_diagonal
    result = _zeros_beyond(lengths, to_diagonal)
    _flow(to_diagonal, to_above, seeds, unused, unused, unused, result, lengths, second=False)
    return result


def hessian_product(
    state: State, expected: Tensor, direction: Tensor, lengths: Tensor | None, gamma: float
) -> Tensor:
    """Return the derivative (B, n, m) of E in a direction of the costs."""
    if gamma == 0:
        return torch.zeros_like(direction)
    to_diagonal, to_above, seeds = state
    plan = Plan.of(direction.shape)
    direction, expected = (t.to(to_diagonal.dtype).contiguous() for t in (direction, expected))
    by_diagonal, by_above = (torch.empty_like(to_diagonal) for _ in range(2))
    by_rows, by_columns = plan.edges(to_diagonal, torch.float64)
    constants = plan.constants(lengths)
    with _on(direction.device):
        for diagonal, grid in plan.launches():
            _tangent_tile[grid](
                direction,
                to_diagonal if lengths is None else lengths,
                to_diagonal,
                to_above,
                by_diagonal,
                by_above,
                by_rows,
                by_columns,
                *plan.sizes(diagonal),
                _bits(gamma),
                **constants,
                num_warps=1,
                num_stages=1,
            )
    result = _zeros_beyond(lengths, to_diagonal)
    _flow(
        to_diagonal, to_above, seeds, expected, by_diagonal, by_above, result, lengths, second=True
    )
    return result


@dataclass(frozen=True)
class Plan:
    """How matrices are spread over programs and launches; known from their shape alone."""

    pairs: int
    lanes: int
    steps: int
    swapped: bool

    @classmethod
    def of(cls, shape: torch.Size) -> Plan:
        """Return the plan for matrices (B, n, m)."""
        pairs, n, m = shape
        return cls(pairs, min(n, m), max(n, m), n > m)

    @cached_property
    def height(self) -> int:
        """Return the lanes of a tile: a power of two."""
        return min(LANES, max(4, 1 << (self.lanes - 1).bit_length()))

    @cached_property
    def strips(self) -> int:
        """Return how many tiles lie one above the other."""
        return -(-self.lanes // self.height)

    @cached_property
    def width(self) -> int:
        """Return the columns of a tile."""
        return self.steps if self.strips == 1 or self.pairs >= MANY else min(WIDTH, self.steps)

    @cached_property
    def blocks(self) -> int:
        """Return how many tiles lie side by side."""
        return -(-self.steps // self.width)

    def edges(self, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return room for what crosses from a strip to the next and from a block to the next."""
        by_rows = self.pairs * self.strips * self.steps if self.strips > 1 else 1
        by_columns = self.pairs * self.blocks * self.lanes if self.blocks > 1 else 1
        return like.new_empty(by_rows, dtype=dtype), like.new_empty(by_columns, dtype=dtype)

    @cached_property
    def shared(self) -> int:
        """Return how many pairs have a program together."""
        return max(1, WARP // self.height)

    def launches(self, *, backwards: bool = False) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield each anti-diagonal of tiles and its grid: programs for the pairs, tiles."""
        diagonals = range(self.strips + self.blocks - 1)
        for diagonal in reversed(diagonals) if backwards else diagonals:
            first = max(0, diagonal - self.blocks + 1)
            tiles = min(self.strips - 1, diagonal) - first + 1
            yield diagonal, (triton.cdiv(self.pairs, self.shared), tiles)

    def sizes(self, diagonal: int) -> tuple[int, ...]:
        """Return the arguments ``SIZES`` of a kernel."""
        columns = self.lanes if self.swapped else self.steps
        strides = (1, columns) if self.swapped else (columns, 1)
        tiles = (self.strips, self.blocks, diagonal, self.width)
        return (self.pairs, self.lanes, self.steps, *strides, *tiles)

    def constants(self, lengths: Tensor | None) -> dict[str, Any]:
        """Return the arguments that are compiled into a kernel."""
        return {
            "PAIRS": self.shared,
            "HEIGHT": self.height,
            "STRIPS": self.strips > 1,
            "BLOCKS": self.blocks > 1,
            "SWAPPED": self.swapped,
            "LENGTHS": lengths is not None,
        }


def _flow(
    to_diagonal: Tensor,
    to_above: Tensor,
    seeds: Tensor,
    expected: Tensor,
    diagonal_change: Tensor,
    above_change: Tensor,
    result: Tensor,
    lengths: Tensor | None,
    *,
    second: bool,
) -> None:
    plan = Plan.of(result.shape)
    by_rows, _ = plan.edges(result, torch.float64)
    constants = plan.constants(lengths)
    with _on(result.device):
        for diagonal, grid in plan.launches(backwards=True):
            _flow_tile[grid](
                to_diagonal,
                to_above,
                seeds,
                expected,
                diagonal_change,
                above_change,
                result,
                to_diagonal if lengths is None else lengths,
                by_rows,
                *plan.sizes(diagonal),
                **constants,
                SECOND=second,
                num_warps=1,
                num_stages=1,
            )


def _zeros_beyond(lengths: Tensor | None, like: Tensor) -> Tensor:
    """Return room for a result of which a kernel writes the cells within the lengths."""
    return torch.empty_like(like) if lengths is None else torch.zeros_like(like)


def _bits(value: float) -> int:
    """Return the bits of a double: Triton rounds floats to single precision on the way.

    Triton goes by the size of a whole number, too; those of normal numbers all take 64 bits.
    """
    bits: int = struct.unpack("<q", struct.pack("<d", max(value, sys.float_info.min)))[0]
    return bits


def _on(device: torch.device) -> AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@triton.jit
def _shuffled(values, lane, STEP: tl.constexpr):
    """Return what the lane ``STEP`` (1: above, -1: below) holds; the outermost keeps its own."""
    other = tl.minimum(tl.maximum(lane - STEP, 0), values.shape[1] - 1)
    return tl.gather(values, tl.broadcast_to(other, values.shape), 1)


@triton.jit
def _combined(before, last, single, next_before, next_last, next_single):
    """Combine two runs of lanes: what the lane before the last one holds, and the last one."""
    return tl.where(next_single != 0, last, next_before), next_last, next_single * 0


@triton.jit
def _scanned(values, lane, STEP: tl.constexpr):
    """Do the same by a scan."""
    single = tl.full(values.shape, 1, tl.int32)
    moved, _, _ = tl.associative_scan((values, values, single), 1, _combined, reverse=STEP < 0)
    return moved


_neighbour = _shuffled if hasattr(tl, "gather") else _scanned  # Triton 3.2 has no gather


@triton.jit
def _power(exponent):
    """Return 2 to an integer of at most 0, in single precision; 0 below -126."""
    return ((tl.maximum(exponent, -127) + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def _mode(value, rate, limit):
    """Return how a pair with this cost has to be computed."""
    broken = (value != value) | (value == float("-inf"))
    exponent = tl.abs(value.to(tl.float32) * rate)
    large = (value != float("inf")) & ~(exponent <= limit)
    return tl.where(broken, BROKEN, tl.where(large, LOGARITHMS, PROBABILITIES))


@triton.jit(do_not_specialize=["rows", "columns", "high", "across"])
def _classify(
    cost, modes, lengths, rows, columns, high, across, rate, limit, LENGTHS: tl.constexpr
):  # fmt: skip
    """Raise the mode of a pair to that which a tile of 32×128 costs needs."""
    strip = tl.program_id(0) // across
    pair = (strip // high).to(tl.int64)
    row = (strip % high) * 32 + tl.arange(0, 32)[:, None]
    column = (tl.program_id(0) % across) * 128 + tl.arange(0, 128)[None, :]
    last_row, last_column = rows, columns
    if LENGTHS:
        last_row = tl.load(lengths + 2 * pair).to(tl.int32)
        last_column = tl.load(lengths + 2 * pair + 1).to(tl.int32)
    valid = (row < last_row) & (column < last_column)
    place = (pair * rows + row) * columns + column
    found = _mode(tl.load(cost + place, mask=valid, other=0.0), rate, limit)
    mode = tl.max(tl.max(tl.where(valid, found, 0), axis=1), axis=0)
    tl.atomic_max(modes + pair, mode, mask=mode > 0)


@triton.jit
def _tile(
    lengths, pairs, lanes, steps, strips, blocks, diagonal, width,
    PAIRS: tl.constexpr, HEIGHT: tl.constexpr, SWAPPED: tl.constexpr, LENGTHS: tl.constexpr,
):  # fmt: skip
    """Return which tile of which pairs this program has.

    That is: the pairs (P, 1) and lanes (1, H); the tile's strip and block, its first lane and
    step; where the matrices of the pairs end; how many lanes and columns of the tile lie before.
    """
    pair = tl.program_id(0).to(tl.int64) * PAIRS + tl.arange(0, PAIRS)[:, None]
    lane = tl.arange(0, HEIGHT)[None, :]
    strip = tl.maximum(diagonal - blocks + 1, 0) + tl.program_id(1) + lane * 0
    block = diagonal - strip
    top = strip * HEIGHT
    start = block * width
    known = pair < pairs
    if LENGTHS:
        rows = tl.load(lengths + 2 * pair, mask=known, other=0).to(tl.int32)
        columns = tl.load(lengths + 2 * pair + 1, mask=known, other=0).to(tl.int32)
        last_lane = columns if SWAPPED else rows
        last_step = rows if SWAPPED else columns
    else:
        last_lane = tl.where(known, lanes, 0)
        last_step = tl.where(known, steps, 0)
    tall = tl.minimum(tl.maximum(last_lane - top, 0), HEIGHT)
    wide = tl.minimum(tl.maximum(last_step - start, 0), width)
    return pair, lane, strip, block, top, start, last_lane, last_step, tall, wide


@triton.jit
def _rounds(tall, wide):
    """Return how many steps it takes until all lanes of all pairs are through."""
    needed = tl.where((tall > 0) & (wide > 0), tall + wide - 1, 0)
    return tl.max(tl.max(needed, axis=1), axis=0)


@triton.jit
def _at(source, place, stride, step, order, exists, wide, other):
    """Load what the lanes need in a step; ``other`` for those that are at no cell then.

    A lane is at its first cell in step ``order`` and at its last one ``wide`` steps later.
    """
    mask = exists & (step >= order) & (step - order < wide)
    return tl.load(source + place + step * stride, mask=mask, other=other)


@triton.jit
def _modes_of(cost, place, stride, lane, exists, wide, rate, limit):
    """Return the modes (P, 1) of pairs that lie in one tile, eight steps of loads at a time."""
    mode = (place * 0).to(tl.int32)
    for step in range(0, _rounds(tl.where(exists, lane + 1, 0), wide), 8):
        for later in tl.static_range(8):
            value = _at(cost, place, stride, step + later, lane, exists, wide, 0.0)
            mode = tl.maximum(mode, _mode(value, rate, limit))
    return tl.max(mode, axis=1)[:, None]


@triton.jit
def _packed(mantissa, exponent):
    """Return a probability as one integer of 64 bits."""
    return (exponent.to(tl.int64) << 32) | mantissa.to(tl.int32, bitcast=True).to(tl.int64)


@triton.jit
def _unpacked(packed):
    """Return mantissa and exponent of a probability."""
    mantissa = (packed & 0x7FFFFFFF).to(tl.int32).to(tl.float32, bitcast=True)
    return mantissa, (packed >> 32).to(tl.int32)


@triton.jit
def _weight(cost, rate, rate_rest):
    """Return exp(-cost / gamma) as a float near 1 and an exponent, right to the last bit but one.

    ``rate + rate_rest`` is -1 / (gamma ln 2) to twice the precision, since the error of an
    exponent is the relative error of the weight. The polynomial is (2^x - 1) / x for
    -1/2 <= x <= 1/2 with the least relative error of 2^x, 2.6e-9: the exponential of the hardware
    is less exact, and its errors add up along a path.
    """
    exponent = cost * rate
    whole = tl.floor(exponent + 0.5)
    x = (exponent - whole) + (tl.fma(cost, rate, -exponent) + cost * rate_rest)
    series = 1.53491157e-4 * x + 1.34041312e-3
    series = series * x + 9.61849000e-3
    series = series * x + 5.55031933e-2
    series = series * x + 2.40226477e-1
    series = series * x + 6.93147182e-1
    return series * x + 1.0, whole.to(tl.int32)


@triton.jit
def _transition(diagonal, above, left, KIND: tl.constexpr):
    """Return the probabilities of the diagonal and of the upper predecessor.

    The arguments are in proportion to the probabilities. That of the left one is what the two
    leave of 1: exactly 0 for a closed cell, so that nothing flows into it, and never negative.
    """
    rest = above + left
    total = diagonal + rest
    total = tl.where(total > 0, total, total * 0 + 1)
    share = 1.0 / total
    if total.dtype == tl.float32:  # the hardware divides less exactly than it could
        share = tl.fma(share, tl.fma(-total, share, total * 0 + 1), share)
    p = tl.where(rest > 0, tl.minimum(diagonal * share, 1.0), 1.0).to(KIND)
    missing = 1.0 - p
    q = tl.where(left > 0, tl.minimum((above * share).to(KIND), missing), missing)
    return p, q


@triton.jit
def _three(p, q):
    """Return the probabilities of all three predecessors in float64, from the two stored ones."""
    closed = (1.0 - p) - q == 0
    p = p.to(tl.float64)
    q = tl.where(closed, 1.0 - p, q.to(tl.float64))
    return p, q, tl.where(closed, 0.0, (1.0 - p) - q)


@triton.jit(do_not_specialize=[*SIZES, "gamma_bits", "unit_bits"])
def _forward_tile(
    cost, modes, lengths, to_diagonal, to_above, row_edges, column_edges, values, seeds,
    pairs, lanes, steps, lane_stride, step_stride, strips, blocks, diagonal, width,
    gamma_bits, unit_bits, rate, rate_rest, limit,
    PAIRS: tl.constexpr, HEIGHT: tl.constexpr, STRIPS: tl.constexpr, BLOCKS: tl.constexpr,
    SWAPPED: tl.constexpr, LENGTHS: tl.constexpr, QUICK: tl.constexpr, HARD: tl.constexpr,
    KEEP: tl.constexpr, FUSED: tl.constexpr,
):  # fmt: skip
    """Sweep a tile: transition probabilities, what the next tiles need, the values."""
    pair, lane, strip, block, top, start, last_lane, last_step, tall, wide = _tile(
        lengths, pairs, lanes, steps, strips, blocks, diagonal, width,
        PAIRS, HEIGHT, SWAPPED, LENGTHS,
    )  # fmt: skip
    kind: tl.constexpr = cost.dtype.element_ty
    stride = step_stride.to(tl.int64)
    place = pair * lanes * steps + (top + lane) * lane_stride.to(tl.int64) + (start - lane) * stride
    if FUSED:
        mode = _modes_of(cost, place, stride, lane, lane < tall, wide, rate, limit)
    else:
        mode = tl.load(modes + pair, mask=pair < pairs, other=0)
    if not QUICK:
        mode = tl.maximum(mode, LOGARITHMS)
    # Of the edges: where lane 0 reads in step 0, where the last lane writes, beside each lane.
    above = (pair * strips + strip - 1) * steps + start + lane * 0
    below = (pair * strips + strip) * steps + start - lane
    beside = (pair * blocks + block) * lanes + top + lane
    is_first = (lane == 0) & (strip == 0) & (block == 0)
    is_last = (top + lane == last_lane - 1) & (start < last_step) & (last_step <= start + wide)

    if QUICK:
        exists = (mode == PROBABILITIES) & (lane < tall)
        enters = exists & (lane == 0) & (strip > 0)
        nothing = tl.full([PAIRS, HEIGHT], -(1 << 62), tl.int64)
        own, corner, edge0, edge1, edge2, edge3 = (
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
        )
        if BLOCKS:
            mask = exists & (wide > 0) & (block > 0)
            own = tl.load(column_edges + beside - lanes, mask=mask, other=-(1 << 62))
        if STRIPS:
            mask = enters & (wide > 0) & (start > 0)
            corner = tl.load(row_edges + above - 1, mask=mask, other=-(1 << 62))
            edge0 = _at(row_edges, above, 1, 0, lane, enters, wide, -(1 << 62))
            edge1 = _at(row_edges, above, 1, 1, lane, enters, wide, -(1 << 62))
            edge2 = _at(row_edges, above, 1, 2, lane, enters, wide, -(1 << 62))
            edge3 = _at(row_edges, above, 1, 3, lane, enters, wide, -(1 << 62))
        cost0 = _at(cost, place, stride, 0, lane, exists, wide, 0.0)
        cost1 = _at(cost, place, stride, 1, lane, exists, wide, 0.0)
        cost2 = _at(cost, place, stride, 2, lane, exists, wide, 0.0)
        cost3 = _at(cost, place, stride, 3, lane, exists, wide, 0.0)
        m, e = _unpacked(own)
        up_m, up_e = _unpacked(corner)
        up_m = tl.where(is_first, 1.0, up_m)
        up_e = tl.where(is_first, 0, up_e)
        for step in range(_rounds(tl.where(mode == PROBABILITIES, tall, 0), wide)):
            here = exists & (step >= lane) & (step - lane < wide)
            diagonal_m, diagonal_e = up_m, up_e
            edge_m, edge_e = _unpacked(edge0)
            up_m = tl.where(lane == 0, edge_m, _neighbour(m, lane, 1))
            up_e = tl.where(lane == 0, edge_e, _neighbour(e, lane, 1))
            largest = tl.maximum(tl.maximum(diagonal_e, up_e), e)
            by_diagonal = diagonal_m * _power(diagonal_e - largest)
            by_above = up_m * _power(up_e - largest)
            by_left = m * _power(e - largest)
            if KEEP:
                p, q = _transition(by_diagonal, by_above, by_left, kind)
                tl.store(to_diagonal + place + step * stride, p, mask=here)
                tl.store(to_above + place + step * stride, q, mask=here)
            forbidden = cost0 == float("inf")
            w, w_e = _weight(tl.where(forbidden, 0.0, cost0), rate, rate_rest)
            product = (by_diagonal + by_above + by_left) * w
            closed = forbidden | (product == 0)
            bits = product.to(tl.int32, bitcast=True)
            new_m = ((bits & 0x007FFFFF) | 0x3F800000).to(tl.float32, bitcast=True)
            new_e = largest + w_e + (bits >> 23) - 127
            m = tl.where(here, tl.where(closed, 0.0, new_m), m)
            e = tl.where(here, tl.where(closed, NOTHING, new_e), e)
            if STRIPS:
                leaves = here & (lane == HEIGHT - 1) & (strip < strips - 1)
                tl.store(row_edges + below + step, _packed(m, e), mask=leaves)
                edge0, edge1, edge2 = edge1, edge2, edge3
                edge3 = _at(row_edges, above, 1, step + 4, lane, enters, wide, -(1 << 62))
            cost0, cost1, cost2 = cost1, cost2, cost3
            cost3 = _at(cost, place, stride, step + 4, lane, exists, wide, 0.0)
        if BLOCKS:
            mask = exists & (wide > 0) & (block < blocks - 1)
            tl.store(column_edges + beside, _packed(m, e), mask=mask)
        logarithm = tl.log2(tl.where(m > 0, m, 1.0).to(tl.float64)) + e.to(tl.float64)
        value = -logarithm * unit_bits.to(tl.float64, bitcast=True)
        value = tl.where(m > 0, value, float("inf")).to(kind)
        tl.store(values + pair + lane * 0, value, mask=exists & is_last)
        tl.store(seeds + pair + lane * 0, tl.where(m > 0, 1.0, 0.0).to(kind), mask=exists & is_last)

    exists = (mode == LOGARITHMS) & (lane < tall)
    enters = exists & (lane == 0) & (strip > 0)
    infinite = tl.full([PAIRS, HEIGHT], float("inf"), tl.float64)
    r, up, edge0, edge1, edge2, edge3 = infinite, infinite, infinite, infinite, infinite, infinite
    numbers = tl.pointer_type(tl.float64)
    row_numbers = row_edges.to(numbers, bitcast=True)
    column_numbers = column_edges.to(numbers, bitcast=True)
    if BLOCKS:
        mask = exists & (wide > 0) & (block > 0)
        r = tl.load(column_numbers + beside - lanes, mask=mask, other=float("inf"))
    if STRIPS:
        mask = enters & (wide > 0) & (start > 0)
        up = tl.load(row_numbers + above - 1, mask=mask, other=float("inf"))
        edge0 = _at(row_numbers, above, 1, 0, lane, enters, wide, float("inf"))
        edge1 = _at(row_numbers, above, 1, 1, lane, enters, wide, float("inf"))
        edge2 = _at(row_numbers, above, 1, 2, lane, enters, wide, float("inf"))
        edge3 = _at(row_numbers, above, 1, 3, lane, enters, wide, float("inf"))
    cost0 = _at(cost, place, stride, 0, lane, exists, wide, 0.0)
    cost1 = _at(cost, place, stride, 1, lane, exists, wide, 0.0)
    cost2 = _at(cost, place, stride, 2, lane, exists, wide, 0.0)
    cost3 = _at(cost, place, stride, 3, lane, exists, wide, 0.0)
    up = tl.where(is_first, 0.0, up)
    for step in range(_rounds(tl.where(mode == LOGARITHMS, tall, 0), wide)):
        here = exists & (step >= lane) & (step - lane < wide)
        diagonal_r = up
        up = tl.where(lane == 0, edge0, _neighbour(r, lane, 1))
        least = tl.minimum(tl.minimum(diagonal_r, up), r)
        closed = least == float("inf")
        if HARD:
            by_diagonal = (diagonal_r == least).to(tl.float64)
            if SWAPPED:  # lanes are columns: ties prefer the row above, which is "left" here
                by_left = tl.where(r == least, 1.0 - by_diagonal, 0.0)
                by_above = 1.0 - by_diagonal - by_left
            else:
                by_above = tl.where(up == least, 1.0 - by_diagonal, 0.0)
                by_left = 1.0 - by_diagonal - by_above
            soft = least
        else:
            gamma = gamma_bits.to(tl.float64, bitcast=True)
            base = tl.where(closed, 0.0, least)
            by_diagonal = tl.exp((base - diagonal_r) / gamma)
            by_above = tl.exp((base - up) / gamma)
            by_left = tl.exp((base - r) / gamma)
            total = tl.where(closed, 1.0, by_diagonal + by_above + by_left)
            soft = least - gamma * tl.log(total)
        if KEEP:
            p, q = _transition(by_diagonal, by_above, by_left, kind)
            tl.store(to_diagonal + place + step * stride, p, mask=here)
            tl.store(to_above + place + step * stride, q, mask=here)
        r = tl.where(here, cost0.to(tl.float64) + soft, r)
        if STRIPS:
            leaves = here & (lane == HEIGHT - 1) & (strip < strips - 1)
            tl.store(row_numbers + below + step, r, mask=leaves)
            edge0, edge1, edge2 = edge1, edge2, edge3
            edge3 = _at(row_numbers, above, 1, step + 4, lane, enters, wide, float("inf"))
        cost0, cost1, cost2 = cost1, cost2, cost3
        cost3 = _at(cost, place, stride, step + 4, lane, exists, wide, 0.0)
    if BLOCKS:
        mask = exists & (wide > 0) & (block < blocks - 1)
        tl.store(column_numbers + beside, r, mask=mask)
    is_open = r < float("inf")
    tl.store(values + pair + lane * 0, r.to(kind), mask=exists & is_last)
    tl.store(seeds + pair + lane * 0, tl.where(is_open, 1.0, 0.0).to(kind), mask=exists & is_last)

    # In a broken pair nothing else is written: NaN flows from the last cell into all others.
    nan = tl.full([PAIRS, HEIGHT], float("nan"), kind)
    mask = (mode == BROKEN) & is_last
    tl.store(values + pair + lane * 0, nan, mask=mask)
    tl.store(seeds + pair + lane * 0, nan, mask=mask)


@triton.jit(do_not_specialize=[*SIZES, "gamma_bits"])
def _tangent_tile(
    direction, lengths, to_diagonal, to_above, diagonal_change, above_change,
    row_edges, column_edges,
    pairs, lanes, steps, lane_stride, step_stride, strips, blocks, diagonal, width, gamma_bits,
    PAIRS: tl.constexpr, HEIGHT: tl.constexpr, STRIPS: tl.constexpr, BLOCKS: tl.constexpr,
    SWAPPED: tl.constexpr, LENGTHS: tl.constexpr,
):  # fmt: skip
    """Sweep a tile: how fast R changes in a direction, and with it the probabilities."""
    pair, lane, strip, block, top, start, _, _, tall, wide = _tile(
        lengths, pairs, lanes, steps, strips, blocks, diagonal, width,
        PAIRS, HEIGHT, SWAPPED, LENGTHS,
    )  # fmt: skip
    kind: tl.constexpr = direction.dtype.element_ty
    stride = step_stride.to(tl.int64)
    place = pair * lanes * steps + (top + lane) * lane_stride.to(tl.int64) + (start - lane) * stride
    above = (pair * strips + strip - 1) * steps + start + lane * 0
    below = (pair * strips + strip) * steps + start - lane
    beside = (pair * blocks + block) * lanes + top + lane
    exists = lane < tall
    enters = exists & (lane == 0) & (strip > 0)
    gamma = gamma_bits.to(tl.float64, bitcast=True)
    zero = tl.zeros([PAIRS, HEIGHT], tl.float64)
    rate, up, edge0, edge1 = zero, zero, zero, zero
    if BLOCKS:
        mask = exists & (wide > 0) & (block > 0)
        rate = tl.load(column_edges + beside - lanes, mask=mask, other=0.0)
    if STRIPS:
        mask = enters & (wide > 0) & (start > 0)
        up = tl.load(row_edges + above - 1, mask=mask, other=0.0)
        edge0 = _at(row_edges, above, 1, 0, lane, enters, wide, 0.0)
        edge1 = _at(row_edges, above, 1, 1, lane, enters, wide, 0.0)
    z0 = _at(direction, place, stride, 0, lane, exists, wide, 0.0)
    z1 = _at(direction, place, stride, 1, lane, exists, wide, 0.0)
    p0 = _at(to_diagonal, place, stride, 0, lane, exists, wide, 0.0)
    p1 = _at(to_diagonal, place, stride, 1, lane, exists, wide, 0.0)
    q0 = _at(to_above, place, stride, 0, lane, exists, wide, 0.0)
    q1 = _at(to_above, place, stride, 1, lane, exists, wide, 0.0)
    for step in range(_rounds(tall, wide)):
        here = exists & (step >= lane) & (step - lane < wide)
        diagonal_rate = up
        up = tl.where(lane == 0, edge0, _neighbour(rate, lane, 1))
        # Differences from the left one, whose probability is what is missing from 1, or from
        # the upper one where the left one is closed.
        p, q, rest = _three(p0, q0)
        origin = tl.where(rest > 0, rate, up)
        mean = origin + p * (diagonal_rate - origin) + q * (up - origin)
        change = -p * (diagonal_rate - mean) / gamma
        tl.store(diagonal_change + place + step * stride, change.to(kind), mask=here)
        change = -q * (up - mean) / gamma
        tl.store(above_change + place + step * stride, change.to(kind), mask=here)
        rate = tl.where(here, z0.to(tl.float64) + mean, rate)
        if STRIPS:
            leaves = here & (lane == HEIGHT - 1) & (strip < strips - 1)
            tl.store(row_edges + below + step, rate, mask=leaves)
            edge0 = edge1
            edge1 = _at(row_edges, above, 1, step + 2, lane, enters, wide, 0.0)
        z0, p0, q0 = z1, p1, q1
        z1 = _at(direction, place, stride, step + 2, lane, exists, wide, 0.0)
        p1 = _at(to_diagonal, place, stride, step + 2, lane, exists, wide, 0.0)
        q1 = _at(to_above, place, stride, step + 2, lane, exists, wide, 0.0)
    if BLOCKS:
        mask = exists & (wide > 0) & (block < blocks - 1)
        tl.store(column_edges + beside, rate, mask=mask)


@triton.jit(do_not_specialize=[*SIZES])
def _flow_tile(
    to_diagonal, to_above, seeds, expected, diagonal_change, above_change, result, lengths,
    row_edges,
    pairs, lanes, steps, lane_stride, step_stride, strips, blocks, diagonal, width,
    PAIRS: tl.constexpr, HEIGHT: tl.constexpr, STRIPS: tl.constexpr, BLOCKS: tl.constexpr,
    SWAPPED: tl.constexpr, LENGTHS: tl.constexpr, SECOND: tl.constexpr,
):  # fmt: skip
    """Sweep a tile from its end: E, or with ``SECOND`` its change, over the successors."""
    pair, lane, strip, _, top, start, last_lane, last_step, tall, wide = _tile(
        lengths, pairs, lanes, steps, strips, blocks, diagonal, width,
        PAIRS, HEIGHT, SWAPPED, LENGTHS,
    )  # fmt: skip
    kind: tl.constexpr = result.dtype.element_ty
    stride = step_stride.to(tl.int64)
    order = tall - 1 - lane  # the lane of the last row goes first
    exists = lane < tall
    base = pair * lanes * steps + (top + lane) * lane_stride.to(tl.int64)
    last = start + wide - 1 + order
    place = base + last * stride
    # Of the edges: where the last lane reads in step 0, and where lane 0 writes.
    below = (pair * strips + strip + 1) * steps + start + wide - 1 + lane * 0
    above = (pair * strips + strip) * steps + last
    enters = exists & (lane == HEIGHT - 1) & (top + HEIGHT < last_lane)
    is_last = (top + lane == last_lane - 1) & (wide > 0) & (start + wide == last_step)

    zero = tl.zeros([PAIRS, HEIGHT], tl.float64)
    # What flows to the left, upwards (with what flows diagonally there), and diagonally.
    left, up, across, edge0, edge1, edge2, edge3 = zero, zero, zero, zero, zero, zero, zero
    if BLOCKS:
        mask = exists & (wide > 0) & (start + width < last_step)
        aside = base + (start + width) * stride
        x = tl.load(result + aside, mask=mask, other=0.0).to(tl.float64)
        p = tl.load(to_diagonal + aside, mask=mask, other=0.0)
        q = tl.load(to_above + aside, mask=mask, other=0.0)
        p, q, rest = _three(p, q)
        left = x * rest
        across = x * p
        if SECOND:
            flow = tl.load(expected + aside, mask=mask, other=0.0).to(tl.float64)
            dp = tl.load(diagonal_change + aside, mask=mask, other=0.0).to(tl.float64)
            dq = tl.load(above_change + aside, mask=mask, other=0.0).to(tl.float64)
            left -= flow * tl.where(rest > 0, dp + dq, 0.0)
            across += flow * dp
    seed = tl.load(seeds + pair, mask=pair < pairs, other=0.0).to(tl.float64)
    if SECOND:
        seed = seed * 0.0
    left = tl.where(is_last, seed, left)
    if STRIPS:
        edge0 = _at(row_edges, below, -1, 0, order, enters, wide, 0.0)
        edge1 = _at(row_edges, below, -1, 1, order, enters, wide, 0.0)
        edge2 = _at(row_edges, below, -1, 2, order, enters, wide, 0.0)
        edge3 = _at(row_edges, below, -1, 3, order, enters, wide, 0.0)
    p0 = _at(to_diagonal, place, -stride, 0, order, exists, wide, 0.0)
    p1 = _at(to_diagonal, place, -stride, 1, order, exists, wide, 0.0)
    p2 = _at(to_diagonal, place, -stride, 2, order, exists, wide, 0.0)
    p3 = _at(to_diagonal, place, -stride, 3, order, exists, wide, 0.0)
    q0 = _at(to_above, place, -stride, 0, order, exists, wide, 0.0)
    q1 = _at(to_above, place, -stride, 1, order, exists, wide, 0.0)
    q2 = _at(to_above, place, -stride, 2, order, exists, wide, 0.0)
    q3 = _at(to_above, place, -stride, 3, order, exists, wide, 0.0)
    for step in range(_rounds(tall, wide)):
        here = exists & (step >= order) & (step - order < wide)
        x = left + tl.where(lane == HEIGHT - 1, edge0, _neighbour(up, lane, -1))
        tl.store(result + place - step * stride, x.to(kind), mask=here)
        p, q, rest = _three(p0, q0)
        to_up = x * q + across
        to_left = x * rest
        to_across = x * p
        if SECOND:
            flow = _at(expected, place, -stride, step, order, exists, wide, 0.0).to(tl.float64)
            dp = _at(diagonal_change, place, -stride, step, order, exists, wide, 0.0).to(tl.float64)
            dq = _at(above_change, place, -stride, step, order, exists, wide, 0.0).to(tl.float64)
            to_up += flow * dq
            to_left -= flow * tl.where(rest > 0, dp + dq, 0.0)
            to_across += flow * dp
        up = tl.where(here, to_up, up)
        left = tl.where(here, to_left, left)
        across = tl.where(here, to_across, across)
        if STRIPS:
            leaves = here & (lane == 0) & (strip > 0)
            tl.store(row_edges + above - step, up, mask=leaves)
            edge0, edge1, edge2 = edge1, edge2, edge3
            edge3 = _at(row_edges, below, -1, step + 4, order, enters, wide, 0.0)
        p0, p1, p2 = p1, p2, p3
        q0, q1, q2 = q1, q2, q3
        p3 = _at(to_diagonal, place, -stride, step + 4, order, exists, wide, 0.0)
        q3 = _at(to_above, place, -stride, step + 4, order, exists, wide, 0.0)
