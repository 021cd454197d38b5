"""Pictures and words placed into axes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def as_pictures(images: Any, name: str) -> NDArray[Any]:
    """Return ``images`` as an array (n, h, w) or (n, h, w, 3), finite.

    Raises:
        ValueError: another shape, no picture, or NaN.
    """
    array = as_array(images, name)
    grey = array.ndim == 3
    if not (grey or (array.ndim == 4 and array.shape[-1] in (3, 4))) or not array.size:
        raise ValueError(
            f"{name}: expected pictures (n, h, w) or (n, h, w, 3), got shape {array.shape}; rows "
            "of numbers need array.reshape(n, h, w), a single picture picture[None]"
        )
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array.dtype} with NaN or infinity")
    return array


def is_words(items: Any) -> bool:
    """Tell whether ``items`` is a sequence of strings."""
    return (
        isinstance(items, Sequence) and len(items) > 0 and all(isinstance(i, str) for i in items)
    ) or (isinstance(items, np.ndarray) and items.ndim == 1 and items.dtype.kind in "UT")


def draw_picture(
    axes: Axes, picture: NDArray[Any], box: tuple[float, float, float, float], peak: float
) -> None:
    """Draw one picture, dark ink on a light ground, into ``box`` = (left, right, bottom, top)."""
    axes.imshow(picture, extent=box, cmap="gray_r" if picture.ndim == 2 else None, vmin=0,
                vmax=peak, interpolation="antialiased", aspect="auto", zorder=2)  # fmt: skip


def frame(
    axes: Axes, box: tuple[float, float, float, float], *, colour: str | None, width: float
) -> None:
    """Draw a frame around ``box`` = (left, right, bottom, top); None is a dashed grey one."""
    from matplotlib.patches import Rectangle

    left, right, bottom, top = box
    look: dict[str, Any] = {"edgecolor": colour or "#767676", "linewidth": width, "zorder": 3}
    if colour is None:
        look["linestyle"] = (0, (2.5, 2))
    axes.add_patch(Rectangle((left, bottom), right - left, top - bottom, fill=False, **look))


def peak_of(pictures: NDArray[Any]) -> float:
    """Return the value drawn as full ink: 1, or the largest value where it is larger."""
    return max(1.0, float(pictures.max()))


def width_of(text: str, size: float, weight: str = "normal") -> float:
    """Return the width of one line of ``text`` in inches at ``size`` points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(family="DejaVu Sans", size=size, weight=weight)
    return float(TextToPath().get_text_width_height_descent(text, font, False)[0]) / 72


def wrap(text: str, inches: float, lines: int, *, size: float = 9, weight: str = "normal") -> str:
    """Return ``text`` broken to ``inches``; what does not fit ``lines`` ends in an ellipsis."""

    def fits(line: str) -> bool:
        return width_of(line, size, weight) <= inches

    broken = [""]
    for piece in re.split(r"(?<=[-\s])", " ".join(text.split())):
        longer = broken[-1] + piece
        if fits(longer.rstrip()) or not broken[-1]:
            broken[-1] = longer
        else:
            broken.append(piece)
    shown = [line.rstrip() for line in broken[:lines]]
    if len(broken) > lines:
        shown[-1] += "…"
    return "\n".join(line if fits(line) else _cut(line, fits) for line in shown)


def _cut(line: str, fits: Callable[[str], bool]) -> str:
    line = line.rstrip("…")
    while len(line) > 1 and not fits(line + "…"):
        line = line[:-1].rstrip()
    return line + "…"


def bare(axes: Axes) -> None:
    """Take ticks, spines and grid off."""
    axes.set_axis_off()
    axes.grid(False)
