"""Run an experiment, part by part, so that it can be killed at any moment and continued."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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
    check_seeds,
)
from vlalign_lib.experiments._ledger import results_dir
from vlalign_lib.experiments._lock import exclusive
from vlalign_lib.experiments._processes import orderly_end, side_by_side
from vlalign_lib.experiments._record import (
    Estimate,
    LedgerError,
    Record,
    canonical_json,
    config_hash,
    read_record,
)
from vlalign_lib.experiments._registry import get_experiment, is_stale
from vlalign_lib.experiments._team import (
    PREFIX,
    Follower,
    Leader,
    Team,
    Trouble,
    alone,
    check_not_joined,
    find_team,
    use_own_gpu,
)

Log = Callable[[str], None]

VISIBLE_S = 60.0
"""Seconds that a network file system may take to show another machine's file."""


@dataclass(frozen=True)
class RunReport:
    """What a run has done.

    Args:
        records: the records, in the order of the cases.
        paths: the file of each record, None where a fuller one was kept instead.
        skipped: ``{key: why}`` of the cases that could not be run.
        measured: parts computed by this run.
        resumed: parts taken over from a run that was stopped.
        failed: ``{key: "seed S: message"}`` of the cases of which a part failed. Its other parts
            are kept for the next run of the same command.

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
    failed: Mapping[str, str] = field(default_factory=dict)


class Part(NamedTuple):
    """A finished part: what was measured, what it cost, and the processor in words."""

    measurement: Measurement
    cost: Cost
    device: str


class Task(NamedTuple):
    """A part that has to be computed, and where it is to lie."""

    experiment: str
    key: str
    case: Case
    part: str
    path: Path


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

    A part that fails, whatever it raises, is told at once with its case and its seed; its case
    gets no record, and the run goes on with the others (``failed`` of the report). What concerns
    all of them ends the run: a wrong setting, a file that cannot be written, Ctrl-C, and SIGTERM,
    which raises ``SystemExit(143)`` where nobody handles it otherwise.

    Under ``torchrun`` the parts are shared out: of W processes, rank r computes number r, r + W,
    … of those that are missing, each on the GPU of its ``LOCAL_RANK`` where the device is
    ``"cuda"`` or ``"auto"``. Rank 0 waits for the others, writes the records and reports; the
    report of another rank has no records. They find each other by files in the cache folder,
    which has to be one and the same on all machines. No model is trained by several processes.

    The numbers depend on the seeds alone: bit for bit on one machine, since every part runs on
    one CPU thread, however many run side by side.

    Args:
        experiment: ``"fusion"``, ``"linear"`` or ``"retrieval"``.
        tier: ``"cpu"``, ``"colab"`` or ``"full"``.
        seeds: how many, from 0 on, at most 1000; None for the tier's own number.
        settings: ``{setting: value}`` that differ from the tier's; see the experiment's
            settings class. Records of a changed configuration are filed in ``trials/``.
        fresh: forget parts of a run that was stopped.
        jobs: how many parts are computed side by side, each in a process of its own. They end
            with this process, however it ends.
        progress: whether to show a bar with the time left.
        log: called with a sentence for each thing worth telling; None for silence.

    Returns:
        What was done. The records are in :func:`results_dir`, except that a record of more
        seeds of the very same configuration is never replaced by one of fewer.

    Raises:
        SettingError: an experiment, a tier or a setting that does not exist, a GPU that is not
            there, or several jobs under ``torchrun``.
        RunInProgress: another process is running this experiment.
        OSError: the cache or the ledger cannot be written; the text names the folder. A
            ``ChildProcessError`` where a process that computed parts was killed or failed, a
            ``TimeoutError`` where processes of ``torchrun`` do not hear from each other.

    Chapter:
        00, where the three tiers are introduced.

    Example:
        >>> report = run("fusion", seeds=1, settings={"methods": "left"})  # doctest: +SKIP
        >>> report.records[0].metrics["accuracy_missing_0"].mean  # doctest: +SKIP
        0.84
    """
    chosen = get_experiment(experiment)
    configured = chosen.configured(tier, settings or {})
    check_device_is_there(getattr(configured, "device", "cpu"))
    changes = {n: _as_given(v, getattr(configured, n)) for n, v in (settings or {}).items()}
    plan = chosen.planned(tier, changes)
    count = check_seeds(chosen.seeds(tier) if seeds is None else seeds)
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise SettingError(f"jobs: expected a whole number of at least 1, got {jobs!r}")
    check_not_joined()
    work, ledger = _work_dir(experiment), results_dir() / experiment
    team = find_team(work)
    if team is not None and jobs > 1:
        raise SettingError(
            f"jobs: under torchrun each process computes one part at a time, got {jobs}; start "
            "more processes instead (--nproc_per_node)"
        )
    say = log or (lambda sentence: None)
    check_writable(work, "VLALIGN_CACHE")
    with orderly_end():
        if team is not None and team.rank > 0:
            return _follow(chosen, plan, count, work, team)
        check_writable(ledger, "VLALIGN_RESULTS")
        with exclusive(work / "lock", f"the experiment {experiment}"):
            if fresh:
                for old in work.iterdir():
                    if old.is_dir() and not old.name.startswith(PREFIX):
                        shutil.rmtree(old)
            return _run(chosen, tier, plan, count, changes, work, ledger, jobs, team, progress, say)


def _run(
    experiment: Experiment,
    tier: str,
    plan: list[tuple[Case, str]],
    seeds: int,
    changes: Mapping[str, Any],
    work: Path,
    ledger: Path,
    jobs: int,
    team: Team | None,
    progress: bool,
    say: Log,
) -> RunReport:
    code, packages = commit(), versions()
    tasks = _tasks(experiment, plan, seeds, work)
    missing = [task for task in tasks if _read_part(task.path) is None]
    resumed = len(tasks) - len(missing)
    if resumed:
        say(f"continuing: {resumed} of {len(tasks)} parts were finished before")
    left = Counter(task.key for task in missing)
    troubles: dict[str, Trouble] = {}
    made: dict[str, tuple[Record, Path | None]] = {}
    measured = 0

    def close(case: Case, key: str) -> None:
        results = {t.part: _finished_part(t.path) for t in tasks if t.key == key}
        record = as_record(experiment, tier, case, key, seeds, changes, results, code, packages)
        made[key] = record, _file(record, ledger, experiment, changes, say)

    for case, key in plan:
        if not left[key]:
            close(case, key)
    with (
        progress_bar(len(missing), experiment.name, shown=progress, unit="part") as bar,
        closing(_computed(missing, jobs, team, troubles, bar)) as outcomes,
    ):
        for task, trouble in outcomes:
            if trouble is None:
                measured += 1
                bar.update(1)
                left[task.key] -= 1
                if not left[task.key]:
                    close(task.case, task.key)
            elif task.key not in troubles:
                kind, why = trouble
                if kind == "failed":
                    why = f"{_in_words(task.part)}: {why}"
                    bar.clear()
                    say(f"{task.key}, {why}")
                troubles[task.key] = kind, why
    for folder in {task.path.parent for task in tasks if task.key in made}:
        shutil.rmtree(folder, ignore_errors=True)
    skipped = {key: why for key, (kind, why) in troubles.items() if kind == "skipped"}
    for key, why in skipped.items():
        say(f"{key}: not run. {why}")
    in_order = [made[key] for _, key in plan if key in made]
    return RunReport(
        records=tuple(record for record, _ in in_order),
        paths=tuple(path for _, path in in_order),
        skipped=skipped,
        measured=measured,
        resumed=resumed,
        failed={key: why for key, (kind, why) in troubles.items() if kind == "failed"},
    )


def _follow(
    experiment: Experiment, plan: list[tuple[Case, str]], seeds: int, work: Path, team: Team
) -> RunReport:
    """Compute this process's share of the parts that rank 0 asks for."""
    tasks = {_name(task): task for task in _tasks(experiment, plan, seeds, work)}
    measured = 0
    given_up = set()
    with Follower(team) as follower:
        missing = follower.order()["missing"]
        if not set(missing) <= set(tasks):
            raise SettingError(
                f"rank {team.rank} of {team.size} would measure other things than rank 0; start "
                "all processes with the same command, the same code and the same packages"
            )
        for number in range(team.rank, len(missing), team.size):
            task = tasks[missing[number]]
            if task.key in given_up:
                continue
            trouble = _compute(task)
            follower.finish(number, trouble)
            if trouble is None:
                measured += 1
            else:
                given_up.add(task.key)
    return RunReport((), (), {}, measured=measured, resumed=0)


def _tasks(
    experiment: Experiment, plan: list[tuple[Case, str]], seeds: int, work: Path
) -> list[Task]:
    """Return all parts of a run, case by case."""
    tasks = []
    for case, key in plan:
        folder = work / f"{key}-{_fingerprint(case)}"
        for part in case.parts(seeds):
            tasks.append(Task(experiment.name, key, case, part, folder / f"{part}.json"))
    return tasks


def _name(task: Task) -> str:
    """Return what two processes that measure the same part call it, wherever the cache is."""
    return f"{task.path.parent.name}/{task.part}"


Outcomes = Generator[tuple[Task, Trouble | None], None, None]


def _computed(
    missing: Sequence[Task],
    jobs: int,
    team: Team | None,
    troubles: Mapping[str, Trouble],
    bar: Any,
) -> Outcomes:
    """Yield every part that was computed, and None or why it could not be.

    ``troubles`` has the cases that came to nothing so far: no more of them is begun.
    """
    if team is not None:
        yield from _with_others(missing, team, troubles, bar)
    elif jobs > 1 and missing:
        yield from side_by_side(_compute, missing, jobs)
    else:
        for task in missing:
            if task.key not in troubles:
                bar.set_postfix_str(f"{task.key}, {_in_words(task.part)}")
                yield task, _compute(task)


def _with_others(
    missing: Sequence[Task], team: Team, troubles: Mapping[str, Trouble], bar: Any
) -> Outcomes:
    """Yield what the processes of ``torchrun`` have computed, this one among them."""
    with Leader(team) as leader:
        leader.give({"missing": [_name(task) for task in missing]})
        for task in missing[:: team.size]:
            if task.key not in troubles:
                bar.set_postfix_str(f"{task.key}, {_in_words(task.part)}")
                yield task, _compute(task)
            for number, trouble in leader.news():
                yield missing[number], trouble
        bar.set_postfix_str("waiting for the other processes")
        while leader.waits():
            for number, trouble in leader.news():
                yield missing[number], trouble


def _compute(task: Task) -> Trouble | None:
    """Measure one part and put it on disk; return None, or why there is nothing to put there.

    Raises:
        SettingError: it concerns more than this part.
        OSError: the part cannot be written.
    """
    from vlalign_lib.data import DataUnavailable

    try:
        text = _measure(get_experiment(task.experiment), task.case, task.part)
    except DataUnavailable as error:
        return "skipped", str(error)
    except SettingError:
        raise
    except Exception as error:
        return "failed", _reason(error)
    write_text(task.path, text, "VLALIGN_CACHE")
    return None


def _measure(experiment: Experiment, case: Case, part: str) -> str:
    """Return one part, its cost and its processor as the text that is kept of it."""
    experiment.prepare()
    use_own_gpu(case.config.get("device") or case.config.get("fixed", {}).get("device", "cpu"))
    done = measured(lambda: experiment.measure(case, part))
    kept = {
        "measurement": asdict(done.measurement),
        "cost": asdict(done.cost),
        "device": done.device,
    }
    return canonical_json(kept, sort=False)


def measured(measure: Callable[[], Measurement]) -> Part:
    """Return what ``measure`` finds, alone and on one thread, with its cost and its processor."""
    with alone(), one_thread():
        meter = CostMeter()
        measurement = measure()
        cost = meter.read()
    return Part(measurement, cost, device())


def _reason(error: Exception) -> str:
    """Return what went wrong in a line: a ValueError explains itself, others say where it was."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError) and text:
        return text
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"({Path(where.filename).name}, line {where.lineno})"
    return " ".join(filter(None, [f"{type(error).__name__}:", text, place]))


def _in_words(part: str) -> str:
    return part if part == OFFICIAL else f"seed {part}"


def check_device_is_there(name: str) -> None:
    """Raise a SettingError where a GPU is asked for by name and is not there."""
    if not name.startswith("cuda"):
        return
    import torch

    count = torch.cuda.device_count()
    if int(name.partition(":")[2] or 0) >= count:
        raise SettingError(
            f"setting 'device': {name!r} asked for, but there are {count} CUDA devices here, "
            "counted from 0; use 'cpu', or 'auto' for what there is"
        )


def _as_given(value: Any, parsed: Any) -> Any:
    """Return a setting as it was given, or as it was read where a record cannot hold that.

    It is read again in the record's life, and what can be read only once must not be lost.
    """
    try:
        canonical_json(value)
    except ValueError:
        return parsed
    return value


def as_record(
    experiment: Experiment,
    tier: str,
    case: Case,
    key: str,
    seeds: int,
    changes: Mapping[str, Any],
    results: Mapping[str, Part],
    code: str,
    packages: Mapping[str, str],
) -> Record:
    """Merge the parts of a case into its record."""
    numbered = [results[str(seed)].measurement for seed in range(seeds)]
    per_seed = {
        name: tuple(float(m.metrics[name]) for m in numbered) for name in numbered[0].metrics
    }
    official: dict[str, Estimate] = {}
    if OFFICIAL in results:
        own = results[OFFICIAL].measurement
        official = {
            name: own.estimates.get(name, Estimate(value, None, None, 1, "none: one fixed split"))
            for name, value in own.metrics.items()
        }
    # Which cases were run is no setting of any of them.
    listed = _has_a_line(experiment, tier, config_hash(case.config))
    costs = [done.cost for done in results.values()]
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
        data_hashes={part: dict(m.data_hashes) for part, (m, *_) in results.items()},
        seeds=tuple(range(seeds)),
        per_seed=per_seed,
        metrics={
            name: Estimate.from_values(values, over=experiment.seeds_are)
            for name, values in per_seed.items()
        },
        official=official,
        details={part: dict(m.details) for part, (m, *_) in results.items() if m.details},
        notes=experiment.notes(case),
        settings={} if listed else json.loads(canonical_json(changes)),
        commit=code,
        versions=packages,
        device=" and ".join(dict.fromkeys(done.device for done in results.values())),
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


def _parse_part(text: str) -> Part:
    content = json.loads(text)
    measured = content["measurement"]
    measured["estimates"] = {k: Estimate(**v) for k, v in measured["estimates"].items()}
    return Part(Measurement(**measured), Cost(**content["cost"]), str(content["device"]))


def _read_part(path: Path) -> Part | None:
    """Return a finished part, None where there is none (or no whole one)."""
    try:
        return _parse_part(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _finished_part(path: Path) -> Part:
    """Return a part that is finished; another machine may have written it a moment ago.

    Raises:
        OSError: it does not appear.
    """
    deadline = time.monotonic() + VISIBLE_S
    while (part := _read_part(path)) is None:
        if time.monotonic() > deadline:
            raise OSError(f"{path} was finished, but is not there; did something delete it?")
        time.sleep(0.2)
    return part
