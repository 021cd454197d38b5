"""Figures name what they cannot draw, and take tensors as they come."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

from vlalign_lib.viz import (
    canvas,
    correlation_spectrum,
    dot_rows,
    gallery_curves,
    interval_plot,
    missing_view_curves,
    paired_clouds,
    pairs_wall,
    retrieval_grid,
    variates_scatter,
)

mpl.use("Agg")
POINTS = np.random.default_rng(0).normal(size=(6, 2))
PICTURES = np.random.default_rng(1).random((3, 4, 4))


def clouds(**changes):
    given = {"images": POINTS, "texts": POINTS, "image_direction": [1, 0], "text_direction": [1, 0]}
    return paired_clouds(**(given | changes))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: canvas(height="tall"), "height in inches: expected a"),
        (lambda: correlation_spectrum(["a"], [0.5]), "train: expected real numbers"),
        (lambda: correlation_spectrum([[0.5], [0.5, 0.1]], [0.5]), "train: the rows make no array"),
        (lambda: correlation_spectrum([0.5j], [0.5]), "train: expected real numbers"),
        (lambda: clouds(image_direction="up"), "image_direction: expected real numbers"),
        (lambda: clouds(text_direction=POINTS), "text_direction: expected two numbers"),
        (lambda: clouds(partners=[6]), "partners: expected indices from 0 to 5"),
        (lambda: clouds(partners="ab"), "partners: expected indices"),
        (lambda: clouds(partners=[0.5]), "partners: expected indices"),
        (lambda: clouds(partners=[0] * 9), "partners: expected up to 8 pairs, got 9"),
        (lambda: variates_scatter([POINTS]), r"panels: expected \{name: \(u, v\)\}, got list"),
        (lambda: variates_scatter({"CCA": 3}), "expected a pair"),
        (lambda: dot_rows([1, 2], xlabel="x"), "rows: expected"),
        (lambda: dot_rows({"CCA": 0.5}, xlabel="x"), r"rows\['CCA'\]: expected"),
        (lambda: dot_rows({"CCA": {"a": "b"}}, xlabel="x"), "expected real numbers"),
        (lambda: gallery_curves([10], [1.0]), "curves: expected"),
        (lambda: gallery_curves([10], {"R@1": [1.0]}), r"curves\['R@1'\]: expected"),
        (lambda: interval_plot([0.5], xlabel="x"), "results: expected"),
        (lambda: missing_view_curves([0, 1], [0.5]), "curves: expected"),
        (lambda: missing_view_curves([0, 1], {"early": 0.5}), "expected 2 values, one a share"),
        (
            lambda: missing_view_curves([0, 1], {"early": [0.5, np.nan]}),
            "2 values, .* finite",
        ),
        (lambda: missing_view_curves([0, 1], {"early": [(0.5, 0.4)] * 2}), r"shape \(2, 2\)"),
        (lambda: pairs_wall(PICTURES, ["a", "b", "c"], threads=[3]), "threads: expected indices"),
        (lambda: pairs_wall(PICTURES, ["a", "b", "c"], threads="a"), "threads: expected indices"),
        (lambda: pairs_wall(PICTURES, None), "captions: expected 3 strings"),
        (lambda: retrieval_grid(PICTURES, PICTURES, "x", np.eye(3)), "scores: expected real"),
    ],
)
def test_what_cannot_be_drawn(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_tensors_with_a_gradient_are_drawn():
    tensor = torch.tensor(POINTS).requires_grad_()
    assert len(clouds(images=tensor, image_direction=tensor[0]).axes) == 3
    pictures = torch.tensor(PICTURES).bfloat16().requires_grad_()
    figure = retrieval_grid(pictures, pictures, pictures.flatten(1) @ pictures.flatten(1).T,
                            np.eye(3, dtype=bool), top=2)  # fmt: skip
    assert figure.axes
    spectrum = correlation_spectrum(torch.tensor([0.9, 0.5]).requires_grad_(), [0.8, 0.1])
    assert len(spectrum.axes) == 2
