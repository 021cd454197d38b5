"""The slider in a real browser: keyboard, touch, two on a page, dark, phone, no request."""

import os

import matplotlib as mpl
import pytest

from vlalign_lib.viz import canvas, frame_slider

mpl.use("agg")

# What the book's theme does to outputs in the dark, and its colours.
THEME = """
html[data-theme=light]{--pst-color-text-base:#323232;--pst-color-background:#fff;
--pst-color-primary:#176de8}
html[data-theme=dark]{--pst-color-text-base:#ced6dd;--pst-color-background:#14181e;
--pst-color-on-background:#222832;--pst-color-primary:#528fe4}
body{margin:0;padding:12px;background:var(--pst-color-background);color:var(--pst-color-text-base)}
html[data-theme=dark] .bd-content div.cell_output .text_html:not(:has(table.dataframe)),
html[data-theme=dark] .bd-content div.cell_output img{background-color:var(--pst-color-text-base);
border-radius:.25rem;color:var(--pst-color-on-background);padding:.5rem}
div.cell_output .output{max-width:100%;overflow-x:auto}
"""


def draw(slope):
    figure, axes = canvas(height=2.5)
    axes.plot([0, 1], [0, slope])
    axes.set(xlabel="x (m)", ylabel="y (m)", ylim=(0, 4))
    return figure


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page with the same slider twice and another one, in the theme's markup."""
    before = os.environ.get("VLALIGN_LIVE")
    os.environ["VLALIGN_LIVE"] = "0"
    try:
        same = frame_slider(draw, [1, 2, 3, 4], label="slope", alt="A line of slope {value}.")
        other = frame_slider(
            draw, [0.5, 1.5], label="a label long enough to need two lines on a telephone, surely",
            alt="Slope {value}.", unit="metres a metre", start=1.5,
        )  # fmt: skip
    finally:
        os.environ.pop("VLALIGN_LIVE")
        if before is not None:
            os.environ["VLALIGN_LIVE"] = before
    outputs = "".join(
        f'<div class="cell_output"><div class="output text_html">{s._repr_html_()}</div></div>'
        for s in (same, same, other)
    )
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(
        "<!doctype html><html lang=en data-theme=THEME><meta charset=utf-8><title>t</title>"
        "<meta name=viewport content='width=device-width'>"
        f"<style>{THEME}</style><main class=bd-content>{outputs}</main>",
        encoding="utf-8",
    )
    return path


class Visit:
    def __init__(self, browser, page_file, *, theme="light", width=1280, **options):
        themed = page_file.with_name(f"{theme}.html")
        themed.write_text(page_file.read_text(encoding="utf-8").replace("THEME", theme, 1), "utf-8")
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.goto(themed.as_uri())
        self.sliders = self.page.locator(".vl-slider")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def shown(self):
        """What each slider says, and the text of the one frame that is visible."""
        found = []
        for i in range(self.sliders.count()):
            slider = self.sliders.nth(i)
            visible = slider.locator("img:visible")
            assert visible.count() == 1
            found.append((slider.locator("output").inner_text(), visible.get_attribute("alt")))
        return found


def test_the_keyboard_moves_one_slider_and_leaves_the_others(browser, page_file):
    with Visit(browser, page_file) as visit:
        one, other = ("1", "A line of slope 1."), ("1.5 metres a metre", "Slope 1.5.")
        assert visit.shown() == [one, one, other]
        keyboard = visit.page.keyboard
        keyboard.press("Tab")  # reachable with no mouse
        keyboard.press("ArrowRight")
        two = ("2", "A line of slope 2.")
        assert visit.shown() == [two, one, other]
        keyboard.press("End")
        assert visit.shown() == [("4", "A line of slope 4."), one, other]
        keyboard.press("ArrowRight")
        assert visit.shown()[0][0] == "4"
        keyboard.press("Home")
        keyboard.press("Tab")
        keyboard.press("ArrowUp")
        assert visit.shown() == [one, two, other]
        first = visit.sliders.nth(1).locator("input")
        assert first.get_attribute("aria-valuetext") == "2"
        assert not visit.complaints
        assert all(url.startswith(("file:", "data:")) for url in visit.requests)


def test_assistive_technology_is_told_name_value_and_picture(browser, page_file):
    with Visit(browser, page_file) as visit:
        tree = visit.sliders.first.aria_snapshot()
        assert 'group "slope"' in tree
        assert 'slider "slope"' in tree
        assert 'img "A line of slope 1."' in tree
        assert "slope 2" not in tree


def test_nothing_moves_but_the_picture(browser, page_file):
    """The frame changes within one rendering: no jump, no blank in between."""
    with Visit(browser, page_file) as visit:
        measure = (
            "() => { const s = document.querySelector('.vl-slider'), i = s.querySelector('input');"
            "const before = s.getBoundingClientRect().height; const heights = [];"
            "for (const v of [3, 1, 2, 0]) { i.value = v; i.dispatchEvent(new Event('input'));"
            " const on = [...s.querySelectorAll('img')].filter("
            "  e => getComputedStyle(e).visibility === 'visible');"
            " heights.push([on.length, on[0].complete && on[0].naturalWidth > 0,"
            "  s.getBoundingClientRect().height - before]); } return heights; }"
        )
        assert visit.page.evaluate(measure) == [[1, True, 0]] * 4


def test_a_reload_shows_the_frame_that_the_handle_is_at(browser, page_file):
    with Visit(browser, page_file) as visit:
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("End")
        visit.page.reload()
        position = visit.sliders.first.locator("input").input_value()
        assert visit.shown()[0][0] == str(int(position) + 1)


LEGIBLE = """
() => {
  const luminance = text => text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const clear = colour => colour === 'rgba(0, 0, 0, 0)' || colour === 'transparent';
  const behind = e => { while (e && clear(getComputedStyle(e).backgroundColor)) e = e.parentElement;
    return e ? getComputedStyle(e).backgroundColor : 'rgb(255, 255, 255)'; };
  return [...document.querySelectorAll('.vl-slider output, .vl-slider label, .vl-ends span')]
    .map(e => { const a = luminance(getComputedStyle(e).color), b = luminance(behind(e));
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); });
}
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_are_legible_and_the_card_is_white(browser, page_file, theme):
    with Visit(browser, page_file, theme=theme) as visit:
        ratios = visit.page.evaluate(LEGIBLE)
        assert len(ratios) >= 9
        assert min(ratios) > 4.5
        card = "e => getComputedStyle(e).backgroundColor"
        frames = visit.page.locator(".vl-frames")
        assert frames.first.evaluate(card) == "rgb(255, 255, 255)"
        assert visit.page.locator("img:visible").first.evaluate(card) == "rgb(255, 255, 255)"


@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_neither_scrolls_sideways_nor_misses_the_handle(browser, page_file, width):
    with Visit(browser, page_file, width=width, has_touch=True, is_mobile=True) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        for i in range(visit.sliders.count()):
            box = visit.sliders.nth(i).locator("input").bounding_box()
            assert box["height"] >= 44
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        box = visit.sliders.first.locator("input").bounding_box()
        visit.page.touchscreen.tap(box["x"] + box["width"] - 9, box["y"] + box["height"] / 2)
        assert visit.shown()[0] == ("4", "A line of slope 4.")
