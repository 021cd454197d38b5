"""Figures as small PNG files, and what a page needs beside them."""

from __future__ import annotations

import base64
import functools
import io
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def as_figure(drawn: Any, who: str) -> Figure:
    """Return the figure that a drawing function gave, closed in pyplot.

    Raises:
        ValueError: neither a Figure nor something that lies on one.
    """
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    figure = drawn if isinstance(drawn, Figure) else getattr(drawn, "figure", None)
    if not isinstance(figure, Figure):
        raise ValueError(
            f"{who}: render must return a matplotlib Figure, got {type(drawn).__name__}; end it "
            "with `return figure`"
        )
    plt.close(figure)
    return figure


def png(figure: Figure, *, dpi: float, colours: int = 128) -> bytes:
    """Return ``figure`` as PNG bytes of at most ``colours`` colours, the same on every run.

    A palette image is a third of the size of a full-colour one; a drawing of lines, marks and
    text loses nothing visible.
    """
    from PIL import Image

    raw = io.BytesIO()
    figure.savefig(raw, format="png", dpi=dpi, facecolor="white", pil_kwargs={"compress_level": 1})
    picture = Image.open(raw).convert("RGB")
    picture = picture.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, format="PNG", compress_level=6)
    return small.getvalue()


def data_uri(image: bytes) -> str:
    """Return PNG bytes as an address that needs no request."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")


@functools.cache
def asset(name: str) -> str:
    """Return a style sheet, a script or a template that lies in the package, as text."""
    return (files("vlalign_lib.viz") / "assets" / name).read_text(encoding="utf-8").rstrip("\n")


def fill(template: str, /, **fields: Any) -> str:
    """Return a template of the assets with its fields filled in; they are HTML already."""
    return Template(asset(template)).substitute(fields)
