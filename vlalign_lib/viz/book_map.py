"""The map of the book: every method a station, a line for each thing that methods need."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.style import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEEDS = ("pairs", "labels", "order in time")
"""What a method may need in order to learn, from the top line of the map to the lowest."""

STATIONS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("02", "early and late fusion", ("pairs", "labels")),
    ("03", "CCA, kernel CCA, CFA", ("pairs",)),
    ("03", "semantic matching", ("labels",)),
    ("04", "autoencoders", ("pairs",)),
    ("05", "deep CCA", ("pairs",)),
    ("06", "classifiers as proxy", ("labels",)),
    ("06", "adversarial, contrastive", ("pairs", "labels")),
    ("07", "triplets, margins", ("pairs", "labels")),
    ("08", "LGCFL, JRL", ("pairs", "labels")),
    ("10", "CKA as regulariser", ("pairs",)),
    ("12", "DTW, soft-DTW", ("order in time",)),
    ("13", "weak alignment", ("pairs", "order in time")),
    ("15", "embeddings in time", ("labels", "order in time")),
    ("17", "CLIP and its kin", ("pairs",)),
)
"""Chapter, method and needs of each station, in the order of the book."""

_COLOURS = {"pairs": "image", "labels": "text", "order in time": "LateFusion"}


def book_map(written: Collection[str] = ()) -> Figure:
    """Return the map of the book: a column for each method, a line for each need.

    A column has a stop on each line that the method needs; stops of chapters that are there
    are filled, those of the others are hollow.

    Args:
        written: chapters that are there, such as ``("02", "03")``.

    Returns:
        The figure, closed.

    Raises:
        ValueError: a chapter in which the map has no station.

    Chapter:
        Chapter 00 opens with it.

    Example:
        >>> figure = book_map(("02", "03"))
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['order in time', 'labels', 'pairs']
    """
    unknown = sorted(set(written) - {chapter for chapter, _, _ in STATIONS})
    if unknown:
        raise ValueError(f"written: no station belongs to chapter {unknown[0]!r}")
    figure, axes = canvas(height=3.6)
    heights = {need: len(NEEDS) - 1 - i for i, need in enumerate(NEEDS)}
    for need, y in heights.items():
        axes.plot([-0.6, len(STATIONS) - 0.4], [y, y], color=colour(_COLOURS[need]), lw=3, zorder=1)
    for x, (chapter, _, needs) in enumerate(STATIONS):
        stops = sorted(heights[need] for need in needs)
        axes.plot([x, x], [stops[0], stops[-1]], color="#3A3A3A", lw=2, zorder=2)
        fill = "#3A3A3A" if chapter in written else "white"
        axes.scatter([x] * len(stops), stops, s=75, color=fill, ec="#3A3A3A", lw=2, zorder=3)
    axes.set_yticks(range(len(NEEDS)), NEEDS[::-1])
    names = [f"{chapter}  {method}" for chapter, method, _ in STATIONS]
    axes.set_xticks(range(len(STATIONS)), names, rotation=50, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_ylim(-0.5, len(NEEDS) - 0.6)
    axes.set_xlim(-0.9, len(STATIONS) + 1.4)
    axes.grid(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return figure
