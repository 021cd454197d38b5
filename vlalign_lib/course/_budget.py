"""What a chapter costs on this tier and on the larger ones, as measured."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vlalign_lib._validate import check_mapping
from vlalign_lib.course._display import Markup, card

TIERS = ("cpu", "colab", "full")
SCHEMA = 1

_NOT_YET = "not measured yet"
_CHAPTER = re.compile(r"ch\d\d")

_CSS = (
    ".vl .vl-wide{overflow-x:auto}"
    ".vl table{border-collapse:collapse;margin:.3rem 0;color:inherit;background:none;"
    "overflow-wrap:normal;word-break:normal}"
    ".vl caption{text-align:left;font-weight:600;caption-side:top;padding:0 0 .2rem;color:inherit}"
    ".vl th,.vl td{text-align:left;padding:.15rem 1.1rem .15rem 0;border:0;background:none;"
    "color:inherit;vertical-align:top}"
    ".vl thead th{border-bottom:1px solid rgba(127,127,127,.4)}"
)


@dataclass(frozen=True)
class TierCost:
    """What one run of a chapter's notebook cost on one tier.

    Args:
        seconds: wall-clock time of the whole notebook.
        memory_mb: largest resident memory in MiB, None where it was not read.
        download_mb: what has to be fetched the first time, in MiB.
        device: the machine it was measured on, in words.
        date: day of the measurement, ISO 8601.
        slow: the slowest cells, ``{what it does: seconds}``.

    Chapter:
        Chapter 00 explains how to read a budget.
    """

    seconds: float
    memory_mb: float | None = None
    download_mb: float = 0.0
    device: str = ""
    date: str = ""
    slow: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """The measured costs of one chapter, by tier; empty where nothing was measured.

    Args:
        chapter: ``"ch03"``.
        tiers: costs by tier, any of "cpu", "colab", "full".

    Raises:
        ValueError: a tier of another name.

    Chapter:
        Chapter 00 explains how to read a budget.

    Example:
        >>> Budget("ch03", {"cpu": TierCost(38.2, 410)}).tiers["cpu"].seconds
        38.2
    """

    chapter: str
    tiers: Mapping[str, TierCost] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_mapping(self.tiers, "tiers", '{"cpu": TierCost(…)}')
        unknown = sorted(set(self.tiers) - set(TIERS))
        if unknown:
            raise ValueError(f"budget: unknown tier {unknown[0]!r}; the tiers are {TIERS}")

    def save(self, folder: Path | None = None) -> Path:
        """Write the budget to ``budgets/<chapter>.json`` of a ledger folder; return the path."""
        path = (folder or _results_dir()) / "budgets" / f"{self.chapter}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "schema": SCHEMA,
            "chapter": self.chapter,
            "tiers": {name: asdict(self.tiers[name]) for name in TIERS if name in self.tiers},
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return path


def chapter_key(chapter: str) -> str:
    """Return the key of a chapter ("ch03") from it or from its notebook's name.

    Raises:
        ValueError: not a chapter's name.

    Example:
        >>> chapter_key("ch03_cca.ipynb")
        'ch03'
    """
    match = _CHAPTER.match(chapter) if isinstance(chapter, str) else None
    if match is None:
        raise ValueError(f"expected a chapter such as 'ch03', got {chapter!r}")
    return match.group()


def load_budget(chapter: str) -> Budget:
    """Return what was measured for a chapter; an empty budget where nothing was.

    Args:
        chapter: ``"ch03"``, or the name of its notebook.

    Returns:
        The budget from ``results/budgets/`` or, in a wheel, from the records inside.

    Raises:
        ValueError: not a chapter's name, or a file that is no budget; the text names it.

    Chapter:
        Chapter 00 explains how to read a budget.

    Example:
        >>> load_budget("ch99").tiers
        {}
    """
    key = chapter_key(chapter)
    for folder in _ledger_dirs():
        path = folder / "budgets" / f"{key}.json"
        if path.is_file():
            return _read(path, key)
    return Budget(key)


def _read(path: Path, key: str) -> Budget:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA or content["chapter"] != key:
            raise ValueError(f"layout {content['schema']} of chapter {content['chapter']!r}")
        return Budget(key, {name: TierCost(**cost) for name, cost in content["tiers"].items()})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a budget ({type(error).__name__}: {error}); delete it and measure again"
        ) from error


def _results_dir() -> Path:
    from vlalign_lib.experiments._ledger import results_dir

    return results_dir()


def _ledger_dirs() -> list[Path]:
    from vlalign_lib.experiments._ledger import ledger_dirs

    return ledger_dirs()


def duration(seconds: float) -> str:
    """Return a length of time as people say it.

    Example:
        >>> duration(38.4), duration(250), duration(9000)
        ('38 s', '4 min', '2 h 30 min')
    """
    if seconds < 1:
        return "under 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def size(megabytes: float | None) -> str:
    """Return a size given in MiB as people say it.

    Example:
        >>> size(1.31), size(410.2), size(3300), size(0), size(None)
        ('1.3 MB', '410 MB', '3.2 GB', 'none', 'not measured yet')
    """
    if megabytes is None:
        return _NOT_YET
    if megabytes == 0:
        return "none"
    if megabytes < 9.95:
        return f"{megabytes:.1f} MB"
    if megabytes < 999.5:
        return f"{megabytes:.0f} MB"
    return f"{megabytes / 1024:.1f} GB"


def _cells(row: tuple[str, ...]) -> str:
    """Return the cells of a row, a lone one across the whole row."""
    filled = [cell for cell in row if cell]
    span = f' colspan="{len(row)}"' if len(filled) == 1 else ""
    return "".join(f"<td{span}>{html.escape(cell)}</td>" for cell in (filled if span else row))


def budget(chapter: str) -> Markup:
    """Return the box that says what a chapter costs: time, memory and download, by tier.

    Every number was measured; where nothing was, the box says so.

    Args:
        chapter: ``"ch03"``.

    Returns:
        The box, shown when it is the last expression of a cell.

    Raises:
        ValueError: not a chapter's name, or an unreadable record.

    Chapter:
        Chapter 00 explains how to read it.

    Example:
        >>> print(repr(budget("ch99")).splitlines()[0])
        What this chapter costs
    """
    measured = load_budget(chapter)
    head = ("tier", "time", "memory", "download", "measured on")
    rows = []
    for name in TIERS:
        cost = measured.tiers.get(name)
        if cost is None:
            rows.append((name, _NOT_YET, "", "", ""))
        else:
            rows.append(
                (
                    name,
                    duration(cost.seconds),
                    size(cost.memory_mb),
                    size(cost.download_mb),
                    ", ".join(part for part in (cost.device, cost.date) if part),
                )
            )
    title = "What this chapter costs"
    cells = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>{_cells(row[1:])}</tr>' for row in rows
    )
    table = (
        f'<div class="vl-wide"><table><caption>{title}</caption><thead><tr>'
        + "".join(f'<th scope="col">{name}</th>' for name in head)
        + f"</tr></thead><tbody>{cells}</tbody></table></div>"
    )
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [title] + [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    ]
    return card(table, "\n".join(lines), kind="info", extra_css=_CSS)
