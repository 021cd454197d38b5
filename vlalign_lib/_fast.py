"""The one door to the engine: the fast form of a function, where there is one.

A function of the library stands in its file as the mathematics does, and is right on its own.
``@fast("name")`` lets the engine's form of that name run in its place. The engine may be absent,
may decline (it returns ``NotImplemented`` for inputs that the plain form serves as well), or may
fail, on a damaged cache of compiled code for example: the plain form then answers. What fails is
said once and not tried again in this process.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

PASSED_ON = ("OutOfMemoryError", "_StopRecomputationError")  # of torch, not imported here

_PLAIN: dict[str, Callable[..., Any]] = {}
_FOUND: dict[str, Callable[..., Any] | None] = {}
_FAILED: set[str] = set()


def form(name: str) -> Callable[..., Any] | None:
    """Return the engine's form of that name, None where there is none (any more).

    ``VLALIGN_ENGINE=0`` in the environment turns all of them off.
    """
    if name in _FAILED or os.environ.get("VLALIGN_ENGINE") == "0":
        return None
    if sys.modules.get("vlalign_lib.engine", True) is None:
        return None
    if name not in _FOUND:  # what torch.compile cannot look up: call once before it
        _FOUND[name] = _find(name)
    return _FOUND[name]


def _find(name: str) -> Callable[..., Any] | None:
    try:
        engine = importlib.import_module("vlalign_lib.engine")
    except ImportError:
        return None
    try:
        return cast("Callable[..., Any] | None", engine.form(name))
    except Exception as error:  # a broken numba raises errors of every kind when it is imported
        give_up(name, error)
        return None


def plain_of(name: str) -> Callable[..., Any]:
    """Return the plain function behind a name, for a fast form that cannot go on."""
    return _PLAIN[name]


def give_up(name: str, error: Exception) -> None:
    """Say once that a fast form cannot be used, and use it no more in this process."""
    if name not in _FAILED:
        _FAILED.add(name)
        warnings.warn(
            f"the fast form of {name} cannot be used ({type(error).__name__}: {error}): the plain "
            "form runs in its place, right but slower",
            UserWarning,
            stacklevel=3,
        )


def rescued(name: str, quick: Callable[[], Any], plain: Callable[[], Any]) -> Any:
    """Return what the fast form computes, or the plain one where the fast one fails or declines.

    A form that computes once more in a backward pass does it through here. An error counts as a
    failure of the form only where the plain one then succeeds: what is wrong with the input,
    both say. A lack of memory is no failure, nor is the way in which ``torch.utils.checkpoint``
    ends a computation that it repeats.
    """
    if name in _FAILED:
        return plain()
    try:
        result = quick()
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ in PASSED_ON:
            raise
        result = plain()
        give_up(name, error)
    return plain() if result is NotImplemented else result


def fast(name: str) -> Callable[[F], F]:
    """Let the engine's form of a name run in place of the function, which stays the reference.

    The plain function is kept as ``.plain``, and as ``plain_of(name)`` for the form.
    """

    def decorate(plain: F) -> F:
        @functools.wraps(plain)
        def run(*args: Any, **kwargs: Any) -> Any:
            found = form(name)
            if found is None:
                return plain(*args, **kwargs)
            return rescued(name, lambda: found(*args, **kwargs), lambda: plain(*args, **kwargs))

        _PLAIN[name] = run.plain = plain  # type: ignore[attr-defined]
        return cast(F, run)

    return decorate
