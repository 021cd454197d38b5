"""What the size of the gallery does to a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vlalign_lib.viz._checks import as_curves, check_groups, place_of
from vlalign_lib.viz._curves import PALE, draw_curve
from vlalign_lib.viz.palette import CYCLE, MARKERS, colour, has_colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OWN = CYCLE[2:6]  # the first two stand for picture and text


@in_style
def gallery_curves(
    sizes: Sequence[int],
    curves: Mapping[str, Mapping[str, Any]],
    *,
    at: int | None = None,
) -> Figure:
    """Return one panel a metric: its value against the size of the gallery, a line a space.

    Args:
        sizes: sizes of the gallery, increasing; the axis is logarithmic.
        curves: by metric, the title of its panel: ``{space: one value a size, 0 to 1}``. A
            space named "chance" is a dashed grey line; "random space" is grey as well.
        at: the size to mark, one of ``sizes``; its values are written beside the marks.

    Returns:
        The figure, closed; its scales do not depend on ``at``.

    Raises:
        ValueError: no curve, a curve of another length, values outside 0 to 1, or a size that
            is not there.

    Chapter:
        Chapter 01: the slider.

    Example:
        >>> curves = {"R@10": {"least squares": [1.0, 0.6], "chance": [1.0, 0.1]}}
        >>> figure = gallery_curves([10, 100], curves, at=100)
        >>> figure.axes[0].get_title(loc="left")
        'R@10'
    """
    check_groups(curves, "curves", "{metric: {space: values}}", "{space: values}")
    marked = place_of(at, sizes, "at")
    spaces = list(dict.fromkeys(name for lines in curves.values() for name in lines))
    own = [name for name in spaces if not has_colour(name) and name != "random space"]
    figure, panels = canvas(1, len(curves), height=3.3, squeeze=False)
    for axes, (metric, lines) in zip(panels[0], curves.items(), strict=True):
        known = as_curves(lines, len(sizes), len(MARKERS), f"curves[{metric!r}]")
        for name, values in known.items():
            if not ((values >= 0) & (values <= 1)).all():
                what = f"curves[{metric!r}][{name!r}]"
                raise ValueError(f"{what}: expected values from 0 to 1, got {values.tolist()}")
            if name in own:
                shade = _OWN[own.index(name) % len(_OWN)]
            else:
                shade = colour(name if has_colour(name) else "chance")
            look: dict[str, Any] = {"color": shade}
            if name == "chance":
                look["linestyle"] = (0, (4, 2))
                draw_curve(axes, sizes, values, said=name, look=look, linewidth=1.4, alpha=0.9)
                continue
            marker = MARKERS[spaces.index(name)]
            draw_curve(axes, sizes, values, said=name, marker=marker, at=marked, look=look, **PALE)
            if at is not None and marked is not None:
                axes.annotate(f"{values[marked]:.2f}", (at, values[marked]), (0, 9), fontsize=9,
                              textcoords="offset points", ha="center")  # fmt: skip
        axes.set_title(metric, loc="left")
        span = (sizes[0] / 1.35, sizes[-1] * 1.35)
        axes.set(xscale="log", xlim=span, ylim=(-0.03, 1.13), xlabel="gallery (pairs)")
        ticks = [size for size in sizes if size in (sizes[0], sizes[-1]) or size % 100 == 0]
        axes.set_xticks(ticks, [f"{size:,}" for size in ticks])
        axes.minorticks_off()
    entries: dict[str, Any] = {}
    for axes in panels[0]:
        handles, names = axes.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    figure.legend(
        [entries[name] for name in spaces], spaces, loc="outside lower center", ncols=len(spaces)
    )
    return figure
