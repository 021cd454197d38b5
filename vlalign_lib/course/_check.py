"""Checks and hints, as a notebook calls them."""

from __future__ import annotations

from typing import Any

from vlalign_lib.course._display import Markup, card, emit, inline, plain
from vlalign_lib.course._exercise import Verdict, assess
from vlalign_lib.course.exercises import find


class SolutionFailed(AssertionError):
    """A solution that the book itself gives does not pass its own check."""


def check(exercise: str, attempt: Any, *, solution: bool = False) -> None:
    """Check an attempt and say what is wrong with it; never stop the notebook.

    An untouched exercise is reported as not attempted. A wrong attempt is tried against the
    exercise's known mistakes, and the one that it makes is named.

    Args:
        exercise: the id, such as ``"ch01.recall_at_k"``.
        attempt: what the exercise asks for: a function, handed over without parentheses, or a
            value.
        solution: the attempt is the book's own solution, and must pass.

    Raises:
        ValueError: there is no such exercise.
        SolutionFailed: ``solution`` is true and the attempt does not pass.

    Chapter:
        Chapter 00 shows how exercises check themselves.

    Example:
        >>> check("ch01.recall_at_k", ...)  # doctest: +ELLIPSIS
        ch01.recall_at_k: not attempted yet. ...
    """
    verdict = assess(find(exercise), attempt)
    if solution and verdict.status != "right":
        raise SolutionFailed(f"the solution of {exercise} is {verdict.status}: {verdict.message}")
    emit(_report(exercise, verdict))


def _report(exercise: str, verdict: Verdict) -> Markup:
    kinds = {"right": "right", "wrong": "wrong", "not attempted": "idle"}
    marks = {"right": "✓ ", "wrong": "✗ ", "not attempted": ""}
    leads = {"right": "Right.", "wrong": "Not yet:", "not attempted": "not attempted yet."}
    mark, lead, message = marks[verdict.status], leads[verdict.status], verdict.message
    if verdict.mistake is not None:
        lead = f"Not yet: {verdict.mistake}."
    text = f"{exercise}: {mark}{lead} {message}".rstrip()
    body = (
        f'<p><code>{exercise}</code> <span class="vl-tag">'
        f'<span style="color:var(--vl-accent)">{mark}</span>{inline(lead)}</span> '
        f"{inline(message)}</p>"
    )
    return card(body, plain(text), kind=kinds[verdict.status])


def hint(exercise: str) -> Markup:
    """Return the hints of an exercise, folded, so that each is opened on purpose.

    Args:
        exercise: the id, such as ``"ch01.recall_at_k"``.

    Returns:
        The hints, shown when this is the last expression of a cell.

    Raises:
        ValueError: there is no such exercise.

    Chapter:
        Chapter 00 shows how exercises check themselves.

    Example:
        >>> "Hint" in repr(hint("ch01.recall_at_k"))
        True
    """
    hints = find(exercise).hints
    titles = ["Hint"] if len(hints) == 1 else [f"Hint {i + 1}" for i in range(len(hints))]
    body = "".join(
        f"<details><summary>{title} for <code>{exercise}</code></summary>"
        f"<p>{inline(text)}</p></details>"
        for title, text in zip(titles, hints, strict=True)
    )
    lines = [f"{title}: {plain(text)}" for title, text in zip(titles, hints, strict=True)]
    return card(body, "\n".join(lines), kind="info")
