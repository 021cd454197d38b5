"""Two clouds of points, an axis through each, and what the pairs have in common along them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_numbers
from vlalign_lib.viz._checks import as_finite, as_letters, as_pair, as_views, check_some
from vlalign_lib.viz.palette import colour, has_colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROUND: Any = {"cmap": "twilight", "vmin": 0, "vmax": 2 * np.pi}
"""Angles as colours that close into themselves."""


@in_style
def paired_clouds(
    images: Any,
    texts: Any,
    image_direction: Any,
    text_direction: Any,
    *,
    partners: Sequence[int] = (),
) -> Figure:
    """Return two clouds with an axis through each, and the pairs' coordinates along both axes.

    Each point's coordinate is where its perpendicular meets the axis. Beside the clouds the
    coordinate of every picture is drawn against that of its text, both in standard deviations,
    with their correlation: the nearer to a line, the better the two axes agree.

    Args:
        images: points (n, 2), at least three.
        texts: points (n, 2), row i the partner of row i.
        image_direction: (2,) direction of the pictures' axis, of any length but zero.
        text_direction: (2,) direction of the texts' axis.
        partners: indices of up to eight pairs that get a letter in all three panels.

    Returns:
        The figure, closed. Its scales depend on the points alone, so that figures of the same
        clouds with other directions can be compared.

    Raises:
        ValueError: not points of a plane, views that are not paired, a direction of length
            zero, a cloud without extent along its axis, or partners that are not there.

    Chapter:
        Chapter 03 opens with it.

    Example:
        >>> points = [[0.0, 0.0], [1.0, 0.2], [2.0, -0.1], [3.0, 0.0]]
        >>> paired_clouds(points, points, [1, 0], [1, 0]).axes[2].get_title(loc="left")
        'ρ = 1.00'
    """
    x, y = as_views(images, texts, min_rows=3)
    if x.shape[1] != 2 or y.shape[1] != 2:
        raise ValueError(
            f"images and texts: expected points of a plane, (n, 2), got {x.shape} and {y.shape}"
        )
    letters = as_letters(partners, len(x))
    figure, axes = canvas(1, 3, height=2.9)
    along = []
    directions, views = (image_direction, text_direction), ("image", "text")
    for panel, points, direction, view in zip(axes, (x, y), directions, views, strict=False):
        unit = _unit(direction, f"{view}_direction")
        centred = points.astype(np.float64) - points.mean(axis=0)
        coordinates = centred @ unit
        spread = float(coordinates.std())
        if spread == 0:
            raise ValueError(f"{view}s: all points have the same coordinate along {direction}")
        _cloud(panel, centred, coordinates, unit, view, letters)
        along.append(coordinates / spread)
    axes[0].set_title("pictures", loc="left", color=colour("image"))
    axes[1].set_title("texts", loc="left", color=colour("text"))
    u, v = along
    _variates(axes[2], u, v, colour("joint"))
    for letter, pair in letters:
        write_letter(axes[2], u[pair], v[pair], letter)
    axes[2].set_title(f"ρ = {_rho(u, v)}", loc="left")
    axes[2].set_xlabel("u, of the picture (sd)")
    axes[2].set_ylabel("v, of the text (sd)")
    return figure


@in_style
def variates_scatter(
    panels: Mapping[str, tuple[Any, Any]], *, hue: Any = None, hue_label: str = ""
) -> Figure:
    """Return a row of scatters, one a method: the coordinate of each picture against its text's.

    Args:
        panels: ``{name: (u, v)}``, one number a pair each (n,), in any units; both are drawn in
            standard deviations, and the correlation is written above.
        hue: an angle for each pair, in radians, drawn as a colour that closes into itself; None
            draws each panel in the colour of its method.
        hue_label: what the angle is; needed with ``hue``.

    Returns:
        The figure, closed.

    Raises:
        ValueError: no panel, lengths that differ, coordinates that are constant or not finite,
            or an angle without a label.

    Chapter:
        Chapter 03, where linear CCA is blind.

    Example:
        >>> u = [0.0, 1.0, 2.0, 3.0]
        >>> variates_scatter({"CCA": (u, [1.0, 0.0, 0.0, 1.0])}).axes[0].get_title(loc="left")
        'CCA: ρ = 0.00'
    """
    check_some(panels, "panels", "{name: (u, v)}")
    if hue is not None and not hue_label.strip():
        raise ValueError("hue_label: say what the colours stand for")
    figure, axes = canvas(1, len(panels), height=2.7, squeeze=False)
    for panel, (name, pair) in zip(axes[0], panels.items(), strict=True):
        u, v = as_pair(pair, f"panels[{name!r}]", "(u, v)")
        a, b = (_standard(part, f"panels[{name!r}]") for part in (u, v))
        if a.shape != b.shape:
            raise ValueError(f"panels[{name!r}]: {a.size} pictures and {b.size} texts")
        known = colour(name) if has_colour(name) else colour("joint")
        _variates(panel, a, b, known if hue is None else as_angles(hue, a.size, "hue"))
        panel.set_title(f"{name}: ρ = {_rho(a, b)}", loc="left")
        panel.set_xlabel("picture's coordinate (sd)")
    axes[0, 0].set_ylabel("text's coordinate (sd)")
    if hue is not None:
        angle_bar(figure, axes[0], hue_label)
    return figure


def _cloud(
    panel: Axes,
    points: NDArray[np.float64],
    coordinates: NDArray[np.float64],
    unit: NDArray[np.float64],
    view: str,
    letters: Sequence[tuple[str, int]],
) -> None:
    reach = 1.25 * float(np.quantile(np.linalg.norm(points, axis=1), 0.98))
    panel.scatter(points[:, 0], points[:, 1], s=12, alpha=0.4, color=colour(view), linewidths=0)
    ends = np.array([-1.02, 1.02])[:, None] * reach * unit
    panel.plot(*ends.T, color="#1A1A1A", linewidth=1.6, clip_on=True)
    for letter, pair in letters:
        foot = coordinates[pair] * unit
        panel.plot(*np.array([points[pair], foot]).T, color="#1A1A1A", linewidth=0.9, zorder=3)
        panel.plot(*foot, marker="o", markersize=3.5, color="#1A1A1A", zorder=3)
        write_letter(panel, points[pair, 0], points[pair, 1], letter)
    panel.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="feature 1", ylabel="feature 2")
    panel.set_aspect("equal", adjustable="box")


def write_letter(panel: Axes, across: float, up: float, letter: str) -> None:
    """Write a pair's letter on a white disc."""
    disc = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": "#1A1A1A"}
    panel.text(across, up, letter, fontsize=9, weight="bold", ha="center", va="center", zorder=5,
               bbox=disc | {"linewidth": 0.8})  # fmt: skip


def _variates(panel: Axes, u: NDArray[Any], v: NDArray[Any], shade: Any) -> None:
    if isinstance(shade, str):
        panel.scatter(u, v, s=12, alpha=0.45, color=shade, linewidths=0)
    else:
        panel.scatter(u, v, s=14, c=shade, linewidths=0.3, edgecolors="#6E6E6E", **ROUND)
    span, ticks = (-3.4, 3.4), [-2, 0, 2]
    panel.set(xlim=span, ylim=span, xticks=ticks, yticks=ticks)
    panel.set_aspect("equal", adjustable="box")


def _rho(u: NDArray[Any], v: NDArray[Any]) -> str:
    """Write the correlation with as many decimals as tell it from one."""
    rho = float(np.clip(np.mean(u * v), -1, 1))
    found = f"{rho:.2f}" if abs(rho) < 0.995 or abs(rho) > 0.9995 else f"{rho:.3f}"
    return "0.00" if found == "-0.00" else found.replace("-", "−")


def as_angles(angle: Any, n: int, name: str) -> NDArray[np.float64]:
    """Return an angle for each of ``n`` pairs, from 0 to 2π."""
    angles = as_finite(angle, name, (n,), f"{n} angles")
    turned: NDArray[np.float64] = np.mod(angles, 2 * np.pi)
    return turned


def angle_bar(figure: Figure, panels: NDArray[Any], label: str) -> None:
    """Draw what the colours of the last panel stand for, beside all of them."""
    bar = figure.colorbar(panels[-1].collections[0], ax=list(panels), shrink=0.9)
    bar.set_ticks([0, np.pi, 2 * np.pi], labels=["0", "π", "2π"])
    bar.set_label(label)


def _unit(direction: Any, name: str) -> NDArray[np.float64]:
    vector = as_numbers(direction, name)
    length = float(np.linalg.norm(vector)) if vector.shape == (2,) else 0.0
    if vector.shape != (2,) or not np.isfinite(length) or length == 0:
        raise ValueError(f"{name}: expected two numbers, not both zero, got {direction!r}")
    unit: NDArray[np.float64] = vector / length
    return unit


def _standard(values: Any, name: str) -> NDArray[np.float64]:
    array = as_numbers(values, name)
    if array.ndim != 1 or array.size < 2 or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected one finite number a pair, got shape {array.shape}")
    spread = float(array.std())
    if spread == 0:
        raise ValueError(f"{name}: the coordinate is the same for all pairs")
    standard: NDArray[np.float64] = (array - array.mean()) / spread
    return standard
