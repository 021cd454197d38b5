"""What every figure promises, held once for all of them."""

import io

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from looks import check_frame
from matplotlib.figure import Figure

from vlalign_lib import viz

mpl.use("agg")
RNG = np.random.default_rng(0)
ANGLE = np.linspace(0, 6, 20)
CIRCLE = np.column_stack([np.cos(ANGLE), np.sin(ANGLE)])
U, V = RNG.normal(size=(2, 12, 3))
LABELS = np.arange(12) % 3
PICTURES = RNG.uniform(size=(12, 8, 8))
NAMES = [f"LETTER {i}" for i in range(12)]
SURE = np.eye(3)[LABELS]
HALVES = RNG.uniform(size=(2, 10, 8, 4))
INTERVALS = {"CCA": (0.3, 0.2, 0.4), "SM": (0.5, 0.4, 0.6)}
POINTS = RNG.uniform(-0.9, 0.9, size=(12, 2))
CLUSTERS = {  # names crowd, so that places have to be sought
    f"method {i}": ((0.85, 0.15)[i % 2] + x / 25, (0.5, 0.45)[i % 2] + y / 25)
    for i, (x, y) in enumerate(RNG.uniform(-1, 1, size=(19, 2)).tolist())
}

FIGURES = {
    "class_corners": lambda: viz.class_corners(SURE, SURE, LABELS),
    "correlation_spectrum": lambda: viz.correlation_spectrum([1, 0.5], [0.9, -0.2]),
    "coupling_curves": lambda: viz.coupling_curves([0, 0.5, 1], {"matching": [0.1, 0.6, 0.2]}),
    "coupling_curves, frame": lambda: viz.coupling_curves(
        [0, 0.5, 1], {"matching": [0.1, 0.6, 0.2], "spread": [1.0, 0.4, 0.0]},
        at=0.5, images=POINTS / 3, texts=-POINTS / 3, threads=range(3),
    ),
    "difference_matrix": lambda: viz.difference_matrix({("SAM", "CCA"): (0.2, 0.1, 0.3)}),
    "digit_halves": lambda: viz.digit_halves(*HALVES),
    "dot_rows": lambda: viz.dot_rows({"CCA": {"all": 0.4, "cut": 0.6}}, xlabel="mAP"),
    "embedding_scatter": lambda: viz.embedding_scatter(U, V, labels=LABELS),
    "gallery_curves": lambda: viz.gallery_curves([10, 100], {"R@10": {"CCA": [1.0, 0.6]}}, at=100),
    "glyph_maps": lambda: viz.glyph_maps({"CCA": (U, V)}, PICTURES, labels=LABELS),
    "interval_plot": lambda: viz.interval_plot(INTERVALS, xlabel="mAP", title="T"),
    "margin_rings": lambda: viz.margin_rings(0.6, {"b": 0.7, "c": 0.5, "d": 0.1}),
    "missing_view_curves": lambda: viz.missing_view_curves([0, 50], {"early": [0.9, 0.7]}),
    "paired_circles": lambda: viz.paired_circles(CIRCLE, CIRCLE, ANGLE, partners=[0, 7]),
    "paired_clouds": lambda: viz.paired_clouds(POINTS, POINTS, [1, 0], [0, 1]),
    "pairs_wall": lambda: viz.pairs_wall(PICTURES, NAMES),
    "rank_lines": lambda: viz.rank_lines({"a": {"CCA": 0.4, "SM": 0.8}, "b": {"CCA": 1, "SM": 1}}),
    "results_table": lambda: viz.results_table({"a": {"CCA": 0.5}}, {"b": INTERVALS}),
    "retrieval_grid": lambda: viz.retrieval_grid(NAMES[:2], PICTURES, U.T[:2], [0, 1], top=3),
    "space_forming": lambda: viz.space_forming(POINTS, POINTS, LABELS, {"hard": [1, 0.6]}, at=2),
    "trade_off": lambda: viz.trade_off(CLUSTERS, xlabel="mAP", ylabel="share"),
    "unrolled_circle": lambda: viz.unrolled_circle({"by hand": (CIRCLE, -CIRCLE)}, ANGLE),
    "variates_scatter": lambda: viz.variates_scatter({"CCA": (U[:, 0], V[:, 0])}),
}  # fmt: skip
every = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES.keys())


def pixels(figure):
    out = io.BytesIO()
    figure.savefig(out, dpi=60, facecolor="white", metadata={"Software": None})
    return out.getvalue()


def test_every_figure_in_the_house_style_is_in_the_table():
    styled = {n for n in viz.__all__ if hasattr(getattr(viz, n), "__wrapped__")}
    assert styled == {name.split(",")[0] for name in FIGURES}


@every
def test_it_is_a_closed_figure_on_its_card_in_legible_words(draw):
    figure = draw()
    assert isinstance(figure, Figure)
    check_frame(figure)


@every
def test_neither_settings_nor_repetition_change_it_and_it_changes_no_setting(draw):
    once = pixels(draw())
    assert pixels(draw()) == once
    with plt.style.context(["dark_background", {"font.size": 25, "lines.linewidth": 9}]):
        before = dict(mpl.rcParams)
        figure = draw()
        assert dict(mpl.rcParams) == before
        assert pixels(figure) == once


@every
def test_no_backend_is_needed(draw, monkeypatch):
    monkeypatch.setattr(plt, "subplots", None)
    monkeypatch.setattr(plt, "figure", None)
    assert draw().axes
