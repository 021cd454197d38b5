"""Scores of queries against a gallery, a block of queries at a time, and what counts as a tie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_array, as_matrix, is_one_of
from vlalign_lib.metrics._arrays import as_items

Similarity = str | Callable[[Any, Any], Any]
SIMILARITIES = ("cosine", "dot", "euclidean")
NOT_FINITE = (
    "scores hold NaN or infinity; an item that must not be found is better left out of the gallery"
)
ORDINARY = 20  # products of numbers between 2⁻²⁰ and 2²⁰ neither overflow nor vanish in float32
BLOCK_BYTES = 4 * 2**20  # a block of scores stays in the cache between its making and its use


@dataclass(frozen=True)
class Prepared:
    """Two matrices whose product, less ``penalty``, is the similarity.

    Scores of row i that differ by ``tolerance[i]`` or less are ties. Arrays or tensors.
    """

    queries: Any
    gallery: Any
    penalty: Any
    tolerance: Any


def check_similarity(similarity: Any) -> None:
    """Raise a ValueError unless ``similarity`` is a known name or can be called."""
    if not callable(similarity) and not is_one_of(similarity, SIMILARITIES):
        raise ValueError(
            f"similarity: expected one of {', '.join(map(repr, SIMILARITIES))} or a function of "
            f"(queries_block, gallery) that returns scores, higher for better; got {similarity!r}"
        )


def as_pair(queries: Any, gallery: Any, similarity: Similarity) -> tuple[Any, Any]:
    """Return queries and gallery as matrices of one type, or as given where a function scores."""
    check_similarity(similarity)
    if callable(similarity):
        return as_items(queries, "queries"), as_items(gallery, "gallery")
    q = as_matrix(queries, "queries")
    g = as_matrix(gallery, "gallery")
    check_widths(q.shape[1], g.shape[1])
    dtype = np.result_type(q, g)
    return q.astype(dtype, copy=False), g.astype(dtype, copy=False)


def check_widths(queries: int, gallery: int) -> None:
    """Raise a ValueError unless both sides live in one space."""
    if queries != gallery:
        raise ValueError(
            f"queries have {queries} dimensions and the gallery has {gallery}: embed both into "
            "one space first (chapter 3), or pass a function as similarity"
        )


def prepare(queries: Any, gallery: Any, similarity: str, xp: Any) -> Prepared:
    """Turn a named similarity into a matrix product; ``xp`` is numpy or torch.

    Two computed scores of equal items may differ in their last bits, since the order in which a
    matrix product adds depends on where in the matrix they stand. The tolerance lies above that
    error and far below any difference that means something.
    """
    penalty = None
    if similarity == "cosine":
        q, g = _unit_rows(queries, xp), _unit_rows(gallery, xp)
        reach = xp.ones_like(q[:, 0])
    else:
        sizes_of = _exponent(queries, xp), _exponent(gallery, xp)
        if similarity == "euclidean":
            sizes_of = (max(sizes_of),) * 2
        q, g = _shrink(queries, sizes_of[0]), _shrink(gallery, sizes_of[1])
        if similarity == "euclidean":
            # −‖q − g‖²/2 up to a constant of the query: a difference of large numbers, so in
            # float64 and around the gallery's mean.
            q = xp.asarray(q, dtype=xp.float64)
            g = xp.asarray(g, dtype=xp.float64)
            centre = g.mean(0)
            q, g = q - centre, g - centre
        lengths, sizes = _lengths(q, xp), _lengths(g, xp)
        middle = xp.quantile(sizes, 0.5)
        reach = lengths * middle
        if similarity == "euclidean":
            penalty = 0.5 * sizes**2
            reach = reach + middle**2
    width = 2 * (4 + q.shape[1] ** 0.5) * float(xp.finfo(q.dtype).eps)
    return Prepared(q, g, penalty, xp.asarray(width * reach, dtype=q.dtype))


def _unit_rows(rows: Any, xp: Any) -> Any:
    """Divide every row by its length; rows of zeros stay zeros."""
    largest = xp.amax(xp.abs(rows), 1)
    rows = rows / xp.where(largest > 0, largest, xp.ones_like(largest))[:, None]
    lengths = xp.sqrt(xp.einsum("ij,ij->i", rows, rows))
    return rows / xp.where(lengths > 0, lengths, xp.ones_like(lengths))[:, None]


def _exponent(rows: Any, xp: Any) -> int:
    """Return e with the largest number about 2ᵉ, and 0 where that is no extreme size."""
    exponent = math.frexp(float(xp.amax(xp.abs(rows))))[1]
    return exponent if abs(exponent) > ORDINARY else 0


def _shrink(rows: Any, exponent: int) -> Any:
    """Divide by 2ᵉ, in two steps since 2ᵉ itself may overflow: the order of scores stays."""
    if exponent == 0:
        return rows
    half = exponent // 2
    return rows * 2.0**-half * 2.0 ** (half - exponent)


def _lengths(rows: Any, xp: Any) -> Any:
    rows = xp.asarray(rows, dtype=xp.float64)
    return xp.sqrt(xp.einsum("ij,ij->i", rows, rows))


def rows_at_once(gallery: int, itemsize: int, budget: int = BLOCK_BYTES) -> int:
    """Return how many queries to score together."""
    return int(np.clip(budget // (gallery * itemsize), 32, 1024))


def score_blocks(
    queries: Any,
    gallery: Any,
    similarity: Similarity,
    *,
    query_order: NDArray[np.intp] | None = None,
    gallery_order: NDArray[np.intp] | None = None,
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.floating], NDArray[np.floating]]]:
    """Yield (which queries, their scores (b, m), their tie tolerances (b,)).

    The next block reuses the memory of the scores. With ``gallery_order``, which orders the
    columns, they may be overwritten. ``query_order`` is a wish: a function that scores gets its
    queries in their order.
    """
    n, m = len(queries), len(gallery)
    if callable(similarity):
        step = rows_at_once(m, 8)
        for start in range(0, n, step):
            which = np.arange(start, min(start + step, n))
            block = queries[start : start + step]
            scores = as_scores(similarity(block, gallery), (len(which), m))
            # Differences of scores have to be finite, too.
            limit = float(np.finfo(scores.dtype).max) / 8
            if not (-limit < scores.min() and scores.max() < limit):
                raise ValueError(NOT_FINITE)
            if gallery_order is not None:
                scores = np.take(scores, gallery_order, axis=1)
            yield which, scores, np.zeros(len(which), dtype=scores.dtype)
        return
    if query_order is None:
        query_order = np.arange(n)
    ready = prepare(queries, gallery, similarity, np)
    q, g = ready.queries, ready.gallery
    penalty = ready.penalty
    if gallery_order is not None:
        g = g[gallery_order]
        penalty = None if penalty is None else penalty[gallery_order]
    step = rows_at_once(m, q.itemsize)
    room = np.empty((min(step, n), m), dtype=q.dtype)
    for start in range(0, n, step):
        which = query_order[start : start + step]
        scores = np.matmul(q[which], g.T, out=room[: len(which)])
        if penalty is not None:
            scores -= penalty
        yield which, scores, ready.tolerance[which]


def as_scores(scores: Any, shape: tuple[int, int] | None = None) -> NDArray[np.floating]:
    """Return scores (n, m), one row a query, as a contiguous float array.

    Raises:
        ValueError: not two axes or not the shape asked for, or not real numbers.
    """
    array = as_array(scores, "scores")
    if shape is not None and array.shape != shape:
        raise ValueError(
            f"similarity returned shape {array.shape} for {shape[0]} queries and a gallery of "
            f"{shape[1]}: expected {shape}, one row a query"
        )
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"scores: expected (n, m), one row a query, got shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"scores: expected real numbers, got {array.dtype}")
    dtype = array.dtype if array.dtype in (np.float32, np.float64) else np.float64
    return np.ascontiguousarray(array, dtype=dtype)
