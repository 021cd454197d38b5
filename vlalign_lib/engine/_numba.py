"""How every kernel is compiled by numba: kept on disk where possible, made anew where damaged.

``@compiled`` is for what Python calls, ``@part`` for what only compiled code calls::

    @part
    def square(x): ...

    @compiled  # or @compiled(fastmath={"nnan", "nsz"}): the options of numba.njit
    def kernel(values, answer): ...

Both may be called from compiled code. What else fails at a kernel's first call is for the door,
``vlalign_lib._fast``; a kernel that runs in a backward pass is called through its ``rescued``.
"""

# mypy: ignore-errors

from __future__ import annotations

import hashlib
import warnings
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import numba
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys


def part(function=None, **options):
    """Compile what compiled code calls, together with it."""
    if function is None:
        return partial(part, **options)
    return numba.njit(nogil=True, **options)(function)


def compiled(function=None, **options):
    """Compile what Python calls, and keep the compiled code where there is a folder for it.

    Numba looks at the date of the function's own file only, so the name under which the code is
    kept tells what all files of its folder look like.
    """
    if function is None:
        return partial(compiled, **options)
    function.__qualname__ += f"-{_digest(Path(function.__code__.co_filename).parent)}"
    kernel = part(function, **options)
    with suppress(RuntimeError):  # no such folder: compile in every process
        kernel._cache = _Cache(function)
    return kernel


class _Cache(FunctionCache):
    """Numba's cache; a damaged file of it (a full disk, a loss of power) is as good as none."""

    def load_overload(self, sig, target_context):
        """Return the compiled code of a signature; None where it has to be compiled.

        Numba would load all that it can compile first, which takes longer than all the rest.
        """
        try:
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
        except Exception:  # what unpickling raises is of every kind
            _say_once(self.cache_path)
            with suppress(OSError):  # a folder that can only be read
                self.flush()
            return None

    def save_overload(self, sig, data):
        """Keep the compiled code of a signature, where that can be done."""
        with suppress(Exception):
            super().save_overload(sig, data)


@cache
def _say_once(folder):
    warnings.warn(
        f"numba's compiled code in {folder} is damaged: it is compiled again",
        UserWarning,
        stacklevel=2,
    )


@cache
def _digest(folder):
    sources = [Path(__file__), *sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
