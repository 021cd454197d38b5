"""Two views and the ways to wire them to one answer: drawings for chapter 02."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import as_array, as_numbers, check_mapping
from vlalign_lib.viz._pictures import as_pictures, bare, draw_picture, frame, peak_of
from vlalign_lib.viz.palette import MARKERS, colour
from vlalign_lib.viz.style import WIDTH, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Wiring = Literal["early", "late", "coordinated", "decision"]

INK, GREY, PALE = "#1A1A1A", "#767676", "#CFCFCF"
_HEADS: Mapping[str, tuple[str, str, str]] = {
    # name: (heading, formula, name of its colour)
    "early": ("early", r"$h([x\,;\,y])$", "early"),
    "late": ("late (joint)", r"$h([\varphi(x)\,;\,\psi(y)])$", "late"),
    "coordinated": ("coordinated", r"$h(u)$, $h(v)$ or both", "coordinated"),
    "decision": ("late (decisions)", r"mean of $h_x(x)$, $h_y(y)$", "late"),
}
_CAPTIONS: Mapping[str, tuple[str, str]] = {
    # name: (with both views, with the second one cut)
    "early": ("one model reads both", "a stand-in fills the place of $y$"),
    "late": ("encode, merge, decide", "a stand-in for a code"),
    "coordinated": ("two encoders, one space", "$u$ goes on alone"),
    "decision": ("decide twice, average", "the other votes alone"),
}
_HEIGHT = 4.3  # inches, of one drawing
_PICTURE_Y, _ENCODE_Y, _MERGE_Y, _HEAD_Y, _ANSWER_Y = 1.0, 1.84, 2.52, 3.16, 3.7


def fusion_wirings(
    left: ArrayLike,
    right: ArrayLike,
    *,
    wirings: Sequence[Wiring] = ("early", "late", "coordinated"),
    cut: bool = False,
) -> Figure:
    """Return a drawing of how two views are wired to one answer.

    Signals flow downwards, the first view's in the images' colour, the second's in the texts',
    merged ones in a third. The lower two views come together, the later the fusion.

    Args:
        left: picture of the first view, (h, w), ink from 0 to 1.
        right: picture of the second view, (h, w).
        wirings: which, from left to right: "early", "late" (joint), "coordinated", "decision".
        cut: whether the second view's wire is cut.

    Returns:
        The figure, closed.

    Raises:
        ValueError: not pictures, no wiring, or one that has no drawing.

    Chapter:
        Chapter 02 opens with it.

    Example:
        >>> import numpy as np
        >>> figure = fusion_wirings(np.eye(8)[:, :4], np.eye(8)[:, 4:], cut=True)
        >>> float(figure.get_figwidth())
        7.0
    """
    views = [
        as_pictures(as_array(v, name)[None], name) for v, name in ((left, "left"), (right, "right"))
    ]
    if not wirings or not set(wirings) <= set(_HEADS):
        raise ValueError(f"wirings: expected some of {', '.join(_HEADS)}, got {list(wirings)}")
    figure, axes = canvas(height=_HEIGHT)
    _tighten(figure, 0.0)
    bare(axes)
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(_HEIGHT, 0)
    share = WIDTH / len(wirings)
    for i, wiring in enumerate(wirings):
        centre = (i + 0.5) * share
        heading, formula, shade = _HEADS[wiring]
        axes.text(centre, 0.16, heading, color=colour(shade), weight="bold", size=12, **_CENTRED)
        axes.text(centre, 0.44, formula, **_CENTRED)
        _inputs(axes, centre, views[0][0], views[1][0], cut)
        _DRAW[wiring](axes, centre, cut)
        axes.text(centre, _ANSWER_Y, "which digit?", color=INK, style="italic", **_CENTRED)
        axes.text(centre, 4.1, _CAPTIONS[wiring][cut], color="#3A3A3A", **_CENTRED)
        if i:
            axes.axvline(i * share, 0.01, 0.99, color="#E4E4E4", linewidth=1)
    return figure


_CENTRED: Mapping[str, Any] = {"ha": "center", "va": "center"}


def _tighten(figure: Figure, pad: float) -> None:
    """Let the drawing reach to ``pad`` inches from the edge."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure.set_layout_engine(ConstrainedLayoutEngine(w_pad=pad, h_pad=pad))


def _inputs(axes: Axes, centre: float, left: NDArray[Any], right: NDArray[Any], cut: bool) -> None:
    peak = max(peak_of(left), peak_of(right))
    for x, picture, name, text in (
        (centre - 0.5, left, "image", "$x$"),
        (centre + 0.5, right, "text", "$y$"),
    ):
        box = (x - 0.16, x + 0.16, _PICTURE_Y + 0.32, _PICTURE_Y - 0.32)
        side = -0.3 if name == "image" else 0.3
        axes.text(x + side, _PICTURE_Y, text, color=colour(name), size=11, **_CENTRED)
        if cut and name == "text":
            _outline(axes, x, _PICTURE_Y, 0.32, 0.64)
        else:
            draw_picture(axes, picture, box, peak)
            frame(axes, box, colour=colour(name), width=1.6)


def _early(axes: Axes, centre: float, cut: bool) -> None:
    top = _PICTURE_Y + 0.32
    _wire(axes, (centre - 0.5, top), (centre - 0.3, _ENCODE_Y - 0.13), colour("image"))
    _wire(axes, (centre + 0.5, top), (centre + 0.3, _ENCODE_Y - 0.13), colour("text"), cut=cut)
    _block(axes, centre - 0.3, _ENCODE_Y, 0.6, 0.26, "$x$", "image")
    _block(axes, centre + 0.3, _ENCODE_Y, 0.6, 0.26, "mean" if cut else "$y$", "text", idle=cut)
    _wire(axes, (centre, _ENCODE_Y + 0.13), (centre, 2.42), colour("joint"))
    _block(axes, centre, 2.87, 1.2, 0.9, "$h$\none model", "joint")
    _wire(axes, (centre, 3.32), (centre, _ANSWER_Y - 0.13), colour("joint"))


def _encoders(axes: Axes, centre: float, names: tuple[str, str], cut: bool) -> None:
    for x, name, text, idle in (
        (centre - 0.5, "image", names[0], False),
        (centre + 0.5, "text", names[1], cut),
    ):
        _wire(axes, (x, _PICTURE_Y + 0.32), (x, _ENCODE_Y - 0.15), colour(name), cut=idle)
        _block(axes, x, _ENCODE_Y, 0.5, 0.3, text, name, idle=idle)


def _late(axes: Axes, centre: float, cut: bool) -> None:
    _encoders(axes, centre, (r"$\varphi$", r"$\psi$"), cut)
    low, high = _ENCODE_Y + 0.15, _MERGE_Y - 0.13
    _wire(axes, (centre - 0.5, low), (centre - 0.35, high), colour("image"))
    _wire(axes, (centre + 0.5, low), (centre + 0.35, high), colour("text"), idle=cut)
    _block(axes, centre - 0.35, _MERGE_Y, 0.7, 0.26, r"$\varphi(x)$", "image")
    _block(
        axes, centre + 0.35, _MERGE_Y, 0.7, 0.26, "token" if cut else r"$\psi(y)$", "text", idle=cut
    )
    _wire(axes, (centre, _MERGE_Y + 0.13), (centre, _HEAD_Y - 0.15), colour("joint"))
    _block(axes, centre, _HEAD_Y, 0.6, 0.3, "$h$", "joint")
    _wire(axes, (centre, _HEAD_Y + 0.15), (centre, _ANSWER_Y - 0.13), colour("joint"))


def _coordinated(axes: Axes, centre: float, cut: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    _encoders(axes, centre, ("$f$", "$g$"), cut)
    axes.add_patch(
        FancyBboxPatch(
            (centre - 0.82, _MERGE_Y - 0.25),
            1.64,
            0.5,
            boxstyle="round,pad=0,rounding_size=0.2",
            facecolor=_tint("joint"),
            edgecolor=colour("joint"),
            linewidth=1.2,
            zorder=1,
        )
    )
    low = _ENCODE_Y + 0.15
    u, v = (centre - 0.2, _MERGE_Y - 0.02), (centre + 0.2, _MERGE_Y - 0.02)
    _wire(axes, (centre - 0.5, low), u, colour("image"), arrow=False)
    axes.plot(*u, marker="o", markersize=9, color=colour("image"), zorder=5)
    axes.text(u[0] - 0.22, u[1] + 0.08, "$u$", color=colour("image"), size=11, **_CENTRED)
    _wire(axes, (centre + 0.5, low), v, colour("text"), arrow=False, idle=cut)
    if not cut:
        axes.plot([u[0], v[0]], [u[1], v[1]], color=colour("joint"), linestyle=":", zorder=4)
        axes.plot(*v, marker="s", markersize=8, color=colour("text"), zorder=5)
    shade = GREY if cut else colour("text")
    axes.text(v[0] + 0.22, v[1] + 0.08, "$v$", color=shade, size=11, **_CENTRED)
    _wire(axes, (centre, _MERGE_Y + 0.25), (centre, _HEAD_Y - 0.15), colour("joint"))
    _block(axes, centre, _HEAD_Y, 0.6, 0.3, "$h$", "joint")
    _wire(axes, (centre, _HEAD_Y + 0.15), (centre, _ANSWER_Y - 0.13), colour("joint"))


def _decision(axes: Axes, centre: float, cut: bool) -> None:
    from matplotlib.patches import Rectangle

    _encoders(axes, centre, ("$h_x$", "$h_y$"), cut)
    for x, name, votes, idle in (
        (centre - 0.5, "image", (0.3, 1.0, 0.2, 0.5), False),
        (centre + 0.5, "text", (0.2, 0.9, 0.5, 0.2), cut),
    ):
        low = _ENCODE_Y + 0.15
        _wire(axes, (x, low), (x, _MERGE_Y - 0.28), colour(name), idle=idle)
        for j, vote in enumerate(votes):
            corner = (x - 0.22 + 0.115 * j, _MERGE_Y + 0.16 - 0.34 * vote)
            look = {"fill": False, "edgecolor": PALE} if idle else {"facecolor": colour(name)}
            axes.add_patch(Rectangle(corner, 0.09, 0.34 * vote, linewidth=0.8, **look))
        end = (centre + (0.3 if name == "text" else -0.3), _HEAD_Y - 0.15)
        _wire(axes, (x, _MERGE_Y + 0.2), end, colour(name), idle=idle)
    _block(axes, centre, _HEAD_Y, 1.0, 0.3, "average", "joint")
    _wire(axes, (centre, _HEAD_Y + 0.15), (centre, _ANSWER_Y - 0.13), colour("joint"))


_DRAW = {"early": _early, "late": _late, "coordinated": _coordinated, "decision": _decision}


def _tint(name: str) -> tuple[float, float, float]:
    """A very light version of a colour, for filling."""
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - 0.14 * (1 - part) for part in to_rgb(colour(name)))
    return red, green, blue


def _block(
    axes: Axes, x: float, y: float, width: float, height: float, text: str, name: str,
    *, idle: bool = False,
) -> None:  # fmt: skip
    """Draw a box around (x, y); an idle one is a dashed outline."""
    from matplotlib.patches import Rectangle

    if idle:
        _outline(axes, x, y, width, height)
    else:
        axes.add_patch(
            Rectangle(
                (x - width / 2, y - height / 2),
                width,
                height,
                facecolor=_tint(name),
                edgecolor=colour(name),
                linewidth=1.4,
                zorder=3,
            )
        )
    axes.text(x, y, text, color=GREY if idle else INK, zorder=6, **_CENTRED)


def _outline(axes: Axes, x: float, y: float, width: float, height: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(
            (x - width / 2, y - height / 2),
            width,
            height,
            facecolor="white",
            edgecolor=GREY,
            linestyle=(0, (3, 2)),
            linewidth=1.0,
            zorder=2,
        )
    )


def _wire(
    axes: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    shade: str,
    *,
    cut: bool = False,
    idle: bool = False,
    arrow: bool = True,
) -> None:
    """Draw a wire with a pulse running down it; a cut one carries scissors, an idle one nothing."""
    t = np.linspace(0, 1, 41)
    ease = t * t * (3 - 2 * t)  # leaves and arrives upright
    x, y = start[0] + (end[0] - start[0]) * ease, start[1] + (end[1] - start[1]) * t
    if cut or idle:
        axes.plot(x, y, color=PALE, linewidth=1.6, linestyle=(0, (2, 1.5)), zorder=2)
        if cut:
            middle = len(t) // 2
            axes.text(
                x[middle], y[middle], "✂", color=colour("wrong"), size=15, rotation=0, zorder=7,
                **_CENTRED,
            )  # fmt: skip
        return
    axes.plot(x, y, color=shade, linewidth=1.8, zorder=2)
    pulse = len(t) * 2 // 5
    axes.plot(x[pulse], y[pulse], marker="o", markersize=6, color=shade, zorder=4)
    if arrow:
        axes.plot(x[-1], y[-1] - 0.045, marker="v", markersize=6, color=shade, zorder=4)


def digit_halves(
    left: ArrayLike,
    right: ArrayLike,
    *,
    has_right: ArrayLike | None = None,
    fill: ArrayLike | None = None,
    columns: int = 11,
) -> Figure:
    """Return pictures cut in two, left halves beside right halves, some of them gone.

    Args:
        left: left halves (n, h, w), ink from 0 to 1, framed in the images' colour.
        right: right halves (n, h, w), framed in the texts' colour.
        has_right: booleans (n,), false where the right half is gone; None for none gone.
        fill: pictures (n, h, w), or one (h, w) for all, drawn in the place of a right half
            that is gone, in a dashed frame; None leaves the place empty.
        columns: pictures in a row.

    Returns:
        The figure, closed.

    Raises:
        ValueError: not pictures, different numbers of them, or no column.

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
    n = len(lefts)
    if columns < 1:
        raise ValueError(f"columns: expected 1 or more, got {columns}")
    rows = -(-n // columns)
    figure, axes = canvas(height=WIDTH / (columns * 1.32 - 0.12) * (rows * 1.25 - 0.15) + 0.08)
    _tighten(figure, 0.02)
    _halves(axes, lefts, rights, has_right, fill, columns)
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
        if there[i]:
            frame(axes, box, colour=colour("text"), width=1.0)
        else:
            axes.add_patch(_dashed(box))


def _dashed(box: tuple[float, float, float, float]) -> Any:
    from matplotlib.patches import Rectangle

    left, right, bottom, top = box
    return Rectangle(
        (left, top), right - left, bottom - top,
        fill=False, edgecolor=GREY, linestyle=(0, (2.5, 2)), linewidth=1.0, zorder=3,
    )  # fmt: skip


def missing_view_curves(
    shares: Sequence[float],
    curves: Mapping[str, Any],
    *,
    share: float | None = None,
    left: ArrayLike | None = None,
    right: ArrayLike | None = None,
    has_right: ArrayLike | None = None,
    ylabel: str = "accuracy (0 to 1)",
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
        ylabel: what is measured, with its unit.
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
    check_mapping(curves, "curves", "{name: values}")
    if not curves:
        raise ValueError("curves: expected at least one")
    at = None
    if share is not None:
        if share not in list(shares):
            raise ValueError(f"share: expected one of {list(shares)}, got {share}")
        at = list(shares).index(share)
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
        mean, low, high = _bands(name, values, len(shares))
        dashed = name.endswith("+ dropout")
        shade = colour(name.split()[0])
        axes.plot(shares, mean, color=shade, linestyle=(0, (4, 1.5)) if dashed else "-", zorder=3)
        if low is not None and high is not None:
            axes.fill_between(shares, low, high, color=shade, alpha=0.15, linewidth=0, zorder=2)
        said = name if at is None else f"{name}: {mean[at]:.2f}"
        ends.append((mean[-1], said, shade))
        if at is not None:
            axes.plot(
                shares[at], mean[at], marker=MARKERS[i % len(MARKERS)], markersize=9,
                color=shade, markeredgecolor="white", zorder=5,
            )  # fmt: skip
    if at is not None:
        axes.axvline(shares[at], color=PALE, zorder=1)
    _label_ends(axes, shares, ends)
    axes.set_xlabel("items without their right half (%)")
    axes.set_ylabel(ylabel)
    return figure


def _bands(
    name: str, values: Any, n: int
) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]:
    if not hasattr(values, "__len__"):
        raise ValueError(f"curves[{name!r}]: expected {n} values, one a share, got {values!r}")
    values = list(values)
    if len(values) != n:
        raise ValueError(f"curves[{name!r}]: expected {n} values, one a share, got {len(values)}")
    if values and hasattr(values[0], "low"):
        values = [(v.mean, v.low, v.high) for v in values]
    array = as_numbers(values, f"curves[{name!r}]")
    if array.shape not in ((n,), (n, 3)) or not np.isfinite(array).all():
        raise ValueError(
            f"curves[{name!r}]: expected {n} finite numbers, or (mean, low, high) for each share, "
            f"got shape {array.shape}"
        )
    if array.ndim == 2:
        return array[:, 0], array[:, 1], array[:, 2]
    return array, None, None


def _label_ends(
    axes: Axes, shares: Sequence[float], ends: Sequence[tuple[float, str, str]]
) -> None:
    """Write each curve's name behind its end, none on top of another."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.075
    places: list[float] = []
    for value, name, shade in sorted(ends):
        place = max(value, places[-1] + gap) if places else value
        places.append(place)
        axes.annotate(
            name, (shares[-1], value), xytext=(shares[-1] + 3, place), color=shade, size=9,
            va="center", annotation_clip=False,
        )  # fmt: skip
    span = shares[-1] - shares[0]
    axes.set_xlim(shares[0] - 0.03 * span, shares[-1] + 0.42 * span)
    axes.set_xticks([s for s in shares if s % 20 == 0] or list(shares))
    axes.set_ylim(low, max(high, places[-1] + gap))
