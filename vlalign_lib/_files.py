"""Files that get to their place whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Give a temporary path beside ``target``, and put it in place of ``target`` at the end.

    Until the last moment ``target`` is untouched; on any error the temporary file goes. Two
    processes may do this at once: each has a file of its own, and the last one wins whole. When
    the block is left, file and folder are on the disk, so that a loss of power loses neither.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    try:
        yield Path(name)
        with open(name, "rb+") as written:
            _sync(written.fileno())
        with suppress(OSError):  # a disk without owners (exFAT, a cloud's) refuses
            os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files that only the owner can read
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
    _sync_folder(target.parent)


def remove_leftovers(target: Path) -> None:
    """Remove temporary files beside ``target`` that killed processes left behind."""
    for path in target.parent.glob(f".{target.name}.*"):
        with suppress(OSError):
            path.unlink()


def _sync(handle: int) -> None:
    """Put a file on the disk, as far as its file system knows how to."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise


def _sync_folder(folder: Path) -> None:
    """Put a folder's list of files on the disk, on systems that can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


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


def check_writable(folder: Path, variable: str) -> None:
    """Write a file of no bytes to a folder and delete it again.

    Raises:
        OSError: as :func:`write_text`.
    """
    probe = folder / f".write-test-{os.getpid()}"
    write_text(probe, "", variable)
    probe.unlink(missing_ok=True)
