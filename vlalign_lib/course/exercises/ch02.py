"""Exercises of chapter 02: early and late fusion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.course._exercise import Case, Exercise, Mistake, case

Array = NDArray[Any]


# -- standardise_blocks ----------------------------------------------------------------------


def _block_cases() -> Sequence[Case]:
    rng = np.random.default_rng(0)
    x_train, y_train = rng.normal(3, [1, 4, 0.5], (20, 3)), rng.normal(-2, [2, 1], (20, 2))
    x, y = rng.normal(4, 2, (6, 3)), rng.normal(0, 3, (6, 2))
    constant = x_train.copy()
    constant[:, 1] = 7.0
    return [
        case(x_train, y_train, x, y, label="two blocks in the same unit"),
        case(x_train, y_train / 1000, x, y / 1000, label="the second block in other units"),
        case(x_train, y_train, x[:1], y[:1], label="a single new item"),
        case(constant, y_train, x, y, label="a column that never changes in training"),
    ]


def _scale(train: Array, new: Array, *, ddof: int = 0) -> Array:
    deviation = train.std(axis=0, ddof=ddof)
    return (new - train.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


def _standardise_blocks(x_train: Array, y_train: Array, x: Array, y: Array) -> Array:
    return np.hstack([_scale(x_train, x), _scale(y_train, y)])


def _one_scale(x_train: Array, y_train: Array, x: Array, y: Array) -> Array:
    train, new = np.hstack([x_train, y_train]), np.hstack([x, y])
    return (new - train.mean(axis=0)) / train.std()


def _one_scale_a_block(x_train: Array, y_train: Array, x: Array, y: Array) -> Array:
    return np.hstack([(b - t.mean(axis=0)) / t.std() for t, b in ((x_train, x), (y_train, y))])


def _by_variance(x_train: Array, y_train: Array, x: Array, y: Array) -> Array:
    parts = []
    for train, new in ((x_train, x), (y_train, y)):
        spread = train.var(axis=0)
        parts.append((new - train.mean(axis=0)) / np.where(spread > 0, spread, 1.0))
    return np.hstack(parts)


def _uncentred(x_train: Array, y_train: Array, x: Array, y: Array) -> Array:
    centred = _standardise_blocks(x_train, y_train, x, y)
    origin = _standardise_blocks(x_train, y_train, 0 * x[:1], 0 * y[:1])
    return centred - origin


def _divided_by_zero(x_train: Array, y_train: Array, x: Array, y: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.hstack(
            [(b - t.mean(axis=0)) / t.std(axis=0) for t, b in ((x_train, x), (y_train, y))]
        )


# -- drop_a_view -----------------------------------------------------------------------------

Dropped = tuple[Array, Array, Array, Array]


def _hide(x: Array, y: Array, has_x: Array, has_y: Array) -> Dropped:
    return np.where(has_x[:, None], x, 0.0), np.where(has_y[:, None], y, 0.0), has_x, has_y


def _drop_a_view(
    x: Array, y: Array, p: float, rng: np.random.Generator, training: bool = True
) -> Dropped:
    if not training:
        p = 0.0
    draw = rng.random(len(x))
    return _hide(x, y, draw >= p / 2, (draw < p / 2) | (draw >= p))


def _two_coins(
    x: Array, y: Array, p: float, rng: np.random.Generator, training: bool = True
) -> Dropped:
    p = p if training else 0.0
    return _hide(x, y, rng.random(len(x)) >= p / 2, rng.random(len(x)) >= p / 2)


def _one_coin(
    x: Array, y: Array, p: float, rng: np.random.Generator, training: bool = True
) -> Dropped:
    draw = np.full(len(x), rng.random())
    p = p if training else 0.0
    return _hide(x, y, draw >= p / 2, (draw < p / 2) | (draw >= p))


def _at_test_time(
    x: Array, y: Array, p: float, rng: np.random.Generator, training: bool = True
) -> Dropped:
    return _drop_a_view(x, y, p, rng)


def _one_sided(
    x: Array, y: Array, p: float, rng: np.random.Generator, training: bool = True
) -> Dropped:
    p = p if training else 0.0
    return _hide(x, y, np.ones(len(x), dtype=bool), rng.random(len(x)) >= p)


def _twice_as_often(
    x: Array, y: Array, p: float, rng: np.random.Generator, training: bool = True
) -> Dropped:
    return _drop_a_view(x, y, min(1.0, 2 * p), rng, training)


def _no_mask(
    x: Array, y: Array, p: float, rng: np.random.Generator, training: bool = True
) -> Dropped:
    x, y, _, _ = _drop_a_view(x, y, p, rng, training)
    return x, y, np.ones(len(x), dtype=bool), np.ones(len(y), dtype=bool)


def _mask_only(
    x: Array, y: Array, p: float, rng: np.random.Generator, training: bool = True
) -> Dropped:
    _, _, has_x, has_y = _drop_a_view(x, y, p, rng, training)
    return x, y, has_x, has_y


def _in_place(
    x: Array, y: Array, p: float, rng: np.random.Generator, training: bool = True
) -> Dropped:
    _, _, has_x, has_y = _drop_a_view(x, y, p, rng, training)
    x[~has_x], y[~has_y] = 0.0, 0.0
    return x, y, has_x, has_y


_FAULTS = {
    "views changed in place": (
        "The arrays that came in are overwritten, so the training data itself goes dark a little "
        "more in every epoch. Return copies; `np.where` makes them."
    ),
    "dropping at test time": (
        "With `training=False` rows are still taken away. Dropout is a rehearsal: at test time "
        "what is missing is missing, and nothing else."
    ),
    "both views dropped at once": (
        "Some items lose both views, so the model is asked about nothing. Two separate coins do "
        "that; throw one, and let it decide between both, only the first and only the second."
    ),
    "one mask for the whole batch": (
        "Every item of a batch loses the same view, so no batch shows the three situations side "
        "by side. Draw once an item: `rng.random(len(x))`."
    ),
    "only one view is ever dropped": (
        "Only one of the two views goes missing, so the model rehearses one accident of two. "
        "Half of the share belongs to each view."
    ),
    "the wrong share": (
        "The share of items that lose a view is not `p`. It is `p` altogether, `p / 2` on each "
        "side."
    ),
    "rows hidden but not reported": (
        "Rows are set to zero, but the masks say that everything is there: a standardised zero "
        "is the mean, a legal value, and the model cannot tell. Return the masks."
    ),
    "reported but not hidden": (
        "The masks say which rows are gone, but the numbers are still there for whoever forgets "
        "to look at the masks. Set the rows to zero."
    ),
}


def _dropout_fault(attempt: Callable[..., Any]) -> tuple[str, str] | None:
    """Return the first fault of an attempt, as (name, message), or None."""
    n, p = 4000, 0.4
    rng = np.random.default_rng(0)
    x, y = rng.normal(5, 1, (n, 3)), rng.normal(5, 1, (n, 2))
    given = x.copy(), y.copy()
    out = attempt(x, y, p, np.random.default_rng(1))
    if out is None or out is Ellipsis:
        raise NotImplementedError
    complaint = _not_four(out, n)
    if complaint:
        return "form", complaint
    if not (np.array_equal(x, given[0]) and np.array_equal(y, given[1])):
        return _named("views changed in place")
    new_x, new_y, has_x, has_y = (np.asarray(part) for part in out)
    calm = attempt(*given, p, np.random.default_rng(1), training=False)
    complaint = _not_four(calm, n)
    if complaint:
        return "form", f"With `training=False`: {complaint}"
    if not (
        np.array_equal(calm[0], x) and np.array_equal(calm[1], y) and all(map(np.all, calm[2:]))
    ):
        return _named("dropping at test time")
    zero_x, zero_y = (new_x == 0).all(axis=1), (new_y == 0).all(axis=1)
    gone_x, gone_y = zero_x | ~has_x, zero_y | ~has_y
    if (gone_x & gone_y).any() and not (gone_x & gone_y).all():
        return _named("both views dropped at once")
    batches = [attempt(*given, p, np.random.default_rng(seed)) for seed in range(2, 12)]
    if not (gone_x | gone_y).any() and all(np.all(part) for b in batches for part in b[2:]):
        return "form", "nothing is ever taken away, although p is above zero."
    if all(_is_uniform(part) for batch in (out, *batches) for part in batch[2:]) and (
        _is_uniform(zero_x) and _is_uniform(zero_y)
    ):
        return _named("one mask for the whole batch")
    if not (gone_x.any() and gone_y.any()):
        return _named("only one view is ever dropped")
    # five standard deviations of a share of 4,000 coin throws
    if abs((gone_x | gone_y).mean() - p) > 0.04 or abs(gone_x.mean() - p / 2) > 0.035:
        return _named("the wrong share")
    if has_x.all() and has_y.all():
        return _named("rows hidden but not reported")
    if not (zero_x.any() and zero_y.any()):
        return _named("reported but not hidden")
    if not (np.array_equal(zero_x, ~has_x) and np.array_equal(zero_y, ~has_y)):
        return "form", "the masks and the rows of zeros do not say the same."
    if not (np.array_equal(new_x[has_x], x[has_x]) and np.array_equal(new_y[has_y], y[has_y])):
        return "form", "rows that are there should come back unchanged."
    again = attempt(*given, p, np.random.default_rng(1))
    if not np.array_equal(np.asarray(again[2]), has_x):
        return "form", "the same `rng` should give the same masks: draw from `rng` alone."
    return None


def _named(name: str) -> tuple[str, str]:
    return name, _FAULTS[name]


def _is_uniform(mask: Any) -> bool:
    return bool(np.all(mask) or not np.any(mask))


def _not_four(out: Any, n: int) -> str | None:
    if not isinstance(out, (tuple, list)) or len(out) != 4:
        return "expected four things: x and y with rows set to zero, and the masks has_x and has_y."
    shapes = [np.shape(part) for part in out]
    if shapes != [(n, 3), (n, 2), (n,), (n,)]:
        return f"for views of shape ({n}, 3) and ({n}, 2): got four arrays of shapes {shapes}."
    if any(np.asarray(part).dtype != bool for part in out[2:]):
        return "the masks should be booleans, true where the view is still there."
    return None


def _check_dropout(attempt: Callable[..., Any]) -> str | None:
    fault = _dropout_fault(attempt)
    return None if fault is None else fault[1]


def _makes(name: str) -> Callable[[Any], bool]:
    def recognise(attempt: Any) -> bool:
        fault = _dropout_fault(attempt)
        return fault is not None and fault[0] == name

    return recognise


def _dropout_mistakes() -> tuple[Mistake, ...]:
    attempts = {
        "both views dropped at once": _two_coins,
        "one mask for the whole batch": _one_coin,
        "dropping at test time": _at_test_time,
        "only one view is ever dropped": _one_sided,
        "the wrong share": _twice_as_often,
        "rows hidden but not reported": _no_mask,
        "reported but not hidden": _mask_only,
        "views changed in place": _in_place,
    }
    return tuple(
        Mistake(name, attempt, _FAULTS[name], _makes(name)) for name, attempt in attempts.items()
    )


# -- fill_from_neighbours --------------------------------------------------------------------


def _neighbour_cases() -> Sequence[Case]:
    rng = np.random.default_rng(0)
    x_train, y_train = rng.normal(size=(12, 3)), rng.normal(size=(12, 3))
    return [
        case(
            np.array([[0.0], [1.0], [5.0]]), np.array([[10.0], [20.0], [90.0]]),
            np.array([[0.4]]), 2, label="three numbers on a line (k = 2)",
        ),
        case(x_train, y_train, x_train[:4] + 0.1, 1, label="twelve items (k = 1)"),
        case(x_train, y_train, rng.normal(size=(5, 3)), 3, label="twelve items (k = 3)"),
    ]  # fmt: skip


def _order(x_train: Array, x: Array) -> Array:
    distance = ((x[:, None, :] - x_train[None, :, :]) ** 2).sum(axis=2)
    return np.argsort(distance, axis=1, kind="stable")


def _fill_from_neighbours(x_train: Array, y_train: Array, x: Array, k: int) -> Array:
    return np.asarray(y_train[_order(x_train, x)[:, :k]].mean(axis=1))


EXERCISES = (
    Exercise(
        id="ch02.break_even",
        task=(
            "A two-view model is right on 0.96 of the items while nothing is missing, and on "
            "0.66 of those that have lost their right half. The left-only model is right on "
            "0.84. From which share of lost right halves on is the left-only model the better one?"
        ),
        hint=(
            "On a mixed test set the two-view model's accuracy is a weighted mean of 0.96 and "
            "0.66. Where does it cross 0.84?",
            "Solve (1 − ε) · 0.96 + ε · 0.66 = 0.84 for ε.",
        ),
        solution=0.4,
        mistakes=(
            Mistake(
                "the share that is left",
                0.6,
                "This is the share of items that still have both halves. The question asks for "
                "the others.",
            ),
            Mistake(
                "a difference of accuracies",
                0.12,
                "This is what the second view is worth while it is there. Divide it by what the "
                "two-view model loses altogether.",
            ),
            Mistake(
                "the fall below the control",
                0.18,
                "This is how far the two-view model falls below the control when everything is "
                "missing: a difference of accuracies, not yet a share of items.",
            ),
            Mistake(
                "a relative difference",
                0.125,
                "This divides by the accuracy itself. Divide by the whole fall, from nothing "
                "missing to all missing.",
            ),
            Mistake("percent instead of a share", 40.0, "A share lies between zero and one."),
        ),
        praise="Below this share the second view earns its keep; above it, it costs.",
    ),
    Exercise(
        id="ch02.heard_share",
        task=(
            "A ridge regression with λ = 10 sees 1,000 items. One column has variance 1 and is "
            "uncorrelated with the others. Someone stores it in other units: every number is "
            "divided by 1,000. By which factor does the ridge now shrink this column's part of "
            "the answer?"
        ),
        hint=(
            "The chapter's shrinking factor holds for one column: put in n = 1,000, variance 1, "
            "λ = 10 and the factor a by which the column was multiplied.",
            "a = 1/1000, so a² n = 0.001. The factor is 0.001 / (0.001 + 10).",
        ),
        solution=0.001 / 10.001,
        mistakes=(
            Mistake(
                "the factor not squared",
                1 / 11,
                "A variance changes by the square of the factor: a² and not a.",
            ),
            Mistake(
                "the number of items forgotten",
                1e-6 / (1e-6 + 10),
                "The data speak with n times the variance against λ; here n is 1,000.",
            ),
            Mistake(
                "the units forgotten",
                1000 / 1010,
                "This is the factor before the units were changed: one per cent off, and nobody "
                "would notice.",
            ),
            Mistake(
                "the wrong direction",
                1e9 / (1e9 + 10),
                "This is the column multiplied by 1,000. Divided by 1,000 it grows quieter.",
            ),
            Mistake(
                "what is lost instead of what is left",
                10 / 10.001,
                "This is the share that the ridge takes away. Asked is the factor that is left.",
            ),
        ),
        praise="One ten-thousandth: the view is in the data and not in the answer.",
    ),
    Exercise(
        id="ch02.standardise_blocks",
        task=(
            "Write `standardise_blocks(x_train, y_train, x, y)`: the rows of `x` and `y` side by "
            "side, each column with the mean taken off and divided by the standard deviation "
            "(with n in the denominator) that it has in training. A column that is constant in "
            "training is divided by 1."
        ),
        hint=(
            "Write a function for one block, `scaled(train, new)`, and call it twice; "
            "`np.hstack` puts the results side by side.",
            "`mean, deviation = train.mean(axis=0), train.std(axis=0)`, then "
            "`np.where(deviation > 0, deviation, 1.0)` keeps a constant column from dividing by "
            "zero.",
        ),
        solution=_standardise_blocks,
        cases=_block_cases,
        mistakes=(
            Mistake(
                "one scale for both blocks",
                _one_scale,
                "One standard deviation is computed from all numbers together, so the louder "
                "block decides and the other one stays as quiet as it was. Each column needs its "
                "own: `std(axis=0)`.",
            ),
            Mistake(
                "one scale a block",
                _one_scale_a_block,
                "Each block has a single scale. That mends the units between the views, but a "
                "faint column stays faint within its own. Here each column gets its own: "
                "`std(axis=0)`.",
            ),
            Mistake(
                "statistics from the test set",
                lambda x_train, y_train, x, y: _standardise_blocks(x, y, x, y),
                "The means and deviations come from the rows to be scaled. A single new item "
                "would become all zeros, and the model was trained on another scale. Use the "
                "training rows.",
            ),
            Mistake(
                "statistics from training and test together",
                lambda x_train, y_train, x, y: _standardise_blocks(
                    np.vstack([x_train, x]), np.vstack([y_train, y]), x, y
                ),
                "The test rows take part in the means and deviations: a leak, if a small one. Use "
                "the training rows alone.",
            ),
            Mistake(
                "divided by the variance",
                _by_variance,
                "The variance has the square of the unit, so that what was too quiet becomes too "
                "loud. Divide by the standard deviation.",
            ),
            Mistake(
                "the mean left in",
                _uncentred,
                "The columns are scaled but not centred: zero is then not the mean, and a missing "
                "view filled with zeros is no mean imputation.",
            ),
            Mistake(
                "division by zero",
                _divided_by_zero,
                "A column that is constant in training has deviation zero. Divide it by 1: it "
                "tells nothing, and it should do so quietly.",
            ),
            Mistake(
                "n − 1 in the denominator",
                lambda x_train, y_train, x, y: np.hstack(
                    [_scale(x_train, x, ddof=1), _scale(y_train, y, ddof=1)]
                ),
                "Correct with another convention: this course and scikit-learn divide by n, "
                "which is `ddof=0`.",
            ),
        ),
        praise="Now volts and millivolts give the same columns.",
    ),
    Exercise(
        id="ch02.drop_a_view",
        task=(
            "Write `drop_a_view(x, y, p, rng, training=True)`: a share `p` of the items loses one "
            "view, half of them the first, half the second, never both. Return the two views with "
            "zeros in the rows taken away, and two boolean masks that say what is left. With "
            "`training=False` nothing is taken away."
        ),
        hint=(
            "One number an item decides everything: `draw = rng.random(len(x))`. It falls below "
            "p / 2, between p / 2 and p, or above.",
            "`has_x = draw >= p / 2` and `has_y = (draw < p / 2) | (draw >= p)`; then "
            "`np.where(has_x[:, None], x, 0.0)`. Set p to zero when not training.",
        ),
        solution=_drop_a_view,
        check=_check_dropout,
        mistakes=_dropout_mistakes(),
        praise="Three situations, one coin: the model now rehearses what may happen.",
    ),
    Exercise(
        id="ch02.fill_from_neighbours",
        task=(
            "Write `fill_from_neighbours(x_train, y_train, x, k)`: for every row of `x` find the "
            "k nearest rows of `x_train` (Euclidean distance) and return the mean of their "
            "partners in `y_train`."
        ),
        hint=(
            "All distances at once: `((x[:, None, :] - x_train[None, :, :]) ** 2).sum(axis=2)` is "
            "(new items, training items).",
            "`np.argsort(distance, axis=1)[:, :k]` are the neighbours; indexing `y_train` with "
            "them gives (new items, k, q), and the mean goes over axis 1.",
        ),
        solution=_fill_from_neighbours,
        cases=_neighbour_cases,
        mistakes=(
            Mistake(
                "the mean of all",
                lambda x_train, y_train, x, k: np.repeat(
                    y_train.mean(axis=0, keepdims=True), len(x), axis=0
                ),
                "Every item gets the same stand-in, the mean: that is what we have already. Let "
                "`x` choose.",
            ),
            Mistake(
                "the neighbours themselves",
                lambda x_train, y_train, x, k: x_train[_order(x_train, x)[:, :k]].mean(axis=1),
                "These are the neighbours' left halves. Asked are their partners: index `y_train`.",
            ),
            Mistake(
                "the farthest instead of the nearest",
                lambda x_train, y_train, x, k: y_train[_order(x_train, x)[:, -k:]].mean(axis=1),
                "These are the farthest ones. `argsort` puts the smallest distance first.",
            ),
            Mistake(
                "the nearest left out",
                lambda x_train, y_train, x, k: y_train[_order(x_train, x)[:, 1 : k + 1]].mean(
                    axis=1
                ),
                "The nearest one is skipped, as one does when an item is among its own "
                "neighbours. A test item is not in the training set.",
            ),
            Mistake(
                "only the nearest",
                lambda x_train, y_train, x, k: y_train[_order(x_train, x)[:, 0]],
                "Only one neighbour is asked, whatever k is.",
            ),
        ),
        praise="A stand-in that depends on what is there: what $x$ says about $y$.",
    ),
    Exercise(
        id="ch02.three_copies",
        task=(
            "Ngiam and colleagues train on three copies of the data: one with both views, one "
            "with only the first, one with only the second. Which p makes `modality_dropout` show "
            "the three situations equally often?"
        ),
        hint=(
            "p is the share of items that lose a view, whichever it is.",
            "Two of the three copies have lost one.",
        ),
        solution=2 / 3,
        mistakes=(
            Mistake(
                "one third",
                1 / 3,
                "With p = 1/3 two thirds of the items keep both views, and one sixth loses each. "
                "p counts both kinds of loss together.",
            ),
            Mistake(
                "one half",
                1 / 2,
                "With p = 1/2 half of the items keep both views and a quarter loses each.",
            ),
        ),
        tolerance=5e-3,
        praise="Two of three copies have lost a view.",
    ),
)
