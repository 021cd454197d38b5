"""Bump charts: ranks, ties, lines that join, names at both ends."""

from functools import cache
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from looks import check_frame
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from scipy.stats import rankdata

from vlalign_lib.viz import CYCLE, colour, rank_lines
from vlalign_lib.viz._cells import tint
from vlalign_lib.viz._shade import shade_of

mpl.use("agg")
METHODS = ["CCA", "CFA", "SM", "a method of my own", "Triplet, semi-hard", "CMDN-style"]
SHADES = [
    *[colour(name) for name in ("CCA", "CFA", "SM")],
    CYCLE[3],
    *[colour(name) for name in ("Triplet", "CMDN")],
]
TABLE = {
    "whole list": dict(zip(METHODS, [0.45, 0.31, 0.81, 0.12, 0.88, 0.89], strict=True)),
    "own partner": dict(zip(METHODS, [0.20, 0.60, 0.15, 0.60, 0.15, 0.15], strict=True)),
    "cut list": dict(zip(METHODS, [0.61, 0.60, 0.84, 0.20, 0.91, 0.90], strict=True)),
}
VALUES = np.array([list(column.values()) for column in TABLE.values()])
RANKS = np.array([rankdata(-column) for column in VALUES])  # ties share the mean
LONG = {
    f"protocol {c}, the whole list": {
        f"Method {m} of the long table": float(score)
        for m, score in enumerate(np.random.default_rng(c).uniform(size=20))
    }
    for c in range(6)
}


def marks(figure):
    """``{(column, edge colour): (level, text)}`` of every mark."""
    found = {}
    for text in figure.axes[0].texts:
        if text.get_bbox_patch() is not None:
            x, y = text.get_position()
            found[round(x), to_hex(text.get_bbox_patch().get_edgecolor())] = (y, text.get_text())
    return found


def frames(figure):
    """``(column, top, bottom)`` of every frame around a tie."""
    boxes = [p.get_bbox() for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    return sorted((round((b.x0 + b.x1) / 2, 6), min(b.y0, b.y1), max(b.y0, b.y1)) for b in boxes)


def shown(figure):
    return [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


def test_every_mark_stands_at_its_rank_with_its_score():
    found = marks(rank_lines(TABLE))
    assert len(found) == VALUES.size
    for column in range(3):
        for method, shade in enumerate(SHADES):
            level, text = found[column, shade.lower()]
            assert text == f"{VALUES[column, method]:.2f}"
            tied = (RANKS[column] == RANKS[column, method]).sum()
            assert abs(level - RANKS[column, method]) <= (tied - 1) / 2


def test_no_two_marks_of_a_column_stand_in_one_place():
    levels = [(column, level) for (column, _), (level, _) in marks(rank_lines(TABLE)).items()]
    assert sorted(levels) == [(c, slot) for c in range(3) for slot in range(1, 7)]


def test_a_frame_joins_equal_scores_and_its_middle_is_their_mean_rank():
    figure = rank_lines(TABLE)
    found = frames(figure)
    assert [(column, (top + bottom) / 2) for column, top, bottom in found] == [
        (1, pytest.approx(1.5)),  # 0.60 twice: places 1 and 2
        (1, pytest.approx(5.0)),  # 0.15 three times: places 4, 5 and 6
    ]
    for (_, top, bottom), members in zip(found, ([1, 3], [2, 4, 5]), strict=True):
        levels = [marks(figure)[1, SHADES[m].lower()][0] for m in members]
        assert all(top < level < bottom for level in levels)
        assert bottom - top < len(members)  # and nobody else
    assert any("share the mean" in text.get_text() for text in figure.axes[0].texts)


def test_among_equals_the_better_on_the_whole_stands_on_top():
    found = marks(rank_lines(TABLE))
    levels = {METHODS[m]: found[1, SHADES[m].lower()][0] for m in range(6)}
    assert levels["CFA"] < levels["a method of my own"]
    assert levels["Triplet, semi-hard"] < levels["CMDN-style"] < levels["SM"]
    # Triplet and CMDN are first and second once each: who was given first stands on top


def test_without_ties_there_is_no_frame_and_no_note():
    figure = rank_lines({name: TABLE[name] for name in ("whole list", "cut list")})
    assert frames(figure) == []
    assert not any("mean" in text.get_text() for text in figure.axes[0].texts)


def test_a_line_joins_the_marks_of_its_method():
    figure = rank_lines(TABLE)
    lines = {line.get_color().lower(): line for line in figure.axes[0].lines}
    assert set(lines) == {shade.lower() for shade in SHADES}
    for (column, shade), (level, _) in marks(figure).items():
        x, y = lines[shade].get_data()
        assert y[x == column] == pytest.approx(level)
    for line in lines.values():
        x, y = line.get_data()
        assert (np.diff(x) >= 0).all()
        for column in range(2):  # from mark to mark without a detour
            steps = np.diff(y[(x >= column) & (x <= column + 1)])
            assert (steps >= 0).all() or (steps <= 0).all()


def test_names_stand_at_both_ends_in_the_order_of_the_ranks():
    texts = [t for t in rank_lines(TABLE).axes[0].texts if t.get_text() in METHODS]
    for side, column in (("right", 0), ("left", 2)):
        names = sorted((t.get_position()[1], t.get_text()) for t in texts if t.get_ha() == side)
        assert [name for _, name in names] == [METHODS[m] for m in np.argsort(RANKS[column])]


def test_the_order_in_which_a_column_is_written_does_not_matter():
    turned = {
        name: dict(reversed(column.items())) if name == "cut list" else column
        for name, column in TABLE.items()
    }
    assert marks(rank_lines(turned)) == marks(rank_lines(TABLE))


@pytest.mark.parametrize("highlight", [["CFA", "SM"], "CFA"])
def test_highlighted_methods_are_strong_and_the_others_pale(highlight):
    strong = [highlight] if isinstance(highlight, str) else highlight
    figure = rank_lines(TABLE, highlight=highlight)
    lines = {line.get_color().lower(): line for line in figure.axes[0].lines}
    for name, shade in zip(METHODS, SHADES, strict=True):
        loud = name in strong
        line = lines[(shade if loud else tint(shade, 0.3)).lower()]
        assert (line.get_linewidth() == 2) == loud
        texts = [t for t in figure.axes[0].texts if t.get_text() == name]
        assert [t.get_weight() for t in texts] == ["bold" if loud else "normal"] * 2
        assert {t.get_color() for t in texts} == {"#1A1A1A" if loud else "#6E6E6E"}
    order = [line.get_zorder() for line in figure.axes[0].lines]
    assert sorted(set(order)) == [1, 2]


@pytest.mark.parametrize(
    ("scores", "texts"),
    [((0.123, -0.5), ["0.12", "−0.50"]), ((12.34, 1), ["12.3", "1.0"]), ((235, 99), ["235", "99"])],
)
def test_scores_have_as_many_digits_as_their_column_has_room_for(scores, texts):
    column = dict(zip(["CCA", "SM"], scores, strict=True))
    found = marks(rank_lines({"a": column, "b": column}))
    assert [found[0, colour(name).lower()][1] for name in column] == texts


def test_colours_follow_the_word_that_a_name_starts_with():
    assert shade_of("SAM, reconstructed", 3) == colour("SAM")
    assert shade_of("Corr-Cross-AE", 3) == colour("CorrCrossAE")
    assert shade_of("DCCA (ours)", 3) == colour("DCCA")
    assert shade_of("nobody knows it", 9) == CYCLE[2]


def test_a_tint_is_a_colour_thinned_with_white():
    assert tint("#000000", 0.5) == "#808080"
    assert tint("#0072B2", 1.0) == "#0072B2"
    assert tint("#0072B2", 0.0) == "#FFFFFF"


# how it looks

DRAWINGS = {
    "ties": lambda: rank_lines(TABLE),
    "two columns": lambda: rank_lines({n: TABLE[n] for n in ("whole list", "cut list")}),
    "twenty methods, six columns": lambda: rank_lines(LONG, highlight=[next(iter(
        LONG["protocol 0, the whole list"]))]),
}  # fmt: skip
every = pytest.mark.parametrize("name", DRAWINGS)


@cache
def drawing(name):
    """The figure, drawn once for all that only look at it."""
    figure = DRAWINGS[name]()
    FigureCanvasAgg(figure).draw()
    return figure


@every
def test_it_is_closed_wide_and_legible(name):
    figure = drawing(name)
    check_frame(figure)


@every
def test_no_text_covers_another(name):
    figure = drawing(name)
    texts = shown(figure)
    boxes = []
    for text in texts:
        pill = text.get_bbox_patch()
        boxes.append(text.get_window_extent() if pill is None else pill.get_window_extent())
    for (a, one), (b, other) in combinations(zip(texts, boxes, strict=True), 2):
        assert not one.overlaps(other), (a.get_text(), b.get_text())


@every
def test_there_is_room_for_the_lines_between_the_marks(name):
    figure = drawing(name)
    step = np.diff(figure.axes[0].transData.transform([(0, 1), (1, 1)])[:, 0])[0]
    pills = [t.get_bbox_patch() for t in figure.axes[0].texts if t.get_bbox_patch()]
    widest = max(pill.get_window_extent().width for pill in pills)
    assert (step - widest) / figure.dpi > 0.2  # inches


def test_names_that_do_not_fit_are_cut_and_columns_are_wrapped():
    texts = [t.get_text() for t in rank_lines(LONG).axes[0].texts]
    assert any("\n" in text for text in texts)
    assert any(text.endswith("…") for text in texts)


ONE = {"CCA": 0.5, "SM": 0.6}


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        ([0.5], {}, r"scores: expected \{column: \{method: score\}\}, got list"),
        ({"a": [0.5], "b": ONE}, {}, r"scores\['a'\]: expected \{method: score\}, got list"),
        ({}, {}, "scores: expected at least one"),
        ({"a": ONE}, {}, "two to 6 columns.*got 1"),
        ({str(i): ONE for i in range(7)}, {}, "two to 6 columns.*got 7"),
        ({"a": {"CCA": 1}, "b": {"CCA": 1}}, {}, "at least two methods to rank, got 1"),
        ({"a": ONE, "b": {"CCA": 1, "CFA": 2}}, {}, r"scores\['b'\].*as in 'a', but 'CFA', 'SM'"),
        ({"a": ONE, "b": ONE | {"CFA": 2}}, {}, "but 'CFA' stands in one of the two only"),
        ({"a": ONE, "b": ONE | {"SM": np.nan}}, {}, r"scores\['b'\]\['SM'\]: .*finite.*got nan"),
        ({"a": ONE, "b": ONE | {"SM": None}}, {}, r"scores\['b'\]\['SM'\]: expected"),
        ({"a": ONE, "b": ONE | {"SM": [1, 2]}}, {}, r"scores\['b'\]\['SM'\]: .*got \[1, 2\]"),
        ({"a": ONE, "b": ONE}, {"highlight": ["CFA"]}, "highlight: .*such as 'CCA', got 'CFA'"),
        ({"a": ONE, "b": ONE}, {"highlight": "C"}, "highlight: .*got 'C'"),
    ],
)
def test_bad_input_is_named(scores, options, message):
    with pytest.raises(ValueError, match=message):
        rank_lines(scores, **options)
