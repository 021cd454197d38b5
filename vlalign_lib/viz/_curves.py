"""Curves, one mechanism for all figures: a line, the mark where it is read, and what is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALE: dict[str, Any] = {"linewidth": 2.0, "alpha": 0.5}
"""A line whose marks stand for what is read off: nothing else is drawn strong."""


def read_off(name: str, y: Any, at: int | None) -> str:
    """Return the name of a curve with its value at a place, or alone."""
    return name if at is None else f"{name}: {y[at]:.2f}"


def draw_curve(
    axes: Axes,
    x: Any,
    y: Any,
    *,
    said: str = "",
    marker: str = "",
    at: int | None = None,
    dots: float = 0,
    look: Mapping[str, Any],
    **line: Any,
) -> None:
    """Draw a curve, a mark at its place ``at``, and an entry of the legend where one is ``said``.

    ``look`` is what line, mark and legend share, ``line`` what the line has alone. Marks of
    ``dots`` points stand along the line.
    """
    along = {"marker": marker, "markersize": dots} if dots else {}
    axes.plot(x, y, **{"zorder": 3, **along, **look, **line})
    if said:
        axes.plot([], [], marker=marker, label=said, **look)
    if at is not None and marker:
        spot = {**look, "linestyle": "", "markeredgecolor": "white"}
        axes.plot(x[at], y[at], marker=marker, markersize=9, zorder=5, **spot)
