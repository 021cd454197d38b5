"""Type words, see the characters that answer: by several methods at once."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import check_mapping
from vlalign_lib.viz._live import is_live
from vlalign_lib.viz._pictures import as_pictures, is_words, peak_of
from vlalign_lib.viz._png import data_uri
from vlalign_lib.viz.palette import colour, has_colour

if TYPE_CHECKING:
    from vlalign_lib.data import PairedDataset

_COLUMNS = 24  # of the sheet on which all pictures lie
_BORDER = 1  # white pixels around each, so that no neighbour shines in when it is scaled

# All pictures are one image, the background of every tile: a character that answers ten queries
# is in the page once. Panels are switched by the attribute `hidden`; the first one is there
# without any script.
_CSS = """
html[data-theme=dark] .bd-content div.cell_output .output.text_html:has(>.vl-search)\
{background:none;color:var(--pst-color-text-base);padding:0}
.vl-search{margin:.5rem 0;max-width:47rem;color:inherit}
.vl-search label{display:flex;flex-wrap:wrap;align-items:center;gap:.2rem .8rem;margin:0 0 .4rem}
.vl-search select{font:inherit;color:inherit;background:var(--pst-color-background,#fff);\
min-height:2.75rem;padding:0 .5rem;max-width:100%;border:1px solid;border-radius:.25rem}
.vl-search select:focus-visible{outline:.15rem solid \
var(--pst-color-primary,var(--jp-brand-color1,#0b7285));outline-offset:.1rem}
.vl-search .vl-card{background:#fff;color:#1a1a1a;border-radius:.25rem;padding:.5rem .7rem}
.vl-search .vl-card[hidden]{display:none}
.vl-search .vl-card p{margin:.1rem 0 .4rem;color:inherit}
.vl-search .vl-row{display:flex;flex-wrap:wrap;align-items:center;gap:.2rem .6rem;margin:.35rem 0}
.vl-search .vl-name{flex:0 0 8.5rem;box-sizing:border-box;font-weight:600;\
border-left:.3rem solid;padding-left:.45rem}
.vl-search .vl-tiles{display:flex;flex-wrap:wrap;gap:.3rem}
.vl-search .vl-tile{width:2.9rem;height:2.9rem;box-sizing:border-box;border:1px solid #c8c8c8;\
border-radius:.2rem;background-image:var(--vl-sheet);background-origin:content-box;\
background-repeat:no-repeat;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.vl-search .vl-tile.vl-right{border:.2rem solid RIGHT}
.vl-search .vl-said{flex:1 1 9rem;font-size:.85em;color:#444}
"""
_CSS = re.sub(r"\n", "", _CSS).replace("RIGHT", colour("right"))

_SCRIPT = (
    '(function(){var root=document.currentScript.closest(".vl-search"),'
    'select=root.querySelector("select"),cards=root.querySelectorAll(".vl-card");'
    "function show(){cards.forEach(function(card,i){card.hidden=i!==select.selectedIndex})}"
    'select.addEventListener("change",show);window.addEventListener("pageshow",show);show()})()'
)


class GlyphSearch:
    """Prepared queries and a list to choose from: what :func:`glyph_search` gives a printed page.

    Args:
        engine: answers queries.
        queries: the words of each, one at least.
        label: what stands before the list.

    Chapter:
        07, Ranking, and 08, The retrieval table.
    """

    def __init__(self, engine: _Engine, queries: Sequence[str], label: str) -> None:
        self.queries = tuple(queries)
        self.label = label
        self.answers = engine.answers(queries)
        self._engine = engine

    def _repr_html_(self) -> str:
        esc = html.escape
        options = "".join(f"<option>{esc(query)}</option>" for query in self.queries)
        shown, sheet = self._engine.drawn(self.queries, self.answers)
        cards = "".join(
            f'<div class="vl-card"{" hidden" if i else ""}>{card}</div>'
            for i, card in enumerate(shown)
        )
        return (
            f'<div class="vl-search" role="group" aria-label="{esc(self.label)}" '
            f'style="--vl-sheet:url({sheet})"><style>{_CSS}</style>'
            f'<label><span>{esc(self.label)}</span><select autocomplete="off">{options}</select>'
            f"</label>{cards}<script>{_SCRIPT}</script></div>"
        )

    def __repr__(self) -> str:
        """Return the first answer of each method to each query, for terminals."""
        lines = [f"{self.label}: {len(self.queries)} queries"]
        for query, by_method in zip(self.queries, self.answers, strict=True):
            firsts = (f"{name}: {self._engine.captions[of[0]]}" for name, of in by_method.items())
            lines.append(f"  {query} → " + "; ".join(firsts))
        return "\n".join(lines)


def glyph_search(
    models: Mapping[str, Any],
    gallery: PairedDataset,
    queries: Sequence[str],
    *,
    top: int = 8,
    label: str = "Search for",
) -> Any:
    """Return a search by words in which every method answers, side by side.

    In the built book the queries are answered beforehand and an ordinary list chooses among
    them. Where a kernel runs (Jupyter, Colab, VS Code) the same call gives a field for words of
    your own; ``VLALIGN_LIVE`` set to 0 or 1 chooses by hand. An answer is framed where its
    caption holds every word of the query.

    Args:
        models: fitted methods by name, each with ``embed_images`` and ``embed_texts``.
        gallery: the pairs whose pictures are searched, with captions and ``encode_captions``:
            the part ``"test"`` of :func:`vlalign_lib.data.load_glyphs`.
        queries: phrases; in the printed page these are all there is.
        top: how many answers to show, 1 to 12.
        label: what stands before the list or the field.

    Returns:
        A :class:`GlyphSearch`, or an ipywidgets box; shown when it is the last expression of a
        cell. ``answers`` of the former has for each query ``{method: row numbers}``, best first.

    Raises:
        ValueError: no model, no query, a query twice, a query without a known word, pairs
            without captions or pictures, or a ``top`` out of range.

    Chapter:
        07, Ranking, and 08, The retrieval table.

    Example:
        >>> from vlalign_lib.data import load_glyphs
        >>> from vlalign_lib.linear import CFA
        >>> glyphs = load_glyphs()
        >>> train, test = glyphs.split("train"), glyphs.split("test")
        >>> methods = {"CFA": CFA(20).fit(train.images[:500], train.texts[:500])}
        >>> found = glyph_search(methods, test, ["arrow", "letter a"], top=3)
        >>> [len(answer["CFA"]) for answer in found.answers]
        [3, 3]
    """
    check_mapping(models, "models", "{name: fitted method}")
    if not models:
        raise ValueError("models: expected at least one fitted method, got none")
    if isinstance(queries, str) or not is_words(queries):
        raise ValueError('queries: expected phrases, such as ["black heart"]')
    asked = [" ".join(query.split()) for query in queries]
    if len(set(asked)) < len(asked):
        twice = next(query for query in asked if asked.count(query) > 1)
        raise ValueError(f"queries: {twice!r} stands there twice")
    if not 1 <= top <= 12:
        raise ValueError(f"top: expected 1 to 12 answers, got {top}")
    engine = _Engine(models, gallery, top)
    if is_live():
        control = _live_control(engine, asked, label)
        if control is not None:
            return control
    return GlyphSearch(engine, asked, label)


class _Engine:
    """The gallery as every method sees it, and what answers a phrase there."""

    def __init__(self, models: Mapping[str, Any], gallery: PairedDataset, top: int) -> None:
        if gallery.captions is None:
            raise ValueError(
                "gallery: these pairs have no captions, so words cannot be looked for; "
                "load_glyphs() has them"
            )
        self.gallery, self.captions = gallery, gallery.captions
        self.pictures = as_pictures(gallery.images, "gallery.images")
        self.models = dict(models)
        self.embedded = {
            name: _unit(model.embed_images(gallery.images)) for name, model in models.items()
        }
        self.top = min(top, len(self.captions))
        self.words = [_words(caption) for caption in self.captions]

    def answers(self, queries: Sequence[str]) -> list[dict[str, NDArray[np.intp]]]:
        """Return for each query, by method, the rows of its best answers."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = self.gallery.encode_captions(list(queries))
        for query, row in zip(queries, rows, strict=True):
            if not row.any():
                raise ValueError(
                    f"no training name holds a word of {query!r}; try words such as ARROW, "
                    "HEART, CIRCLE, LETTER"
                )
        order = {
            name: np.argsort(
                -_unit(model.embed_texts(rows)) @ self.embedded[name].T, axis=1, kind="stable"
            )[:, : self.top]
            for name, model in self.models.items()
        }
        return [{name: ranked[i] for name, ranked in order.items()} for i in range(len(queries))]

    def drawn(
        self, queries: Sequence[str], answers: Sequence[Mapping[str, NDArray[np.intp]]]
    ) -> tuple[list[str], str]:
        """Return a card a query as HTML, and the sheet with all pictures on it as an address."""
        used = sorted({int(i) for answer in answers for of in answer.values() for i in of})
        place = {row: number for number, row in enumerate(used)}
        columns, lines = min(_COLUMNS, len(used)), -(-len(used) // _COLUMNS)
        peak = peak_of(self.pictures)
        height, width = (side + 2 * _BORDER for side in self.pictures.shape[1:3])
        sheet = np.full((lines * height, columns * width), 255, dtype=np.uint8)
        for row, number in place.items():
            y, x = number // _COLUMNS * height + _BORDER, number % _COLUMNS * width + _BORDER
            ink = np.clip(self.pictures[row] / peak, 0, 1)
            sheet[y : y + height - 2 * _BORDER, x : x + width - 2 * _BORDER] = np.round(
                255 * (1 - ink)
            )

        def tile(row: int, right: bool) -> str:
            number = place[row]
            across = 100 * (number % _COLUMNS) / max(1, columns - 1)
            down = 100 * (number // _COLUMNS) / max(1, lines - 1)
            caption = html.escape(self.captions[row])
            return (
                f'<span class="vl-tile{" vl-right" if right else ""}" role="img" '
                f'aria-label="{caption}{", holds every word" if right else ""}" '
                f'title="{caption}" style="background-size:{100 * columns}% {100 * lines}%;'
                f'background-position:{across:.4g}% {down:.4g}%"></span>'
            )

        cards = []
        for query, by_method in zip(queries, answers, strict=True):
            wanted = _words(query)
            holds = [wanted <= words for words in self.words]
            head = (
                f"<p>“{html.escape(query)}”: names that hold every word: {sum(holds):,} of "
                f"{len(holds):,}</p>"
            )
            lines_of = []
            for name, rows in by_method.items():
                tiles = "".join(tile(int(row), holds[row]) for row in rows)
                known = next((word for word in (name, *name.split()[:1]) if has_colour(word)), None)
                shade = "transparent" if known is None else colour(known)
                first = html.escape(self.captions[rows[0]].lower())
                hits = sum(holds[row] for row in rows)
                lines_of.append(
                    f'<div class="vl-row"><span class="vl-name" style="border-color:{shade}">'
                    f'{html.escape(name)}</span><span class="vl-tiles">{tiles}</span>'
                    f'<span class="vl-said">{hits} of {len(rows)}; first: {first}</span></div>'
                )
            cards.append(head + "".join(lines_of))
        return cards, data_uri(_grey_png(sheet))


def _unit(rows: Any) -> NDArray[np.float64]:
    array = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(array, axis=1, keepdims=True)
    unit: NDArray[np.float64] = array / np.where(length > 0, length, 1.0)
    return unit


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W_]+", text.casefold()))


def _grey_png(sheet: NDArray[np.uint8]) -> bytes:
    """Return a grey picture as a PNG of sixteen shades."""
    from PIL import Image

    image = Image.fromarray(sheet).quantize(16, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, format="PNG", optimize=True)
    return small.getvalue()


def _live_control(engine: _Engine, queries: Sequence[str], label: str) -> Any:
    """Return a field for words that answers at once, or None where ipywidgets is missing."""
    try:
        import ipywidgets as widgets
    except ImportError:
        return None

    def answered(query: str) -> str:
        try:
            asked = [" ".join(query.split())]
            (card,), sheet = engine.drawn(asked, engine.answers(asked))
        except Exception as error:
            return f"<p>{html.escape(str(error))}</p>"
        return (
            f'<div class="vl-search" style="--vl-sheet:url({sheet})"><style>{_CSS}</style>'
            f'<div class="vl-card">{card}</div></div>'
        )

    shown = widgets.HTML(value=answered(queries[0]))
    field = widgets.Combobox(
        value=queries[0],
        options=list(queries),
        ensure_option=False,
        continuous_update=False,
        description=label,
        style={"description_width": "initial"},
        layout=widgets.Layout(width="auto", max_width="47rem"),
    )

    def typed(change: Any) -> None:
        if change["new"].strip():
            shown.value = answered(change["new"])

    field.observe(typed, names="value")
    return widgets.VBox([field, shown])
