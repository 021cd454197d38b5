"""Quizzes: every option explains itself, with no script and no id."""

import re

import pytest

from vlalign_lib.course import Option, Question, quiz

TWO = [
    Question("Which <rank> is best for $k$?", [Option("1 & only", "Nothing before.", right=True),
                                               Option("`0`", "Ranks start at one.")]),
    Question("And then?", [Option("a", "No."), Option("b", "No."),
                           Option("c", "Yes.", right=True)]),
]  # fmt: skip


def test_every_option_folds_and_says_why():
    text = quiz(TWO)._repr_html_()
    assert text.count("<details") == text.count("</details>") == text.count("<summary>") == 5
    assert text.count("✓ Right.") == 2
    assert text.count("✗ Not this one.") == 3
    for why in ("Nothing before.", "Ranks start at one.", "Yes."):
        assert why in text
    assert re.search(r"C\. c</summary><p>.*?✓ Right\..*?Yes\.", text)
    assert "<details open" not in text


def test_it_needs_no_script_no_id_no_network():
    text = quiz(TWO)._repr_html_()
    assert not re.search(r"<script|\sid=|https?://|url\(|\son\w+=", text)
    assert text == quiz(TWO)._repr_html_()


def test_markup_is_escaped_and_marks_are_understood():
    text = quiz(TWO)._repr_html_()
    assert "&lt;rank&gt;" in text
    assert "1 &amp; only" in text
    assert "<code>0</code>" in text
    assert "\\(k\\)" in text


def test_in_a_terminal_the_answers_come_last():
    lines = repr(quiz(TWO)).splitlines()
    assert lines[0] == "1. Which <rank> is best for k?"
    answers = lines[lines.index("Answers") + 1 :]
    assert answers[0] == "1. A is right: Nothing before."
    assert answers[-1] == "   C is right: Yes."
    assert len(answers) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([Option("a", "b", right=True)], "2 to 10 options"),
        ([Option(str(i), "x", right=True) for i in range(11)], "2 to 10 options"),
        ([Option("a", "b"), Option("c", "d")], "is right; set right=True"),
        ([Option("a", "b", right=True), Option("c", " ")], "needs a text and a why"),
        ([Option("", "b", right=True), Option("c", "d")], "needs a text and a why"),
    ],
)
def test_a_question_that_teaches_nothing_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Question("Which?", options)


def test_an_empty_quiz_is_refused():
    with pytest.raises(ValueError, match="at least one Question"):
        quiz([])
