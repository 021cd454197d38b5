"""Where records lie, and how they are read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from vlalign_lib.experiments._record import Record, read_record

_PACKAGE = Path(__file__).resolve().parent.parent


def checkout() -> Path | None:
    """Return the root of the repository that the library is used from, None for a wheel."""
    root = _PACKAGE.parent
    try:
        found = 'name = "vlalign-lib"' in (root / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return None
    return root if found else None


def results_dir() -> Path:
    """Return the folder that records are written to.

    The environment variable ``VLALIGN_RESULTS`` where it is set, else ``results/`` of the
    checkout, else (library installed from a wheel) ``results/`` of the current folder.

    Returns:
        The folder, which need not exist yet.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> results_dir().is_absolute()
        True
    """
    chosen = os.environ.get("VLALIGN_RESULTS")
    if chosen:
        return Path(chosen).expanduser().resolve()
    root = checkout() or Path.cwd()
    return root / "results"


def ledger_dirs() -> list[Path]:
    """Return the folders that records are read from, the most important first.

    That is :func:`results_dir`, then the committed ledger: ``results/`` of the checkout, or the
    records that travel inside a wheel. Where two hold the same file, the first wins: a folder
    that ``VLALIGN_RESULTS`` names adds to the committed ledger and does not hide it.

    Returns:
        The folders that exist.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> all(folder.is_dir() for folder in ledger_dirs())
        True
    """
    committed = checkout()
    folders = [results_dir(), _PACKAGE / "_records" if committed is None else committed / "results"]
    return [folder for folder in dict.fromkeys(folders) if folder.is_dir()]


def load_records(experiment: str, *, folder: Path | str | None = None) -> list[Record]:
    """Return the records of an experiment, sorted by key.

    Args:
        experiment: the experiment's name, ``"fusion"`` or ``"linear"``.
        folder: a ledger folder to read instead of the usual ones (see :func:`results_dir`;
            a wheel's own records come second).

    Returns:
        The records; an empty list where none was made yet.

    Raises:
        ValueError: no experiment of that name.
        LedgerError: a file that is no record; the text names it.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> [record.key for record in load_records("linear", folder="no/such/folder")]
        []
    """
    from vlalign_lib.experiments._registry import get_experiment

    get_experiment(experiment)
    folders = ledger_dirs() if folder is None else [Path(folder)]
    return [read_record(path) for path in record_paths(experiment, folders)]


def record_paths(experiment: str, folders: Sequence[Path]) -> list[Path]:
    """Return the files of an experiment's records by name; of two alike that of the first folder.

    Args:
        experiment: the experiment's name.
        folders: ledger folders, the most important first.
    """
    paths: dict[str, Path] = {}
    for folder in folders:
        for path in (folder / experiment).glob("*.json"):
            paths.setdefault(path.name, path)
    return [paths[name] for name in sorted(paths)]
