"""The map of the book."""

import pytest
from matplotlib.colors import to_hex

from vlalign_lib.viz.book_map import NEEDS, STATIONS, book_map


def stops(figure):
    """Each station's stops as (column, line, filled)."""
    axes = figure.axes[0]
    return {
        (round(x), NEEDS[len(NEEDS) - 1 - round(y)], to_hex(points.get_facecolor()[0]) != "#ffffff")
        for points in axes.collections
        for x, y in points.get_offsets()
    }


def test_every_method_stops_where_it_needs_something():
    wanted = {
        (x, need, chapter in ("02", "03"))
        for x, (chapter, _, needs) in enumerate(STATIONS)
        for need in needs
    }
    assert stops(book_map(("02", "03"))) == wanted


def test_stations_come_in_the_order_of_the_book():
    chapters = [chapter for chapter, _, _ in STATIONS]
    assert chapters == sorted(chapters)
    labels = [text.get_text() for text in book_map().axes[0].get_xticklabels()]
    assert [label[:2] for label in labels] == chapters


def test_a_chapter_without_a_station_is_refused():
    with pytest.raises(ValueError, match="'01'"):
        book_map(("01",))
