"""The drawings of chapter 04: hourglasses, and codes under a growing pull."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from vlalign_lib.viz import colour, coupling_curves, hourglasses

mpl.use("agg")
RNG = np.random.default_rng(0)
HALF = RNG.uniform(size=(8, 4))
ALPHAS = [0, 0.5, 0.99, 1]
CURVES = {"matching": [0.1, 0.5, 0.6, 0.2], "spread": [1.0, 0.4, 0.1, 0.0]}
U, V = RNG.normal(size=(2, 12, 2)) / 3

DRAWINGS = {
    "hourglasses": lambda: hourglasses(
        {"whole": ((HALF, HALF), (HALF, HALF)), "closed": ((HALF, None), (HALF, None))}
    ),
    "curves": lambda: coupling_curves(ALPHAS, CURVES),
    "frame": lambda: coupling_curves(ALPHAS, CURVES, at=0.99, images=U, texts=V, threads=range(3)),
}
every = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())


def words(figure):
    return [t.get_text() for t in figure.findobj(Text) if t.get_text().strip()]


@every
def test_it_comes_back_closed_with_legible_text(draw):
    figure = draw()
    assert not plt.get_fignums()
    figure.canvas.draw()
    shown = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert min(t.get_fontsize() for t in shown) >= 9


def test_a_closed_inlet_and_an_empty_outlet_are_said():
    said = words(DRAWINGS["hourglasses"]())
    assert said.count("closed") == 2  # the title and the inlet
    assert said.count("empty") == 1
    assert said.count("code") == 2


def test_views_have_their_colours():
    figure = hourglasses({"whole": ((HALF, HALF), (HALF, HALF))})
    drawn = {to_hex(line.get_color()).upper() for line in figure.axes[0].lines}
    assert drawn == {colour("image"), colour("text")}


def test_the_frame_marks_its_setting_and_keeps_its_scale():
    near, far = (
        coupling_curves(ALPHAS, CURVES, at=0.5, images=s * U, texts=s * V) for s in (0.01, 1)
    )
    assert near.axes[1].get_xlim() == far.axes[1].get_xlim()
    assert "matching: 0.50" in words(near)
    assert "spread: 0.40" in words(near)


def test_threads_join_partners():
    lines = DRAWINGS["frame"]().axes[1].lines
    assert len(lines) == 3
    for pair, line in enumerate(lines):
        np.testing.assert_array_equal(line.get_xdata(), [U[pair, 0], V[pair, 0]])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: hourglasses({}), "at least one"),
        (lambda: hourglasses({"a": ((HALF,), (HALF, HALF))}), "two inlets and two outlets"),
        (lambda: hourglasses({"a": ((HALF, HALF),)}), "two inlets and two outlets"),
        (lambda: hourglasses({"a": ((HALF[0], HALF), (HALF, HALF))}), "expected pictures"),
        (lambda: coupling_curves(ALPHAS, {}), "curves: expected 1 to"),
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
