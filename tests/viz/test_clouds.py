"""Clouds with an axis each, and scatters of variates."""

import numpy as np
import pytest

from vlalign_lib.viz import colour, paired_clouds, variates_scatter


@pytest.fixture
def pairs():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=50)
    images = np.column_stack([3 * rng.normal(size=50), shared])
    return images, np.column_stack([shared, 2 * rng.normal(size=50)]) + 5


def test_the_title_is_the_correlation_of_the_coordinates(pairs):
    images, texts = pairs
    figure = paired_clouds(images, texts, [1, 1], [2, 0])
    rho = np.corrcoef(images.sum(axis=1), texts[:, 0])[0, 1]
    assert figure.axes[2].get_title(loc="left") == f"ρ = {rho:.2f}"


def test_a_perfect_correlation_is_one(pairs):
    assert paired_clouds(*pairs, [0, 1], [1, 0]).axes[2].get_title(loc="left") == "ρ = 1.00"


def test_a_nearly_perfect_correlation_is_not_rounded_to_one():
    u = np.array([-1.0, -1.0, 1.0, 1.0])
    v = u + np.array([0.08, -0.08, 0.08, -0.08])
    assert 0.995 < np.corrcoef(u, v)[0, 1] < 0.9995
    title = variates_scatter({"CCA": (u, v)}).axes[0].get_title(loc="left")
    assert title == f"CCA: ρ = {np.corrcoef(u, v)[0, 1]:.3f}"


def test_a_negative_correlation_has_a_minus_sign():
    u = np.arange(4.0)
    assert variates_scatter({"CCA": (u, -u)}).axes[0].get_title(loc="left") == "CCA: ρ = −1.00"


def test_a_partner_is_dropped_onto_the_axis_at_a_right_angle(pairs):
    images, texts = pairs
    direction = np.array([2.0, 1.0])
    figure = paired_clouds(images, texts, direction, [0, 1], partners=[7])
    axis, drop = (line.get_xydata() for line in figure.axes[0].lines[:2])
    assert np.allclose((axis[1] - axis[0]) @ [-direction[1], direction[0]], 0)
    assert np.allclose(drop[0], images[7] - images.mean(axis=0))
    assert np.isclose((drop[1] - drop[0]) @ direction, 0)


def test_scales_do_not_depend_on_the_directions(pairs):
    first, second = (paired_clouds(*pairs, d, d) for d in ([1, 0], [1, 3]))
    for left, right in zip(first.axes, second.axes, strict=True):
        assert left.get_xlim() == right.get_xlim()
        assert left.get_ylim() == right.get_ylim()


def test_clouds_have_the_colours_of_their_modality(pairs):
    from matplotlib.colors import to_hex

    figure = paired_clouds(*pairs, [1, 0], [1, 0])
    found = [to_hex(axes.collections[0].get_facecolor()[0]) for axes in figure.axes]
    assert found == [colour(name).lower() for name in ("image", "text", "joint")]


def test_an_angle_wraps_around():
    u = np.arange(4.0)
    figure = variates_scatter({"CCA": (u, u)}, hue=u + 2 * np.pi, hue_label="θ")
    assert np.allclose(figure.axes[0].collections[0].get_array(), u)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"images": np.ones((50, 3))}, "plane"),
        ({"images": np.ones((9, 2))}, "partner"),
        ({"image_direction": [0, 0]}, "not both zero"),
        ({"image_direction": [1, 2, 3]}, "two numbers"),
        ({"image_direction": [np.nan, 1]}, "two numbers"),
        ({"images": np.ones((50, 2))}, "same coordinate"),
        ({"partners": [50]}, "0 to 49"),
        ({"partners": list(range(9))}, "up to 8"),
    ],
)
def test_bad_clouds(pairs, change, complaint):
    images, texts = pairs
    arguments = {
        "images": images,
        "texts": texts,
        "image_direction": [1, 0],
        "text_direction": [1, 0],
    } | change
    with pytest.raises(ValueError, match=complaint):
        paired_clouds(**arguments)


@pytest.mark.parametrize(
    ("panels", "extra", "complaint"),
    [
        ({}, {}, "at least one"),
        ({"CCA": ([1, 2, 3], [1, 2])}, {}, "3 pictures and 2 texts"),
        ({"CCA": ([1, 1], [1, 2])}, {}, "same for all"),
        ({"CCA": ([1, np.inf], [1, 2])}, {}, "finite"),
        ({"CCA": ([1, 2], [1, 2])}, {"hue": [0, 1]}, "colours stand for"),
        ({"CCA": ([1, 2], [1, 2])}, {"hue": [0, 1, 2], "hue_label": "θ"}, "2 angles, all finite"),
    ],
)
def test_bad_panels(panels, extra, complaint):
    with pytest.raises(ValueError, match=complaint):
        variates_scatter(panels, **extra)
