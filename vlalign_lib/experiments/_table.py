"""The paper says, we measure: one table for each experiment, in several formats."""

from __future__ import annotations

import csv
import html
import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, get_args

from vlalign_lib.experiments._experiment import (
    TIERS,
    Experiment,
    SettingError,
    Table,
    choose,
    choose_several,
)
from vlalign_lib.experiments._ledger import load_records
from vlalign_lib.experiments._record import Record
from vlalign_lib.experiments._registry import get_experiment, stale_reason

Format = Literal["text", "html", "markdown", "csv", "latex"]


def table(
    experiment: str,
    format: Format = "text",
    *,
    tier: str = "cpu",
    records: Sequence[Record] | None = None,
    width: int | None = None,
    datasets: Iterable[str] = ("all",),
    methods: Iterable[str] = ("all",),
) -> str:
    """Return the printed rows and our records side by side.

    Args:
        experiment: ``"fusion"``, ``"linear"`` or ``"retrieval"``.
        format: ``"text"`` for a terminal, ``"html"`` for a page, ``"markdown"``, ``"csv"``, or
            ``"latex"`` for the rows of a paper's table (package booktabs).
        tier: which tier's records to show.
        records: the records to show instead of the ledger's.
        width: characters that a line of text may take: columns in which nothing stands are left
            out and named below, headings are broken, and a table that is still wider is printed
            in several blocks of columns, each with the names of its rows. None does none of it.
        datasets: which data sets to show, by their names or their labels.
        methods: which rows to show, by the methods' names or their labels.

    Returns:
        The table, with a title above it and notes below it. What was not measured says so,
        and stale records are named.

    Raises:
        ValueError: an experiment, a format or a tier that does not exist.
        LedgerError: a file in the ledger is no record.

    Chapter:
        00, where the ledger is introduced; each chapter shows its own table.

    Example:
        >>> print(table("linear", records=[]).splitlines()[0])
        Closed-form methods: class mAP, cosine, the whole gallery
    """
    choose("format", format, get_args(Format))
    chosen = get_experiment(experiment)
    choose("tier", tier, TIERS)
    if records is None:
        records = [record for record in load_records(experiment) if record.tier == tier]
    notes = []
    if not records:
        notes.append(f"No record of tier {tier} yet: `vlalign run {experiment} --tier {tier}`.")
    stale = {record.key: stale_reason(record) for record in records}
    notes += [f"Stale: {key}, {reason}." for key, reason in stale.items() if reason]
    content = _selected(chosen.table([*records]), chosen, records, datasets, methods)
    content = replace(content, notes=(*content.notes, *notes))
    if format == "text":
        return _text(content, width)
    write = {"html": _html, "markdown": _markdown, "csv": _csv, "latex": _latex}[format]
    return write(content)


def _selected(
    table: Table,
    experiment: Experiment,
    records: Sequence[Record],
    datasets: Iterable[str],
    methods: Iterable[str],
) -> Table:
    """Return the rows and the columns of some methods and data sets."""
    rows, columns = table.rows, [*range(len(table.columns))]
    wanted = tuple(methods)
    if wanted != ("all",):
        labels = experiment.labels("METHODS")
        labels = {record.method: record.method for record in records} | dict(labels)
        shown = {labels[name] for name in choose_several("method", wanted, labels)}
        rows = tuple(row for row in rows if row[0] in shown)
    wanted = tuple(datasets)
    if wanted != ("all",):
        labels = experiment.labels("DATASETS")
        if not labels:
            raise SettingError(f"the table of {experiment.name} has one data set only")
        shown = {labels[name] for name in choose_several("data set", wanted, labels)}
        away = tuple(label for label in labels.values() if label not in shown)
        if "data" in table.columns:
            rows = tuple(row for row in rows if row[table.columns.index("data")] in shown)
        columns = [i for i in columns if not table.columns[i].startswith(away)]
    return _with_columns(replace(table, rows=rows), columns)


def _with_columns(table: Table, columns: Iterable[int]) -> Table:
    def cut(row: Sequence[str]) -> tuple[str, ...]:
        return tuple(row[i] for i in columns)

    columns = [*columns]
    return replace(table, columns=cut(table.columns), rows=tuple(map(cut, table.rows)))


_GAP = "  "
_NOTHING = ("not measured", "–")


def _folded(table: Table) -> Table:
    """Return the table without the columns in which nothing stands; a note names them."""
    full = [
        i
        for i in range(len(table.columns))
        if i == 0 or any(row[i] not in _NOTHING for row in table.rows)
    ]
    away = [name for i, name in enumerate(table.columns) if i not in full]
    notes = (f"Columns without a number, left out: {'; '.join(away)}.",) if away else ()
    return replace(_with_columns(table, full), notes=(*table.notes, *notes))


def _text(table: Table, width: int | None) -> str:
    heads = [[name] for name in table.columns]
    if width is not None:
        table = _folded(table)
        cells = [
            max((len(row[i]) for row in table.rows), default=0) for i in range(len(table.columns))
        ]
        heads = [
            textwrap.wrap(name, max(wide, *map(len, name.split())))
            for name, wide in zip(table.columns, cells, strict=True)
        ]
    high = max(map(len, heads))
    above = [*zip(*([""] * (high - len(head)) + head for head in heads), strict=True)]
    rows = [*above, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [table.title]
    for block in _blocks(widths, width):

        def line(row: Sequence[str], block: Sequence[int] = block) -> str:
            return _GAP.join(row[i].ljust(widths[i]) for i in block).rstrip()

        lines += ["", *filter(None, map(line, above)), _GAP.join("─" * widths[i] for i in block)]
        lines += [line(row) for row in table.rows]
    notes = table.notes
    if width is not None:
        notes = tuple(textwrap.fill(note, max(width, 20)) for note in notes)
    return "\n".join([*lines, "", *notes])


def _blocks(widths: Sequence[int], limit: int | None) -> list[list[int]]:
    """Return the columns of each block: as many as fit, the first one in front of each."""
    blocks, used = [[0]], widths[0]
    for column in range(1, len(widths)):
        needed = len(_GAP) + widths[column]
        if limit is not None and used + needed > limit and len(blocks[-1]) > 1:
            blocks.append([0])
            used = widths[0]
        blocks[-1].append(column)
        used += needed
    return blocks


def _markdown(table: Table) -> str:
    def line(row: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"

    lines = [line(table.columns), line(["---"] * len(table.columns)), *map(line, table.rows)]
    notes = [part for note in table.notes for part in ("", note)]
    return "\n".join([f"**{table.title}**", "", *lines, *notes])


def _csv(table: Table) -> str:
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([table.columns, *table.rows])
    return lines.getvalue().rstrip("\n")


_TEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {"±": r"$\pm$", "→": r"$\to$", "≤": r"$\le$", "–": "--", "−": "$-$"}
)


def _latex(table: Table) -> str:
    def line(row: Sequence[str]) -> str:
        return " & ".join(cell.translate(_TEX) for cell in row) + r" \\"

    return "\n".join(
        [
            *(f"% {note}" for note in (table.title, *table.notes)),
            rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
            r"\toprule",
            line(table.columns),
            r"\midrule",
            *map(line, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def _html(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in table.columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in table.rows
    )
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in table.notes)
    return (
        f'<table class="table ledger-table"><caption>{html.escape(table.title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f'<div class="ledger-notes">{notes}</div>'
    )
