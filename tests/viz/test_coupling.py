"""The figure of chapter 04: codes under a growing pull."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.text import Text

from vlalign_lib.viz import coupling_curves

mpl.use("agg")
RNG = np.random.default_rng(0)
ALPHAS = [0, 0.5, 0.99, 1]
CURVES = {"matching": [0.1, 0.5, 0.6, 0.2], "spread": [1.0, 0.4, 0.1, 0.0]}
U, V = RNG.normal(size=(2, 12, 2)) / 3


def words(figure):
    return [t.get_text() for t in figure.findobj(Text) if t.get_text().strip()]


def test_the_frame_marks_its_setting_and_keeps_its_scale():
    near, far = (
        coupling_curves(ALPHAS, CURVES, at=0.5, images=s * U, texts=s * V) for s in (0.01, 1)
    )
    assert near.axes[1].get_xlim() == far.axes[1].get_xlim()
    assert "matching: 0.50" in words(near)
    assert "spread: 0.40" in words(near)


def test_threads_join_partners():
    figure = coupling_curves(ALPHAS, CURVES, at=0.99, images=U, texts=V, threads=range(3))
    lines = figure.axes[1].lines
    assert len(lines) == 3
    for pair, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), [U[pair, 0], V[pair, 0]])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: coupling_curves(ALPHAS, {}), "curves: expected at least one"),
        (lambda: coupling_curves(ALPHAS, {"a": [1, 2]}), "expected 4 values"),
        (lambda: coupling_curves(ALPHAS, CURVES, at=0.7), "at: expected one of"),
        (lambda: coupling_curves(ALPHAS, CURVES, images=U), "both, or of neither"),
        (lambda: coupling_curves(ALPHAS, CURVES, images=U, texts=V[:5]), "images"),
        (lambda: coupling_curves(ALPHAS, CURVES, images=U[:, :1], texts=V[:, :1]), "plane"),
    ],
)
def test_odd_input_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
