"""Where records lie, and how they are read."""

from __future__ import annotations

import os
from pathlib import Path

from vlalign_lib.experiments._record import Estimate, Record, read_record

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

    That is :func:`results_dir`, then the records that travel inside a wheel. Where both hold
    the same file, the first wins.

    Returns:
        The folders that exist.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> all(folder.is_dir() for folder in ledger_dirs())
        True
    """
    packaged = _PACKAGE / "_records"
    return [folder for folder in (results_dir(), packaged) if folder.is_dir()]


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
    paths: dict[str, Path] = {}
    for place in folders:
        for path in sorted((place / experiment).glob("*.json")):
            paths.setdefault(path.name, path)
    return [read_record(paths[name]) for name in sorted(paths)]


def paired_difference(first: Record, second: Record, metric: str) -> Estimate:
    r"""Return the mean of ``first`` − ``second`` over seeds, with its 95 % interval.

    Seed by seed both records saw the same split, so that the differences
    :math:`d_s = a_s - b_s` vary much less than either of them alone:

    .. math:: \bar d \pm t_{0.975,\,n-1}\, \frac{s_d}{\sqrt n}.

    Args:
        first: a record.
        second: a record of the same data set and seeds.
        metric: a metric that both hold.

    Returns:
        The estimate over the seeds that both records share.

    Raises:
        ValueError: different data, no common seed, or a metric that one of them lacks.

    Chapter:
        02, where every fusion is compared with the single view.

    Example:
        >>> paired_difference(Record.example(), Record.example(), "map_mean").mean
        0.0
    """
    for record in (first, second):
        if metric not in record.per_seed:
            raise ValueError(f"{record.key} has no metric {metric!r}; it has {[*record.per_seed]}")
    common = [seed for seed in first.seeds if seed in second.seeds]
    if not common:
        raise ValueError(f"{first.key} and {second.key} share no seed: nothing to pair")
    for seed in common:
        if first.data_hashes.get(str(seed)) != second.data_hashes.get(str(seed)):
            raise ValueError(
                f"{first.key} and {second.key} saw different data at seed {seed}: their "
                "difference is not a paired one; run both again on the same data"
            )
    a = dict(zip(first.seeds, first.per_seed[metric], strict=True))
    b = dict(zip(second.seeds, second.per_seed[metric], strict=True))
    return Estimate.from_values([a[seed] - b[seed] for seed in common], over="paired seeds")
