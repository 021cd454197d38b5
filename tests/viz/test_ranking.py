"""The drawings of chapter 07: rings of margin, and a space that forms."""

import matplotlib as mpl
import numpy as np
import pytest

from vlalign_lib.viz import colour, margin_rings, space_forming

mpl.use("agg")

STRANGERS = {"b": 0.75, "c": 0.5, "d": 0.4, "e": -0.2}


def words(figure):
    return [text.get_text() for text in figure.axes[1].texts]


def test_each_stranger_has_its_hinge_and_its_kind():
    assert words(margin_rings(0.6, STRANGERS, margin=0.25)) == [
        "friend   s = 0.60",
        "b   s = 0.75   hinge 0.40   hard",
        "c   s = 0.50   hinge 0.15   semi-hard",
        "d   s = 0.40   hinge 0.05   semi-hard",
        "e   s = −0.20   hinge 0.00   easy",
        "margin m = 0.25",
    ]


def test_without_a_margin_only_what_is_nearer_than_the_friend_counts():
    lines = words(margin_rings(0.6, STRANGERS, margin=0))
    assert [line.split()[-1] for line in lines[1:5]] == ["hard", "easy", "easy", "easy"]


def test_points_lie_at_one_minus_their_cosine():
    space = margin_rings(0.6, STRANGERS).axes[0]
    points = [np.asarray(c.get_offsets())[0] for c in space.collections]
    radii = [float(np.hypot(*point)) for point in points]
    assert np.allclose(radii, [0, 0.4, 0.25, 0.5, 0.6, 1.2])
    directions = {round(float(np.degrees(np.arctan2(y, x)))) for x, y in points[1:]}
    assert len(directions) == 5, "no two in one direction"


def test_the_band_is_as_wide_as_the_margin():
    ring, edge = margin_rings(0.6, STRANGERS, margin=0.3).axes[0].lines[:2]
    assert np.allclose(np.hypot(*ring.get_data()), 0.4)
    assert np.allclose(np.hypot(*edge.get_data()), 0.7)


def test_the_margin_does_not_move_the_scale():
    limits = {margin_rings(0.6, STRANGERS, margin=m).axes[0].get_xlim() for m in (0, 0.2, 0.9)}
    assert len(limits) == 1


POINTS = np.random.default_rng(0).uniform(-0.9, 0.9, size=(12, 2))
LABELS = np.arange(12) % 3
CURVES = {"random": [0.8, 0.4, 0.1], "semi-hard": [1.0, 0.9, 0.7]}


def forming(**changes):
    given = {"images": POINTS, "texts": -POINTS, "labels": LABELS, "curves": CURVES, "at": 2}
    return space_forming(**(given | changes))


def title(axes):
    """The title, wherever the style of the book or of matplotlib puts it."""
    return axes.get_title(loc="left") or axes.get_title()


def test_the_epoch_is_marked_on_every_curve():
    figure = forming()
    space, progress = figure.axes
    assert title(space) == "after epoch 2"
    marks = [line.get_data() for line in progress.lines if line.get_linestyle() == "None"]
    assert [(int(x[0]), float(y[0])) for x, y in marks] == [(2, 0.4), (2, 0.9)]
    shown = [text.get_text() for text in progress.get_legend().get_texts()]
    assert shown == ["random: 0.40", "semi-hard: 0.90"]


def test_every_pair_is_drawn_twice_in_the_colour_of_its_class():
    space = forming(label_names=["zero", "one", "two"]).axes[0]
    drawn = [np.asarray(c.get_offsets()) for c in space.collections]
    drawn = np.concatenate([points for points in drawn if len(points)])
    for view in (POINTS, -POINTS):
        assert {tuple(row) for row in view} <= {tuple(row) for row in drawn}
    assert len(drawn) == 24
    assert [t.get_text() for t in space.get_legend().get_texts()] == ["zero", "one", "two"]


def test_scales_do_not_depend_on_the_epoch():
    limits = {tuple(a.get_xlim() + a.get_ylim() for a in forming(at=at).axes) for at in (1, 2, 3)}
    assert len(limits) == 1


def test_verdicts_have_their_colours():
    figure = margin_rings(0.6, STRANGERS, margin=0.25)
    shades = [text.get_color() for text in figure.axes[1].texts]
    assert shades[:2] == [colour("right"), colour("wrong")]
    assert len(set(shades[:5])) == 4, "both semi-hard ones share theirs"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: margin_rings(1.2, STRANGERS), "between −1 and 1"),
        (lambda: margin_rings(0.5, {}), "one to eight"),
        (lambda: margin_rings(0.5, {str(i): 0.1 for i in range(9)}), "one to eight"),
        (lambda: margin_rings(0.5, STRANGERS, margin=-0.1), "at least 0"),
        (lambda: margin_rings(0.5, STRANGERS, margin=float("nan")), "at least 0"),
        (lambda: margin_rings(0.5, [0.1]), "strangers"),
        (lambda: forming(images=POINTS[:5]), r"images: expected shape \(12, 2\)"),
        (lambda: forming(texts=np.ones((12, 3))), r"texts: expected shape \(12, 2\)"),
        (lambda: forming(at=4), "from 1 to 3"),
        (lambda: forming(at=0), "from 1 to 3"),
        (lambda: forming(curves={}), "curves: expected at least one"),
        (lambda: forming(curves={"a": [1], "b": [1, 2]}), "expected 1 values"),
        (lambda: forming(labels=np.arange(12)), "up to 7 classes"),
    ],
)
def test_bad_input_is_explained(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
