"""Where downloaded and computed files are kept, and how they get there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class DataUnavailable(OSError):
    """A data set cannot be had here and now; the text names the file and the way out.

    Chapter:
        3, "Linear coordinates: CCA and kin".

    Example:
        >>> issubclass(DataUnavailable, OSError)
        True
    """


def cache_dir() -> Path:
    """Return the folder for downloaded and computed files; it may not exist yet.

    The environment variable ``VLALIGN_CACHE`` names it; otherwise it is the folder that the
    operating system sets aside for caches.

    Returns:
        An absolute path.

    Chapter:
        0, "Start here".

    Example:
        >>> cache_dir().is_absolute()
        True
    """
    named = os.environ.get("VLALIGN_CACHE", "").strip()
    if named:
        return Path(named).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("vlalign"))


def offline() -> bool:
    """Return whether ``VLALIGN_OFFLINE`` forbids the network.

    It does unless it is unset, empty, ``0``, ``false`` or ``no``.

    Chapter:
        0, "Start here".

    Example:
        >>> offline() in (True, False)
        True
    """
    return os.environ.get("VLALIGN_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``, and put it in place of ``target`` at the end.

    Until the last moment ``target`` is untouched; on any error the temporary file goes. Two
    processes may do this at once: each has a file of its own, and the last one wins whole.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files that only the owner can read
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
