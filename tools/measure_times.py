"""Measure what each chapter takes on this machine and record it in results/budgets/.

python tools/measure_times.py [ch03 …]

Every notebook runs alone, from a cold start, in a kernel of its own, with as many threads as the
machine has cores. Recorded are the wall-clock time, the largest memory of the kernel, the size of
what has to be downloaded the first time, and the cells that take longest.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
SLOW_S = 2.0  # cells slower than this are named in the record


def main() -> None:
    """Measure the chapters named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("chapters", nargs="*", help="ch00, ch01, …; all of them if none is named")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        chapter = path.stem.split("_")[0]
        if not arguments.chapters or chapter in arguments.chapters:
            record(chapter, path)


def record(chapter: str, path: Path) -> None:
    """Measure one notebook in a process of its own and write its record."""
    from vlalign_lib.course import Budget, TierCost, load_budget

    command = [sys.executable, __file__, "--one", str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    cost = TierCost(
        **json.loads(done.stdout.splitlines()[-1]),
        download_mb=download_mb(path.read_text(encoding="utf-8")),
        device=f"{os.cpu_count()} cores, no GPU, {platform.system()}",
        date=datetime.date.today().isoformat(),
    )
    tiers = {**load_budget(chapter).tiers, "cpu": cost}
    saved = Budget(chapter, tiers).save(ROOT / "results")
    print(f"{saved.name}: {cost.seconds:.0f} s, {cost.memory_mb:.0f} MiB")


def measure(path: Path) -> dict[str, object]:
    """Execute a notebook; return its time, the largest memory of a kernel, and its slow cells."""
    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=1800,
        record_timing=True,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute(env=dict(os.environ, TQDM_DISABLE="1"))
    seconds = time.perf_counter() - started
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    per_mib = 2**20 if platform.system() == "Darwin" else 2**10
    slow: dict[str, float] = {}
    for name, took in timings(notebook):
        if took > SLOW_S:
            slow[name] = round(slow.get(name, 0.0) + took, 1)
    return {"seconds": round(seconds, 1), "memory_mb": round(memory / per_mib), "slow": slow}


def timings(notebook: nbformat.NotebookNode) -> list[tuple[str, float]]:
    """Each code cell's section, as its heading says, and the time it took in seconds."""
    section, found = "", []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            headings = re.findall(r"(?m)^#{1,3} (.+)$", cell.source)
            section = headings[-1] if headings else section
        elif "execution" in cell.metadata:
            times = cell.metadata.execution
            start, end = times["iopub.execute_input"], times["shell.execute_reply"]
            took = datetime.datetime.fromisoformat(end) - datetime.datetime.fromisoformat(start)
            found.append((section, took.total_seconds()))
    return found


def download_mb(source: str) -> float:
    """What the data sets that a notebook loads have to fetch the first time, in MiB."""
    from vlalign_lib.data._registry import SETS

    size = sum(entry.size for name, entry in SETS.items() if f"load_{name}(" in source)
    return round(size / 2**20, 1)


if __name__ == "__main__":
    main()
