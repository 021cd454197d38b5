"""The same pictures in the space of each method, each joined to its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_labels
from vlalign_lib.metrics import recall_at_k
from vlalign_lib.viz._checks import as_embeddings, as_label_names, as_pair, check_some
from vlalign_lib.viz._pictures import as_pictures, wrap
from vlalign_lib.viz._project import flatten
from vlalign_lib.viz.palette import CYCLE, colour
from vlalign_lib.viz.style import WIDTH, canvas, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SIDE = 0.19  # inches across a picture
_WIDEST = 3.4  # inches across a panel
_ACROSS = 3  # panels in a row
_GAP = 0.12  # inches between panels
_HEAD = 0.45  # inches above a panel: its name and its number
_PER_LINE = 4  # entries of the legend in a line
_NO_FAMILY = "#1A1A1A"


@in_style
def glyph_maps(
    embeddings: Mapping[str, tuple[Any, Any]],
    pictures: Any,
    *,
    labels: Any = None,
    label_names: Sequence[str] | None = None,
) -> Figure:
    r"""Return a map for each method: every picture where it lies, a thread to where its name lies.

    .. math:: \hat u_i = u_i / \lVert u_i \rVert, \qquad \hat v_i = v_i / \lVert v_i \rVert

    Rows have unit length, since retrieval compares by cosine, and are turned onto the two
    directions of greatest variance of both views together, with deterministic signs. Two
    directions do not show all: the number above each panel is measured in the whole space, the
    share of names whose own picture is nearer than the n − 1 others.

    Args:
        embeddings: by the method's name a pair (pictures (n, k), names (n, k)), k ≥ 2; row i
            of one is the partner of row i of the other. Six methods and about forty pairs fit.
        pictures: the pictures (n, h, w), from 0 (ground) to 1 (ink), in the same order.
        labels: a family a pair (n,), −1 for none; up to seven families, each with a colour.
        label_names: the names of the families that ``labels`` number, for a legend.

    Returns:
        The figure, closed.

    Raises:
        ValueError: no method, no pair, shapes that do not fit, one dimension, NaN, pictures
            outside 0 to 1, more than seven families, or names without labels.

    Chapter:
        08, The retrieval table.

    Example:
        >>> import numpy as np
        >>> u = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5]])
        >>> figure = glyph_maps({"CCA": (u, 2 * u), "CFA": (u, u[::-1])}, np.ones((3, 8, 8)))
        >>> [axes.texts[0].get_text() for axes in figure.axes]
        ['own picture nearest: 100 %', 'own picture nearest: 33 %']
    """
    check_some(embeddings, "embeddings", "{method: (pictures, names)}")
    ink = _ink(pictures)
    views = {name: _views(pair, name, len(ink)) for name, pair in embeddings.items()}
    shades, families = _shades(labels, label_names, len(ink))
    across = min(_ACROSS, len(views))
    down = -(-len(views) // across)
    side = min((WIDTH - _GAP * (across + 1)) / across, _WIDEST)
    left = (WIDTH - across * side - (across - 1) * _GAP) / 2
    lines = -(-(1 + len(families)) // _PER_LINE)
    height = down * (_HEAD + side) + (down - 1) * _GAP + 0.15 + 0.2 * lines
    # panels have their size in inches, since pictures have theirs
    figure, grid = canvas(down, across, height=height, squeeze=False)
    figure.set_layout_engine("none")
    for axes in grid.flat[len(views) :]:
        axes.remove()
    for place, (name, (u, v)) in enumerate(views.items()):
        row, column = divmod(place, across)
        x = left + column * (side + _GAP)
        y = height - (row + 1) * (_HEAD + side) - row * _GAP
        axes = grid[row, column]
        axes.set_position((x / WIDTH, y / height, side / WIDTH, side / height))
        points = flatten(np.vstack([_unit(u), _unit(v)]))[0]
        _map(axes, points[: len(ink)], points[len(ink) :], ink, shades, side)
        _head(axes, wrap(name, side, 1, size=11, weight="bold"), recall_at_k(v, u, k=1)[1])
    _key(figure, grid[0, 0], families)
    return figure


def _head(axes: Axes, name: str, share: float) -> None:
    """Write the name of a method above its panel, and below it how well it retrieves."""
    axes.set_title(name, loc="left", weight="bold", size=11, pad=17, parse_math=False)
    axes.annotate(f"own picture nearest: {100 * share:.0f} %", (0, 1), (0, 4), size=9,
                  xycoords="axes fraction", textcoords="offset points",
                  color="#3A3A3A")  # fmt: skip


def _map(
    axes: Axes,
    images: NDArray[Any],
    names: NDArray[Any],
    ink: NDArray[Any],
    shades: Sequence[str],
    side: float,
) -> None:
    """Draw the pictures of one method into a square panel of ``side`` inches."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    both = np.vstack([images, names])
    low, high = both.min(axis=0), both.max(axis=0)
    reach = float((high - low).max()) or 1.0
    half = reach / 2 * side / (side - _SIDE - 0.06)  # a picture at the edge fits as well
    x, y = (low + high) / 2
    glyph = _SIDE / side * half  # half a picture, in data
    axes.add_collection(
        LineCollection(list(np.stack([images, names], axis=1)), colors="#B8B8B8", linewidths=0.7,
                       zorder=1),
        autolim=False,
    )  # fmt: skip
    axes.plot(*names.T, linestyle="", marker="^", markersize=3.4, color=colour("text"),
              markeredgewidth=0, zorder=2)  # fmt: skip
    for (left, up), picture, shade in zip(images, ink, shades, strict=True):
        tinted = np.empty((*picture.shape, 4))
        tinted[..., :3], tinted[..., 3] = to_rgb(shade), picture
        axes.imshow(tinted, extent=(left - glyph, left + glyph, up - glyph, up + glyph),
                    interpolation="antialiased", zorder=3)  # fmt: skip
    axes.set(xlim=(x - half, x + half), ylim=(y - half, y + half), xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="box")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set(visible=True, color="#CFCFCF")


def _key(figure: Figure, axes: Axes, families: Mapping[str, str]) -> None:
    """Say below the panels what the marks are, and the colours."""
    marks = axes.plot([], [], linestyle="-", linewidth=0.7, marker="^", markersize=4,
                      color="#B8B8B8", markerfacecolor=colour("text"), markeredgewidth=0,
                      label="where its name lies")  # fmt: skip
    for name, shade in families.items():
        marks += axes.plot([], [], linestyle="", marker="s", color=shade, label=name)
    figure.legend(handles=marks, loc="lower center", ncols=min(len(marks), _PER_LINE),
                  handletextpad=0.5, borderaxespad=0.1)  # fmt: skip


def _ink(pictures: Any) -> NDArray[np.float64]:
    ink = as_pictures(pictures, "pictures").astype(np.float64)
    if ink.ndim != 3:
        raise ValueError(
            f"pictures: expected one number a pixel, (n, h, w), got {ink.shape}; a mean over "
            "the colours is array.mean(axis=-1)"
        )
    if ink.min() < 0 or ink.max() > 1:
        raise ValueError(
            "pictures: expected ink from 0 to 1, got values from "
            f"{ink.min():g} to {ink.max():g}; divide by the largest"
        )
    return ink


def _views(pair: Any, name: str, n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    what = f"embeddings[{name!r}]"
    u, v = as_pair(pair, what, "(pictures, names)")
    u, v = as_embeddings(u, v, (f"{what}, pictures", f"{what}, names"))
    if len(u) != n:
        raise ValueError(f"{what}: expected {n} rows, one a picture, got {len(u)}")
    return u, v


def _unit(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return rows of unit length; rows of zeros stay zeros, as they do where cosines are taken."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.where(lengths == 0, 1, lengths)
    return unit


def _shades(
    labels: Any, label_names: Sequence[str] | None, n: int
) -> tuple[list[str], dict[str, str]]:
    """Return the colour of each picture, and what the legend says of the colours."""
    if labels is None:
        if label_names is not None:
            raise ValueError("label_names: there are no labels to name; pass labels as well")
        return [colour("image")] * n, {}
    classes = as_labels(labels, n)
    present = [int(c) for c in np.unique(classes[classes >= 0])]
    if len(present) > len(CYCLE):
        raise ValueError(
            f"labels: expected up to {len(CYCLE)} families, one a colour, got {len(present)}; "
            "show fewer, or give the rest −1"
        )
    # orange stands for texts, here for where the names lie: a family gets it last
    tints = sorted(CYCLE, key=lambda shade: shade == colour("text"))
    tint = dict(zip(present, tints, strict=False))
    shades = [tint.get(int(c), _NO_FAMILY) for c in classes]
    if label_names is None:
        return shades, {}
    names = as_label_names(label_names, np.array(present, dtype=int))
    families = {names[label]: shade for label, shade in tint.items()}
    if (classes < 0).any():
        families["no family"] = _NO_FAMILY
    return shades, families
