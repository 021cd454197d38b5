"""Multiple choice that explains every answer, with no kernel and no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlalign_lib.course._display import ACCENTS, Markup, card, inline, plain

_LETTERS = "ABCDEFGHIJ"

_CSS = (
    ".vl fieldset{border:0;margin:0 0 1rem;padding:0;min-width:0}"
    ".vl legend{font-weight:600;font-size:1em;float:none;width:auto;margin:0;padding:.3rem 0}"
    ".vl .vl-option{border:1px solid rgba(127,127,127,.4);border-radius:.25rem;"
    "margin:.35rem 0;padding:0 .7rem;background:none;box-shadow:none}"
    f".vl .vl-yes[open]{{border-color:{ACCENTS['right']}}}"
    f".vl .vl-no[open]{{border-color:{ACCENTS['wrong']}}}"
)


@dataclass(frozen=True)
class Option:
    """One answer of a question.

    Args:
        text: the answer.
        why: what is right or wrong about it; shown when the reader picks it.
        right: whether it is a right answer.

    Chapter:
        The last page of every chapter.
    """

    text: str
    why: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """One question of a quiz.

    Args:
        prompt: the question.
        options: two to ten answers, at least one of them right.

    Raises:
        ValueError: too few or too many options, none of them right, or one that does not
            explain itself.

    Chapter:
        The last page of every chapter.
    """

    prompt: str
    options: Sequence[Option]

    def __post_init__(self) -> None:
        if not 2 <= len(self.options) <= len(_LETTERS):
            raise ValueError(
                f"quiz: {self.prompt!r} needs 2 to {len(_LETTERS)} options, got {len(self.options)}"
            )
        if not any(option.right for option in self.options):
            raise ValueError(f"quiz: no option of {self.prompt!r} is right; set right=True on one")
        for option in self.options:
            if not option.text.strip() or not option.why.strip():
                raise ValueError(
                    f"quiz: option {option.text!r} of {self.prompt!r} needs a text and a why"
                )


def quiz(questions: Sequence[Question]) -> Markup:
    """Return a quiz in which every answer, right or wrong, explains itself.

    Each option unfolds with a click, a tap, or Enter; nothing is computed, so that it works in
    the printed page. `code` and $mathematics$ are understood everywhere.

    Args:
        questions: the questions, in order.

    Returns:
        The quiz, shown when it is the last expression of a cell.

    Raises:
        ValueError: there is no question.

    Chapter:
        The last page of every chapter.

    Example:
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
    if not questions:
        raise ValueError("quiz: expected at least one Question, got none")
    body, asked, answers = [], [], ["Answers"]
    for number, question in enumerate(questions, start=1):
        options = []
        asked.append(f"{number}. {plain(question.prompt)}")
        for place, (letter, option) in enumerate(zip(_LETTERS, question.options, strict=False)):
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
