"""Parts computed in processes of their own, and a run that ends in order when it is told to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from types import FrameType
from typing import TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a run that was stopped by SIGTERM, as a shell reports it."""

NAP = 0.5
"""Seconds for which the parent waits at most before it looks whether a signal has come. The system
may hand a signal to any thread, of numpy's say, and that does not wake the one that waits."""


def side_by_side(
    function: Callable[[Task], Answer], tasks: Sequence[Task], jobs: int
) -> Iterator[tuple[Task, Answer]]:
    """Yield each task with what ``function`` returns of it, in the order they are finished.

    At most ``jobs`` processes compute. Wherever the loop over this generator ends early (an
    error, Ctrl-C, ``close()``), they end at once and with them the tasks in flight; they end as
    well when this process is killed.

    Raises:
        ChildProcessError: one of the processes was killed.
    """
    context = multiprocessing.get_context("spawn")
    ear, mouth = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        min(jobs, max(1, len(tasks))), mp_context=context, initializer=_attend, initargs=(ear,)
    )
    try:
        with _undisturbed():
            waiting = {pool.submit(function, task): task for task in tasks}
        while waiting:
            for done in wait(waiting, timeout=NAP, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(done), done.result()
    except BaseException as error:
        mouth.close()
        if isinstance(error, BrokenProcessPool):
            raise ChildProcessError(
                "a process that computed a part was killed, as systems do when memory runs out; "
                "the same command continues with the parts that are finished: use fewer jobs"
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        mouth.close()
        ear.close()


@contextmanager
def orderly_end() -> Iterator[None]:
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
    raise SystemExit(TERMINATED)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep Ctrl-C and SIGTERM back while processes are started.

    An error between the start of a process and the words that it waits for would leave it with
    an error of its own. To Ctrl-C a new process is deaf for good: it would print a traceback
    where that comes before it has said what to do then.
    """
    came: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                handlers[number] = handler
                signal.signal(number, lambda number, frame: came.append(number))
    # What is blocked here is blocked in the processes that are started here.
    can_block = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if can_block else set()
    try:
        yield
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for kept in came:
            signal.raise_signal(kept)


def _attend(ear: connection.Connection) -> None:
    """Leave Ctrl-C to the parent, and end as soon as it closes the pipe or is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(ear,), daemon=True).start()


def _end_with_parent(ear: connection.Connection) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([ear, parent.sentinel])
    os._exit(1)
