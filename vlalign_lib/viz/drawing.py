"""Pictures that are drawn once and kept as SVG files, in the palette's colours."""

from __future__ import annotations

import difflib
import html
import io
import re
from importlib.resources import files
from typing import Any

import numpy as np

from vlalign_lib._validate import as_array
from vlalign_lib.viz._pictures import as_pictures
from vlalign_lib.viz._png import data_uri


class Drawing:
    """An SVG that shows itself in a notebook and on a page: what :func:`drawing` returns.

    Args:
        svg: the whole file as text.

    Attributes:
        alt: what it shows, in words.

    Chapter:
        Chapter 00 opens with one.
    """

    def __init__(self, svg: str) -> None:
        self.svg = svg
        self.alt = html.unescape(re.findall(r'aria-label="(.*?)"', svg)[0])

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        """Return the drawing in words, for terminals."""
        return self.alt


def drawing(name: str, **pictures: Any) -> Drawing:
    """Return a drawing of the book, on a white card that is legible on a dark page as well.

    Its words are text, so that it scales. Where it shows examples of data, they are handed over.

    Args:
        name: "book_map", "fusion", "fusion_cut", "fusion_late" or "hourglass".
        **pictures: by the place where it is shown, a picture (h, w), ink from 0 to 1.

    Returns:
        The drawing, shown when it is the last expression of a cell.

    Raises:
        ValueError: no drawing of this name, a picture that is missing or has no place, or
            something that is no picture.

    Chapter:
        Chapters 00, 02 and 04 open with one.

    Example:
        >>> print(drawing("book_map").alt[:34])
        A map with three horizontal lines:
    """
    folder = files("vlalign_lib.viz") / "drawings"
    known = sorted(file.name.removesuffix(".svg") for file in folder.iterdir())
    if name not in known:
        near = difflib.get_close_matches(str(name), known, n=1) or known
        raise ValueError(f"no drawing {name!r}; there is {', '.join(near)}")
    svg = (folder / f"{name}.svg").read_text(encoding="utf-8")
    places = sorted(set(re.findall(r'<image href="(\w+)"', svg)))
    if sorted(pictures) != places:
        raise ValueError(
            f"{name}: expected pictures for {', '.join(places) or 'no place'}, got "
            f"{', '.join(pictures) or 'none'}"
        )
    for place, picture in pictures.items():
        address = _address(picture, place)
        svg = svg.replace(f'<image href="{place}"', f'<image href="{address}"')
    return Drawing(svg)


def _address(picture: Any, place: str) -> str:
    """Return a picture as an address that needs no request; ink is dark."""
    from PIL import Image

    ink = as_pictures(as_array(picture, place)[None], place)[0]
    grey = np.round(255 * (1 - np.clip(ink / max(1.0, ink.max()), 0, 1))).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(grey).save(out, format="PNG")
    return data_uri(out.getvalue())
