"""How a ranking of methods changes from one column of a table to the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_numbers
from vlalign_lib.viz._cells import tint
from vlalign_lib.viz._checks import check_groups
from vlalign_lib.viz._pictures import bare, frame, width_of, wrap
from vlalign_lib.viz._shade import shade_of
from vlalign_lib.viz.style import WIDTH, canvas, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 0.27  # inches from one rank to the next
_LINE = 0.15  # inches that a line of a column's name takes
_NAME = 1.35  # inches that a method's name may take
_EDGE = 0.18  # inches from the middle of a mark to where its lines bend
_FRAME = 0.23  # inches from the middle of a mark to the frame of a tie
_HALF = 0.28  # inches from the middle of a mark to the name beside it
_PALE = 0.3  # of its colour is left to a method that is not highlighted
_MOST = 6  # columns that fit between the names
_FAINT = "#6E6E6E"


@in_style
def rank_lines(
    scores: Mapping[str, Mapping[str, float]], *, highlight: Sequence[str] = ()
) -> Figure:
    r"""Return a ranking of the methods for each column, and a line that follows each method.

    .. math:: r_i = 1 + \#\{j : s_j > s_i\} + \tfrac12\, \#\{j \ne i : s_j = s_i\}

    The best stands on top, its score in the mark. Methods of equal score share the mean of the
    ranks that they take up: their marks stand in one frame, whose middle is that rank.

    Args:
        scores: by the column's name (a protocol, a data set), ``{method: score}``; two to six
            columns, the same methods in each, at least two. Twenty methods are still legible.
        highlight: methods drawn strong, the others pale; none makes all strong.

    Returns:
        The figure, closed; a method has the colour it has everywhere, and its name at both ends.

    Raises:
        ValueError: fewer than two or more than six columns, fewer than two methods, methods
            that differ between the columns, a score that is not a finite number, or a highlight
            that is no method.

    Chapter:
        08, The retrieval table.

    Example:
        >>> figure = rank_lines({
        ...     "whole list": {"CCA": 0.45, "SM": 0.81, "CFA": 0.32},
        ...     "own partner": {"CCA": 0.20, "SM": 0.02, "CFA": 0.09},
        ... })
        >>> [text.get_text() for text in figure.axes[0].texts if text.get_ha() == "left"]
        ['CCA', 'CFA', 'SM']
    """
    columns, methods, values = _table(scores)
    strong = [highlight] if isinstance(highlight, str) else list(highlight)
    strange = [repr(name) for name in strong if name not in methods]
    if strange:
        raise ValueError(
            f"highlight: expected names of methods, such as {methods[0]!r}, got "
            f"{', '.join(strange)}"
        )
    ranks = _ranks(values)
    slots = _slots(ranks)
    ties = {(c, rank) for c, column in enumerate(ranks) for rank in column}
    ties = {(c, rank) for c, rank in ties if (ranks[c] == rank).sum() > 1}

    n, last = len(methods), len(columns) - 1
    weights = ["bold" if name in strong else "normal" for name in methods]
    names = [wrap(m, _NAME, 1, weight=w) for m, w in zip(methods, weights, strict=True)]
    beside = _HALF + 0.05 + max(width_of(m, 9, w) for m, w in zip(names, weights, strict=True))
    numbers = 0.15 + width_of(str(n), 9)
    gap = (WIDTH - 0.15 - numbers - 2 * beside) / last
    headers = [wrap(column, gap - 0.05, 5) for column in columns]
    above = 0.3 + _LINE * max(header.count("\n") + 1 for header in headers)
    below = 0.16 + 0.24 * bool(ties)
    figure, axes = canvas(height=above + _ROW * (n - 1) + below + 0.08)
    bare(axes)
    axes.set_xlim(-(beside + numbers) / gap, last + beside / gap)
    axes.set_ylim(n + below / _ROW, 1 - above / _ROW)

    for column, header in enumerate(headers):
        axes.text(column, 1 - 0.23 / _ROW, header, size=9, ha="center", va="bottom",
                  linespacing=1.1, parse_math=False)  # fmt: skip
    for rank in range(1, n + 1):
        axes.text((-beside - 0.05) / gap, rank, str(rank), size=9, color=_FAINT, ha="right",
                  va="center")  # fmt: skip
    for i in np.argsort(slots[-1]):
        loud = not strong or methods[i] in strong
        shade = shade_of(methods[i], i) if loud else tint(shade_of(methods[i], i), _PALE)
        ink = "#1A1A1A" if loud else _FAINT
        x, y = _path(slots[:, i], _EDGE / gap)
        axes.plot(x, y, color=shade, linewidth=2 if loud else 1.3, zorder=2 if loud else 1)
        for column, value in enumerate(values[:, i]):
            axes.text(column, slots[column, i], _short(value, values[column]), size=9, color=ink,
                      ha="center", va="center", zorder=5 if loud else 4,
                      bbox={"boxstyle": "round,pad=0.2,rounding_size=0.6", "facecolor": "white",
                            "edgecolor": shade, "linewidth": 1.6 if loud else 1.1})  # fmt: skip
        for x_name, y_name, side in (
            (-_HALF / gap, slots[0, i], "right"),
            (last + _HALF / gap, slots[-1, i], "left"),
        ):
            axes.text(x_name, y_name, names[i], size=9, weight=weights[i], color=ink, ha=side,
                      va="center", parse_math=False)  # fmt: skip
    for column, rank in sorted(ties):
        half = (ranks[column] == rank).sum() / 2 - 0.02
        box = (column - _FRAME / gap, column + _FRAME / gap, rank + half, rank - half)
        frame(axes, box, colour=_FAINT, width=1.0)
    if ties:
        axes.text(last / 2, n + below / _ROW, "framed together: equal scores, which share the mean "
                  "of their ranks", size=9, color=_FAINT, ha="center", va="bottom")  # fmt: skip
    return figure


def _table(
    scores: Mapping[str, Mapping[str, float]],
) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Return the names of the columns and of the methods, and the scores (columns, methods)."""
    check_groups(scores, "scores", "{column: {method: score}}", "{method: score}")
    if not 2 <= len(scores) <= _MOST:
        raise ValueError(
            f"scores: expected two to {_MOST} columns, since a line joins them, got {len(scores)}"
        )
    columns = list(scores)
    methods = list(scores[columns[0]])
    if len(methods) < 2:
        raise ValueError(f"scores: expected at least two methods to rank, got {len(methods)}")
    for name, column in scores.items():
        if set(column) != set(methods):
            odd = ", ".join(sorted(map(repr, set(column) ^ set(methods))))
            raise ValueError(
                f"scores[{name!r}]: expected the same methods as in {columns[0]!r}, but {odd} "
                "stands in one of the two only; leave it out, or measure it"
            )
    values = np.array([[_score(scores[c][m], c, m) for m in methods] for c in columns])
    return columns, methods, values


def _score(value: float, column: str, method: str) -> float:
    number = as_numbers(value, f"scores[{column!r}][{method!r}]")
    if number.shape != () or not np.isfinite(number):
        raise ValueError(f"scores[{column!r}][{method!r}]: expected a finite number, got {value!r}")
    return float(number)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each method within its column, 1 for the largest; ties share the mean."""
    mine, theirs = values[:, :, None], values[:, None, :]
    ranks: NDArray[np.float64] = (theirs > mine).sum(2) + ((theirs == mine).sum(2) + 1) / 2
    return ranks


def _slots(ranks: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return where each mark stands, 1 on top: tied ones below each other, the better on top.

    Better is who has the better ranks over all columns; if that ties too, who was given first.
    """
    overall = ranks.mean(axis=0)
    order = np.array([np.lexsort((overall, column)) for column in ranks])
    return np.argsort(order, axis=1) + 1


def _path(levels: NDArray[np.int64], flat: float) -> tuple[NDArray[np.float64], ...]:
    """Return a curve through (column, level) that is level for ``flat`` around each column."""
    t = np.linspace(0, 1, 25)
    bend = t / 2 + t * t * (3 - 2 * t) / 2  # half a straight line, so that steep ones stay apart
    x, y = [], []
    for column, (here, there) in enumerate(pairwise(levels)):
        x.append([column, *(column + flat + t * (1 - 2 * flat)), column + 1])
        y.append([here, *(here + bend * (there - here)), there])
    return np.concatenate(x), np.concatenate(y)


def _short(value: float, column: NDArray[np.float64]) -> str:
    """Return the score with as many digits as its column has room for."""
    largest = float(np.abs(column).max())
    shown = (
        f"{value:.2f}" if largest < 9.995 else f"{value:.1f}" if largest < 99.95 else f"{value:.0f}"
    )
    return shown.replace("-", "−")
