"""Every figure: closed, legible, labelled, deterministic, and clear about bad input."""

import matplotlib as mpl
import numpy as np
import pytest
from looks import check_frame
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import PathPatch, Rectangle

from vlalign_lib.viz import (
    canvas,
    colour,
    correlation_spectrum,
    embedding_scatter,
    interval_plot,
    pairs_wall,
    retrieval_grid,
)

mpl.use("agg")
RNG = np.random.default_rng(0)
GLYPHS = RNG.uniform(size=(12, 8, 8))
NAMES = [f"LATIN SMALL LETTER {chr(65 + i)} WITH A RATHER LONG TAIL" for i in range(12)]
SCORES = RNG.normal(size=(3, 12))
U, V = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 4))
LABELS = np.arange(30) % 10 - 1
FAMILIES = [f"FAMILY {i}" for i in range(9)]

DRAWINGS = {
    "wall": lambda: pairs_wall(GLYPHS, NAMES, threads=[0, 5]),
    "wall of one": lambda: pairs_wall(GLYPHS[:1], NAMES[:1]),
    "pictures by words": lambda: retrieval_grid(NAMES[:3], GLYPHS, SCORES, [0, 1, 2],
                                                captions=NAMES, title="Found"),
    "words by pictures": lambda: retrieval_grid(GLYPHS[:3], NAMES, SCORES, [0, 1, 2], top=10),
    "pictures by pictures": lambda: retrieval_grid(GLYPHS[:3], GLYPHS, SCORES, SCORES > 0, top=1),
    "spectrum": lambda: correlation_spectrum([1, 0.9, 0.5], [0.9, 0.1, -0.2], title="Learnt"),
    "scatter": lambda: embedding_scatter(U, V, title="Two islands?"),
    "scatter by label": lambda: embedding_scatter(U, V, labels=LABELS, label_names=FAMILIES,
                                                  by="label"),
    "intervals": lambda: interval_plot({"CCA": (0.3, 0.2, 0.4), "mine": (0.5, None, None)},
                                       xlabel="mAP (0 to 1)", printed={"CCA": 0.27},
                                       reference={"chance": 0.1}, title="Glyphs"),
}  # fmt: skip
every = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS.keys())


def canvas_of(figure):
    """A canvas that can draw: a closed figure may have lost its own."""
    return FigureCanvasAgg(figure)


@every
def test_it_stays_on_its_card_in_legible_words(draw):
    check_frame(draw())


@every
def test_axes_that_show_numbers_are_labelled(draw):
    for axes in draw().axes:
        if axes.axison:
            assert axes.get_xlabel() or axes.get_ylabel()


# pairs_wall


def test_a_wall_has_a_thread_for_each_pair_that_asks_for_one():
    figure = pairs_wall(GLYPHS, NAMES, threads=[0, 5, 7])
    threads = [p for p in figure.axes[0].patches if isinstance(p, PathPatch)]
    assert len(threads) == 3
    assert len(figure.axes[0].images) == 12


def test_a_thread_ends_at_the_name_of_its_picture():
    names = [f"N{i}" for i in range(12)]
    axes = pairs_wall(GLYPHS, names, threads=[4]).axes[0]
    (thread,) = [p for p in axes.patches if isinstance(p, PathPatch)]
    _, end_level = thread.get_path().vertices[-1]
    (name,) = [t for t in axes.texts if t.get_text() == "N4"]
    assert name.get_position()[1] == pytest.approx(end_level)
    _, right, bottom, top = axes.images[4].get_extent()
    x, y = thread.get_path().vertices[0]
    assert x == pytest.approx(right)
    assert min(bottom, top) < y < max(bottom, top)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((GLYPHS.reshape(12, -1), NAMES), r"expected pictures \(n, h, w\)"),
        ((GLYPHS, NAMES[:3]), "expected 12 strings"),
        ((GLYPHS * np.nan, NAMES), "finite"),
    ],
)
def test_a_wall_refuses_what_is_no_wall(arguments, message):
    with pytest.raises(ValueError, match=message):
        pairs_wall(*arguments)


def test_a_wall_refuses_threads_to_nowhere():
    with pytest.raises(ValueError, match="from 0 to 11"):
        pairs_wall(GLYPHS, NAMES, threads=[12])


# retrieval_grid


def green_frames(figure):
    wanted = mpl.colors.to_rgba(colour("right"))
    frames = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    return [frame for frame in frames if frame.get_edgecolor() == wanted]


def test_right_answers_are_framed_and_no_others():
    scores = np.array([[0.1, 0.9, 0.5, 0.2], [0.3, 0.2, 0.1, 0.9]])
    figure = retrieval_grid(["a", "b"], GLYPHS[:4], scores, [1, 0], top=2)
    assert len(green_frames(figure)) == 2
    figure = retrieval_grid(["a", "b"], GLYPHS[:4], scores, [1, 1], top=2)
    assert len(green_frames(figure)) == 1
    assert "right one: rank 3" in [t.get_text() for t in figure.axes[0].texts]


def test_answers_stand_in_the_order_of_their_scores():
    figure = retrieval_grid(GLYPHS[:1], ["A", "B", "C"], [[0.2, 0.9, 0.5]], [0], top=3)
    texts = [t for t in figure.axes[0].texts if t.get_text() in "ABC"]
    assert [t.get_text() for t in sorted(texts, key=lambda t: t.get_position()[0])] == list("BCA")


def test_many_right_answers_and_none_at_all():
    relevant = np.array([[True, True, False], [False, False, False]])
    figure = retrieval_grid(["a", "b"], GLYPHS[:3], np.array([[3, 2, 1.0]] * 2), relevant, top=3)
    assert len(green_frames(figure)) == 2
    assert not [t for t in figure.axes[0].texts if "rank" in t.get_text()]


def test_torch_scores_are_taken():
    torch = pytest.importorskip("torch")
    scores = torch.tensor([[0.1, 0.9]], requires_grad=True)
    assert len(green_frames(retrieval_grid(["a"], GLYPHS[:2], scores, [1], top=1))) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": SCORES.T}, r"expected shape \(3, 12\)"),
        ({"scores": SCORES * np.nan}, "finite"),
        ({"right": [0, 1]}, "indices below 12"),
        ({"right": [0, 1, 12]}, "indices below 12"),
        ({"right": SCORES}, "booleans"),
        ({"captions": NAMES[:2]}, "expected 12 strings"),
        ({"top": 0}, "1 to 10"),
        ({"top": 11}, "1 to 10"),
        ({"gallery": GLYPHS[0]}, "expected pictures"),
    ],
)
def test_a_grid_refuses_what_does_not_fit(change, message):
    arguments = {"queries": NAMES[:3], "gallery": GLYPHS, "scores": SCORES, "right": [0, 1, 2]}
    with pytest.raises(ValueError, match=message):
        retrieval_grid(**{**arguments, **change})


# correlation_spectrum


def test_train_stands_above_and_test_hangs_below():
    upper, lower = correlation_spectrum([0.9, 0.7], [0.8, 0.2]).axes
    assert [bar.get_height() for bar in upper.patches] == [0.9, 0.7]
    assert [bar.get_height() for bar in lower.patches] == [0.8, 0.2]
    assert lower.yaxis_inverted()
    assert not upper.yaxis_inverted()
    assert upper.get_position().y0 > lower.get_position().y0
    assert {upper.patches[0].get_facecolor(), lower.patches[0].get_facecolor()} == {
        mpl.colors.to_rgba(colour("train")),
        mpl.colors.to_rgba(colour("test")),
    }


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0.1, 0.2], [0.1], "the same ones"),
        ([], [], "one correlation a component"),
        ([1.2], [0.1], "between -1 and 1"),
        ([np.nan], [0.1], "between -1 and 1"),
        ([[0.1]], [[0.1]], "one correlation a component"),
    ],
)
def test_a_spectrum_refuses_what_is_no_spectrum(train, test, message):
    with pytest.raises(ValueError, match=message):
        correlation_spectrum(train, test)


# embedding_scatter


def test_two_dimensions_are_drawn_as_they_are():
    figure = embedding_scatter(U[:, :2], V[:, :2])
    images, texts = figure.axes[0].collections
    assert np.allclose(images.get_offsets(), U[:, :2])
    assert np.allclose(texts.get_offsets(), V[:, :2])


def test_more_dimensions_are_turned_onto_the_greatest_variance_of_both():
    figure = embedding_scatter(U, V)
    drawn = np.vstack([c.get_offsets() for c in figure.axes[0].collections])
    both = np.vstack([U, V])
    values = np.linalg.eigvalsh(np.cov(both.T))[::-1]
    assert np.allclose(np.cov(np.asarray(drawn).T), np.diag(values[:2]), atol=1e-10)
    share = values[0] / values.sum()
    assert figure.axes[0].get_xlabel() == f"direction 1 ({share:.0%} of the variance)"


def test_seven_families_at_most_have_a_colour():
    figure = embedding_scatter(U, V, labels=LABELS, label_names=FAMILIES, by="label")
    named = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert len([name for name in named if name.startswith("FAMILY")]) == 6
    assert named[-3:] == ["other", "image", "text"]


def test_a_scatter_can_go_into_given_axes():
    figure, (left, right) = canvas(1, 2)
    assert embedding_scatter(U, V, axes=left) is figure
    assert left.collections
    assert not right.collections


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((U, V[:5]), {}, "row i"),
        ((U, V[:, :2]), {}, "the same width"),
        ((U[:, :1], V[:, :1]), {}, "2 or more"),
        ((U, V), {"by": "label"}, "needed here"),
        ((U, V), {"by": "colour"}, "'modality' or 'label'"),
        ((U, V), {"by": "label", "labels": LABELS, "label_names": ["A"]}, "9 names"),
        ((U * np.nan, V), {}, "NaN"),
        ((U[:1], V[:1]), {}, "at least 2 rows"),
    ],
)
def test_a_scatter_refuses_what_does_not_fit(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        embedding_scatter(*arguments, **options)


# interval_plot


class FakeEstimate:
    mean, low, high = 0.5, 0.4, 0.6


class FakeInterval:
    estimate, low, high = 0.5, 0.4, 0.6


@pytest.mark.parametrize("first", [FakeEstimate(), FakeInterval()])
def test_whiskers_reach_from_low_to_high(first):
    axes = interval_plot({"CCA": first, "SM": (0.3, 0.2, 0.35)}, xlabel="mAP").axes[0]
    spans = [tuple(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "-"]
    assert spans == [(0.4, 0.6), (0.2, 0.35)]
    assert axes.lines[0].get_color() == colour("CCA")
    assert axes.yaxis_inverted()


def test_without_an_interval_there_is_no_whisker():
    axes = interval_plot({"one seed": (0.5, None, None), "two": (0.5, np.nan, 1)}, xlabel="x").axes[
        0
    ]
    assert [line.get_linestyle() for line in axes.lines] == ["None", "None"]


@pytest.mark.parametrize(
    ("results", "options", "message"),
    [
        ({}, {}, "at least one"),
        ({"A": (0.5, 0.6, 0.7)}, {}, "does not hold"),
        ({"A": 0.5}, {}, "an Estimate"),
        ({"A": (np.nan, 0, 1)}, {}, "an Estimate"),
        ({"A": (0.5, 0, 1)}, {"printed": {"B": 1}}, "B is not among"),
        ({"A": (0.5, 0, 1)}, {"xlabel": " "}, "say what is measured"),
    ],
)
def test_intervals_refuse_what_is_none(results, options, message):
    with pytest.raises(ValueError, match=message):
        interval_plot(results, **{"xlabel": "x", **options})


def test_a_variant_has_the_colour_of_its_method():
    names = ["late", "late + dropout", "a method of my own", ""]
    axes = interval_plot(dict.fromkeys(names, (0.5, None, None)), xlabel="x").axes[0]
    late, variant, own, nameless = (line.get_color() for line in axes.lines)
    assert late == variant == colour("LateFusion")
    assert len({late, own, nameless}) == 3
