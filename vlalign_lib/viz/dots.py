"""Values on one scale, a row a group: single numbers as marks, many as a cloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_numbers
from vlalign_lib.viz._checks import check_groups, check_said
from vlalign_lib.viz.intervals import dress_rows
from vlalign_lib.viz.palette import CYCLE, MARKERS, colour, has_colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEP = 0.11  # how far neighbouring marks of one row are set apart, so that none hides another
_PER_LINE = 3  # entries of the legend in a line: long names have to fit the column


@in_style
def dot_rows(rows: Mapping[str, Mapping[str, Any]], *, xlabel: str) -> Figure:
    """Return a row of marks for each group, all on one scale.

    Where :func:`interval_plot` compares methods under one measurement, this compares several
    measurements of each method (or of each anything). A number is one mark; an array of
    numbers is a cloud of small ones.

    Args:
        rows: by the row's name, ``{series: number or array}``. A series has the same colour and
            the same mark in every row; up to seven of them.
        xlabel: what is measured, with its unit: "class mAP (0 to 1)".

    Returns:
        The figure, closed.

    Raises:
        ValueError: no rows, no label, more than seven series, or a value that is not finite.

    Chapter:
        Chapter 01 compares a column with a pixel, and one space under several protocols.

    Example:
        >>> figure = dot_rows(
        ...     {"CCA": {"all": 0.45, "top 50": 0.60}, "SM": {"all": 0.81, "top 50": 0.83}},
        ...     xlabel="class mAP (0 to 1)",
        ... )
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['CCA', 'SM']
    """
    check_groups(rows, "rows", "{row: {series: value}}", "{series: value}")
    check_said(xlabel=xlabel)
    names = list(dict.fromkeys(series for row in rows.values() for series in row))
    if len(names) > len(MARKERS):
        raise ValueError(f"rows: {len(names)} series, but there are {len(MARKERS)} marks")
    lines = -(-len(names) // _PER_LINE)
    row_height = 0.52 if len(names) > 3 else 0.42
    figure, axes = canvas(height=0.75 + row_height * len(rows) + 0.22 * lines)
    for level, (row_name, row) in enumerate(rows.items()):
        single = [series for series in names if series in row and np.size(row[series]) == 1]
        for series, value in row.items():
            place = names.index(series)
            shade = colour(series) if has_colour(series) else CYCLE[place]
            values = _as_values(value, f"rows[{row_name!r}][{series!r}]")
            many = values.size > 1
            step = 0.0 if many or len(single) < 3 else single.index(series) - (len(single) - 1) / 2
            look: dict[str, Any] = {"marker": MARKERS[place], "markersize": 8.5, "alpha": 0.95}
            look |= {"markeredgecolor": "white", "zorder": 3}
            if many:
                look = {"marker": "o", "markersize": 3.5, "alpha": 0.35, "zorder": 2}
                look["markeredgecolor"] = "none"
            levels = level + _STEP * step + _spread(values.size)
            axes.plot(values, levels, linestyle="", color=shade, **look)
    for place, series in enumerate(names):
        shade = colour(series) if has_colour(series) else CYCLE[place]
        crowd = all(np.size(row[series]) > 1 for row in rows.values() if series in row)
        mark, size = ("o", 4) if crowd else (MARKERS[place], 8)
        axes.plot([], [], linestyle="", marker=mark, markersize=size, color=shade, label=series)
    dress_rows(axes, list(rows), xlabel)
    figure.legend(loc="outside lower center", ncols=min(len(names), _PER_LINE), handletextpad=0.4)
    return figure


def _as_values(value: Any, name: str) -> NDArray[np.float64]:
    values = np.atleast_1d(as_numbers(value, name))
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"{name}: expected a finite number, or an array of them, got {value!r}")
    return values


def _spread(count: int) -> NDArray[np.float64]:
    """Return small offsets, the same on every run, that keep marks from hiding each other."""
    if count == 1:
        return np.zeros(1)
    golden: NDArray[np.float64] = (np.arange(count, dtype=np.float64) * 0.6180339887498949) % 1.0
    return golden / 2 - 0.25
