"""How every kernel is compiled by numba: kept on disk where possible, made anew where damaged."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import contextlib
import functools
import hashlib
import pickle
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numba

DAMAGE = (EOFError, pickle.UnpicklingError, ValueError, IndexError, KeyError, OSError)


def compiled(
    function: Callable[..., Any], *, sources: Iterable[Path] = (), **options: Any
) -> Callable[..., Any]:
    """Compile what Python calls, and keep the compiled code where there is a folder for it.

    A file of the cache that was cut off (a full disk, a loss of power) is thrown away and
    compiled again. Functions that compiled code calls are ``.kernel`` of what is returned, or
    plain ``numba.njit``.

    Args:
        function: a function that numba can compile.
        sources: files that the code is made of besides its own: numba looks at the date of the
            function's own file only, so the name under which the code is kept tells what all of
            them look like.
        options: more for ``numba.njit``.
    """
    sources = sorted(sources)
    if sources:
        digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        function.__qualname__ += f"-{digest[:12]}"
    options = {"nogil": True, **options}
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no such folder: compile in every process
        kernel = numba.njit(**options)(function)

    @functools.wraps(function)
    def call(*args):
        known = len(kernel.signatures)
        try:
            return kernel(*args)
        except DAMAGE as error:
            if len(kernel.signatures) > known or not _drop_cache(kernel):
                raise
            warnings.warn(
                f"numba's cached code of {function.__name__} was damaged "
                f"({type(error).__name__}) and is compiled again",
                UserWarning,
                stacklevel=2,
            )
            return kernel(*args)

    call.kernel = kernel  # type: ignore[attr-defined]
    return call


def _drop_cache(kernel) -> bool:
    """Throw away what numba keeps of a function on disk; tell whether there was anything."""
    folder = Path(kernel.stats.cache_path or "")
    stem = f"{Path(kernel.py_func.__code__.co_filename).stem}.{kernel.py_func.__qualname__}-"
    found = [path for path in folder.glob("*.nb[ic]") if path.name.startswith(stem)]
    for path in found:
        with contextlib.suppress(OSError):
            path.unlink()
    return bool(found)
