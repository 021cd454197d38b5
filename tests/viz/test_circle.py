"""A hidden angle in two views, and the angle that is found."""

import numpy as np
import pytest

from vlalign_lib.viz import colour, paired_circles, unrolled_circle

THETA = np.linspace(0.1, 6.1, 60)


def circle(angle):
    return np.column_stack([np.cos(angle), np.sin(angle)])


def drawn(figure, view):
    """The points of one view in the first panel."""
    for dots in figure.axes[0].collections:
        if dots.get_label() == view:
            return np.asarray(dots.get_offsets())
    raise AssertionError(view)


@pytest.mark.parametrize("turns", [1, 2])
@pytest.mark.parametrize("mirror", [1, -1])
@pytest.mark.parametrize("offset", [0.0, 1.0, 4.0])
def test_a_found_angle_rises_with_the_hidden_one_however_it_was_turned(turns, mirror, offset):
    found = circle(mirror * turns * THETA + offset)
    figure = unrolled_circle({"DCCA": (found, 3 * found)}, THETA, turns=turns)
    for view in ("image", "text"):
        away = drawn(figure, view) - np.column_stack([THETA, turns * THETA])
        np.testing.assert_allclose(np.exp(1j * away[:, 1]), 1, atol=1e-9)
        np.testing.assert_allclose(away[:, 0], 0, atol=1e-12)


def test_pictures_that_disagree_are_not_turned_into_agreement():
    figure = unrolled_circle({"DCCA": (circle(THETA + 1), circle(THETA))}, THETA)
    between = drawn(figure, "image")[:, 1] - drawn(figure, "text")[:, 1]
    np.testing.assert_allclose(np.exp(1j * between), np.exp(1j), atol=1e-9)


def test_each_method_has_a_panel_and_each_view_its_colour():
    pair = circle(THETA), circle(THETA)
    figure = unrolled_circle({"CCA": pair, "DCCA": pair}, THETA)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["CCA", "DCCA"]
    colours = {dots.get_label(): dots.get_facecolor()[0] for dots in figure.axes[0].collections}
    for view in ("image", "text"):
        wanted = [int(colour(view)[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        np.testing.assert_allclose(colours[view][:3], wanted)


def test_circles_of_any_dimension_are_flattened_without_loss():
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    points = circle(THETA) @ turned[:2]
    figure = paired_circles(points, circle(2 * THETA), THETA, partners=[3])
    flat = np.asarray(figure.axes[0].collections[0].get_offsets())
    centred = points - points.mean(axis=0)
    np.testing.assert_allclose(flat @ flat.T, centred @ centred.T, atol=1e-9)
    letters = [text for text in figure.axes[0].texts if text.get_text() == "A"]
    np.testing.assert_allclose(letters[0].get_position(), flat[3])


def test_letters_on_one_spot_share_it():
    opposite = int(np.abs(THETA - THETA[0] - np.pi).argmin())
    figure = paired_circles(circle(THETA), circle(2 * THETA), THETA, partners=[0, opposite, 20])
    written = [[text.get_text() for text in axes.texts] for axes in figure.axes[:2]]
    assert written == [["A", "B", "C"], ["A B", "C"]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unrolled_circle({}, THETA), "at least one"),
        (lambda: unrolled_circle({"CCA": circle(THETA)}, THETA), "expected a pair"),
        (lambda: unrolled_circle({"CCA": (np.ones((60, 3)),) * 2}, THETA), "two dimensions"),
        (
            lambda: unrolled_circle({"CCA": (circle(THETA),) * 2}, THETA[:5]),
            "60 angles, all",
        ),
        (lambda: paired_circles(circle(THETA), circle(THETA)[:9], THETA), "60"),
        (lambda: paired_circles(np.ones((60, 1)), circle(THETA), THETA), "two columns"),
        (lambda: paired_circles(circle(THETA), circle(THETA), THETA, partners=[60]), "partners"),
        (
            lambda: paired_circles(circle(THETA), circle(THETA), THETA, partners=range(9)),
            "up to eight|up to 8",
        ),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(ValueError, match=message):
        call()
