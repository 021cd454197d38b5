"""What the pull between two codes does: a figure of chapter 04."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import as_matrix, check_paired
from vlalign_lib.viz._checks import as_curves, place_of
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
    xlabel: str = "α, the weight of the codes' distance",
    height: float = 3.1,
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
        xlabel: what the settings are.
        height: height in inches.

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
        figure, axes = canvas(height=height)
    else:
        figure, (axes, plane) = canvas(1, 2, height=height, width_ratios=[1.5, 1])
        _map(plane, _points(images, "images"), _points(texts, "texts"), threads)
    places = np.arange(len(known))
    for i, (name, y) in enumerate(lines.items()):
        look: dict[str, Any] = {"marker": MARKERS[i], "color": CYCLE[(i + 2) % len(CYCLE)]}
        said = name if place is None else f"{name}: {y[place]:.2f}"
        axes.plot(places, y, markersize=4, label=said, zorder=3, **look)
        if place is not None:
            axes.plot(place, y[place], markersize=9, markeredgecolor="white", zorder=5, **look)
    if place is not None:
        axes.axvline(place, color="#CFCFCF", zorder=1)
    axes.set_xticks(places, [f"{value:g}" for value in known], rotation=45, size=9)
    axes.set(xlabel=xlabel, ylabel="from 0 to 1", ylim=(-0.03, 1.05))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1, frameon=False)
    return figure


def _points(codes: ArrayLike, name: str) -> NDArray[Any]:
    points = as_matrix(codes, name)
    if points.shape[1] != 2:
        raise ValueError(f"{name}: expected points of the plane, (n, 2), got {points.shape}")
    return points


def _map(axes: Axes, u: NDArray[Any], v: NDArray[Any], threads: Sequence[int]) -> None:
    check_paired(u, v, ("images", "texts"))
    for pair in threads:
        axes.plot(
            [u[pair, 0], v[pair, 0]],
            [u[pair, 1], v[pair, 1]],
            color="#767676",
            linewidth=0.7,
            zorder=1,
        )
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
