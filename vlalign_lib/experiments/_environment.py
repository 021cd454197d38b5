"""On what a record was made: commit, versions, processor, time, memory, energy."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import vlalign_lib
from vlalign_lib.experiments._ledger import checkout

WATTS_PER_CORE = 10.0
WATTS_PER_GPU = 250.0
ENERGY_METHOD = (
    f"an estimate, no meter: {WATTS_PER_CORE:g} W for each second of CPU time and "
    f"{WATTS_PER_GPU:g} W for each second of wall-clock time with a GPU"
)
"""How the field ``energy`` is computed; a laptop core draws 3–15 W under load."""

# What the numbers may depend on. The rest of the library (figures, course) is left out, so that
# a run that was stopped continues although a figure was changed meanwhile.
_SOURCES = ("data", "experiments", "linear", "metrics", "models", "training")
_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "matplotlib")


@dataclass(frozen=True)
class Cost:
    """What one part of a run has cost.

    Args:
        wall_s: seconds of wall-clock time.
        cpu_s: seconds of CPU time, all threads.
        gpu_s: seconds of wall-clock time with a GPU in use.
        peak_mb: largest resident memory in MiB, None where it cannot be read.
    """

    wall_s: float
    cpu_s: float
    gpu_s: float = 0.0
    peak_mb: float | None = None

    @property
    def joules(self) -> float:
        """The estimated energy; see :data:`ENERGY_METHOD`."""
        return WATTS_PER_CORE * self.cpu_s + WATTS_PER_GPU * self.gpu_s


class CostMeter:
    """Counts from its creation on; :meth:`read` gives the cost so far."""

    def __init__(self) -> None:
        # On Linux the kernel's high-water mark can be set back to the present size.
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        """Return the cost since this meter was made."""
        wall = time.perf_counter() - self._wall
        torch = sys.modules.get("torch")
        on_gpu = torch is not None and torch.cuda.is_initialized()
        return Cost(
            wall_s=round(wall, 3),
            cpu_s=round(time.process_time() - self._cpu, 3),
            gpu_s=round(wall, 3) if on_gpu else 0.0,
            peak_mb=peak_memory_mb(),
        )


def peak_memory_mb() -> float | None:
    """Return the process's largest resident memory in MiB, None where it cannot be read."""
    with suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM"))
        return round(int(line.split()[1]) / 1024, 1)
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1024**2 if sys.platform == "darwin" else 1024), 1)


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
    for folder in _SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(str(path.relative_to(root).as_posix()).encode())
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

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=30
        )
        if done.returncode != 0:
            raise OSError(done.stderr)
        return done.stdout.strip()

    try:
        head = git("rev-parse", "HEAD")
        changed = git("status", "--porcelain", "--", *(f"vlalign_lib/{s}" for s in _SOURCES))
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{head}+changes" if changed else head


def device() -> str:
    """Return the processor in words: the GPU where one was used, and the CPU."""
    name = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("model name"))
        name = line.split(":", 1)[1].strip()
    words = f"{name}, 1 of {os.cpu_count()} threads, {platform.system()} {platform.machine()}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        words = f"{torch.cuda.get_device_name()}; {words}"
    return words
