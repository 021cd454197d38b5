"""Processes that ``torchrun`` has started share out the parts of a run, by files alone.

Rank 0 holds the lock and gives the order: the parts that are missing, of which rank r takes
number r, r + W, … of W processes. Each other rank has a file of its own in the same folder, where
it says that it is there, which parts it has finished, and that it lives. The folder may be the
one of an earlier job that was killed, with its files; so rank 0 repeats the words that each rank
has drawn by chance, and each rank the word of rank 0, before either believes the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from vlalign_lib._files import replacing
from vlalign_lib.experiments._experiment import SettingError

Trouble = tuple[str, str]
"""Why a part was not measured: ``("skipped" or "failed", reason)``."""

PREFIX = "team-"
START_S = 300.0
"""Seconds that the processes have to find each other."""
SILENCE_S = 600.0
"""Seconds without a sign of life after which a process counts as lost."""
BEAT_S = 5.0
POLL_S = 0.2

_HIDDEN = ("WORLD_SIZE", "RANK", "LOCAL_RANK")


@dataclass(frozen=True)
class Team:
    """The processes of one job, and which of them this is.

    Args:
        rank: number of this process, from 0.
        size: number of processes, at least 2.
        folder: where they leave each other word.
    """

    rank: int
    size: int
    folder: Path


def find_team(work: Path) -> Team | None:
    """Return the processes that ``torchrun`` has started, None where there is only this one.

    Raises:
        SettingError: ``RANK`` and ``WORLD_SIZE`` are not the numbers of one of several processes.
    """
    here = os.environ
    if "RANK" not in here or here.get("WORLD_SIZE", "1") == "1":
        return None
    try:
        rank, size = int(here["RANK"]), int(here["WORLD_SIZE"])
    except ValueError:
        rank, size = -1, 0
    if not 0 <= rank < size:
        raise SettingError(
            f"RANK={here['RANK']} and WORLD_SIZE={here['WORLD_SIZE']} in the environment are not "
            "the numbers of one of several processes; start them with torchrun, or unset both"
        )
    # Two jobs at once, of which the second is going to be refused, must not read each other.
    names = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE")
    job = hashlib.sha256("|".join(here.get(name, "") for name in names).encode()).hexdigest()
    return Team(rank, size, work / f"{PREFIX}{job[:12]}")


@contextmanager
def alone() -> Iterator[None]:
    """Hide from training that there are other processes: they compute other parts."""
    hidden = {name: os.environ.pop(name) for name in _HIDDEN if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def use_own_gpu(device: str) -> None:
    """Make the GPU of this process's ``LOCAL_RANK`` the one that ``"cuda"`` and ``"auto"`` mean.

    Raises:
        SettingError: there are more processes on this machine than GPUs.
    """
    several = os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ
    if device not in ("auto", "cuda") or not several:
        return
    import torch

    from vlalign_lib.training import own_gpu

    if torch.cuda.is_available():
        try:
            torch.cuda.set_device(own_gpu())
        except ValueError as error:
            raise SettingError(f"{error} (--set device=cpu)") from None


def check_not_joined() -> None:
    """Raise a RuntimeError where training would take this process for one of several."""
    torch = sys.modules.get("torch")
    if (
        torch is not None
        and torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    ):
        raise RuntimeError(
            "these processes have joined to train one model together (torch.distributed is "
            "initialised), but run() gives each process parts of its own; call it in a program "
            "that trains nothing itself"
        )


class Leader:
    """Rank 0: gives the order, and hears what the others have finished."""

    def __init__(self, team: Team) -> None:
        self.size = team.size
        self._folder = team.folder
        self._word = uuid.uuid4().hex
        self._heard: dict[int, int] = {}
        self._beats: dict[int, tuple[int, float]] = {}
        self._busy = set(range(1, team.size))

    def __enter__(self) -> Leader:
        for old in self._folder.parent.glob(f"{PREFIX}*"):
            if old != self._folder:  # left by a job that was killed
                shutil.rmtree(old, ignore_errors=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def give(self, order: Mapping[str, Any]) -> None:
        """Give the order, and return when every process has it.

        Raises:
            TimeoutError: some did not answer; the text says what to look at.
        """
        deadline = time.monotonic() + START_S
        written: dict[str, str] | None = None
        while True:
            said = {rank: self._said(rank) for rank in self._busy}
            words = {str(rank): one["word"] for rank, one in said.items() if one}
            if words != written:
                _write(self._folder / "order.json", {"word": self._word, "to": words, **order})
                written = words
            deaf = [rank for rank, one in said.items() if one.get("order") != self._word]
            if not deaf:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"rank {', '.join(map(str, deaf))} of {self.size} processes did not answer "
                    f"within {START_S:g} s; {_advice(self._folder)}"
                )
            time.sleep(POLL_S)

    def news(self) -> Iterator[tuple[int, Trouble | None]]:
        """Yield the number of each part that another process has finished since the last call.

        Raises:
            ChildProcessError: another process failed.
            TimeoutError: another process gives no sign of life.
        """
        now = time.monotonic()
        for rank in sorted(self._busy):
            said = self._said(rank)
            if said.get("order") == self._word:
                if said["error"] is not None:
                    raise ChildProcessError(f"rank {rank} failed: {said['error']}")
                finished = said["finished"][self._heard.get(rank, 0) :]
                self._heard[rank] = self._heard.get(rank, 0) + len(finished)
                for number, trouble in finished:
                    yield number, None if trouble is None else (trouble[0], trouble[1])
                if said["ended"]:
                    self._busy.discard(rank)
            beat, since = self._beats.get(rank, (-1, now))
            if said.get("beat", beat) != beat:
                beat, since = said["beat"], now
            self._beats[rank] = (beat, since)
            if rank in self._busy and now - since > SILENCE_S:
                raise TimeoutError(
                    f"rank {rank} of {self.size} processes has given no sign of life for "
                    f"{SILENCE_S:g} s; the same command continues with the finished parts"
                )

    def waits(self) -> bool:
        """Return whether other processes are still at work, after a moment."""
        if self._busy:
            time.sleep(POLL_S)
        return bool(self._busy)

    def _said(self, rank: int) -> dict[str, Any]:
        return _read(self._folder / f"rank-{rank}.json")


class Follower:
    """Any rank but 0, inside a ``with`` block: takes the order and says what it has finished."""

    def __init__(self, team: Team) -> None:
        self._team = team
        self._path = team.folder / f"rank-{team.rank}.json"
        self._says: dict[str, Any] = {
            "word": uuid.uuid4().hex,
            "order": None,
            "beat": 0,
            "finished": [],
            "ended": False,
            "error": None,
        }
        self._one_at_a_time = threading.Lock()
        self._over = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Follower:
        self._say()
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._over.set()
        self._heart.join()
        try:
            self._say(ended=True, error=None if kind is None else f"{kind.__name__}: {error}")
        except OSError:
            if error is None:  # else the error is what matters
                raise

    def order(self) -> dict[str, Any]:
        """Return the order of rank 0, once it is there.

        Raises:
            TimeoutError: it did not come; the text says what to look at.
        """
        deadline = time.monotonic() + START_S
        while True:
            order = _read(self._team.folder / "order.json")
            if order.get("to", {}).get(str(self._team.rank)) == self._says["word"]:
                self._say(order=order["word"])
                return order
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"rank {self._team.rank} has heard nothing from rank 0 within {START_S:g} s; "
                    + _advice(self._team.folder)
                )
            time.sleep(POLL_S)

    def finish(self, number: int, trouble: Trouble | None) -> None:
        """Say that a part is on disk, or why it is not."""
        self._say(finished=[*self._says["finished"], (number, trouble)])

    def _say(self, **news: Any) -> None:
        with self._one_at_a_time:
            self._says |= {**news, "beat": self._says["beat"] + 1}
            _write(self._path, self._says)

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            with suppress(OSError):  # the next word of the main thread tells of it
                self._say()


def _advice(folder: Path) -> str:
    return (
        "start every process with the same command, and on several machines let VLALIGN_CACHE "
        f"name a folder that all of them share (here {folder.parents[2]})"
    )


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds, nothing where it is not there."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
