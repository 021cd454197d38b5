"""Every exercise of every chapter: untouched, solved, and with each of its mistakes."""

import re

import pytest

from vlalign_lib.course import Mistake, assess, check, hint
from vlalign_lib.course.exercises import chapters, find, of_chapter

ALL = [exercise for chapter in chapters() for exercise in of_chapter(chapter).values()]
MISTAKES = [(exercise, mistake) for exercise in ALL for mistake in exercise.mistakes]

every_exercise = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.id)


def untouched(*args, **kwargs):
    """A function that nobody has written yet."""


def not_implemented(*args, **kwargs):
    raise NotImplementedError


@every_exercise
def test_untouched_it_is_not_attempted_and_nothing_is_raised(exercise, capsys):
    attempts = [..., None]
    if callable(exercise.solution) and not isinstance(exercise.solution, type):
        attempts += [untouched, not_implemented]
    for attempt in attempts:
        assert assess(exercise, attempt).status == "not attempted"
        check(exercise.id, attempt)
        assert "not attempted" in capsys.readouterr().out


@every_exercise
def test_its_solution_passes(exercise, capsys):
    check(exercise.id, exercise.solution, solution=True)
    assert "✓ Right." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("exercise", "mistake"), MISTAKES, ids=[f"{e.id}-{m.name}" for e, m in MISTAKES]
)
def test_its_mistakes_are_recognised(exercise, mistake, capsys):
    verdict = assess(exercise, mistake.attempt)
    assert verdict.status == "wrong"
    assert verdict.mistake == mistake.name
    assert verdict.message == mistake.message
    check(exercise.id, mistake.attempt)
    assert f"✗ Not yet: {mistake.name}." in capsys.readouterr().out.replace("`", "")


@every_exercise
def test_nonsense_stops_nothing(exercise, capsys):
    def explodes(*args, **kwargs):
        raise RuntimeError("boom")

    for attempt in (
        explodes,
        lambda *args, **kwargs: "nonsense",
        "nonsense",
        object(),
        float("nan"),
    ):
        assert assess(exercise, attempt).status == "wrong"
        check(exercise.id, attempt)
        assert "✗ Not yet" in capsys.readouterr().out


@every_exercise
def test_it_says_what_is_asked_and_its_hint_does_not_fail(exercise):
    assert exercise.task.strip()
    assert exercise.mistakes, "every coding exercise knows at least one mistake"
    assert all(isinstance(mistake, Mistake) for mistake in exercise.mistakes)
    assert len({mistake.name for mistake in exercise.mistakes}) == len(exercise.mistakes)
    assert repr(hint(exercise.id)).startswith("Hint")
    assert find(exercise.id) is exercise
    assert re.fullmatch(r"ch\d\d\.[a-z0-9_]+", exercise.id)


def test_each_chapter_has_enough():
    for chapter in chapters():
        assert len(of_chapter(chapter)) >= (4 if chapter != "ch00" else 2), chapter


def test_a_filed_away_chapter_is_refused():
    with pytest.raises(ValueError, match="no chapter 'ch77'"):
        of_chapter("ch77")
