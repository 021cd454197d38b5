"""A hidden angle in two views: the circles it draws, and the angle that a method finds again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_matrix
from vlalign_lib.viz._checks import as_letters, as_pair, as_views, check_some
from vlalign_lib.viz._project import principal
from vlalign_lib.viz.clouds import ROUND, angle_bar, as_angles, write_letter
from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TURN = 2 * np.pi


@in_style
def paired_circles(
    images: Any,
    texts: Any,
    angle: Any,
    *,
    partners: Sequence[int] = (),
) -> Figure:
    """Return both views of a hidden angle, flattened to their two principal directions.

    Args:
        images: the pictures (n, p), at least three, p ≥ 2.
        texts: the texts (n, q), row i the partner of row i, q ≥ 2.
        angle: (n,) the hidden angle of each pair in radians, drawn as a colour that closes into
            itself.
        partners: indices of up to eight pairs that get a letter in both panels.

    Returns:
        The figure, closed.

    Raises:
        ValueError: views that are not paired, fewer than two columns, or partners that are not
            there.

    Chapter:
        Chapter 05 opens with it.

    Example:
        >>> import numpy as np
        >>> angle = np.linspace(0, 6, 20)
        >>> circle = np.column_stack([np.cos(angle), np.sin(angle)])
        >>> figure = paired_circles(circle, circle, angle, partners=[0, 7])
        >>> [axes.get_title(loc="left") for axes in figure.axes[:2]]
        ['pictures', 'texts']
    """
    x, y = as_views(images, texts, min_rows=3)
    for view, name in ((x, "images"), (y, "texts")):
        if view.shape[1] < 2:
            raise ValueError(f"{name}: expected two columns or more, got {view.shape[1]}")
    hidden = as_angles(angle, len(x), "angle")
    letters = as_letters(partners, len(x))
    figure, axes = canvas(1, 2, height=2.9)
    for panel, view, name in zip(axes, (x, y), ("image", "text"), strict=True):
        flat = principal(view.astype(np.float64))[0]
        panel.scatter(*flat.T, c=hidden, s=10, edgecolors="none", **ROUND)
        for said, place in _labels(letters, flat):
            write_letter(panel, *place, said)
        panel.set_aspect("equal", adjustable="datalim")
        panel.set_title({"image": "pictures", "text": "texts"}[name], loc="left")
        panel.title.set_color(colour(name))
        panel.set_xlabel("principal direction 1")
        panel.set_ylabel("principal direction 2")
    angle_bar(figure, axes, "hidden angle θ")
    return figure


@in_style
def unrolled_circle(panels: Mapping[str, tuple[Any, Any]], angle: Any, *, turns: int = 1) -> Figure:
    r"""Return the angle that each method finds, against the hidden one: a circle unrolled.

    .. math:: \hat\theta(u) = \operatorname{atan2}(u_2, u_1)

    The two dimensions of an embedding may come out turned or mirrored, since a rotation of both
    views changes no correlation. Both views of a panel are therefore turned together, by the one
    angle that brings the texts nearest to ``turns`` times the hidden angle.

    Args:
        panels: ``{name: (u, v)}``, embedded pictures and texts (n, 2) of each method.
        angle: (n,) the hidden angle θ of each pair in radians.
        turns: how often what the views share runs around while θ runs around once.

    Returns:
        The figure, closed. A method that finds the angle draws ``turns`` rising lines, the
        pictures on the texts; one that does not fills the panel.

    Raises:
        ValueError: no panel, embeddings of other shapes, or NaN.

    Chapter:
        Chapter 05, where a network finds the angle.

    Example:
        >>> import numpy as np
        >>> angle = np.linspace(0, 6, 20)
        >>> found = np.column_stack([np.cos(angle), np.sin(angle)])
        >>> figure = unrolled_circle({"by hand": (found, -found)}, angle)
        >>> figure.axes[0].get_xlabel()
        'hidden angle θ'
    """
    check_some(panels, "panels", "{name: (u, v)}")
    figure, axes = canvas(1, len(panels), height=2.8, squeeze=False, sharey=True)
    for panel, (name, pair) in zip(axes[0], panels.items(), strict=True):
        parts = as_pair(pair, f"panels[{name!r}]", "(u, v)")
        u, v = (as_matrix(part, f"panels[{name!r}]") for part in parts)
        if u.shape != v.shape or u.shape[1] != 2:
            raise ValueError(
                f"panels[{name!r}]: expected two embeddings of two dimensions, got {u.shape} and "
                f"{v.shape}"
            )
        hidden = as_angles(angle, len(u), "angle")
        both = _found(v, u, turns * hidden)
        # Texts are larger and lie below, so that pictures on top of them hide nothing.
        for view, found, size in zip(("text", "image"), both, (18, 5), strict=True):
            panel.scatter(
                hidden, found, s=size, alpha=0.5, color=colour(view), edgecolors="none", label=view
            )
        panel.set_title(name, loc="left")
        panel.set_xlabel("hidden angle θ")
        panel.set_xticks([0, np.pi, _TURN], ["0", "π", "2π"])
        panel.set_yticks([0, np.pi, _TURN], ["0", "π", "2π"])
        panel.set_ylim(-0.25, _TURN + 0.25)
    axes[0, 0].set_ylabel("angle found")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, markerscale=2)
    return figure


def _found(
    texts: NDArray[Any], images: NDArray[Any], reference: NDArray[np.float64]
) -> list[NDArray[np.float64]]:
    """Return the angles of texts and pictures, turned and mirrored together."""
    angles = [np.arctan2(part[:, 1], part[:, 0]).astype(np.float64) for part in (texts, images)]
    fits = [np.exp(1j * (reference - sign * angles[0])).mean() for sign in (1, -1)]
    sign, fit = max(zip((1, -1), fits, strict=True), key=lambda choice: abs(choice[1]))
    return [np.mod(sign * each + np.angle(fit), _TURN) for each in angles]


def _labels(
    letters: Sequence[tuple[str, int]], points: NDArray[np.float64]
) -> list[tuple[str, tuple[float, float]]]:
    """Return the letters and where to write them; those on one spot share it."""
    labels: list[tuple[str, tuple[float, float]]] = []
    near = 0.1 * float(np.abs(points[[pair for _, pair in letters]]).max(initial=0.0))
    for letter, pair in letters:
        across, up = points[pair].tolist()
        for i, (said, place) in enumerate(labels):
            if np.hypot(across - place[0], up - place[1]) < near:
                labels[i] = f"{said} {letter}", place
                break
        else:
            labels.append((letter, (across, up)))
    return labels
