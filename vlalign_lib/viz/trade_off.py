"""Two measurements of every method against each other, each method by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vlalign_lib._validate import check_mapping
from vlalign_lib.viz._estimates import triple
from vlalign_lib.viz._labels import leaders_of, place_labels
from vlalign_lib.viz._pictures import width_of
from vlalign_lib.viz._shade import shade_of
from vlalign_lib.viz.palette import MARKERS, colour
from vlalign_lib.viz.style import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIZE = 9.0  # points of the names
_MARK = 7.5  # points across a mark
_TALL = 1.2  # height of a name, in its size
_INK = "#2B2B2B"
_WHITE = 1.5  # points of white around a name


def trade_off(
    points: Mapping[str, tuple[Any, Any]],
    *,
    xlabel: str,
    ylabel: str,
    chance: tuple[float, float] | None = None,
    title: str = "",
) -> Figure:
    """Return a scatter of two measurements, a mark with its name for each method.

    A whisker in each direction is the interval of that measurement. The names are placed so
    that none covers another or a mark; a thin line leads to a name that had to move away.

    Args:
        points: by the method's name a pair (x, y), each a number, a (mean, low, high) triple or
            an object with these attributes (a ledger's ``Estimate``). A low or high of None or
            NaN leaves the whisker out. Twenty methods are still legible.
        xlabel: what the horizontal axis measures, with its unit.
        ylabel: what the vertical axis measures, with its unit.
        chance: what guessing reaches, (x, y), as dashed lines.
        title: a line above.

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
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['CCA', 'SM']
    """
    check_mapping(points, "points", "{method: (x, y)}")
    if not points:
        raise ValueError("points: expected at least one method, got none")
    for name, label in (("xlabel", xlabel), ("ylabel", ylabel)):
        if not label.strip():
            raise ValueError(f"{name}: say what is measured, and in which unit")
    ranges = {name: _pair(pair, f"points[{name!r}]") for name, pair in points.items()}
    levels = None if chance is None else [each[0] for each in _pair(chance, "chance")]
    figure, axes = canvas(height=4.6 + 0.25 * (levels is not None) + 0.26 * bool(title))
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
    axes.margins(x=0.11, y=0.08)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    if title:
        axes.set_title(title, loc="left", weight="bold")
    _name(figure, axes, ranges)
    return figure


def _name(
    figure: Figure, axes: Axes, ranges: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
) -> None:
    """Write each name beside its mark, in the axes as they are laid out now."""
    from matplotlib.patheffects import withStroke

    figure.draw_without_rendering()
    points = 72 / figure.dpi

    x, y = (np.array([pair[i] for pair in ranges.values()]) for i in (0, 1))
    marks = axes.transData.transform(np.column_stack([x[:, 0], y[:, 0]])) * points
    # whiskers and the lines of chance
    drawn = [(line, np.asarray(line.get_xydata())) for line in axes.lines]
    ends = [line.get_transform().transform(xy).ravel() for line, xy in drawn if len(xy) == 2]
    lines = np.array(ends).reshape(-1, 4) * points
    sizes = np.array([[72 * width_of(name, _SIZE), _TALL * _SIZE] for name in ranges]) + 2 * _WHITE
    frame = axes.get_window_extent()
    bounds = np.array([frame.x0, frame.y0, frame.x1, frame.y1]) * points
    middles = place_labels(marks, _MARK / 2, sizes, bounds, lines)
    boxes = np.hstack([middles - sizes / 2, middles + sizes / 2])
    leaders = leaders_of(marks, boxes, marks, _MARK / 2, float(sizes[:, 1].max()))
    for i, name in enumerate(ranges):
        mark = (float(x[i, 0]), float(y[i, 0]))
        label = axes.annotate(
            name,
            mark,
            (middles[i, 0] - marks[i, 0], middles[i, 1] - marks[i, 1]),
            textcoords="offset points",
            size=_SIZE,
            ha="center",
            va="center",
            zorder=6,
            parse_math=False,
            path_effects=[withStroke(linewidth=2.5, foreground="white", alpha=0.85)],
        )
        label.set_in_layout(False)  # it lies inside the axes, which must stay as they are
        reach = leaders[i, 2:] - leaders[i, :2]
        if reach.any():
            line = {"arrowstyle": "-", "color": _INK, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0}
            leader = axes.annotate(
                "",
                mark,
                (reach[0], reach[1]),
                textcoords="offset points",
                zorder=5,
                arrowprops=line,
            )
            leader.set_in_layout(False)
            # a dot on top, since another mark may cover this one
            axes.plot(*mark, linestyle="", marker="o", markersize=2.2, color=_INK, zorder=5)


def _pair(pair: Any, what: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"{what}: expected a pair (x, y), got {pair!r}")
    return _range(pair[0], f"{what}, x"), _range(pair[1], f"{what}, y")


def _range(value: Any, what: str) -> tuple[float, float, float]:
    """Return (mean, low, high) of a number or an Estimate; NaN where there is no interval."""
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        if not np.isfinite(value):
            raise ValueError(f"{what}: expected a finite number, got {value!r}")
        value = (value, None, None)
    mean, low, high = triple(value, what)
    return mean, np.nan if low is None else low, np.nan if high is None else high
