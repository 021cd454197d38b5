"""The first cell of every notebook."""

from __future__ import annotations

import html
import importlib
import os
import platform
import random
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from vlalign_lib._validate import is_whole
from vlalign_lib.course._budget import chapter_key, duration, load_budget
from vlalign_lib.course._display import card, emit

_PACKAGES = ("numpy", "scipy", "scikit-learn", "matplotlib", "torch")
_SLOW = 10.0  # cells from this many seconds on are announced


@dataclass(frozen=True)
class Environment:
    """What :func:`setup` found.

    Args:
        chapter: ``"ch03"``.
        seed: the seed that was set.
        device: "cuda" where torch can use a GPU, "mps" on Apple's, else "cpu"; without torch,
            "cuda" where a GPU's driver is there.
        colab: whether this is Google Colab.
        offline: whether ``VLALIGN_OFFLINE`` forbids downloads.
        versions: package versions by name.

    Chapter:
        Chapter 00 goes through it.
    """

    chapter: str
    seed: int
    device: str
    colab: bool
    offline: bool
    versions: dict[str, str]

    def _ipython_display_(self) -> None:
        """Show nothing: :func:`setup` has just said it all."""


def setup(chapter: str, *, seed: int = 0, torch: bool = False) -> Environment:
    """Prepare a notebook: set seeds and style, and say what runs here and what will be slow.

    Python's and NumPy's global generators are seeded, and torch's where it is loaded or asked
    for; the library itself only ever uses generators that are handed to it.

    Args:
        chapter: ``"ch03"``.
        seed: the seed, a whole number from 0 to 2³² − 1.
        torch: load torch now (it takes a few seconds), seed it, and ask it for the device.

    Returns:
        What was found; ``setup(...).device`` is what to move models to.

    Raises:
        ValueError: not a chapter's name, or a seed out of range.

    Chapter:
        Chapter 00 goes through what it prints.

    Example:
        >>> environment = setup("ch00")  # doctest: +ELLIPSIS
        ch00 · vlalign_lib ...
        >>> environment.seed
        0
    """
    key = chapter_key(chapter)
    if not is_whole(seed) or not 0 <= seed < 2**32:
        raise ValueError(f"setup: the seed is a whole number from 0 to 2**32 - 1, got {seed!r}")
    if torch:
        importlib.import_module("torch")
    _seed_everything(seed)
    _use_style()
    environment = Environment(
        chapter=key,
        seed=seed,
        device=_device(),
        colab="google.colab" in sys.modules,
        offline=os.environ.get("VLALIGN_OFFLINE", "") not in ("", "0"),
        versions=_versions(),
    )
    lines = _lines(environment)
    body = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    emit(card(body, "\n".join(lines), kind="info"))
    return environment


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  learners' own cells may use the global generator
    loaded = sys.modules.get("torch")
    if loaded is not None:
        loaded.manual_seed(seed)


def _use_style() -> None:
    from vlalign_lib.viz import use_style

    use_style()


def _versions() -> dict[str, str]:
    from vlalign_lib import __version__

    found = {"vlalign_lib": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _device() -> str:
    loaded = sys.modules.get("torch")
    if loaded is not None:
        if loaded.cuda.is_available():
            return "cuda"
        return "mps" if loaded.backends.mps.is_available() else "cpu"
    return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _lines(environment: Environment) -> list[str]:
    """Return what the first cell says, a sentence or two a line."""
    versions = environment.versions
    first = f"{environment.chapter} · vlalign_lib {versions['vlalign_lib']}"
    others = [f"{name} {text}" for name, text in versions.items() if name != "vlalign_lib"]
    cores = _cores()
    machine = {"cuda": "a GPU (cuda)", "mps": "an Apple GPU (mps)", "cpu": "the CPU"}
    lines = [
        " · ".join([first, *others]),
        f"Runs on {machine[environment.device]}, {cores} core{'s' if cores > 1 else ''}. "
        f"Seed {environment.seed}.",
    ]
    cost = load_budget(environment.chapter).tiers.get("cpu")
    if cost is None:
        lines.append("How long this notebook takes has not been measured yet.")
    else:
        where = f" on {cost.device}" if cost.device else ""
        lines.append(f"The whole notebook took {duration(cost.seconds)}{where}.")
        slow = {what: took for what, took in cost.slow.items() if took >= _SLOW}
        if slow:
            named = ", ".join(f"{what} ({duration(took)})" for what, took in slow.items())
            lines.append(f"Slow here: {named}.")
    if environment.colab and environment.device == "cpu":
        lines.append(
            "This Colab has no GPU; the chapter needs none. For the colab tier: Runtime → Change "
            "runtime type → T4 GPU, then run from the top."
        )
    if environment.offline:
        lines.append(
            "VLALIGN_OFFLINE is set: nothing is downloaded. Data that is not in the cache is "
            "replaced by recorded numbers, and the text says so."
        )
    return lines
