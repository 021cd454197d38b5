"""Drawings that are SVG files: their colours, their words, their places, and what they say."""

import base64
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from looks import contrast
from PIL import Image

from vlalign_lib.viz import PALETTE, drawing

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "vlalign_lib/viz/drawings").glob("*.svg"))
every = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
NEUTRAL = {"#FFFFFF", "#1A1A1A", "#3A3A3A", "#767676", "#CFCFCF", "#E4E4E4"}
SVG = "{http://www.w3.org/2000/svg}"
HALF = np.linspace(0, 1, 32).reshape(8, 4)


def tints(shade):
    """The share of its own colour that a tint has in each channel: one share is a tint."""
    return np.array([255 - int(shade[i : i + 2], 16) for i in (1, 3, 5)], dtype=float)


@every
def test_colours_are_those_of_the_palette(path):
    for shade in set(re.findall(r"#[0-9A-Fa-f]{6}\b", path.read_text("utf-8"))) - NEUTRAL:
        own = [tints(known) for known in PALETTE.values()]
        share = [float(tints(shade) @ full / (full @ full)) for full in own]
        off = [np.abs(tints(shade) - s * full).max() for s, full in zip(share, own, strict=True)]
        assert min(off) <= 2, shade


@every
def test_words_are_legible_on_their_ground_and_scale(path):
    root = ET.fromstring(path.read_text("utf-8"))
    _, _, width, height = map(float, root.get("viewBox").split())
    card = root.find(f"{SVG}rect")
    assert (float(card.get("width")), float(card.get("height"))) == (width, height)
    assert card.get("fill") == "#FFFFFF", "the card is white on a dark page as well"
    assert "height: auto" in root.get("style")
    assert min(map(float, re.findall(r"(?:font:|font-size:) ?(\d+)px", path.read_text()))) >= 12
    for text in root.iter(f"{SVG}text"):
        own = re.search("fill:(#.{6})", text.get("style", ""))
        ground = "#4B1F6F" if own and own[1] == "#FFFFFF" else "#FFFFFF"
        assert contrast(own[1] if own else "#1A1A1A", ground) >= 3.5
    assert not re.search(r"https?://(?!www.w3.org/2000/svg)|<script|@import", path.read_text())
    assert "sans-serif" in path.read_text()


@every
def test_a_chapter_shows_it_with_the_words_that_it_carries(path):
    alts = []
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
            if re.search(rf'viz\.drawing\(\s*"{path.stem}"', "".join(cell["source"])):
                alts.append(cell["metadata"]["mystnb"]["image"]["alt"])
    places = set(re.findall(r'<image href="(\w+)"', path.read_text("utf-8")))
    shown = drawing(path.stem, **dict.fromkeys(places, HALF))
    assert alts == [shown.alt] == [repr(shown)]


def test_pictures_are_drawn_in_their_places():
    root = ET.fromstring(drawing("fusion", left=HALF, right=HALF.T[::-1].T)._repr_svg_())
    images = list(root.iter(f"{SVG}image"))
    assert len(images) == 6
    for image, wanted in zip(images, [HALF, HALF.T[::-1].T] * 3, strict=True):
        bytes_ = base64.b64decode(image.get("href").partition("base64,")[2])
        found = np.array(Image.open(io.BytesIO(bytes_)))
        assert np.array_equal(found, np.round(255 * (1 - wanted)))


def test_scissors_cut_the_second_wire_of_each_wiring_and_its_view_is_gone():
    for name, n in (("fusion_cut", 3), ("fusion_late", 2)):
        root = ET.fromstring(drawing(name, left=HALF)._repr_svg_())
        places = [float(use.get("x")) for use in root.iter(f"{SVG}use")]
        assert len(places) == len(list(root.iter(f"{SVG}image"))) == n
        assert (np.array(places) > (np.arange(n) + 0.5) * 700 / n).all()
    assert not list(ET.fromstring(drawing("fusion", left=HALF, right=HALF).svg).iter(f"{SVG}use"))


def test_the_map_has_the_chapters_in_order_and_fills_those_that_are_written():
    root = ET.fromstring(drawing("book_map").svg)
    stations = [g for g in root.iter(f"{SVG}g") if "station" in g.get("class", "").split()]
    chapters = [station.get("data-chapter") for station in stations]
    assert len(stations) == 14
    assert chapters == sorted(chapters)
    written = {path.name[2:4] for path in (ROOT / "notebooks").glob("ch*.ipynb")}
    height = {"pairs": 207, "labels": 277, "order": 347}
    for station, chapter in zip(stations, chapters, strict=True):
        assert station.find(f"{SVG}text").text.startswith(chapter)
        assert ("later" in station.get("class").split()) == (chapter not in written)
        stops = [int(circle.get("cy")) for circle in station.iter(f"{SVG}circle")]
        assert stops == [height[need] for need in station.get("data-needs").split()]


@pytest.mark.parametrize(
    ("name", "pictures", "message"),
    [
        ("bookmap", {}, "no drawing 'bookmap'; there is book_map"),
        ("fusion", {"left": HALF}, "expected pictures for left, right, got left"),
        ("book_map", {"left": HALF}, "expected pictures for no place, got left"),
        ("fusion_cut", {"left": HALF[0]}, "left: expected pictures"),
        ("fusion_cut", {"left": HALF * np.nan}, "left: expected finite numbers"),
    ],
)
def test_what_cannot_be_drawn_is_named(name, pictures, message):
    with pytest.raises(ValueError, match=message):
        drawing(name, **pictures)
