"""The figures of chapter 02: halves, and accuracy against what is missing."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from looks import check_frame
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.text import Text

from vlalign_lib.viz import colour, digit_halves, missing_view_curves

mpl.use("agg")
RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.uniform(size=(10, 8, 4)), RNG.uniform(size=(10, 8, 4))
GONE = np.arange(10) < 3
SHARES = [0, 50, 100]
CURVES = {
    "single view": [0.84, 0.84, 0.84],
    "early": [0.96, 0.82, 0.67],
    "early + dropout": [(0.95, 0.94, 0.96), (0.9, 0.88, 0.92), (0.83, 0.8, 0.86)],
}

DRAWINGS = {
    "halves": lambda: digit_halves(LEFT, RIGHT, has_right=~GONE, fill=RIGHT.mean(0)),
    "curves": lambda: missing_view_curves(SHARES, CURVES),
    "frame": lambda: missing_view_curves(
        SHARES, CURVES, share=50, left=LEFT, right=RIGHT, has_right=~GONE
    ),
}
every = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())


def words(figure):
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


@every
def test_it_is_closed_and_stays_on_its_card(draw):
    check_frame(draw())


def test_halves_that_are_gone_leave_their_place_empty_or_filled():
    assert len(digit_halves(LEFT, RIGHT).axes[0].images) == 20
    assert len(digit_halves(LEFT, RIGHT, has_right=~GONE).axes[0].images) == 17
    filled = digit_halves(LEFT, RIGHT, has_right=~GONE, fill=RIGHT.mean(0)).axes[0].images
    assert len(filled) == 20
    assert np.allclose(filled[1].get_array(), RIGHT.mean(0))
    each = digit_halves(LEFT, RIGHT, has_right=~GONE, fill=LEFT).axes[0].images
    assert np.allclose(each[5].get_array(), LEFT[2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"right": RIGHT[:4]}, "as many right halves"),
        ({"has_right": np.ones(10)}, "10 booleans"),
        ({"left": LEFT.reshape(10, -1)}, r"expected pictures \(n, h, w\)"),
    ],
)
def test_what_is_no_pair_of_halves_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        digit_halves(**({"left": LEFT, "right": RIGHT} | change))


def test_a_curve_has_its_colour_its_dash_and_its_band():
    axes = missing_view_curves(SHARES, CURVES).axes[0]
    single, early, dropout = axes.lines
    assert to_hex(single.get_color()) == colour("SingleView").lower()
    assert early.get_color() == dropout.get_color() == colour("EarlyFusion")
    assert early.get_linestyle() == "-"
    assert dropout.get_linestyle() == "--"
    assert len(axes.collections) == 1
    assert np.allclose(dropout.get_ydata(), [0.95, 0.9, 0.83])


def test_estimates_draw_the_same_band_as_triples():
    from vlalign_lib.experiments import Estimate

    given = [Estimate(*triple, 5, "t") for triple in CURVES["early + dropout"]]
    bands = [
        missing_view_curves(SHARES, {"early": curve}).axes[0].collections[0].get_paths()[0].vertices
        for curve in (given, CURVES["early + dropout"])
    ]
    assert np.array_equal(*bands)


def test_markers_stand_at_the_share_and_the_names_say_the_value():
    figure = missing_view_curves(SHARES, CURVES, share=50)
    marked = [line for line in figure.axes[0].lines if line.get_marker() not in ("", "None")]
    assert [float(line.get_xdata()[0]) for line in marked] == [50, 50, 50]
    said = {t.get_text() for t in words(figure)}
    assert {"single view: 0.84", "early: 0.82", "early + dropout: 0.90"} <= said


def test_names_at_the_ends_do_not_overlap():
    close = {name: [0.9, 0.9 + 0.001 * i] for i, name in enumerate(("early", "late", "single"))}
    figure = missing_view_curves([0, 100], close)
    FigureCanvasAgg(figure).draw()
    boxes = sorted((t.get_window_extent() for t in figure.axes[0].texts), key=lambda b: b.y0)
    assert all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((SHARES, {}), "at least one"),
        ((SHARES, {"early": [1, 2]}), "expected 3 values"),
        ((SHARES, {"middle": [1, 2, 3]}), "no colour"),
    ],
)
def test_curves_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        missing_view_curves(*arguments)


def test_a_share_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match="expected one of"):
        missing_view_curves(SHARES, CURVES, share=30)
