"""Where downloaded and computed files are kept."""

from __future__ import annotations

import os
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
