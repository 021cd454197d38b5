"""The exercises of the course, one module a chapter, each with a tuple ``EXERCISES``."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re

from vlalign_lib.course._exercise import Exercise


def chapters() -> tuple[str, ...]:
    """Return the chapters that have exercises, in order.

    Example:
        >>> "ch01" in chapters()
        True
    """
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in names if re.fullmatch(r"ch\d\d", name)))


def of_chapter(chapter: str) -> dict[str, Exercise]:
    """Return the exercises of one chapter by their id, in the order of the chapter.

    Raises:
        ValueError: no such chapter, an exercise filed under another one, or one id used twice.

    Example:
        >>> "ch01.recall_at_k" in of_chapter("ch01")
        True
    """
    if chapter not in chapters():
        raise ValueError(
            f"exercises: no chapter {chapter!r}; there are exercises in {', '.join(chapters())}"
        )
    module = importlib.import_module(f"{__name__}.{chapter}")
    found: dict[str, Exercise] = {}
    for exercise in module.EXERCISES:
        if not exercise.id.startswith(f"{chapter}."):
            raise ValueError(f"exercises: {exercise.id!r} is filed under {chapter}")
        if exercise.id in found:
            raise ValueError(f"exercises: {exercise.id!r} is there twice")
        found[exercise.id] = exercise
    return found


def find(exercise: str) -> Exercise:
    """Return the exercise with this id.

    Raises:
        ValueError: there is none; the message names the nearest.

    Example:
        >>> find("ch01.recall_at_k").id
        'ch01.recall_at_k'
    """
    chapter = str(exercise).partition(".")[0]
    known = of_chapter(chapter) if chapter in chapters() else {}
    if isinstance(exercise, str) and exercise in known:
        return known[exercise]
    near = difflib.get_close_matches(str(exercise), list(known), n=1, cutoff=0.4)
    names = near or list(known) or [f"{name}.…" for name in chapters()]
    hint = f"did you mean {names[0]!r}?" if near else f"there are {', '.join(names)}"
    raise ValueError(f"no exercise {exercise!r}; {hint}")
