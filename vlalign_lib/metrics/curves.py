"""One ranked list, place by place: hits, precision, recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._readonly import same_fields
from vlalign_lib._validate import as_array


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """A ranked list from the best place down; every field has one entry a place.

    Attributes:
        place: 1, 2, … m.
        item: which item of the input stands there; tied items in their order of input.
        score: its score.
        tie: number of the tie it belongs to; items with equal scores share one.
        relevance: probability that the place holds a relevant item: 0 or 1, in a tie the share
            of its relevant items.
        hits: expected relevant items up to this place.
        precision: hits over place.
        recall: hits over all relevant items.
        gain: what the place adds to the average precision before the division: the expected
            precision here, if the item here is relevant.

    Chapter:
        1, A multimodal world.

    Example:
        >>> curve = precision_recall_curve([3, 2, 1], [0, 1, 1])
        >>> curve.hits.tolist()
        [0.0, 1.0, 2.0]
        >>> curve.gain.tolist()  # 0, 1/2 and 2/3
        [0.0, 0.5, 0.6666666666666666]
    """

    place: NDArray[np.int64]
    item: NDArray[np.int64]
    score: NDArray[np.float64]
    tie: NDArray[np.int64]
    relevance: NDArray[np.float64]
    hits: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    gain: NDArray[np.float64]

    def __eq__(self, other: object) -> bool:
        return same_fields(self, other)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        lines = [" ".join(name.rjust(9) for name in _COLUMNS)]
        lines += [" ".join(cell.rjust(9) for cell in row) for row in self._rows()]
        return "\n".join([*lines, self._sum()])

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
        body = "".join(
            "<tr>" + "".join(f'<td style="text-align: right">{cell}</td>' for cell in row) + "</tr>"
            for row in self._rows()
        )
        return (
            f"<table><caption>{self._sum()}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )

    def _rows(self) -> list[list[str]]:
        return [
            [
                str(self.place[j]),
                str(self.item[j]),
                f"{self.score[j]:.4g}",
                f"{self.relevance[j]:.3g}",
                f"{self.hits[j]:.3g}",
                f"{self.precision[j]:.3f}",
                f"{self.recall[j]:.3f}",
                f"{self.gain[j]:.3f}",
            ]
            for j in range(len(self.place))
        ]

    def _sum(self) -> str:
        relevant = self.hits[-1]
        if relevant == 0:
            return "nothing is relevant: average precision 0"
        total = self.gain.sum()
        return (
            f"average precision = sum of gains / relevant items = {total:.3f} / {relevant:.0f} "
            f"= {total / relevant:.3f}"
        )


_COLUMNS = ("place", "item", "score", "relevant", "hits", "precision", "recall", "gain")


def precision_recall_curve(scores: ArrayLike, relevant: ArrayLike) -> PrecisionRecall:
    r"""Rank one list of scored items and return its precision and recall at every place.

    .. math::

        \mathrm{prec}(j) = \frac1j \sum_{i \le j} \mathrm{rel}(i), \qquad
        \mathrm{rec}(j) = \frac1R \sum_{i \le j} \mathrm{rel}(i), \qquad
        \mathrm{AP} = \frac1R \sum_j \mathrm{prec}(j)\,\mathrm{rel}(j)

    Where scores are equal, all numbers are expectations over the order of the tied items: place
    p of a tie of m items with r relevant ones, b items and h hits above it, is relevant with
    probability r/m and gains

    .. math:: \frac rm\, \frac{h + 1 + (p - 1)\frac{r - 1}{m - 1}}{b + p}.

    Args:
        scores: (m,) numbers, higher for better.
        relevant: (m,) truth values, or 0 and 1.

    Returns:
        The list from the best place down; it prints as a table, in a notebook too.

    Raises:
        ValueError: shapes that do not fit, no items, NaN or infinity, ``relevant`` other than
            0 and 1.

    Source:
        Manning, Raghavan and Schütze, Introduction to Information Retrieval, 2008, section 8.4.

    Chapter:
        1, A multimodal world.

    Example:
        >>> curve = precision_recall_curve([0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 0, 0])
        >>> print(curve)
            place      item     score  relevant      hits precision    recall      gain
                1         0       0.9         1         1     1.000     0.500     1.000
                2         1       0.8         0         1     0.500     0.500     0.000
                3         2       0.7         1         2     0.667     1.000     0.667
                4         3       0.6         0         2     0.500     1.000     0.000
                5         4       0.5         0         2     0.400     1.000     0.000
        average precision = sum of gains / relevant items = 1.667 / 2 = 0.833
    """
    values = as_array(scores, "scores")
    truth = as_array(relevant, "relevant")
    if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "fiub":
        raise ValueError(
            f"scores: expected numbers (m,), one an item, got {values.dtype} {values.shape}"
        )
    if truth.shape != values.shape:
        raise ValueError(f"relevant: expected shape {values.shape} like scores, got {truth.shape}")
    if truth.dtype.kind not in "fiub" or not np.isin(truth, (0, 1)).all():
        raise ValueError(
            "relevant: expected truth values, or 0 and 1, one an item; from labels: "
            "gallery_labels == query_label"
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(
            f"scores: {int((~np.isfinite(values)).sum())} of {values.size} are NaN or infinite"
        )
    item = np.argsort(-values, kind="stable")
    score = values[item]
    hit = truth[item].astype(np.int64)

    tie = np.concatenate([[0], np.cumsum(np.diff(score) != 0)])
    size = np.bincount(tie)
    inside = np.bincount(tie, weights=hit)
    before = np.concatenate([[0], np.cumsum(size)[:-1]])
    hits_before = np.concatenate([[0.0], np.cumsum(inside)[:-1]])

    place = np.arange(1, values.size + 1)
    within = place - before[tie]  # 1, 2, … inside the tie
    relevance = (inside / size)[tie]
    hits = hits_before[tie] + within * relevance
    slope = (np.maximum(inside - 1, 0) / np.maximum(size - 1, 1))[tie]
    gain = relevance * (hits_before[tie] + 1 + (within - 1) * slope) / place
    total = int(hit.sum())
    return PrecisionRecall(
        place=place,
        item=item,
        score=score,
        tie=tie,
        relevance=relevance,
        hits=hits,
        precision=hits / place,
        recall=hits / max(total, 1),
        gain=gain,
    )
