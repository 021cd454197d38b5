"""Metrics against the size of the gallery."""

import numpy as np
import pytest

from vlalign_lib.viz import gallery_curves
from vlalign_lib.viz.palette import colour

SIZES = [10, 100, 800]
CURVES = {
    "R@10": {"least squares": [1.0, 0.7, 0.5], "chance": [1.0, 0.1, 0.0125]},
    "mAP": {"least squares": [0.8, 0.5, 0.4], "random space": [0.4, 0.2, 0.15]},
}


def drawn(axes):
    """Lines with data, as (x, y, linestyle)."""
    return [
        (list(line.get_xdata()), list(line.get_ydata()), line.get_linestyle())
        for line in axes.lines
        if len(line.get_xdata())
    ]


def test_each_metric_has_a_panel_with_its_curves():
    figure = gallery_curves(SIZES, CURVES)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["R@10", "mAP"]
    lines = drawn(figure.axes[0])
    assert [y for _, y, _ in lines] == [[1.0, 0.7, 0.5], [1.0, 0.1, 0.0125]]
    assert [style for *_, style in lines] == ["-", "--"]


def test_the_marked_size_carries_its_values_and_chance_none():
    figure = gallery_curves(SIZES, CURVES, at=100)
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [["0.70"], ["0.50", "0.20"]]
    marks = [(x, y) for x, y, style in drawn(figure.axes[1]) if style == "None"]
    assert marks == [([100], [0.5]), ([100], [0.2])]


def test_scales_do_not_depend_on_the_marked_size():
    limits = [
        [(axes.get_xlim(), axes.get_ylim()) for axes in gallery_curves(SIZES, CURVES, at=at).axes]
        for at in (None, 10, 800)
    ]
    assert limits[0] == limits[1] == limits[2]


def test_the_legend_names_every_space_once():
    names = [text.get_text() for text in gallery_curves(SIZES, CURVES).legends[0].get_texts()]
    assert names == ["least squares", "chance", "random space"]


def test_a_random_space_is_grey_and_a_fitted_one_is_not():
    lines = [line for line in gallery_curves(SIZES, CURVES).axes[1].lines if len(line.get_xdata())]
    assert lines[1].get_color() == colour("chance") != lines[0].get_color()


@pytest.mark.parametrize(
    ("curves", "at", "says"),
    [
        ({}, None, "curves: expected at least one"),
        ({"R@10": {}}, None, r"curves\['R@10'\]: expected at least one"),
        ({"R@10": {"a": [0.5, 0.5]}}, None, "3 values"),
        ({"R@10": {"a": np.array([0.5, 0.5, 1.5])}}, None, "0 to 1"),
        ({"R@10": {"a": [0.5, 0.5, np.nan]}}, None, "0 to 1"),
        (CURVES, 50, "one of"),
    ],
)
def test_bad_input_is_named(curves, at, says):
    with pytest.raises(ValueError, match=says):
        gallery_curves(SIZES, curves, at=at)
