"""Checks: right, wrong, untouched, recognised; and whatever nonsense is handed over."""

import functools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlalign_lib.course import (
    Exercise,
    Mistake,
    SolutionFailed,
    assess,
    case,
    check,
    exercises,
    hint,
)
from vlalign_lib.course import _check as check_module

MEAN = Exercise(
    id="ch00.row_means",
    task="Write row_means(x).",
    hint=("Which axis?", "`x.mean(axis=1)`"),
    solution=lambda x: x.mean(axis=1),
    cases=lambda: [
        case(np.array([[1.0, 3.0], [5.0, 7.0]]), label="two rows"),
        case(np.arange(6.0).reshape(2, 3)),
    ],
    mistakes=(
        Mistake("wrong axis", lambda x: x.mean(axis=0), "These are the means of the columns."),
        Mistake("one mean", lambda x: x.mean(), "This is the mean of everything."),
        Mistake("raises", lambda x: x.means(), "An array has `mean`, not `means`."),
    ),
    praise="Well averaged.",
)
HAND = Exercise(
    id="ch00.by_hand",
    task="How large is AP?",
    hint="Precision at each hit.",
    solution=0.75,
    tolerance=5e-3,
    mistakes=(Mistake("precision", 0.5, "This is precision at the end of the list."),),
)


def test_right_answers():
    verdict = assess(MEAN, lambda x: x.sum(axis=1) / x.shape[1])
    assert (verdict.status, verdict.message, verdict.mistake) == ("right", "Well averaged.", None)
    assert assess(HAND, 0.753).status == "right"
    assert assess(HAND, np.float32(0.75)).status == "right"


def test_lists_and_tensors_are_right_where_the_numbers_are():
    assert assess(MEAN, lambda x: [float(row.mean()) for row in x]).status == "right"
    torch = pytest.importorskip("torch")
    assert assess(MEAN, lambda x: torch.tensor(x).mean(dim=1)).status == "right"


def nothing_but_a_docstring(x):
    """Return the means of the rows."""


def not_implemented(x):
    raise NotImplementedError


def dots(x):
    return ...


def forgot_return(x):
    x.mean(axis=1)


@pytest.mark.parametrize(
    "attempt",
    [..., None, NotImplemented, nothing_but_a_docstring, not_implemented, dots, forgot_return,
     [..., ...], (None,), {"a": ...}, np.array([...], dtype=object)],
)  # fmt: skip
def test_untouched_is_not_wrong(attempt):
    verdict = assess(MEAN, attempt)
    assert verdict.status == "not attempted"
    assert verdict.message


def test_a_forgotten_return_is_said():
    assert "end it with `return`" in assess(MEAN, forgot_return).message
    assert "in place of the dots" in assess(MEAN, nothing_but_a_docstring).message
    assert assess(HAND, [0.5, ...]).message == "1 of 2 entries are blank."


@pytest.mark.parametrize("mistake", MEAN.mistakes, ids=lambda m: m.name)
def test_mistakes_are_recognised_by_what_they_do(mistake):
    verdict = assess(MEAN, functools.partial(lambda f, x: f(x), mistake.attempt))
    assert (verdict.status, verdict.mistake, verdict.message) == (
        "wrong", mistake.name, mistake.message,
    )  # fmt: skip


def test_a_value_is_recognised_and_never_given_away():
    assert assess(HAND, 0.501).mistake == "precision"
    for wrong in (0.6, "0.75", [0.75], (0.1, 0.2), np.zeros(30), {"a": 1}, 7 + 0j):
        verdict = assess(HAND, wrong)
        assert verdict.status == "wrong"
        assert "expected 0.75" not in verdict.message
    assert assess(HAND, 0.6).message == "0.6 is not it."


def test_words_are_compared_without_case():
    exercise = Exercise("ch00.word", "Which?", "Think.", "CCA")
    assert assess(exercise, " cca ").status == "right"
    assert assess(exercise, "pca").message == "'pca' is not it."


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (lambda x: x.mean(axis=1) + 1, "For two rows: expected [2., 6.], got [3., 7.]."),
        (lambda x: x, "For two rows: expected an array of shape (2,), got shape (2, 2)."),
        (lambda x: "means", "For two rows: expected an array of shape (2,), got 'means'."),
        (lambda x: x.mean(axis=1) * np.nan, "For two rows: 2 of 2 entries are NaN."),
        (lambda x: {}, "For two rows: expected an array of shape (2,), got {}."),
        (lambda x: iter(x), "For two rows: expected an array of shape (2,)"),
        (lambda x: 1 / 0, "For two rows: your code raised ZeroDivisionError in line"),
        (lambda: 3, "your code raised TypeError"),
        (lambda x: sys.exit(3), "your code raised SystemExit"),
        (lambda x: (lambda f: f(f))(lambda f: f(f)), "your code raised RecursionError"),
        (int, "For two rows: your code raised TypeError"),
        (7, "this asks for a function, and got 7"),
        (np.eye(3), "this asks for a function, and got [[1., 0., 0.],"),
        ("def f(x): pass", "this asks for a function"),
    ],
)
def test_nonsense_is_named(attempt, words):
    verdict = assess(MEAN, attempt)
    assert verdict.status == "wrong"
    assert words in verdict.message
    assert len(verdict.message) < 400


def test_a_later_case_is_described_by_its_arguments():
    def only_pairs(x):
        return x.mean(axis=1) if x.shape[1] == 2 else np.zeros(2)

    words = "For ([[0., 1., 2.], [3., 4., 5.]]): expected [1., 4.], got [0., 0.]."
    assert assess(MEAN, only_pairs).message == words


def test_a_function_for_a_value_is_named():
    assert "Call it, and hand over the result" in assess(HAND, lambda: 0.75).message


def test_what_was_raised_points_at_the_learners_own_line():
    source = "def attempt(x):\n    y = x\n    return np.linalg.inv(y[0])\n"
    scope = {"np": np}
    exec(compile(source, "/tmp/ipykernel_1/7.py", "exec"), scope)
    message = assess(MEAN, scope["attempt"]).message
    assert "raised LinAlgError in line 3 of `attempt`" in message


@pytest.mark.parametrize(
    ("place", "module"),
    [
        ("/usr/lib/python3/dist-packages", "mine"),
        ("/venv/lib/python3.11/site-packages", "mine"),
        ("/home/me/libraries", "__main__"),
    ],
)
def test_the_learners_own_line_is_found_wherever_packages_lie(place, module):
    package, scope = {"__name__": "package"}, {"__name__": module}
    source = "def invert(x):\n    raise ArithmeticError('singular')\n"
    exec(compile(source, f"{place}/package/linear.py", "exec"), package)
    scope["invert"] = package["invert"]
    source = "def attempt(x):\n    y = x\n    return invert(y)\n"
    exec(compile(source, "/tmp/ipykernel_1/7.py", "exec"), scope)
    message = assess(MEAN, scope["attempt"]).message
    assert "raised ArithmeticError in line 3 of `attempt`: singular" in message


def test_inputs_changed_in_place_are_not_right():
    def careless(x):
        x -= 0.0
        means = x.mean(axis=1)
        x[:] = 7
        return means

    verdict = assess(MEAN, careless)
    assert verdict.status == "wrong"
    assert "`x` is changed on the way" in verdict.message


def test_an_attempt_cannot_spoil_the_cases_for_those_who_come_after():
    kept = MEAN.cases()
    shared = Exercise("ch00.shared", "t", "h", MEAN.solution, cases=lambda: kept)

    def spoil(x):
        x[:] = 0
        return x.mean(axis=1)

    assess(shared, spoil)
    assert assess(shared, MEAN.solution).status == "right"


def test_a_generator_argument_may_move_on():
    draws = Exercise(
        "ch00.draw", "t", "h", lambda rng: rng.normal(size=3),
        cases=lambda: [case(np.random.default_rng(0))],
    )  # fmt: skip
    assert assess(draws, lambda rng: rng.normal(size=3)).status == "right"


def test_errors_that_are_asked_for():
    def strict(k):
        if k < 1:
            raise ValueError("k")
        return k

    exercise = Exercise("ch00.strict", "t", "h", strict, cases=lambda: [case(1), case(0)])
    assert assess(exercise, strict).status == "right"
    assert assess(exercise, lambda k: k).message == "For (0): expected a ValueError, got 0."
    assert "raised KeyError" in assess(exercise, lambda k: k if k else {}["k"]).message


# free checks


def judge(attempt):
    return None if attempt(2) == attempt(3) - 1 else "Each step must add one."


FREE = Exercise(
    id="ch00.free", task="t", hint="h", solution=lambda n: n, check=judge,
    mistakes=(Mistake("twice", lambda n: 2 * n, "Once, not twice.",
                      recognise=lambda attempt: attempt(5) == 10),),
    praise="Any offset will do.",
)  # fmt: skip


def test_free_checks():
    assert assess(FREE, lambda n: n + 40).message == "Any offset will do."
    assert assess(FREE, lambda n: 2 * n).mistake == "twice"
    assert assess(FREE, lambda n: 3 * n).message == "Each step must add one."
    assert assess(FREE, dots).status == assess(FREE, not_implemented).status == "not attempted"
    assert "return" in assess(FREE, forgot_nothing).message
    assert "ZeroDivisionError" in assess(FREE, lambda n: 1 / 0).message


def forgot_nothing(n):
    n + 1


def test_a_free_check_may_judge_values_and_classes():
    odd = Exercise("ch00.odd", "t", "h", 3, check=lambda n: None if n % 2 else "That is even.")
    assert assess(odd, 5).status == "right"
    assert assess(odd, 4).message == "That is even."
    assert "TypeError" in assess(odd, "x").message
    kind = Exercise("ch00.kind", "t", "h", dict, check=lambda k: None if k() == {} else "no")
    assert assess(kind, dict).status == "right"


class Hostile:
    """Raises whatever one asks."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __eq__(self, other):
        raise RuntimeError

    def __array__(self, *args, **kwargs):
        raise RuntimeError

    __hash__ = None


@pytest.mark.parametrize("exercise", [MEAN, HAND, FREE], ids=lambda e: e.id)
def test_hostile_objects_are_only_wrong(exercise):
    assert assess(exercise, Hostile()).status == "wrong"
    assert assess(exercise, lambda *a: Hostile()).status == "wrong"


@given(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary(),
                 st.complex_numbers(), st.lists(st.integers()),
                 st.dictionaries(st.text(), st.floats()),
                 st.functions(like=lambda *a: 0, returns=st.floats())))  # fmt: skip
def test_anything_gets_a_verdict(attempt):
    for exercise in (MEAN, HAND, FREE):
        assert assess(exercise, attempt).status in ("right", "wrong", "not attempted")


# what is refused in an exercise itself


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "recall"}, "a chapter, a dot and a name"),
        ({"id": "ch1.recall"}, "a chapter, a dot and a name"),
        ({"hint": ""}, "has a hint"),
        ({"hint": ()}, "has a hint"),
        ({"solution": len}, "needs cases"),
    ],
)
def test_an_incomplete_exercise_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Exercise(**{"id": "ch00.x", "task": "t", "hint": "h", "solution": 1, **changes})


# check and hint, as notebooks call them


@pytest.fixture
def registered(monkeypatch):
    known = {e.id: e for e in (MEAN, HAND, FREE)}
    monkeypatch.setattr(check_module, "find", known.__getitem__)


@pytest.mark.usefixtures("registered")
def test_check_prints_one_line_and_returns_nothing(capsys):
    assert check("ch00.row_means", lambda x: x.mean(axis=1)) is None
    assert check("ch00.row_means", lambda x: x.mean(axis=0)) is None
    assert check("ch00.row_means", ...) is None
    assert check("ch00.by_hand", 0.6) is None
    assert capsys.readouterr().out.splitlines() == [
        "ch00.row_means: ✓ Right. Well averaged.",
        "ch00.row_means: ✗ Not yet: wrong axis. These are the means of the columns.",
        "ch00.row_means: not attempted yet. Write your answer in place of the dots and run this "
        "again.",
        "ch00.by_hand: ✗ Not yet: 0.6 is not it.",
    ]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("broken", [..., dots, lambda x: x, lambda x: 1 / 0])
def test_a_solution_of_the_book_must_pass(broken, capsys):
    with pytest.raises(SolutionFailed, match=r"the solution of ch00\.row_means is"):
        check("ch00.row_means", broken, solution=True)
    check("ch00.row_means", MEAN.solution, solution=True)
    assert capsys.readouterr().out == "ch00.row_means: ✓ Right. Well averaged.\n"


@pytest.mark.usefixtures("registered")
def test_hints_are_folded_one_by_one():
    page = hint("ch00.row_means")
    assert page._repr_html_().count("<details><summary>") == 2
    assert "<code>x.mean(axis=1)</code>" in page._repr_html_()
    assert repr(page) == "Hint 1: Which axis?\nHint 2: x.mean(axis=1)"
    assert repr(hint("ch00.by_hand")) == "Hint: Precision at each hit."


def test_an_unknown_exercise_is_answered_with_the_nearest():
    (first, *_) = exercises.of_chapter("ch01")
    with pytest.raises(ValueError, match=f"did you mean '{first}'"):
        check(first + "s", ...)
    for strange in ("ch77.x", "", "recall", None):
        with pytest.raises(ValueError, match="no exercise"):
            hint(strange)


@pytest.mark.parametrize("exercise", [MEAN, FREE], ids=lambda e: e.id)
def test_an_empty_body_is_not_taken_for_a_forgotten_return(exercise):
    assert "in place of the dots" in assess(exercise, nothing_but_a_docstring).message
