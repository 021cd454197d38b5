"""Numbers of a notebook carried into the prose around it."""

from __future__ import annotations

import html
from typing import Any

from vlalign_lib.course._display import shell

_PREFIX = "application/papermill.record/"


def glue(name: str, value: Any, fmt: str = "") -> None:
    """Store ``value`` under ``name`` for the text of the book, and show nothing.

    The prose of the same page then says ``{glue:text}`name```, that of another page names the
    notebook as well. This writes the protocol that MyST-NB reads, without importing it, so
    that it works (and stays invisible) in Jupyter and on Colab; where no notebook runs it
    does nothing.

    Args:
        name: unique within the notebook.
        value: a number, a word, or an object with a display of its own (a figure, say).
        fmt: format specification for the text, such as ``".2f"`` or ``".0%"``.

    Raises:
        ValueError: an empty name, or a ``fmt`` that does not fit the value.

    Chapter:
        Every chapter; chapter 00 explains where its numbers come from.

    Example:
        >>> glue("recall", 0.3141, ".2f")
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"glue: the name must be a non-empty string, got {name!r}")
    if not isinstance(fmt, str):
        raise ValueError(f"glue: fmt is a format such as '.2f', got {fmt!r}")
    data, metadata = _bundle(name, value, fmt)
    if shell() is None:
        return
    from IPython.display import display

    metadata["scrapbook"] = {"name": name, "mime_prefix": _PREFIX}
    display({_PREFIX + kind: body for kind, body in data.items()}, raw=True, metadata=metadata)


def _bundle(name: str, value: Any, fmt: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the representations of ``value`` by MIME type, and their metadata."""
    running = shell()
    if not fmt and not isinstance(value, (str, int, float)) and running is not None:
        data, metadata = running.display_formatter.format(value)
        if set(data) - {"text/plain"}:
            return data, metadata
    try:
        text = format(value, fmt)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"glue: {name!r} cannot be written with fmt={fmt!r}: {error}; a float takes '.2f' or "
            "'.0%', a word takes ''"
        ) from error
    # MyST-NB reads the text as a literal: quoted, "0.30" keeps its zero and "1,000" is no tuple.
    return {"text/plain": repr(text), "text/html": html.escape(text)}, {}
