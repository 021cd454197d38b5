"""Type words, see the characters that answer: by several methods at once."""

from __future__ import annotations

import html
import io
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import check_mapping
from vlalign_lib.metrics import nearest
from vlalign_lib.viz._live import is_live
from vlalign_lib.viz._pictures import as_pictures, is_words, peak_of
from vlalign_lib.viz._png import asset, data_uri, fill
from vlalign_lib.viz._shade import known_as
from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.slider import wide

if TYPE_CHECKING:
    from vlalign_lib.data import PairedDataset

_COLUMNS = 24  # of the sheet on which all pictures lie
_MANY = 6  # methods; with more of them the rows are lower
_RIGHT = ", holds every word"  # what a screen reader hears of a frame
_ONLY_RECORDED = "recorded for the prepared phrases only"

_Answer = Mapping[str, NDArray[np.int64]]  # by method, rows of the gallery, best first


class GlyphSearch:
    """Prepared queries and a list to choose from: what :func:`glyph_search` gives a printed page.

    ``answers`` has for each query ``{method: row numbers}``, best first.

    Args:
        methods: answers queries.
        queries: the words of each, one at least; every method has an answer.

    Chapter:
        07, Ranking, and 08, The retrieval table.
    """

    def __init__(self, methods: _Methods, queries: Sequence[str]) -> None:
        self.queries = tuple(queries)
        self.answers = methods.answers(queries)
        self._methods = methods

    def _repr_html_(self) -> str:
        options = "".join(f"<option>{html.escape(query)}</option>" for query in self.queries)
        cards = [
            self._methods.card(query, answer)
            for query, answer in zip(self.queries, self.answers, strict=True)
        ]
        return _page(cards, self._methods, fill("search_chooser.html", options=options))

    def __repr__(self) -> str:
        """Return the first answer of each method to each query, for terminals."""
        lines = [f"Search for: {len(self.queries)} queries"]
        for query, by_method in zip(self.queries, self.answers, strict=True):
            firsts = (f"{name}: {self._methods.captions[of[0]]}" for name, of in by_method.items())
            lines.append(f"  {query} → " + "; ".join(firsts))
        return "\n".join(lines)


def glyph_search(
    models: Mapping[str, Any],
    gallery: PairedDataset,
    queries: Sequence[str],
    *,
    recorded: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    top: int = 8,
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
    methods = _Methods(models, gallery, recorded or {}, asked, top)
    control = _live_control(methods, asked) if is_live() else None
    if control is not None:
        return control
    for name in methods.recipes:
        if name not in methods.recorded:
            raise ValueError(
                f"models: {name!r} is a function and has no recorded answers, and a printed page "
                "fits nothing: hand over the fitted method, or its recorded answers"
            )
    return GlyphSearch(methods, asked)


class _Methods:
    """The gallery as every method sees it, and what answers a phrase there.

    ``fitted`` are methods, ``recipes`` fit one when they are called, ``recorded`` holds rows by
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
        self.fitted: dict[str, tuple[Any, Any]] = {}  # a method, and the gallery as it sees it
        self.failed: dict[str, str] = {}
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
        self.fitted[name] = model, model.embed_images(self.gallery.images)

    def fit(self, name: str) -> None:
        """Call a recipe and keep what it returns, or in ``failed`` why it does not."""
        try:
            self._keep(name, self.recipes[name]())
        except (Exception, KeyboardInterrupt) as error:
            self.failed[name] = f"{type(error).__name__}: {error}"

    def wants_fit(self, query: str, name: str) -> bool:
        """Tell whether a method answers ``query`` only after its recipe is called."""
        settled = name in self.fitted or name in self.failed
        return (
            name in self.recipes and not settled and _key(query) not in self.recorded.get(name, {})
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
        asked = self.encoded(queries) if any(name in self.fitted for name in names) else None
        found: list[dict[str, NDArray[np.int64]]] = [{} for _ in queries]
        for name in names:
            if name in self.fitted:
                method, seen = self.fitted[name]
                best = np.asarray(nearest(method.embed_texts(asked), seen, self.top))
                kept = {_key(query): rows for query, rows in zip(queries, best, strict=True)}
            else:
                kept = self.recorded.get(name, {})
            for answer, query in zip(found, queries, strict=True):
                if _key(query) in kept:
                    answer[name] = kept[_key(query)]
        return found

    def card(self, query: str, answer: _Answer, notes: Mapping[str, str] | None = None) -> _Card:
        """Return the answers with what is said of them; a note stands where there is no answer."""
        wanted = _words(query)
        holds = [wanted <= words for words in self.words]
        rows: list[_Row] = []
        for name in self.names:
            if name in answer:
                tiles = [(int(row), holds[row]) for row in answer[name]]
                hits = f"{sum(right for _, right in tiles)} of {len(tiles)}"
                rows.append((name, hits, f"; first: {self.captions[tiles[0][0]].lower()}", tiles))
            elif notes and name in notes:
                rows.append((name, "", notes[name], []))
        return f"“{query}”: names that hold every word: {sum(holds):,} of {len(holds):,}", rows


_Row = tuple[str, str, str, list[tuple[int, bool]]]  # method, hits, what is said, (row, right)
_Card = tuple[str, list[_Row]]  # what every method answers to one query, below a headline


def _page(cards: Sequence[_Card], methods: _Methods, chooser: str = "") -> str:
    """Return the first card as HTML; with a ``chooser``, a script that fills in the others."""
    shown = sorted({row for _, rows in cards for *_, tiles in rows for row, _ in tiles})
    sheet, place = _sheet(methods.pictures, shown)
    head, rows = cards[0]

    def tile(row: int, right: bool) -> str:
        framed, holds = (" vl-right", _RIGHT) if right else ("", "")
        caption = html.escape(methods.captions[row])
        return fill(
            "search_tile.html", framed=framed, holds=holds, caption=caption, place=place[row]
        )

    drawn = []
    for name, hits, said, tiles in rows:
        known = known_as(name)
        drawn.append(fill(
            "search_row.html", name=html.escape(name), hits=hits, said=html.escape(said),
            shade=colour(known) if known else "transparent", kind="vl-first" if tiles else "",
            tiles="".join(tile(*each) for each in tiles),
        ))  # fmt: skip
    return fill(
        "search.html", sheet=sheet, css=asset("search.css"), chooser=chooser,
        many=" vl-many" if len(rows) > _MANY else "", head=html.escape(head), rows="".join(drawn),
        script=_script(cards, methods, place) if chooser else "",
    )  # fmt: skip


def _script(cards: Sequence[_Card], methods: _Methods, place: Mapping[int, str]) -> str:
    """Return what the other cards show, and the script that fills them in."""
    number = {row: i for i, row in enumerate(place)}
    data = {
        "right": _RIGHT,
        "pictures": [(methods.captions[row], where) for row, where in place.items()],
        "cards": [
            (head, [(hits, said, [2 * number[row] + right for row, right in tiles])
                    for _, hits, said, tiles in rows])
            for head, rows in cards
        ],
    }  # fmt: skip
    written = json.dumps(data, separators=(",", ":")).replace("<", r"\u003c")
    kept = f'<script type="application/json" class="vl-data">{written}</script>'
    return f"{kept}<script>{asset('search.js')}</script>"


def _sheet(pictures: NDArray[Any], rows: Sequence[int]) -> tuple[str, dict[int, str]]:
    """Return one image of all these pictures, as a style, and the position of each on it.

    A character that answers ten queries is in the page once. A white pixel around each keeps its
    neighbours out when it is scaled.
    """
    from PIL import Image

    columns, lines = max(1, min(_COLUMNS, len(rows))), max(1, -(-len(rows) // _COLUMNS))
    height, width = (side + 2 for side in pictures.shape[1:3])
    sheet = np.full((lines * height, columns * width), 255, dtype=np.uint8)
    place, peak = {}, peak_of(pictures)
    for number, row in enumerate(rows):
        down, across = divmod(number, _COLUMNS)
        ink = np.pad(np.clip(pictures[row] / peak, 0, 1), 1)
        y, x = down * height, across * width
        sheet[y : y + height, x : x + width] = np.round(255 * (1 - ink))
        share = across / max(1, columns - 1), down / max(1, lines - 1)
        place[row] = f"{100 * share[0]:.4g}% {100 * share[1]:.4g}%"
    out = io.BytesIO()
    image = Image.fromarray(sheet).quantize(16, dither=Image.Dither.NONE)
    image.save(out, format="PNG", optimize=True)
    size = f"{100 * columns}% {100 * lines}%"
    return f"--vl-sheet:url({data_uri(out.getvalue())});--vl-size:{size}", place


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


def _live_control(methods: _Methods, queries: Sequence[str]) -> Any:
    """Return a field for words that answers at once, or None where ipywidgets is missing."""
    try:
        import ipywidgets as widgets
    except ImportError:
        return None

    shown = widgets.HTML()
    field = widgets.Combobox(value=queries[0], options=list(queries), ensure_option=False,
                             continuous_update=False, description="Search for",
                             **wide(widgets))  # fmt: skip
    ready = [n for n in methods.names if n not in methods.recipes] or [*methods.recorded][:1]
    narrow = widgets.Layout(width="auto", margin="0 1rem 0 0")
    boxes = {
        name: widgets.Checkbox(value=name in ready, description=name, indent=False, layout=narrow)
        for name in methods.names
    }

    def note(query: str, name: str, fitting: str) -> str:
        if name == fitting:
            return f"fitting {name} …"
        if name in methods.failed:
            return f"could not be fitted: {methods.failed[name]}; run the cell again to retry"
        return "waits" if methods.wants_fit(query, name) else _ONLY_RECORDED

    def show(query: str, names: Sequence[str], fitting: str = "") -> None:
        (answer,) = methods.answers([query], names)
        notes = {name: note(query, name, fitting) for name in names}
        shown.value = _page([methods.card(query, answer, notes)], methods)

    def answer(change: Any = None) -> None:
        query = " ".join(field.value.split())
        names = [name for name, box in boxes.items() if box.value]
        if not query:
            return
        if not names:
            shown.value = "<p>Choose a method.</p>"
            return
        try:
            waiting = [name for name in names if methods.wants_fit(query, name)]
            if waiting:
                methods.encoded([query])  # words that nobody knows are no reason to fit
            for name in waiting:
                show(query, names, fitting=name)
                methods.fit(name)
            show(query, names)
        except Exception as error:
            shown.value = f"<p>{html.escape(str(error))}</p>"

    answer()
    field.observe(answer, names="value")
    if methods.fitted.keys() >= set(methods.names):
        return widgets.VBox([field, shown])
    for box in boxes.values():
        box.observe(answer, names="value")
    chosen = widgets.HBox(list(boxes.values()), layout=widgets.Layout(flex_flow="row wrap"))
    return widgets.VBox([field, chosen, shown])
