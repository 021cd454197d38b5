"""Questions and their options, as quizzes are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LETTERS = "ABCDEFGHIJ"


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
        options = isinstance(self.options, Sequence) and all(
            isinstance(option, Option) for option in self.options
        )
        if not options:
            raise ValueError(f"quiz: expected a list of Option, got {self.options!r}")
        if not 2 <= len(self.options) <= len(LETTERS):
            raise ValueError(
                f"quiz: {self.prompt!r} needs 2 to {len(LETTERS)} options, got {len(self.options)}"
            )
        if not any(option.right for option in self.options):
            raise ValueError(f"quiz: no option of {self.prompt!r} is right; set right=True on one")
        for option in self.options:
            if not all(isinstance(t, str) and t.strip() for t in (option.text, option.why)):
                raise ValueError(
                    f"quiz: option {option.text!r} of {self.prompt!r} needs a text and a why"
                )
