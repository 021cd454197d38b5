"""What the pull between two codes does: a figure of chapter 04."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from vlalign_lib.viz._checks import as_curves, as_views, place_of
from vlalign_lib.viz._curves import draw_curve, read_off
from vlalign_lib.viz.palette import CYCLE, MARKERS, colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_REACH = 1.6  # how far from the origin the map of codes shows


@in_style
def coupling_curves(
    settings: Sequence[Any],
    curves: Mapping[str, ArrayLike],
    *,
    at: Any = None,
    images: ArrayLike | None = None,
    texts: ArrayLike | None = None,
    threads: Sequence[int] = (),
) -> Figure:
    """Return measures of an autoencoder by its setting, with a map of its codes beside them.

    The settings stand evenly spaced, whatever their values. The map keeps its scale from one
    setting to the next, so that codes that fall together are seen to: pass codes divided by one
    number for all settings.

    Args:
        settings: where measured, in order.
        curves: by name, one value from 0 to 1 a setting; up to seven.
        at: the setting that is marked and whose codes are shown; None marks nothing.
        images: (n, 2) codes of pictures; None leaves the map out.
        texts: (n, 2) codes of their texts.
        threads: pairs whose two codes are joined by a line.

    Returns:
        The figure, closed.

    Raises:
        ValueError: no curve, a curve of another length, a setting that is not there, or codes
            that are not paired points of the plane.

    Chapter:
        Chapter 04: the slider.

    Example:
        >>> figure = coupling_curves([0, 0.5, 1], {"matching": [0.1, 0.6, 0.2]}, at=0.5)
        >>> figure.axes[0].get_xlabel()
        "α, the weight of the codes' distance"
    """
    known = list(settings)
    lines = as_curves(curves, len(known), len(CYCLE))
    place = place_of(at, known, "at")
    if (images is None) != (texts is None):
        raise ValueError("images and texts: give the codes of both, or of neither")
    if images is None or texts is None:
        figure, axes = canvas(height=3.1)
    else:
        figure, (axes, plane) = canvas(1, 2, height=3.1, width_ratios=[1.5, 1])
        _map(plane, images, texts, threads)
    places = np.arange(len(known))
    for i, (name, y) in enumerate(lines.items()):
        draw_curve(axes, places, y, said=read_off(name, y, place), marker=MARKERS[i], at=place,
                   look={"color": CYCLE[(i + 2) % len(CYCLE)]}, dots=4)  # fmt: skip
    if place is not None:
        axes.axvline(place, color="#CFCFCF", zorder=1)
    axes.set_xticks(places, [f"{value:g}" for value in known], rotation=45, size=9)
    axes.set(ylabel="from 0 to 1", ylim=(-0.03, 1.05))
    axes.set_xlabel("α, the weight of the codes' distance")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, frameon=False)
    return figure


def _map(axes: Axes, images: ArrayLike, texts: ArrayLike, threads: Sequence[int]) -> None:
    u, v = as_views(images, texts)
    if u.shape[1] != 2 or v.shape[1] != 2:
        raise ValueError(f"images and texts: expected points of the plane, (n, 2), got {u.shape}")
    for pair in threads:
        axes.plot(*np.array([u[pair], v[pair]]).T, color="#767676", linewidth=0.7, zorder=1)
    for name, view, shape in (("image", u, "o"), ("text", v, "s")):
        axes.scatter(
            view[:, 0], view[:, 1], s=14, alpha=0.65, marker=shape, color=colour(name), label=name,
            linewidths=0, zorder=2,
        )  # fmt: skip
    axes.set(xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH), xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel("the codes, always at one scale")
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, handletextpad=0.1
    )
