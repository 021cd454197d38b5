"""Retrieval of the one partner: ranks, recall at k, median rank, mean reciprocal rank."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._fast import fast
from vlalign_lib._validate import as_array, as_labels, is_tensor
from vlalign_lib.metrics._scores import (
    NOT_FINITE,
    Similarity,
    as_cutoffs,
    as_items,
    as_scores,
    check_similarity,
    cuda_device,
    like,
    no_tolerance,
    score_blocks,
)


def ranks(
    queries: ArrayLike,
    gallery: ArrayLike,
    *,
    similarity: Similarity = "cosine",
    targets: ArrayLike | None = None,
) -> Any:
    r"""Return the rank of every query's partner in the gallery, 1 for the best.

    .. math::

        r_i = 1 + |\{j : s(u_i, v_j) > s(u_i, v_i)\}|
                + \tfrac12\, |\{j \ne i : s(u_i, v_j) = s(u_i, v_i)\}|

    is the expected rank when ties are broken at random: a space in which everything lies on one
    point gets the rank of chance, (n + 1)/2, not 1. Larger scores are counted; nothing is sorted.

    Scores that differ by less than rounding explains count as equal: by 2(4 + √d)ε for the
    cosine of two vectors of d numbers with machine precision ε, and by that times their lengths
    for ``"dot"`` (the gallery's median length, so that one giant does not blur the rest). The
    scores of a function are compared as they are.

    Args:
        queries: (n, d) array or tensor, one row an item; more axes are flattened.
        gallery: (n, d) array or tensor; row i answers query i. With ``targets`` it may have
            another number of rows.
        similarity: ``"cosine"`` (a row of zeros has similarity 0 to everything), ``"dot"``,
            ``"euclidean"`` (nearer is better; computed in float64), or a function of
            ``(queries_block, gallery)`` that returns scores (b, m), higher for better.
        targets: (n,) for each query the row of the gallery that answers it; None where row i
            answers row i. Several queries may share an answer (five captions of one picture),
            and the gallery may hold items that answer nothing.

    Returns:
        Ranks (n,), whole or half numbers: a float64 array, or for tensors a tensor on the
        device of the queries.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, an unknown similarity.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> names = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> pictures = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 0.0]])
        >>> ranks(pictures, names).tolist()
        [1.0, 2.0, 2.0]
        >>> ranks(np.ones((3, 2)), np.ones((3, 2))).tolist()
        [2.0, 2.0, 2.0]
    """
    greater, tied = rank_counts(queries, gallery, similarity, targets)
    return like(queries, 1 + greater + tied / 2)


def ranks_from_scores(scores: ArrayLike, *, targets: ArrayLike | None = None) -> Any:
    r"""Return the rank of every row's target, given the scores of all items.

    .. math::

        r_i = 1 + |\{j : s_{ij} > s_{i t_i}\}| + \tfrac12\, |\{j \ne t_i : s_{ij} = s_{i t_i}\}|

    For models that score pairs instead of embedding items. One pass over the scores, at the speed
    of memory; they are compared as they are.

    Args:
        scores: (n, m) array or tensor, one row a query, higher for better.
        targets: (n,) for each row the column of the right answer; None where it is column i.

    Returns:
        Ranks (n,), whole or half numbers: a float64 array, or for a tensor a tensor beside it.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> scores = np.array([[0.9, 0.1, 0.3], [0.5, 0.5, 0.2], [0.3, 0.2, 0.1]])
        >>> ranks_from_scores(scores).tolist()
        [1.0, 1.5, 3.0]
    """
    if not is_tensor(scores):
        scores = as_array(scores, "scores")
    shape = np.shape(scores)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"scores: expected (n, m), one row a query, got shape {tuple(shape)}")
    goals = _as_targets(targets, *shape)
    values = as_scores(scores, cuda_device(scores))
    greater, tied = count_above(values, goals, no_tolerance(values))
    return like(scores, 1 + greater + tied / 2)


def recall_at_k(
    queries: ArrayLike,
    gallery: ArrayLike,
    k: int | Iterable[int] = (1, 5, 10),
    *,
    similarity: Similarity = "cosine",
    targets: ArrayLike | None = None,
) -> dict[int, float]:
    r"""Return the fraction of queries whose partner is among the k best, for every k.

    .. math::

        \mathrm{R@}k = \frac1n \sum_i P(r_i \le k), \qquad
        P(r_i \le k) = \min\Bigl(1, \max\Bigl(0, \frac{k - g_i}{t_i + 1}\Bigr)\Bigr)

    with :math:`g_i` items above the partner and :math:`t_i` others that tie with it, in random
    order. Without ties this is the plain share of ranks up to k; where everything lies on one
    point it is k/n, the recall of chance.

    Args:
        queries: (n, d) array or tensor, one row an item.
        gallery: (n, d) array or tensor; row i answers query i.
        k: one or several list lengths, each at most the size of the gallery.
        similarity: as for :func:`ranks`.
        targets: as for :func:`ranks`.

    Returns:
        ``{k: recall}`` in the order of ``k``, fractions in [0, 1].

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, k below 1 or above the gallery.

    Source:
        Hodosh, Young and Hockenmaier, Framing image description as a ranking task, JAIR 47, 2013.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> pictures = np.eye(4)
        >>> names = np.eye(4)[[0, 1, 3, 2]]
        >>> recall_at_k(pictures, names, k=(1, 4))
        {1: 0.5, 4: 1.0}
    """
    cutoffs = as_cutoffs(k, as_items(gallery, "gallery").shape[0])
    greater, tied = rank_counts(queries, gallery, similarity, targets)
    return {each: float(found_within(each, greater, tied).mean()) for each in cutoffs}


def median_rank(
    queries: ArrayLike,
    gallery: ArrayLike,
    *,
    similarity: Similarity = "cosine",
    targets: ArrayLike | None = None,
) -> float:
    r"""Return the median rank of the partners (MedR; lower is better, 1 is perfect).

    .. math:: \mathrm{MedR} = \operatorname{median}_i\, r_i

    with :math:`r_i` the expected rank of :func:`ranks`. Chance is (n + 1)/2.

    Args:
        queries: (n, d) array or tensor, one row an item.
        gallery: (n, d) array or tensor; row i answers query i.
        similarity: as for :func:`ranks`.
        targets: as for :func:`ranks`.

    Returns:
        The median, a multiple of one quarter.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, an unknown similarity.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> median_rank(np.eye(4), np.eye(4))
        1.0
        >>> median_rank(np.ones((5, 2)), np.ones((5, 2)))
        3.0
    """
    greater, tied = rank_counts(queries, gallery, similarity, targets)
    return float(np.median(1 + greater + tied / 2))


def mean_reciprocal_rank(
    queries: ArrayLike,
    gallery: ArrayLike,
    *,
    similarity: Similarity = "cosine",
    targets: ArrayLike | None = None,
) -> float:
    r"""Return the mean of one over the partner's rank (MRR; 1 is perfect).

    .. math::

        \mathrm{MRR} = \frac1n \sum_i \frac{1}{t_i + 1} \sum_{p=1}^{t_i + 1} \frac{1}{g_i + p}
        = \frac1n \sum_i \frac{H_{g_i + t_i + 1} - H_{g_i}}{t_i + 1}

    with :math:`g_i` items above the partner, :math:`t_i` others that tie with it in random order
    and harmonic numbers H; without ties, the mean of :math:`1/r_i`. With one relevant item a
    query, the mean average precision is the same number.

    Args:
        queries: (n, d) array or tensor, one row an item.
        gallery: (n, d) array or tensor; row i answers query i.
        similarity: as for :func:`ranks`.
        targets: as for :func:`ranks`.

    Returns:
        A number in (0, 1].

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, an unknown similarity.

    Source:
        Voorhees, The TREC-8 question answering track report, 1999.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> names = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> pictures = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 0.0]])
        >>> round(mean_reciprocal_rank(pictures, names), 4)  # ranks 1, 2 and 2
        0.6667
    """
    greater, tied = rank_counts(queries, gallery, similarity, targets)
    return float(reciprocal_ranks(greater, tied).mean())


def found_within(
    k: int, greater: NDArray[np.int64], tied: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the probability (n,) that the target is among the first k of its list."""
    share: NDArray[np.float64] = np.clip((k - greater) / (tied + 1), 0.0, 1.0)
    return share


def reciprocal_ranks(greater: NDArray[np.int64], tied: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the expected 1/rank (n,) of the targets."""
    last = greater + tied + 1
    harmonic = harmonic_numbers(int(last.max()))
    spread = (harmonic[last] - harmonic[greater]) / (tied + 1)
    return np.where(tied == 0, 1.0 / last, spread)


def harmonic_numbers(n: int) -> NDArray[np.float64]:
    """Return H (n + 1,) with ``H[i]`` = 1 + 1/2 + … + 1/i, and ``H[0]`` = 0."""
    terms = np.zeros(n + 1, dtype=np.longdouble)
    terms[1:] = 1 / np.arange(1, n + 1, dtype=np.longdouble)
    return np.cumsum(terms).astype(np.float64)


def rank_counts(
    queries: Any, gallery: Any, similarity: Similarity, targets: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count, for every query, the items above its target and the others that tie with it."""
    check_similarity(similarity)
    queries, gallery = as_items(queries, "queries"), as_items(gallery, "gallery")
    goals = _as_targets(targets, queries.shape[0], gallery.shape[0])
    greater, tied = np.empty((2, len(goals)), dtype=np.int64)
    for which, scores, tolerance in score_blocks(queries, gallery, similarity):
        greater[which], tied[which] = count_above(scores, goals[which], tolerance)
    return greater, tied


@fast("count_above")
def count_above(
    scores: Any, targets: NDArray[np.int64], tolerance: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count, in every row, the scores above the target's and the others that tie with it.

    Args:
        scores: (b, m), an array or a tensor.
        targets: (b,) the column of each row's target.
        tolerance: (b,) scores that differ by no more are ties.
    """
    if not abs(scores).max() < np.inf:
        raise ValueError(NOT_FINITE)
    target = scores[np.arange(len(scores)), targets][:, None]
    reach = tolerance[:, None]
    greater = (scores > target + reach).sum(1)
    tied = (scores >= target - reach).sum(1) - greater - 1
    return as_array(greater, "greater"), as_array(tied, "tied")


def _as_targets(targets: Any, queries: int, gallery: int) -> NDArray[np.int64]:
    if targets is None:
        if queries != gallery:
            raise ValueError(
                f"{queries} queries and a gallery of {gallery}: row i of one must be the partner "
                "of row i of the other; where it is not, say in targets which row of the gallery "
                "answers each query"
            )
        return np.arange(queries)
    array = as_labels(targets, queries, "targets")
    if array.min() < 0 or array.max() >= gallery:
        raise ValueError(
            f"targets: expected rows of the gallery, 0 to {gallery - 1}, got values from "
            f"{array.min()} to {array.max()}"
        )
    return array
