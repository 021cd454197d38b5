"""What the size of the gallery does to a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vlalign_lib._validate import as_numbers, check_mapping
from vlalign_lib.viz.palette import CYCLE, MARKERS, colour, has_colour
from vlalign_lib.viz.style import canvas

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OWN = CYCLE[2:6]  # the first two stand for picture and text


def gallery_curves(
    sizes: Sequence[int],
    curves: Mapping[str, Mapping[str, Any]],
    *,
    at: int | None = None,
    height: float = 3.3,
) -> Figure:
    """Return one panel a metric: its value against the size of the gallery, a line a space.

    Args:
        sizes: sizes of the gallery, increasing; the axis is logarithmic.
        curves: by metric, the title of its panel: ``{space: one value a size, 0 to 1}``. A
            space named "chance" is a dashed grey line; "random space" is grey as well.
        at: the size to mark, one of ``sizes``; its values are written beside the marks.
        height: height in inches.

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
    check_mapping(curves, "curves", "{metric: {space: values}}")
    for metric, lines in curves.items():
        check_mapping(lines, f"curves[{metric!r}]", "{space: values}")
    if not curves or not all(curves.values()):
        raise ValueError("curves: expected at least one metric, and at least one space in each")
    if at is not None and at not in list(sizes):
        raise ValueError(f"at: expected one of {list(sizes)}, got {at}")
    spaces = list(dict.fromkeys(name for lines in curves.values() for name in lines))
    own = [name for name in spaces if not has_colour(name) and name != "random space"]
    figure, panels = canvas(1, len(curves), height=height, squeeze=False)
    for axes, (metric, lines) in zip(panels[0], curves.items(), strict=True):
        for name, line in lines.items():
            values = _as_line(line, len(sizes), f"curves[{metric!r}][{name!r}]")
            place = spaces.index(name)
            dashed = name == "chance"
            if name in own:
                shade = _OWN[own.index(name) % len(_OWN)]
            else:
                shade = colour(name if has_colour(name) else "chance")
            axes.plot(
                sizes,
                values,
                color=shade,
                linestyle=(0, (4, 2)) if dashed else "-",
                linewidth=1.4 if dashed else 2.0,
                alpha=0.9 if dashed else 0.45,
            )
            axes.plot(
                [],
                [],
                color=shade,
                linestyle=(0, (4, 2)) if dashed else "-",
                marker="" if dashed else MARKERS[place],
                label=name,
            )
            if at is None or dashed:
                continue
            here = values[list(sizes).index(at)]
            axes.plot(at, here, marker=MARKERS[place], markersize=9, color=shade, linestyle="")
            axes.annotate(
                f"{here:.2f}",
                (at, here),
                (0, 9),
                textcoords="offset points",
                ha="center",
                fontsize=9,
            )
        axes.set_title(metric, loc="left")
        axes.set_xscale("log")
        axes.set_xlim(sizes[0] / 1.35, sizes[-1] * 1.35)
        axes.set_ylim(-0.03, 1.13)
        ticks = [size for size in sizes if size in (sizes[0], sizes[-1]) or size % 100 == 0]
        axes.set_xticks(ticks, [f"{size:,}" for size in ticks])
        axes.minorticks_off()
        axes.set_xlabel("gallery (pairs)")
    entries: dict[str, Any] = {}
    for axes in panels[0]:
        handles, names = axes.get_legend_handles_labels()
        entries |= dict(zip(names, handles, strict=True))
    figure.legend(
        [entries[name] for name in spaces], spaces, loc="outside lower center", ncols=len(spaces)
    )
    return figure


def _as_line(values: Any, count: int, name: str) -> Any:
    line = as_numbers(values, name)
    if line.shape != (count,):
        raise ValueError(f"{name}: expected {count} values, one a size, got shape {line.shape}")
    if not ((line >= 0) & (line <= 1)).all():
        raise ValueError(f"{name}: expected values from 0 to 1, got {line.tolist()}")
    return line
