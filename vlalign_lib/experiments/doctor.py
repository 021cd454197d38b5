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
from vlalign_lib.experiments._environment import commit
from vlalign_lib.experiments._ledger import checkout, ledger_dirs, results_dir
from vlalign_lib.experiments._record import LedgerError, read_record
from vlalign_lib.experiments._registry import EXPERIMENTS, stale_reason
from vlalign_lib.experiments._run import check_writable

State = Literal["ok", "warning", "problem"]
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
    return [finding for section in sections for finding in section()]


def _versions() -> Iterator[Finding]:
    yield Finding("versions", "ok", f"vlalign-lib {vlalign_lib.__version__}, commit {commit()}")
    yield Finding("versions", "ok", f"Python {platform.python_version()} at {sys.executable}")
    try:
        needed = requires("vlalign-lib") or []
    except PackageNotFoundError:
        yield Finding("versions", "problem", "vlalign-lib is not installed: pip install -e .")
        return
    from packaging.requirements import Requirement

    for line in needed:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            text = f"{requirement.name} is missing: pip install '{requirement}'"
            yield Finding("versions", "problem", text)
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Finding("versions", "ok", f"{requirement.name} {found}")
        else:
            text = f"{requirement.name} {found}, outside {requirement.specifier}"
            yield Finding("versions", "problem", f"{text}: pip install '{requirement}'")


def _device() -> Iterator[Finding]:
    yield Finding("device", "ok", f"{os.cpu_count()} CPU threads, {platform.platform()}")
    try:
        import torch
    except ImportError as error:
        yield Finding("device", "problem", f"torch cannot be imported: {error}")
        return
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(i).total_memory / 2**30
            name = torch.cuda.get_device_name(i)
            yield Finding("device", "ok", f"cuda:{i} {name}, {memory:.0f} GiB")
    else:
        yield Finding("device", "ok", "no CUDA device; the cpu tier needs none")


def _folders() -> Iterator[Finding]:
    from vlalign_lib.data import cache_dir, offline

    for name in ("VLALIGN_CACHE", "VLALIGN_RESULTS", "VLALIGN_MIRROR"):
        value = os.environ.get(name)
        if value:
            yield Finding("folders", "ok", f"{name}={value}")
    mirror = os.environ.get("VLALIGN_MIRROR", "")
    if mirror and "://" not in mirror and not Path(mirror).is_dir():
        yield Finding("folders", "problem", f"VLALIGN_MIRROR: there is no folder {mirror}")
    if offline():
        yield Finding("folders", "ok", "VLALIGN_OFFLINE is set: the network is not used")
    for what, folder, variable in (
        ("cache", cache_dir(), "VLALIGN_CACHE"),
        ("results", results_dir(), "VLALIGN_RESULTS"),
    ):
        # A folder that is not there yet is not made by looking: its parent must do.
        there = next(place for place in (folder, *folder.parents) if place.exists())
        try:
            check_writable(there, variable)
        except OSError as error:
            yield Finding("folders", "problem", f"{what}: {error.strerror}")
            continue
        free = shutil.disk_usage(there).free // 2**20
        text = f"{what}: {folder}, {free:,} MiB free"
        if free < _LEAST_FREE_MB:
            yield Finding("folders", "problem", f"{text}: make room, or set {variable}")
        else:
            yield Finding("folders", "ok", text)


def _data() -> Iterator[Finding]:
    from vlalign_lib.data import DATASETS, available
    from vlalign_lib.data._registry import SETS

    for name in DATASETS:
        if available(name):
            yield Finding("data", "ok", f"{name}: here")
        else:
            how = "card" if SETS[name].features else "fetch"
            yield Finding("data", "warning", f"{name}: not here; vlalign data {how} {name}")


def _ledger() -> Iterator[Finding]:
    folders = ledger_dirs()
    for name in EXPERIMENTS:
        paths: dict[str, Path] = {}
        for folder in folders:
            for path in sorted((folder / name).glob("*.json")):
                paths.setdefault(path.name, path)
        if not paths:
            text = f"{name}: no record; vlalign run {name}"
            yield Finding("ledger", "warning", text)
            continue
        stale = 0
        for path in paths.values():
            try:
                reason = stale_reason(read_record(path))
            except LedgerError as error:
                yield Finding("ledger", "problem", str(error))
                continue
            if reason:
                stale += 1
                yield Finding("ledger", "warning", f"{name}/{path.name} is stale: {reason}")
        text = f"{name}: {len(paths)} records" + (f", {stale} of them stale" if stale else "")
        yield Finding("ledger", "ok", text)


def _checkout() -> Iterator[Finding]:
    root = checkout()
    if root is None:
        yield Finding("checkout", "ok", "installed from a wheel")
        return
    yield Finding("checkout", "ok", str(root))
    for link, target in (("_toc.yml", "../_toc.yml"), ("notebooks", "../notebooks")):
        path = root / "book" / link
        if path.is_symlink() and path.exists():
            yield Finding("checkout", "ok", f"book/{link} -> {target}")
        elif (root / "book").is_dir():
            what = "is no symbolic link" if path.exists() else "is missing"
            yield Finding(
                "checkout",
                "problem",
                f"book/{link} {what}, it should point to {target} (a zip file loses links): "
                "python tools/tasks.py links",
            )
