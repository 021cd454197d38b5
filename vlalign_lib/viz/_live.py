"""Whether a reader with a running kernel sits in front of the notebook."""

from __future__ import annotations

import os
import sys


def is_live() -> bool:
    """Tell whether widgets will find a kernel: Jupyter, Colab, VS Code.

    False while the book is built or tests run, also where that was started in a cell of a
    notebook. ``VLALIGN_LIVE`` set to 0 or 1 overrides.

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
    if "__vsc_ipynb_file__" in shell.user_ns:
        return True
    named = "google.colab" in sys.modules or "JPY_SESSION_NAME" in os.environ
    return named and not _is_nested()


def _is_nested() -> bool:
    """Tell whether this kernel was started by a program that itself runs in a kernel.

    nbclient, nbmake, papermill or jupyter-book, called in a cell of a notebook, hand that
    notebook's variables down to the kernels that they start, and nobody sits in front of these.
    A server tells each kernel who started it and for which notebook. Where the starter was told
    that as well, it lives inside a kernel.
    """
    try:
        import psutil  # type: ignore[import-untyped]
    except ImportError:  # no kernel of ipykernel's
        return False
    try:
        starter = psutil.Process(os.getppid()).environ()
    except (OSError, psutil.Error):  # another user's process: no notebook of ours
        return False
    return "JPY_PARENT_PID" in starter or "JPY_SESSION_NAME" in starter
