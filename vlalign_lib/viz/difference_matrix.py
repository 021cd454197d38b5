"""Every method against every other: who is ahead, and which pairs are within noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vlalign_lib._validate import check_mapping
from vlalign_lib.viz._cells import SPAN, draw_box, panels, tint, write
from vlalign_lib.viz._estimates import triple
from vlalign_lib.viz._pictures import is_words, width_of, wrap
from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.style import in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 0.45  # inches a cell takes at most
_NAME = 1.5  # inches a name takes at most
_LINE = 0.2  # inches a line of the title or of the legend takes
_MOST = 24  # methods whose marks are legible at page width
_AHEAD, _BEHIND, _NOISE = "ahead", "behind", "within noise"
_TURNED = {_AHEAD: _BEHIND, _BEHIND: _AHEAD, _NOISE: _NOISE}
_MARKS = {_AHEAD: "^", _BEHIND: "v", _NOISE: "o"}
# verdict: its colour, and the share of it in the strongest cell, still light enough for dark marks
_STRONGEST = {_AHEAD: ("right", 0.82), _BEHIND: ("wrong", 0.66)}
_INK, _QUIET, _GREY = "#1A1A1A", "#4A4A4A", "#E9E9E9"


@in_style
def difference_matrix(
    differences: Mapping[tuple[str, str], Any],
    names: Sequence[str] | None = None,
    *,
    decided: Mapping[tuple[str, str], bool] | None = None,
    title: str = "",
) -> Figure:
    """Return a square of cells, the method of the row against the method of the column.

    A green ▲ says that the row is ahead of the column and that the interval of their difference
    does not hold zero, a red ▼ that it is behind; the larger the difference, the stronger the
    colour. A grey cell with a dot is a pair within noise: its interval holds zero. How many these
    are is written above. Every pair appears twice, once from either side. Each interval speaks for
    its own pair: among many pairs whose methods are equal, one in twenty is decided by chance.
    ``decided`` replaces the intervals' verdict by one that allows for that.

    Args:
        differences: by (first, second), the mean of first − second in class mAP with its
            interval: a (mean, low, high) triple, or an object with these attributes (what
            ``paired_difference`` returns). One entry for each pair, in either order.
        names: the methods in the order of the rows and of the columns, best first; None takes
            the order in which they appear. Two to 24.
        decided: by (first, second), in either order, whether that difference holds, such as
            ``Comparison.decided`` after Holm's correction; None goes by each interval.
        title: a line above.

    Returns:
        The figure, closed, as tall as it has rows.

    Raises:
        ValueError: a pair that is missing, given twice, or of a method with itself; a name
            without differences, or left out; a difference without an interval, which decides
            nothing; or a ``decided`` that does not tell for every pair.

    Chapter:
        08, The retrieval table.

    Example:
        >>> figure = difference_matrix({
        ...     ("SAM", "CCA"): (0.20, 0.18, 0.22),
        ...     ("SAM", "CCL"): (0.01, -0.01, 0.03),
        ...     ("CCL", "CCA"): (0.19, 0.17, 0.21),
        ... })
        >>> figure.axes[0].texts[0].get_text()
        '1 of 3 pairs is within noise'
    """
    found = _as_differences(differences)
    order = _as_order(names, list(dict.fromkeys(name for pair in found for name in pair)))
    _check_pairs(found, order)
    verdicts = _as_verdicts(found, decided)
    undecided = sum(verdict == _NOISE for verdict in verdicts.values())
    undecided_is = _NOISE if decided is None else "not decided"
    count = f"{undecided} of {len(found)} pairs {'is' if undecided == 1 else 'are'} {undecided_is}"
    shown = [wrap(name, _NAME, 1, size=9.5) for name in order]
    longest = 1.03 * max(width_of(name, 9.5) for name in shown)  # text is drawn a little wider
    left, top = longest + 0.12, longest + 0.12 + _LINE * (1 + bool(title)) + 0.1
    side = min(_CELL, (SPAN - left) / len(order))
    bottom = top + side * len(order)
    figure, (axes,) = panels(bottom + 0.7)
    if title:
        head = wrap(title, 0.94 * SPAN, 1, size=11, weight="bold")
        write(axes, 0, _LINE / 2, head, fontsize=11, weight="bold")
    write(axes, 0, _LINE * (0.5 + bool(title)), count, fontsize=10)
    for i, name in enumerate(shown):
        middle = (i + 0.5) * side
        write(axes, left - 0.08, top + middle, name, ha="right")
        write(axes, left + middle, top - 0.06, name, ha="center", va="bottom", rotation=90)
    largest = max(abs(mean) for mean, _, _ in found.values()) or 1.0
    for i, row in enumerate(order):
        for j, column in enumerate(order):
            x, y = left + j * side, top + i * side
            if i != j:
                pair = (row, column) if (row, column) in found else (column, row)
                verdict = verdicts[pair] if pair[0] == row else _TURNED[verdicts[pair]]
                _draw_cell(axes, (x, y), side, verdict, abs(found[pair][0]) / largest)
    if decided is None:
        undecided_is += ": the 95 % interval holds 0"
    _draw_legend(axes, bottom + 0.25, largest, undecided_is)
    return figure


def _as_differences(values: Any) -> dict[tuple[str, str], tuple[float, float, float]]:
    check_mapping(values, "differences", "{(first, second): (mean, low, high)}")
    found: dict[tuple[str, str], tuple[float, float, float]] = {}
    for pair, value in values.items():
        if not (isinstance(pair, tuple) and len(pair) == 2 and is_words(pair)):
            raise ValueError(f"differences: expected keys (first, second), two names, got {pair!r}")
        first, second = pair
        where = f"differences[{first!r}, {second!r}]"
        if first == second:
            raise ValueError(f"{where}: a method does not differ from itself; leave the pair out")
        if (second, first) in found:
            raise ValueError(f"{where}: given twice, the other way round as well; leave one out")
        mean, low, high = triple(value, where)
        if low is None or high is None:
            raise ValueError(
                f"{where}: expected an interval, got {value!r}; a difference without one decides "
                "nothing: measure more seeds"
            )
        found[first, second] = (mean, low, high)
    if not found:
        raise ValueError("differences: expected at least one pair of methods, got none")
    return found


def _as_order(names: Any, known: list[str]) -> list[str]:
    order = known if names is None else list(names) if is_words(names) else []
    if not order:
        raise ValueError(f"names: expected the methods' names in order, got {names!r}")
    if len(set(order)) < len(order):
        twice = next(name for name in order if order.count(name) > 1)
        raise ValueError(f"names: {twice} stands there twice")
    strange = ", ".join(name for name in order if name not in known)
    if strange:
        raise ValueError(f"names: {strange} has no differences; there are {', '.join(known)}")
    forgotten = ", ".join(name for name in known if name not in order)
    if forgotten:
        raise ValueError(f"names: leaves out {forgotten}, of which there are differences")
    if len(order) > _MOST:
        raise ValueError(
            f"differences: expected up to {_MOST} methods, whose marks are legible at page width, "
            f"got {len(order)}; draw fewer"
        )
    return order


def _check_pairs(found: Mapping[tuple[str, str], Any], order: list[str]) -> None:
    missing = [
        f"({first}, {second})"
        for i, first in enumerate(order)
        for second in order[i + 1 :]
        if (first, second) not in found and (second, first) not in found
    ]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ValueError(
            f"differences: expected each pair of {len(order)} methods once, "
            f"{', '.join(missing[:3])}{more} not there"
        )


def _as_verdicts(
    found: Mapping[tuple[str, str], tuple[float, float, float]], decided: Any
) -> dict[tuple[str, str], str]:
    """Return who is ahead in each pair as it was given, or that nobody is."""
    if decided is None:
        return {
            pair: _AHEAD if low > 0 else _BEHIND if high < 0 else _NOISE
            for pair, (_, low, high) in found.items()
        }
    check_mapping(decided, "decided", "{(first, second): True or False}")
    verdicts = {}
    for (first, second), (mean, _, _) in found.items():
        holds = decided.get((first, second), decided.get((second, first)))
        if not isinstance(holds, bool | np.bool_):
            raise ValueError(
                f"decided: expected True or False for {first} and {second}, got {holds!r}"
            )
        verdicts[first, second] = _NOISE if not holds else _AHEAD if mean > 0 else _BEHIND
    return verdicts


def _shade(verdict: str, strength: float) -> str:
    """Return the colour of a cell, from 0, a difference of nothing, to 1, the largest."""
    if verdict == _NOISE:
        return _GREY
    name, most = _STRONGEST[verdict]
    return tint(colour(name), most * (0.15 + 0.85 * strength))


def _draw_cell(
    axes: Axes, corner: tuple[float, float], side: float, verdict: str, strength: float
) -> None:
    draw_box(axes, corner, side, side, _shade(verdict, strength))
    x, y = corner[0] + side / 2, corner[1] + side / 2
    ink, size = (_QUIET, 3.5) if verdict == _NOISE else (_INK, 6)
    axes.plot(x, y, marker=_MARKS[verdict], markersize=size, color=ink, markeredgewidth=0)


def _draw_legend(axes: Axes, y: float, largest: float, undecided: str) -> None:
    """Draw what the marks mean, and how large a difference the colours stand for."""
    x = 0.0
    for verdict, words in (
        (_AHEAD, "row ahead of column"),
        (_BEHIND, "row behind column"),
        (_NOISE, undecided),
    ):
        _draw_cell(axes, (x, y - 0.09), 0.18, verdict, 0.5)
        write(axes, x + 0.24, y, words, fontsize=9, color=_QUIET)
        x += 0.24 + width_of(words, 9) + 0.2
    y += _LINE + 0.06
    words = f"difference in class mAP, row − column:  −{largest:.3f}"
    write(axes, 0, y, words, fontsize=9, color=_QUIET)
    x = 1.03 * width_of(words, 9) + 0.08
    for step in range(12):
        verdict, strength = (_BEHIND, 1 - step / 5) if step < 6 else (_AHEAD, (step - 6) / 5)
        draw_box(axes, (x, y - 0.08), 0.15, 0.16, _shade(verdict, strength))
        x += 0.15
    write(axes, x + 0.06, y, f"+{largest:.3f}", fontsize=9, color=_QUIET)
