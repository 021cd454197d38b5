"""The search in a real browser: keyboard, two on a page, dark, phone, no request."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vlalign_lib.viz import glyph_search

WORDS = ("HEART", "STAR", "ARROW")
PICTURES = np.zeros((3, 8, 8), dtype=np.float32)
PICTURES[0, :, :4], PICTURES[1, :4], PICTURES[2] = 1, 1, np.eye(8)


def encode(captions):
    rows = [[float(word in caption.upper().split()) for word in WORDS] for caption in captions]
    return np.array(rows)


def two_methods():
    """A search with two fitted methods."""
    gallery = SimpleNamespace(images=PICTURES, captions=WORDS, encode_captions=encode)
    method = SimpleNamespace(embed_images=lambda images: np.eye(3), embed_texts=lambda rows: rows)
    return glyph_search({"CCA": method, "other": method}, gallery, ["heart", "star", "arrow"])


def every_method(queries):
    """A search with the recorded answers of nineteen methods, among sixty characters."""
    pictures = np.zeros((60, 8, 8), dtype=np.float32)
    pictures.reshape(60, -1)[np.arange(60), np.arange(60)] = 1
    gallery = SimpleNamespace(
        images=pictures,
        captions=tuple(f"CANADIAN SYLLABICS SOUTH-SLAVEY {WORDS[i % 3]} {i}" for i in range(60)),
        ids=tuple(map(str, range(60))),
    )
    kept = {
        f"Triplet, semi-hard {i}": {
            query: [str((7 * i + 5 * j + len(query)) % 60) for j in range(8)]
            for query in ("heart", "star", "arrow heart")
        }
        for i in range(19)
    }
    return glyph_search({}, gallery, queries, recorded=kept)


def visit(browser, folder, found=None, *, theme="light", width=1000, **options):
    """Two searches on one page, what it asked for, and what it complained of."""
    found = found or two_methods()
    output = (
        f'<div class="cell_output"><div class="output text_html">{found._repr_html_()}</div></div>'
    )
    dark = (
        "html[data-theme=dark] .bd-content div.cell_output .text_html:not(:has(table.dataframe))"
        "{background-color:#ced6dd;color:#222832}"
        "html[data-theme=dark]{--pst-color-text-base:#ced6dd;--pst-color-background:#14181e}"
    )
    path = folder / "page.html"
    path.write_text(
        f"<!doctype html><html lang=en data-theme={theme}><meta charset=utf-8><title>t</title>"
        f"<style>{dark}</style><main class=bd-content>{output * 2}</main>",
        encoding="utf-8",
    )
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.goto(path.as_uri())
    return page


def shown(page):
    """The phrase of the one card that is visible in each search."""
    cards = [search.locator(".vl-card:visible") for search in page.locator(".vl-search").all()]
    assert all(card.count() == 1 for card in cards)
    return [re.search("“(.*?)”", card.locator("p").inner_text())[1] for card in cards]


def test_the_keyboard_chooses_in_one_and_leaves_the_other(browser, tmp_path):
    page = visit(browser, tmp_path)
    assert shown(page) == ["heart", "heart"]
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert shown(page) == ["star", "heart"]
    page.locator("select").nth(1).select_option("arrow")
    assert shown(page) == ["star", "arrow"]
    assert not page.complaints
    assert all(url.startswith(("file:", "data:")) for url in page.asked)


def test_assistive_technology_is_told_what_is_there(browser, tmp_path):
    tree = visit(browser, tmp_path).locator(".vl-search").first.aria_snapshot()
    assert 'combobox "Search for"' in tree
    assert 'img "HEART, holds every word"' in tree
    assert 'img "STAR"' in tree


def test_a_tile_shows_its_picture(browser, tmp_path):
    page = visit(browser, tmp_path, device_scale_factor=4)
    tile = page.locator(".vl-tile:visible").first
    drawn = np.array(Image.open(io.BytesIO(tile.screenshot())).convert("L"))
    middle = drawn[len(drawn) // 2]
    assert middle[int(0.3 * len(middle))] < 40, "the heart's left half is ink"
    assert middle[int(0.7 * len(middle))] > 215


def test_in_the_dark_the_card_stays_white_and_the_page_shows_through(browser, tmp_path):
    page = visit(browser, tmp_path, theme="dark")
    colour_of = "(e, name) => getComputedStyle(e).getPropertyValue(name)"
    card, output = page.locator(".vl-card").first, page.locator(".output").first
    assert card.evaluate(colour_of, "background-color") == "rgb(255, 255, 255)"
    assert card.evaluate(colour_of, "color") == "rgb(26, 26, 26)"
    assert output.evaluate(colour_of, "background-color") == "rgba(0, 0, 0, 0)"
    label = page.locator(".vl-search label").first
    assert label.evaluate(colour_of, "color") == "rgb(206, 214, 221)"


def test_on_a_telephone_nothing_is_cut_off_and_the_list_is_large_enough(browser, tmp_path):
    page = visit(browser, tmp_path, width=360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.locator("select").first.bounding_box()["height"] >= 44


def test_without_scripts_the_first_phrase_is_answered(browser, tmp_path):
    page = visit(browser, tmp_path, java_script_enabled=False)
    assert page.locator(".vl-card:not([hidden])").count() == 2


def test_choosing_fills_the_card_as_it_would_be_printed(browser, tmp_path):
    queries = ["heart", "star", "arrow heart"]
    page = visit(browser, tmp_path, every_method(queries))

    def of_first_card(page):
        text = page.locator(".vl-card").first.inner_text()
        tiles = page.locator(".vl-search").first.locator(".vl-tile")
        return text, tiles.evaluate_all(
            "all => all.map(e => [e.className.trim(), e.title, e.ariaLabel, "
            "getComputedStyle(e).backgroundPosition])"
        )

    page.keyboard.press("Tab")
    seen = [of_first_card(page)]
    for query in queries[1:]:
        page.keyboard.press("ArrowDown")
        assert shown(page) == [query, "heart"]
        others = [other for other in queries if other != query]
        (tmp_path / query).mkdir()
        found = every_method([query, *others])
        printed = visit(browser, tmp_path / query, found, java_script_enabled=False)
        chosen = of_first_card(page)
        assert chosen == of_first_card(printed)
        assert len(chosen[1]) == 19 * 8
        assert chosen not in seen
        seen.append(chosen)
    assert not page.complaints


@pytest.mark.parametrize("width", [320, 360, 700, 1000])
def test_nineteen_methods_fit_the_page(browser, tmp_path, width):
    page = visit(browser, tmp_path, every_method(["heart"]), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    search = page.locator(".vl-search").first
    right_edge = search.locator(".vl-card").evaluate("e => e.getBoundingClientRect().right")
    rows = search.locator(".vl-row").evaluate_all(
        "all => all.map(row => [row.getBoundingClientRect().height, "
        "[...row.querySelectorAll('.vl-tile')].map(tile => tile.getBoundingClientRect())])"
    )
    assert len(rows) == 19
    for height, tiles in rows:
        assert height <= 70
        tops = [tile["top"] for tile in tiles]
        assert max(tops) - min(tops) < 1, "one line"
        for tile in tiles:
            assert tile["width"] == pytest.approx(tile["height"], abs=0.1)
            assert tile["width"] >= 28
            assert tile["right"] <= right_edge
    assert search.locator(".vl-hits:visible").count() == 19
    assert search.locator(".vl-first:visible").count() == (19 if width >= 700 else 0)


def test_rows_of_few_methods_keep_their_size(browser, tmp_path):
    tile = visit(browser, tmp_path).locator(".vl-tile").first.bounding_box()
    assert tile["width"] == tile["height"] == pytest.approx(2.9 * 16, abs=0.1)
