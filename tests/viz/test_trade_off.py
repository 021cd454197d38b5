"""Two measurements against each other: marks, whiskers, and names that hide nothing."""

import io
from functools import cache
from itertools import combinations, pairwise

import matplotlib as mpl
import numpy as np
import pytest
from looks import check_frame
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from vlalign_lib.viz import CYCLE, MARKERS, colour, trade_off
from vlalign_lib.viz._labels import _covered, _cross, _inside, leaders_of, place_labels

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
    "two clusters": lambda: trade_off(cluster(0.04), chance=(0.1, 0.02), title="Two", **LABELS),
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
    """The leader of each name that has one: it is drawn right after its name."""
    texts = figure.axes[0].texts
    return {a.get_text(): b for a, b in pairwise(texts) if not b.get_text()}


def box_of(text):
    """The box of the words alone: a Text, whatever its arrow."""
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
    assert [text.get_text() for text in names_of(figure)] == list(points)
    assert [text.xy for text in names_of(figure)] == list(points.values())


def test_whiskers_reach_from_low_to_high_in_each_direction():
    points = {
        "CCA": (FakeEstimate(0.4, 0.35, 0.5), FakeEstimate(0.2, 0.1, 0.25)),
        "SM": ((0.8, 0.7, 0.9), (0.1, None, None)),
        "one seed": (0.3, FakeEstimate(0.6, np.nan, 0.7)),
    }
    lines = [
        line for line in trade_off(points, **LABELS).axes[0].lines if len(line.get_xdata()) > 1
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
    axes = trade_off({"CCA": (0.4, 0.3)}, title="Two questions", **LABELS).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == tuple(LABELS.values())
    assert axes.get_title(loc="left") == "Two questions"


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
def test_a_name_stands_next_to_its_mark_or_a_leader_joins_them(name):
    figure = drawing(name)
    point = figure.dpi / 72
    led = 0
    for text, mark in zip(names_of(figure), marks(figure), strict=True):
        box, square = box_of(text), square_of(mark)
        gap = max(box.x0 - square.x1, square.x0 - box.x1, box.y0 - square.y1, square.y0 - box.y1)
        if gap < 8 * point:
            continue
        led += 1
        leader = leaders(figure)[text.get_text()]
        assert leader.xy == text.xy
        start = np.array([square.x0 + square.x1, square.y0 + square.y1]) / 2
        end = start + np.array(leader.get_position()) * point
        assert box.padded(3 * point).contains(*end), text
        assert not box.padded(-point).contains(*end), text
    assert (led > 0) == (name != "one")


@every
def test_it_is_closed_wide_and_legible(name):
    figure = drawing(name)
    check_frame(figure)
    shown = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert min(text.get_fontsize() for text in shown) >= 9


def test_with_room_no_name_needs_a_leader():
    lattice = {name: (i % 4 / 4, i // 4 / 5) for i, name in enumerate(NAMES)}
    figure = trade_off(lattice, **LABELS)
    assert leaders(figure) == {}
    to_the_right = [text.get_position()[0] > 0 for text in names_of(figure)]
    assert all(right for i, right in enumerate(to_the_right) if i % 4 < 3)  # the border is near


def test_it_is_the_same_every_time():
    def pixels():
        out = io.BytesIO()
        trade_off(cluster(0.04), **LABELS).savefig(out, dpi=60, metadata={"Software": None})
        return out.getvalue()

    assert pixels() == pixels()


# where the labels go

BOUNDS = np.array([0.0, 0.0, 400.0, 300.0])
NO_LINES = np.empty((0, 4))


def place(marks, sizes=(40, 10), bounds=BOUNDS, lines=NO_LINES):
    marks = np.array(marks, dtype=float)
    return place_labels(marks, 4, np.tile(np.array(sizes, dtype=float), (len(marks), 1)), bounds,
                        np.array(lines, dtype=float))  # fmt: skip


def test_with_room_a_label_stands_on_the_right():
    middles = place([[50, 50], [200, 200]])
    assert middles == pytest.approx(np.array([[76.5, 50], [226.5, 200]]))  # 4 + 0.25 · 10 + 20


def test_at_the_right_border_it_goes_to_the_left():
    assert place([[380, 50]])[0] == pytest.approx([353.5, 50])


def test_it_gives_way_to_a_mark_and_to_a_line():
    beside = place([[100, 100], [130, 100]])
    assert beside[0] == pytest.approx([73.5, 100])
    assert beside[1] == pytest.approx([156.5, 100])
    (off,) = place([[100, 100]], lines=[[100, 100, 160, 100]])
    assert off == pytest.approx([73.5, 100])


def test_labels_of_one_point_spread_around_it():
    middles = place([[200, 150]] * 12)
    for one, other in combinations(middles, 2):
        assert (np.abs(one - other) >= [40 - 1e-9, 10 - 1e-9]).any()
    assert (np.abs(middles - [200, 150]) >= [24, 9]).any(axis=1).all()


def test_a_leader_reaches_the_nearest_point_of_a_far_label_only():
    boxes = np.array([[20.0, -5, 60, 5], [6, -5, 46, 5], [20, 30, 60, 40]])
    own = np.zeros((3, 2))
    found = leaders_of(own, boxes, own, 4, 10)
    assert found.tolist() == [[0, 0, 20, 0], [0, 0, 0, 0], [0, 0, 20, 30]]


def test_a_near_label_has_a_leader_where_another_mark_is_about_as_near():
    box, own = np.array([[6.0, -5, 46, 5]]), np.zeros((1, 2))
    for rival, led in (([53.0, 0.0], True), ([54.0, 0.0], False), ([0.0, 4.0], False)):
        (leader,) = leaders_of(own, box, np.array([[0.0, 0.0], rival]), 4, 10)
        assert leader.tolist() == [0, 0, 6 * led, 0]


def test_the_length_of_a_segment_inside_a_box_is_that_of_many_small_steps():
    rng = np.random.default_rng(0)
    segments, corners = rng.uniform(size=(20, 4)), np.sort(rng.uniform(size=(10, 2, 2)), axis=1)
    segments[0, 2:] = segments[0, :2]  # a point
    segments[1, 2] = segments[1, 0]  # upright
    boxes = corners.reshape(10, 4)
    t = (np.arange(4000) + 0.5) / 4000
    for segment, lengths in zip(segments, _inside(segments, boxes), strict=True):
        steps = segment[:2] + t[:, None] * (segment[2:] - segment[:2])
        for box, length in zip(boxes, lengths, strict=True):
            share = ((steps >= box[:2]) & (steps <= box[2:])).all(axis=1).mean()
            whole = np.linalg.norm(segment[2:] - segment[:2])
            assert length == pytest.approx(share * whole, abs=2e-3)


def test_a_sliver_of_cover_costs_more_than_any_distance_and_touching_nothing():
    box = np.array([[0.0, 0, 40, 10]])
    assert _covered(box, np.array([[39.99, 9.99, 60, 20]]), 10) > 1000
    assert _covered(box, np.array([[40.0, 0, 60, 10]]), 10) == 0
    assert _covered(box, np.array([[0.0, 0, 40, 5]] * 2), 10) == pytest.approx(2 * 1000 + 2 * 200)


def test_segments_that_cross():
    some = np.array([[0.0, 0, 2, 2], [0, 0, 0.5, 0.5], [5, 5, 5, 5]])
    others = np.array([[0.0, 2, 2, 0], [3, 0, 4, 0]])
    assert _cross(some, others).tolist() == [[True, False], [False, False], [False, False]]


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ([0.5], {}, r"points: expected \{method: \(x, y\)\}, got list"),
        ({}, {}, "points: expected at least one method"),
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
