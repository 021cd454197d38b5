"""The directive ``checked-against``: what each function was compared with, and how it came out.

The errors are those of ``results/checks/`` (measured by the tests, ``make checks``), the speeds
those of ``results/benchmarks/`` (``make bench``).
"""

from __future__ import annotations

import dataclasses
import html
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parent.parent
STATISTICS = ("compare_methods", "holm", "paired_difference")
KINDS = {
    "loop": "slow loop",
    "closed form": "closed form",
    "derivation": "second derivation",
    "peer": "other library",
    "gradient": "gradient",
    "second gradient": "second derivative",
    "float32": "single precision",
}


class CheckedAgainst(SphinxDirective):
    """A table for one part of the library, a row for each function and comparison."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Read the records and lay the table out."""
        part = self.arguments[0]
        checks = ROOT / f"results/checks/{part}.json"
        entries = json.loads(checks.read_text(encoding="utf-8")) if checks.exists() else []
        return [
            nodes.raw("", checked_html(part, functions(part), entries, speeds()), format="html")
        ]


def number(value: float) -> str:
    """A number with two digits, so that an error and its limit can be compared as printed."""
    return f"{value:.1e}" if value else "0"


def functions(part: str) -> list[str]:
    """The public names of a part that compute a number of their own."""
    if part == "experiments":
        return list(STATISTICS)
    module = importlib.import_module(f"vlalign_lib.{part}")
    return [name for name in module.__all__ if not only_holds(getattr(module, name))]


def only_holds(thing: Any) -> bool:
    """Tell whether ``thing`` only wraps a function, as torch modules do, or holds its result."""
    wraps = inspect.isclass(thing) and any(c.__name__ == "Module" for c in thing.__mro__)
    return wraps or dataclasses.is_dataclass(thing)


def speeds() -> dict[str, list[dict[str, Any]]]:
    """The timed cases of all benchmarks on one thread, by the function that they time.

    Of a function with a goal, the cases that count towards it; the rest is on the page of times.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((ROOT / "results/benchmarks").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        for case in record["cases"]:
            if case.get("function") and "ratio" in case and record["machine"]["threads"] == 1:
                found.setdefault(case["function"], []).append(case)
    return {
        name: [case for case in cases if case["goal"] is not None] or cases
        for name, cases in found.items()
    }


def checked_html(
    part: str,
    names: list[str],
    entries: list[dict[str, Any]],
    timed: dict[str, list[dict[str, Any]]],
) -> str:
    """Lay the comparisons of one part out."""
    order = list(KINDS)
    body = []
    for name in names:
        full = f"{part}.{name}"
        rows = [
            (KINDS[e["kind"]], e["against"], number(e["error"]), number(e["tolerance"]))
            for e in sorted(entries, key=lambda e: (order.index(e["kind"]), e["against"]))
            if e["function"] == full
        ]
        rows += [
            ("speed", f"{case['best_peer']}, {case['operation']}, {case['size']}",
             f"{case['ratio']:.1f}× as fast", "")
            for case in timed.get(full, [])
        ]  # fmt: skip
        link = f'<a href="api/{part}.html#vlalign_lib.{full}"><code>{name}</code></a>'
        body.append(f'<tr><th scope="rowgroup" colspan="4">{link}</th></tr>')
        for row in rows or [("", "nothing recorded", "", "")]:
            body.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>")
    top = "".join(
        f'<th scope="col">{word}</th>'
        for word in ("compared by", "with", "largest error, or speed", "allowed")
    )
    return (
        '<div class="table-scroll"><table class="checked-against">'
        f"<thead><tr>{top}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )
