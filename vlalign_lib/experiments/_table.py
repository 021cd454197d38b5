"""The paper says, we measure: one table for each experiment, as text, HTML or markdown."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from vlalign_lib.experiments._experiment import TIERS, Table, choose
from vlalign_lib.experiments._ledger import load_records
from vlalign_lib.experiments._record import Record
from vlalign_lib.experiments._registry import get_experiment, stale_reason

Format = Literal["text", "html", "markdown"]


def table(
    experiment: str,
    format: Format = "text",
    *,
    tier: str = "cpu",
    records: Sequence[Record] | None = None,
    width: int | None = None,
) -> str:
    """Return the printed rows and our records side by side.

    Args:
        experiment: ``"fusion"``, ``"linear"`` or ``"retrieval"``.
        format: ``"text"`` for a terminal, ``"html"`` for a page, ``"markdown"``.
        tier: which tier's records to show.
        records: the records to show instead of the ledger's.
        width: characters that a line of text may take; a wider table is printed in several
            blocks of columns, each with the names of its rows. None prints it in one.

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
    content = chosen.table([*records])
    content = replace(content, notes=(*content.notes, *notes))
    if format == "text":
        return _text(content, width)
    return {"html": _html, "markdown": _markdown}[format](content)


_GAP = "  "


def _text(table: Table, width: int | None) -> str:
    rows = [table.columns, *table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.columns))]
    lines = [table.title]
    for block in _blocks(widths, width):

        def line(row: Sequence[str], block: Sequence[int] = block) -> str:
            return _GAP.join(row[i].ljust(widths[i]) for i in block).rstrip()

        lines += ["", line(table.columns), _GAP.join("─" * widths[i] for i in block)]
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
