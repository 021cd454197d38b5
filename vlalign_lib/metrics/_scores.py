"""Scores of queries against a gallery, a block of queries at a time, and what counts as a tie.

Arrays are scored in numpy; where queries or gallery lie on a CUDA device, all is done there.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_array, as_labels, as_matrix, is_one_of, is_tensor, is_whole

if TYPE_CHECKING:
    import torch

Similarity = str | Callable[[Any, Any], Any]
SIMILARITIES = ("cosine", "dot", "euclidean")
NOT_FINITE = (
    "scores hold NaN or infinity; an item that must not be found is better left out of the gallery"
)
ORDINARY = 20  # products of numbers between 2⁻²⁰ and 2²⁰ neither overflow nor vanish in float32
# A block of scores stays in the processor's cache between its making and its use.
BLOCK_BYTES = {"cpu": 4 * 2**20, "cuda": 64 * 2**20}


@dataclass(frozen=True)
class Prepared:
    """Two matrices whose product, less ``penalty``, is the similarity.

    Scores of row i that differ by ``tolerance[i]`` or less are ties. Arrays or tensors.
    """

    queries: Any
    gallery: Any
    penalty: Any
    tolerance: Any


def cuda_device(*arrays: Any) -> torch.device | None:
    """Return the CUDA device on which the work should be done, if one of the arrays is there."""
    for array in arrays:
        if is_tensor(array) and array.device.type == "cuda":
            device: torch.device = array.device
            return device
    return None


def like(reference: Any, values: NDArray[Any]) -> Any:
    """Return per-query values as the kind of the queries: an array, or a tensor beside them.

    Numbers keep the dtype of a tensor of queries, float32 at least: half precision has no whole
    numbers above 2,048 and could not hold a rank. Row numbers stay whole.
    """
    if not is_tensor(reference):
        return values
    import torch

    whole = values.dtype.kind == "i"
    dtype = torch.float64 if reference.dtype == torch.float64 else torch.float32
    return torch.as_tensor(values, dtype=None if whole else dtype, device=reference.device)


def beside(values: NDArray[Any], scores: Any) -> Any:
    """Return an array as it is, or as a tensor on the device of a tensor of scores."""
    return (
        sys.modules["torch"].as_tensor(values, device=scores.device)
        if is_tensor(scores)
        else values
    )


def no_tolerance(scores: Any) -> Any:
    """Return zeros (b,): only equal scores of a row tie."""
    return _namespace(scores).zeros_like(scores[:, 0])


def as_items(values: Any, name: str) -> Any:
    """Return ``values`` as something with a shape and at least one row."""
    values = values if hasattr(values, "shape") else as_array(values, name)
    if len(values.shape) == 0 or values.shape[0] == 0:
        raise ValueError(
            f"{name}: expected at least one row, one row an item, got shape {tuple(values.shape)}"
        )
    return values


def as_class_labels(labels: Any, n: int, name: str) -> NDArray[np.int64]:
    """Return class indices (n,); an item without a class (−1) is the caller's to leave out."""
    array = as_labels(labels, n, name)
    if (array < 0).any():
        count = int((array < 0).sum())
        raise ValueError(
            f"{name}: {count} of {n} labels are negative, and -1 marks an item without a class; "
            "leave such items out of queries and gallery first: keep = labels >= 0"
        )
    return array


def as_cutoff(k: Any, gallery: int, name: str) -> int:
    """Return ``k`` as an integer between 1 and the size of the gallery."""
    if not is_whole(k):
        raise ValueError(f"{name}: expected a whole number, got {k!r}")
    if k < 1:
        raise ValueError(f"{name}: expected at least 1, got {k}")
    if k > gallery:
        raise ValueError(
            f"{name}={k}, but the gallery has {gallery} items: everything would count as found; "
            f"use {name} <= {gallery} or a larger gallery"
        )
    return int(k)


def as_cutoffs(k: Any, gallery: int) -> list[int]:
    """Return one or several ``k`` as integers, each once, in their order."""
    several = isinstance(k, Iterable) and getattr(k, "ndim", 1) > 0
    return list(dict.fromkeys(as_cutoff(each, gallery, "k") for each in (k if several else [k])))


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
    device = cuda_device(queries, gallery)
    q, g = _as_rows(queries, "queries", device), _as_rows(gallery, "gallery", device)
    if q.shape[1] != g.shape[1]:
        raise ValueError(
            f"queries have {q.shape[1]} dimensions and the gallery has {g.shape[1]}: embed both "
            "into one space first (chapter 3), or pass a function as similarity"
        )
    if device is not None:
        dtype = sys.modules["torch"].promote_types(q.dtype, g.dtype)
        return q.to(dtype), g.to(dtype)
    dtype = np.result_type(q, g)
    return q.astype(dtype, copy=False), g.astype(dtype, copy=False)


def _as_rows(values: Any, name: str, device: torch.device | None) -> Any:
    if device is None:
        return as_matrix(values, name)
    import torch

    if not is_tensor(values):
        values = np.array(as_matrix(values, name), order="C")  # torch wants it its own
    rows = torch.as_tensor(values, device=device).detach()
    if rows.ndim < 2 or rows.numel() == 0 or rows.is_complex() or not rows.isfinite().all():
        as_matrix(rows, name)  # raises, and says what is wrong
    rows = rows.flatten(1)
    if not rows.is_floating_point():
        return rows.double()
    return rows.float() if rows.element_size() < 4 else rows


def score_blocks(
    queries: Any,
    gallery: Any,
    similarity: Similarity,
    *,
    query_order: NDArray[np.intp] | None = None,
    gallery_order: NDArray[np.intp] | None = None,
) -> Iterator[tuple[NDArray[np.intp], Any, Any]]:
    """Yield (which queries, their scores (b, m), their tie tolerances (b,)).

    The next block reuses the memory of the scores. With ``gallery_order``, which orders the
    columns, they may be overwritten. ``query_order`` is a wish: a function that scores gets its
    queries in their order.
    """
    device = cuda_device(queries, gallery)
    queries, gallery = as_pair(queries, gallery, similarity)
    blocks = _scores_of_function if callable(similarity) else _scores_of_products
    yield from blocks(queries, gallery, similarity, query_order, gallery_order, device)


def _scores_of_function(
    queries: Any, gallery: Any, similarity: Any, _: Any, gallery_order: Any, device: Any
) -> Iterator[tuple[NDArray[np.intp], Any, Any]]:
    n, m = len(queries), len(gallery)
    step = _rows_at_once(m, 8, device)
    for start in range(0, n, step):
        which = np.arange(start, min(start + step, n))
        with _full_precision(device):
            found = similarity(queries[start : start + step], gallery)
        scores = as_scores(found, device, (len(which), m))
        # Differences of scores have to be finite, too.
        limit = float(_namespace(scores).finfo(scores.dtype).max) / 8
        if not (-limit < scores.min() and scores.max() < limit):
            raise ValueError(NOT_FINITE)
        if gallery_order is not None:
            scores = scores[:, gallery_order]
        yield which, scores, no_tolerance(scores)


def _scores_of_products(
    queries: Any, gallery: Any, similarity: Any, query_order: Any, gallery_order: Any, device: Any
) -> Iterator[tuple[NDArray[np.intp], Any, Any]]:
    n, m = len(queries), len(gallery)
    query_order = np.arange(n) if query_order is None else query_order
    with _full_precision(device):
        ready = prepare(queries, gallery, similarity)
    q, g, penalty = ready.queries, ready.gallery, ready.penalty
    if gallery_order is not None:
        g = g[gallery_order]
        penalty = None if penalty is None else penalty[gallery_order]
    step = _rows_at_once(m, q.itemsize, device)
    xp = _namespace(q)
    room = xp.empty((min(step, n), m), dtype=q.dtype, **({"device": device} if device else {}))
    for start in range(0, n, step):
        which = query_order[start : start + step]
        with _full_precision(device):
            scores = xp.matmul(q[which], g.T, out=room[: len(which)])
        if penalty is not None:
            scores -= penalty
        yield which, scores, ready.tolerance[which]


def as_scores(scores: Any, device: Any = None, shape: tuple[int, int] | None = None) -> Any:
    """Return scores (n, m), one row a query, as contiguous floats on their device.

    Raises:
        ValueError: not two axes or not the shape asked for, or not real numbers.
    """
    array: Any
    if device is None:
        array = as_array(scores, "scores")
        real = array.dtype.kind in "fiub"
    else:
        array = sys.modules["torch"].as_tensor(scores, device=device).detach()
        real = not array.is_complex()
    got = tuple(array.shape)
    if shape is not None and got != shape:
        raise ValueError(
            f"similarity returned shape {got} for {shape[0]} queries and a gallery of "
            f"{shape[1]}: expected {shape}, one row a query"
        )
    if len(got) != 2 or 0 in got:
        raise ValueError(f"scores: expected (n, m), one row a query, got shape {got}")
    if not real:
        raise ValueError(f"scores: expected real numbers, got {array.dtype}")
    xp = _namespace(array)
    dtype = array.dtype if array.dtype in (xp.float32, xp.float64) else xp.float64
    if device is None:
        return np.ascontiguousarray(array, dtype=dtype)
    return array.to(dtype).contiguous()


def prepare(queries: Any, gallery: Any, similarity: str) -> Prepared:
    """Turn a named similarity into a matrix product.

    Two computed scores of equal items may differ in their last bits, since the order in which a
    matrix product adds depends on where in the matrix they stand. The tolerance lies above that
    error and far below any difference that means something.
    """
    xp = _namespace(queries)
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


def _namespace(values: Any) -> Any:
    return sys.modules["torch"] if is_tensor(values) else np


def _rows_at_once(gallery: int, itemsize: int, device: Any) -> int:
    """Return how many queries to score together."""
    budget = BLOCK_BYTES["cpu" if device is None else "cuda"]
    return int(np.clip(budget // (gallery * itemsize), 32, 1024))


@contextmanager
def _full_precision(device: torch.device | None) -> Iterator[None]:
    """Keep TF32 and autocast out: they round scores by far more than the tie tolerance."""
    if device is None:
        yield
        return
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False), torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(before)
