"""A progress bar that suits a terminal and a notebook."""

from __future__ import annotations

import os
import warnings
from typing import Any


def silenced() -> bool:
    """Tell whether the environment variable ``TQDM_DISABLE`` asks for no progress bars."""
    return os.environ.get("TQDM_DISABLE", "") not in ("", "0")


def progress_bar(total: int, label: str, *, shown: bool = True, unit: str = "it") -> Any:
    """Return a tqdm bar: ``label``, share done, time left, and what ``set_postfix`` is given.

    Args:
        total: number of steps.
        label: what is being done.
        shown: False returns a bar that prints nothing. Where this is True, the environment
            variable ``TQDM_DISABLE=1`` still silences it.
        unit: what a step is called.

    Returns:
        A ``tqdm.auto.tqdm``, to be used in a ``with`` statement; ``update(1)`` after each step.

    Example:
        >>> with progress_bar(2, "two steps", shown=False) as bar:
        ...     bar.update(1)
    """
    with warnings.catch_warnings():
        # In a notebook without ipywidgets tqdm falls back to text, and says so each time.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

        # tqdm's bar for notebooks does not read the variable itself.
        quiet: dict[str, Any] = {"disable": True} if silenced() or not shown else {}
        return tqdm(total=total, desc=label, unit=unit, dynamic_ncols=True, leave=True, **quiet)
