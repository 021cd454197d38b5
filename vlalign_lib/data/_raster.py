"""Outlines to pictures: exact area coverage, the same on every machine.

FreeType hands out the unhinted outlines of a font in font units, and these do not depend on
its version. The pictures are then computed here, in numpy: each pixel is the share of its area
that the outline covers, with no sampling. That makes the pictures the same whichever FreeType
matplotlib was built with, which FreeType's own bitmaps are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Part of the cache key: raise it whenever a pixel could change.
RASTER_VERSION = 1
SIZE = 32
_EM = 24  # pixels per em wherever the character fits
_BASELINE = 8.0  # pixels below the baseline wherever the character fits
_CURVE_STEPS = 8  # so that the chords of no curve here are off by more than 0.04 pixels
_MOVE, _LINE, _CONIC = 1, 2, 3  # matplotlib's path codes; a closing code repeats no point


@dataclass(frozen=True)
class Outlines:
    """The outlines of n characters in font units, one after the other.

    Args:
        segments: (s, 3, 2) float64, quadratic curves as start, control, end; a straight line
            has its control point in the middle.
        owner: (s,) int64, the character that each segment belongs to, rising.
        n: number of characters, those without a segment included.
        units: font units per em.
    """

    segments: NDArray[np.float64]
    owner: NDArray[np.int64]
    n: int
    units: float


def read_outlines(font: Any, codes: NDArray[np.int64]) -> Outlines:
    """Return the outlines of the characters ``codes`` of a ``matplotlib.ft2font.FT2Font``."""
    from matplotlib import ft2font

    # matplotlib 3.10 moved the flag into an enumeration; before, it was a plain integer.
    flags: Any = getattr(ft2font, "LoadFlags", None)
    no_scale = getattr(ft2font, "LOAD_NO_SCALE") if flags is None else flags.NO_SCALE  # noqa: B009
    points: list[NDArray[np.float64]] = []
    kinds: list[NDArray[np.uint8]] = []
    sizes = np.zeros(len(codes), dtype=np.int64)
    for i, code in enumerate(codes.tolist()):
        font.load_char(code, flags=no_scale)
        vertices, path_codes = font.get_path()
        points.append(vertices)
        kinds.append(path_codes)
        sizes[i] = len(path_codes)
    point = np.rint(np.concatenate(points) * 64.0)  # get_path divides by 64
    kind = np.concatenate(kinds)
    owner = np.repeat(np.arange(len(codes)), sizes)

    line = np.flatnonzero(kind == _LINE)
    # A conic is two rows, control point and end; the rows come in pairs.
    conic = np.flatnonzero(kind == _CONIC)[::2]
    start = np.concatenate([point[line - 1], point[conic - 1]])
    end = np.concatenate([point[line], point[conic + 1]])
    control = np.concatenate([(point[line - 1] + point[line]) / 2, point[conic]])
    segments = np.stack([start, control, end], axis=1)
    belongs = np.concatenate([owner[line], owner[conic]])
    order = np.argsort(belongs, kind="stable")
    return Outlines(segments[order], belongs[order], len(codes), float(font.units_per_EM))


def _placement(outlines: Outlines) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return pixels per font unit (n,) and the shift (n, 2) in pixels of each character.

    Every character stands on one baseline at one size, centred from left to right. One that
    would leave the picture is moved up or down just enough, or, when it is too large, takes the
    largest whole number of pixels per em at which it fits.
    """
    low = np.zeros((outlines.n, 2))
    high = np.zeros((outlines.n, 2))
    first = np.flatnonzero(np.diff(outlines.owner, prepend=-1))
    who = outlines.owner[first]
    if who.size:
        # The control points enclose the curve, and in these fonts curves touch their extremes.
        low[who] = np.minimum.reduceat(outlines.segments.min(axis=1), first)
        high[who] = np.maximum.reduceat(outlines.segments.max(axis=1), first)
    largest = np.maximum((high - low).max(axis=1), 1.0)
    em = np.minimum(_EM, np.floor(SIZE * outlines.units / largest))
    scale = em / outlines.units
    shift = np.empty((outlines.n, 2))
    shift[:, 0] = SIZE / 2 - scale * (low[:, 0] + high[:, 0]) / 2
    shift[:, 1] = np.clip(_BASELINE, -scale * low[:, 1], SIZE - scale * high[:, 1])
    return scale, shift


def rasterise(outlines: Outlines) -> NDArray[np.uint8]:
    r"""Return pictures (n, 32, 32) of uint8: 255 times the covered share of each pixel, rounded.

    For a contour running along :math:`(x(t), y(t))`, the signed area covered in a pixel row to
    the right of the contour is :math:`\int (1 - x) \, dy`. Pieces of contour that lie in one
    pixel each add their part to that pixel and their height to all pixels on its right.
    """
    scale, shift = _placement(outlines)
    curves = outlines.segments * scale[outlines.owner, None, None]
    curves += shift[outlines.owner, None, :]
    start, control, end = curves[:, None, 0], curves[:, None, 1], curves[:, None, 2]
    straight = (np.abs(start + end - 2 * control) < 1e-9).all(axis=(1, 2))

    pieces_start, pieces_end, owners = [start[straight, 0]], [end[straight, 0]], []
    owners.append(outlines.owner[straight])
    bent = ~straight
    t = np.linspace(0.0, 1.0, _CURVE_STEPS + 1)[None, :, None]
    polygon = (1 - t) ** 2 * start[bent] + 2 * t * (1 - t) * control[bent] + t**2 * end[bent]
    pieces_start.append(polygon[:, :-1].reshape(-1, 2))
    pieces_end.append(polygon[:, 1:].reshape(-1, 2))
    owners.append(np.repeat(outlines.owner[bent], _CURVE_STEPS))

    a, b = np.concatenate(pieces_start), np.concatenate(pieces_end)
    owner = np.concatenate(owners)
    for axis in (1, 0):
        a, b, owner = _cut(a, b, owner, axis)
    middle = (a + b) / 2
    cell = np.clip(np.floor(middle).astype(np.int64), 0, SIZE - 1)
    height = b[:, 1] - a[:, 1]
    here = height * (1.0 - (middle[:, 0] - cell[:, 0]))
    index = (owner * SIZE + cell[:, 1]) * SIZE + cell[:, 0]
    cells = outlines.n * SIZE * SIZE
    # A piece fills its own pixel from its middle on and every later pixel whole.
    later = np.bincount(index, weights=height - here, minlength=cells).reshape(-1, SIZE)
    first = np.bincount(index, weights=here, minlength=cells).reshape(-1, SIZE)
    first[:, 1:] += later[:, :-1]
    share = np.minimum(np.abs(np.cumsum(first, axis=1)), 1.0)
    # The millionth settles ties (half a grey level is common) the same way on every machine.
    grey = np.floor(255.0 * share + 0.5 + 1e-6).astype(np.uint8)
    return grey.reshape(outlines.n, SIZE, SIZE)[:, ::-1]


def _cut(
    a: NDArray[np.float64], b: NDArray[np.float64], owner: NDArray[np.int64], axis: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Cut the straight pieces a–b wherever they cross a whole number on ``axis``."""
    low = np.minimum(a[:, axis], b[:, axis])
    high = np.maximum(a[:, axis], b[:, axis])
    first = np.floor(low) + 1.0  # the first whole number above the lower end
    cuts = np.maximum(np.ceil(high) - first, 0.0).astype(np.int64)
    whole = cuts == 0
    if whole.all():
        return a, b, owner
    many = ~whole
    a_many, b_many, n = a[many], b[many], cuts[many] + 1
    row = np.repeat(np.arange(len(n)), n)
    step = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n)
    rising = b_many[row, axis] >= a_many[row, axis]
    # Number the pieces from the lower end, so that both directions cut at the very same points.
    span = (high - low)[many][row]
    lower = np.where(rising[:, None], a_many[row], b_many[row])
    upper = np.where(rising[:, None], b_many[row], a_many[row])
    line_below = first[many][row] + step - 1.0
    t_low = np.where(step == 0, 0.0, (line_below - low[many][row]) / span)
    t_high = np.where(step == n[row] - 1, 1.0, (line_below + 1.0 - low[many][row]) / span)
    p = lower + t_low[:, None] * (upper - lower)
    q = lower + t_high[:, None] * (upper - lower)
    starts = np.where(rising[:, None], p, q)
    ends = np.where(rising[:, None], q, p)
    return (
        np.concatenate([a[whole], starts]),
        np.concatenate([b[whole], ends]),
        np.concatenate([owner[whole], owner[many][row]]),
    )
