"""Marks on one scale."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from vlalign_lib.viz import dot_rows
from vlalign_lib.viz.palette import CYCLE, MARKERS, colour

ROWS = {"CCA": {"all": 0.4, "cut": 0.6}, "SM": {"cut": 0.8}}


def marks(figure):
    """Every drawn mark as (x, row, marker, colour)."""
    return [
        (float(x), round(float(y)), line.get_marker(), to_hex(line.get_color()))
        for line in figure.axes[0].lines
        if line.get_linestyle() == "None"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def test_each_value_stands_in_its_row_with_the_mark_of_its_series():
    found = marks(dot_rows(ROWS, xlabel="mAP"))
    assert found == [
        (0.4, 0, MARKERS[0], CYCLE[0].lower()),
        (0.6, 0, MARKERS[1], CYCLE[1].lower()),
        (0.8, 1, MARKERS[1], CYCLE[1].lower()),
    ]


def test_the_first_row_is_on_top():
    bottom, top = dot_rows(ROWS, xlabel="mAP").axes[0].get_ylim()
    assert bottom > 1 > 0 > top


def test_the_legend_names_each_series_once():
    figure = dot_rows(ROWS, xlabel="mAP")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["all", "cut"]


def test_many_values_are_a_cloud_that_keeps_them_all_inside_the_row():
    values = np.linspace(0.5, 1.0, 300)
    figure = dot_rows({"pixels": {"one": values}, "table": {"one": 0.7}}, xlabel="AUC")
    cloud = figure.axes[0].lines[0]
    np.testing.assert_array_equal(cloud.get_xdata(), values)
    assert np.abs(cloud.get_ydata()).max() <= 0.25
    assert len(np.unique(cloud.get_ydata())) == 300


def test_equal_values_of_three_series_do_not_hide_each_other():
    figure = dot_rows({"a": {"x": 0.5, "y": 0.5, "z": 0.5}}, xlabel="mAP")
    levels = [float(line.get_ydata()[0]) for line in figure.axes[0].lines if len(line.get_xdata())]
    assert len(set(levels)) == 3
    assert sum(levels) == pytest.approx(0)
    assert max(levels) < 0.3


def test_known_names_keep_their_colour():
    found = marks(dot_rows({"a": {"text": 1.0}}, xlabel="x"))
    assert found[0][3] == colour("text").lower()


def test_it_is_the_same_on_every_run():
    first, second = (dot_rows({"a": {"b": np.arange(9.0)}}, xlabel="x") for _ in range(2))
    np.testing.assert_array_equal(
        first.axes[0].lines[0].get_ydata(), second.axes[0].lines[0].get_ydata()
    )


@pytest.mark.parametrize(
    ("rows", "label", "says"),
    [
        ({}, "x", "rows: expected at least one"),
        ({"a": {}}, "x", r"rows\['a'\]: expected at least one"),
        ({"a": {"b": 1.0}}, " ", "say what is measured"),
        ({"a": {"b": float("nan")}}, "x", "finite"),
        ({"a": {"b": []}}, "x", "finite"),
        ({"a": {str(i): 0.5 for i in range(8)}}, "x", "8 series"),
    ],
)
def test_bad_input_is_named(rows, label, says):
    with pytest.raises(ValueError, match=says):
        dot_rows(rows, xlabel=label)
