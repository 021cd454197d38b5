"""Type words, see the characters that answer: by several methods at once."""

from __future__ import annotations

import html
import io
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import check_mapping
from vlalign_lib.metrics import nearest
from vlalign_lib.viz._live import is_live
from vlalign_lib.viz._pictures import as_pictures, is_words, peak_of
from vlalign_lib.viz._png import data_uri
from vlalign_lib.viz._shade import known_as
from vlalign_lib.viz.palette import colour

if TYPE_CHECKING:
    from vlalign_lib.data import PairedDataset

_COLUMNS = 24  # of the sheet on which all pictures lie
_BORDER = 1  # white pixels around each, so that no neighbour shines in when it is scaled
_MANY = 6  # methods; with more of them the rows are lower
_RIGHT = ", holds every word"  # what a screen reader hears of a frame
_ONLY_RECORDED = "recorded for the prepared phrases only"

# All pictures are one image, the background of every tile: a character that answers ten queries
# is in the page once. The first card is there without any script.
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
.vl-search .vl-card p{margin:.1rem 0 .4rem;color:inherit}
.vl-search .vl-row{display:flex;flex-wrap:wrap;align-items:center;gap:.2rem .6rem;margin:.35rem 0}
.vl-search .vl-name{flex:0 0 8.5rem;box-sizing:border-box;font-weight:600;\
border-left:.3rem solid;padding-left:.45rem}
.vl-search .vl-tiles{display:flex;flex-wrap:wrap;gap:.3rem}
.vl-search .vl-tile{width:2.9rem;height:2.9rem;box-sizing:border-box;border:1px solid #c8c8c8;\
border-radius:.2rem;background-image:var(--vl-sheet);background-size:var(--vl-size);\
background-origin:content-box;background-repeat:no-repeat;\
print-color-adjust:exact;-webkit-print-color-adjust:exact}
.vl-search .vl-tile.vl-right{border:.2rem solid RIGHT}
.vl-search .vl-said{flex:1 1 9rem;font-size:.85em;color:#444}
.vl-search .vl-many .vl-row{flex-wrap:nowrap;gap:.6rem;margin:.2rem 0}
.vl-search .vl-many .vl-name{font-size:.9em;line-height:1.15}
.vl-search .vl-many .vl-tiles{flex:0 1 auto;flex-wrap:nowrap;align-items:center;gap:.2rem}
.vl-search .vl-many .vl-tile{width:2.2rem;height:auto;aspect-ratio:1;min-width:0}
.vl-search .vl-many .vl-said{line-height:1.15;min-width:0}
@media(max-width:40rem){
.vl-search .vl-many .vl-row{display:grid;grid-template-columns:1fr auto;gap:.15rem .6rem;\
margin:.5rem 0}
.vl-search .vl-many .vl-tiles{grid-row:2;grid-column:1/-1}
.vl-search .vl-many .vl-first{display:none}
}
"""
_CSS = re.sub(r"\n", "", _CSS).replace("RIGHT", colour("right"))

# The cards differ in the pictures alone, so there is one, and choosing fills it anew.
_SCRIPT = """
(function(){
var root=document.currentScript.closest(".vl-search"),select=root.querySelector("select"),
head=root.querySelector("p"),rows=root.querySelectorAll(".vl-row"),data=DATA;
function put(row,name,text){row.querySelector(name).textContent=text}
function show(){
var card=data.cards[select.selectedIndex];head.textContent=card[0];
rows.forEach(function(row,i){
var said=card[1][i];put(row,".vl-hits",said[0]);put(row,".vl-first",said[1]);
row.querySelectorAll(".vl-tile").forEach(function(tile,j){
var picture=data.pictures[said[2][j]>>1],right=said[2][j]%2===1;
tile.title=picture[0];tile.setAttribute("aria-label",picture[0]+(right?data.right:""));
tile.classList.toggle("vl-right",right);tile.style.backgroundPosition=picture[1]})})}
select.addEventListener("change",show);window.addEventListener("pageshow",show);show();
})()
"""
_SCRIPT = re.sub(r"\n", "", _SCRIPT)


class GlyphSearch:
    """Prepared queries and a list to choose from: what :func:`glyph_search` gives a printed page.

    ``answers`` has for each query ``{method: row numbers}``, best first.

    Args:
        engine: answers queries.
        queries: the words of each, one at least; every method of the engine has an answer.
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
        cards = [
            self._engine.card(query, answer)
            for query, answer in zip(self.queries, self.answers, strict=True)
        ]
        sheet = self._engine.sheet(cards)
        data = {
            "right": _RIGHT,
            "pictures": [(self._engine.captions[row], sheet.position(row)) for row in sheet.places],
            "cards": [card.data(sheet) for card in cards],
        }
        written = json.dumps(data, separators=(",", ":")).replace("<", r"\u003c")
        return (
            f'<div class="vl-search" role="group" aria-label="{esc(self.label)}" '
            f'style="{sheet.style}"><style>{_CSS}</style>'
            f'<label><span>{esc(self.label)}</span><select autocomplete="off">{options}</select>'
            f"</label>{cards[0].html(sheet, self._engine.captions)}"
            f"<script>{_SCRIPT.replace('DATA', written)}</script></div>"
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
    recorded: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    top: int = 8,
    label: str = "Search for",
) -> Any:
    """Return a search by words in which every method answers, side by side.

    In the built book the queries are answered beforehand and an ordinary list chooses among
    them. Where a kernel runs (Jupyter, Colab, VS Code) the same call gives a field for words of
    your own; ``VLALIGN_LIVE`` set to 0 or 1 chooses by hand. An answer is framed where its
    caption holds every word of the query.

    A method answers in one of three ways. A fitted one answers whatever it is asked, also where
    answers of its name are recorded. A function that fits one answers by the recorded answers
    until words are asked for that have none; then, and only where a kernel runs, it is called,
    once, and from there on the method that it returned answers everything. A method that is
    only recorded answers the recorded phrases, and says so at others. Where a method is not
    fitted, the live form has a box to tick for each: at first all are ticked that never need
    fitting (where there are none, the first recorded one), so that no word starts more than you
    asked for.

    Args:
        models: by name either fitted methods, each with ``embed_images`` and ``embed_texts``, or
            functions without arguments that fit one and return it. May be empty where answers
            are recorded.
        gallery: the pairs whose pictures are searched, with captions and ``encode_captions``:
            the part ``"test"`` of :func:`vlalign_lib.data.load_glyphs`.
        queries: phrases; in the printed page these are all there is.
        recorded: answers that were kept when a method was measured, ``{method: {phrase: ids}}``,
            best first, with the ``ids`` of the gallery. Case and spaces of a phrase do not
            matter. The rows come in this order; ``models`` of other names follow in theirs.
        top: how many answers to show, 1 to 12.
        label: what stands before the list or the field.

    Returns:
        A :class:`GlyphSearch`, or an ipywidgets box; shown when it is the last expression of a
        cell. ``answers`` of the former has for each query ``{method: row numbers}``, best first.

    Raises:
        ValueError: no method, no query, a query twice, a query without a known word, pairs
            without captions or pictures, or a ``top`` out of range; a model that is neither
            fitted nor a function; recorded answers that lack a query, are fewer than ``top`` or
            come from another gallery; for a printed page a function without recorded answers.

    Chapter:
        07, Ranking, and 08, The retrieval table.

    Example:
        >>> from vlalign_lib.data import load_glyphs
        >>> from vlalign_lib.linear import CFA
        >>> glyphs = load_glyphs()
        >>> train, test = glyphs.split("train"), glyphs.split("test")
        >>> methods = {"CFA": CFA(20).fit(train.images[:500], train.texts[:500])}
        >>> kept = {"DCCA": {"arrow": test.ids[:3], "letter a": test.ids[3:6]}}
        >>> found = glyph_search(methods, test, ["arrow", "letter a"], recorded=kept, top=3)
        >>> [len(answer["CFA"]) for answer in found.answers]
        [3, 3]
        >>> {name: len(rows) for name, rows in found.answers[0].items()}
        {'DCCA': 3, 'CFA': 3}
    """
    check_mapping(models, "models", "{name: fitted method}")
    if recorded is not None:
        check_mapping(recorded, "recorded", "{method: {phrase: ids}}")
    if not models and not recorded:
        raise ValueError("models: expected at least one fitted method, or recorded answers")
    if isinstance(queries, str) or not is_words(queries):
        raise ValueError('queries: expected phrases, such as ["black heart"]')
    asked = [" ".join(query.split()) for query in queries]
    if len(set(asked)) < len(asked):
        twice = next(query for query in asked if asked.count(query) > 1)
        raise ValueError(f"queries: {twice!r} stands there twice")
    if not 1 <= top <= 12:
        raise ValueError(f"top: expected 1 to 12 answers, got {top}")
    engine = _Engine(models, gallery, recorded or {}, asked, top)
    if is_live():
        control = _live_control(engine, asked, label)
        if control is not None:
            return control
    for name in engine.recipes:
        if name not in engine.recorded:
            raise ValueError(
                f"models: {name!r} is a function and has no recorded answers, and a printed page "
                "fits nothing: hand over the fitted method, or its recorded answers"
            )
    return GlyphSearch(engine, asked, label)


@dataclass(frozen=True)
class _Sheet:
    """One image with many pictures side by side, and where each of them is."""

    address: str
    columns: int
    lines: int
    places: Mapping[int, int]

    @property
    def style(self) -> str:
        """Return what hands the image down to the tiles."""
        size = f"{100 * self.columns}% {100 * self.lines}%"
        return f"--vl-sheet:url({self.address});--vl-size:{size}"

    def position(self, row: int) -> str:
        """Return the ``background-position`` of a tile that shows a row of the gallery."""
        down, across = divmod(self.places[row], self.columns)
        x, y = across / max(1, self.columns - 1), down / max(1, self.lines - 1)
        return f"{100 * x:.4g}% {100 * y:.4g}%"


@dataclass(frozen=True)
class _Row:
    """What one method answers: rows of the gallery and which of them hold every word, or why not.

    Without answers there is a note alone.
    """

    name: str
    rows: tuple[int, ...]
    right: tuple[bool, ...]
    first: str
    note: str

    @property
    def hits(self) -> str:
        return f"{sum(self.right)} of {len(self.right)}" if self.rows else ""

    def html(self, sheet: _Sheet, captions: Sequence[str]) -> str:
        known = known_as(self.name)
        tiles = "".join(
            f'<span class="vl-tile{" vl-right" if right else ""}" role="img" '
            f'aria-label="{html.escape(captions[row])}{_RIGHT if right else ""}" '
            f'title="{html.escape(captions[row])}" '
            f'style="background-position:{sheet.position(row)}"></span>'
            for row, right in zip(self.rows, self.right, strict=True)
        )
        said = (
            f'<span class="vl-hits">{self.hits}</span>'
            f'<span class="vl-first">{html.escape(self.first)}</span>{html.escape(self.note)}'
        )
        return (
            f'<div class="vl-row"><span class="vl-name" '
            f'style="border-color:{colour(known) if known else "transparent"}">'
            f'{html.escape(self.name)}</span><span class="vl-tiles">{tiles}</span>'
            f'<span class="vl-said">{said}</span></div>'
        )


@dataclass(frozen=True)
class _Card:
    """What every method answers to one query."""

    head: str
    rows: tuple[_Row, ...]

    def html(self, sheet: _Sheet, captions: Sequence[str]) -> str:
        many = " vl-many" if len(self.rows) > _MANY else ""
        rows = "".join(row.html(sheet, captions) for row in self.rows)
        return f'<div class="vl-card{many}"><p>{html.escape(self.head)}</p>{rows}</div>'

    def data(self, sheet: _Sheet) -> tuple[str, list[Any]]:
        """Return what the script writes into the page; a tile is 2 · its place, + 1 if framed."""
        rows = [
            (
                row.hits,
                row.first,
                [2 * sheet.places[i] + right for i, right in zip(row.rows, row.right, strict=True)],
            )
            for row in self.rows
        ]
        return self.head, rows


class _Engine:
    """The gallery as every method sees it, and what answers a phrase there.

    ``methods`` are fitted, ``recipes`` fit one when they are called, ``recorded`` holds rows by
    method and phrase, ``failed`` why a recipe came to nothing. ``names`` are all, in order.
    """

    def __init__(
        self,
        models: Mapping[str, Any],
        gallery: PairedDataset,
        recorded: Mapping[str, Mapping[str, Sequence[str]]],
        queries: Sequence[str],
        top: int,
    ) -> None:
        if gallery.captions is None:
            raise ValueError(
                "gallery: these pairs have no captions, so words cannot be looked for; "
                "load_glyphs() has them"
            )
        self.gallery, self.captions = gallery, gallery.captions
        self.pictures = as_pictures(gallery.images, "gallery.images")
        self.top = min(top, len(self.captions))
        self.words = [_words(caption) for caption in self.captions]
        self.names = tuple(dict.fromkeys([*recorded, *models]))
        self.recorded = {
            name: self._rows(name, answers, queries) for name, answers in recorded.items()
        }
        self.recipes: dict[str, Callable[[], Any]] = {}
        self.methods: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        self._seen: dict[str, Any] = {}
        for name, model in models.items():
            if not _embeds(model) and callable(model) and not isinstance(model, type):
                self.recipes[name] = model
            else:
                self._keep(name, model)

    def _rows(
        self, name: str, answers: Mapping[str, Sequence[str]], queries: Sequence[str]
    ) -> dict[str, NDArray[np.int64]]:
        """Return recorded answers as rows of the gallery."""
        check_mapping(answers, f"recorded[{name!r}]", "{phrase: ids, best first}")
        row_of = {each: row for row, each in enumerate(self.gallery.ids)}
        found = {}
        for phrase, ids in answers.items():
            strange = [each for each in ids if each not in row_of]
            if strange:
                raise ValueError(
                    f"recorded: {name} answers {phrase!r} with {strange[0]!r}, which is not among "
                    "gallery.ids: it was recorded on another gallery"
                )
            if len(ids) < self.top:
                raise ValueError(
                    f"recorded: {name} has {len(ids)} answers to {phrase!r}, fewer than "
                    f"top={self.top}"
                )
            found[_key(phrase)] = np.array([row_of[each] for each in ids[: self.top]])
        for query in queries:
            if _key(query) not in found:
                raise ValueError(
                    f"recorded: {name} has no answers to {query!r}; leave it out of queries, or "
                    f"ask for {', '.join(map(repr, answers)) or 'nothing'}"
                )
        return found

    def _keep(self, name: str, model: Any) -> None:
        if not _embeds(model):
            raise ValueError(
                f"models[{name!r}]: expected a fitted method with embed_images and embed_texts, "
                f"or a function without arguments that returns one, got {_kind(model)}"
            )
        self._seen[name] = model.embed_images(self.gallery.images)
        self.methods[name] = model

    def fit(self, name: str) -> None:
        """Call a recipe and keep what it returns, or in ``failed`` why it does not."""
        try:
            self._keep(name, self.recipes[name]())
        except (Exception, KeyboardInterrupt) as error:
            self.failed[name] = f"{type(error).__name__}: {error}"

    def wants_fit(self, query: str, name: str) -> bool:
        """Tell whether a method answers ``query`` only after its recipe is called."""
        return (
            name in self.recipes
            and name not in self.methods
            and name not in self.failed
            and _key(query) not in self.recorded.get(name, {})
        )

    def encoded(self, queries: Sequence[str]) -> NDArray[np.floating]:
        """Return one row of words a query; each holds a known word."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = self.gallery.encode_captions(list(queries))
        for query, row in zip(queries, rows, strict=True):
            if not row.any():
                raise ValueError(
                    f"no training name holds a word of {query!r}; try words such as ARROW, "
                    "HEART, CIRCLE, LETTER"
                )
        return rows

    def answers(
        self, queries: Sequence[str], names: Sequence[str] | None = None
    ) -> list[dict[str, NDArray[np.int64]]]:
        """Return for each query, by method, the rows of its best answers, where it has any."""
        names = self.names if names is None else names
        asked = self.encoded(queries) if any(name in self.methods for name in names) else None
        found: list[dict[str, NDArray[np.int64]]] = [{} for _ in queries]
        for name in names:
            if name in self.methods:
                best = nearest(self.methods[name].embed_texts(asked), self._seen[name], self.top)
                for answer, rows in zip(found, np.asarray(best), strict=True):
                    answer[name] = rows
            else:
                kept = self.recorded.get(name, {})
                for answer, query in zip(found, queries, strict=True):
                    if _key(query) in kept:
                        answer[name] = kept[_key(query)]
        return found

    def card(
        self,
        query: str,
        answer: Mapping[str, NDArray[np.int64]],
        notes: Mapping[str, str] | None = None,
    ) -> _Card:
        """Return the answers with what is said of them; a note stands where there is no answer."""
        wanted = _words(query)
        holds = [wanted <= words for words in self.words]
        rows = []
        for name in self.names:
            if name in answer:
                found = tuple(int(row) for row in answer[name])
                first = f"; first: {self.captions[found[0]].lower()}"
                rows.append(_Row(name, found, tuple(holds[row] for row in found), first, ""))
            elif notes and name in notes:
                rows.append(_Row(name, (), (), "", notes[name]))
        head = f"“{query}”: names that hold every word: {sum(holds):,} of {len(holds):,}"
        return _Card(head, tuple(rows))

    def sheet(self, cards: Sequence[_Card]) -> _Sheet:
        """Return one image with every picture of the cards."""
        used = sorted({i for card in cards for row in card.rows for i in row.rows})
        places = {row: number for number, row in enumerate(used)}
        columns, lines = max(1, min(_COLUMNS, len(used))), max(1, -(-len(used) // _COLUMNS))
        peak = peak_of(self.pictures)
        height, width = (side + 2 * _BORDER for side in self.pictures.shape[1:3])
        image = np.full((lines * height, columns * width), 255, dtype=np.uint8)
        for row, number in places.items():
            y, x = number // _COLUMNS * height + _BORDER, number % _COLUMNS * width + _BORDER
            ink = np.clip(self.pictures[row] / peak, 0, 1)
            image[y : y + height - 2 * _BORDER, x : x + width - 2 * _BORDER] = np.round(
                255 * (1 - ink)
            )
        return _Sheet(data_uri(_grey_png(image)), columns, lines, places)


def _embeds(model: Any) -> bool:
    """Tell a method from a function that makes one, which may be a class."""
    return (
        hasattr(model, "embed_images")
        and hasattr(model, "embed_texts")
        and not isinstance(model, type)
    )


def _kind(model: Any) -> str:
    return f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__


def _key(phrase: str) -> str:
    return " ".join(phrase.casefold().split())


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

    shown = widgets.HTML()
    field = widgets.Combobox(
        value=queries[0],
        options=list(queries),
        ensure_option=False,
        continuous_update=False,
        description=label,
        style={"description_width": "initial"},
        layout=widgets.Layout(width="auto", max_width="47rem"),
    )
    ready = [name for name in engine.names if name not in engine.recipes] or [*engine.recorded][:1]
    boxes = {
        name: widgets.Checkbox(
            value=name in ready,
            description=name,
            indent=False,
            layout=widgets.Layout(width="auto", margin="0 1rem 0 0"),
        )
        for name in engine.names
    }

    def show(query: str, names: Sequence[str], fitting: str = "") -> None:
        notes = {}
        for name in names:
            if name == fitting:
                notes[name] = f"fitting {name} …"
            elif name in engine.failed:
                problem = engine.failed[name]
                notes[name] = f"could not be fitted: {problem}; run the cell again to retry"
            else:
                notes[name] = "waits" if engine.wants_fit(query, name) else _ONLY_RECORDED
        (answer,) = engine.answers([query], names)
        card = engine.card(query, answer, notes)
        sheet = engine.sheet([card])
        shown.value = (
            f'<div class="vl-search" style="{sheet.style}"><style>{_CSS}</style>'
            f"{card.html(sheet, engine.captions)}</div>"
        )

    def answer(change: Any = None) -> None:
        query = " ".join(field.value.split())
        names = [name for name, box in boxes.items() if box.value]
        if not query:
            return
        if not names:
            shown.value = "<p>Choose a method.</p>"
            return
        try:
            waiting = [name for name in names if engine.wants_fit(query, name)]
            if waiting:
                engine.encoded([query])  # words that nobody knows are no reason to fit
            for name in waiting:
                show(query, names, fitting=name)
                engine.fit(name)
            show(query, names)
        except Exception as error:
            shown.value = f"<p>{html.escape(str(error))}</p>"

    answer()
    field.observe(answer, names="value")
    if engine.methods.keys() >= set(engine.names):
        return widgets.VBox([field, shown])
    for box in boxes.values():
        box.observe(answer, names="value")
    chosen = widgets.HBox(list(boxes.values()), layout=widgets.Layout(flex_flow="row wrap"))
    return widgets.VBox([field, chosen, shown])
