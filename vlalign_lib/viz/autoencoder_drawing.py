"""Hourglasses with two inlets, and what the pull between two codes does: chapter 04."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import as_matrix, as_numbers, check_mapping, check_paired
from vlalign_lib.viz._pictures import as_pictures, bare, draw_picture, frame, peak_of
from vlalign_lib.viz.palette import CYCLE, MARKERS, colour
from vlalign_lib.viz.style import WIDTH, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREY, PALE, INK = "#767676", "#CFCFCF", "#1A1A1A"
_VIEWS = ("image", "text")
_REACH = 1.6  # how far from the origin the map of codes shows


def hourglasses(
    panels: Mapping[str, tuple[Sequence[Any], Sequence[Any]]], *, height: float = 3.9
) -> Figure:
    """Return autoencoders of two views, drawn as hourglasses: inlets above, outlets below.

    Args:
        panels: by the panel's title, ``((image, text), (image, text))``: what goes in, and what
            comes out. Pictures (h, w), ink from 0 to 1. None among the inlets is a closed inlet,
            None among the outlets an empty one.
        height: height in inches.

    Returns:
        The figure, closed; one panel beside the other.

    Raises:
        ValueError: no panel, something other than two inlets and two outlets, or no pictures.

    Chapter:
        Chapter 04 opens with it.

    Example:
        >>> import numpy as np
        >>> half = np.zeros((8, 4))
        >>> both, one = ((half, half), (half, half)), ((half, None), (half, half))
        >>> len(hourglasses({"a whole pair": both, "one inlet closed": one}).axes)
        2
    """
    check_mapping(panels, "panels", "{title: (inlets, outlets)}")
    if not panels:
        raise ValueError("panels: expected at least one")
    figure, axes = canvas(1, len(panels), height=height, squeeze=False)
    for panel, (title, parts) in zip(axes[0], panels.items(), strict=True):
        _check_parts(title, parts)
        _hourglass(panel, *parts)
        panel.set_title(title, size=10)
    return figure


def _check_parts(title: str, parts: Any) -> None:
    for part in parts if len(parts) == 2 else [()]:
        if len(part) != 2:
            raise ValueError(
                f"panels[{title!r}]: expected two inlets and two outlets, (image, text) each"
            )


def _hourglass(axes: Axes, inlets: Sequence[Any], outlets: Sequence[Any]) -> None:
    from matplotlib.patches import Polygon, Rectangle

    bare(axes)
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlim(-1.75, 1.75)
    axes.set_ylim(-2.15, 2.15)
    for sign in (1, -1):
        corners = [(-1.25, 1.05), (1.25, 1.05), (0.32, 0.1), (-0.32, 0.1)]
        axes.add_patch(
            Polygon(
                [(x, sign * y) for x, y in corners],
                facecolor="#EFEBF3", edgecolor=colour("joint"), linewidth=1.3, zorder=2,
            )
        )  # fmt: skip
    axes.add_patch(Rectangle((-0.32, -0.1), 0.64, 0.2, facecolor=colour("joint"), zorder=3))
    axes.text(0, 0, "code", color="white", size=9, ha="center", va="center", zorder=4)
    axes.text(0, 0.62, "encode", color=INK, size=9, ha="center", va="center", zorder=4)
    axes.text(0, -0.62, "decode", color=INK, size=9, ha="center", va="center", zorder=4)
    for row, parts in ((1, inlets), (-1, outlets)):
        for centre, name, picture in zip((-0.75, 0.75), _VIEWS, parts, strict=True):
            _port(axes, centre, row, name, picture)


def _port(axes: Axes, centre: float, row: int, name: str, picture: Any) -> None:
    """Draw one inlet (row 1) or outlet (row −1) with the picture that goes through it."""
    shut = picture is None
    axes.plot(
        [centre, centre], [row * 1.05, row * 1.22], linestyle=":" if shut else "-", linewidth=2.2,
        color=PALE if shut else colour(name), zorder=1,
    )  # fmt: skip
    box = (centre - 0.21, centre + 0.21, row * 1.64 - 0.42, row * 1.64 + 0.42)
    if shut:
        from matplotlib.patches import Rectangle

        axes.add_patch(
            Rectangle((box[0], box[2]), 0.42, 0.84, fill=False, edgecolor=GREY, linestyle="--")
        )
        said = "closed" if row > 0 else "empty"
        axes.text(
            centre, row * 1.64, said, color=GREY, size=9, ha="center", va="center", rotation=90
        )
        return
    values = as_pictures(np.asarray(picture)[None], name)
    draw_picture(axes, values[0], box, max(peak_of(values), 1e-9))
    frame(axes, box, colour=colour(name), width=1.3)


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
    check_mapping(curves, "curves", "{name: values}")
    if not 0 < len(curves) <= len(CYCLE):
        raise ValueError(f"curves: expected 1 to {len(CYCLE)}, got {len(curves)}")
    known = list(settings)
    if at is not None and at not in known:
        raise ValueError(f"at: expected one of {known}, got {at!r}")
    if (images is None) != (texts is None):
        raise ValueError("images and texts: give the codes of both, or of neither")
    if images is None or texts is None:
        figure, axes = canvas(height=height)
    else:
        figure, (axes, plane) = canvas(
            1, 2, height=height, gridspec_kw={"width_ratios": [1.5, 1]}, width=WIDTH
        )
        _map(plane, _points(images, "images"), _points(texts, "texts"), threads)
    places = np.arange(len(known))
    for i, (name, values) in enumerate(curves.items()):
        y = as_numbers(values, f"curves[{name!r}]")
        if y.shape != places.shape:
            raise ValueError(f"curves[{name!r}]: expected {len(known)} values, got {y.shape}")
        shade = CYCLE[(i + 2) % len(CYCLE)]
        said = name if at is None else f"{name}: {y[known.index(at)]:.2f}"
        axes.plot(places, y, marker=MARKERS[i], markersize=4, color=shade, label=said, zorder=3)
        if at is not None:
            place = known.index(at)
            axes.plot(
                place, y[place], marker=MARKERS[i], markersize=9, color=shade,
                markeredgecolor="white", zorder=5,
            )  # fmt: skip
    if at is not None:
        axes.axvline(known.index(at), color=PALE, zorder=1)
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
            [u[pair, 0], v[pair, 0]], [u[pair, 1], v[pair, 1]], color=GREY, linewidth=0.7, zorder=1
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
