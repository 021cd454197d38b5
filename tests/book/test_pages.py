"""What the built pages hold, read as text."""

import importlib
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from built import pages_of

ROOT = Path(__file__).resolve().parents[2]


class Page(HTMLParser):
    """Collects pictures, headings, links and ids of a page."""

    def __init__(self, text):
        super().__init__()
        self.pictures, self.levels, self.ids, self.links, self.loads = [], [], [], [], []
        self.language = None
        self.feed(text)

    def handle_starttag(self, tag, pairs):
        attributes = dict(pairs)
        if tag == "html":
            self.language = attributes.get("lang")
        if tag == "img":
            self.pictures.append(attributes)
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if attributes.get("id"):
            self.ids.append(attributes["id"])
        if tag == "a":
            self.links.append(attributes.get("href", ""))
        if tag in ("script", "img", "source", "iframe", "audio", "video"):
            self.loads.append(attributes.get("src") or "")
        if tag == "link" and attributes.get("rel") in ("stylesheet", "preload", "icon"):
            self.loads.append(attributes.get("href") or "")


def pages(site):
    return {str(p.relative_to(site)): Page(p.read_text(encoding="utf-8")) for p in pages_of(site)}


def undescribed(page):
    """Pictures without a description, or with a file's name for one."""
    return [
        picture.get("src", "")[:60]
        for picture in page.pictures
        if not picture.get("alt", "").strip() or re.search(r"\.(png|svg|jpg)$", picture["alt"])
    ]


def test_every_picture_is_described(site):
    assert not {name: undescribed(page) for name, page in pages(site).items() if undescribed(page)}


@pytest.mark.parametrize("tag", ['<img src="a.png">', '<img src="a" alt="">', '<img alt="a.png">'])
def test_a_picture_without_a_description_is_found(tag):
    assert undescribed(Page(tag))


def test_nothing_is_loaded_from_elsewhere(site):
    found = {
        name: [source for source in page.loads if re.match(r"(https?:)?//", source)]
        for name, page in pages(site).items()
    }
    assert not {name: sources for name, sources in found.items() if sources}


def absent(site, name, source):
    """Whether a page asks for a file of the book, or a place on a page, that is not there."""
    address = urlsplit(source)
    if address.scheme or address.netloc:
        return False
    path = (site / name).parent / unquote(address.path) if address.path else site / name
    if not path.is_file():
        return True
    anchor = unquote(address.fragment)
    return bool(anchor) and path.suffix == ".html" and anchor not in ids_of(path.resolve())


@cache
def ids_of(path):
    return {*Page(path.read_text(encoding="utf-8")).ids, "top"}


def test_what_a_page_loads_or_links_to_is_there(site):
    for name, page in pages(site).items():
        missing = {source for source in [*page.loads, *page.links] if absent(site, name, source)}
        assert not missing, f"{name}: {sorted(missing)[:5]}"


def test_ids_are_unique(site):
    for name, page in pages(site).items():
        twice = {i for i in page.ids if page.ids.count(i) > 1 and not i.startswith("id")}
        assert not twice, f"{name}: {sorted(twice)[:5]}"


def test_headings_do_not_skip_a_level(site):
    for name, page in pages(site).items():
        steps = zip(page.levels, page.levels[1:], strict=False)
        assert all(b <= a + 1 for a, b in steps), f"{name}: {page.levels}"


def test_every_page_names_its_language(site):
    assert {page.language for page in pages(site).values()} == {"en"}


def test_every_public_name_is_in_the_api_pages(site):
    for path in sorted((ROOT / "book/api").glob("*.md")):
        ids = set(Page((site / f"api/{path.stem}.html").read_text(encoding="utf-8")).ids)
        for name in re.findall(r"automodule:: (\S+)", path.read_text(encoding="utf-8")):
            module = importlib.import_module(name)
            names = [n for n in module.__all__ if callable(getattr(module, n))]
            missing = [n for n in names if f"{name}.{n}" not in ids]
            assert not missing, f"{path.name}: {missing}"


def test_the_tables_of_the_ledger_are_filled(site):
    text = (site / "ledger.html").read_text(encoding="utf-8")
    assert text.count("<tr") > 15
    for method in ("CCA", "KernelCCA", "CFA", "SCM", "coordinated"):
        assert f">{method}<" in text
