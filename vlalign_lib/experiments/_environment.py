"""On what a record was made: commit, versions, processor."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import vlalign_lib
from vlalign_lib.experiments._ledger import checkout

# What the numbers do not depend on, so that a run that was stopped continues although a figure
# was changed meanwhile.
_ASIDE = ("course", "viz")
_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "matplotlib")


@contextmanager
def one_thread() -> Iterator[None]:
    """Run numerical libraries on one thread, so that sums are always added in the same order.

    It reaches the libraries that are loaded; import what will be used before.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    try:
        if torch is not None:
            torch.set_num_threads(1)
        with threadpool_limits(limits=1):
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(before)


@cache
def source_hash() -> str:
    """Return a digest of the library's code, as far as numbers can depend on it."""
    root = Path(vlalign_lib.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] not in _ASIDE:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Return the versions of Python, of the library and of the packages that it computes with."""
    found = {"python": platform.python_version(), "vlalign-lib": vlalign_lib.__version__}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit() -> str:
    """Return the checkout's commit, ``+changes`` if the library differs; else ``"unknown"``."""
    root = checkout()
    if root is None:
        return "unknown"

    git = partial(subprocess.run, capture_output=True, text=True, timeout=30, check=True)
    words = ["git", "-C", str(root)]
    aside = [f":(exclude)vlalign_lib/{folder}" for folder in _ASIDE]
    try:
        head = git([*words, "rev-parse", "HEAD"]).stdout.strip()
        changed = git([*words, "status", "--porcelain", "--", "vlalign_lib", *aside]).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{head}+changes" if changed else head


def device() -> str:
    """Return the processor in words: the GPU where one was used, and the CPU."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        line = next(line for line in lines if line.startswith("model name"))
        name = line.split(":", 1)[1].strip()
    words = f"{name}, 1 of {os.cpu_count()} threads, {platform.system()} {platform.machine()}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        words = f"{torch.cuda.get_device_name()}; {words}"
    return words
