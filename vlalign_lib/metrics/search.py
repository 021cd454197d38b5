"""The best answers to a query, in order: what a search shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import is_tensor
from vlalign_lib.metrics._scores import (
    Similarity,
    as_cutoff,
    as_items,
    check_similarity,
    like,
    score_blocks,
)


def nearest(
    queries: ArrayLike,
    gallery: ArrayLike,
    k: int = 10,
    *,
    similarity: Similarity = "cosine",
) -> Any:
    r"""Return the rows of the k best items of the gallery for every query, best first.

    .. math::

        (j_1, \dots, j_k), \qquad s(u_i, v_{j_1}) \ge s(u_i, v_{j_2}) \ge \dots \ge
        s(u_i, v_j) \quad \text{for every other } j

    Of equal scores the earlier row comes first. Scores that differ by rounding alone come in
    whichever order rounding gives them: for a number rather than a list use :func:`ranks` or
    :func:`recall_at_k`, which know what a tie is.

    Args:
        queries: (n, d) array or tensor, one row an item; more axes are flattened.
        gallery: (m, d) array or tensor.
        k: how many answers, 1 to m.
        similarity: ``"cosine"``, ``"dot"``, ``"euclidean"``, or a function of
            ``(queries_block, gallery)`` that returns scores (b, m), higher for better.

    Returns:
        Row numbers (n, k): an int64 array, or for a tensor of queries a tensor beside it.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, an unknown similarity, or a k that
            is no whole number from 1 to m.

    Chapter:
        8, The retrieval table, where every method shows what it finds.

    Example:
        >>> import numpy as np
        >>> pictures = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        >>> nearest(np.array([[2.0, 1.0]]), pictures, k=2).tolist()
        [[1, 0]]
    """
    check_similarity(similarity)
    rows, items = as_items(queries, "queries"), as_items(gallery, "gallery")
    k = as_cutoff(k, items.shape[0], "k")
    found = np.empty((rows.shape[0], k), dtype=np.int64)
    for which, scores, _ in score_blocks(rows, items, similarity):
        found[which] = _best(scores, k)
    return like(queries, found)


def _best(scores: Any, k: int) -> NDArray[np.intp]:
    """Return the columns of the k largest of each row; of equal ones the earlier."""
    if is_tensor(scores):
        order = scores.sort(dim=1, descending=True, stable=True).indices[:, :k]
        found: NDArray[np.intp] = order.cpu().numpy()
        return found
    m = scores.shape[1]
    if 4 * k >= m:
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]
    floor = np.partition(scores, m - k, axis=1)[:, m - k]
    rows = []
    for row, least in zip(scores, floor, strict=True):
        among = np.flatnonzero(row >= least)
        rows.append(among[np.argsort(-row[among], kind="stable")[:k]])
    return np.stack(rows)
