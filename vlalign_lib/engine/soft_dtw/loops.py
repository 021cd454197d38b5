"""Soft-DTW on the processor: values, alignments and their derivatives on vector loops.

The loops put either pairs or rows side by side (``pairs``, ``rows``); what they
cannot do is done one cell at a time (``exact``). Here is decided which of them run, on how
many threads. Nothing is kept from forward but the costs: to compute the transition probabilities
again, block by block in the cache, is quicker than to write them to memory and to read them back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlalign_lib.engine.soft_dtw import exact, pairs, rows
from vlalign_lib.engine.soft_dtw.cell import LARGEST
from vlalign_lib.engine.soft_dtw.lanes import BYTES

State = tuple[Tensor, ...]
WORTH_A_THREAD = 400_000  # cells that keep a thread busy for much longer than it takes to start
CACHED = 1 << 20  # bytes of probabilities that stay in a processor's own cache
ROWS_COST = 2.0  # how much longer a cell takes where the lanes are rows
_KEPT = threading.local()  # scratch memory of every thread that calls
# log2(e) to twice the digits of float64
LOG2_E = Fraction(1.4426950408889634) + Fraction(2.0355273740931033e-17)


def forward(
    cost: Tensor, lengths: Tensor | None, gamma: float, *, keep: bool
) -> tuple[Tensor, State]:
    """Return the soft-DTW values (B,), and the costs to keep."""
    values = torch.empty(len(cost), dtype=cost.dtype)
    _run("values", (cost,), lengths, gamma, values)
    return values, (cost,) if keep else ()


def alignment(state: State, lengths: Tensor | None, gamma: float, shape: tuple[int, ...]) -> Tensor:
    """Return E (B, n, m), how probable it is that the path visits each cell."""
    (cost,) = state
    expected = _empty(shape, cost.dtype)
    _run("alignments", (cost, None), lengths, gamma, expected)
    return expected


def hessian_product(
    state: State, expected: Tensor, direction: Tensor, lengths: Tensor | None, gamma: float
) -> Tensor:
    """Return the derivative (B, n, m) of E in a direction; in float64 on the way."""
    (cost,) = state
    if gamma == 0:
        return torch.zeros_like(direction)
    product = _empty(cost.shape, torch.float64)
    _run("alignments", (cost.double(), direction.double()), lengths, gamma, product)
    return product.to(direction.dtype)


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor to be written, in large pages, which numpy asks for and torch does not.

    Where a matrix is new to the process, half of the time would go to the first touch of pages.
    """
    size = np.float32 if dtype == torch.float32 else np.float64
    return torch.from_numpy(np.empty(shape, size))


def _run(
    name: str,
    inputs: tuple[Tensor, Tensor | None] | tuple[Tensor],
    lengths: Tensor | None,
    gamma: float,
    output: Tensor,
) -> None:
    size, n, m = inputs[0].shape
    if size == 0:
        return
    arrays = [None if tensor is None else tensor.view(-1).numpy() for tensor in inputs]
    ends = np.full((size, 2), (n, m), np.int64) if lengths is None else lengths.numpy()
    answer = output.view(-1).numpy()
    odd = np.ones(size, np.bool_)
    scale = _scale(gamma, n + m, answer.dtype)
    if scale.limit > 0 and n > 1 and m > 1:
        lanes = BYTES // answer.itemsize
        by_pairs = _lanes_are_pairs(size, n, m, lanes)
        function = getattr(pairs if by_pairs else rows, name)
        blocks = -(-size // lanes) if by_pairs else size
        threads = max(1, min(torch.get_num_threads(), blocks, size * n * m // WORTH_A_THREAD))
        others: list[tuple[Any, ...]]
        if name == "values":
            others = [(gamma, scale)] * threads
        else:
            room = (m + lanes) * (2 if arrays[-1] is None else 4) * lanes
            others = [(scale, _scratch(room, answer.dtype, k)) for k in range(threads)]

        def work(k: int, first: int, last: int) -> None:
            function(*arrays, ends, n, m, *others[k], first, last, answer, odd)

        _share(work, blocks, threads)
    if odd.any():
        getattr(exact, name)(*arrays, ends, odd, n, m, gamma, scale.limit, answer)


def _scratch(least: int, dtype: np.dtype[Any], which: int) -> NDArray[Any]:
    """Return room for at least so many probabilities, as far as possible the same every time.

    The first touch of fresh memory takes longer than the computation.
    """
    room = CACHED // dtype.itemsize
    if least > room:
        return np.empty(least, dtype)
    kept: dict[str, NDArray[Any]] = _KEPT.__dict__
    name = f"{dtype.char}{which}"
    if name not in kept:
        kept[name] = np.empty(room, dtype)
    return kept[name]


def _lanes_are_pairs(size: int, n: int, m: int, lanes: int) -> bool:
    """Tell whether pairs in the lanes are quicker than rows: they are unless many stay empty."""
    filled = size / (-(-size // lanes) * lanes)
    filled_by_rows = n * m / (-(-n // lanes) * lanes * (m + lanes - 1))
    return ROWS_COST * filled >= filled_by_rows


class _Scale(NamedTuple):
    """What turns costs into powers of two: cost * (high + low), up to the limit."""

    high: Any
    low: Any
    limit: Any  # below zero where no cost can be scaled
    sharpness: Any  # one over gamma


@lru_cache(maxsize=64)
def _scale(gamma: float, length: int, dtype: np.dtype[Any]) -> _Scale:
    real = dtype.type
    if not 1e-30 < gamma < 1e30:
        return _Scale(real(1), real(0), real(-1), real(0))
    factor = -LOG2_E / Fraction(gamma)
    high = real(float(factor))
    low = real(float(factor - Fraction(float(high))))
    limit = min(1 << 22, LARGEST / length) / -float(high)
    limit = min(limit, float(np.finfo(dtype).max))  # which infinity exceeds
    return _Scale(high, low, real(limit), real(1 / gamma))


def _share(work: Callable[[int, int, int], None], blocks: int, count: int) -> None:
    """Run ``work(k, first, last)`` on all blocks, on ``count`` threads, of which k is one.

    The threads live as long as the call: nothing is left over that a fork or another thread of
    the caller could meet half-way.
    """
    edges = [blocks * k // count for k in range(count + 1)]
    errors: list[BaseException] = []

    def guarded(k: int) -> None:
        try:
            work(k, edges[k], edges[k + 1])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(k,)) for k in range(1, count)]
    for thread in threads:
        thread.start()
    guarded(0)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
