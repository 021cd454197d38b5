"""The palette: known names, contrast with the white card, and distance for every kind of eye."""

import itertools

import numpy as np
import pytest

from vlalign_lib.viz import CYCLE, MARKERS, PALETTE, colour, has_colour

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TOGETHER = {
    "modalities": ["image", "text", "joint"],
    "splits": ["train", "val", "test"],
    "verdicts": ["right", "wrong"],
    "fusion": ["SingleView", "EarlyFusion", "LateFusion", "CoordinatedFusion"],
    "linear": ["CCA", "KernelCCA", "CFA", "SM", "SCM"],
    "ranking": ["CCA", "Triplet", "SAM", "InfoNCE"],
}


def linear_rgb(colour_name):
    parts = np.array([int(colour_name[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
         [0.0193339, 0.1191920, 0.9503041]]
    )  # fmt: skip
    scaled = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    root = np.where(scaled > 216 / 24389, np.cbrt(scaled), (24389 / 27 * scaled + 16) / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


def test_white_and_red_have_their_known_lab_values():
    assert np.allclose(lab(np.ones(3)), [100, 0, 0], atol=0.01)
    assert np.allclose(lab(np.array([1.0, 0, 0])), [53.24, 80.09, 67.20], atol=0.02)


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("group", TOGETHER)
def test_colours_that_appear_together_stay_apart(group, vision):
    seen = {name: lab(VISIONS[vision] @ linear_rgb(PALETTE[name])) for name in TOGETHER[group]}
    for first, second in itertools.combinations(seen, 2):
        distance = np.linalg.norm(seen[first] - seen[second])
        assert distance > 18, f"{first} and {second} differ by {distance:.1f}"


@pytest.mark.parametrize("name", [*PALETTE, *CYCLE])
def test_contrast_with_the_white_card(name):
    shade = name if name.startswith("#") else PALETTE[name]
    luminance = np.array([0.2126, 0.7152, 0.0722]) @ linear_rgb(shade)
    assert 1.05 / (luminance + 0.05) >= 3


@pytest.mark.parametrize(
    ("said", "meant"),
    [("image", "image"), ("Texts", "text"), ("kernel_cca", "KernelCCA"), ("KCCA", "KernelCCA"),
     ("kernel CCA", "KernelCCA"), ("validation", "val"), ("random", "chance"),
     ("early", "EarlyFusion")],
)  # fmt: skip
def test_one_thing_has_one_colour_however_it_is_written(said, meant):
    assert colour(said) == PALETTE[meant]
    assert has_colour(said)


def test_an_unknown_name_teaches():
    with pytest.raises(ValueError, match="did you mean 'KernelCCA'"):
        colour("KernelCA")
    with pytest.raises(ValueError, match="there are image, text"):
        colour("zzzzzz")
    assert not has_colour("zzzzzz")


def test_methods_have_colours_of_their_own():
    methods = [PALETTE[name] for name in list(PALETTE)[list(PALETTE).index("CCA") :]]
    assert len(set(methods)) == len(methods)


def test_the_palette_cannot_be_changed_and_the_cycle_has_shapes():
    with pytest.raises(TypeError):
        PALETTE["image"] = "#000000"
    assert len(MARKERS) == len(CYCLE) == len(set(CYCLE))
