"""Anchors, friends and strangers: drawings for chapter 07."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlalign_lib._validate import as_array, as_numbers, check_mapping
from vlalign_lib.viz._checks import as_curves, as_label_names
from vlalign_lib.viz._curves import PALE, draw_curve, read_off
from vlalign_lib.viz._pictures import bare
from vlalign_lib.viz.palette import CYCLE, MARKERS, colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS: Mapping[str, tuple[str, str]] = {
    # what a stranger is: (its colour, its mark)
    "hard": ("wrong", "X"),
    "semi-hard": ("text", "D"),
    "easy": ("chance", "v"),
}


@in_style
def margin_rings(friend: float, strangers: Mapping[str, float], *, margin: float = 0.2) -> Figure:
    r"""Return an anchor in the middle of its friend's ring, and the strangers around it.

    .. math:: r = 1 - s, \qquad \text{hinge} = [m - s(a, p) + s(a, n)]_+

    How far a point lies from the middle is 1 minus its cosine with the anchor; its angle means
    nothing. The band from the friend's ring outwards is as wide as the margin: a stranger within
    it is semi-hard, one inside the ring is hard, one outside the band is easy and teaches
    nothing.

    Args:
        friend: s(a, p), the cosine of the anchor and its positive, −1 to 1.
        strangers: s(a, n) by name, each −1 to 1, one to eight of them.
        margin: m ≥ 0, between cosines.

    Returns:
        The figure, closed; its scale depends on the cosines alone, not on the margin.

    Raises:
        ValueError: a cosine outside −1 to 1, a negative margin, no stranger or more than eight.

    Chapter:
        07, Ranking: triplets and adaptive margins; it opens with it.

    Example:
        >>> figure = margin_rings(0.6, {"b": 0.7, "c": 0.5, "d": 0.1}, margin=0.2)
        >>> [text.get_text() for text in figure.axes[1].texts if "hinge 0.10" in text.get_text()]
        ['c   s = 0.50   hinge 0.10   semi-hard']
    """
    check_mapping(strangers, "strangers", "{name: cosine}")
    cosines = as_numbers([friend, *strangers.values()], "cosines")
    if not 2 <= len(cosines) <= 9 or (np.abs(cosines) > 1).any():
        raise ValueError(
            "margin_rings: expected cosines between −1 and 1, of a friend and of one to eight "
            f"strangers, got {cosines.tolist()}"
        )
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin: expected a number of at least 0, got {margin}")
    figure, (space, words) = canvas(1, 2, height=3.7, gridspec_kw={"width_ratios": [1, 0.95]})
    for axes in (space, words):
        bare(axes)
    radius = 1 - friend
    reach = 1.15 * max(1 - cosines.min(), radius + 0.3)
    space.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    turn = np.linspace(0, 2 * np.pi, 200)
    ring, edge = (
        np.column_stack([np.cos(turn), np.sin(turn)]) * r for r in (radius, radius + margin)
    )
    space.fill(*edge.T, color="#FBE3D2", zorder=0)
    space.fill(*ring.T, color="white", zorder=1)
    space.plot(*ring.T, color=colour("right"), lw=2, zorder=2)
    space.plot(*edge.T, color="#6E6E6E", lw=1.2, ls=(0, (4, 2)), zorder=2)
    space.scatter(0, 0, s=120, color=colour("image"), marker="o", zorder=4)
    space.annotate("anchor", (0, 0), (0, -17), textcoords="offset points", ha="center")
    _place(space, "friend", radius, 200, "right", "s")
    lines = [(f"friend   s = {friend:.2f}", colour("right"))]
    angles = 200 - 360 * np.arange(1, len(cosines)) / len(cosines)
    for (name, s), degrees in zip(strangers.items(), angles, strict=True):
        hinge = max(0.0, margin - friend + s)
        kind = "hard" if s >= friend else "semi-hard" if hinge > 0 else "easy"
        shade, mark = _KINDS[kind]
        _place(space, name, 1 - s, degrees, shade, mark)
        cosine = f"{s:.2f}".replace("-", "−")
        lines.append((f"{name}   s = {cosine}   hinge {hinge:.2f}   {kind}", colour(shade)))
    words.set(xlim=(0, 1), ylim=(0, 1))
    for i, (line, shade) in enumerate(lines):
        words.text(0.02, 0.92 - 0.1 * i, line, color=shade, va="center", size=10)
    words.text(
        0.02, 0.92 - 0.1 * len(lines) - 0.03, f"margin m = {margin:.2f}", va="center", weight="bold"
    )
    return figure


def _place(axes: Any, name: str, radius: float, degrees: float, shade: str, mark: str) -> None:
    x, y = radius * np.cos(np.deg2rad(degrees)), radius * np.sin(np.deg2rad(degrees))
    axes.plot([0, x], [0, y], color="#CFCFCF", lw=1, zorder=2)
    axes.scatter(x, y, s=90, color=colour(shade), marker=mark, zorder=4)
    card = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    axes.annotate(name, (x, y), (0, 9), textcoords="offset points", ha="center",
                  color=colour(shade), bbox=card, zorder=3)  # fmt: skip


@in_style
def space_forming(
    images: Any,
    texts: Any,
    labels: Any,
    curves: Mapping[str, Sequence[float]],
    *,
    at: int,
    label_names: Sequence[str] | None = None,
) -> Figure:
    """Return the space at one epoch, and beside it curves over all epochs with that one marked.

    Args:
        images: (n, 2) embedded pictures, circles; coordinates of your own making, between −1
            and 1.
        texts: (n, 2) embedded texts, crosses.
        labels: (n,) whole numbers, the class of each pair; at most seven classes.
        curves: shares of active triplets by name, one an epoch from the first, 0 to 1; at most
            seven curves.
        at: the epoch marked, from 1.
        label_names: names of the classes that ``labels`` number; None writes the numbers.

    Returns:
        The figure, closed; its scales do not depend on ``at``.

    Raises:
        ValueError: shapes that do not fit, curves of different length, too many classes or
            curves, or an epoch that is not there.

    Chapter:
        07, Ranking: the slider over the training.

    Example:
        >>> import numpy as np
        >>> points = np.eye(2)
        >>> figure = space_forming(points, points, [0, 1], {"semi-hard": [1.0, 0.6]}, at=2)
        >>> figure.axes[1].get_xlabel()
        'epoch'
    """
    views = [as_array(view, name) for view, name in ((images, "images"), (texts, "texts"))]
    numbers = np.asarray(as_array(labels, "labels"))
    for view, name in zip(views, ("images", "texts"), strict=True):
        if view.shape != (len(numbers), 2):
            raise ValueError(f"{name}: expected shape ({len(numbers)}, 2), got {view.shape}")
    classes = np.unique(numbers)
    lines = as_curves(curves, None, len(CYCLE))
    if len(classes) > len(CYCLE):
        raise ValueError(f"labels: expected up to {len(CYCLE)} classes, got {len(classes)}")
    epochs = len(next(iter(lines.values())))
    if not 1 <= at <= epochs:
        raise ValueError(f"at: expected an epoch from 1 to {epochs}, got {at}")
    named = as_label_names(label_names, classes)
    figure, (space, progress) = canvas(1, 2, height=3.5, gridspec_kw={"width_ratios": [1, 1.1]})
    for i, (label, name) in enumerate(named.items()):
        rows = np.flatnonzero(numbers == label)
        for view, mark in zip(views, ("o", "x"), strict=True):
            space.scatter(*view[rows].T, s=16, marker=mark, color=CYCLE[i], alpha=0.75, lw=1)
        space.scatter([], [], s=30, color=CYCLE[i], label=name)
    space.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xticks=[], yticks=[])
    space.grid(False)
    space.set_title(f"after epoch {at}")
    space.set_xlabel("pictures ○, texts ×")
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.08)}
    space.legend(ncols=4, handletextpad=0.1, **below)
    steps = np.arange(1, epochs + 1)
    for i, (name, line) in enumerate(lines.items()):
        said = read_off(name, line, at - 1)
        draw_curve(progress, steps, line, said=said, marker=MARKERS[i], at=at - 1,
                   look={"color": CYCLE[i]}, **PALE)  # fmt: skip
    progress.set(
        xlim=(0, epochs + 1), ylim=(-0.03, 1.07), xlabel="epoch", ylabel="active triplets (share)"
    )
    progress.legend(loc="upper center", bbox_to_anchor=(0.5, 1.24), ncols=2, frameon=False)
    return figure
