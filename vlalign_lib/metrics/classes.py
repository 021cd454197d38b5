"""Retrieval by class: average precision of ranked lists with many right answers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import is_one_of
from vlalign_lib.metrics._arrays import (
    as_class_labels,
    as_cutoff,
    count_items,
    cuda_device,
    like,
)
from vlalign_lib.metrics._harmonic import harmonic_numbers
from vlalign_lib.metrics._similarity import (
    Similarity,
    as_pair,
    check_similarity,
    score_blocks,
)
from vlalign_lib.metrics.curves import precision_recall_curve

Normalise = Literal["relevant", "hits"]


def mean_average_precision(
    queries: ArrayLike,
    gallery: ArrayLike,
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    *,
    top_k: int | None = None,
    similarity: Similarity = "cosine",
    normalise: Normalise = "relevant",
) -> float:
    r"""Return the mean over queries of the average precision (mAP) of retrieval by class.

    .. math::

        \mathrm{AP} = \frac1R \sum_{j=1}^{K} \mathrm{prec}(j)\,\mathrm{rel}(j), \qquad
        \mathrm{prec}(j) = \frac1j \sum_{i \le j} \mathrm{rel}(i)

    where rel(j) is 1 if the item at place j has the query's class, K is ``top_k`` or the whole
    gallery, and R = min(relevant items, K). ``normalise="hits"`` divides by the number of hits
    among the K instead, the protocol of the code of ACMR; the two numbers must never stand in
    one column (chapter 1).

    Where scores tie, AP is the expectation over all orders of the tied items, exactly. Let b
    items with h hits rank above a tie of m items, r of them relevant. Place p of the tie is a hit
    with probability r/m, and then each of the p − 1 places before it is one with probability
    β = (r − 1)/(m − 1). The first P places of the tie add

    .. math::

        \sum_{p=1}^{P} \frac rm\, \frac{h + 1 + (p-1)\beta}{b + p}
        = \frac rm \Bigl(\beta P + \bigl(h + 1 - \beta(b + 1)\bigr)(H_{b+P} - H_b)\Bigr)

    with harmonic numbers H; P = m, or K − b where ``top_k`` cuts the tie. In that last tie
    ``"hits"`` divides by a random number: the hits x among the P places are hypergeometric, given
    x they are a tie of P items with x relevant ones, and the expectation is the mean over x of
    (sum so far + sum above) / (h + x). A collapsed space, where everything ties, thus scores
    chance. What counts as a tie is said at :func:`ranks`; distinct scores that lie closer than
    that in a row are taken together only as far as sixteen times this width.

    Only the scores of relevant items are sorted, the others are counted, in blocks of queries:
    20,000 queries against 20,000 items need some tens of megabytes beside the embeddings.

    Args:
        queries: (n, d) array or tensor, one row an item; more axes are flattened.
        gallery: (m, d) array or tensor.
        query_labels: (n,) class indices, 0 or above.
        gallery_labels: (m,) class indices, 0 or above.
        top_k: look at so many best items only; None looks at the whole gallery.
        similarity: ``"cosine"`` (a row of zeros has similarity 0 to everything), ``"dot"``,
            ``"euclidean"``, or a function of ``(queries_block, gallery)`` that returns scores
            (b, m), higher for better.
        normalise: ``"relevant"`` or ``"hits"``.

    Returns:
        A fraction in [0, 1]. A query without a hit counts 0, also where its class is not in the
        gallery at all.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, negative labels (−1 marks an item
            without a class: leave it out), no class in common, ``top_k`` above the gallery.

    Source:
        Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, equation
        8.8; ties as in McSherry and Najork, Computing information retrieval performance
        measures efficiently in the presence of tied scores, ECIR 2008.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> gallery = np.array([[5.0], [4.0], [3.0], [2.0], [1.0]])
        >>> labels = np.array([7, 0, 7, 0, 7])
        >>> score = mean_average_precision([[1.0]], gallery, [7], labels, similarity="dot")
        >>> round(score, 4)  # (1/1 + 2/3 + 3/5) / 3
        0.7556
    """
    values = query_precisions(
        queries, gallery, query_labels, gallery_labels, top_k, similarity, normalise
    )
    return float(values.mean())


def average_precisions(
    queries: ArrayLike,
    gallery: ArrayLike,
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    *,
    top_k: int | None = None,
    similarity: Similarity = "cosine",
    normalise: Normalise = "relevant",
) -> Any:
    r"""Return the average precision of every query, to look at or to put an interval around.

    .. math:: \mathrm{AP}_i = \frac{1}{R_i} \sum_{j=1}^{K} \mathrm{prec}_i(j)\,\mathrm{rel}_i(j)

    Their mean is :func:`mean_average_precision`, which explains the terms and the ties.

    Args:
        queries: (n, d) array or tensor.
        gallery: (m, d) array or tensor.
        query_labels: (n,) class indices, 0 or above.
        gallery_labels: (m,) class indices, 0 or above.
        top_k: look at so many best items only; None looks at the whole gallery.
        similarity: as for :func:`ranks`.
        normalise: ``"relevant"`` or ``"hits"``.

    Returns:
        (n,) fractions: a float64 array, or for tensors a tensor on the device of the queries.

    Raises:
        ValueError: as :func:`mean_average_precision`.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> views = np.eye(4)
        >>> average_precisions(views, views, [0, 0, 1, 1], [0, 0, 1, 1], top_k=1).tolist()
        [1.0, 1.0, 1.0, 1.0]
    """
    values = query_precisions(
        queries, gallery, query_labels, gallery_labels, top_k, similarity, normalise
    )
    return like(queries, values)


def average_precision(
    scores: ArrayLike,
    relevant: ArrayLike,
    *,
    top_k: int | None = None,
    normalise: Normalise = "relevant",
) -> float:
    r"""Return the average precision of one list of scored items.

    .. math:: \mathrm{AP} = \frac1R \sum_{j=1}^{K} \mathrm{prec}(j)\,\mathrm{rel}(j)

    with the terms of :func:`mean_average_precision`, expected over the order of items whose
    scores are equal. Scores are compared as they are. :func:`precision_recall_curve` shows the
    same sum place by place.

    Args:
        scores: (m,) numbers, higher for better.
        relevant: (m,) truth values, or 0 and 1.
        top_k: look at so many best items only; None looks at all.
        normalise: ``"relevant"`` divides by min(relevant items, top_k), ``"hits"`` by the
            relevant items found.

    Returns:
        A fraction in [0, 1]; 0 where nothing is relevant.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, ``top_k`` above the number of items.

    Source:
        Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, equation 8.8.

    Chapter:
        1, A multimodal world.

    Example:
        >>> round(average_precision([5, 4, 3, 2, 1], [1, 0, 1, 0, 0]), 4)  # (1/1 + 2/3) / 2
        0.8333
        >>> round(average_precision([1, 1, 1], [1, 0, 0]), 4)  # a third each of 1, 1/2 and 1/3
        0.6111
    """
    by_hits = _divides_by_hits(normalise)
    curve = precision_recall_curve(scores, relevant)
    size = len(curve.place)
    depth = size if top_k is None else as_cutoff(top_k, size, "top_k")
    total = round(curve.hits[-1])
    if total == 0:
        return 0.0
    gain = float(curve.gain[:depth].sum())
    if not by_hits or depth == size:
        return gain / min(total, depth)
    tie = curve.tie
    first = int(np.searchsorted(tie, tie[depth - 1]))
    last = int(np.searchsorted(tie, tie[depth - 1], side="right"))
    if last == depth:
        found = float(curve.hits[depth - 1])
        return gain / found if found > 0 else 0.0
    from vlalign_lib.metrics import _kernels

    hits = round(curve.hits[first - 1]) if first > 0 else 0
    inside = round(curve.hits[last - 1]) - hits
    return float(
        _kernels.expected_cut(
            first,
            hits,
            last - first,
            inside,
            depth - first,
            float(curve.gain[:first].sum()),
            harmonic_numbers(size),
        )
    )


def chance_average_precision(
    query_labels: ArrayLike,
    gallery_labels: ArrayLike,
    *,
    top_k: int | None = None,
    normalise: Normalise = "relevant",
) -> float:
    r"""Return the mean average precision that a random order of the gallery would have.

    With R relevant items among m and the whole list looked at,

    .. math::

        \mathbb{E}[\mathrm{AP}] = \frac1m \Bigl(m\beta + (1 - \beta) H_m\Bigr), \qquad
        \beta = \frac{R - 1}{m - 1},

    averaged over the queries: the floor that every mAP should be read against. It lies above
    the share of the class, R/m, and much above it in a small gallery.

    Args:
        query_labels: (n,) class indices, 0 or above.
        gallery_labels: (m,) class indices, 0 or above.
        top_k: as for :func:`mean_average_precision`.
        normalise: as for :func:`mean_average_precision`.

    Returns:
        A fraction in [0, 1], exact: it is the score of a space where everything ties.

    Raises:
        ValueError: as :func:`mean_average_precision`.

    Chapter:
        1, A multimodal world.

    Example:
        >>> labels = [0, 1, 2, 3, 4] * 20
        >>> round(chance_average_precision(labels, labels), 4)
        0.2338
    """
    from vlalign_lib.metrics import _kernels

    by_hits = _divides_by_hits(normalise)
    n = count_items(query_labels, "query_labels")
    m = count_items(gallery_labels, "gallery_labels")
    _, starts, stops = _by_class(query_labels, gallery_labels, n, m)
    depth = m if top_k is None else as_cutoff(top_k, m, "top_k")
    harmonic = harmonic_numbers(m)
    counts, queries = np.unique(stops - starts, return_counts=True)
    nothing, everything = np.zeros(1, np.int64), np.array([m])
    values = [
        _kernels.expected_average_precision(
            nothing, everything, counts[i : i + 1], int(count > 0), depth, by_hits, harmonic
        )
        for i, count in enumerate(counts)
    ]
    return float(np.average(values, weights=queries))


def query_precisions(
    queries: Any,
    gallery: Any,
    query_labels: Any,
    gallery_labels: Any,
    top_k: int | None,
    similarity: Similarity,
    normalise: str,
) -> NDArray[np.float64]:
    """Return the expected average precision (n,) of every query."""
    check_similarity(similarity)
    by_hits = _divides_by_hits(normalise)
    n, m = count_items(queries, "queries"), count_items(gallery, "gallery")
    order, starts, stops = _by_class(query_labels, gallery_labels, n, m)
    depth = m if top_k is None else as_cutoff(top_k, m, "top_k")
    harmonic = harmonic_numbers(m)
    device = cuda_device(queries, gallery)
    if device is not None:
        from vlalign_lib.metrics import _device

        return _device.average_precisions(
            queries, gallery, similarity, order, starts, stops, depth, by_hits, harmonic, device
        )
    queries, gallery = as_pair(queries, gallery, similarity)
    from vlalign_lib.metrics import _kernels

    values = np.empty(n)
    same_class_together = np.lexsort((stops, starts))
    for which, scores, tolerance in score_blocks(
        queries, gallery, similarity, query_order=same_class_together, gallery_order=order
    ):
        first, last = starts[which], stops[which]
        changes = np.flatnonzero(np.diff(first) | np.diff(last)) + 1
        for top, bottom in zip([0, *changes], [*changes, len(which)], strict=True):
            scores[top:bottom, first[top] : last[top]].sort(axis=1)
        found = np.empty(len(which))
        _kernels.average_precisions(scores, first, last, tolerance, depth, by_hits, harmonic, found)
        values[which] = found
    return values


def _by_class(
    query_labels: Any, gallery_labels: Any, n: int, m: int
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Order the gallery by class; the class of query i lies at ``starts[i]:stops[i]``."""
    wanted = as_class_labels(query_labels, n, "query_labels")
    there = as_class_labels(gallery_labels, m, "gallery_labels")
    order = np.argsort(there, kind="stable")
    there = there[order]
    starts = np.searchsorted(there, wanted)
    stops = np.searchsorted(there, wanted, side="right")
    if (starts == stops).all():
        raise ValueError(
            f"no query has its class in the gallery: query_labels hold {_some(wanted)}, "
            f"gallery_labels {_some(there)}; are they numbered alike?"
        )
    return order, starts, stops


def _some(labels: NDArray[np.int64]) -> str:
    kinds = np.unique(labels)
    return ", ".join(map(str, kinds[:5])) + (", …" if len(kinds) > 5 else "")


def _divides_by_hits(normalise: str) -> bool:
    if not is_one_of(normalise, ("relevant", "hits")):
        raise ValueError(
            f"normalise: expected 'relevant' (divide by the relevant items) or 'hits' (by those "
            f"found among the top_k), got {normalise!r}"
        )
    return normalise == "hits"
