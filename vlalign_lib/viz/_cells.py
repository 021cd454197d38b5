"""What figures that are tables are made of: shaded boxes and words in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vlalign_lib.viz._pictures import bare
from vlalign_lib.viz.style import WIDTH, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EDGE = 0.05  # inches left free around the panels

SPAN = WIDTH - 2 * _EDGE
"""Width of a panel in inches."""


def panels(*heights: float) -> tuple[Figure, Sequence[Axes]]:
    """Return a figure and bare axes, one under the other, whose unit is the inch.

    The origin of each is its upper left corner. They stay where they are: the constrained layout
    would shrink them wherever it takes words for wider than they are.
    """
    whole = sum(heights) + 2 * _EDGE
    figure, grid = canvas(len(heights), 1, height=whole, squeeze=False)
    figure.set_layout_engine("none")
    bottom = whole - _EDGE
    for axes, height in zip(grid[:, 0], heights, strict=True):
        bottom -= height
        axes.set_position((_EDGE / WIDTH, bottom / whole, SPAN / WIDTH, height / whole))
        axes.set_xlim(0, SPAN)
        axes.set_ylim(height, 0)
        bare(axes)
    return figure, list(grid[:, 0])


def sheet(height: float) -> tuple[Figure, Axes]:
    """Return a figure of one bare axes whose unit is the inch, from the upper left corner."""
    figure, axes = canvas(height=height)
    bare(axes)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure, axes


def tint(colour: str, share: float) -> str:
    """Return ``colour``, "#RRGGBB", thinned with white: 0 is white, 1 the colour itself."""
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - share * (255 - c)):02X}" for c in channels)


def draw_box(
    axes: Axes,
    corner: tuple[float, float],
    width: float,
    height: float,
    shade: str,
    *,
    hatch: str | None = None,
) -> None:
    """Draw a box from its upper left ``corner``, with a thin white edge."""
    from matplotlib.patches import Rectangle

    look: Any = {"facecolor": shade, "edgecolor": "white", "hatch": hatch}
    axes.add_patch(Rectangle(corner, width, height, **look))


def write(axes: Axes, x: float, y: float, words: str, **options: Any) -> None:
    """Write ``words`` as they are, centred vertically unless ``options`` say otherwise."""
    usual: dict[str, Any] = {"fontsize": 9.5, "va": "center_baseline", "parse_math": False}
    axes.text(x, y, words, **usual | options)
