"""Every pair of methods: who is ahead, who is behind, and what the interval leaves open."""

import itertools
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from looks import check_frame, contrast
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from vlalign_lib.viz import difference_matrix

mpl.use("agg")
DIFFERENCES = {
    ("SAM", "CCA"): (0.20, 0.18, 0.22),
    ("CCL", "SAM"): SimpleNamespace(mean=-0.01, low=-0.03, high=0.01),  # the other way round
    ("CCA", "CCL"): (-0.10, -0.12, -0.08),
}
NAMES = ["SAM", "CCL", "CCA"]


def many(n, name="method with a name {}"):
    methods = [name.format(i) for i in range(n)]
    return {
        (methods[i], methods[j]): (0.01 * (j - i), 0.01 * (j - i) - 0.035, 0.01 * (j - i) + 0.035)
        for i, j in itertools.combinations(range(n), 2)
    }


DRAWINGS = {
    "three": lambda: difference_matrix(DIFFERENCES, NAMES, title="Wikipedia"),
    "one pair": lambda: difference_matrix({("$a_1$", "b"): (0.1, 0.0, 0.2)}),
    "twenty": lambda: difference_matrix(many(20), title="Twenty methods"),
    "most": lambda: difference_matrix(
        many(24, "a method whose name is far too long for its place, {}"),
        title="a title that is much longer than the width of a page, " * 3,
    ),
}
every = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())
VERDICTS = {"^": "ahead", "v": "behind", "o": "noise"}


def shown(figure):
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


def cell_of(axes, x, y):
    (box,) = [
        patch
        for patch in axes.patches
        if patch.get_x() < x < patch.get_x() + patch.get_width()
        and patch.get_y() < y < patch.get_y() + patch.get_height()
    ]
    return box


def cells(figure):
    """Verdict and shade by (row, column), read off the marks and the names beside and above."""
    axes = figure.axes[0]
    above = [t for t in shown(figure) if t.get_rotation() == 90]
    beside = [t for t in shown(figure) if t.get_ha() == "right"]
    found = {}
    for line in axes.lines:
        x, y = float(line.get_xdata()[0]), float(line.get_ydata()[0])
        rows = [t.get_text() for t in beside if abs(t.get_position()[1] - y) < 1e-6]
        columns = [t.get_text() for t in above if abs(t.get_position()[0] - x) < 1e-6]
        if rows:  # what is left is the legend
            shade = to_rgb(cell_of(axes, x, y).get_facecolor())
            found[rows[0], columns[0]] = VERDICTS[line.get_marker()], shade
    return found


@every
def test_it_is_closed_and_nothing_leaves_it(draw):
    check_frame(draw())


@every
def test_text_is_legible_and_nothing_lies_on_it(draw):
    figure = draw()
    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    texts = shown(figure)
    assert min(text.get_fontsize() for text in texts) >= 9
    assert min(contrast(text.get_color(), "white") for text in texts) >= 4.5
    extents = [text.get_window_extent(drawn.get_renderer()) for text in texts]
    boxes = [patch.get_window_extent() for patch in figure.axes[0].patches]
    for i, (text, one) in enumerate(zip(texts, extents, strict=True)):
        for other in extents[i + 1 :] + boxes:
            overlap = one.x0 < other.x1 and other.x0 < one.x1
            overlap = overlap and one.y0 + 1 < other.y1 - 1 and other.y0 + 1 < one.y1 - 1
            assert not overlap, f"something lies on {text.get_text()!r}"


@every
def test_marks_stand_out_and_stay_in_square_cells(draw):
    figure = draw()
    FigureCanvasAgg(figure).draw()
    axes = figure.axes[0]
    for line in axes.lines:
        box = cell_of(axes, line.get_xdata()[0], line.get_ydata()[0])
        assert contrast(line.get_color(), box.get_facecolor()) >= 4.5
        extent = box.get_window_extent()
        assert extent.width == pytest.approx(extent.height, rel=0.05)
        assert line.get_markersize() < 72 * extent.width / figure.dpi - 4


def test_every_cell_says_how_its_row_fares():
    verdicts = {key: verdict for key, (verdict, _) in cells(DRAWINGS["three"]()).items()}
    assert verdicts == {
        ("SAM", "CCA"): "ahead",
        ("CCA", "SAM"): "behind",
        ("CCL", "CCA"): "ahead",
        ("CCA", "CCL"): "behind",
        ("SAM", "CCL"): "noise",
        ("CCL", "SAM"): "noise",
    }


def test_the_verdict_has_its_colour_and_a_larger_difference_a_stronger_one():
    found = {key: np.array(shade) for key, (_, shade) in cells(DRAWINGS["three"]()).items()}
    for large, small, dominant in (
        (("SAM", "CCA"), ("CCL", "CCA"), 1),
        (("CCA", "SAM"), ("CCA", "CCL"), 0),
    ):
        for key in (large, small):
            assert np.argmax(found[key]) == dominant
        assert contrast(found[large], "white") > 1.5 * contrast(found[small], "white")
    assert np.ptp(found["SAM", "CCL"]) == 0, "grey"


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.1, 0.0, 0.2), "noise"),
        ((0.1, 1e-6, 0.2), "ahead"),
        ((-0.1, -0.2, 0.0), "noise"),
        ((-0.1, -0.2, -1e-6), "behind"),
        ((0.0, 0.0, 0.0), "noise"),
    ],
)
def test_an_interval_that_holds_zero_decides_nothing(interval, verdict):
    figure = difference_matrix({("a", "b"): interval})
    assert cells(figure)["a", "b"][0] == verdict


@pytest.mark.parametrize(
    ("differences", "says"),
    [
        (DIFFERENCES, "1 of 3 pairs is within noise"),
        ({("a", "b"): (0.1, 0.0, 0.2)}, "1 of 1 pairs is within noise"),
        ({("a", "b"): (0.1, 0.05, 0.2)}, "0 of 1 pairs are within noise"),
        (many(19), "51 of 171 pairs are within noise"),  # 18 + 17 + 16 with a step of 1, 2, 3
    ],
)
def test_the_undecided_pairs_are_counted(differences, says):
    assert says in [text.get_text() for text in shown(difference_matrix(differences))]


def order_of(figure):
    beside = [t for t in shown(figure) if t.get_ha() == "right"]
    above = [t for t in shown(figure) if t.get_rotation() == 90]
    rows = sorted(beside, key=lambda t: t.get_position()[1])
    columns = sorted(above, key=lambda t: t.get_position()[0])
    return [t.get_text() for t in rows], [t.get_text() for t in columns]


def test_rows_and_columns_have_the_order_of_the_names_or_of_appearance():
    assert order_of(difference_matrix(DIFFERENCES, NAMES)) == (NAMES, NAMES)
    assert order_of(difference_matrix(DIFFERENCES)) == (["SAM", "CCA", "CCL"],) * 2


def test_the_legend_explains_marks_and_colours():
    figure = difference_matrix(DIFFERENCES, NAMES, title="Wikipedia")
    said = " ".join(text.get_text() for text in shown(figure))
    for words in ("Wikipedia", "row ahead of column", "row behind column", "interval holds 0",
                  "difference in class mAP", "−0.200", "+0.200"):  # fmt: skip
        assert words in said
    in_cells = {"^": 2, "v": 2, "o": 2}
    for marker, count in in_cells.items():
        drawn = [line for line in figure.axes[0].lines if line.get_marker() == marker]
        assert len(drawn) == count + 1, "once more in the legend"


@pytest.mark.parametrize(
    ("differences", "names", "message"),
    [
        ([0.5], None, r"differences: expected \{\(first, second\)"),
        ({}, None, "at least one pair"),
        ({"SAM": (0, -1, 1)}, None, r"keys \(first, second\), two names, got 'SAM'"),
        ({("a", "b", "c"): (0, -1, 1)}, None, "two names"),
        ({("a", 1): (0, -1, 1)}, None, "two names"),
        ({("a", "a"): (0, -1, 1)}, None, r"\['a', 'a'\]: a method does not differ from itself"),
        ({("a", "b"): (0, -1, 1), ("b", "a"): (0, -1, 1)}, None, r"\['b', 'a'\]: given twice"),
        ({("a", "b"): 0.5}, None, r"\['a', 'b'\]: expected \(mean, low, high\)"),
        ({("a", "b"): (np.nan, 0, 1)}, None, r"expected \(mean, low, high\)"),
        ({("a", "b"): (0.5, 0.6, 0.7)}, None, "does not hold 0.5"),
        ({("a", "b"): (0.5, None, None)}, None, "expected an interval.*measure more seeds"),
        ({("a", "b"): (0.5, -np.inf, 1)}, None, "expected an interval"),
        ({("a", "b"): (0, -1, 1), ("a", "c"): (0, -1, 1)}, None, r"3 methods once, \(b, c\) not"),
        ({("a", str(i)): (0, -1, 1) for i in range(4)}, None, "and 3 more not there"),
        (DIFFERENCES, ["SAM", "CCL", "CCA", "JRL"], "JRL has no differences; there are SAM, CCA"),
        (DIFFERENCES, ["SAM", "CCL"], "leaves out CCA"),
        (DIFFERENCES, ["SAM", "CCL", "CCA", "SAM"], "SAM stands there twice"),
        (DIFFERENCES, [], "names: expected the methods' names"),
        (DIFFERENCES, [1, 2], "names: expected the methods' names"),
        (many(25), None, "up to 24 methods.*got 25"),
    ],
)
def test_bad_input_is_named(differences, names, message):
    with pytest.raises(ValueError, match=message):
        difference_matrix(differences, names)


def test_a_verdict_of_ones_own_replaces_the_intervals():
    decided = {("SAM", "CCA"): True, ("SAM", "CCL"): np.True_, ("CCL", "CCA"): False}
    figure = difference_matrix(DIFFERENCES, NAMES, decided=decided)
    verdicts = {key: verdict for key, (verdict, _) in cells(figure).items()}
    assert verdicts == {
        ("SAM", "CCA"): "ahead",
        ("CCA", "SAM"): "behind",
        ("CCL", "CCA"): "noise",
        ("CCA", "CCL"): "noise",
        ("SAM", "CCL"): "ahead",
        ("CCL", "SAM"): "behind",
    }
    said = [text.get_text() for text in shown(figure)]
    assert "1 of 3 pairs is not decided" in said
    assert "not decided" in said
    assert not [words for words in said if "within noise" in words]


@pytest.mark.parametrize(
    ("decided", "message"),
    [
        ([True], r"decided: expected \{\(first, second\)"),
        ({("SAM", "CCA"): True}, "expected True or False for CCL and SAM, got None"),
        (dict.fromkeys(DIFFERENCES, 0.04), "expected True or False for SAM and CCA, got 0.04"),
    ],
)
def test_a_verdict_that_does_not_tell_is_refused(decided, message):
    with pytest.raises(ValueError, match=message):
        difference_matrix(DIFFERENCES, NAMES, decided=decided)
