"""Digits cut in two, and what is lost with the second half: figures of chapter 02."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import as_array
from vlalign_lib.viz._checks import as_finite, check_some, place_of
from vlalign_lib.viz._curves import draw_curve, read_off
from vlalign_lib.viz._labels import spread
from vlalign_lib.viz._pictures import as_pictures, bare, draw_picture, frame, peak_of
from vlalign_lib.viz.palette import MARKERS, colour
from vlalign_lib.viz.style import WIDTH, canvas, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 11  # pairs of halves in a row


@in_style
def digit_halves(
    left: ArrayLike,
    right: ArrayLike,
    *,
    has_right: ArrayLike | None = None,
    fill: ArrayLike | None = None,
) -> Figure:
    """Return pictures cut in two, left halves beside right halves, some of them gone.

    Args:
        left: left halves (n, h, w), ink from 0 to 1, framed in the images' colour.
        right: right halves (n, h, w), framed in the texts' colour.
        has_right: booleans (n,), false where the right half is gone; None for none gone.
        fill: pictures (n, h, w), or one (h, w) for all, drawn in the place of a right half
            that is gone, in a dashed frame; None leaves the place empty.

    Returns:
        The figure, closed.

    Raises:
        ValueError: not pictures, or different numbers of them.

    Chapter:
        Chapter 02 shows with it what a model is given.

    Example:
        >>> import numpy as np
        >>> halves = np.zeros((3, 8, 4))
        >>> figure = digit_halves(halves, halves, has_right=[True, False, True])
        >>> len(figure.axes)
        1
    """
    lefts, rights = as_pictures(left, "left"), as_pictures(right, "right")
    rows = -(-len(lefts) // _COLUMNS)
    figure, axes = canvas(height=WIDTH / (_COLUMNS * 1.32 - 0.12) * (rows * 1.25 - 0.15) + 0.08)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02)
    _halves(axes, lefts, rights, has_right, fill, _COLUMNS)
    return figure


def _halves(
    axes: Axes,
    left: NDArray[Any],
    right: NDArray[Any],
    has_right: ArrayLike | None,
    fill: ArrayLike | None,
    columns: int,
) -> None:
    n = len(left)
    there = np.ones(n, dtype=bool) if has_right is None else as_array(has_right, "has_right")
    if left.shape != right.shape or there.shape != (n,) or there.dtype != bool:
        raise ValueError(
            f"expected as many right halves as left ones, and has_right as {n} booleans; got "
            f"{left.shape}, {right.shape} and {there.dtype} {there.shape}"
        )
    stand_in = None
    if fill is not None:
        stand_in = np.broadcast_to(np.asarray(fill), right.shape)
    peak = max(peak_of(left), peak_of(right))
    bare(axes)
    axes.set_aspect("equal", adjustable="box", anchor="N")
    axes.set_xlim(-0.05, columns * 1.32 - 0.17)
    axes.set_ylim(-(-n // columns) * 1.25 - 0.2, -0.05)
    for i in range(n):
        x, y = (i % columns) * 1.32, (i // columns) * 1.25
        box = (x, x + 0.5, y + 1, y)
        draw_picture(axes, left[i], box, peak)
        frame(axes, box, colour=colour("image"), width=1.0)
        box = (x + 0.6, x + 1.1, y + 1, y)
        if there[i] or stand_in is not None:
            draw_picture(axes, right[i] if there[i] else stand_in[i], box, peak)  # type: ignore[index]
        frame(axes, box, colour=colour("text") if there[i] else None, width=1.0)


@in_style
def missing_view_curves(
    shares: Sequence[float],
    curves: Mapping[str, Any],
    *,
    share: float | None = None,
    left: ArrayLike | None = None,
    right: ArrayLike | None = None,
    has_right: ArrayLike | None = None,
    height: float = 3.4,
) -> Figure:
    """Return accuracy against the share of items without their second view, one line a model.

    Args:
        shares: shares in percent, increasing.
        curves: by name: one accuracy a share, or one (mean, low, high) a share (or an
            ``Estimate``), whose interval becomes a band. The name's first word decides the
            colour (see :func:`~vlalign_lib.viz.colour`): "single view", "early", "late",
            "coordinated"; one that ends in "+ dropout" is dashed.
        share: where a marker stands, one of ``shares``; None for no marker.
        left: left halves (n, h, w) of a few items, drawn beside the curves; None for none.
        right: their right halves.
        has_right: booleans (n,), which of these items still have it.
        height: height in inches.

    Returns:
        The figure, closed.

    Raises:
        ValueError: no curve, a curve of another length, or a share that is not there.

    Chapter:
        Chapter 02: the slider, and the ledger's curves.

    Example:
        >>> figure = missing_view_curves([0, 100], {"early": [0.9, 0.6]}, share=100)
        >>> figure.axes[0].get_xlabel()
        'items without their right half (%)'
    """
    check_some(curves, "curves", "{name: values}")
    at = place_of(share, shares, "share")
    if left is None:
        figure, axes = canvas(height=height)
    else:
        figure, (axes, pictures) = canvas(
            1, 2, height=height, gridspec_kw={"width_ratios": [3.1, 1.6]}
        )
        shown = as_pictures(left, "left"), as_pictures(right, "right")
        _halves(pictures, *shown, has_right, None, 4)
        pictures.set_title("what arrives", size=10, weight="normal")
    ends = []
    for i, (name, values) in enumerate(curves.items()):
        mean, *band = _bands(name, values, len(shares))
        dashed = name.endswith("+ dropout")
        shade = colour(name.split()[0])
        draw_curve(
            axes, shares, mean, marker=MARKERS[i % len(MARKERS)], at=at,
            look={"color": shade, "linestyle": (0, (4, 1.5)) if dashed else "-"},
        )  # fmt: skip
        if band:
            axes.fill_between(shares, *band, color=shade, alpha=0.15, linewidth=0, zorder=2)
        ends.append((mean[-1], read_off(name, mean, at), shade))
    if at is not None:
        axes.axvline(shares[at], color="#CFCFCF", zorder=1)
    _label_ends(axes, shares, ends)
    axes.set_xlabel("items without their right half (%)")
    axes.set_ylabel("accuracy (0 to 1)")
    return figure


def _bands(name: str, values: Any, n: int) -> NDArray[Any]:
    """Return a row of means, or rows of means, lows and highs."""
    if np.iterable(values):
        values = [(v.mean, v.low, v.high) if hasattr(v, "low") else v for v in values]
    shape = (n, 3) if np.ndim(values) == 2 else (n,)
    what = f"{n} values, one a share, or as many (mean, low, high)"
    return np.atleast_2d(as_finite(values, f"curves[{name!r}]", shape, what).T)


def _label_ends(
    axes: Axes, shares: Sequence[float], ends: Sequence[tuple[float, str, str]]
) -> None:
    """Write each curve's name behind its end, none on top of another."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.075
    places = spread([value for value, _, _ in ends], gap)
    for (value, name, shade), place in zip(ends, places, strict=True):
        axes.annotate(
            name, (shares[-1], value), xytext=(shares[-1] + 3, place), color=shade, size=9,
            va="center", annotation_clip=False,
        )  # fmt: skip
    span = shares[-1] - shares[0]
    axes.set_xlim(shares[0] - 0.03 * span, shares[-1] + 0.42 * span)
    axes.set_xticks([s for s in shares if s % 20 == 0] or list(shares))
    axes.set_ylim(min(low, places.min() - gap), max(high, places.max() + gap))
