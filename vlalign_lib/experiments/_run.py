"""Run an experiment, part by part, so that it can be killed at any moment and continued."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vlalign_lib._files import check_writable, write_text
from vlalign_lib._progress import progress_bar
from vlalign_lib.data import cache_dir
from vlalign_lib.experiments._environment import commit
from vlalign_lib.experiments._experiment import (
    Case,
    Experiment,
    SettingError,
    check_device_is_there,
    check_seeds,
    check_whole,
    gpus_here,
)
from vlalign_lib.experiments._ledger import results_dir
from vlalign_lib.experiments._part import Outcome, Task, compute, folder_of, kept_part, read_part
from vlalign_lib.experiments._processes import exclusive, on_cluster, orderly_end, side_by_side
from vlalign_lib.experiments._record import LedgerError, Record, read_record
from vlalign_lib.experiments._registry import get_experiment, is_stale

Log = Callable[[str], None]


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


@dataclass(frozen=True)
class _Plan:
    """A run before it is run: what is measured, how, and where it is kept."""

    experiment: Experiment
    tier: str
    cases: list[tuple[Case, str]]
    seeds: int
    changes: Mapping[str, Any]
    work: Path
    ledger: Path
    processes: int

    def tasks(self) -> dict[str, list[Task]]:
        """Return all parts, case by case."""
        tasks = {}
        for case, key in self.cases:
            folder = folder_of(case, key, self.processes)
            parts = case.parts(self.seeds)
            tasks[key] = [Task(self.experiment.name, key, case, part, folder) for part in parts]
        return tasks


def run(
    experiment: str,
    tier: str = "cpu",
    *,
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    fresh: bool = False,
    jobs: int = 1,
    scheduler: str | None = None,
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

    Under ``torchrun`` every process runs the same parts one by one, and each training shares its
    batches among them: one model on several GPUs. Rank 0 writes and reports; the report of
    another rank has no records, and a part that fails ends all of them. The numbers are those of
    one process up to the order in which the gradient is added up.

    The numbers depend on the seeds alone: bit for bit on one machine, since every part runs on
    one CPU thread, however many run side by side.

    Args:
        experiment: ``"fusion"``, ``"linear"`` or ``"retrieval"``.
        tier: ``"cpu"``, ``"colab"`` or ``"full"``.
        seeds: how many, from 0 on, at most 1000; None for the tier's own number.
        settings: ``{setting: value}`` that differ from the tier's; see the experiment's
            settings class. Records of a changed configuration are filed in ``trials/``.
        fresh: forget parts of a run that was stopped.
        jobs: how many parts are computed side by side, each in a process of its own and, where
            the device is ``"cuda"`` or ``"auto"``, on a GPU of its own as far as there are any.
            They end with this process, however it ends.
        scheduler: the address of a Dask scheduler, ``"tcp://10.0.0.1:8786"``: its workers, one a
            GPU, compute the parts and send them here; they need the same code and packages, and
            no folder in common. A part on its way when this process ends is computed to its end.
        progress: whether to show a bar with the time left.
        log: called with a sentence for each thing worth telling; None for silence.

    Returns:
        What was done. The records are in :func:`results_dir`, except that a record of more
        seeds of the very same configuration is never replaced by one of fewer.

    Raises:
        SettingError: an experiment, a tier or a setting that does not exist, a GPU that is not
            there, or several of ``jobs``, ``scheduler`` and ``torchrun`` at once.
        RunInProgress: another process is running this experiment.
        OSError: the cache or the ledger cannot be written, or the cluster does not answer; the
            text names it. A ``ChildProcessError`` where a process that computed parts was killed.

    Chapter:
        00, where the three tiers are introduced.

    Example:
        >>> report = run("fusion", seeds=1, settings={"methods": "left"})  # doctest: +SKIP
        >>> report.records[0].metrics["accuracy_missing_0"].mean  # doctest: +SKIP
        0.84
    """
    chosen = get_experiment(experiment)
    configured = chosen.configured(tier, settings or {})
    wanted = getattr(configured, "device", "cpu")
    changes = chosen.as_given(configured, settings or {})
    cases = chosen.planned(tier, changes)
    count = check_seeds(chosen.seeds(tier) if seeds is None else seeds)
    jobs = check_whole("jobs", jobs)
    say = log or (lambda sentence: None)
    if scheduler is None:
        check_device_is_there(wanted)
        if tier == "full" and wanted == "auto" and not gpus_here():
            say("tier full is sized for a GPU and there is none here; tier cpu is for laptops")
    if (jobs > 1) + (scheduler is not None) + _under_torchrun() > 1:
        raise SettingError(
            "jobs: several jobs, a scheduler and torchrun are three ways to use several "
            "processors; give one of them"
        )
    rank, processes = _joined(wanted) if _under_torchrun() else (0, 1)
    work = cache_dir() / "runs" / experiment
    plan = _Plan(chosen, tier, cases, count, changes, work, results_dir() / experiment, processes)
    with orderly_end():
        if rank > 0:
            given = _from_rank_0(None)
            for task in given:
                compute(task, processes)
            return RunReport((), (), {}, measured=len(given), resumed=0)
        check_writable(plan.work, "VLALIGN_CACHE")
        check_writable(plan.ledger, "VLALIGN_RESULTS")
        with exclusive(work / "lock", f"the experiment {experiment}"):
            if fresh:
                for old in work.iterdir():
                    if old.is_dir():
                        shutil.rmtree(old)
            return _run(plan, jobs, scheduler, progress, say)


def _run(plan: _Plan, jobs: int, scheduler: str | None, progress: bool, say: Log) -> RunReport:
    code, tasks = commit(), plan.tasks()
    everything = [task for own in tasks.values() for task in own]
    parts = {t.file: part for t in everything if (part := kept_part(plan.work / t.file))}
    missing = [task for task in everything if task.file not in parts]
    resumed = len(parts)
    if resumed:
        say(f"continuing: {resumed} of {len(everything)} parts were finished before")
    troubles: dict[str, Outcome] = {}
    made: dict[str, tuple[Record, Path | None]] = {}

    def close(case: Case, key: str) -> None:
        if all(task.file in parts for task in tasks[key]):
            found = {task.part: parts[task.file] for task in tasks[key]}
            record = plan.experiment.record(plan.tier, case, key, found, plan.changes, code)
            made[key] = record, _file(record, plan, say)

    def next_ones() -> Iterator[Task]:
        for task in missing:
            if task.key not in troubles:
                bar.set_postfix_str(f"{task.key}, {task.words}")
                yield task

    for case, key in plan.cases:
        close(case, key)
    measure = partial(compute, processes=plan.processes)
    if plan.processes > 1:
        _from_rank_0(missing)
    with (
        progress_bar(len(missing), plan.experiment.name, shown=progress, unit="part") as bar,
        closing(
            side_by_side(measure, next_ones(), max(1, min(jobs, len(missing))))
            if scheduler is None
            else on_cluster(measure, next_ones(), scheduler)
        ) as outcomes,
    ):
        for task, (kind, text) in outcomes:
            if kind == "done":
                write_text(plan.work / task.file, text, "VLALIGN_CACHE")
                parts[task.file] = read_part(text)
                bar.update(1)
                close(task.case, task.key)
            elif task.key not in troubles:
                troubles[task.key] = kind, text
                if kind == "failed":
                    bar.clear()
                    say(f"{task.key}, {text}")
    for key in made:
        shutil.rmtree(plan.work / tasks[key][0].folder, ignore_errors=True)
    skipped = {key: why for key, (kind, why) in troubles.items() if kind == "skipped"}
    for key, why in skipped.items():
        say(f"{key}: not run. {why}")
    in_order = [made[key] for _, key in plan.cases if key in made]
    return RunReport(
        records=tuple(record for record, _ in in_order),
        paths=tuple(path for _, path in in_order),
        skipped=skipped,
        measured=len(parts) - resumed,
        resumed=resumed,
        failed={key: why for key, (kind, why) in troubles.items() if kind == "failed"},
    )


def _from_rank_0(tasks: list[Task] | None) -> list[Task]:
    """Return what rank 0 holds, on every rank."""
    import torch.distributed as dist

    box: list[Any] = [tasks]
    dist.broadcast_object_list(box, src=0)
    return list(box[0])


def _under_torchrun() -> bool:
    dist = getattr(sys.modules.get("torch"), "distributed", None)
    joined = dist is not None and dist.is_available() and dist.is_initialized()
    return joined or os.environ.get("WORLD_SIZE", "1") != "1"


def _joined(device: str) -> tuple[int, int]:
    """Return which of the processes that train together this is, and how many they are.

    Raises:
        SettingError: they cannot find each other, or there are more of them than GPUs.
    """
    from vlalign_lib.training import world

    try:
        here = world(device=device)
    except ValueError as error:
        raise SettingError(str(error)) from None
    return here.rank, here.size


def _file(record: Record, plan: _Plan, say: Log) -> Path | None:
    """Write a record to its place, unless a fuller one of the same configuration is there."""
    listed = plan.experiment.lists(record.tier, record.config_hash)
    path = (plan.ledger if listed else plan.ledger / "trials") / f"{record.key}.json"
    with suppress(LedgerError):
        there = read_record(path)
        fuller = len(there.seeds) > len(record.seeds)
        if fuller and there.config_hash == record.config_hash and not is_stale(there):
            say(f"{path} holds {len(there.seeds)} seeds of the same configuration: kept")
            return None
    write_text(path, record.to_json(), "VLALIGN_RESULTS")
    return path
