"""Outlines to pictures."""

import numpy as np
import pytest

from vlalign_lib.data import _glyph_manifest as manifest
from vlalign_lib.data._raster import SIZE, Outlines, _placement, rasterise, read_outlines

UNITS = 24.0  # one pixel a unit at 24 pixels an em


def outline_of(*polygons):
    """Straight contours of one character; it stands centred, with y = 0 eight pixels up."""
    segments = []
    for polygon in polygons:
        points = np.asarray(polygon, dtype=float)
        following = np.roll(points, -1, axis=0)
        segments.append(np.stack([points, (points + following) / 2, following], axis=1))
    joined = np.concatenate(segments)
    return Outlines(joined, np.zeros(len(joined), dtype=np.int64), 1, UNITS)


def box(left, bottom, right, top):
    return [(left, bottom), (right, bottom), (right, top), (left, top)]


def test_a_rectangle_covers_exactly_its_pixels():
    picture = rasterise(outline_of(box(0, 0, 4, 6)))[0]
    expected = np.zeros((SIZE, SIZE), dtype=np.uint8)
    expected[SIZE - 8 - 6 : SIZE - 8, 14:18] = 255
    np.testing.assert_array_equal(picture, expected)


def test_half_covered_pixels_are_half_grey():
    # 3 wide and centred: from 14.5 to 17.5. Half of 255 is 127.5, which rounds up.
    picture = rasterise(outline_of(box(0, 0, 3, 1.5)))[0]
    assert picture[SIZE - 9, 13:19].tolist() == [0, 128, 255, 255, 128, 0]
    assert picture[SIZE - 10, 13:19].tolist() == [0, 64, 128, 128, 64, 0]
    assert picture.astype(int).sum() == 2 * 128 + 2 * 255 + 2 * 64 + 2 * 128


def test_a_triangle_by_hand():
    picture = rasterise(outline_of([(0, 0), (2, 0), (0, 2)]))[0]
    assert picture[SIZE - 9, 15:17].tolist() == [255, 128]
    assert picture[SIZE - 10, 15:17].tolist() == [128, 0]


@pytest.mark.parametrize("backwards", [False, True])
def test_holes_are_empty_and_direction_does_not_matter(backwards):
    outer, hole = box(0, 0, 10, 10), box(3, 3, 7, 7)[::-1]
    contours = [outer[::-1], hole[::-1]] if backwards else [outer, hole]
    picture = rasterise(outline_of(*contours))[0]
    assert (picture == 255).sum() == 100 - 16
    assert (picture > 0).sum() == 84


def test_overlapping_contours_count_once():
    picture = rasterise(outline_of(box(0, 0, 6, 6), box(2, 2, 8, 8)))[0]
    assert picture.max() == 255
    assert (picture > 0).sum() == 36 + 36 - 16


def test_area_is_that_of_the_polygon():
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 17))
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * rng.uniform(5, 11, (17, 1))
    points[:, 1] += 3
    x, y = points.T
    area = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    picture = rasterise(outline_of(points))[0]
    # Rounding to 255 steps is at most half a step in each of the pixels on the border.
    assert picture.sum() / 255 == pytest.approx(area, abs=80 * 0.5 / 255)


def winding_by_rows(outlines, fine):
    """Share of sample points a pixel that lie inside, counting how often contours wind around."""
    scale, shift = _placement(outlines)
    curves = outlines.segments * scale[0] + shift[0]
    t = np.linspace(0, 1, 33)[None, :, None]
    start, control, end = (curves[:, None, k] for k in range(3))
    bent = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    a, b = bent[:, :-1].reshape(-1, 2), bent[:, 1:].reshape(-1, 2)
    samples = (np.arange(SIZE * fine) + 0.5) / fine
    inside = np.zeros((SIZE * fine, SIZE * fine), dtype=bool)
    for row, y in enumerate(samples):
        up = (a[:, 1] <= y) & (b[:, 1] > y)
        down = (b[:, 1] <= y) & (a[:, 1] > y)
        winding = np.zeros(SIZE * fine, dtype=int)
        for hits, turn in ((up, 1), (down, -1)):
            p, q = a[hits], b[hits]
            x = p[:, 0] + (y - p[:, 1]) / (q[:, 1] - p[:, 1]) * (q[:, 0] - p[:, 0])
            winding += turn * (x[:, None] < samples).sum(axis=0)
        inside[row] = winding != 0
    return inside.reshape(SIZE, fine, SIZE, fine).mean(axis=(1, 3))[::-1]


@pytest.mark.parametrize("character", "a&@ЖΩ♞⡿☃ﻼ䷿")
def test_equals_slow_counting_of_points_inside(character):
    outlines = read_outlines(manifest.open_font("sans"), np.array([ord(character)]))
    picture = rasterise(outlines)[0] / 255
    slow = winding_by_rows(outlines, fine=16)
    # Sixteen sample rows a pixel: a horizontal edge is off by half a row at most, 1/32.
    np.testing.assert_allclose(picture, slow, rtol=0, atol=1 / 32 + 1 / 255)
    assert picture.mean() == pytest.approx(slow.mean(), abs=1e-3)


def test_one_baseline_one_size_and_centred():
    font = manifest.open_font("sans")
    codes = np.array([ord(c) for c in "Hxg"])
    h, x, g = rasterise(read_outlines(font, codes))
    bottom = [np.flatnonzero(p.any(axis=1)).max() for p in (h, x, g)]
    assert bottom[0] == bottom[1] == SIZE - 9  # the baseline is eight pixels above the edge
    assert bottom[2] > bottom[0]
    columns = np.flatnonzero(h.any(axis=0))
    assert columns.min() + columns.max() == SIZE - 1


def test_what_is_too_large_is_made_to_fit_and_what_sticks_out_is_moved():
    tall = outline_of(box(0, -30, 4, 30))  # 60 units, of which 32 pixels may be used
    scale, _ = _placement(tall)
    assert scale[0] * UNITS == 12  # the largest whole number of pixels an em: 12/24·60 = 30
    assert rasterise(tall)[0].astype(int).sum() == 255 * 2 * 30
    deep = outline_of(box(0, -12, 2, 4))  # would end four pixels below the picture
    picture = rasterise(deep)[0]
    assert np.flatnonzero(picture.any(axis=1)).tolist() == list(range(16, 32))


def test_a_blank_is_blank():
    font = manifest.open_font("sans")
    pictures = rasterise(read_outlines(font, np.array([ord("a"), ord(" "), ord("b")])))
    assert pictures.any(axis=(1, 2)).tolist() == [True, False, True]
