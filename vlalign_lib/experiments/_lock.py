"""One run of an experiment at a time, whatever kills the run before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RunInProgress(RuntimeError):
    """Another process is running the same experiment with the same cache folder.

    Chapter:
        00, where the command line is introduced.

    Example:
        >>> issubclass(RunInProgress, RuntimeError)
        True
    """


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock on ``path`` inside a ``with`` block.

    The operating system gives the lock back when the process ends, however it ends, so that a
    killed run never stands in the way of the next. On a file system without locks there is
    none; every file is still written whole or not at all, and the last writer wins.

    Raises:
        RunInProgress: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _lock(handle):
            raise RunInProgress(
                f"another process is running {what}; wait for it, or name another cache folder "
                "with VLALIGN_CACHE"
            )
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Return whether the lock was had; true as well where there are no locks."""
    try:
        import fcntl
    except ModuleNotFoundError:
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
