"""Two measurements against each other: marks, whiskers, and names that hide nothing."""

from functools import cache
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from looks import check_frame
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from vlalign_lib.viz import CYCLE, MARKERS, colour, trade_off

mpl.use("agg")
LABELS = {"xlabel": "class mAP (0 to 1)", "ylabel": "partners among ten (share)"}
NAMES = ["CCA", "CFA", "KernelCCA", "LGCFL", "JRL", "SM", "SCM", "Bimodal AE", "Corr-AE",
         "Corr-Cross-AE", "Corr-Full-AE", "DCCA", "CMDN-style", "Deep-SM", "ACMR", "CCL, coarse",
         "Triplet, semi-hard", "SAM, reconstructed", "InfoNCE"]  # fmt: skip


class FakeEstimate:
    def __init__(self, mean, low, high):
        self.mean, self.low, self.high = mean, low, high


def cluster(spread, seed=0):
    """Nineteen methods with whiskers: most of them near two places, as in a table of results."""
    rng = np.random.default_rng(seed)
    middles = np.where(np.arange(19)[:, None] % 2, [0.85, 0.15], [0.5, 0.45])
    points = middles + spread * rng.normal(size=(19, 2))
    return {
        name: tuple(FakeEstimate(v, v - 0.01, v + 0.02) for v in map(float, point))
        for name, point in zip(NAMES, points, strict=True)
    }


DRAWINGS = {
    "two clusters": lambda: trade_off(cluster(0.04), chance=(0.1, 0.02), **LABELS),
    "two tight clusters": lambda: trade_off(cluster(0.015, 1), chance=(0.1, 0.02), **LABELS),
    "all in a corner": lambda: trade_off(
        {name: (0.9 + 0.002 * i, 0.9 + 0.003 * (i % 4)) for i, name in enumerate(NAMES)},
        chance=(0.1, 0.1), **LABELS,
    ),
    "ten in one point": lambda: trade_off(dict.fromkeys(NAMES[:10], (0.5, 0.5)), **LABELS),
    "one": lambda: trade_off({"CCA": (0.5, 0.2)}, **LABELS),
}  # fmt: skip
every = pytest.mark.parametrize("name", DRAWINGS)


@cache
def drawing(name):
    """The figure, drawn once for all that only look at it."""
    figure = DRAWINGS[name]()
    FigureCanvasAgg(figure).draw()
    return figure


def marks(figure):
    """The line that draws the mark of each method, in the order given."""
    return [line for line in figure.axes[0].lines if line.get_marker() in MARKERS
            and line.get_markersize() > 5]  # fmt: skip


def names_of(figure):
    return [text for text in figure.axes[0].texts if text.get_text()]


def leaders(figure):
    """Where each line that joins a mark to its name starts and ends."""
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "leader"]
    return [tuple(map(tuple, line.get_xydata())) for line in lines]


def box_of(text):
    return Text.get_window_extent(text)


def square_of(mark):
    """The box that a mark takes, in pixels."""
    (x, y) = mark.axes.transData.transform(mark.get_xydata())[0]
    half = mark.get_markersize() / 2 * mark.axes.figure.dpi / 72
    return Bbox([[x - half, y - half], [x + half, y + half]])


def test_each_method_stands_where_it_was_measured_in_its_colour_and_shape():
    points = {"CCA": (0.4, 0.25), "mine": (0.3, 0.1), "Triplet, semi-hard": (0.8, 0.14)}
    figure = trade_off(points, **LABELS)
    found = marks(figure)
    assert [tuple(line.get_xydata()[0]) for line in found] == list(points.values())
    shades = [colour("CCA"), CYCLE[1], colour("Triplet")]
    assert [to_hex(line.get_color()) for line in found] == [shade.lower() for shade in shades]
    assert [line.get_marker() for line in found] == list(MARKERS[:3])
    assert {text.get_text().strip() for text in names_of(figure)} == set(points)


def test_whiskers_reach_from_low_to_high_in_each_direction():
    points = {
        "CCA": (FakeEstimate(0.4, 0.35, 0.5), FakeEstimate(0.2, 0.1, 0.25)),
        "SM": ((0.8, 0.7, 0.9), (0.1, None, None)),
        "one seed": (0.3, FakeEstimate(0.6, np.nan, 0.7)),
    }
    lines = [
        line
        for line in trade_off(points, **LABELS).axes[0].lines
        if len(line.get_xdata()) > 1 and line.get_gid() is None
    ]
    found = [(tuple(line.get_xdata()), tuple(line.get_ydata())) for line in lines]
    assert found == [
        ((0.35, 0.5), (0.2, 0.2)),
        ((0.4, 0.4), (0.1, 0.25)),
        ((0.7, 0.9), (0.1, 0.1)),
    ]
    shades = [colour(name) for name in ("CCA", "CCA", "SM")]
    assert [line.get_color() for line in lines] == shades


def test_chance_is_dashed_where_it_lies_and_named():
    figure = trade_off({"CCA": (0.4, 0.3)}, chance=(0.11, 0.02), **LABELS)
    across, up = (line for line in figure.axes[0].lines if line.get_linestyle() == "--")
    assert list(across.get_xdata()) == [0.11, 0.11]
    assert list(up.get_ydata()) == [0.02, 0.02]
    assert {across.get_color(), up.get_color()} == {colour("chance")}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["chance"]
    assert not trade_off({"CCA": (0.4, 0.3)}, **LABELS).legends


def test_axes_say_what_they_show():
    axes = trade_off({"CCA": (0.4, 0.3)}, **LABELS).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == tuple(LABELS.values())


@every
def test_no_name_covers_another_or_a_mark(name):
    figure = drawing(name)
    boxes = [(text.get_text(), box_of(text)) for text in names_of(figure)]
    for (a, one), (b, other) in combinations(boxes, 2):
        assert not one.overlaps(other), (a, b)
    for text, box in boxes:
        assert not any(box.overlaps(square_of(mark)) for mark in marks(figure)), text


@every
def test_names_stay_inside_the_axes(name):
    figure = drawing(name)
    inside = figure.axes[0].get_window_extent()
    for text in names_of(figure):
        box = box_of(text)
        assert box.x0 >= inside.x0 - 1, text
        assert box.y0 >= inside.y0 - 1, text
        assert box.x1 <= inside.x1 + 1, text
        assert box.y1 <= inside.y1 + 1, text


@every
def test_a_line_joins_each_mark_to_its_name(name):
    figure = drawing(name)
    joined = leaders(figure)
    assert {end for _, end in joined} == {text.get_position() for text in names_of(figure)}
    assert sorted(start for start, _ in joined) == sorted(
        tuple(mark.get_xydata()[0]) for mark in marks(figure)
    )


def test_names_stand_on_the_side_of_their_mark_in_the_order_of_the_marks():
    points = {"low": (0.1, 0.2), "high": (0.2, 0.9), "right": (0.9, 0.5), "middle": (0.15, 0.21)}
    figure = trade_off(points, **LABELS)
    place = {text.get_text().strip(): text.get_position() for text in names_of(figure)}
    assert place["low"][0] == place["high"][0] == place["middle"][0] < 0.1
    assert place["right"][0] > 0.9
    assert place["low"][1] < place["middle"][1] < place["high"][1]


@every
def test_it_is_closed_wide_and_legible(name):
    figure = drawing(name)
    check_frame(figure)


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ([0.5], {}, r"points: expected \{method: \(x, y\)\}, got list"),
        ({}, {}, "points: expected at least one"),
        ({"A": 0.5}, {}, r"points\['A'\]: expected a pair \(x, y\), got 0.5"),
        ({"A": (0.5, 0.1, 0.2)}, {}, r"points\['A'\]: expected a pair"),
        ({"A": (np.nan, 0.1)}, {}, r"points\['A'\], x: expected a finite number, got nan"),
        ({"A": (0.1, "b")}, {}, r"points\['A'\], y: expected \(mean, low, high\).*got 'b'"),
        ({"A": (0.1, None)}, {}, r"points\['A'\], y: expected"),
        ({"A": (0.1, (0.5, 0.6, 0.7))}, {}, r"points\['A'\], y: the interval .* does not hold"),
        ({"A": (0.1, 0.2)}, {"xlabel": " "}, "xlabel: say what is measured"),
        ({"A": (0.1, 0.2)}, {"ylabel": ""}, "ylabel: say what is measured"),
        ({"A": (0.1, 0.2)}, {"chance": 0.1}, "chance: expected a pair"),
        ({"A": (0.1, 0.2)}, {"chance": (0.1, np.inf)}, "chance, y: expected a finite number"),
    ],
)
def test_bad_input_is_named(points, options, message):
    with pytest.raises(ValueError, match=message):
        trade_off(points, **(LABELS | options))
