"""Run an experiment, part by part, so that it can be killed at any moment and continued."""

from __future__ import annotations

import datetime
import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vlalign_lib._cost import ENERGY_METHOD, Cost, CostMeter
from vlalign_lib._files import replacing
from vlalign_lib._progress import progress_bar
from vlalign_lib.experiments._environment import (
    commit,
    device,
    one_thread,
    source_hash,
    versions,
)
from vlalign_lib.experiments._experiment import (
    OFFICIAL,
    Case,
    Experiment,
    Measurement,
    SettingError,
)
from vlalign_lib.experiments._ledger import results_dir
from vlalign_lib.experiments._lock import exclusive
from vlalign_lib.experiments._record import (
    Estimate,
    LedgerError,
    Record,
    canonical_json,
    config_hash,
    read_record,
)
from vlalign_lib.experiments._registry import get_experiment, is_stale

Log = Callable[[str], None]


@dataclass(frozen=True)
class RunReport:
    """What a run has done.

    Args:
        records: the records, in the order they were made.
        paths: the file of each record, None where a fuller one was kept instead.
        skipped: ``{key: why}`` of the cases that could not be run.
        measured: parts computed by this run.
        resumed: parts taken over from a run that was stopped.

    Chapter:
        00, where the three tiers are introduced.

    Example:
        >>> RunReport((), (), {}, measured=4, resumed=1).measured
        4
    """

    records: tuple[Record, ...]
    paths: tuple[Path | None, ...]
    skipped: Mapping[str, str]
    measured: int
    resumed: int


def run(
    experiment: str,
    tier: str = "cpu",
    *,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    fresh: bool = False,
    jobs: int = 1,
    progress: bool = True,
    log: Log | None = None,
) -> RunReport:
    """Run an experiment and write one record for each of its cases.

    Every finished part (one seed of one case) is put on disk, whole or not at all, in
    ``runs/`` of the cache folder. A run that was killed takes its finished parts over when the
    same command is given again; they are recognised by the configuration, the versions of the
    packages and the library's code. They are deleted once all records are written.

    The numbers depend on the seeds alone: bit for bit on one machine, since every part runs on
    one CPU thread, however many run side by side.

    Args:
        experiment: ``"fusion"``, ``"linear"`` or ``"retrieval"``.
        tier: ``"cpu"``, ``"colab"`` or ``"full"``.
        seeds: how many, from 0 on; None for the tier's own number.
        settings: ``{setting: value}`` that differ from the tier's; see the experiment's
            settings class. Records of a changed configuration are filed in ``trials/``.
        fresh: forget parts of a run that was stopped.
        jobs: how many parts are computed side by side, each in a process of its own.
        progress: whether to show a bar with the time left.
        log: called with a sentence for each thing worth telling; None for silence.

    Returns:
        What was done. The records are in :func:`results_dir`, except that a record of more
        seeds of the very same configuration is never replaced by one of fewer.

    Raises:
        SettingError: an experiment, a tier or a setting that does not exist.
        RunInProgress: another process is running this experiment.
        OSError: the cache or the ledger cannot be written; the text names the folder.

    Chapter:
        00, where the three tiers are introduced.

    Example:
        >>> report = run("fusion", seeds=1, settings={"methods": "left"})  # doctest: +SKIP
        >>> report.records[0].metrics["accuracy_missing_0"].mean  # doctest: +SKIP
        0.84
    """
    chosen = get_experiment(experiment)
    changes = dict(settings or {})
    plan = chosen.planned(tier, changes)
    count = chosen.seeds(tier) if seeds is None else seeds
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise SettingError(f"seeds: expected a whole number of at least 1, got {count!r}")
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise SettingError(f"jobs: expected a whole number of at least 1, got {jobs!r}")
    say = log or (lambda sentence: None)
    work, ledger = _work_dir(experiment), results_dir() / experiment
    check_writable(work, "VLALIGN_CACHE")
    check_writable(ledger, "VLALIGN_RESULTS")
    with exclusive(work / "lock", f"the experiment {experiment}"):
        if fresh:
            for old in work.iterdir():
                if old.is_dir():
                    shutil.rmtree(old)
        return _run(chosen, tier, plan, count, changes, work, ledger, jobs, progress, say)


def _run(
    experiment: Experiment,
    tier: str,
    plan: list[tuple[Case, str]],
    seeds: int,
    changes: Mapping[str, Any],
    work: Path,
    ledger: Path,
    jobs: int,
    progress: bool,
    say: Log,
) -> RunReport:
    from vlalign_lib.data import DataUnavailable

    folders = [work / f"{key}-{_fingerprint(case)}" for case, key in plan]
    code, packages = commit(), versions()
    todo = [(c, k, f, c.parts(seeds)) for (c, k), f in zip(plan, folders, strict=True)]
    resumed = sum(_read_part(f / f"{part}.json") is not None for _, _, f, ps in todo for part in ps)
    total = sum(len(parts) for *_, parts in todo)
    if resumed:
        say(f"continuing: {resumed} of {total} parts were finished before")
    records: list[Record] = []
    paths: list[Path | None] = []
    skipped: dict[str, str] = {}
    measured = 0
    with progress_bar(total - resumed, experiment.name, shown=progress, unit="part") as bar:
        if jobs > 1:
            missing = [
                (experiment.name, tier, dict(changes), key, part, folder / f"{part}.json")
                for _, key, folder, parts in todo
                for part in parts
                if _read_part(folder / f"{part}.json") is None
            ]
            measured = _side_by_side(missing, jobs, bar)
        for case, key, folder, parts in todo:
            results: dict[str, tuple[Measurement, Cost]] = {}
            for part in parts:
                bar.set_postfix_str(f"{key}, {part if part == OFFICIAL else f'seed {part}'}")
                path = folder / f"{part}.json"
                found = _read_part(path)
                if found is None:
                    try:
                        text = _measure(experiment, case, part)
                    except DataUnavailable as error:
                        skipped[key] = str(error)
                        break
                    write_text(path, text, "VLALIGN_CACHE")
                    found = _parse_part(text)
                    measured += 1
                    bar.update(1)
                results[part] = found
            if key in skipped:
                continue
            record = as_record(experiment, tier, case, key, seeds, changes, results, code, packages)
            records.append(record)
            paths.append(_file(record, ledger, experiment, changes, say))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    for key, why in skipped.items():
        say(f"{key}: not run. {why}")
    return RunReport(tuple(records), tuple(paths), skipped, measured, resumed)


def _side_by_side(missing: Sequence[tuple[Any, ...]], jobs: int, bar: Any) -> int:
    """Compute parts in processes of their own; return how many there are now.

    A part whose data cannot be had is left to the caller, who finds out why.
    """
    measured = 0
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_measure_one, *each) for each in missing]):
            measured += done.result()
            bar.update(done.result())
    return measured


def _measure_one(
    name: str, tier: str, changes: Mapping[str, Any], key: str, part: str, path: Path
) -> int:
    """Compute one part in a fresh process and put it on disk; return 1, or 0 without data."""
    from vlalign_lib.data import DataUnavailable

    experiment = get_experiment(name)
    (case,) = (case for case, own in experiment.planned(tier, changes) if own == key)
    try:
        write_text(path, _measure(experiment, case, part), "VLALIGN_CACHE")
    except DataUnavailable:
        return 0
    return 1


def _measure(experiment: Experiment, case: Case, part: str) -> str:
    """Return one part and its cost as the text that is kept of it."""
    experiment.prepare()
    with one_thread():
        meter = CostMeter()
        measurement = experiment.measure(case, part)
        cost = meter.read()
    return canonical_json({"measurement": asdict(measurement), "cost": asdict(cost)}, sort=False)


def as_record(
    experiment: Experiment,
    tier: str,
    case: Case,
    key: str,
    seeds: int,
    changes: Mapping[str, Any],
    results: Mapping[str, tuple[Measurement, Cost]],
    code: str,
    packages: Mapping[str, str],
) -> Record:
    """Merge the parts of a case into its record."""
    numbered = [results[str(seed)][0] for seed in range(seeds)]
    per_seed = {
        name: tuple(float(m.metrics[name]) for m in numbered) for name in numbered[0].metrics
    }
    official: dict[str, Estimate] = {}
    if OFFICIAL in results:
        own = results[OFFICIAL][0]
        official = {
            name: own.estimates.get(name, Estimate(value, None, None, 1, "none: one fixed split"))
            for name, value in own.metrics.items()
        }
    # Which cases were run is no setting of any of them.
    listed = _has_a_line(experiment, tier, config_hash(case.config))
    costs = [cost for _, cost in results.values()]
    peaks = [cost.peak_mb for cost in costs if cost.peak_mb is not None]
    return Record(
        experiment=experiment.name,
        key=key,
        method=case.method,
        dataset=case.dataset,
        tier=tier,
        config=json.loads(canonical_json(case.config)),
        config_hash=config_hash(case.config),
        method_version=case.version,
        data_hashes={part: dict(m.data_hashes) for part, (m, _) in results.items()},
        seeds=tuple(range(seeds)),
        per_seed=per_seed,
        metrics={
            name: Estimate.from_values(values, over=experiment.seeds_are)
            for name, values in per_seed.items()
        },
        official=official,
        details={part: dict(m.details) for part, (m, _) in results.items() if m.details},
        notes=experiment.notes(case),
        settings={} if listed else json.loads(canonical_json(changes)),
        commit=code,
        versions=packages,
        device=device(),
        wall_time_s=round(sum(cost.wall_s for cost in costs), 3),
        peak_memory_mb=max(peaks) if peaks else None,
        energy={
            "joules": round(sum(cost.joules for cost in costs), 1),
            "method": ENERGY_METHOD,
        },
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


def _has_a_line(experiment: Experiment, tier: str, digest: str) -> bool:
    """Tell whether a configuration is one of the ledger's own."""
    return digest in {config_hash(case.config) for case in experiment.ledger_cases(tier)}


def _file(
    record: Record, ledger: Path, experiment: Experiment, changes: Mapping[str, Any], say: Log
) -> Path | None:
    """Write a record to its place, unless a fuller one of the same configuration is there."""
    trial = not _has_a_line(experiment, record.tier, record.config_hash)
    path = (ledger / "trials" if trial else ledger) / f"{record.key}.json"
    try:
        there = read_record(path)
    except LedgerError:
        there = None
    if (
        there is not None
        and len(there.seeds) > len(record.seeds)
        and there.config_hash == record.config_hash
        and not is_stale(there)
    ):
        say(f"{path} holds {len(there.seeds)} seeds of the same configuration: kept")
        return None
    write_text(path, record.to_json(), "VLALIGN_RESULTS")
    return path


def write_text(path: Path, text: str, variable: str) -> None:
    """Write a file whole or not at all, its folder included.

    Raises:
        OSError: the file cannot be written; the text names it, and the variable that names
            another folder.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {path} ({error.strerror}); make room, make the folder writable, or "
            f"name another one with {variable}",
        ) from error


def _work_dir(experiment: str) -> Path:
    from vlalign_lib.data._cache import cache_dir

    return cache_dir() / "runs" / experiment


def check_writable(folder: Path, variable: str) -> None:
    """Write a file of no bytes to a folder and delete it again.

    Raises:
        OSError: as :func:`write_text`.
    """
    probe = folder / f".write-test-{os.getpid()}"
    write_text(probe, "", variable)
    probe.unlink(missing_ok=True)


def _fingerprint(case: Case) -> str:
    """Return what a finished part must share with this run to be taken over."""
    identity = canonical_json(
        {"config": case.config, "version": case.version, "on": versions(), "code": source_hash()}
    )
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


def _parse_part(text: str) -> tuple[Measurement, Cost]:
    content = json.loads(text)
    measured = content["measurement"]
    measured["estimates"] = {k: Estimate(**v) for k, v in measured["estimates"].items()}
    return Measurement(**measured), Cost(**content["cost"])


def _read_part(path: Path) -> tuple[Measurement, Cost] | None:
    """Return a finished part, None where there is none (or no whole one)."""
    try:
        return _parse_part(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
