"""How far a number may be trusted, and both directions of retrieval in one small table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._readonly import ReadOnlyDict
from vlalign_lib._validate import as_array, as_number, as_seed, check_paired, is_one_of, is_whole
from vlalign_lib.metrics._scores import Similarity, as_class_labels, as_cutoff, as_cutoffs, as_items
from vlalign_lib.metrics.classes import Normalise, chance_average_precision, query_precisions
from vlalign_lib.metrics.pairs import (
    found_within,
    harmonic_numbers,
    rank_counts,
    reciprocal_ranks,
)

Statistic = Literal["mean", "median"] | Callable[[NDArray[np.float64]], float]
DRAWS_AT_ONCE = 2_000_000
MOST_RESAMPLES = 1_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval around it.

    Attributes:
        estimate: the statistic of all values.
        low: lower end.
        high: upper end.
        level: the share of such intervals that should cover the truth.

    Chapter:
        1, A multimodal world.

    Example:
        >>> interval = Interval(0.31, low=0.29, high=0.34)
        >>> print(f"{interval:.2f}")
        0.31 [0.29, 0.34]
        >>> round(interval.half_width, 3)
        0.025
    """

    estimate: float
    low: float
    high: float
    level: float = 0.95

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self:.3f}"

    def __format__(self, spec: str) -> str:
        """Format the three numbers with ``spec``: ``f"{interval:.2f}"`` is 0.31 [0.29, 0.33]."""
        spec = spec or ".3f"
        return f"{self.estimate:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def bootstrap_interval(
    values: ArrayLike,
    *,
    statistic: Statistic = "mean",
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    r"""Return a percentile bootstrap interval over queries.

    .. math::

        \bigl[\hat F^{-1}\bigl(\tfrac{1 - \gamma}{2}\bigr),\;
              \hat F^{-1}\bigl(\tfrac{1 + \gamma}{2}\bigr)\bigr], \qquad
        \hat F \text{ the distribution of } T(x^*_1, \dots, x^*_n)

    over samples :math:`x^*` of n values drawn with replacement, γ the level, T the statistic. It
    says how much the number would move with other queries of the same kind; it knows nothing of
    other training seeds or splits. To compare two methods on the same queries, pass the
    differences of their values: two overlapping intervals do not mean that the methods are equal.
    Where all values are equal the interval has no width, however few they are.

    Args:
        values: (n,) one number a query, from :func:`average_precisions` or :func:`ranks`.
        statistic: ``"mean"``, ``"median"``, or a function of an array (n,).
        level: between 0 and 1.
        n_resamples: bootstrap samples, 100 to a million.
        seed: a whole number for ``np.random.default_rng``; the same seed and number of queries
            draw the same queries, so that intervals of several metrics belong together.

    Returns:
        The statistic of all values and its interval.

    Raises:
        ValueError: fewer than two values, NaN or infinity, a level, a number of samples or a seed
            that makes no sense, or a statistic that returns no finite number.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> interval = bootstrap_interval(np.arange(100) % 2)
        >>> print(f"{interval:.2f}")
        0.50 [0.40, 0.60]
    """
    array = as_array(values, "values")
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise ValueError(
            f"values: expected (n,), one number a query, got {array.dtype} {array.shape}; "
            "average_precisions and ranks give them"
        )
    check_bootstrap(len(array), level, n_resamples, seed)
    check_statistic(statistic)
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError("values: hold NaN or infinity; every query needs a number")
    samples = resample(array[:, None], statistic, n_resamples, seed)[:, 0]
    return percentile_interval(_apply(statistic, array[None, :, None])[0, 0], samples, level)


def check_bootstrap(n: int, level: float, n_resamples: int, seed: int) -> None:
    """Raise a ValueError where no interval can be drawn."""
    if n < 2:
        raise ValueError(f"an interval needs at least 2 queries, got {n}")
    as_number(level, "level", above=0, below=1, hint="; 0.95 is usual")
    if not (is_whole(n_resamples) and 100 <= n_resamples <= MOST_RESAMPLES):
        raise ValueError(
            f"n_resamples: expected at least 100, at most {MOST_RESAMPLES:,} and a whole number, "
            f"got {n_resamples!r}; with fewer the ends of the interval are noise, with more they "
            "stay where they are"
        )
    as_seed(seed)


def check_statistic(statistic: Any) -> None:
    """Raise a ValueError unless ``statistic`` is a known name or can be called."""
    if not callable(statistic) and not is_one_of(statistic, ("mean", "median")):
        raise ValueError(
            f"statistic: expected 'mean', 'median' or a function of an array, got {statistic!r}"
        )


def resample(
    values: NDArray[np.float64], statistic: Statistic, n_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return the statistic of every column of ``values`` (n, c) in every sample: (samples, c).

    All columns share their draws.
    """
    n = len(values)
    rng = np.random.default_rng(seed)
    step = max(1, DRAWS_AT_ONCE // n)
    parts = []
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        drawn = rng.integers(0, n, size=(size, n))
        if statistic == "mean":
            cells = drawn + n * np.arange(size)[:, None]
            times = np.bincount(cells.ravel(), minlength=size * n).reshape(size, n)
            parts.append(times @ values / n)
        else:
            parts.append(_apply(statistic, values[drawn]))
    return np.concatenate(parts)


def percentile_interval(estimate: float, samples: NDArray[np.float64], level: float) -> Interval:
    """Return the interval between two percentiles of the samples of a statistic."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high), level)


def _apply(statistic: Statistic, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply the statistic along axis 1 of (samples, n, c)."""
    if statistic == "mean":
        return values.mean(axis=1)
    if statistic == "median":
        return np.asarray(np.median(values, axis=1))
    results = np.empty((values.shape[0], values.shape[2]))
    for row, sample in zip(results, values, strict=True):
        row[:] = [_number(statistic(column)) for column in sample.T]
    return results


def _number(value: Any) -> float:
    """Return what a statistic gave as a float, or say that it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"statistic: expected one finite number for an array (n,), got {value!r}")
    return number


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
        rows = {
            way: {name: asdict(interval) for name, interval in row.items()}
            for way, row in self.rows.items()
        }
        return {
            "pairs": self.pairs,
            "protocol": self.protocol,
            "chance": dict(self.chance),
            "rows": rows,
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
        rows=ReadOnlyDict({way: ReadOnlyDict(row) for way, row in rows.items()}),
        chance=ReadOnlyDict(chance),
        pairs=n,
        protocol=protocol,
    )


def _spec(name: str) -> str:
    return ".1f" if name == "MedR" else ".3f"
