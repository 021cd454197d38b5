"""Exercises of chapter 00: start here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.course._budget import Budget, TierCost
from vlalign_lib.course._exercise import Case, Exercise, Mistake, case

Draw = Callable[[int], NDArray[Any]]


def _fitting_tiers(budget: Budget, seconds: float, memory_mb: float) -> list[str]:
    return [
        name
        for name, cost in budget.tiers.items()
        if cost.seconds <= seconds and (cost.memory_mb or 0) <= memory_mb
    ]


def _fitting_cases() -> Sequence[Case]:
    small = Budget("ch99", {"cpu": TierCost(40, 500)})
    large = Budget(
        "ch99",
        {"cpu": TierCost(40, 500), "colab": TierCost(900, 6000), "full": TierCost(7200, 500)},
    )
    return [
        case(large, 3600, 8000, label="three tiers, an hour and 8,000 MiB"),
        case(large, 10_000, 1000, label="three tiers, plenty of time and 1,000 MiB"),
        case(large, 900, 6000, label="three tiers, where one fits exactly"),
        case(small, 10, 8000, label="one tier, and too little time"),
    ]


def _mean_cases() -> Sequence[Case]:
    return [case([3.0, 1.0, 2.0, 10.0]), case([5.0]), case([1.0, 1.0, 5.0])]


def _same(draw: Draw, first: int, second: int) -> bool:
    return bool(np.array_equal(np.asarray(draw(first)), np.asarray(draw(second))))


def _draws_three(draw: Draw) -> bool:
    return np.shape(draw(0)) == (3,) and bool(np.isfinite(np.asarray(draw(0), dtype=float)).all())


def _judge_noise(draw: Draw) -> str | None:
    shape = np.shape(draw(0))
    if shape != (3,):
        return f"three numbers are asked for, shape (3,); got shape {shape}."
    if not np.isfinite(np.asarray(draw(0), dtype=float)).all():
        return "the numbers should be finite."
    if _same(draw, 0, 1):
        return "seed 0 and seed 1 give the same numbers."
    if not _same(draw, 7, 7):
        return "seed 7 gives other numbers the second time."
    draws = [np.asarray(draw(seed), dtype=float) for seed in range(6)]
    if not any(np.ptp(drawn) for drawn in draws):
        return "one number stands there three times: draw three."
    if all(np.allclose(np.diff(drawn), np.diff(draws[0])) for drawn in draws):
        return "the numbers of seed 1 are those of seed 0, moved: draw them with a generator."
    return None


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        id="ch00.fitting_tiers",
        task="Write `fitting_tiers(budget, seconds, memory_mb)`: the names of the tiers of a "
        "budget that take at most so long and at most so much memory, in the budget's order.",
        hint=(
            "`budget.tiers` is a dictionary from a tier's name to its cost.",
            "A cost has `seconds` and `memory_mb`. Compare both, with <=.",
        ),
        solution=_fitting_tiers,
        cases=_fitting_cases,
        praise="That is how to plan a lesson.",
        mistakes=(
            Mistake(
                "only the time",
                lambda budget, seconds, memory_mb: [
                    name for name, cost in budget.tiers.items() if cost.seconds <= seconds
                ],
                "A tier that is quick enough may still need more memory than there is.",
            ),
            Mistake(
                "only the memory",
                lambda budget, seconds, memory_mb: [
                    name for name, cost in budget.tiers.items() if cost.memory_mb <= memory_mb
                ],
                "A tier that fits into memory may still take too long.",
            ),
            Mistake(
                "less instead of at most",
                lambda budget, seconds, memory_mb: [
                    name
                    for name, cost in budget.tiers.items()
                    if cost.seconds < seconds and cost.memory_mb < memory_mb
                ],
                "What fits exactly still fits: compare with <=.",
            ),
            Mistake(
                "either instead of both",
                lambda budget, seconds, memory_mb: [
                    name
                    for name, cost in budget.tiers.items()
                    if cost.seconds <= seconds or cost.memory_mb <= memory_mb
                ],
                "Both limits count: join the comparisons with `and`.",
            ),
        ),
    ),
    Exercise(
        id="ch00.mean",
        task="Write `mean(values)`, the arithmetic mean of a list of numbers.",
        hint="Add them up, then divide by how many there are.",
        solution=lambda values: sum(values) / len(values),
        cases=_mean_cases,
        praise="Now you have seen a check say no and yes.",
        mistakes=(
            Mistake(
                "the sum instead of the mean",
                sum,
                "The numbers are added up but not divided by how many there are.",
            ),
            Mistake(
                "the median instead of the mean",
                lambda values: float(np.median(values)),
                "That is the middle one. The mean weighs every number.",
            ),
            Mistake(
                "divided by one less",
                lambda values: sum(values) / max(len(values) - 1, 1),
                "One less belongs into a variance; a mean divides by the number itself.",
            ),
            Mistake(
                "rounded down",
                lambda values: sum(values) // len(values),
                "`//` drops what is after the point; a mean need not be whole. Divide with `/`.",
            ),
        ),
    ),
    Exercise(
        id="ch00.noise",
        task="Write `noise(seed)`: three random numbers, the same ones whenever the seed is the "
        "same, and others when it is another.",
        hint="`np.random.default_rng(seed)` makes a generator; its `normal(size=3)` draws.",
        solution=lambda seed: np.random.default_rng(seed).normal(size=3),
        check=_judge_noise,
        praise="Every experiment of the book draws its randomness this way.",
        mistakes=(
            Mistake(
                "a new draw every time",
                lambda seed: np.random.default_rng().normal(size=3),
                "Called twice with one seed it gives different numbers: pass the seed on to the "
                "generator.",
                recognise=lambda draw: _draws_three(draw) and not _same(draw, 7, 7),
            ),
            Mistake(
                "the seed is not used",
                lambda seed: np.random.default_rng(0).normal(size=3),
                "Every seed gives the same numbers: the generator is made with a fixed one.",
                recognise=lambda draw: _draws_three(draw) and _same(draw, 0, 1),
            ),
        ),
    ),
    Exercise(
        id="ch00.held_out",
        task="How many pairs of the digits may no method see before the final measurement?",
        hint="`len(digits.split(name))` counts the pairs of one part; the names are 'train', "
        "'val' and 'test'.",
        solution=797,
        praise="What is used to choose anything, the validation part included, no longer counts "
        "as unseen.",
        mistakes=(
            Mistake("all pairs", 1797, "That is the whole set, all parts together."),
            Mistake("the training part", 800, "That part is what methods learn from."),
            Mistake(
                "the validation part",
                200,
                "That part is looked at, to choose settings. Another one waits until the end.",
            ),
            Mistake(
                "validation and test together",
                997,
                "Methods may look at the validation part, to choose settings.",
            ),
            Mistake(
                "training and validation together",
                1000,
                "These two are what methods may look at. The question is what remains.",
            ),
        ),
    ),
)
