"""Whether a reader with a running kernel sits in front of the notebook."""

from __future__ import annotations

import os
import sys


def is_live() -> bool:
    """Tell whether widgets will find a kernel: Jupyter, Colab, VS Code.

    False while the book is built or tests run. ``VLALIGN_LIVE`` set to 0 or 1 overrides.

    Raises:
        ValueError: ``VLALIGN_LIVE`` is neither 0 nor 1.

    Chapter:
        Chapter 00 says how sliders differ on a page and in a notebook.

    Example:
        >>> import os
        >>> os.environ["VLALIGN_LIVE"] = "0"
        >>> is_live()
        False
        >>> del os.environ["VLALIGN_LIVE"]
    """
    chosen = os.environ.get("VLALIGN_LIVE", "")
    if chosen:
        if chosen not in ("0", "1"):
            raise ValueError(f"VLALIGN_LIVE is 0 or 1, got {chosen!r}")
        return chosen == "1"
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return False
    return (
        "google.colab" in sys.modules
        or "JPY_SESSION_NAME" in os.environ
        or "__vsc_ipynb_file__" in shell.user_ns
    )
