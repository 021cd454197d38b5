"""Time the library beside its peers, so that the ratios can be trusted.

A benchmark is a list of functions that each return a ``Case``. For every case the harness

1. runs ours and every peer once, and refuses to time answers that do not agree;
2. times them interleaved, one sample of each in every round and the order turned round by
   round, so that a busy machine slows all of them alike;
3. reports medians and the ratio of every peer's median to ours.

One JSON file a benchmark goes to ``results/benchmarks/``, with the facts of the machine; a run
with several threads has a file of its own.
README.md beside this file shows how to write one.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import gc
import importlib.metadata
import json
import multiprocessing
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SCHEMA = 1
RESULTS = Path(__file__).resolve().parents[1] / "results" / "benchmarks"
SHORTEST_SAMPLE = 0.05  # seconds; a faster call is repeated inside one sample
FLAGS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512", "amx", "asimd", "sve")


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another way to the same answer.

    ``tolerance`` replaces the case's where a peer is known to be less exact. With
    ``compared=False`` it is a yardstick: its answer is not looked at, ``note`` has to say why, and
    no goal counts against it. ``rounds`` caps
    the samples of a slow peer.
    """

    run: Callable[[], Any]
    tolerance: float | None = None
    compared: bool = True
    rounds: int | None = None
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Case:
    """One operation at one size.

    ``difference(ours, theirs)`` is one number, compared with ``tolerance``. ``work`` names what
    one call gets through, as ``(amount, unit)``, for a rate beside the time ("GB", say).
    ``function`` names what is timed, ``"losses.cca_loss"`` say, for the page of checks.
    """

    operation: str
    size: str
    ours: Callable[[], Any]
    peers: Mapping[str, Peer]
    difference: Callable[[Any, Any], float]
    tolerance: float
    goal: float | None = None
    rounds: int = 7
    work: tuple[float, str] | None = None
    note: str = ""
    function: str = ""


@dataclasses.dataclass(frozen=True)
class MemoryCase:
    """The most memory that a fresh process takes to run ``function``, libraries included.

    ``function`` is a top-level function of the benchmark's file: the process finds it by name.
    """

    operation: str
    size: str
    function: Callable[[], Any]
    limit_mb: float
    note: str = ""


def main(
    name: str,
    cases: Sequence[Callable[[], Case | MemoryCase]],
    packages: Sequence[str],
    argv: Sequence[str] | None = None,
) -> int:
    """Run the cases, print the table, write ``results/benchmarks/<name>.json``.

    Returns:
        An exit code: 1 where an answer disagreed or the memory limit was passed, else 0. A
        missed speed goal is written down and is no failure: it depends on the machine.
    """
    parser = argparse.ArgumentParser(description=f"Benchmark {name} against its peers.")
    parser.add_argument("--threads", type=int, default=1, help="threads for everybody (1)")
    parser.add_argument("--rounds", type=int, help="samples of each contender")
    parser.add_argument("--only", default="", help="regular expression on operation and size")
    parser.add_argument("--output", type=Path, help="where the JSON goes")
    arguments = parser.parse_args(argv)

    rows: list[dict[str, Any]] = []
    failed = False
    with limited_threads(arguments.threads):
        facts = machine(packages, arguments.threads)
        for build in cases:
            case = build()
            if not re.search(arguments.only, f"{case.operation} {case.size}"):
                continue
            row = (
                measure_memory(case)
                if isinstance(case, MemoryCase)
                else measure_time(case, arguments.rounds)
            )
            failed |= not row["passed"]
            rows.append(row)
            print(markdown([row], header=len(rows) == 1), flush=True)
            del case
            gc.collect()
    file = f"{name}.json" if arguments.threads == 1 else f"{name}_{arguments.threads}_threads.json"
    target = arguments.output or (None if arguments.only else RESULTS / file)
    if failed:
        print("\nnot written: an answer disagreed or a limit was passed", file=sys.stderr)
    elif target is not None:
        record = {"schema": SCHEMA, "name": name, "machine": facts, "cases": rows}
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")
        print(f"\nwritten to {target}")
    return int(failed)


def measure_time(case: Case, rounds: int | None = None) -> dict[str, Any]:
    """Check the answers of a case, then time its contenders interleaved."""
    case.ours()  # compilation and first touches stay outside the clock
    first, answer = _timed(case.ours)
    repeats = {"ours": _repeats(first)}
    differences: dict[str, float | None] = {}
    passed = True
    for name, peer in case.peers.items():
        if not (peer.compared or peer.note):
            raise ValueError(f"{name}: a peer whose answer is not compared needs a note why")
        first, theirs = _timed(peer.run)
        if first < SHORTEST_SAMPLE:
            first, theirs = _timed(peer.run)  # the first call of a fast one is not typical
        repeats[name] = _repeats(first)
        if not peer.compared:
            differences[name] = None
            continue
        tolerance = case.tolerance if peer.tolerance is None else peer.tolerance
        difference = float(case.difference(answer, theirs))
        differences[name] = difference
        if not difference <= tolerance:  # NaN disagrees too
            passed = False
            print(
                f"{case.operation}, {case.size}: {name} differs by {difference:.3g}, "
                f"more than {tolerance:.3g}; not timed",
                file=sys.stderr,
            )
    row: dict[str, Any] = {
        "kind": "time",
        "operation": case.operation,
        "size": case.size,
        "function": case.function,
        "goal": case.goal,
        "note": case.note,
        "passed": passed,
    }
    if not passed:
        return row | {"differences": differences}

    rounds = rounds or case.rounds
    contenders: dict[str, Callable[[], Any]] = {"ours": case.ours}
    contenders |= {name: peer.run for name, peer in case.peers.items()}
    caps = {name: peer.rounds or rounds for name, peer in case.peers.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        order = names[turn % len(names) :] + names[: turn % len(names)]
        for name in order:
            if turn < caps.get(name, rounds):
                samples[name].append(_sample(contenders[name], repeats[name]))

    ours = statistics.median(samples["ours"])
    row["ours"] = _summary(samples["ours"])
    if case.work is not None:
        amount, unit = case.work
        row["rate"] = {"value": _round(amount / ours), "unit": f"{unit}/s"}
    row["peers"] = []
    for name, peer in case.peers.items():
        ratios = [b / a for a, b in zip(samples["ours"], samples[name], strict=False)]
        row["peers"].append(
            {"name": name, "note": peer.note, "difference": _round(differences[name])}
            | _summary(samples[name])
            | {
                "ratio": _round(statistics.median(samples[name]) / ours),
                "ratio_quartiles": _quartiles(ratios),
            }
        )
    rivals = [peer for peer in row["peers"] if case.peers[peer["name"]].compared]
    if rivals:
        best = min(rivals, key=lambda peer: peer["median_s"])
        row |= {"best_peer": best["name"], "ratio": best["ratio"]}
        row["reached"] = None if case.goal is None else best["ratio"] >= case.goal
    return row


def measure_memory(case: MemoryCase) -> dict[str, Any]:
    """Run the function of a case in a fresh process and read the most memory it held."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_report_memory, args=(case.function, sender))
    child.start()
    sender.close()
    with contextlib.suppress(EOFError):
        seconds, peak = receiver.recv()
    child.join()
    if child.exitcode != 0:
        raise RuntimeError(f"{case.operation}, {case.size}: the process ended {child.exitcode}")
    return {
        "kind": "memory",
        "operation": case.operation,
        "size": case.size,
        "note": case.note,
        "seconds": _round(seconds),
        "peak_mb": round(peak),
        "limit_mb": case.limit_mb,
        "passed": peak <= case.limit_mb,
    }


def _report_memory(function: Callable[[], Any], sender: Any) -> None:
    seconds, _ = _timed(function)
    sender.send((seconds, _peak_mb()))


def _peak_mb() -> float:
    # Linux counts the parent's pages into ru_maxrss of a spawned child; VmHWM starts afresh.
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text("utf-8")
        if found := re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE):
            return int(found[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def markdown(rows: Sequence[Mapping[str, Any]], *, header: bool = True) -> str:
    """Return the rows of a record's ``cases`` as one Markdown table."""
    lines = []
    if header:
        lines = [
            "| operation | size | ours | peer | its time | ratio | goal |",
            "|---|---|---|---|---|---|---|",
        ]
    for row in rows:
        start = f"| {row['operation']} | {row['size']} "
        if row["kind"] == "memory":
            lines.append(
                start + f"| {_time(row['seconds'])}, {row['peak_mb']:,} MB | – | – | – "
                f"| ≤ {row['limit_mb']:,.0f} MB |"
            )
            continue
        if "ours" not in row:
            lines.append(start + "| answers disagree | – | – | – | – |")
            continue
        ours = _time(row["ours"]["median_s"])
        if "rate" in row:
            ours += f", {row['rate']['value']:.3g} {row['rate']['unit']}"
        goal = "–" if row["goal"] is None else f"{row['goal']:g}×"
        if not row["peers"]:
            lines.append(start + f"| {ours} | – | – | – | {goal} |")
        lines.extend(
            start + f"| {ours} | {peer['name']} | {_time(peer['median_s'])} "
            f"| {peer['ratio']:.3g}× | {goal} |"
            for peer in row["peers"]
        )
    return "\n".join(lines)


@contextlib.contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Hold BLAS, OpenMP, numba and torch to ``threads`` threads."""
    import numba
    import threadpoolctl
    import torch

    # For the processes of MemoryCase. NUMBA_NUM_THREADS must not change once numba is loaded.
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    os.environ.update(dict.fromkeys(names, str(threads)))
    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    with threadpoolctl.threadpool_limits(threads):
        yield


def machine(packages: Sequence[str], threads: int) -> dict[str, Any]:
    """Return what a reader needs to place the numbers: processor, versions, threads, load."""
    import threadpoolctl

    model, flags = platform.processor() or platform.machine(), set()
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text("utf-8")
        if found := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            model = found[1]
        if found := re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE):
            flags = {flag for flag in found[1].split() if flag.startswith(FLAGS)}
    memory = None
    with contextlib.suppress(ValueError, OSError, AttributeError):
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    versions = {"python": platform.python_version()}
    for package in packages:
        versions[package] = importlib.metadata.version(package)
    libraries = {
        f"{pool['internal_api']} {pool.get('version') or ''}".strip()
        + (f" ({pool['architecture']})" if pool.get("architecture") else "")
        for pool in threadpoolctl.threadpool_info()
    }
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": model,
        "cores": os.cpu_count(),
        "cpu_flags": sorted(flags),
        "memory_gb": memory,
        "threads": threads,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "versions": versions,
        "thread_pools": sorted(libraries),
    }


def _sample(run: Callable[[], Any], repeats: int) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - start) / repeats
    finally:
        gc.enable()


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    answer = run()
    return time.perf_counter() - start, answer


def _repeats(seconds: float) -> int:
    return max(1, round(SHORTEST_SAMPLE / max(seconds, 1e-7)))


def _summary(samples: Sequence[float]) -> dict[str, Any]:
    return {
        "median_s": _round(statistics.median(samples)),
        "quartiles_s": _quartiles(samples),
        "rounds": len(samples),
    }


def _quartiles(samples: Sequence[float]) -> list[float | None]:
    if len(samples) == 1:
        return [_round(samples[0])] * 2
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return [_round(low), _round(high)]


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _time(seconds: float) -> str:
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
