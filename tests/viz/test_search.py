"""Search by words: what answers, its page form, its live form, and what it refuses."""

import base64
import io
import re
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vlalign_lib.viz import GlyphSearch, colour, glyph_search

WORDS = ("BLACK", "WHITE", "HEART", "STAR", "ARROW")
CAPTIONS = ("BLACK HEART", "WHITE HEART", "BLACK STAR", "WHITE STAR", "LEFT-ARROW")


def encode(captions):
    split = [re.findall(r"[A-Z]+", caption.upper()) for caption in captions]
    return np.array([[float(word in words) for word in WORDS] for words in split])


PICTURES = np.zeros((5, 6, 4), dtype=np.float32)
PICTURES[np.arange(5), np.arange(5), 0] = 1.0
GALLERY = SimpleNamespace(images=PICTURES, captions=CAPTIONS, encode_captions=encode)


class Reader:
    """A method that knows what is drawn, with a weight on each word."""

    def __init__(self, *weights):
        self.weights = np.array(weights)

    def embed_images(self, images):
        return encode([CAPTIONS[int(picture[:, 0].argmax())] for picture in images]) * self.weights

    def embed_texts(self, rows):
        return rows * self.weights


MODELS = {"CCA": Reader(1, 1, 1, 1, 1), "<b>shapes</b>": Reader(0, 0, 1, 1, 1)}


@pytest.fixture(autouse=True)
def _static(monkeypatch):
    monkeypatch.setenv("VLALIGN_LIVE", "0")


def search(models=MODELS, gallery=GALLERY, queries=("white star", "heart"), **options):
    return glyph_search(models, gallery, queries, **{"top": 3, **options})


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def of_class(self, name):
        return [a for _, a in self.tags if name in (a.get("class") or "").split()]


def test_each_method_answers_by_its_own_cosines():
    star, heart = search().answers
    assert star["CCA"].tolist() == [3, 1, 2]  # own name, then one word of two, ties in order
    assert star["<b>shapes</b>"].tolist() == [2, 3, 0]  # blind to colour
    assert heart["CCA"].tolist() == [0, 1, 2]


def test_lengths_of_vectors_do_not_matter():
    loud = Reader(1, 1, 1, 1, 1)
    loud.embed_images = lambda images: (
        MODELS["CCA"].embed_images(images) * np.array([[1], [1], [100], [1], [1]])
    )
    assert search({"loud": loud}).answers[0]["loud"].tolist() == [3, 1, 2]


def test_an_answer_that_holds_every_word_is_framed():
    page = Page(search(queries=("white star", "white"))._repr_html_())
    assert page.open == []
    tiles = page.of_class("vl-tile")
    assert len(tiles) == 2 * 2 * 3
    for tile in tiles[:6]:
        framed = "vl-right" in tile["class"].split()
        assert framed == (tile["title"] == "WHITE STAR")
        assert tile["aria-label"].startswith(tile["title"])
        assert tile["aria-label"].endswith("holds every word") == framed
        assert tile["role"] == "img"
    text = search(queries=("white star", "white"))._repr_html_()
    assert "“white star”: names that hold every word: 1 of 5" in text
    assert "“white”: names that hold every word: 2 of 5" in text
    assert "1 of 3; first: white star" in text


def test_a_method_and_its_variants_have_its_colour():
    names = ("CCA", "CCA with a ridge", "a method of my own")
    page = Page(search(dict.fromkeys(names, MODELS["CCA"]), queries=["star"])._repr_html_())
    shades = [name["style"].removeprefix("border-color:") for name in page.of_class("vl-name")]
    assert shades == [colour("CCA"), colour("CCA"), "transparent"]


def test_words_are_split_as_the_captions_are():
    text = search(queries=("arrow left", "heart"))._repr_html_()
    assert "“arrow left”: names that hold every word: 1 of 5" in text


def test_a_list_chooses_and_the_first_card_needs_no_script():
    page = Page(search()._repr_html_())
    assert [tag for tag, _ in page.tags].count("select") == 1
    assert [tag for tag, _ in page.tags].count("option") == 2
    assert ["hidden" in card for card in page.of_class("vl-card")] == [False, True]
    text = search(label="Find <it>")._repr_html_()
    assert "<label><span>Find &lt;it&gt;</span><select" in text


def test_no_ids_no_requests_and_what_is_typed_is_escaped():
    text = search(queries=("<i>heart</i>", "star"))._repr_html_()
    assert "<i>" not in text
    assert "<b>" not in text
    for tag, attributes in Page(text).tags:
        assert not {"id", "name", "href", "src", "onclick"} & set(attributes), tag
    assert re.findall(r"url\((.{5})", text) == ["data:"]
    assert not re.search(r"https?://|@import|fetch\(", text)


def shown(text, number):
    """The picture that a browser cuts out of the sheet for one tile."""
    (address,) = re.findall(r"url\(data:image/png;base64,([^)]*)\)", text)
    sheet = np.array(Image.open(io.BytesIO(base64.b64decode(address))).convert("L"))
    style = Page(text).of_class("vl-tile")[number]["style"]
    size, place = re.findall(r"([\d.]+)% ([\d.]+)%", style)
    columns, lines = (round(float(part) / 100) for part in size)
    height, width = sheet.shape[0] // lines, sheet.shape[1] // columns
    column = round(float(place[0]) / 100 * (columns - 1))
    line = round(float(place[1]) / 100 * (lines - 1))
    top, left = line * height, column * width
    return sheet[top : top + height, left : left + width]


def test_each_tile_shows_its_own_picture():
    found = search(top=5)
    text = found._repr_html_()
    rows = [row for answer in found.answers for of in answer.values() for row in of]
    for number, row in enumerate(rows):
        tile = shown(text, number)
        assert tile.shape == (8, 6)
        assert np.array_equal(tile[1:-1, 1:-1], 255 * (1 - PICTURES[row]))
        assert (tile[0] == 255).all()


def test_a_sheet_of_several_lines():
    many = 60
    pictures = np.zeros((many, 8, 8), dtype=np.float32)
    pictures.reshape(many, -1)[np.arange(many), np.arange(many)] = 1
    captions = tuple(f"HEART {'I' * (i + 1)}" for i in range(many))
    gallery = SimpleNamespace(images=pictures, captions=captions, encode_captions=encode)
    models = {}
    for i in range(10):
        order = np.roll(np.linspace(1, 2, many), 6 * i)
        models[str(i)] = SimpleNamespace(
            embed_images=lambda images, a=order: np.column_stack([np.cos(a), np.sin(a)]),
            embed_texts=lambda rows: np.tile([0.0, 1.0], (len(rows), 1)),
        )
    found = glyph_search(models, gallery, ["heart"], top=12)
    rows = [row for of in found.answers[0].values() for row in of]
    assert len(set(rows)) > 24
    for number, row in enumerate(rows):
        assert np.array_equal(
            shown(found._repr_html_(), number)[1:-1, 1:-1], 255 - 255 * pictures[row]
        )


def test_the_same_bytes_on_every_run_and_a_text_for_terminals():
    assert search()._repr_html_() == search()._repr_html_()
    assert repr(search({"CCA": MODELS["CCA"]})) == (
        "Search for: 2 queries\n  white star → CCA: WHITE STAR\n  heart → CCA: BLACK HEART"
    )


def test_a_gallery_smaller_than_top_is_shown_whole():
    assert len(search(top=12).answers[0]["CCA"]) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": {}}, "at least one fitted method"),
        ({"models": [1]}, "models"),
        ({"queries": "heart"}, "expected phrases"),
        ({"queries": []}, "expected phrases"),
        ({"queries": ["heart", " heart "]}, "stands there twice"),
        ({"queries": ["zebra"]}, "no training name holds a word of 'zebra'"),
        ({"top": 0}, "1 to 12"),
        ({"top": 13}, "1 to 12"),
        ({"gallery": SimpleNamespace(images=PICTURES, captions=None)}, "no captions"),
        (
            {
                "gallery": SimpleNamespace(
                    images=np.ones((5, 4)), captions=CAPTIONS, encode_captions=encode
                )
            },
            "expected pictures",
        ),
    ],
)
def test_bad_input_is_explained(change, message):
    with pytest.raises(ValueError, match=message):
        search(**change)


def test_live_it_answers_what_is_typed(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv("VLALIGN_LIVE", "1")
    field, answer = search().children
    assert field.value == "white star"
    assert "“white star”" in answer.value
    field.value = "black   star"
    assert "“black star”: names that hold every word: 1 of 5" in answer.value
    assert "<script" not in answer.value, "widgets run no scripts"
    before = answer.value
    field.value = "  "
    assert answer.value == before
    field.value = "<zebra>"
    assert answer.value.startswith("<p>no training name holds a word of")
    assert "<zebra>" not in answer.value


def test_without_ipywidgets_the_page_form_serves(monkeypatch):
    monkeypatch.setenv("VLALIGN_LIVE", "1")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert isinstance(search(), GlyphSearch)
