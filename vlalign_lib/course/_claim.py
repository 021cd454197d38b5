"""A sentence of the book that is computed, and that stops the build when it is false."""

from __future__ import annotations

import re
import string
from typing import Any

import numpy as np

from vlalign_lib.course._display import card, emit, inline, plain

_TYPED_NUMBER = re.compile(r"\d+\.\d+|\d+\s?%")


class ClaimFailed(AssertionError):
    """A claim of the text does not hold on the numbers that were computed."""


def claim(text: str, condition: bool, /, **values: Any) -> None:
    """State ``text`` as a fact that this run has just checked, or fail.

    A true claim is shown as a ticked sentence; a false one raises, so that a notebook, and
    with it the book, cannot be built on a sentence that its own numbers contradict.

    Args:
        text: the sentence, a format string filled from ``values``; `code` and $mathematics$
            are understood. Decimals and percentages must come through ``values``.
        condition: the computed truth of the sentence, a bool.
        **values: the numbers (or words) that the sentence names, all of them used.

    Raises:
        ClaimFailed: ``condition`` is false; the message shows every value.
        TypeError: ``condition`` is not a bool.
        ValueError: a value is missing or unused, or a number is typed into the sentence.

    Chapter:
        Every chapter ends in claims; chapter 00 shows what a false one does.

    Example:
        >>> recall = {1: 0.10, 10: 0.31}
        >>> claim("R@10 is {ratio:.1f} times R@1", recall[10] > recall[1],
        ...       ratio=recall[10] / recall[1])
        ✓ R@10 is 3.1 times R@1
    """
    if not isinstance(condition, (bool, np.bool_)):
        raise TypeError(
            f"claim: the condition must be a bool, got {type(condition).__name__}; write the "
            "comparison itself, for example `gain > 0`, and bool(...) around a tensor or array"
        )
    sentence = _fill(text, values)
    if not condition:
        shown = ", ".join(f"{name} = {value!r}" for name, value in values.items())
        raise ClaimFailed(f"does not hold: {plain(sentence)}" + (f"  [{shown}]" if shown else ""))
    emit(
        card(
            f'<p><span class="vl-tag" style="color:var(--vl-accent)">✓</span> '
            f"{inline(sentence)}</p>",
            f"✓ {plain(sentence)}",
            kind="right",
        )
    )


def _fill(text: str, values: dict[str, Any]) -> str:
    """Return ``text`` filled from ``values``, refusing what would not be computed."""
    if not isinstance(text, str):
        raise ValueError(f"claim: expected a sentence, got {type(text).__name__}")
    used: set[str] = set()
    for literal, field, _, _ in string.Formatter().parse(text):
        typed = _TYPED_NUMBER.search(literal)
        if typed:
            raise ValueError(
                f"claim: the number {typed.group()} is typed into the sentence; compute it, and "
                "pass it as a named value"
            )
        if field is not None:
            used.add(re.split(r"[.\[]", field, maxsplit=1)[0])
    if "" in used:
        raise ValueError("claim: name the place, as in {gain:.2f}; an empty {} has no name")
    missing, unused = sorted(used - values.keys()), sorted(values.keys() - used)
    if missing:
        raise ValueError(f"claim: the sentence shows {', '.join(missing)}, which no value fills")
    if unused:
        raise ValueError(f"claim: {', '.join(unused)} is passed but the sentence does not show it")
    try:
        return text.format(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"claim: {text!r} cannot be filled ({error}); a format such as {{gain:.2f}} takes one "
            "number: float(...) around a tensor or array"
        ) from error
