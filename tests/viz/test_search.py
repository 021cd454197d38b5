"""Search by words: what answers, its page form, its live form, and what it refuses."""

import base64
import io
import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from looks import Page
from PIL import Image

from vlalign_lib.viz import GlyphSearch, colour, glyph_search

WORDS = ("BLACK", "WHITE", "HEART", "STAR", "ARROW")
CAPTIONS = ("BLACK HEART", "WHITE HEART", "BLACK STAR", "WHITE STAR", "LEFT-ARROW")


def encode(captions):
    split = [re.findall(r"[A-Z]+", caption.upper()) for caption in captions]
    return np.array([[float(word in words) for word in WORDS] for words in split])


PICTURES = np.zeros((5, 6, 4), dtype=np.float32)
PICTURES[np.arange(5), np.arange(5), 0] = 1.0
GALLERY = SimpleNamespace(
    images=PICTURES, captions=CAPTIONS, ids=tuple("♥♡★☆←"), encode_captions=encode
)


class Reader:
    """A method that knows what is drawn, with a weight on each word."""

    def __init__(self, *weights):
        self.weights = np.array(weights)

    def embed_images(self, images):
        return encode([CAPTIONS[int(picture[:, 0].argmax())] for picture in images]) * self.weights

    def embed_texts(self, rows):
        return rows * self.weights


MODELS = {"CCA": Reader(1, 1, 1, 1, 1), "<b>shapes</b>": Reader(0, 0, 1, 1, 1)}


def search(models=MODELS, gallery=GALLERY, queries=("white star", "heart"), **options):
    return glyph_search(models, gallery, queries, **{"top": 3, **options})


def card(text, number):
    """What the page shows of one query: its head, and by method the tiles and what is said."""
    data = json.loads(re.search(r'class="vl-data">(.*?)</script>', text)[1])
    head, rows = data["cards"][number]
    names = re.findall(r'<span class="vl-name"[^>]*>(.*?)</span>', text)
    tiles = [
        [(*data["pictures"][code // 2], data["right"] if code % 2 else "") for code in codes]
        for _, _, codes in rows
    ]
    said = [hits + first for hits, first, _ in rows]
    return head, dict(zip(names, zip(tiles, said, strict=True), strict=True))


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
    text = search(queries=("white star", "white"))._repr_html_()
    page = Page(text)
    assert page.open == []
    tiles = page.of_class("vl-tile")
    assert len(tiles) == 2 * 3
    for tile in tiles:
        framed = "vl-right" in tile["class"].split()
        assert framed == (tile["title"] == "WHITE STAR")
        assert tile["aria-label"] == tile["title"] + ", holds every word" * framed
        assert tile["role"] == "img"
    assert "“white star”: names that hold every word: 1 of 5</p>" in text
    assert '<span class="vl-hits">1 of 3</span><span class="vl-first">; first: white star' in text


def test_the_script_has_what_the_first_card_shows_and_the_others():
    text = search(queries=("white star", "white"))._repr_html_()
    head, rows = card(text, 0)
    assert f"<p>{head}</p>" in text
    listed = [tile for tiles, _ in rows.values() for tile in tiles]
    for (title, place, framed), tile in zip(listed, Page(text).of_class("vl-tile"), strict=True):
        assert tile["title"] == title
        assert tile["aria-label"] == title + framed
        assert tile["style"] == f"background-position:{place}"
    head, rows = card(text, 1)
    assert head == "“white”: names that hold every word: 2 of 5"
    tiles, said = rows["CCA"]
    assert [bool(framed) for _, _, framed in tiles] == [t.startswith("WHITE") for t, _, _ in tiles]
    assert said == "2 of 3; first: white heart"


def test_a_method_and_its_variants_have_its_colour():
    names = ("CCA", "CCA with a ridge", "CMDN-style", "a method of my own")
    page = Page(search(dict.fromkeys(names, MODELS["CCA"]), queries=["star"])._repr_html_())
    shades = [name["style"].removeprefix("border-color:") for name in page.of_class("vl-name")]
    assert shades == [colour("CCA"), colour("CCA"), colour("CMDN"), "transparent"]


def test_words_are_split_as_the_captions_are():
    text = search(queries=("arrow left", "heart"))._repr_html_()
    assert "“arrow left”: names that hold every word: 1 of 5" in text


def test_a_list_chooses_and_the_first_card_needs_no_script():
    page = Page(search()._repr_html_())
    assert [tag for tag, _ in page.tags].count("select") == 1
    assert [tag for tag, _ in page.tags].count("option") == 2
    assert [card["class"] for card in page.of_class("vl-card")] == ["vl-card"]
    assert "“white star”" in search()._repr_html_().split("<script>")[0]
    assert "<label><span>Search for</span><select" in search()._repr_html_()


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
    page = Page(text)
    (root,), tile = page.of_class("vl-search"), page.of_class("vl-tile")[number]
    pair = r"([\d.]+)% ([\d.]+)%"
    size = re.search(f"--vl-size:{pair}", root["style"]).groups()
    place = re.fullmatch(f"background-position:{pair}", tile["style"]).groups()
    columns, lines = (round(float(part) / 100) for part in size)
    height, width = sheet.shape[0] // lines, sheet.shape[1] // columns
    column = round(float(place[0]) / 100 * (columns - 1))
    line = round(float(place[1]) / 100 * (lines - 1))
    top, left = line * height, column * width
    return sheet[top : top + height, left : left + width]


def test_each_tile_shows_its_own_picture():
    found = search(top=5)
    text = found._repr_html_()
    rows = [row for of in found.answers[0].values() for row in of]
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
    assert search(recorded=KEPT)._repr_html_() == search(recorded=KEPT)._repr_html_()
    assert repr(search({"CCA": MODELS["CCA"]})) == (
        "Search for: 2 queries\n  white star → CCA: WHITE STAR\n  heart → CCA: BLACK HEART"
    )


def test_a_gallery_smaller_than_top_is_shown_whole():
    assert len(search(top=12).answers[0]["CCA"]) == 5


KEPT = {
    "DCCA": {"white star": ["☆", "★", "♡", "♥"], "heart": ("♡", "♥", "★", "←")},
    "CCA": {"White  star": ["←", "★", "♡"], "heart": ["←", "♥", "★"], "arrow": ["←", "♥", "★"]},
}


def never():
    raise AssertionError("was called")


def test_recorded_answers_are_shown_as_they_are():
    found = search({}, recorded=KEPT)
    star, heart = found.answers
    assert {name: rows.tolist() for name, rows in star.items()} == {
        "DCCA": [3, 2, 1],
        "CCA": [4, 2, 1],
    }
    assert {name: rows.tolist() for name, rows in heart.items()} == {
        "DCCA": [1, 0, 2],
        "CCA": [4, 0, 2],
    }
    text = found._repr_html_()
    for number, answer in enumerate(found.answers):
        _, rows = card(text, number)
        for name, of in answer.items():
            assert [title for title, _, _ in rows[name][0]] == [CAPTIONS[row] for row in of]
    assert [t["title"] for t in Page(text).of_class("vl-tile")][:3] == [
        "WHITE STAR",
        "BLACK STAR",
        "WHITE HEART",
    ]
    assert card(text, 0)[1]["DCCA"][1] == "1 of 3; first: white star"


def test_a_fitted_method_answers_in_the_place_of_its_record_and_others_follow():
    models = {"SM": MODELS["CCA"], "CCA": MODELS["<b>shapes</b>"]}
    star = search(models, recorded=KEPT).answers[0]
    assert list(star) == ["DCCA", "CCA", "SM"]
    assert star["CCA"].tolist() == [2, 3, 0], "the fitted one, not [4, 2, 1]"
    assert star["SM"].tolist() == [3, 1, 2]


def test_a_page_fits_nothing():
    found = search({"DCCA": never, "CCA": never}, recorded=KEPT)
    assert found.answers[0]["DCCA"].tolist() == [3, 2, 1]
    assert "DCCA: WHITE STAR; CCA: LEFT-ARROW" in repr(found)
    found._repr_html_()


def test_recorded_phrases_need_no_known_word_where_nothing_is_fitted():
    kept = {"DCCA": {"zebra": ["☆", "★", "♡"]}}
    assert search({}, queries=["zebra"], recorded=kept).answers[0]["DCCA"].tolist() == [3, 2, 1]


def test_rows_are_low_where_there_are_many():
    for many in (6, 7):
        kept = {str(i): KEPT["DCCA"] for i in range(many)}
        page = Page(search({}, recorded=kept)._repr_html_())
        assert len(page.of_class("vl-row")) == many
        assert len(page.of_class("vl-many")) == (many == 7)


def test_a_page_of_every_method_stays_small():
    rng = np.random.default_rng(0)
    pictures = (rng.random((1000, 32, 32)) < 0.2).astype(np.float32)
    gallery = SimpleNamespace(
        images=pictures,
        captions=tuple(f"LATIN CAPITAL LETTER NUMBER {i} WITH ACUTE" for i in range(1000)),
        ids=tuple(map(str, range(1000))),
    )
    queries = [f"letter {i}" for i in range(20)]
    kept = {
        str(i): {query: list(map(str, rng.choice(60, 8, replace=False))) for query in queries}
        for i in range(19)
    }
    text = glyph_search({}, gallery, queries, recorded=kept)._repr_html_()
    assert text.count("url(data:") == 1
    assert len(text) < 120_000, "of which noise, that no PNG makes small, is a third"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": {}}, "at least one fitted method"),
        ({"models": {}, "recorded": {}}, "at least one fitted method"),
        ({"models": [1]}, "models: expected {name: fitted method}, got list"),
        ({"models": {"CCA": 3}}, r"models\['CCA'\]: expected a fitted method .* got int"),
        ({"models": {"CCA": Reader}}, "got the class Reader"),
        ({"models": {"SM": never}}, "'SM' is a function and has no recorded answers"),
        (
            {"models": {"SM": never}, "recorded": {"CCA": {}}, "queries": ["star"]},
            "CCA has no answers to 'star'",
        ),
        ({"recorded": ["DCCA"]}, "recorded: expected {method: {phrase: ids}}, got list"),
        ({"recorded": {"DCCA": ["☆"]}}, r"recorded\['DCCA'\]: expected {phrase: ids"),
        (
            {"recorded": {**KEPT, "SM": {"white star": ["☆", "★", "♡"]}}},
            "SM has no answers to 'heart'; .* ask for 'white star'",
        ),
        (
            {"recorded": {"DCCA": {"white star": ["☆", "★", "x"]}}},
            "DCCA answers 'white star' with 'x', .* recorded on another gallery",
        ),
        ({"recorded": KEPT, "top": 4}, "CCA has 3 answers to 'White  star', fewer than top=4"),
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


class Recipe:
    """A function that fits ``method``, and counts how often it is called."""

    def __init__(self, result):
        self.result, self.calls, self.page_while_fitting = result, 0, None

    def __call__(self):
        self.calls += 1
        if self.page is not None:
            self.page_while_fitting = self.page.value
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    page = None


def live(monkeypatch, models, **options):
    """The field, the boxes to tick by method, and the answer of a live search."""
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv("VLALIGN_LIVE", "1")
    field, chosen, answer = search(models, **options).children
    for model in models.values():
        if isinstance(model, Recipe):
            model.page = answer
    return field, {box.description: box for box in chosen.children}, answer


def rows_of(answer):
    """By method the titles of the tiles, or what is said in their place."""
    rows = {}
    for row in answer.value.split('<div class="vl-row">')[1:]:
        name = re.search(r'class="vl-name"[^>]*>(.*?)<', row)[1]
        titles = re.findall(r'title="(.*?)"', row)
        rows[name] = titles or re.sub("<.*?>", "", row.split("vl-said")[1]).lstrip('">')
    return rows


def test_live_a_function_is_called_once_and_only_for_words_without_a_record(monkeypatch):
    recipe = Recipe(MODELS["CCA"])
    models = {"SM": MODELS["CCA"], "DCCA": recipe}
    field, boxes, answer = live(monkeypatch, models, recorded=KEPT)
    assert [(name, box.value) for name, box in boxes.items()] == [
        ("DCCA", False),  # would have to be fitted
        ("CCA", True),
        ("SM", True),
    ]
    assert list(rows_of(answer)) == ["CCA", "SM"]
    boxes["DCCA"].value = True
    assert rows_of(answer)["DCCA"] == ["WHITE STAR", "BLACK STAR", "WHITE HEART"]
    field.value = "Heart"
    assert rows_of(answer)["DCCA"] == ["WHITE HEART", "BLACK HEART", "BLACK STAR"]
    field.value = "zebra"
    assert "no training name holds a word of" in answer.value
    assert recipe.calls == 0, "recorded phrases and unknown words need no fit"

    field.value = "black star"
    assert "fitting DCCA …" in recipe.page_while_fitting
    assert "fitting" not in answer.value
    assert rows_of(answer) == {
        "DCCA": ["BLACK STAR", "BLACK HEART", "WHITE STAR"],
        "CCA": "recorded for the prepared phrases only",
        "SM": ["BLACK STAR", "BLACK HEART", "WHITE STAR"],
    }
    field.value = "black"
    boxes["DCCA"].value = False
    assert list(rows_of(answer)) == ["CCA", "SM"]
    boxes["DCCA"].value = True
    field.value = "white star"
    assert rows_of(answer)["DCCA"] == ["WHITE STAR", "WHITE HEART", "BLACK STAR"]
    assert rows_of(answer)["CCA"] == ["LEFT-ARROW", "BLACK STAR", "WHITE HEART"]
    assert recipe.calls == 1, "fitted once; from there on it answers everything"


def test_live_a_phrase_is_recorded_even_where_it_is_not_prepared(monkeypatch):
    field, boxes, answer = live(monkeypatch, {}, recorded=KEPT)
    assert all(box.value for box in boxes.values())
    field.value = "arrow"
    assert rows_of(answer) == {
        "DCCA": "recorded for the prepared phrases only",
        "CCA": ["LEFT-ARROW", "BLACK HEART", "BLACK STAR"],
    }


def test_live_only_what_is_chosen_is_fitted(monkeypatch):
    first, second = Recipe(MODELS["CCA"]), Recipe(MODELS["CCA"])
    field, boxes, answer = live(monkeypatch, {"CCA": first, "DCCA": second}, recorded=KEPT)
    assert [name for name, box in boxes.items() if box.value] == ["DCCA"], "the first in order"
    field.value = "black"
    assert (first.calls, second.calls) == (0, 1)
    boxes["DCCA"].value = False
    assert answer.value == "<p>Choose a method.</p>"
    boxes["CCA"].value = True
    assert (first.calls, second.calls) == (1, 1)


def test_live_a_function_without_a_record_is_fitted_when_it_is_chosen(monkeypatch):
    recipe = Recipe(MODELS["CCA"])
    field, boxes, answer = live(monkeypatch, {"DCCA": recipe})
    assert answer.value == "<p>Choose a method.</p>"
    field.value = "  "
    boxes["DCCA"].value = True
    assert recipe.calls == 0, "nothing is asked"
    field.value = "white star"
    assert recipe.calls == 1
    assert rows_of(answer) == {"DCCA": ["WHITE STAR", "WHITE HEART", "BLACK STAR"]}


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (ValueError("no <b>data</b>"), "ValueError: no &lt;b&gt;data&lt;/b&gt;"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (None, "expected a fitted method with embed_images and embed_texts"),
    ],
)
def test_live_what_goes_wrong_in_fitting_is_told_in_the_page(monkeypatch, result, message):
    recipe = Recipe(result)
    models = {"DCCA": recipe, "SM": MODELS["CCA"]}
    field, boxes, answer = live(monkeypatch, models, recorded=KEPT)
    boxes["DCCA"].value = True
    for words in ("black star", "black"):
        field.value = words
        assert rows_of(answer)["DCCA"].startswith("could not be fitted: ")
        assert message in answer.value
        assert len(rows_of(answer)["SM"]) == 3, "the others answer"
        assert "Traceback" not in answer.value
    assert recipe.calls == 1
    field.value = "heart"
    assert rows_of(answer)["DCCA"] == ["WHITE HEART", "BLACK HEART", "BLACK STAR"]


def test_live_a_fitted_method_needs_nothing_to_choose(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv("VLALIGN_LIVE", "1")
    assert len(search().children) == 2
    assert len(search(recorded={"CCA": KEPT["CCA"]}).children) == 2
    assert len(search(recorded=KEPT).children) == 3
