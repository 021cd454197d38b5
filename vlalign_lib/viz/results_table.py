"""Two tables of results: one as printed, and ours with intervals beneath it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vlalign_lib._validate import check_mapping
from vlalign_lib.viz._cells import SPAN, draw_box, panels, tint, write
from vlalign_lib.viz._checks import check_some
from vlalign_lib.viz._estimates import triple
from vlalign_lib.viz._pictures import width_of, wrap
from vlalign_lib.viz._shade import known_as
from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.style import in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Cell = tuple[float, float | None, float | None]

_ROW = 0.23  # inches a method takes
_LINE = 0.17  # inches a line of small text takes
_TITLE = 0.3  # inches the title of a panel takes
_NOTE = 0.85  # inches the scales and the notes under the lower panel take
_NAME = 1.5  # inches a name takes at most
_NUMBER = 0.64  # inches a number takes, where a whisker stands beside it
_HATCH, _TICK = "////", 3  # a tick that hangs below its line
_MOST = {"printed": 8, "ours": 4}  # columns that fit the width with legible numbers
_INK, _QUIET, _EMPTY = "#1A1A1A", "#4A4A4A", "#F0F0F0"


@dataclass(frozen=True)
class _Table:
    name: str
    columns: list[str]
    rows: list[str]
    cells: dict[tuple[str, str], _Cell]  # by (column, row); what was not measured is not there

    def column(self, name: str) -> list[_Cell]:
        return [cell for (column, _), cell in self.cells.items() if column == name]


@dataclass(frozen=True)
class _Panel:
    """A table with its places, in inches from its upper left corner."""

    table: _Table
    left: float  # of the first column
    width: float  # of a column
    heads: list[str]  # names of the columns, broken to that width
    top: float  # of the first row

    @classmethod
    def of(cls, table: _Table, left: float) -> _Panel:
        width = (SPAN - left) / len(table.columns)
        heads = [wrap(c, width - 0.1, 2, size=9.5, weight="bold") for c in table.columns]
        lines = max(head.count("\n") + 1 for head in heads)
        return cls(table, left, width, heads, _TITLE + _LINE * lines + 0.06)

    @property
    def bottom(self) -> float:
        return self.top + _ROW * len(self.table.rows)


@in_style
def results_table(
    printed: Mapping[str, Mapping[str, float | None]],
    ours: Mapping[str, Mapping[str, Any]],
) -> Figure:
    """Return a printed table of results above and ours beneath it, with our intervals.

    Each is a heat map, coloured within each column from its worst value to its best, which is
    bold. A cell of ours holds a whisker as well: a line from low to high with a dot at the mean,
    on a scale that is the column's own and is written under it. A cell without a number is
    hatched. The two tables have their own rows and columns: what they share is the colour bar
    beside a method.

    Args:
        printed: by column (the data set), then by method, the class mAP in print, 0 to 1; up to
            eight columns. None, or no entry, where there is none.
        ours: likewise, up to four columns, with a (mean, low, high) triple or an object with
            these attributes (a ledger's ``Estimate``). A low or high of None leaves the whisker
            out.

    Returns:
        The figure, closed, as tall as its rows need.

    Raises:
        ValueError: no column, a column without a number, too many columns, a number outside 0 to
            1, or an interval that does not hold its mean.

    Chapter:
        08, The retrieval table.

    Example:
        >>> figure = results_table(
        ...     {"Wikipedia": {"CCA": 0.286, "SAM": 0.487}},
        ...     {"wikipedia": {"cca": (0.225, 0.216, 0.234), "sam": None}},
        ... )
        >>> [text.get_text() for text in figure.axes[0].texts if text.get_weight() == "bold"]
        ['the paper', 'Wikipedia', '0.487']
    """
    tables = (
        _as_table(printed, "printed", "{column: {method: number}}", _printed),
        _as_table(ours, "ours", "{column: {method: (mean, low, high)}}", _measured),
    )
    longest = max(width_of(row, 9.5) for table in tables for row in table.rows)
    left = min(longest, _NAME) + 0.28
    above, below = (_Panel.of(table, left) for table in tables)
    figure, (upper, lower) = panels(above.bottom + 0.2, below.bottom + _NOTE)
    for axes, panel, title in ((upper, above, "the paper"), (lower, below, "we measure")):
        write(axes, 0, 0.12, title, fontsize=11, weight="bold")
        write(axes, SPAN, 0.12, "class mAP", color=_QUIET, ha="right")
        _draw_names(axes, panel)
        _draw_cells(axes, panel)
    _draw_whiskers(lower, below)
    _draw_notes(lower, below.bottom + 0.52)
    return figure


def _as_table(values: Any, name: str, what: str, read: Callable[[Any, str], _Cell]) -> _Table:
    check_some(values, name, what)
    if len(values) > _MOST[name]:
        raise ValueError(
            f"{name}: expected up to {_MOST[name]} columns, which fit the width of a page, got "
            f"{len(values)}; draw the others in a figure of their own"
        )
    cells: dict[tuple[str, str], _Cell] = {}
    for column, methods in values.items():
        check_mapping(methods, f"{name}[{column!r}]", what.split(": ", 1)[1][:-1])
        found = {
            (str(column), str(method)): read(value, f"{name}[{column!r}][{method!r}]")
            for method, value in methods.items()
            if value is not None
        }
        if not found:
            raise ValueError(f"{name}[{column!r}]: expected at least one number, got none")
        cells |= found
    rows = dict.fromkeys(str(method) for methods in values.values() for method in methods)
    return _Table(name, [str(column) for column in values], list(rows), cells)


def _printed(value: Any, name: str) -> _Cell:
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or isinstance(value, bool) or not np.isfinite(value):
        raise ValueError(f"{name}: expected a number from 0 to 1, or None, got {value!r}")
    return _share(float(value), name), None, None


def _measured(value: Any, name: str) -> _Cell:
    mean, low, high = triple(value, name)
    return _share(mean, name), low, high


def _share(value: float, name: str) -> float:
    if not -1e-9 <= value <= 1 + 1e-9:
        raise ValueError(f"{name}: expected 0 to 1, got {value}; divide percentages by 100")
    return value


def _draw_names(axes: Axes, panel: _Panel) -> None:
    for j, row in enumerate(panel.table.rows):
        y = panel.top + j * _ROW
        known = known_as(row)
        if known is not None:
            draw_box(axes, (0, y), 0.09, _ROW, colour(known))
        write(axes, 0.16, y + _ROW / 2, wrap(row, _NAME, 1, size=9.5))
    for i, head in enumerate(panel.heads):
        x = panel.left + (i + 0.5) * panel.width
        write(axes, x, panel.top - 0.06, head, weight="bold", ha="center", va="bottom")


def _draw_cells(axes: Axes, panel: _Panel) -> None:
    whiskers = panel.table.name == "ours"
    for i, column in enumerate(panel.table.columns):
        means = [mean for mean, _, _ in panel.table.column(column)]
        worst, best = min(means), max(means)
        x = panel.left + i * panel.width
        for j, row in enumerate(panel.table.rows):
            y = panel.top + j * _ROW
            cell = panel.table.cells.get((column, row))
            if cell is None:
                draw_box(axes, (x, y), panel.width, _ROW, _EMPTY, hatch=_HATCH)
                write(axes, x + panel.width / 2, y + _ROW / 2, "–", color=_QUIET, ha="center")
                continue
            mean = cell[0]
            shade = _shade(1.0 if worst == best else (mean - worst) / (best - worst))
            draw_box(axes, (x, y), panel.width, _ROW, shade)
            middle = x + (_NUMBER if whiskers else panel.width) / 2
            # best as written: of two equal numbers one in bold would puzzle
            weight = "bold" if f"{mean:.3f}" == f"{best:.3f}" else "normal"
            write(axes, middle, y + _ROW / 2, f"{mean:.3f}", weight=weight, ha="center")


def _draw_whiskers(axes: Axes, panel: _Panel) -> None:
    for i, column in enumerate(panel.table.columns):
        ends = [end for cell in panel.table.column(column) for end in cell if end is not None]
        scale = min(ends), max(ends)
        lane = panel.left + i * panel.width + _NUMBER, panel.left + (i + 1) * panel.width - 0.22
        for j, row in enumerate(panel.table.rows):
            cell = panel.table.cells.get((column, row))
            if cell is not None:
                low, high = (v if v is None else _place(v, scale, lane) for v in cell[1:])
                mean = _place(cell[0], scale, lane)
                _draw_whisker(axes, panel.top + (j + 0.5) * _ROW, mean, low, high)
        level = panel.bottom + 0.07
        shown = {_place(end, scale, lane): end for end in scale}  # one, where the two are equal
        axes.plot(list(shown), [level] * len(shown), color=_QUIET, linewidth=0.8, marker=_TICK)
        for x, end in shown.items():
            write(axes, x, level + 0.15, f"{end:.3f}", fontsize=9, color=_QUIET, ha="center")


def _place(value: float, scale: tuple[float, float], lane: tuple[float, float]) -> float:
    """Return where ``value`` stands on the lane, whose ends are those of the scale."""
    low, high = scale
    share = 0.5 if low == high else (value - low) / (high - low)
    return lane[0] + share * (lane[1] - lane[0])


def _draw_whisker(axes: Axes, y: float, mean: float, low: float | None, high: float | None) -> None:
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], color=_INK, linewidth=1.1, marker="|", markersize=7)
    axes.plot([mean], [y], color=_INK, marker="o", markersize=3.2, linestyle="")


def _draw_notes(axes: Axes, y: float) -> None:
    _draw_whisker(axes, y, 0.2, 0.02, 0.38)
    scale = "mean and 95 % interval; a column's scale runs from its lowest low to its highest high"
    write(axes, 0.48, y, scale, fontsize=9, color=_QUIET)
    y += _LINE + 0.05
    write(axes, 0, y, "worst", fontsize=9, color=_QUIET)
    for step in range(6):
        draw_box(axes, (0.42 + 0.2 * step, y - 0.08), 0.2, 0.16, _shade(step / 5))
    write(axes, 1.68, y, "best of its column, in bold", fontsize=9, color=_QUIET)
    draw_box(axes, (3.9, y - 0.08), 0.3, 0.16, _EMPTY, hatch=_HATCH)
    write(axes, 4.26, y, "no number", fontsize=9, color=_QUIET)


def _shade(share: float) -> str:
    """Return the colour of a value, 0 the worst of its column and 1 the best.

    The darkest is light enough for dark numbers and whiskers, so that their ink never changes.
    """
    return tint(colour("joint"), 0.04 + 0.52 * share)
