"""What authors and learners hand over by mistake, named."""

import numpy as np
import pytest

from vlalign_lib.course import (
    Budget,
    Option,
    Question,
    check,
    claim,
    glue,
    hint,
    ledger,
    ledger_all,
    quiz,
)


@pytest.mark.parametrize("name", [None, 3.0, ["linear"], np.ones(2), {"a": 1}])
def test_names_that_are_no_words(name):
    for call in (hint, lambda name: check(name, ...)):
        with pytest.raises(ValueError, match="no exercise"):
            call(name)
    for call in (ledger, ledger_all):
        with pytest.raises(ValueError, match="unknown experiment"):
            call(name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: claim(None, True), "claim: expected a sentence, got NoneType"),
        (lambda: claim("gains {a:.2f}", True, a=np.ones(2)), "cannot be filled .* one number"),
        (lambda: claim("gains {a:.2f}", True, a="b"), "cannot be filled"),
        (lambda: glue("a", 1.0, np.ones(2)), "glue: fmt is a format"),
        (lambda: quiz(3.0), "quiz: expected a chapter or a list of Question"),
        (lambda: quiz(np.ones(2)), "quiz: expected a chapter or a list of Question"),
        (lambda: quiz(["Which?"]), "quiz: expected a list of Question"),
        (lambda: Question("Which?", None), "quiz: expected a list of Option"),
        (lambda: Question("Which?", ["a", "b"]), "quiz: expected a list of Option"),
        (
            lambda: Question("Which?", [Option(None, "so", right=True), Option("b", "no")]),
            "needs a text and a why",
        ),
        (lambda: Budget("ch03", [1]), "tiers: expected"),
    ],
)
def test_arguments_of_another_kind(call, message):
    with pytest.raises(ValueError, match=message):
        call()
