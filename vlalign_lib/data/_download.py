"""Files from mirrors and the network: resumed after a cut, checked before they count."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from vlalign_lib._progress import silenced
from vlalign_lib.data._cache import DataUnavailable, cache_dir, offline
from vlalign_lib.data._registry import DataFile, DataSet, lookup

_CHUNK = 1 << 16
_TIMEOUT = (5.0, 30.0)  # seconds to connect, seconds of silence
_STALLS = 3  # attempts in a row that bring nothing new before a source is given up
_PAUSE = 0.5  # seconds before such an attempt, doubled each time


class _SourceFailed(Exception):
    """One source did not give the file; the next may."""


@dataclass(frozen=True)
class FileState:
    """What became of one file of a data set.

    Args:
        path: where it should be.
        state: ``"ok"``, ``"missing"`` or ``"damaged"``.
        detail: what is wrong, in words; empty where nothing is.

    Chapter:
        the appendix with the data cards.

    Example:
        >>> FileState(Path("categories.list"), "missing", "not there").state
        'missing'
    """

    path: Path
    state: str
    detail: str = ""


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def state_of(path: Path, file: DataFile) -> FileState:
    """Return whether the file at ``path`` is, byte for byte, the one in the registry."""
    try:
        size = path.stat().st_size
        if size < file.size:
            return FileState(path, "damaged", f"cut off: {size:,} of {file.size:,} bytes are there")
        if size > file.size:
            return FileState(path, "damaged", f"{size:,} bytes instead of {file.size:,}")
        found = sha256_of(path)
    except FileNotFoundError:
        return FileState(path, "missing", "not there")
    except OSError as error:
        return FileState(path, "damaged", f"cannot be read: {error.strerror or error}")
    if found != file.sha256:
        return FileState(path, "damaged", f"altered: its sha256 is {found}, not {file.sha256}")
    return FileState(path, "ok")


def file_states(name: str) -> list[FileState]:
    """Return the state in the cache of every downloaded file of a data set."""
    entry = lookup(name)
    return [state_of(cache_dir() / name / file.path, file) for file in entry.files]


def mirror_has(name: str) -> bool:
    """Return whether VLALIGN_MIRROR is a folder with all files of a data set, undamaged."""
    mirror = mirror_folder()
    if mirror is None:
        return False
    return all(
        state_of(mirror / name / file.path, file).state == "ok" for file in lookup(name).files
    )


def download(name: str, *, progress: bool = True) -> tuple[Path, ...]:
    """Bring all files of a data set into the cache and return where they are.

    A file that is there undamaged is left alone; one that is damaged is replaced. Sources are
    tried in order: the mirror, then the registered addresses. What a cut leaves is kept beside
    the target, with ``.part`` at the end of its name, and the next attempt continues there.
    Nothing comes under its own name before its sha256 is right.

    Raises:
        ValueError: no such data set.
        DataUnavailable: a file cannot be had or cannot be kept.
    """
    entry = lookup(name)
    folder = cache_dir() / name
    paths = tuple(folder / file.path for file in entry.files)
    lacking = [f for f, s in zip(entry.files, file_states(name), strict=True) if s.state != "ok"]
    if not lacking:
        return paths
    with _disk(folder / lacking[0].path, entry, lacking[0]):
        folder.mkdir(parents=True, exist_ok=True)
        with one_process(folder / ".lock"):
            # Another process may have brought the files while this one waited.
            wanted = [f for f in entry.files if state_of(folder / f.path, f).state != "ok"]
            for file in wanted:
                _fetch(entry, file, folder, progress)
            if wanted:
                print(
                    f"Fetched {entry.name} ({entry.title}) into {folder}\n"
                    f"  licence: {entry.licence}\n"
                    f"  please cite: {entry.citation}",
                    file=sys.stderr,
                )
    return paths


def _fetch(entry: DataSet, file: DataFile, folder: Path, progress: bool) -> None:
    """Bring one file into ``folder``; only what has the right sha256 gets its name."""
    target = folder / file.path
    part = target.with_name(target.name + ".part")
    _from_any_source(entry, file, part, target, progress)
    state = state_of(part, file)
    if state.state != "ok":
        _remove(part)
        raise DataUnavailable(
            f"{target}: changed while it was written ({state.detail}); the disk may be failing. "
            "Set VLALIGN_CACHE to a folder on another one"
        )
    with _disk(target, entry, file):
        os.replace(part, target)


def _from_any_source(
    entry: DataSet, file: DataFile, part: Path, target: Path, progress: bool
) -> None:
    """Fill ``part`` with the right bytes from the first source that has them."""
    reasons = []
    for source in _sources(entry.name, file):
        try:
            if _is_address(source):
                if offline():
                    raise _SourceFailed("VLALIGN_OFFLINE=1 forbids the network")
                _from_address(source, entry, file, part, progress)
            else:
                _from_folder(Path(source), entry, file, part)
            return
        except _SourceFailed as failure:
            reasons.append(f"  {source}: {failure}")
    state = state_of(target, file)
    if state.state == "damaged":
        reasons.insert(0, f"  {target}: {state.detail}")
    raise DataUnavailable(
        f"{entry.name}/{file.path} cannot be had:\n" + "\n".join(reasons) + "\n"
        f"Ways out: with a network (and without VLALIGN_OFFLINE), run `vlalign data fetch "
        f"{entry.name}` again, which continues where it was cut; or set VLALIGN_MIRROR to a "
        f"folder or address that has {entry.name}/{file.path}; or put the file "
        f"({file.size:,} bytes, sha256 {file.sha256}) at {target}"
    )


def _sources(name: str, file: DataFile) -> list[str]:
    mirror = _mirror()
    if mirror is None:
        return list(file.urls)
    if _is_address(mirror):
        return [f"{mirror.rstrip('/')}/{name}/{quote(file.path)}", *file.urls]
    return [str(Path(mirror).expanduser() / name / file.path), *file.urls]


def mirror_folder() -> Path | None:
    """Return the folder that VLALIGN_MIRROR names, None where it names none or an address."""
    mirror = _mirror()
    return None if mirror is None or _is_address(mirror) else Path(mirror).expanduser()


def _mirror() -> str | None:
    return os.environ.get("VLALIGN_MIRROR", "").strip().removeprefix("file://") or None


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _from_folder(source: Path, entry: DataSet, file: DataFile, part: Path) -> None:
    state = state_of(source, file)
    if state.state != "ok":
        raise _SourceFailed(state.detail)
    with _disk(part, entry, file), open(source, "rb") as read, open(part, "wb") as write:
        while chunk := read.read(_CHUNK):
            write.write(chunk)
        _settle(write)


def _from_address(url: str, entry: DataSet, file: DataFile, part: Path, progress: bool) -> None:
    """Fill ``part`` over HTTP, continuing where it ends, and check the sha256."""
    resumed = _complete(url, entry, file, part, progress)
    if state_of(part, file).state != "ok" and resumed:
        # The beginning was of another make, or damaged: once more, from the first byte.
        _remove(part)
        _complete(url, entry, file, part, progress)
    state = state_of(part, file)
    if state.state != "ok":
        _remove(part)
        raise _SourceFailed(state.detail)


def _complete(url: str, entry: DataSet, file: DataFile, part: Path, progress: bool) -> bool:
    """Ask for bytes until ``part`` has all of them; return whether some were there before."""
    from tqdm import tqdm  # in words: a page with no kernel cannot show a widget

    if _size(part) > file.size:
        _remove(part)
    resumed = _size(part) > 0
    best, stalls = _size(part), 0
    with tqdm(
        desc=f"{entry.name}/{file.path}",
        total=file.size,
        initial=best,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        delay=0.5,  # seconds: what fails at once shows no bar
        disable=not progress or silenced(),
    ) as bar:
        while _size(part) != file.size:
            reason = _ask(url, entry, file, part, bar)
            if _size(part) > best:
                best, stalls = _size(part), 0
                continue
            stalls += 1
            if stalls == _STALLS:
                raise _SourceFailed(f"{reason} (after {best:,} of {file.size:,} bytes)")
            time.sleep(_PAUSE * 2 ** (stalls - 1))
    return resumed


def _ask(url: str, entry: DataSet, file: DataFile, part: Path, bar: Any) -> str:
    """Ask once for the bytes that ``part`` lacks; return why it may still lack some."""
    import requests

    have = _size(part)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            if answer.status_code == 416:
                _remove(part)
                return "the source has fewer bytes"
            if answer.status_code not in (200, 206):
                raise _SourceFailed(f"answered {answer.status_code} {answer.reason}")
            begins = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            if answer.status_code == 206 and (begins is None or int(begins[1]) != have):
                _remove(part)
                return "the source continues elsewhere than asked"
            # An answer 200 to a request for the rest is the whole file: start again.
            mode = "ab" if answer.status_code == 206 else "wb"
            with _disk(part, entry, file), open(part, mode) as write:
                bar.n = write.tell()
                bar.refresh()
                for chunk in answer.iter_content(_CHUNK):
                    if write.tell() + len(chunk) > file.size:
                        raise _SourceFailed(f"sends more than the {file.size:,} bytes expected")
                    write.write(chunk)
                    bar.update(len(chunk))
                _settle(write)
    except (requests.ConnectTimeout, requests.exceptions.SSLError) as error:
        raise _SourceFailed(f"cannot be reached: {_root(error)}") from error
    except requests.ConnectionError as error:
        if _size(part) == have == 0:
            raise _SourceFailed(f"cannot be reached: {_root(error)}") from error
        return f"the connection was cut: {_root(error)}"
    except requests.RequestException as error:
        return f"the connection was cut: {_root(error)}"
    return "the source ended too early"


def _root(error: BaseException) -> str:
    """Return the innermost reason of a network error, without the wrapping."""
    reason: Any = error
    while getattr(reason, "args", ()) and isinstance(reason.args[0], BaseException):
        reason = reason.args[0]
    reason = getattr(reason, "reason", None) or reason
    return str(reason) or type(reason).__name__


def _settle(stream: IO[bytes]) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()


@contextmanager
def _disk(path: Path, entry: DataSet, file: DataFile) -> Iterator[None]:
    """Turn trouble with the disk into an error that names the file and the way out."""
    import requests

    try:
        yield
    except (DataUnavailable, requests.RequestException):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            with suppress(OSError):
                _remove(path.with_name(path.name.removesuffix(".part") + ".part"))
            raise DataUnavailable(
                f"{path}: no room on the disk for its {file.size:,} bytes ({entry.name} takes "
                f"{entry.size:,}). Free some, or set VLALIGN_CACHE to a folder that has room; "
                "nothing unfinished was left behind"
            ) from error
        raise DataUnavailable(
            f"{path}: cannot be written ({error.strerror or error}). Set VLALIGN_CACHE to a "
            "folder that you can write to"
        ) from error


@contextmanager
def one_process(lock: Path) -> Iterator[None]:
    """Let one process at a time work in a folder; the operating system frees a dead one's lock."""
    from filelock import FileLock

    held = FileLock(lock)
    with suppress(OSError, NotImplementedError):  # some network disks have no locks
        held.acquire()
    try:
        yield
    finally:
        held.release()
