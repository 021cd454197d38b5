"""One part of a run, a seed of a case: measured alone, and kept as text."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from vlalign_lib._cost import Cost, CostMeter
from vlalign_lib.data import DataUnavailable
from vlalign_lib.experiments._environment import device, one_thread, source_hash, versions
from vlalign_lib.experiments._experiment import OFFICIAL, Case, Measurement, Part, SettingError
from vlalign_lib.experiments._record import Estimate, canonical_json
from vlalign_lib.experiments._registry import get_experiment

Outcome = tuple[str, str]
"""``("done", the part as text)``, or ``"skipped"`` or ``"failed"`` and why."""

_ONE_AT_A_TIME = threading.Lock()  # a worker of a cluster may have several threads


class Task(NamedTuple):
    """A part that has to be computed; ``folder`` names its case, code and packages."""

    experiment: str
    key: str
    case: Case
    part: str
    folder: str

    @property
    def file(self) -> str:
        """The part's place below the folder of the run."""
        return f"{self.folder}/{self.part}.json"

    @property
    def words(self) -> str:
        """What people call the part."""
        return self.part if self.part == OFFICIAL else f"seed {self.part}"


def folder_of(case: Case, key: str, processes: int = 1) -> str:
    """Return a folder's name that says what a finished part must share to be taken over."""
    identity: dict[str, Any] = {"config": case.config, "version": case.version}
    # Several processes add up the gradient in another order.
    identity |= {"on": versions(), "code": source_hash(), "processes": processes}
    return f"{key}-{hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]}"


def compute(task: Task, processes: int = 1) -> Outcome:
    """Measure one part; where that fails, for whatever reason, say why.

    Raises:
        SettingError: it concerns more than this part.
        Exception: one of several processes that train together has failed.
    """
    if folder_of(task.case, task.key, processes) != task.folder:
        raise SettingError(
            "a process that computes parts has other code or other packages than the one that "
            "asks for them; install the same in both"
        )
    try:
        experiment = get_experiment(task.experiment)
        experiment.prepare()
        _take_own_gpu(task.case.config)
        part = measured(lambda: experiment.measure(task.case, task.part))
        kept = {"measurement": asdict(part.measurement), "cost": asdict(part.cost)}
        return "done", canonical_json({**kept, "device": part.device}, sort=False)
    except SettingError:
        raise
    except Exception as error:
        if processes > 1:  # the others wait for this one
            raise
        if isinstance(error, DataUnavailable):
            return "skipped", str(error)
        return "failed", f"{task.words}: {_reason(error)}"


def measured(measure: Callable[[], Measurement]) -> Part:
    """Return what ``measure`` finds, alone and on one thread, with its cost and its processor."""
    with _ONE_AT_A_TIME, one_thread():
        meter = CostMeter()
        measurement = measure()
        cost = meter.read()
    return Part(measurement, cost, device())


def kept_part(path: Path) -> Part | None:
    """Return a finished part, None where there is none (or no whole one)."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return read_part(path.read_text(encoding="utf-8"))
    return None


def read_part(text: str) -> Part:
    """Return the part that :func:`compute` gave as text."""
    content = json.loads(text)
    found = content["measurement"]
    found["estimates"] = {k: Estimate(**v) for k, v in found["estimates"].items()}
    return Part(Measurement(**found), Cost(**content["cost"]), str(content["device"]))


def _take_own_gpu(config: Mapping[str, Any]) -> None:
    """Give each of the processes that loky has numbered a GPU of its own, in turn."""
    asked = config.get("device") or config.get("fixed", {}).get("device", "cpu")
    number = multiprocessing.current_process().name.removeprefix("LokyProcess-")
    torch = sys.modules.get("torch")
    if torch is None or asked not in ("auto", "cuda") or not number.isdigit():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(number) % torch.cuda.device_count())


def _reason(error: Exception) -> str:
    """Return what went wrong in a line: a ValueError explains itself, others say where it was."""
    text = " ".join(str(error).split())
    if isinstance(error, ValueError) and text:
        return text
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"({Path(where.filename).name}, line {where.lineno})"
    return " ".join(filter(None, [f"{type(error).__name__}:", text, place]))
