"""The same pictures in several spaces: where they lie, their tints, and the number above."""

from functools import cache
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from looks import check_frame
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.text import Text

from vlalign_lib.viz import CYCLE, colour, embedding_scatter, glyph_maps

mpl.use("agg")
RNG = np.random.default_rng(0)
PICTURES = RNG.uniform(size=(40, 12, 12))
U = RNG.normal(size=(40, 5))
V = U + 0.7 * RNG.normal(size=(40, 5))
FAMILIES = np.arange(40) % 5
NAMES = ["LATIN", "GREEK", "ARABIC", "BRAILLE", "CANADIAN SYLLABICS"]
TINTS = [shade for shade in CYCLE if shade != colour("text")]  # the names' own colour comes last
SIX = {
    name: (U + spread * RNG.normal(size=U.shape), V)
    for spread, name in enumerate(
        ["CCA", "CFA", "KernelCCA", "Triplet, semi-hard", "SAM, reconstructed", "A long, long name"]
    )
}
DRAWINGS = {
    "six": lambda: glyph_maps(SIX, PICTURES, labels=FAMILIES, label_names=NAMES),
    "four, two of them alone": lambda: glyph_maps(dict(list(SIX.items())[:4]), PICTURES),
    "two": lambda: glyph_maps(dict(list(SIX.items())[:2]), PICTURES, labels=FAMILIES),
    "one": lambda: glyph_maps({"CCA": (U, V)}, PICTURES),
}
every = pytest.mark.parametrize("name", DRAWINGS)


@cache
def drawing(name):
    """The figure, drawn once for all that only look at it."""
    figure = DRAWINGS[name]()
    FigureCanvasAgg(figure).draw()
    return figure


def middles(axes):
    """Where the middle of each picture lies, (n, 2)."""
    boxes = np.array([image.get_extent() for image in axes.images])
    return np.column_stack([boxes[:, :2].mean(axis=1), boxes[:, 2:].mean(axis=1)])


def ends(axes):
    """Where the mark of each name lies, (n, 2)."""
    (line,) = (line for line in axes.lines if len(line.get_xdata()) > 0)
    assert line.get_marker() == "^"
    assert line.get_color() == colour("text")
    return line.get_xydata()


def turned(u, v):
    """Unit rows along the two first principal axes of both views, by an eigendecomposition."""
    both = np.vstack([row / np.sqrt((row**2).sum()) for row in np.vstack([u, v])])
    both -= both.mean(axis=0)
    _, axes = np.linalg.eigh(both.T @ both)
    axes = axes[:, [-1, -2]]
    largest = axes[np.abs(axes).argmax(axis=0), [0, 1]]
    return np.split(both @ (axes * np.sign(largest)), 2)


def test_pictures_and_names_lie_where_the_method_puts_them():
    (axes,) = glyph_maps({"CCA": (U, V)}, PICTURES).axes
    images, names = turned(U, V)
    assert middles(axes) == pytest.approx(images)
    assert ends(axes) == pytest.approx(names)


def test_two_dimensions_are_unit_vectors_as_they_are():
    (axes,) = glyph_maps({"CCA": (U[:, :2], V[:, :2])}, PICTURES).axes
    for found, rows in ((middles(axes), U[:, :2]), (ends(axes), V[:, :2])):
        assert found == pytest.approx(rows / np.hypot(rows[:, 0], rows[:, 1])[:, None])


def test_a_row_of_zeros_stays_in_the_origin():
    u = U[:, :2].copy()
    u[3] = 0
    (axes,) = glyph_maps({"CCA": (u, V[:, :2])}, PICTURES).axes
    assert middles(axes)[3] == pytest.approx([0, 0], abs=1e-12)


def test_lengths_do_not_matter():
    scale = RNG.uniform(0.1, 9, size=(40, 1))
    (one,), (other,) = (
        glyph_maps({"CCA": pair}, PICTURES).axes for pair in ((U, V), (scale * U, V * scale[::-1]))
    )
    assert middles(one) == pytest.approx(middles(other))
    assert one.texts[0].get_text() == other.texts[0].get_text()


def test_a_thread_joins_each_picture_and_its_name():
    (axes,) = glyph_maps({"CCA": (U, V)}, PICTURES).axes
    (threads,) = (c for c in axes.collections if isinstance(c, LineCollection))
    segments = np.array(threads.get_segments())
    assert segments[:, 0] == pytest.approx(middles(axes))
    assert segments[:, 1] == pytest.approx(ends(axes))
    assert threads.get_zorder() < min(image.get_zorder() for image in axes.images)


def test_ink_is_opaque_and_the_ground_is_clear():
    (axes,) = glyph_maps({"CCA": (U, V)}, PICTURES).axes
    assert len(axes.images) == 40
    for image, picture in zip(axes.images, PICTURES, strict=True):
        drawn = np.asarray(image.get_array())
        assert drawn[..., 3] == pytest.approx(picture)
        assert (drawn[..., :3] == to_rgb(colour("image"))).all()


def test_the_number_is_the_share_of_names_that_find_their_own_picture_first():
    figure = glyph_maps(SIX, PICTURES)
    for axes, (name, (u, v)) in zip(figure.axes, SIX.items(), strict=True):
        hits = 0
        for i in range(40):
            cosines = [
                v[i] @ u[j] / np.sqrt((v[i] ** 2).sum() * (u[j] ** 2).sum()) for j in range(40)
            ]
            hits += int(np.argmax(cosines)) == i
        assert [t.get_text() for t in axes.texts] == [
            f"own picture nearest: {100 * hits / 40:.0f} %"
        ]
        assert axes.get_title(loc="left") == name
    shown = [axes.texts[0].get_text() for axes in figure.axes]
    assert len(set(shown)) > 3  # the methods differ, so that a mix-up would be seen


def test_the_number_is_that_of_the_whole_space_and_of_names_among_pictures():
    u = np.array([[1.0, 0, 0], [1, 1, 0], [0, 0, 1]])
    v = np.array([[1.0, 0, 0], [1, 0.1, 0], [1, 0, 0.1]])  # all names are nearest to picture 0
    figure = glyph_maps({"by names": (u, v), "by pictures": (v, u)}, np.ones((3, 4, 4)))
    shown = [axes.texts[0].get_text() for axes in figure.axes]
    assert shown == ["own picture nearest: 33 %", "own picture nearest: 100 %"]


def test_a_family_has_one_tint_and_the_legend_names_it():
    labels = np.where(FAMILIES == 4, -1, FAMILIES + 2)
    names = ["unused", "unused too", *NAMES]
    figure = glyph_maps(dict(list(SIX.items())[:2]), PICTURES, labels=labels, label_names=names)
    for axes in figure.axes:
        for image, family in zip(axes.images, FAMILIES, strict=True):
            tint = "#1A1A1A" if family == 4 else TINTS[family]
            assert to_hex(image.get_array()[0, 0, :3]) == tint.lower()
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["where its name lies", *NAMES[:4], "no family"]
    tints = [handle.get_color() for handle in legend.legend_handles[1:]]
    assert tints == [*TINTS[:4], "#1A1A1A"]


def test_the_colour_of_the_names_goes_to_the_seventh_family():
    (axes,) = glyph_maps({"CCA": (U, V)}, PICTURES, labels=np.arange(40) % 7).axes
    tints = [to_hex(image.get_array()[0, 0, :3]).upper() for image in axes.images[:7]]
    assert tints == [*TINTS, colour("text")]


def test_without_names_of_families_the_legend_explains_the_threads_alone():
    for labels in (None, FAMILIES):
        (legend,) = glyph_maps({"CCA": (U, V)}, PICTURES, labels=labels).legends
        assert [text.get_text() for text in legend.get_texts()] == ["where its name lies"]


@pytest.mark.parametrize(("methods", "rows"), [(1, 1), (3, 1), (4, 2)])
def test_panels_stand_in_rows_of_three(methods, rows):
    figure = glyph_maps(dict(list(SIX.items())[:methods]), PICTURES)
    FigureCanvasAgg(figure).draw()
    assert len(figure.axes) == methods
    heights = {round(axes.get_position().y0, 3) for axes in figure.axes}
    assert len(heights) == rows


@every
def test_panels_are_squares_large_enough_to_read(name):
    for axes in drawing(name).axes:
        box = axes.get_window_extent()
        assert box.width == pytest.approx(box.height, rel=1e-6)
        assert box.width / axes.figure.dpi > 1.95
        spans = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
        assert spans[0] == pytest.approx(spans[1])


@every
def test_pictures_have_one_size_and_stay_inside_their_panel(name):
    for axes in drawing(name).axes:
        panel = axes.get_window_extent()
        for image in axes.images:
            left, right, bottom, top = image.get_extent()
            corners = axes.transData.transform([(left, bottom), (right, top)])
            assert np.ptp(corners, axis=0) / axes.figure.dpi == pytest.approx(0.19, abs=1e-3)
            assert panel.padded(1).contains(*corners[0])
            assert panel.padded(1).contains(*corners[1])
        assert all(panel.contains(*axes.transData.transform(end)) for end in ends(axes))


@every
def test_it_is_closed_wide_and_legible(name):
    figure = drawing(name)
    check_frame(figure)
    shown = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    for one, other in combinations(shown, 2):
        assert not one.get_window_extent().overlaps(other.get_window_extent()), (one, other)
    for axes in figure.axes:
        assert not axes.get_xticks().size
        assert not axes.get_yticks().size


def test_the_scatter_turns_points_in_the_same_way():
    u, v = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (U, V))
    images, texts = embedding_scatter(u, v).axes[0].collections
    (axes,) = glyph_maps({"CCA": (U, V)}, PICTURES).axes
    assert middles(axes) == pytest.approx(np.asarray(images.get_offsets()))
    assert ends(axes) == pytest.approx(np.asarray(texts.get_offsets()))


def test_tensors_with_a_gradient_are_taken():
    torch = pytest.importorskip("torch")
    u, v = (torch.tensor(rows).requires_grad_() for rows in (U, V))
    (axes,) = glyph_maps(
        {"CCA": (u, v)}, torch.tensor(PICTURES), labels=torch.tensor(FAMILIES)
    ).axes
    assert middles(axes) == pytest.approx(turned(U, V)[0])


def test_points_that_coincide_are_drawn():
    (axes,) = glyph_maps({"CCA": (np.ones((3, 4)), np.ones((3, 4)))}, np.ones((3, 4, 4))).axes
    assert np.ptp(axes.get_xlim()) > 0
    assert axes.texts[0].get_text() == "own picture nearest: 33 %"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embeddings": [U]}, r"embeddings: expected \{method: \(pictures, names\)\}, got list"),
        ({"embeddings": {}}, "embeddings: expected at least one"),
        ({"embeddings": {"A": U}}, r"embeddings\['A'\]: expected a pair .* got ndarray"),
        ({"embeddings": {"A": (U, V, V)}}, r"embeddings\['A'\]: expected a pair .* got 3 of them"),
        ({"embeddings": {"A": (U, V[:9])}}, "pictures has 40 rows and .* names has 9"),
        ({"embeddings": {"A": (U, V[:, :3])}}, "same width, 2 or more, got 5 and 3"),
        ({"embeddings": {"A": (U[:, :1], V[:, :1])}}, "same width, 2 or more, got 1 and 1"),
        ({"embeddings": {"A": (U, V * np.nan)}}, r"embeddings\['A'\], names: .* NaN"),
        ({"embeddings": {"A": (U[:9], V[:9])}}, "expected 40 rows, one a picture, got 9"),
        ({"pictures": PICTURES.reshape(40, -1)}, r"pictures: expected pictures \(n, h, w\)"),
        ({"pictures": np.ones((40, 4, 4, 3))}, "one number a pixel"),
        ({"pictures": 255 * PICTURES}, "ink from 0 to 1, got values from .* divide by the largest"),
        ({"pictures": -PICTURES}, "ink from 0 to 1"),
        ({"labels": FAMILIES[:9]}, r"labels: expected shape \(40,\)"),
        ({"labels": np.arange(40) % 8}, "labels: expected up to 7 families, .* got 8"),
        ({"label_names": NAMES}, "label_names: there are no labels to name"),
        ({"labels": FAMILIES, "label_names": NAMES[:4]}, "label_names: expected 5 names or more"),
        ({"labels": FAMILIES, "label_names": 5}, "label_names: expected 5 names or more"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"embeddings": {"CCA": (U, V)}, "pictures": PICTURES} | change
    with pytest.raises(ValueError, match=message):
        glyph_maps(**arguments)
