"""Exercises that check themselves and know their usual mistakes."""

from __future__ import annotations

import copy
import inspect
import re
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vlalign_lib.course._compare import difference, show

_ID = re.compile(r"ch\d\d\.[a-z][a-z0-9_]*")

_LIBRARY = str(Path(__file__).resolve().parents[1])
_PYTHON = sysconfig.get_path("stdlib")

Status = Literal["right", "wrong", "not attempted"]


@dataclass(frozen=True)
class Mistake:
    """A wrong solution that learners really write, and what to tell those who do.

    Args:
        name: the mistake in a few words: "ties broken in one's own favour".
        attempt: a wrong solution that makes it; every attempt that gives the same answers on
            the cases of the exercise is recognised as this mistake.
        message: what is wrong, and where to look, in one or two sentences.
        recognise: tells whether an attempt makes this mistake, for exercises whose answers
            are not unique; None compares answers.

    Chapter:
        Chapter 00 shows one being recognised.
    """

    name: str
    attempt: Any
    message: str
    recognise: Callable[[Any], bool] | None = None


@dataclass(frozen=True)
class Case:
    """One call that an attempt is tried on; made by :func:`case`.

    Args:
        args: positional arguments.
        kwargs: keyword arguments.
        label: the case in words, or nothing.

    Chapter:
        Chapter 00 shows how exercises check themselves.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    label: str

    def __str__(self) -> str:
        if self.label:
            return self.label
        shown = [show(arg) for arg in self.args]
        shown += [f"{name}={show(value)}" for name, value in self.kwargs.items()]
        return f"({', '.join(shown)})"


def case(*args: Any, label: str = "", **kwargs: Any) -> Case:
    """Return one call to try an attempt on.

    Args:
        *args: positional arguments of the call.
        label: the case in words, for the message: "two names with the same score".
        **kwargs: keyword arguments of the call.

    Returns:
        The case; an attempt gets copies of its arguments.

    Chapter:
        Chapter 00 shows how exercises check themselves.

    Example:
        >>> str(case([3, 1], k=1))
        '([3, 1], k=1)'
    """
    return Case(args, kwargs, label)


@dataclass(frozen=True)
class Exercise:
    """An exercise: what it asks, its hint, its check and the mistakes it recognises.

    An exercise that asks for a function has a ``solution`` that is one, and ``cases`` to try
    it on; an exercise that asks for a value has the value as its ``solution``. Where right
    answers are not unique, ``check`` judges instead.

    Args:
        id: chapter, dot, name: ``"ch01.recall_at_k"``.
        task: what is asked, in one or two sentences.
        hint: one hint, or several, each giving away more.
        solution: a right answer.
        cases: makes the calls that a function is tried on; a function itself, so that nothing
            is built at import.
        check: judges an attempt that is not blank: returns what is wrong with it, or None.
            What it raises counts as raised by the attempt.
        mistakes: wrong solutions to recognise.
        tolerance: how far a number may be off, relative or absolute.
        praise: said when the answer is right: why it matters, or where to go from here.

    Raises:
        ValueError: an id of another form, no hint, or nothing to judge an attempt with.

    Chapter:
        Chapter 00 shows one; every chapter has at least four.

    Example:
        >>> exercise = Exercise(
        ...     id="ch00.double", task="Write double(x).", hint="Multiply.",
        ...     solution=lambda x: 2 * x, cases=lambda: [case(3), case(5)],
        ...     mistakes=(Mistake("squared", lambda x: x**2, "That is the square."),),
        ... )
        >>> assess(exercise, lambda x: x + x).status
        'right'
        >>> assess(exercise, lambda x: x * x).mistake
        'squared'
        >>> assess(exercise, ...).status
        'not attempted'
    """

    id: str
    task: str
    hint: str | tuple[str, ...]
    solution: Any
    cases: Callable[[], Sequence[Case]] | None = None
    check: Callable[[Any], str | None] | None = None
    mistakes: tuple[Mistake, ...] = ()
    tolerance: float = 1e-6
    praise: str = ""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(
                f"exercise {self.id!r}: the id is a chapter, a dot and a name, as in "
                "'ch01.recall_at_k'"
            )
        if not self.hints or not all(text.strip() for text in self.hints):
            raise ValueError(f"exercise {self.id!r}: every exercise has a hint")
        if callable(self.solution) and self.cases is None and self.check is None:
            raise ValueError(
                f"exercise {self.id!r}: a function needs cases to try it on, or a check"
            )

    @property
    def hints(self) -> tuple[str, ...]:
        """The hints, each giving away more than the one before."""
        return (self.hint,) if isinstance(self.hint, str) else tuple(self.hint)


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Args:
        status: "right", "wrong" or "not attempted".
        message: a sentence or two for the learner.
        mistake: the name of the recognised mistake, or None.

    Chapter:
        Chapter 00 shows all three.
    """

    status: Status
    message: str
    mistake: str | None = None


@dataclass(frozen=True)
class _Outcome:
    """What one call gave: a value or what was raised, and which argument it changed."""

    value: Any = None
    error: BaseException | None = None
    changed: str | None = None

    @property
    def blank(self) -> bool:
        return isinstance(self.error, NotImplementedError) or (
            self.error is None and (self.value is None or self.value is Ellipsis)
        )

    def equals(self, other: _Outcome, tolerance: float) -> bool:
        if self.error is not None or other.error is not None:
            return type(self.error) is type(other.error)
        return difference(self.value, other.value, tolerance) is None


def assess(exercise: Exercise, attempt: Any) -> Verdict:
    """Judge ``attempt`` and never raise, whatever it is or does.

    Blank attempts (``...``, None, a function that returns nothing or raises
    NotImplementedError) are not wrong, only not attempted.

    Args:
        exercise: the exercise.
        attempt: a function, a value, or anything else that the learner handed over.

    Returns:
        The verdict, with a message that says what is wrong.

    Chapter:
        Chapter 00 shows how exercises check themselves.

    Example:
        >>> seven = Exercise("ch00.seven", "How many days has a week?", "Count.", 7)
        >>> assess(seven, 7).status, assess(seven, 8).status, assess(seven, None).status
        ('right', 'wrong', 'not attempted')
    """
    try:
        return _judge(exercise, attempt)
    except (Exception, SystemExit) as error:
        return Verdict("wrong", f"this cannot be judged: {_raised(error)}")


def _judge(exercise: Exercise, attempt: Any) -> Verdict:
    blank = _blanks(attempt)
    if blank:
        return Verdict("not attempted", blank)
    wants_function = callable(exercise.solution)
    if wants_function and not callable(attempt):
        return Verdict(
            "wrong",
            f"this asks for a function, and got {show(attempt)}. Hand over the function itself, "
            "by its name and without parentheses.",
        )
    if not wants_function and callable(attempt) and exercise.check is None:
        return Verdict(
            "wrong",
            f"this asks for a value, and got {show(attempt)}. Call it, and hand over the result.",
        )
    if exercise.check is not None:
        return _judge_freely(exercise, attempt)
    if wants_function:
        return _judge_function(exercise, attempt)
    return _judge_value(exercise, attempt)


def _blanks(attempt: Any) -> str:
    """Return what to say of an attempt that is left blank, or nothing where it is not."""
    if attempt is None or attempt is Ellipsis or attempt is NotImplemented:
        return _UNTOUCHED
    if isinstance(attempt, np.ndarray):
        entries = list(attempt.flat) if attempt.dtype == object else []
    elif isinstance(attempt, Mapping):
        entries = list(attempt.values())
    else:
        entries = list(attempt) if isinstance(attempt, (list, tuple)) else []
    left = sum(entry is None or entry is Ellipsis for entry in entries)
    if not left:
        return ""
    return _UNTOUCHED if left == len(entries) else f"{left} of {len(entries)} entries are blank."


def _judge_value(exercise: Exercise, attempt: Any) -> Verdict:
    solution, tolerance = exercise.solution, exercise.tolerance
    if isinstance(solution, str) and isinstance(attempt, str):
        solution, attempt = solution.strip().casefold(), attempt.strip().casefold()
    complaint = difference(solution, attempt, tolerance, reveal=False)
    if complaint is None:
        return Verdict("right", exercise.praise)
    for mistake in exercise.mistakes:
        if _makes(mistake, attempt, exercise):
            return Verdict("wrong", mistake.message, mistake.name)
    return Verdict("wrong", f"{complaint}.")


def _judge_freely(exercise: Exercise, attempt: Any) -> Verdict:
    watched = _Watched(attempt) if inspect.isroutine(attempt) else attempt
    assert exercise.check is not None
    try:
        complaint = exercise.check(watched)
    except NotImplementedError:
        return Verdict("not attempted", _UNTOUCHED)
    except (Exception, SystemExit) as error:
        complaint = _raised(error)
    if isinstance(watched, _Watched) and watched.returned_nothing:
        said = _UNTOUCHED if _has_no_body(attempt) else _RETURNS_NOTHING
        return Verdict("not attempted", said)
    if complaint is None:
        return Verdict("right", exercise.praise)
    for mistake in exercise.mistakes:
        if _makes(mistake, attempt, exercise):
            return Verdict("wrong", mistake.message, mistake.name)
    return Verdict("wrong", complaint)


class _Watched:
    """A function that remembers whether it has ever returned something."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = self.nothing = 0
        self.__name__ = getattr(function, "__name__", "attempt")
        self.__wrapped__ = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        value = self.function(*args, **kwargs)
        self.calls += 1
        self.nothing += value is None or value is Ellipsis
        return value

    @property
    def returned_nothing(self) -> bool:
        return 0 < self.calls == self.nothing


_UNTOUCHED = "Write your answer in place of the dots and run this again."
_RETURNS_NOTHING = "The function returns nothing. If you have written it, end it with `return`."


def _judge_function(exercise: Exercise, attempt: Callable[..., Any]) -> Verdict:
    assert exercise.cases is not None
    outcomes = _outcomes(attempt, exercise)
    if isinstance(outcomes[0].error, NotImplementedError):
        return Verdict("not attempted", _UNTOUCHED)
    wanted = _outcomes(exercise.solution, exercise)
    if all(got.blank for got in outcomes) and not all(want.blank for want in wanted):
        empty = all(got.value is Ellipsis for got in outcomes) or _has_no_body(attempt)
        return Verdict("not attempted", _UNTOUCHED if empty else _RETURNS_NOTHING)
    complaint = None
    for tried, want, got in zip(exercise.cases(), wanted, outcomes, strict=True):
        complaint = _complaint(tried, want, got, exercise.tolerance)
        if complaint is not None:
            break
    if complaint is not None:
        for mistake in exercise.mistakes:
            if _makes(mistake, attempt, exercise, outcomes):
                return Verdict("wrong", mistake.message, mistake.name)
        return Verdict("wrong", complaint)
    for got in outcomes:
        if got.changed is not None:
            return Verdict(
                "wrong",
                f"the answers are right, but {got.changed} is changed on the way: whoever calls "
                "the function loses their data. Work on a copy.",
            )
    return Verdict("right", exercise.praise)


def _complaint(tried: Case, want: _Outcome, got: _Outcome, tolerance: float) -> str | None:
    """Return what is wrong with one outcome, in a sentence, or None."""
    if got.error is not None:
        if want.error is not None and isinstance(got.error, type(want.error)):
            return None
        return f"For {tried}: {_raised(got.error)}"
    if want.error is not None:
        return f"For {tried}: expected a {type(want.error).__name__}, got {show(got.value)}."
    found = difference(want.value, got.value, tolerance)
    return None if found is None else f"For {tried}: {found}."


def _makes(
    mistake: Mistake,
    attempt: Any,
    exercise: Exercise,
    outcomes: Sequence[_Outcome] | None = None,
) -> bool:
    """Tell whether ``attempt`` makes ``mistake``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if mistake.recognise is not None:
                return bool(mistake.recognise(attempt))
            if not callable(exercise.solution):
                return difference(mistake.attempt, attempt, exercise.tolerance) is None
            if exercise.cases is None:
                return False
            made = _outcomes(mistake.attempt, exercise)
            return all(
                left.equals(right, exercise.tolerance)
                for left, right in zip(made, outcomes or _outcomes(attempt, exercise), strict=True)
            )
        except Exception:
            return False


def _outcomes(function: Callable[..., Any], exercise: Exercise) -> list[_Outcome]:
    assert exercise.cases is not None
    return [_try(function, tried) for tried in exercise.cases()]


def _try(function: Callable[..., Any], tried: Case) -> _Outcome:
    """Call ``function`` on copies of the arguments of one case."""
    args, kwargs = copy.deepcopy((tried.args, dict(tried.kwargs)))
    try:
        value = function(*args, **kwargs)
    except (Exception, SystemExit) as error:
        return _Outcome(error=error)
    return _Outcome(value=value, changed=_changed(tried, args, kwargs, function))


def _changed(
    tried: Case, args: Sequence[Any], kwargs: Mapping[str, Any], function: Callable[..., Any]
) -> str | None:
    """Return the name of an argument that the call changed in place, or None."""
    before = [*tried.args, *tried.kwargs.values()]
    after = [*args, *kwargs.values()]
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        if not _is_plain(old) or difference(old, new, 0.0) is None:
            continue
        try:
            names = list(inspect.signature(function).parameters)
            return f"`{(names[: len(args)] + list(kwargs))[place]}`"
        except (TypeError, ValueError, IndexError):
            return f"argument {place + 1}"
    return None


def _is_plain(value: Any) -> bool:
    """Tell whether a value is numbers, words or containers of them, whose change can be seen."""
    if isinstance(value, Mapping):
        return all(_is_plain(entry) for entry in value.values())
    if isinstance(value, (list, tuple, set)):
        return all(_is_plain(entry) for entry in value)
    known = (bool, int, float, complex, str, np.generic, np.ndarray)
    torch = sys.modules.get("torch")
    return isinstance(value, known if torch is None else (*known, torch.Tensor))


def _has_no_body(attempt: Any) -> bool:
    """Tell whether a function consists of nothing but a docstring, ``pass`` or ``...``."""
    code = getattr(attempt, "__code__", None)
    return code is not None and not code.co_names and len(code.co_code) <= 12


def _raised(error: BaseException) -> str:
    """Return what was raised, and where in the learner's own code."""
    name, text = type(error).__name__, str(error).strip().split("\n")[0]
    frames = [*traceback.walk_tb(error.__traceback__)]
    # A cell or a script is the main module, wherever packages lie; a file of the learner's is not.
    own = [(frame, line) for frame, line in frames if frame.f_globals.get("__name__") == "__main__"]
    own = own or [
        (frame, line)
        for frame, line in frames
        if not frame.f_code.co_filename.startswith((_LIBRARY, _PYTHON, "<__array_function__"))
        and not re.search("(site|dist)-packages", frame.f_code.co_filename)
    ]
    where = f" in line {own[-1][1]} of `{own[-1][0].f_code.co_name}`" if own else ""
    return f"your code raised {name}{where}" + (f": {text[:200]}" if text else ".")
