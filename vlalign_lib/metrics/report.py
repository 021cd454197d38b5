"""Both directions of retrieval in one small table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import check_paired
from vlalign_lib.metrics._arrays import as_class_labels, as_cutoff, as_cutoffs, as_items
from vlalign_lib.metrics._harmonic import harmonic_numbers
from vlalign_lib.metrics._similarity import Similarity
from vlalign_lib.metrics.classes import Normalise, chance_average_precision, query_precisions
from vlalign_lib.metrics.intervals import (
    Interval,
    check_bootstrap,
    percentile_interval,
    resample,
)
from vlalign_lib.metrics.pairs import found_within, rank_counts, reciprocal_ranks

IMAGE_TO_TEXT = "image → text"
TEXT_TO_IMAGE = "text → image"
MEAN = "mean"


@dataclass(frozen=True)
class RetrievalReport:
    """What :func:`retrieval_report` found; prints as a table, in a notebook too.

    ``report["image → text"]["R@10"]`` is an :class:`Interval`.

    Attributes:
        rows: direction (``"image → text"``, ``"text → image"``, ``"mean"``) to metric to interval.
        chance: metric to what a random order scores.
        pairs: number of pairs, which is the number of queries and the size of the gallery.
        protocol: how it was measured, in words.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> report = retrieval_report(np.ones((20, 3)), np.ones((20, 3)), k=(1, 10))
        >>> {name: round(value, 3) for name, value in report.chance.items()}
        {'R@1': 0.05, 'R@10': 0.5, 'MedR': 10.5, 'MRR': 0.18}
        >>> report["mean"]["MedR"].estimate
        10.5
    """

    rows: Mapping[str, Mapping[str, Interval]]
    chance: Mapping[str, float]
    pairs: int
    protocol: str

    def __getitem__(self, direction: str) -> Mapping[str, Interval]:
        return self.rows[direction]

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain dictionaries and numbers, ready for JSON."""
        return {
            "pairs": self.pairs,
            "protocol": self.protocol,
            "chance": dict(self.chance),
            "rows": {
                direction: {
                    name: {
                        "estimate": interval.estimate,
                        "low": interval.low,
                        "high": interval.high,
                        "level": interval.level,
                    }
                    for name, interval in row.items()
                }
                for direction, row in self.rows.items()
            },
        }

    def __str__(self) -> str:
        table = [["", *self.chance], *self._cells()]
        widths = [max(len(row[c]) for row in table) for c in range(len(table[0]))]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
            )
            for row in table
        ]
        return "\n".join([*lines, self.protocol])

    def _repr_html_(self) -> str:
        # No colours of its own: the page's theme, dark or light, decides.
        right = 'style="text-align: right; padding-left: 0.7em; white-space: nowrap"'
        head = "".join(f'<th scope="col" {right}>{escape(name)}</th>' for name in self.chance)
        body = ""
        for direction, row in self.rows.items():
            cells = "".join(
                f"<td {right}>{interval.estimate:{_spec(name)}}<br>"
                f"<small>{interval.low:{_spec(name)}}–{interval.high:{_spec(name)}}</small></td>"
                for name, interval in row.items()
            )
            body += f'<tr><th scope="row">{escape(direction)}</th>{cells}</tr>'
        floor = "".join(f"<td {right}>{v:{_spec(name)}}</td>" for name, v in self.chance.items())
        return (
            '<div style="overflow-x: auto"><table>'
            f'<caption style="caption-side: bottom; text-align: left">{escape(self.protocol)}'
            f"</caption><thead><tr><td></td>{head}</tr></thead>"
            f'<tbody>{body}<tr><th scope="row">chance</th>{floor}</tr></tbody></table></div>'
        )

    def _cells(self) -> list[list[str]]:
        lines = [
            [direction, *(f"{interval:{_spec(name)}}" for name, interval in row.items())]
            for direction, row in self.rows.items()
        ]
        return [*lines, ["chance", *(f"{v:{_spec(name)}}" for name, v in self.chance.items())]]


def retrieval_report(
    images: ArrayLike,
    texts: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    k: int | Iterable[int] = (1, 5, 10),
    similarity: Similarity = "cosine",
    top_k: int | None = None,
    normalise: Normalise = "relevant",
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> RetrievalReport:
    r"""Return how well two embedded views find each other, both ways, with intervals.

    .. math::

        \text{mean} = \tfrac12\,(\text{image} \to \text{text} + \text{text} \to \text{image})

    Metrics of the partner: recall at every k, the median rank and the mean reciprocal rank; with
    labels also the mean average precision by class. Intervals are bootstrapped over pairs: all
    metrics and both directions share their draws, so that the interval of the mean counts a pair
    that is hard both ways twice. The row of chance is what a random order scores.

    Args:
        images: (n, d) embedded images, array or tensor.
        texts: (n, d) embedded texts; row i is the partner of image i.
        labels: (n,) class indices for the mean average precision, or None.
        k: list lengths for the recall, each at most n.
        similarity: as for :func:`ranks`; a function is called with the querying view first.
        top_k: as for :func:`mean_average_precision`.
        normalise: as for :func:`mean_average_precision`.
        level: of the intervals.
        n_resamples: bootstrap samples.
        seed: of the bootstrap.

    Returns:
        The table.

    Raises:
        ValueError: views of different length, fewer than two pairs, and what the metrics raise.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> angle = np.linspace(0, 3, 8)
        >>> images = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        >>> texts = images[[1, 0, 2, 3, 4, 5, 6, 7]]
        >>> report = retrieval_report(images, texts, k=(1, 2))
        >>> print(f"{report['mean']['R@2']:.2f}, chance {report.chance['R@2']:.2f}")
        0.94 [0.84, 1.00], chance 0.25
    """
    views: tuple[Any, Any] = as_items(images, "images"), as_items(texts, "texts")
    check_paired(*views, ("images", "texts"))
    n = int(views[0].shape[0])
    check_bootstrap(n, level, n_resamples, seed)
    cutoffs = as_cutoffs(k, n)
    chance = {f"R@{each}": each / n for each in cutoffs}
    chance["MedR"] = (n + 1) / 2
    chance["MRR"] = float(harmonic_numbers(n)[n]) / n
    precision = "mAP" if top_k is None else f"mAP@{top_k}"
    if top_k is not None:
        as_cutoff(top_k, n, "top_k")
    if labels is not None:
        labels = as_class_labels(labels, n, "labels")
        chance[precision] = chance_average_precision(
            labels, labels, top_k=top_k, normalise=normalise
        )

    columns: dict[str, list[NDArray[np.float64]]] = {name: [] for name in chance}
    for queries, gallery in (views, views[::-1]):
        greater, tied = rank_counts(queries, gallery, similarity, None)
        for each in cutoffs:
            columns[f"R@{each}"].append(found_within(each, greater, tied))
        columns["MedR"].append(1 + greater + tied / 2)
        columns["MRR"].append(reciprocal_ranks(greater, tied))
        if labels is not None:
            columns[precision].append(
                query_precisions(queries, gallery, labels, labels, top_k, similarity, normalise)
            )

    rows: dict[str, dict[str, Interval]] = {IMAGE_TO_TEXT: {}, TEXT_TO_IMAGE: {}, MEAN: {}}
    averaged = [name for name in chance if name != "MedR"]
    table = np.stack([column for name in averaged for column in columns[name]], axis=1)
    estimates = dict(zip(averaged, table.mean(axis=0).reshape(-1, 2), strict=True))
    draws = resample(table, "mean", n_resamples, seed).reshape(n_resamples, -1, 2)
    samples = dict(zip(averaged, np.moveaxis(draws, 1, 0), strict=True))
    table = np.stack(columns["MedR"], axis=1)
    estimates["MedR"] = np.median(table, axis=0)
    samples["MedR"] = resample(table, "median", n_resamples, seed)
    for name in chance:
        there, back = estimates[name]
        ways = samples[name]
        rows[IMAGE_TO_TEXT][name] = percentile_interval(there, ways[:, 0], level)
        rows[TEXT_TO_IMAGE][name] = percentile_interval(back, ways[:, 1], level)
        rows[MEAN][name] = percentile_interval((there + back) / 2, ways.mean(axis=1), level)

    scored_by = similarity if isinstance(similarity, str) else "own"
    protocol = f"{n:,} pairs, {scored_by} similarity"
    if labels is not None:
        looked_at = "the whole gallery" if top_k is None else f"the best {top_k:,}"
        divisor = "relevant items" if normalise == "relevant" else "hits"
        protocol += f"; {precision} over {looked_at}, divided by the {divisor}"
    protocol += f"; {100 * level:g} % bootstrap intervals over pairs"
    return RetrievalReport(
        rows=MappingProxyType({way: MappingProxyType(row) for way, row in rows.items()}),
        chance=MappingProxyType(chance),
        pairs=n,
        protocol=protocol,
    )


def _spec(name: str) -> str:
    return ".1f" if name == "MedR" else ".3f"
