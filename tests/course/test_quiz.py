"""Quizzes: every option explains itself, with no script and no id."""

import re

import pytest

from vlalign_lib.course import Option, Question, quiz, quizzes

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


@pytest.mark.parametrize("chapter", quizzes.chapters())
def test_every_quiz_of_the_book_is_whole(chapter):
    questions = quizzes.of_chapter(chapter)
    assert len(questions) >= 3
    for question in questions:
        rights = [option.right for option in question.options]
        assert 1 <= sum(rights) < len(rights)
        assert len({option.text for option in question.options}) == len(rights)
    assert repr(quiz(chapter)) == repr(quiz(questions))


def test_right_answers_do_not_all_stand_at_one_place():
    places = {
        [option.right for option in question.options].index(True)
        for chapter in quizzes.chapters()
        for question in quizzes.of_chapter(chapter)
    }
    assert len(places) > 1


def test_a_chapter_without_a_quiz_is_named():
    with pytest.raises(ValueError, match="no chapter 'ch99'"):
        quiz("ch99")
