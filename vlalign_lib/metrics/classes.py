"""Retrieval by class: average precision of ranked lists with many right answers."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._fast import fast
from vlalign_lib._validate import as_array, is_one_of, is_tensor
from vlalign_lib.metrics._scores import (
    Similarity,
    as_class_labels,
    as_cutoff,
    as_items,
    beside,
    check_similarity,
    like,
    score_blocks,
)
from vlalign_lib.metrics.curves import precision_recall_curve
from vlalign_lib.metrics.pairs import harmonic_numbers

Normalise = Literal["relevant", "hits"]
NARROW = 16  # a tie is at most so many tolerances wide: a long chain of distinct scores is none
SHORT = 16  # so many places are added one by one, where harmonic numbers would cancel


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
    hits = round(curve.hits[first - 1]) if first > 0 else 0
    inside = round(curve.hits[last - 1]) - hits
    return float(
        expected_cut(
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
    by_hits = _divides_by_hits(normalise)
    n = as_items(query_labels, "query_labels").shape[0]
    m = as_items(gallery_labels, "gallery_labels").shape[0]
    _, starts, stops = _by_class(query_labels, gallery_labels, n, m)
    depth = m if top_k is None else as_cutoff(top_k, m, "top_k")
    relevant, queries = np.unique(stops - starts, return_counts=True)
    one_tie = np.tile(np.array([0, m, 0]), (len(relevant), 1))
    values = expected_precisions(one_tie, relevant[:, None], depth, by_hits, harmonic_numbers(m))
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
    queries, gallery = as_items(queries, "queries"), as_items(gallery, "gallery")
    n, m = queries.shape[0], gallery.shape[0]
    order, starts, stops = _by_class(query_labels, gallery_labels, n, m)
    depth = m if top_k is None else as_cutoff(top_k, m, "top_k")
    harmonic = harmonic_numbers(m)
    values = np.empty(n)
    same_class_together = np.lexsort((stops, starts))
    for which, scores, tolerance in score_blocks(
        queries, gallery, similarity, query_order=same_class_together, gallery_order=order
    ):
        values[which] = precisions_of_scores(
            scores, starts[which], stops[which], tolerance, depth, by_hits, harmonic
        )
    return values


@fast("average_precisions")
def precisions_of_scores(
    scores: Any,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    tolerance: Any,
    top_k: int,
    by_hits: bool,
    harmonic: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the expected average precision (b,) of rows of scores (b, m), which it may overwrite.

    The relevant items of row i are the columns ``starts[i]`` to ``stops[i]``. Only their scores
    are sorted; every item is then counted, in a tie of relevant ones or between two of them.
    """
    first, end = beside(starts, scores)[:, None], beside(stops, scores)[:, None]
    most = max(int((stops - starts).max()), 1)
    columns = first + beside(np.arange(most), scores)
    row = beside(np.arange(len(scores)), scores)[:, None]
    relevant = scores[row, columns.clip(max=scores.shape[1] - 1)]
    relevant[columns >= end] = np.inf
    relevant = relevant.sort(1).values if is_tensor(relevant) else np.sort(relevant, axis=1)
    lower, upper, sizes = tie_blocks(
        as_array(relevant, "relevant"), as_array(tolerance, "tolerance")
    )
    counts = _count_in_blocks(scores, lower, upper)
    return expected_precisions(counts, sizes, top_k, by_hits, harmonic)


@fast("tie_blocks")
def tie_blocks(
    ascending: NDArray[np.floating], tolerance: NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.int64]]:
    """Gather relevant scores that tie: (b, r), ascending, filled up with infinity.

    Scores nearer than twice the tolerance share a block, as long as it stays narrow. Block g of a
    row claims every score s with ``lower[g] <= s < upper[g]``; the claims ascend and do not
    overlap, and infinity fills up the (b, r + 1) ends. ``sizes`` (b, r) counts relevant items.
    """
    rows, most = ascending.shape
    block = np.zeros((rows, most), dtype=np.int64)
    first = ascending[:, 0]
    with np.errstate(invalid="ignore"):  # infinity less infinity begins a block, which is empty
        for i in range(1, most):
            near = ascending[:, i] - ascending[:, i - 1] <= 2 * tolerance
            narrow = ascending[:, i] - first <= NARROW * tolerance
            first = np.where(near & narrow, first, ascending[:, i])
            block[:, i] = block[:, i - 1] + ~(near & narrow)
    stop = np.nextafter(ascending + tolerance[:, None], np.inf, dtype=ascending.dtype)
    stop[:, :-1] = np.minimum(stop[:, :-1], ascending[:, 1:])
    start = ascending - tolerance[:, None]
    start[:, 1:] = np.maximum(start[:, 1:], stop[:, :-1])
    lower = np.full((rows, most + 1), np.inf, dtype=ascending.dtype)
    upper = lower.copy()
    row, at = np.nonzero(np.diff(block, axis=1, prepend=-1))  # where a block begins
    lower[row, block[row, at]] = start[row, at]
    row, at = np.nonzero(np.diff(block, axis=1, append=most))  # where it ends
    upper[row, block[row, at]] = stop[row, at]
    sizes = np.zeros((rows, most), dtype=np.int64)
    np.add.at(sizes, (np.arange(rows)[:, None], block), np.isfinite(ascending))
    return lower, upper, sizes


def _count_in_blocks(
    scores: Any, lower: NDArray[np.floating], upper: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Count the scores in block g (entry 2g + 1) and between it and the one below (entry 2g)."""
    entries = 2 * lower.shape[1] - 1
    if is_tensor(scores):
        import torch

        place = torch.searchsorted(beside(upper, scores), scores, right=True)
        place = 2 * place + (scores >= beside(lower, scores).gather(1, place))
        zeros = torch.zeros((len(scores), entries), dtype=torch.int64, device=scores.device)
        return as_array(zeros.scatter_add_(1, place, torch.ones_like(place)), "counts")
    counts = np.empty((len(scores), entries), dtype=np.int64)
    for i, row in enumerate(scores):
        place = np.searchsorted(upper[i], row, side="right")
        counts[i] = np.bincount(2 * place + (row >= lower[i, place]), minlength=entries)
    return counts


@fast("expected_precisions")
def expected_precisions(
    counts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    top_k: int,
    by_hits: bool,
    harmonic: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the expected average precision (b,) from counts (b, 2r + 1) and relevant ones (b, r).

    The orders inside different ties are independent, so that expected gains add; only the tie
    that ``top_k`` cuts needs care, and only where the divisor is the random number of hits.
    """
    tied = counts[:, 1::2]
    before = counts.sum(axis=1, keepdims=True) - np.cumsum(counts, axis=1)[:, 1::2]
    hits = sizes.sum(axis=1, keepdims=True) - np.cumsum(sizes, axis=1)
    drawn = np.clip(top_k - before, 0, tied)
    gain = expected_gain(before, hits, np.maximum(tied, 1), sizes, drawn, harmonic)
    if not by_hits:
        total: NDArray[np.float64] = gain.sum(axis=1)
        return total / np.clip(sizes.sum(axis=1), 1, top_k)
    whole = drawn == tied
    sums = np.where(whole, gain, 0.0).sum(axis=1)
    values = sums / np.maximum(np.where(whole, sizes, 0).sum(axis=1), 1)
    for i, g in np.argwhere((drawn > 0) & ~whole):
        values[i] = expected_cut(
            before[i, g], hits[i, g], tied[i, g], sizes[i, g], drawn[i, g], sums[i], harmonic
        )
    return values


def expected_gain(
    before: Any, hits: Any, tied: Any, relevant: Any, drawn: Any, harmonic: NDArray[np.float64]
) -> Any:
    r"""Return the expected sum of the precisions at the hits among the first places of a tie.

    Above a block of ``tied`` items in random order, ``relevant`` of them relevant, rank
    ``before`` others with ``hits`` hits; the first ``drawn`` places of the block are looked at.
    Place p of the block holds a relevant item with probability r/m, and then each place before
    it does with probability :math:`\beta = (r-1)/(m-1)`. With b items and h hits before,

    .. math::

        \sum_{p=1}^{P} \frac{r}{m}\,\frac{h + 1 + (p-1)\beta}{b + p}
        = \frac{r}{m}\Bigl(\beta P + \bigl(h + 1 - \beta(b+1)\bigr)(H_{b+P} - H_b)\Bigr).
    """
    slope = (relevant - 1) / np.maximum(tied - 1, 1)
    span = harmonic[before + drawn] - harmonic[before]
    total = slope * drawn + (hits + 1 - slope * (before + 1)) * span
    one_by_one = np.zeros(np.shape(total))
    for p in range(SHORT):
        one_by_one += (p < drawn) * (hits + 1 + p * slope) / (before + 1 + p)
    return relevant * np.where(drawn > SHORT, total, one_by_one) / tied


@fast("expected_cut")
def expected_cut(
    before: int,
    hits: int,
    tied: int,
    relevant: int,
    drawn: int,
    gain: float,
    harmonic: NDArray[np.float64],
) -> float:
    r"""Return the expected gain per hit where the list ends inside a tie.

    The number j of hits among the ``drawn`` first places of the block is hypergeometric. Given
    j, these places are a block of their own with j relevant items, so that, with
    :math:`G_j` from ``expected_gain``, the expectation is

    .. math::

        \sum_j \frac{\binom{r}{j}\binom{m-r}{P-j}}{\binom{m}{P}}\,\frac{g + G_j}{h + j},

    a list without a hit counting 0. The probabilities follow from the ratio of neighbours,
    outwards from the mode and then divided by their sum, so that nothing overflows.
    """
    others = tied - relevant
    found = np.arange(max(0, drawn - others), min(relevant, drawn) + 1)
    ratio = (relevant - found) * (drawn - found) / ((found + 1.0) * (others - drawn + found + 1.0))
    mode = int((drawn + 1) * (relevant + 1) // (tied + 2)) - int(found[0])
    mode = min(max(mode, 0), len(found) - 1)
    above, below = np.cumprod(ratio[mode:-1]), np.cumprod(1 / ratio[:mode][::-1])
    weight = np.concatenate([below[::-1], [1.0], above])
    inside = expected_gain(before, hits, drawn, found, drawn, harmonic)
    value = (gain + inside) / np.maximum(hits + found, 1) * (hits + found > 0)
    return float(weight @ value / weight.sum())


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
