"""The table of results: the numbers given, whiskers in their places, the best marked."""

import itertools
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from looks import check_frame, contrast
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from vlalign_lib.viz import colour, results_table

mpl.use("agg")
PRINTED = {
    "Pascal": {"CCA": 0.206, "CFA": 0.473, "SAM": 0.640},
    "Wikipedia": {"CCA": 0.286, "SAM": 0.487},
}
OURS = {
    "wikipedia": {"cca": (0.20, 0.10, 0.30), "sam": SimpleNamespace(mean=0.4, low=0.35, high=0.5)},
    "digits": {"cca": (0.40, 0.38, 0.42), "mine": (0.9, None, None), "sam": None},
}
METHODS = ["CCA", "CFA", "KCCA", "Corr-Cross-AE", "Deep-SM", "a method of my own"]
TALL = {
    "printed": {f"set {i}": {f"{m} {k}": 0.3 + 0.01 * (i + k) for m in METHODS for k in (1, 2)}
                for i in range(3)},
    "ours": {f"set {i}": {f"{m} {k}": (0.3 + 0.03 * k, 0.2, 0.3 + 0.04 * k) for m in METHODS
                          for k in range(4)}
             for i in range(4)},
}  # fmt: skip
DRAWINGS = {
    "short": lambda: results_table(PRINTED, OURS),
    "tall": lambda: results_table(**TALL),
    "wide": lambda: results_table(
        {f"a set with a long name {i}": {"CCA": 0.1 * i, "SAM": 0.75} for i in range(8)},
        {"one": {"a method whose name is far too long for its place": (0.5, 0.4, 0.6)}},
    ),
    "one cell": lambda: results_table({"a": {"CCA": 0.5}}, {"b": {"CCA": (0.5, None, None)}}),
}
every = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())


def shown(where):
    return [t for t in where.findobj(Text) if t.get_text().strip() and t.get_visible()]


def words(axes):
    return [text.get_text() for text in shown(axes)]


def cell_of(axes, x, y):
    """The cell under a point, in data units."""
    found = [
        patch
        for patch in axes.patches
        if patch.get_x() < x < patch.get_x() + patch.get_width()
        and patch.get_y() < y < patch.get_y() + patch.get_height()
    ]
    return found[0] if found else None


def numbers(axes):
    """What is written in the cells, by (column, row), with the text itself."""
    texts = shown(axes)
    cells = {}
    for text in texts:
        x, y = text.get_position()
        box = cell_of(axes, x, y)
        # a row's name starts at the left of its row, a column's name is over its middle
        row = [t for t in texts if t.get_ha() == "left" and abs(t.get_position()[1] - y) < 1e-6]
        if box is None or not row or text in row:
            continue
        middle = box.get_x() + box.get_width() / 2
        (head,) = [t for t in texts if t.get_va() == "bottom"
                   and abs(t.get_position()[0] - middle) < 1e-6]  # fmt: skip
        cells[head.get_text(), row[0].get_text()] = text
    return cells


@every
def test_it_is_closed_and_nothing_leaves_it(draw):
    check_frame(draw())


@every
def test_text_is_legible_and_no_word_lies_on_another(draw):
    figure = draw()
    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    texts = shown(figure)
    assert min(text.get_fontsize() for text in texts) >= 9
    boxes = [text.get_window_extent(drawn.get_renderer()) for text in texts]
    for (one, first), (two, second) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        overlap = first.x0 < second.x1 and second.x0 < first.x1
        overlap = overlap and first.y0 + 1 < second.y1 - 1 and second.y0 + 1 < first.y1 - 1
        assert not overlap, f"{one.get_text()!r} lies on {two.get_text()!r}"


@every
def test_numbers_stay_in_their_cells_clear_of_the_whiskers(draw):
    figure = draw()
    drawn = FigureCanvasAgg(figure)
    drawn.draw()
    for axes in figure.axes:
        lines = [line.get_window_extent(drawn.get_renderer()) for line in axes.lines]
        for text in numbers(axes).values():
            box = text.get_window_extent(drawn.get_renderer())
            around = cell_of(axes, *text.get_position()).get_window_extent()
            assert around.x0 < box.x0 < box.x1 < around.x1
            assert around.y0 < box.y0 + 1
            assert box.y1 - 1 < around.y1
            assert not any(box.overlaps(line) for line in lines)


@every
def test_text_stands_out_from_its_cell(draw):
    for axes in draw().axes:
        for text in shown(axes):
            box = cell_of(axes, *text.get_position())
            ground = "white" if box is None else box.get_facecolor()
            assert contrast(text.get_color(), ground) >= 4.5


def test_printed_numbers_stand_in_their_cells():
    upper = results_table(PRINTED, OURS).axes[0]
    assert {key: text.get_text() for key, text in numbers(upper).items()} == {
        ("Pascal", "CCA"): "0.206",
        ("Pascal", "CFA"): "0.473",
        ("Pascal", "SAM"): "0.640",
        ("Wikipedia", "CCA"): "0.286",
        ("Wikipedia", "CFA"): "–",
        ("Wikipedia", "SAM"): "0.487",
    }


def test_ours_stand_beneath_with_rows_in_the_order_they_appear():
    upper, lower = results_table(PRINTED, OURS).axes
    assert upper.get_position().y0 >= lower.get_position().y1
    rows = sorted((t for t in shown(lower) if t.get_text() in ("cca", "sam", "mine")),
                  key=lambda t: t.get_position()[1])  # fmt: skip
    assert [t.get_text() for t in rows] == ["cca", "sam", "mine"]
    assert {key: text.get_text() for key, text in numbers(lower).items()
            if text.get_text() != "–"} == {
        ("wikipedia", "cca"): "0.200",
        ("wikipedia", "sam"): "0.400",
        ("digits", "cca"): "0.400",
        ("digits", "mine"): "0.900",
    }  # fmt: skip


def test_the_titles_and_the_metric_are_written():
    upper, lower = results_table(PRINTED, OURS).axes
    assert {"the paper", "class mAP"} <= set(words(upper))
    assert {"we measure", "class mAP"} <= set(words(lower))
    assert "scale runs from its lowest low to its highest high" in " ".join(words(lower))


def test_a_missing_number_is_hatched_and_a_given_one_is_not():
    for axes in results_table(PRINTED, OURS).axes:
        for text in numbers(axes).values():
            hatched = cell_of(axes, *text.get_position()).get_hatch() is not None
            assert hatched == (text.get_text() == "–")


def test_the_best_of_each_column_is_bold_and_darkest_and_the_worst_lightest():
    for axes, best, worst in zip(
        results_table(PRINTED, OURS).axes,
        ({("Pascal", "SAM"), ("Wikipedia", "SAM")}, {("wikipedia", "sam"), ("digits", "mine")}),
        ({("Pascal", "CCA"), ("Wikipedia", "CCA")}, {("wikipedia", "cca"), ("digits", "cca")}),
        strict=True,
    ):
        cells = numbers(axes)
        assert {key for key, text in cells.items() if text.get_weight() == "bold"} == best
        shades = {key: to_hex(cell_of(axes, *text.get_position()).get_facecolor())
                  for key, text in cells.items()}  # fmt: skip
        darkest, lightest = ({shades[key] for key in keys} for keys in (best, worst))
        assert len(darkest) == len(lightest) == 1, "each column has the whole range"
        assert contrast(*darkest, "white") > 3 > 1.2 > contrast(*lightest, "white")


def test_numbers_that_are_written_alike_are_marked_alike():
    printed = {"a": {"CCA": 0.57441, "SAM": 0.57439, "CFA": 0.1}}
    cells = numbers(results_table(printed, OURS).axes[0])
    bold = {row for (_, row), text in cells.items() if text.get_weight() == "bold"}
    assert bold == {"CCA", "SAM"}


def test_shades_follow_the_values_within_a_column():
    printed = {"a": {f"m{i}": value for i, value in enumerate((0.1, 0.2, 0.4, 0.6, 0.9))}}
    axes = results_table(printed, OURS).axes[0]
    ratios = [contrast(cell_of(axes, *text.get_position()).get_facecolor(), "white")
              for text in numbers(axes).values()]  # fmt: skip
    assert len(ratios) == 5
    assert ratios == sorted(set(ratios))


def whiskers(axes, text):
    """Lines and dots at the height of a number, within its cell."""
    box, y = cell_of(axes, *text.get_position()), text.get_position()[1]
    inside = [
        line
        for line in axes.lines
        if np.allclose(line.get_ydata(), y)
        and box.get_x() < line.get_xdata()[0] < box.get_x() + box.get_width()
    ]
    spans = [tuple(line.get_xdata()) for line in inside if line.get_marker() == "|"]
    dots = [float(line.get_xdata()[0]) for line in inside if line.get_marker() == "o"]
    return spans, dots


def scale_of(axes, box):
    """The scale drawn under a column: places and the numbers written there."""
    ends = {}
    for line in axes.lines:
        x = np.asarray(line.get_xdata())
        if (
            line.get_marker() == 3
            and (box.get_x() < x).all()
            and (x < box.get_x() + box.get_width()).all()
        ):
            for place in x:
                (label,) = [t for t in shown(axes) if abs(t.get_position()[0] - place) < 1e-9
                            and t.get_position()[1] > line.get_ydata()[0]]  # fmt: skip
                ends[float(place)] = float(label.get_text())
    return ends


@pytest.mark.parametrize(
    ("key", "interval", "scale"),
    [
        (("wikipedia", "cca"), (0.2, 0.1, 0.3), [0.1, 0.5]),
        (("wikipedia", "sam"), (0.4, 0.35, 0.5), [0.1, 0.5]),
        (("digits", "cca"), (0.4, 0.38, 0.42), [0.38, 0.9]),
    ],
)
def test_whiskers_lie_where_the_scale_of_their_column_says(key, interval, scale):
    axes = results_table(PRINTED, OURS).axes[1]
    text = numbers(axes)[key]
    ends = scale_of(axes, cell_of(axes, *text.get_position()))
    assert sorted(ends.values()) == scale
    places = sorted(ends)
    assert [ends[place] for place in places] == scale, "more is to the right"
    (span,), (dot,) = whiskers(axes, text)
    read = np.interp((dot, *span), places, scale)
    np.testing.assert_allclose(read, interval)


def test_one_seed_has_a_dot_and_no_whisker_and_none_has_neither():
    axes = results_table(PRINTED, OURS).axes[1]
    cells = numbers(axes)
    spans, dots = whiskers(axes, cells["digits", "mine"])
    assert not spans
    assert len(dots) == 1
    assert whiskers(axes, cells["digits", "sam"]) == ([], [])
    assert whiskers(axes, cells["wikipedia", "mine"]) == ([], [])


def test_a_scale_of_a_single_value_is_written_once():
    axes = DRAWINGS["one cell"]().axes[1]
    assert words(axes).count("0.500") == 2  # in the cell and under it


def test_whiskers_stand_out_from_their_cells():
    figure = results_table(**TALL)
    for line in figure.axes[1].lines:
        x, y = line.get_xdata()[0], line.get_ydata()[0]
        box = cell_of(figure.axes[1], x, y)
        assert contrast(line.get_color(), "white" if box is None else box.get_facecolor()) >= 4.5


def test_a_method_has_the_bar_of_its_colour_in_both_tables():
    for axes, name in zip(results_table(PRINTED, OURS).axes, ("SAM", "sam"), strict=True):
        (y,) = [t.get_position()[1] for t in shown(axes) if t.get_text() == name]
        bar = cell_of(axes, 0.05, y)
        assert to_hex(bar.get_facecolor()).upper() == colour("SAM")
    lower = results_table(PRINTED, OURS).axes[1]
    (y,) = [t.get_position()[1] for t in shown(lower) if t.get_text() == "mine"]
    assert cell_of(lower, 0.05, y) is None


def test_more_rows_make_it_taller_and_not_denser():
    short, tall = DRAWINGS["short"](), DRAWINGS["tall"]()
    assert tall.get_figheight() > short.get_figheight()
    for figure in (short, tall):
        FigureCanvasAgg(figure).draw()
        box = cell_of(figure.axes[1], *next(iter(numbers(figure.axes[1]).values())).get_position())
        assert isinstance(box, Rectangle)
        assert 0.2 < box.get_window_extent().height / figure.dpi < 0.26


GOOD = {"printed": PRINTED, "ours": OURS}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"printed": [0.5]}, r"printed: expected \{column: \{method: number\}\}, got list"),
        ({"printed": {}}, "printed: expected at least one"),
        ({"ours": {}}, "ours: expected at least one"),
        ({"printed": {"a": 0.5}}, r"printed\['a'\]: expected \{method: number\}, got float"),
        ({"printed": {"a": {}}}, r"printed\['a'\]: expected at least one number"),
        ({"ours": {"a": {"CCA": None}}}, r"ours\['a'\]: expected at least one number"),
        ({"printed": {"a": {"CCA": 28.6}}}, "divide percentages by 100"),
        ({"printed": {"a": {"CCA": -0.1}}}, "expected 0 to 1, got -0.1"),
        ({"printed": {"a": {"CCA": "0.286"}}}, r"printed\['a'\]\['CCA'\]: expected a number from"),
        ({"printed": {"a": {"CCA": True}}}, "expected a number from 0 to 1, or None, got True"),
        ({"printed": {"a": {"CCA": np.nan}}}, "expected a number from 0 to 1, or None, got nan"),
        ({"ours": {"a": {"CCA": 0.5}}}, r"ours\['a'\]\['CCA'\]: expected \(mean, low, high\)"),
        ({"ours": {"a": {"CCA": (np.inf, 0, 1)}}}, r"expected \(mean, low, high\)"),
        ({"ours": {"a": {"CCA": "0.5"}}}, r"expected \(mean, low, high\)"),
        ({"ours": {"a": {"CCA": "abc"}}}, r"expected \(mean, low, high\)"),
        ({"ours": {"a": {"CCA": (0.5, 0.6, 0.7)}}}, "interval 0.6–0.7 does not hold 0.5"),
        ({"ours": {"a": {"CCA": (50.0, 45, 55)}}}, "divide percentages by 100"),
        ({"printed": {str(i): {"CCA": 0.5} for i in range(9)}}, "up to 8 columns"),
        ({"ours": {str(i): {"CCA": (0.5, 0, 1)} for i in range(5)}}, "up to 4 columns"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        results_table(**(GOOD | change))
