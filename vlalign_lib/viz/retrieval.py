"""Queries and their ranked answers, right ones framed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_array, as_numbers
from vlalign_lib.viz._cells import sheet, write
from vlalign_lib.viz._pictures import as_pictures, draw_picture, frame, is_words, peak_of, wrap
from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.style import WIDTH, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_QUERY = 1.45  # inches that the query takes


@in_style
def retrieval_grid(
    queries: Any,
    gallery: Any,
    scores: Any,
    right: Any,
    *,
    captions: Sequence[str] | None = None,
    top: int = 5,
    title: str = "",
) -> Figure:
    """Return a figure with one row a query: the query, then its best answers, right ones framed.

    Args:
        queries: q pictures (q, h, w) or q strings.
        gallery: n pictures (n, h, w) or n strings to search in.
        scores: similarities (q, n), greater is better.
        right: (q,) the index in the gallery of each query's own answer, or (q, n) booleans,
            true for every right answer.
        captions: n strings written under the answers; None leaves the rank alone there.
        top: how many answers to show, 1 to 10.
        title: a line above.

    Returns:
        The figure, closed. Where no right answer is among those shown, the row says at which
        rank the first one comes.

    Raises:
        ValueError: shapes that do not fit each other, or scores that are not finite.

    Chapter:
        Chapter 01 introduces it; every chapter that searches shows one.

    Example:
        >>> import numpy as np
        >>> glyphs = np.eye(4).reshape(4, 2, 2)
        >>> figure = retrieval_grid(["one", "two"], glyphs, np.eye(4)[:2], [0, 1], top=3)
        >>> float(figure.get_figwidth())
        7.0
    """
    asked = list(queries) if is_words(queries) else as_pictures(queries, "queries")
    items = list(gallery) if is_words(gallery) else as_pictures(gallery, "gallery")
    q, n = len(asked), len(items)
    matrix = _as_scores(scores, q, n)
    relevant = _as_relevant(right, q, n)
    if captions is not None and len(captions) != n:
        raise ValueError(f"captions: expected {n} strings, one an item, got {len(captions)}")
    if not 1 <= top <= 10:
        raise ValueError(f"top: expected 1 to 10 answers, got {top}")
    top = min(top, n)
    words = isinstance(items, list)
    peak = 1.0 if isinstance(items, list) else peak_of(items)
    side = (WIDTH - _QUERY - 0.25) / top
    picture_side = min(side, 1.0) - 0.1
    caption_lines = 0 if captions is None else 3
    row_height = (0.85 if words else picture_side) + 0.26 + 0.16 * caption_lines
    lead = 0.45 if title else 0.3
    height = lead + q * row_height + 0.05
    figure, axes = sheet(height)
    if title:
        axes.set_title(title)
    for x, head in ((0, "query"), (_QUERY + 0.2, "answers, best first")):
        write(axes, x, lead - 0.14, head, weight="bold", fontsize=9, va="center")
    order = np.argsort(-matrix, axis=1, kind="stable")
    for i in range(q):
        level = lead + i * row_height
        _query(axes, asked, i, level, 0.85 if words else picture_side)
        for place in range(top):
            item = order[i, place]
            hit = bool(relevant[i, item])
            middle = _QUERY + 0.2 + (place + 0.5) * side
            half = side / 2 - 0.05 if words else picture_side / 2
            tall = 0.85 if words else picture_side
            box = (middle - half, middle + half, level + tall, level + 0.04)
            if words:
                said = wrap(items[item], side - 0.16, 4)
                write(axes, middle, level + tall / 2 + 0.02, said, fontsize=9, ha="center",
                      va="center")  # fmt: skip
            else:
                draw_picture(axes, items[item], box, peak)
            edge, width = (colour("right"), 3.0) if hit else ("#CFCFCF", 0.8)
            frame(axes, box, colour=edge, width=width)
            under = f"{place + 1}" + (" ✓" if hit else "")
            if captions is not None:
                under += "\n" + wrap(captions[item], side - 0.04, caption_lines)
            ink = colour("right") if hit else "#4A4A4A"
            write(axes, middle, level + tall + 0.05, under, fontsize=9, color=ink, ha="center",
                  va="top", linespacing=1.1)  # fmt: skip
        if not relevant[i, order[i, :top]].any() and relevant[i].any():
            first = int(np.flatnonzero(relevant[i, order[i]])[0]) + 1
            write(axes, 0, level + row_height - 0.06, f"right one: rank {first:,}", fontsize=9,
                  color=colour("wrong"), va="bottom")  # fmt: skip
    return figure


def _query(axes: Any, asked: Any, i: int, level: float, tall: float) -> None:
    if isinstance(asked, list):
        said = wrap(asked[i], _QUERY, 4, weight="bold")
        write(axes, 0, level + tall / 2 + 0.02, said, fontsize=9, color=colour("text"),
              weight="bold", va="center")  # fmt: skip
        return
    box = (0.1, 0.1 + tall, level + tall, level + 0.04)
    draw_picture(axes, asked[i], box, peak_of(asked))
    frame(axes, box, colour=colour("image"), width=2.0)


def _as_scores(scores: Any, q: int, n: int) -> NDArray[Any]:
    matrix = as_numbers(scores, "scores")
    if matrix.shape != (q, n):
        raise ValueError(
            f"scores: expected shape ({q}, {n}), a row for each query and a column for each item "
            f"of the gallery, got {matrix.shape}"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("scores: expected finite numbers, got NaN or infinity")
    return matrix


def _as_relevant(right: Any, q: int, n: int) -> NDArray[np.bool_]:
    array = as_array(right, "right")
    if array.shape == (q, n) and array.dtype == np.bool_:
        return array
    if array.shape == (q,) and array.dtype.kind in "iu" and ((array >= 0) & (array < n)).all():
        return array[:, None] == np.arange(n)
    raise ValueError(
        f"right: expected ({q},) indices below {n}, or ({q}, {n}) booleans, got shape "
        f"{array.shape} of {array.dtype}"
    )
