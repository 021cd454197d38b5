"""Multiple choice that explains every answer, with no kernel and no script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlalign_lib.course._display import ACCENTS, Markup, card, inline, plain
from vlalign_lib.course._question import LETTERS, Question
from vlalign_lib.course.quizzes import of_chapter

_CSS = (
    ".vl fieldset{border:0;margin:0 0 1rem;padding:0;min-width:0}"
    ".vl legend{font-weight:600;font-size:1em;float:none;width:auto;margin:0;padding:.3rem 0}"
    ".vl .vl-option{border:1px solid rgba(127,127,127,.4);border-radius:.25rem;"
    "margin:.35rem 0;padding:0 .7rem;background:none;box-shadow:none}"
    f".vl .vl-yes[open]{{border-color:{ACCENTS['right']}}}"
    f".vl .vl-no[open]{{border-color:{ACCENTS['wrong']}}}"
)


def quiz(questions: str | Sequence[Question]) -> Markup:
    """Return a quiz in which every answer, right or wrong, explains itself.

    Each option unfolds with a click, a tap, or Enter; nothing is computed, so that it works in
    the printed page. `code` and $mathematics$ are understood everywhere.

    Args:
        questions: a chapter, such as ``"ch01"``, for the book's own quiz, or questions of
            yours, in order.

    Returns:
        The quiz, shown when it is the last expression of a cell.

    Raises:
        ValueError: there is no question, or no such chapter.

    Chapter:
        The last page of every chapter.

    Example:
        >>> from vlalign_lib.course import Option, Question
        >>> quiz([Question("Which rank is best?", [
        ...     Option("1", "Nothing is placed before it.", right=True),
        ...     Option("0", "Ranks start at one here."),
        ... ])])
        1. Which rank is best?
           A. 1
           B. 0
        Answers
        1. A is right: Nothing is placed before it.
           B is wrong: Ranks start at one here.
    """
    asked_for: Any = of_chapter(questions) if isinstance(questions, str) else questions
    if not isinstance(asked_for, Sequence):
        raise ValueError(f"quiz: expected a chapter or a list of Question, got {asked_for!r}")
    for entry in asked_for:
        if not isinstance(entry, Question):
            raise ValueError(f"quiz: expected a list of Question, got {entry!r} in it")
    if not asked_for:
        raise ValueError("quiz: expected at least one Question, got none")
    listed: Sequence[Question] = asked_for
    body, asked, answers = [], [], ["Answers"]
    for number, question in enumerate(listed, start=1):
        options = []
        asked.append(f"{number}. {plain(question.prompt)}")
        for place, (letter, option) in enumerate(zip(LETTERS, question.options, strict=False)):
            verdict = "right" if option.right else "wrong"
            mark = "✓ Right." if option.right else "✗ Not this one."
            options.append(
                f'<details class="vl-option vl-{"yes" if option.right else "no"}">'
                f"<summary>{letter}. {inline(option.text)}</summary>"
                f'<p><span class="vl-tag">{mark}</span> {inline(option.why)}</p></details>'
            )
            asked.append(f"   {letter}. {plain(option.text)}")
            lead = "  " if place else f"{number}."
            answers.append(f"{lead} {letter} is {verdict}: {plain(option.why)}")
        body.append(
            f"<fieldset><legend>{number}. {inline(question.prompt)}</legend>"
            f"{''.join(options)}</fieldset>"
        )
    return card("".join(body), "\n".join(asked + answers), kind="info", extra_css=_CSS)
