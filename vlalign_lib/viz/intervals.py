"""Means with their intervals, one row a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vlalign_lib.viz._checks import check_said, check_some
from vlalign_lib.viz._estimates import triple
from vlalign_lib.viz._shade import shade_of
from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@in_style
def interval_plot(
    results: Mapping[str, Any],
    *,
    xlabel: str,
    printed: Mapping[str, float] | None = None,
    reference: Mapping[str, float] | None = None,
    title: str = "",
) -> Figure:
    """Return a dot and a whisker for each method: the mean and its 95 % interval.

    Args:
        results: by name, best first or in the order of the table: a (mean, low, high) triple,
            or an object with these attributes (a ledger's ``Estimate``; the ``Interval`` of
            ``metrics``, whose mean is called ``estimate``). A low or high of None or NaN leaves
            the whisker out.
        xlabel: what is measured, with its unit: "class mAP (0 to 1)".
        printed: numbers of a paper by name, drawn as hollow diamonds.
        reference: lines to compare with by name: ``{"chance": 0.15}``.
        title: a line above.

    Returns:
        The figure, closed; a method has the colour it has everywhere, and so has a variant
        whose name starts with the method's: "late + dropout".

    Raises:
        ValueError: no results, no label, an interval that does not hold its mean, or a printed
            number of a method that is not shown.

    Chapter:
        Chapter 01 introduces intervals; every chapter compares with them.

    Example:
        >>> figure = interval_plot({"CCA": (0.31, 0.29, 0.33)}, xlabel="class mAP (0 to 1)")
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['CCA']
    """
    check_some(results, "results", "{method: (estimate, low, high)}")
    check_said(xlabel=xlabel)
    strange = sorted(set(printed or {}) - set(results))
    if strange:
        raise ValueError(f"printed: {', '.join(strange)} is not among the results")
    n = len(results)
    with_legend = bool(printed) or bool(reference)
    figure, axes = canvas(height=0.85 + 0.36 * n + 0.25 * with_legend)
    for row, (name, value) in enumerate(results.items()):
        mean, low, high = triple(value, f"results[{name!r}]")
        shade = shade_of(name, row)
        if low is not None and high is not None:
            axes.plot([low, high], [row, row], color=shade, linewidth=2.2, solid_capstyle="butt")
            axes.plot([low, high], [row, row], color=shade, marker="|", markersize=9, linestyle="")
        axes.plot(mean, row, marker="o", markersize=8, color=shade, linestyle="")
    if printed:
        places = [list(results).index(name) for name in printed]
        axes.plot(list(printed.values()), places, marker="D", markersize=8, linestyle="",
                  markerfacecolor="none", markeredgecolor="#1A1A1A", markeredgewidth=1.3,
                  label="the paper")  # fmt: skip
        axes.plot([], [], marker="o", color="#3A3A3A", linestyle="", label="we measure, 95 %")
    for i, (name, level) in enumerate((reference or {}).items()):
        dash = ("--", ":", "-.")[i % 3]
        axes.axvline(level, color=colour("chance"), linestyle=dash, label=name, zorder=1)
    dress_rows(axes, list(results), xlabel)
    axes.margins(x=0.08)
    if with_legend:
        figure.legend(loc="outside lower center", ncols=4)
    if title:
        axes.set_title(title)
    return figure


def dress_rows(axes: Axes, names: list[str], xlabel: str) -> None:
    """Name the rows, the first on top, and say what they measure."""
    axes.set_yticks(range(len(names)), names, fontsize=10)
    axes.set_ylim(len(names) - 0.42, -0.58)
    axes.grid(False, axis="y")
    axes.set_xlabel(xlabel)
