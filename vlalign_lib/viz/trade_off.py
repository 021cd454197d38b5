"""Two measurements of every method against each other, each method by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vlalign_lib.viz._checks import as_pair, check_said, check_some
from vlalign_lib.viz._estimates import triple
from vlalign_lib.viz._labels import spread
from vlalign_lib.viz._pictures import width_of
from vlalign_lib.viz._shade import shade_of
from vlalign_lib.viz.palette import MARKERS, colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = 9.0  # points of the names
_MARK = 7.5  # points across a mark
_LINE = 0.18  # inches from one name to the next
_LEADER: Any = {"linewidth": 0.7, "alpha": 0.8, "zorder": 1.5, "gid": "leader"}
_ROOM = 0.16  # inches free around a name


@in_style
def trade_off(
    points: Mapping[str, tuple[Any, Any]],
    *,
    xlabel: str,
    ylabel: str,
    chance: tuple[float, float] | None = None,
) -> Figure:
    """Return a scatter of two measurements, a mark with its name for each method.

    A whisker in each direction is the interval of that measurement. The names
    stand in two columns beside the marks, and a thin line leads from each to its mark.

    Args:
        points: by the method's name a pair (x, y), each a number, a (mean, low, high) triple or
            an object with these attributes (a ledger's ``Estimate``). A low or high of None or
            NaN leaves the whisker out. Twenty methods are still legible.
        xlabel: what the horizontal axis measures, with its unit.
        ylabel: what the vertical axis measures, with its unit.
        chance: what guessing reaches, (x, y), as dashed lines.

    Returns:
        The figure, closed; a method has the colour it has everywhere.

    Raises:
        ValueError: no points, no pair, a value that is not a finite number, an interval that
            does not hold its mean, or an axis without a label.

    Chapter:
        08, The retrieval table.

    Example:
        >>> figure = trade_off(
        ...     {"CCA": (0.45, 0.25), "SM": (0.80, 0.12)}, xlabel="class mAP (0 to 1)",
        ...     ylabel="partners among the first ten (share)", chance=(0.11, 0.01),
        ... )
        >>> sorted(text.get_text().strip() for text in figure.axes[0].texts)
        ['CCA', 'SM']
    """
    check_some(points, "points", "{method: (x, y)}")
    check_said(xlabel=xlabel, ylabel=ylabel)
    ranges = {name: _pair(pair, f"points[{name!r}]") for name, pair in points.items()}
    levels = None if chance is None else [each[0] for each in _pair(chance, "chance")]
    figure, axes = canvas(height=4.6 + 0.25 * (levels is not None))
    if levels is not None:
        dashed = {"color": colour("chance"), "linestyle": "--", "linewidth": 1.3, "zorder": 1}
        axes.axvline(levels[0], label="chance", **dashed)
        axes.axhline(levels[1], **dashed)
        figure.legend(loc="outside lower center")
    for place, (name, (x, y)) in enumerate(ranges.items()):
        shade = shade_of(name, place)
        whiskers = ((x[1:], (y[0], y[0])), ((x[0], x[0]), y[1:]))
        for across, up in whiskers:
            if np.isfinite([*across, *up]).all():
                axes.plot(across, up, color=shade, linewidth=1.3, alpha=0.8, zorder=2)
        axes.plot(x[0], y[0], linestyle="", marker=MARKERS[place % len(MARKERS)], color=shade,
                  markersize=_MARK, markeredgecolor="white", markeredgewidth=0.7,
                  zorder=3)  # fmt: skip
    axes.margins(x=0.04, y=0.08)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    _name(figure, axes, ranges)
    return figure


def _name(
    figure: Figure, axes: Axes, ranges: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
) -> None:
    """Write the names in two columns, left and right of the marks, a thin line to each mark."""
    figure.draw_without_rendering()
    frame, inch = axes.get_window_extent(), figure.dpi
    wide, tall = frame.width / inch, frame.height / inch
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    middle = (left + right) / 2
    columns: dict[str, dict[str, tuple[float, float]]] = {
        "right": {},
        "left": {},
    }  # by the side of the words that faces the marks
    for name, (x, y) in ranges.items():
        columns["right" if x[0] < middle else "left"][name] = (x[0], y[0])
    rooms = [_ROOM + max(map(_width, names), default=-_ROOM) for names in columns.values()]
    unit = (right - left) / (wide - sum(rooms))  # of the horizontal axis, an inch
    axes.set_xticks([tick for tick in axes.get_xticks() if left <= tick <= right])
    axes.set(xlim=(left - rooms[0] * unit, right + rooms[1] * unit), ylim=(bottom, top))
    for (side, names), edge in zip(columns.items(), (left, right), strict=True):
        if not names:
            continue
        heights = spread([y for _, y in names.values()], _LINE * (top - bottom) / tall)
        reach = top - _LINE / 2 * (top - bottom) / tall
        heights -= max(0, heights.max() - reach)
        heights += max(0, bottom + (top - reach) - heights.min())
        for (name, mark), height in zip(names.items(), heights, strict=True):
            shade = shade_of(name, list(ranges).index(name))
            axes.plot([mark[0], edge], [mark[1], height], color=shade, **_LEADER)
            label = axes.text(edge, height, f" {name} ", size=_SIZE, ha=side,
                              va="center_baseline", parse_math=False, zorder=6)  # fmt: skip
            label.set_in_layout(False)  # it lies inside the axes, which must stay as they are


def _width(name: str) -> float:
    return width_of(name, _SIZE)


def _pair(pair: Any, what: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    x, y = as_pair(pair, what, "(x, y)")
    return _range(x, f"{what}, x"), _range(y, f"{what}, y")


def _range(value: Any, what: str) -> tuple[float, float, float]:
    """Return (mean, low, high) of a number or an Estimate; NaN where there is no interval."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        if not np.isfinite(value):
            raise ValueError(f"{what}: expected a finite number, got {value!r}")
        value = (value, None, None)
    mean, low, high = triple(value, what)
    return mean, np.nan if low is None else low, np.nan if high is None else high
