"""The quizzes of the course, one module a chapter, each with a tuple ``QUESTIONS``.

They stand here and not in the notebooks, where the code would give the answers away.
"""

from __future__ import annotations

import importlib
import pkgutil

from vlalign_lib.course._question import Question


def chapters() -> tuple[str, ...]:
    """Return the chapters that have a quiz, in order.

    Example:
        >>> "ch00" in chapters()
        True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def of_chapter(chapter: str) -> tuple[Question, ...]:
    """Return the questions of one chapter, in order.

    Raises:
        ValueError: no quiz belongs to such a chapter.

    Example:
        >>> of_chapter("ch00")[0].prompt
        'A cell prints “not attempted”. What happened?'
    """
    if chapter not in chapters():
        known = ", ".join(chapters())
        raise ValueError(f"quiz: no chapter {chapter!r}; there are quizzes in {known}")
    module = importlib.import_module(f"{__name__}.{chapter}")
    return tuple(module.QUESTIONS)
