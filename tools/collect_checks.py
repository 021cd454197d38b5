"""Gather what the tests measured into results/checks/: python tools/collect_checks.py FOLDER.

One file a part of the library, one entry for each function and other way to its answer. Where
a test ran with several inputs, the largest error counts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

CHECKS = Path(__file__).resolve().parent.parent / "results" / "checks"


def collect(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of every part, sorted."""
    entries: dict[tuple[str, str, str], dict[str, Any]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            new = json.loads(line)
            key = (new["function"], new["kind"], new["against"])
            old = entries.setdefault(key, new | {"comparisons": 0})
            old["comparisons"] += 1
            for field in ("error", "tolerance"):
                old[field] = max(old[field], float(f"{new[field]:.2g}"))
    parts: dict[str, list[dict[str, Any]]] = {}
    for key in sorted(entries):
        parts.setdefault(key[0].split(".")[0], []).append(
            entries[key] | {"error": float(f"{entries[key]['error']:.2g}")}
        )
    return parts


def main(folder: str) -> None:
    """Write one file a part."""
    CHECKS.mkdir(parents=True, exist_ok=True)
    for part, entries in collect(Path(folder)).items():
        path = CHECKS / f"{part}.json"
        path.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{path.name}: {len(entries)} agreements")


if __name__ == "__main__":
    main(*sys.argv[1:])
