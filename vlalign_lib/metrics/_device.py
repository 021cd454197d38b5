"""The same counts on a CUDA device, in plain torch.

Products, sorts of relevant scores and counts stay on the device; only the relevant scores and
the finished counts travel, and what is a tie is decided by the code that decides it on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vlalign_lib._validate import as_matrix, is_tensor
from vlalign_lib.metrics import _kernels
from vlalign_lib.metrics._similarity import (
    NOT_FINITE,
    Similarity,
    as_pair,
    check_similarity,
    check_widths,
    prepare,
    rows_at_once,
)

BLOCK_BYTES = 64 * 2**20


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Keep TF32 and autocast out: they round scores by far more than the tie tolerance."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False), torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _as_rows(values: Any, name: str, device: torch.device) -> torch.Tensor:
    if not is_tensor(values):
        values = np.array(as_matrix(values, name), order="C")  # torch wants it its own
    rows = torch.as_tensor(values, device=device).detach()
    if rows.ndim < 2 or rows.numel() == 0 or rows.is_complex() or not rows.isfinite().all():
        as_matrix(rows, name)  # raises, and says what is wrong
    rows = rows.flatten(1)
    if not rows.is_floating_point():
        return rows.double()
    return rows.float() if rows.element_size() < 4 else rows


def _score_blocks(
    queries: Any,
    gallery: Any,
    similarity: Similarity,
    device: torch.device,
    gallery_order: NDArray[np.intp] | None = None,
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Yield (which queries, scores (b, m), tolerances (b,)) on the device."""
    check_similarity(similarity)
    order = None if gallery_order is None else torch.as_tensor(gallery_order, device=device)
    if callable(similarity):
        queries, gallery = as_pair(queries, gallery, similarity)
        n, m = len(queries), len(gallery)
        step = rows_at_once(m, 8, BLOCK_BYTES)
        for start in range(0, n, step):
            which = slice(start, min(start + step, n))
            scores = torch.as_tensor(similarity(queries[which], gallery), device=device).detach()
            if tuple(scores.shape) != (which.stop - start, m):
                raise ValueError(
                    f"similarity returned shape {tuple(scores.shape)} for {which.stop - start} "
                    f"queries and a gallery of {m}: expected one row a query"
                )
            if scores.dtype not in (torch.float32, torch.float64):
                scores = scores.double()
            if not scores.isfinite().all():
                raise ValueError(NOT_FINITE)
            scores = scores if order is None else scores[:, order]
            yield which, scores.contiguous(), torch.zeros_like(scores[:, 0])
        return
    q = _as_rows(queries, "queries", device)
    g = _as_rows(gallery, "gallery", device)
    check_widths(q.shape[1], g.shape[1])
    dtype = torch.promote_types(q.dtype, g.dtype)
    ready = prepare(q.to(dtype), g.to(dtype), similarity, torch)
    g, penalty = ready.gallery, ready.penalty
    if order is not None:
        g = g[order]
        penalty = None if penalty is None else penalty[order]
    step = rows_at_once(len(g), q.element_size(), BLOCK_BYTES)
    for start in range(0, len(q), step):
        which = slice(start, min(start + step, len(q)))
        scores = ready.queries[which] @ g.T
        if penalty is not None:
            scores -= penalty
        yield which, scores, ready.tolerance[which]


def count_above(
    scores: Any, targets: NDArray[np.int64], tolerance: Any = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count, in every row, the scores above the target's and the others that tie with it."""
    if not scores.isfinite().all():
        raise ValueError(NOT_FINITE)
    score = scores.gather(1, torch.as_tensor(targets, device=scores.device)[:, None])
    reach = torch.zeros_like(score) if tolerance is None else tolerance[:, None]
    above = (scores > score + reach).sum(dim=1)
    reached = (scores >= score - reach).sum(dim=1)
    return above.cpu().numpy(), (reached - above - 1).cpu().numpy()


def rank_counts(
    queries: Any,
    gallery: Any,
    similarity: Similarity,
    targets: NDArray[np.int64],
    device: torch.device,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the scores above each query's target and the others that tie with it."""
    greater = np.empty(len(targets), dtype=np.int64)
    tied = np.empty(len(targets), dtype=np.int64)
    with _full_precision(device):
        for which, scores, tolerance in _score_blocks(queries, gallery, similarity, device):
            greater[which], tied[which] = count_above(scores, targets[which], tolerance)
    return greater, tied


def nearest(
    queries: Any, gallery: Any, k: int, similarity: Similarity, device: torch.device
) -> NDArray[np.int64]:
    """Return the rows of the k best of the gallery for every query; only these travel."""
    with _full_precision(device):
        blocks = [
            torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :k].cpu()
            for _, scores, _ in _score_blocks(queries, gallery, similarity, device)
        ]
    found: NDArray[np.int64] = torch.cat(blocks).numpy()
    return found


def average_precisions(
    queries: Any,
    gallery: Any,
    similarity: Similarity,
    gallery_order: NDArray[np.intp],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    top_k: int,
    by_hits: bool,
    harmonic: NDArray[np.float64],
    device: torch.device,
) -> NDArray[np.float64]:
    """Return the expected average precision of every query (n,).

    The relevant items of query i are ``gallery_order[starts[i]:stops[i]]``.
    """
    out = np.zeros(len(starts))
    with _full_precision(device):
        for which, scores, tolerance in _score_blocks(
            queries, gallery, similarity, device, gallery_order
        ):
            first = torch.as_tensor(starts[which], device=device)[:, None]
            end = torch.as_tensor(stops[which], device=device)[:, None]
            widths = stops[which] - starts[which]
            most = max(int(widths.max()), 1)
            columns = first + torch.arange(most, device=device)
            relevant = scores.gather(1, columns.clamp(max=scores.shape[1] - 1))
            relevant = relevant.masked_fill(columns >= end, torch.inf).sort(dim=1).values
            ascending = relevant.cpu().numpy()

            lower = np.full((len(ascending), most + 1), np.inf, dtype=ascending.dtype)
            upper = np.full_like(lower, np.inf)
            sizes = np.zeros((len(ascending), most), dtype=np.int64)
            blocks = np.zeros(len(ascending), dtype=np.int64)
            _kernels.tie_blocks_of_rows(
                ascending, widths, tolerance.cpu().numpy(), lower, upper, sizes, blocks
            )
            low = torch.as_tensor(lower, device=device)
            place = torch.searchsorted(torch.as_tensor(upper, device=device), scores, right=True)
            place = 2 * place + (scores >= low.gather(1, place))
            counts = torch.zeros((len(scores), 2 * most + 1), dtype=torch.int64, device=device)
            counts.scatter_add_(1, place, torch.ones_like(place))
            _kernels.average_precisions_of_counts(
                counts.cpu().numpy(), sizes, blocks, top_k, by_hits, harmonic, out[which]
            )
    return out
