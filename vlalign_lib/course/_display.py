"""What the course shows: one small card, as HTML in a notebook and as plain text elsewhere."""

from __future__ import annotations

import html
import re
import sys
from typing import Any

from vlalign_lib._output import say

# Colours of the left border, at least 3:1 against both the light and the dark page.
ACCENTS = {
    "right": "#2f9e6e",
    "wrong": "#d1603d",
    "info": "#3b8bd0",
    "idle": "#858b94",
}

# Text inherits its colour and backgrounds are translucent, so that a card is legible in
# every theme. The first rules take back the light card that the book's theme puts behind
# HTML outputs in dark mode.
_CSS = """
html[data-theme=dark] .bd-content div.cell_output .output.text_html:has(>.vl)\
{background:none;color:var(--pst-color-text-base);padding:0}
.vl{border-left:.25rem solid var(--vl-accent);border-radius:.25rem;margin:.5rem 0;\
padding:.5rem .9rem;background:rgba(127,127,127,.1);line-height:1.5;overflow-wrap:anywhere}
.vl p{margin:.2rem 0}
.vl summary{cursor:pointer;padding:.6rem 0}
.vl .vl-tag{font-weight:600}
"""
CSS = re.sub(r"\n", "", _CSS)

_CODE = re.compile(r"`([^`]+)`")
_MATH = re.compile(r"\$([^$]+)\$")


class Markup:
    """Something to show: HTML where there is a page, the same in plain text where there is none.

    Args:
        markup: the HTML, self-contained.
        text: what a terminal shows.
    """

    def __init__(self, markup: str, text: str) -> None:
        self.html = markup
        self.text = text

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


def inline(text: str) -> str:
    """Return ``text`` as HTML: escaped, with `code` between backticks and $mathematics$."""
    pieces: list[str] = []
    last = 0
    for match in re.finditer(r"`[^`]+`|\$[^$]+\$", text):
        pieces.append(html.escape(text[last : match.start()], quote=False))
        body = html.escape(match.group()[1:-1], quote=False)
        if match.group().startswith("`"):
            pieces.append(f"<code>{body}</code>")
        else:
            pieces.append(f'<span class="math notranslate nohighlight">\\({body}\\)</span>')
        last = match.end()
    pieces.append(html.escape(text[last:], quote=False))
    return "".join(pieces)


def plain(text: str) -> str:
    """Return ``text`` without the marks that :func:`inline` understands."""
    return _MATH.sub(r"\1", _CODE.sub(r"\1", text))


def card(body: str, text: str, *, kind: str, extra_css: str = "") -> Markup:
    """Return a card: a coloured edge and a body of HTML, with ``text`` for terminals."""
    return Markup(
        f'<div class="vl" style="--vl-accent:{ACCENTS[kind]}" role="note">'
        f"<style>{CSS}{extra_css}</style>{body}</div>",
        text,
    )


def shell() -> Any:
    """Return the running IPython shell, or None; IPython is never imported for it."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def emit(markup: Markup) -> None:
    """Show ``markup`` now: displayed in a notebook, printed elsewhere."""
    if shell() is None:
        say(markup.text)
        return
    from IPython.display import display

    display(markup)
