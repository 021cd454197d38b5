"""A wall of pictures, a list of names, and threads between a few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlalign_lib._validate import as_indices
from vlalign_lib.viz._cells import sheet, write
from vlalign_lib.viz._pictures import as_pictures, draw_picture, frame, is_words, peak_of, wrap
from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.style import WIDTH, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WALL = 3.1  # inches the pictures take
_ROW = 0.27  # inches a name takes, from top to bottom


@in_style
def pairs_wall(images: Any, captions: Sequence[str], *, threads: Sequence[int] = ()) -> Figure:
    """Return a wall of pictures on the left and their names, shuffled, on the right.

    Args:
        images: the pictures (n, h, w), values from 0 (ground) to 1 (ink), or (n, h, w, 3).
        captions: their names, in the same order.
        threads: indices of the pairs that a thread joins.

    Returns:
        The figure, closed. It takes up to about forty pairs.

    Raises:
        ValueError: not pictures, another number of names, or a thread to a pair that is not
            there.

    Chapter:
        Chapter 01 opens with it.

    Example:
        >>> import numpy as np
        >>> figure = pairs_wall(np.zeros((4, 8, 8)), ["A", "B", "C", "D"], threads=[2])
        >>> float(figure.get_figwidth())
        7.0
    """
    pictures = as_pictures(images, "images")
    n = len(pictures)
    if not is_words(captions) or len(captions) != n:
        got = len(captions) if is_words(captions) else type(captions).__name__
        raise ValueError(f"captions: expected {n} strings, one a picture, got {got}")
    threads = as_indices(threads, n, "threads")
    # about as tall as the list of names
    columns = next(c for c in range(1, n + 1) if c == n or -(-n // c) * _WALL / c <= n * _ROW)
    rows = -(-n // columns)
    side = min(_WALL / columns, 0.8)
    height = max(rows * side, n * _ROW) + 0.5
    figure, axes = sheet(height)
    axes.text(0, 0.15, "pictures", color=colour("image"), weight="bold", va="center")
    left = _WALL + 0.85
    axes.text(left, 0.15, "names, shuffled", color=colour("text"), weight="bold", va="center")
    order = np.random.default_rng(0).permutation(n)
    place_of_name = np.empty(n, dtype=int)
    place_of_name[order] = np.arange(n)
    top = 0.4
    gap_rows = (height - top - 0.1 - rows * side) / 2
    gap_names = (height - top - 0.1 - n * _ROW) / 2
    peak = peak_of(pictures)
    joined = set(threads)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        x, y = column * side, top + gap_rows + row * side
        box = (x + 0.04, x + side - 0.04, y + side - 0.04, y + 0.04)
        draw_picture(axes, picture, box, peak)
        edge, width = (colour("image"), 2.0) if i in joined else ("#CFCFCF", 0.8)
        frame(axes, box, colour=edge, width=width)
        level = top + gap_names + (place_of_name[i] + 0.5) * _ROW
        weight, ink = ("bold", colour("text")) if i in joined else ("normal", "#1A1A1A")
        said = wrap(captions[i], WIDTH - left - 0.1, 1, weight=weight)
        write(axes, left, level, said, fontsize=9, va="center", color=ink, weight=weight)
        if i in joined:
            _thread(axes, (x + side - 0.04, y + side / 2), (left - 0.1, level))
    return figure


def _thread(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw a slack thread from a picture to its name."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    middle = (start[0] + end[0]) / 2
    bend = [start, (middle, start[1]), (middle, end[1]), end]
    path = Path(bend, [Path.MOVETO, *[Path.CURVE4] * 3])
    look: Any = {"edgecolor": colour("joint"), "linewidth": 1.6, "alpha": 0.8, "zorder": 4}
    axes.add_patch(PathPatch(path, fill=False, **look))
    axes.plot(*end, marker="o", markersize=4, color=colour("text"), zorder=5)
    axes.plot(*start, marker="o", markersize=4, color=colour("image"), zorder=5)
