"""What an installation can do, and what is wrong with it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import vlalign_lib
from vlalign_lib._files import check_writable
from vlalign_lib.data import DATASETS, available, cache_dir, offline
from vlalign_lib.data._registry import SETS
from vlalign_lib.experiments._environment import commit
from vlalign_lib.experiments._ledger import checkout, ledger_dirs, record_paths, results_dir
from vlalign_lib.experiments._record import LedgerError, read_record
from vlalign_lib.experiments._registry import EXPERIMENTS, stale_reason

State = Literal["ok", "warning", "problem"]
Lines = Iterator[tuple[State, str]]
_LEAST_FREE_MB = 500


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Args:
        section: what it belongs to.
        state: ``"ok"``, ``"warning"`` (worth knowing) or ``"problem"`` (must be mended).
        text: a sentence; for a problem it names the way out.
    """

    section: str
    state: State
    text: str


def diagnose() -> list[Finding]:
    """Return the state of versions, device, folders, data sets, ledger and checkout.

    Nothing is downloaded and nothing is changed, but for a file of no bytes that is written to
    each folder and deleted again.

    Returns:
        The findings, section by section. A warning never stands for something broken: a stale
        record, no GPU, a data set that would have to be fetched.

    Chapter:
        00, where the installation is checked.

    Example:
        >>> any(finding.section == "ledger" for finding in diagnose())
        True
    """
    sections = (_versions, _device, _folders, _data, _ledger, _checkout)
    return [Finding(look.__name__[1:], *line) for look in sections for line in look()]


def _versions() -> Lines:
    yield "ok", f"vlalign-lib {vlalign_lib.__version__}, commit {commit()}"
    yield "ok", f"Python {platform.python_version()} at {sys.executable}"
    try:
        needed = requires("vlalign-lib") or []
    except PackageNotFoundError:
        yield "problem", "vlalign-lib is not installed: pip install -e ."
        return
    from packaging.requirements import Requirement

    for requirement in map(Requirement, needed):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield "problem", f"{requirement.name} is missing: pip install '{requirement}'"
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield "ok", f"{requirement.name} {found}"
        else:
            outside = f"{requirement.name} {found}, outside {requirement.specifier}"
            yield "problem", f"{outside}: pip install '{requirement}'"


def _device() -> Lines:
    yield "ok", f"{os.cpu_count()} CPU threads, {platform.platform()}"
    try:
        import torch
    except ImportError as error:
        yield "problem", f"torch cannot be imported: {error}"
        return
    for i in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(i).total_memory / 2**30
        yield "ok", f"cuda:{i} {torch.cuda.get_device_name(i)}, {memory:.0f} GiB"
    if not torch.cuda.is_available():
        yield "ok", "no CUDA device; the cpu tier needs none"


def _folders() -> Lines:
    for name in ("VLALIGN_CACHE", "VLALIGN_RESULTS", "VLALIGN_MIRROR"):
        if value := os.environ.get(name):
            yield "ok", f"{name}={value}"
    mirror = os.environ.get("VLALIGN_MIRROR", "")
    if mirror and "://" not in mirror and not Path(mirror).is_dir():
        yield "problem", f"VLALIGN_MIRROR: there is no folder {mirror}"
    if offline():
        yield "ok", "VLALIGN_OFFLINE is set: the network is not used"
    for what, folder, variable in (
        ("cache", cache_dir(), "VLALIGN_CACHE"),
        ("results", results_dir(), "VLALIGN_RESULTS"),
    ):
        # A folder that is not there yet is not made by looking: its parent must do.
        there = next(place for place in (folder, *folder.parents) if place.exists())
        try:
            check_writable(there, variable)
        except OSError as error:
            yield "problem", f"{what}: {error.strerror}"
            continue
        free = shutil.disk_usage(there).free // 2**20
        text = f"{what}: {folder}, {free:,} MiB free"
        if free < _LEAST_FREE_MB:
            yield "problem", f"{text}: make room, or set {variable}"
        else:
            yield "ok", text


def _data() -> Lines:
    for name in DATASETS:
        if available(name):
            yield "ok", f"{name}: here"
        else:
            how = "card" if SETS[name].features else "fetch"
            yield "warning", f"{name}: not here; vlalign data {how} {name}"


def _ledger() -> Lines:
    folders = ledger_dirs()
    for name in EXPERIMENTS:
        paths, stale = record_paths(name, folders), 0
        for path in paths:
            try:
                reason = stale_reason(read_record(path))
            except LedgerError as error:
                yield "problem", str(error)
                continue
            if reason:
                stale += 1
                yield "warning", f"{name}/{path.name} is stale: {reason}"
        if paths:
            yield "ok", f"{name}: {len(paths)} records" + f", {stale} of them stale" * bool(stale)
        else:
            yield "warning", f"{name}: no record; vlalign run {name}"


def _checkout() -> Lines:
    root = checkout()
    yield "ok", "installed from a wheel" if root is None else str(root)
    if root is None or not (root / "book").is_dir():
        return
    for link, target in (("_toc.yml", "../_toc.yml"), ("notebooks", "../notebooks")):
        path = root / "book" / link
        if path.is_symlink() and path.exists():
            yield "ok", f"book/{link} -> {target}"
            continue
        what = "is no symbolic link" if path.exists() else "is missing"
        yield (
            "problem",
            f"book/{link} {what}, it should point to {target} (a zip file loses links): "
            "python tools/tasks.py links",
        )
