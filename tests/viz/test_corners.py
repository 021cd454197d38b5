"""Posteriors between the corners of their classes."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from vlalign_lib.viz import canvas, class_corners
from vlalign_lib.viz.palette import colour


def rows(n=12, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(n_classes), size=(2, n))
    return p, q, rng.integers(0, n_classes, n)


def placed(axes):
    """Every point that is drawn."""
    return np.vstack([cloud.get_offsets() for cloud in axes.collections])


def test_a_sure_item_lies_on_its_corner_and_an_unsure_one_in_the_middle():
    posteriors = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0.25] * 4])
    figure = class_corners(posteriors, posteriors, [0, 1, 2, 3, 0])
    expected = np.array([[0, 1], [1, 0], [0, -1], [-1, 0], [0, 0]])
    for axes in figure.axes:
        distance = np.linalg.norm(placed(axes) - expected[[0, 4, 1, 2, 3]], axis=1)
        assert 0 < distance.max() <= 0.07 + 1e-12
        places = {text.get_text(): text.get_position() for text in axes.texts}
        for name, corner in zip("0123", expected, strict=False):
            np.testing.assert_allclose(places[name], 1.27 * corner, atol=1e-12)


def test_each_view_has_its_panel_and_its_colour():
    p, q, labels = rows()
    figure = class_corners(p, q, labels)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["image network", "text network"]
    for axes, view in zip(figure.axes, ("image", "text"), strict=True):
        colours = {to_hex(c) for cloud in axes.collections for c in cloud.get_facecolor()}
        assert colours == {colour(view).lower()}
        assert len(placed(axes)) == 12


def test_into_given_axes_both_views_are_drawn_alike_each_time():
    p, q, labels = rows()
    figures = []
    for _ in range(2):
        figure, axes = canvas()
        assert class_corners(p, q, labels, axes=axes) is figure
        assert len(placed(axes)) == 24
        figures.append(placed(axes))
    np.testing.assert_array_equal(*figures)


def test_an_item_is_drawn_as_the_number_of_its_class():
    p, q, labels = rows()
    clouds = class_corners(p, q, labels).axes[0].collections
    counts = [len(cloud.get_offsets()) for cloud in clouds]
    assert counts == np.unique(labels, return_counts=True)[1].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, q, c: (p[:-1], q, c), "rows"),
        (lambda p, q, c: (2 * p, q, c), "images: expected probabilities"),
        (lambda p, q, c: (p, -q, c), "texts: expected probabilities"),
        (lambda p, q, c: (p, np.full((12, 3), 1 / 3), c), "same classes"),
        (lambda p, q, c: (np.full((12, 2), 0.5), np.full((12, 2), 0.5), c % 2), "three or more"),
        (lambda p, q, c: (p, q, c + 1), "classes from 0 to 3"),
        (lambda p, q, c: (p, q, c - 1), "classes from 0 to 3"),
    ],
)
def test_odd_input_is_explained(change, message):
    with pytest.raises(ValueError, match=message):
        class_corners(*change(*rows()))
