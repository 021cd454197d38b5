"""Where the parts of a run are computed, one run at a time, and how a run ends in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from vlalign_lib.experiments._experiment import SettingError

Task = TypeVar("Task")
Answer = TypeVar("Answer")
Answers = Generator[tuple[Task, Answer], None, None]

CONNECT_S = 20.0
"""Seconds that a scheduler has to answer; its workers may come later."""


class RunInProgress(RuntimeError):
    """Another process is running the same experiment with the same cache folder.

    Chapter:
        00, where the command line is introduced.

    Example:
        >>> issubclass(RunInProgress, RuntimeError)
        True
    """


@contextmanager
def exclusive(path: Path, what: str) -> Generator[None, None, None]:
    """Hold a lock on ``path`` inside a ``with`` block.

    The operating system gives the lock back when the process ends, however it ends, so that a
    killed run never stands in the way of the next. On a disk without locks there is none; every
    file is still written whole or not at all, and the last writer wins.

    Raises:
        RunInProgress: another process holds it.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunInProgress(
            f"another process is running {what}; wait for it, or name another cache folder "
            "with VLALIGN_CACHE"
        ) from None
    except (OSError, NotImplementedError):
        pass
    try:
        yield
    finally:
        lock.release()


@contextmanager
def orderly_end() -> Generator[None, None, None]:
    """Let SIGTERM end the ``with`` block as Ctrl-C does, with ``SystemExit(143)``.

    Only the main thread may say what a signal does, and whoever has said so before is left
    alone.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)  # as a shell reports it


def side_by_side(function: Callable[[Task], Answer], tasks: Iterable[Task], jobs: int) -> Answers:
    """Yield each task with what ``function`` returns of it, in the order they are finished.

    With one job they are computed here, one by one; with more, in processes of joblib's loky.
    ``tasks`` is read on as processes become free. Wherever the loop over this generator ends
    early (an error, Ctrl-C, ``close()``), the processes end at once; and when this process is
    killed, so do they.

    Raises:
        ChildProcessError: one of the processes was killed.
    """
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky import BrokenProcessPool, get_reusable_executor
    from joblib.externals.loky.backend import resource_tracker as loky_tracker

    def both(task: Task) -> tuple[Task, Answer]:
        return task, function(task)

    if jobs > 1 and hasattr(signal, "pthread_sigmask"):
        # Where these two are started below, they let Ctrl-C through again.
        resource_tracker.ensure_running()
        loky_tracker.ensure_running()
    life, hold = multiprocessing.Pipe(duplex=False)
    answers: Any = None
    try:
        with (
            parallel_config("loky", initializer=_live_with_parent, initargs=(life,)),
            _signals_kept(),
        ):
            parallel = Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")
            answers = parallel(delayed(both)(task) for task in tasks)
        for answer in answers:  # noqa: UP028, that would close it, and let it warn, too early
            yield answer
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a process that computed a part was killed, as systems do when memory runs out; "
            "the same command continues with the parts that are finished: use fewer jobs"
        ) from error
    finally:
        if answers is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib warns of parts that nobody waits for
                answers.close()
        if jobs > 1:  # joblib keeps its processes for the next loop
            get_reusable_executor().shutdown(wait=True)
        hold.close()
        life.close()


@contextmanager
def _signals_kept() -> Generator[None, None, None]:
    """Keep Ctrl-C and SIGTERM back while processes are started.

    An error between the start of a process and the words that it waits for would leave it with
    an error of its own. To Ctrl-C a new process is deaf for good: it would print a traceback
    where that comes before it has said what to do then.
    """
    came: list[int] = []
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda number, _: came.append(number))
    # What is blocked here is blocked in the processes that are started here.
    can_block = hasattr(signal, "pthread_sigmask")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_block else set()
    try:
        yield
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        for kept in came:
            signal.raise_signal(kept)


def _live_with_parent(life: connection.Connection) -> None:
    """Leave Ctrl-C to the parent, and end as soon as it closes the pipe or is no more."""

    def wait() -> None:
        connection.wait([life])
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=wait, daemon=True).start()


def on_cluster(function: Callable[[Task], Answer], tasks: Iterable[Task], address: str) -> Answers:
    """Yield each task with what ``function`` returns of it, computed by the workers of Dask.

    A worker that dies is replaced by its nanny, and what it was computing is computed again.

    Raises:
        SettingError: Dask is not installed, or the cluster cannot read what is sent to it.
        OSError: no scheduler there; a ``ChildProcessError`` where one and the same part has
            killed several workers, or the scheduler has gone.
    """
    try:
        from distributed import CancelledError, Client, KilledWorker, as_completed
    except ImportError:
        raise SettingError("--scheduler needs Dask: pip install 'vlalign-lib[cluster]'") from None
    try:
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OSError(f"no Dask scheduler answers at {address} ({error})") from error
    with client:
        sent = {client.submit(function, task, pure=False): task for task in tasks}
        try:
            for done in as_completed(sent, loop=client.loop):
                yield sent[done], done.result()
        except (KilledWorker, CancelledError) as error:
            raise ChildProcessError(
                "the cluster lost a part: its workers were killed, as systems do when memory runs "
                "out, or the scheduler has gone; the same command continues with the parts that "
                "are finished"
            ) from error
        except (ImportError, RuntimeError) as error:
            raise SettingError(f"scheduler and workers need the same packages: {error}") from error
