"""What validation chose from, and whether it chose at the end of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vlalign_lib.experiments._record import Record


def at_edge(grid: Mapping[str, Sequence[Any]], chosen: Mapping[str, Any]) -> list[str]:
    """Return the parameters whose chosen value is the least or the largest on offer.

    A grid of one value offers no choice; 0 has nothing below it; a number of components that the
    data do not allow is no value of the grid.
    """
    return [
        name
        for name, values in grid.items()
        if len(values) > 1
        and all(isinstance(value, int | float) for value in values)
        and (chosen[name] == max(values) or chosen[name] == min(values) != 0)
    ]


def edges(records: Iterable[Record], names: Mapping[str, str]) -> str:
    """Return a note on what was chosen at the edge of its grid in most splits, "" for nothing."""
    found: dict[str, list[str]] = {}
    for record in records:
        grid = record.config.get("grid", {})
        chosen = [part["chosen"] for part in record.details.values() if part.get("chosen")]
        counts = Counter(
            (name, part[name]) for part in chosen for name in at_edge(grid, part) if name in part
        )
        for (name, value), count in counts.items():
            if 2 * count > len(chosen):
                found.setdefault(f"{names.get(record.method, record.method)} {name}={value}", [])
                found[f"{names.get(record.method, record.method)} {name}={value}"].append(
                    record.dataset
                )
    if not found:
        return ""
    listed = "; ".join(f"{what} ({', '.join(where)})" for what, where in found.items())
    return (
        "Chosen at the edge of its grid in most splits, so that a wider one might do better: "
        f"{listed}."
    )
