"""Every page in a real browser, opened from disk."""

import pytest
from built import pages_of

playwright = pytest.importorskip("playwright.sync_api")

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

# Visible text whose contrast with what lies behind it is below the bound, as "ratio: text".
FAINT = """
(bound) => {
  const luminance = ([r, g, b]) => [r, g, b]
    .map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walker = document.createTreeWalker(
    document.querySelector("article") || document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style, mjx-assistive-mml, svg, .headerlink")) continue;
    const a = luminance(parse(getComputedStyle(element).color));
    const b = luminance(behind(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const text = walker.currentNode.data.trim().slice(0, 50);
    if (ratio < bound) faint.push(ratio.toFixed(2) + ": " + text);
  }
  return faint;
}
"""


@pytest.fixture(scope="session")
def browser(chromium):
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def names(site):
    return pages_of(site)


class Visit:
    """A page opened from disk, with what it asked for and what it complained of."""

    def __init__(self, browser, path, width=1280, theme="light"):
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.context.add_init_script(
            f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}');"
        )
        self.page = self.context.new_page()
        self.requests, self.complaints = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text)
                if message.type in ("error", "warning")
                else None
            ),
        )
        self.page.goto(path.as_uri())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()


def test_no_page_leaves_the_machine_or_complains(browser, names):
    for path in names:
        with Visit(browser, path) as visit:
            visit.page.wait_for_load_state("networkidle")
            outside = [u for u in visit.requests if not u.startswith(("file:", "data:", "blob:"))]
            assert not outside, f"{path.name}: {outside}"
            assert not visit.complaints, f"{path.name}: {visit.complaints}"


def test_mathematics_renders(browser, names):
    seen = 0
    for path in names:
        if 'class="math' not in path.read_text(encoding="utf-8"):
            continue
        with Visit(browser, path) as visit:
            visit.page.wait_for_selector("mjx-container", timeout=20_000)
            visit.page.wait_for_function("window.MathJax.startup.promise.then(() => true)")
            page = visit.page
            wanted = page.locator("article .math").count()
            assert page.locator("article .math mjx-container").count() >= wanted, path.name
            wrong = page.locator("mjx-merror, [data-mjx-error]").all_inner_texts()
            assert not wrong, f"{path.name}: {wrong}"
            seen += wanted
    assert seen > 20


def test_pictures_load(browser, names):
    seen = 0
    for path in names:
        with Visit(browser, path) as visit:
            sizes = visit.page.evaluate(
                "Array.from(document.images).filter(i => i.loading !== 'lazy')"
                ".map(i => [i.naturalWidth, i.src.slice(0, 80)])"
            )
            assert not [source for width, source in sizes if width == 0], path.name
            seen += len(sizes)
    assert seen > 10


def test_sliders_move_with_the_keyboard(browser, names):
    seen = 0
    for path in names:
        if 'type="range"' not in path.read_text(encoding="utf-8"):
            continue
        with Visit(browser, path) as visit:
            sliders = visit.page.locator("article input[type=range]")
            for i in range(sliders.count()):
                slider = sliders.nth(i)
                box = slider.locator("xpath=ancestor::*[.//img][1]")
                name = slider.evaluate("e => e.labels.length ? e.labels[0].innerText : ''")
                assert name.strip(), f"{path.name}: slider {i} has no label"
                shown = box.locator("img:visible").first
                before = (shown.get_attribute("src"), box.locator("output").inner_text())
                slider.focus()
                moved = "ArrowLeft" if slider.evaluate("e => e.value === e.max") else "ArrowRight"
                visit.page.keyboard.press(moved)
                shown = box.locator("img:visible").first
                after = (shown.get_attribute("src"), box.locator("output").inner_text())
                assert before[0] != after[0], f"{path.name}: {name} shows the same picture"
                assert before[1] != after[1], f"{path.name}: {name} shows the same value"
                assert box.locator("img:visible").count() == 1
                assert shown.get_attribute("alt"), f"{path.name}: {name} has no description"
                seen += 1
    assert seen >= 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_legible(browser, names, theme):
    for path in names:
        with Visit(browser, path, theme=theme) as visit:
            assert visit.page.evaluate("document.documentElement.dataset.theme") == theme
            faint = visit.page.evaluate(FAINT, 3.0)
            assert not faint, f"{path.name} ({theme}): {faint[:8]}"


def test_figures_keep_a_light_card_in_the_dark(browser, names):
    for path in names:
        with Visit(browser, path, theme="dark") as visit:
            filtered = visit.page.evaluate(
                "Array.from(document.querySelectorAll('article .cell_output img'))"
                ".map(i => getComputedStyle(i).filter).filter(f => f !== 'none')"
            )
            assert not filtered, path.name


def test_a_phone_does_not_scroll_sideways(browser, names):
    for path in names:
        with Visit(browser, path, width=360) as visit:
            visit.page.wait_for_load_state("networkidle")
            width = visit.page.evaluate("document.documentElement.scrollWidth")
            assert width <= 361, f"{path.name} is {width} px wide"


def test_search_finds(browser, site):
    with Visit(browser, site / "search.html") as visit:
        visit.page.goto((site / "search.html").as_uri() + "?q=correlation")
        visit.page.wait_for_selector("ul.search li a", timeout=20_000)
        found = " ".join(visit.page.locator("ul.search li a").all_inner_texts())
        assert "CCA" in found
        assert not visit.complaints
