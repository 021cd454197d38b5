"""Text on streams that cannot write every character: a pipe of code page 1252, an ASCII log."""

from __future__ import annotations

import codecs
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

NEAREST = "vlalign-nearest"
"""The name under which Python's codecs find what this module does with such characters."""

# Of the same width where tables and rules are made of them.
_INSTEAD = str.maketrans("→←─–—−✓✗·•×“”„’‘", '><----+x.*x"""\'\'') | {ord("±"): "+-"}


def _nearest(error: UnicodeError) -> tuple[str, int]:
    """Return what is written instead of characters that cannot be: the nearest, else "?"."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = unicodedata.normalize("NFKD", error.object[error.start : error.end].translate(_INSTEAD))
    plain = (letter for letter in text if not unicodedata.combining(letter))
    return "".join(letter if letter.isascii() else "?" for letter in plain), error.end


codecs.register_error(NEAREST, _nearest)


def say(text: str, file: Any = None, *, end: str = "\n") -> None:
    """Print ``text``, whatever the encoding of the stream (standard output)."""
    stream = file or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, NEAREST).decode(encoding), file=stream, end=end, flush=True)


@contextmanager
def any_encoding() -> Iterator[None]:
    """Let whatever is printed inside the ``with`` block appear, on standard output and error."""
    before = [(s, s.errors) for s in (sys.stdout, sys.stderr) if hasattr(s, "reconfigure")]
    for stream, _ in before:
        stream.reconfigure(errors=NEAREST)
    try:
        yield
    finally:
        for stream, errors in before:
            with suppress(OSError, ValueError):  # it was closed, or its reader has gone
                stream.reconfigure(errors=errors)
