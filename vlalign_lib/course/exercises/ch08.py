"""Exercises of chapter 08: the retrieval table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from vlalign_lib.course._exercise import Case, Exercise, Mistake, case

Matrix = NDArray[np.float64]
Row = tuple[float, float, float]
Interval = tuple[float, float]


# Exercise 1: averages that rounding explains.


def _thousandths(row: Row) -> tuple[int, int, int]:
    i2t, t2i, mean = (round(1000 * value) for value in row)
    return i2t, t2i, mean


def _audit_by(rule: Callable[[int, int], int]) -> Callable[[Sequence[Row]], list[int]]:
    def audit(rows: Sequence[Row]) -> list[int]:
        parts = (_thousandths(row) for row in rows)
        return [i for i, (a, b, mean) in enumerate(parts) if rule(a, b) != mean]

    return audit


_audit = _audit_by(lambda a, b: (a + b + 1) // 2)
_half_to_even = _audit_by(lambda a, b: round((a + b) / 2))
_cut_off = _audit_by(lambda a, b: (a + b) // 2)


def _not_rounded(rows: Sequence[Row]) -> list[int]:
    parts = (_thousandths(row) for row in rows)
    return [i for i, (a, b, mean) in enumerate(parts) if a + b != 2 * mean]


def _with_patience(rows: Sequence[Row]) -> list[int]:
    parts = (_thousandths(row) for row in rows)
    return [i for i, (a, b, mean) in enumerate(parts) if abs(a + b - 2 * mean) > 2]


def _as_decimals(rows: Sequence[Row]) -> list[int]:
    return [i for i, (a, b, mean) in enumerate(rows) if round((a + b) / 2, 3) != mean]


def _those_that_fit(rows: Sequence[Row]) -> list[int]:
    return [i for i in range(len(rows)) if i not in _audit(rows)]


def _audit_cases() -> Sequence[Case]:
    clean = [(0.412, 0.436, 0.424), (0.515, 0.500, 0.508), (0.302, 0.291, 0.297)]
    down = [(0.412, 0.437, 0.424), (0.500, 0.501, 0.501), (0.303, 0.300, 0.301)]
    wrong = [(0.610, 0.620, 0.615), (0.333, 0.334, 0.335), (0.250, 0.252, 0.261)]
    return [
        case(clean, label="three rows that fit"),
        case(down, label="halves that go up or down"),
        case(wrong, label="one average a little off and one far off"),
        case([], label="no rows"),
    ]


# Exercise 3: the interval of a paired difference.


def _interval(mean: float, half: float) -> Interval:
    return (mean - half, mean + half)


def _paired(a: Sequence[float], b: Sequence[float]) -> Interval:
    d = np.subtract(a, b)
    half = stdtrit(len(d) - 1, 0.975) * d.std(ddof=1) / math.sqrt(len(d))
    return _interval(float(d.mean()), float(half))


def _unpaired(a: Sequence[float], b: Sequence[float]) -> Interval:
    n = len(a)
    error = math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / n)
    return _interval(float(np.mean(a) - np.mean(b)), float(stdtrit(n - 1, 0.975) * error))


def _unpaired_pooled(a: Sequence[float], b: Sequence[float]) -> Interval:
    n = len(a)
    error = math.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / n)
    return _interval(float(np.mean(a) - np.mean(b)), float(stdtrit(2 * n - 2, 0.975) * error))


def _by_the_normal(a: Sequence[float], b: Sequence[float]) -> Interval:
    d = np.subtract(a, b)
    half = ndtri(0.975) * d.std(ddof=1) / math.sqrt(len(d))
    return _interval(float(d.mean()), float(half))


def _spread_over_n(a: Sequence[float], b: Sequence[float]) -> Interval:
    d = np.subtract(a, b)
    half = stdtrit(len(d) - 1, 0.975) * d.std() / math.sqrt(len(d))
    return _interval(float(d.mean()), float(half))


def _of_one_seed(a: Sequence[float], b: Sequence[float]) -> Interval:
    d = np.subtract(a, b)
    return _interval(float(d.mean()), float(stdtrit(len(d) - 1, 0.975) * d.std(ddof=1)))


def _one_sided(a: Sequence[float], b: Sequence[float]) -> Interval:
    d = np.subtract(a, b)
    half = stdtrit(len(d) - 1, 0.95) * d.std(ddof=1) / math.sqrt(len(d))
    return _interval(float(d.mean()), float(half))


def _turned(a: Sequence[float], b: Sequence[float]) -> Interval:
    return _paired(b, a)


def _paired_cases() -> Sequence[Case]:
    rng = np.random.default_rng(8)
    cases = []
    for n, gap, label in ((5, 0.02, "five seeds"), (3, -0.01, "three seeds"), (12, 0.0, "twelve")):
        shared = rng.normal(0.5, 0.05, size=n)
        a, b = (shared + rng.normal(shift, 0.01, size=n) for shift in (gap, 0.0))
        cases.append(case(a.round(4).tolist(), b.round(4).tolist(), label=label))
    return cases


# Exercise 4: Holm's correction.


def _steps(p: Matrix, order: NDArray[np.intp]) -> Matrix:
    steps: Matrix = p[order] * np.arange(len(p), 0, -1)
    return steps


def _back(values: Matrix, order: NDArray[np.intp]) -> list[float]:
    found = np.empty_like(values)
    found[order] = values
    return [float(value) for value in found]


def _holm(p: Sequence[float]) -> list[float]:
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    return _back(np.maximum.accumulate(np.minimum(1, _steps(values, order))), order)


def _bonferroni(p: Sequence[float]) -> list[float]:
    return [min(1.0, len(p) * value) for value in p]


def _not_monotone(p: Sequence[float]) -> list[float]:
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    return _back(np.minimum(1, _steps(values, order)), order)


def _left_in_order(p: Sequence[float]) -> list[float]:
    return sorted(_holm(p))


def _not_cut_off(p: Sequence[float]) -> list[float]:
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    return _back(np.maximum.accumulate(_steps(values, order)), order)


def _counted_upwards(p: Sequence[float]) -> list[float]:
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    steps = values[order] * np.arange(1, len(values) + 1)
    return _back(np.maximum.accumulate(np.minimum(1, steps)), order)


def _false_discovery(p: Sequence[float]) -> list[float]:
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    steps = values[order] * len(values) / np.arange(1, len(values) + 1)
    return _back(np.minimum(1, np.minimum.accumulate(steps[::-1])[::-1]), order)


def _holm_cases() -> Sequence[Case]:
    return [
        case([0.01, 0.04, 0.03], label="[0.01, 0.04, 0.03]"),
        case([0.02, 0.5, 0.012, 0.011], label="[0.02, 0.5, 0.012, 0.011]"),
        case([0.9, 0.4, 0.001, 0.001, 0.6], label="[0.9, 0.4, 0.001, 0.001, 0.6]"),
        case([0.03], label="a single one"),
    ]


# Exercise 5: a method of one's own.


class _Centres:
    """Each item by how near it lies to the centre of each class, in its own view."""

    def __init__(self, sharpness: float = 5.0) -> None:
        self.sharpness = sharpness

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"sharpness": self.sharpness}

    def set_params(self, **parameters: Any) -> _Centres:
        for name, value in parameters.items():
            setattr(self, name, value)
        return self

    def fit(self, images: Any, texts: Any, labels: Any = None) -> _Centres:
        self.views_ = [self._learn(view, labels) for view in (images, texts)]
        return self

    def _learn(self, view: Any, labels: Any) -> tuple[Matrix, float, Matrix]:
        rows = np.asarray(view, dtype=np.float64).reshape(len(view), -1)
        mean = rows.mean(axis=0)
        rows = rows - mean
        scale = float(np.sqrt((rows**2).sum(axis=1).mean()))
        classes = np.unique(labels[labels >= 0])
        return mean, scale, np.stack([rows[labels == c].mean(axis=0) for c in classes]) / scale

    def _place(self, view: Any, which: int) -> Matrix:
        mean, scale, centres = self.views_[which]
        rows = (np.asarray(view, dtype=np.float64).reshape(len(view), -1) - mean) / scale
        squared = ((rows[:, None] - centres) ** 2).sum(axis=2)
        nearness = np.exp(-self.sharpness * (squared - squared.min(axis=1, keepdims=True)))
        found: Matrix = nearness / nearness.sum(axis=1, keepdims=True)
        return found

    def embed_images(self, images: Any) -> Matrix:
        return self._place(images, 0)

    def embed_texts(self, texts: Any) -> Matrix:
        return self._place(texts, 1)


class _TestStatistics(_Centres):
    def _place(self, view: Any, which: int) -> Matrix:
        found = super()._place(view, which)
        return (found - found.mean(axis=0)) / (found.std(axis=0) + 1e-12)


class _TwoSpaces(_Centres):
    """Principal axes of each view: two spaces that have nothing to do with each other."""

    def _learn(self, view: Any, labels: Any) -> tuple[Matrix, float, Matrix]:
        mean, scale, _ = super()._learn(view, labels)
        rows = np.asarray(view, dtype=np.float64).reshape(len(view), -1) - mean
        return mean, scale, np.linalg.svd(rows, full_matrices=False)[2][:4]

    def _place(self, view: Any, which: int) -> Matrix:
        mean, scale, axes = self.views_[which]
        rows = np.asarray(view, dtype=np.float64).reshape(len(view), -1) - mean
        found: Matrix = rows @ axes.T / scale
        return found[:, [2, 3, 1, 0]] if which else found


class _TwoWidths(_Centres):
    def embed_texts(self, texts: Any) -> Matrix:
        return super().embed_texts(texts)[:, :-1]


class _FitReturnsNothing(_Centres):
    def fit(self, images: Any, texts: Any, labels: Any = None) -> Any:
        super().fit(images, texts, labels)


class _Remembers(_Centres):
    """Texts lie where the pictures were put that were embedded last, row by row."""

    def embed_images(self, images: Any) -> Matrix:
        self.last_ = super().embed_images(images)
        return self.last_

    def embed_texts(self, texts: Any) -> Matrix:
        last = getattr(self, "last_", None)
        return super().embed_texts(texts) if last is None or len(last) != len(texts) else last


class _NoParameters:
    """A class of its own that scikit-learn cannot copy."""

    def __init__(self) -> None:
        self._inside = _Centres()

    def fit(self, images: Any, texts: Any, labels: Any = None) -> _NoParameters:
        self._inside.fit(images, texts, labels)
        return self

    def embed_images(self, images: Any) -> Matrix:
        return self._inside.embed_images(images)

    def embed_texts(self, texts: Any) -> Matrix:
        return self._inside.embed_texts(texts)


_LACKS_PARAMETERS = "cannot be copied: it has no `get_params`"
_RETURNS_NOTHING = "`fit` should return `self`"
_WIDTHS = "have another width than"
_MEMORY = "depends on more than the item"
_COMPANY = "depends on which other items are embedded with it"
_NO_BETTER = "no better than chance"


def _pairs(seed: int, n: int) -> tuple[Matrix, Matrix, NDArray[np.int64]]:
    """Pictures (n, 6, 8), texts (n, 12) and labels of four classes with something in common."""
    world, rng = np.random.default_rng(80), np.random.default_rng(seed)
    centres, to_image, to_text = (world.normal(size=shape) for shape in ((4, 4), (4, 48), (4, 12)))
    labels = np.arange(n) % 4
    latent = 2.5 * centres[labels] + rng.normal(size=(n, 4))
    images = latent @ to_image + rng.normal(size=(n, 48)) + 3.0
    texts = latent @ to_text + rng.normal(size=(n, 12)) - 1.0
    return images.reshape(n, 6, 8), texts, labels


def _check_own(method: Any) -> str | None:
    from vlalign_lib.experiments._scores import embed_independently
    from vlalign_lib.metrics import chance_average_precision, mean_average_precision

    if isinstance(method, type):
        return f"Hand over a method, not its class: `{method.__name__}()`."
    for part in ("fit", "embed_images", "embed_texts"):
        if not callable(getattr(method, part, None)):
            return f"A method needs `{part}`, and this one has none."
    images, texts, labels = _pairs(1, 240)
    fitted = method.fit(images, texts, labels)
    new_images, new_texts, new_labels = _pairs(2, 160)
    u, v = method.embed_images(new_images), method.embed_texts(new_texts)
    if all(each is None or each is Ellipsis for each in (fitted, u, v)):
        raise NotImplementedError
    if fitted is not method:
        return f"{_RETURNS_NOTHING}, so that `Mine().fit(…)` can be used at once."
    u, v = np.asarray(u, dtype=np.float64), np.asarray(v, dtype=np.float64)
    for name, rows in (("embed_images", u), ("embed_texts", v)):
        if rows.ndim != 2 or len(rows) != 160 or not np.isfinite(rows).all():
            return (
                f"`{name}` should return a row of finite numbers for each of the 160 items, got "
                f"shape {rows.shape}."
            )
    if u.shape[1] != v.shape[1]:
        return f"The texts {_WIDTHS} the pictures: {v.shape[1]} and {u.shape[1]}."
    for name, rows, alone in (
        ("picture", u, method.embed_images(new_images[:7])),
        ("text", v, method.embed_texts(new_texts[:7])),
    ):
        if not np.allclose(np.asarray(alone, dtype=np.float64), rows[:7], rtol=1e-4, atol=1e-6):
            return f"Where a {name} is put {_COMPANY}."
    try:
        u, v = embed_independently(method, new_images, new_texts)
    except Exception as error:
        return (
            "`embed_images` and `embed_texts` should each work alone, in any order, on a copy that "
            f"has embedded nothing before. Here: {error}"
        )
    found = mean_average_precision(u, v, new_labels, new_labels)
    chance = chance_average_precision(new_labels, new_labels)
    if found < chance + 0.1:
        return f"On new pairs it is {_NO_BETTER}: class mAP {found:.2f}, chance {chance:.2f}."
    if not callable(getattr(method, "get_params", None)):
        return f"It works, and {_LACKS_PARAMETERS}."
    return None


def _own_mistake(name: str, attempt: Any, clue: str, message: str) -> Mistake:
    def recognise(method: Any) -> bool:
        return clue in (_check_own(method) or "")

    return Mistake(name, attempt, message, recognise=recognise)


EXERCISES = (
    Exercise(
        id="ch08.audit",
        task=(
            "Write `audit(rows)`: rows are (image to text, text to image, average), printed to "
            "three decimals. Return the indices of the rows whose average is not the mean of the "
            "two rounded in the usual way, a half upwards."
        ),
        hint=(
            "Decimal fractions have no exact place in a computer. Thousandths are whole numbers: "
            "`round(1000 * value)`.",
            "With whole thousandths a and b, the mean rounded with a half upwards is "
            "`(a + b + 1) // 2`.",
        ),
        solution=_audit,
        cases=_audit_cases,
        mistakes=(
            Mistake(
                "half to even",
                _half_to_even,
                "Python's `round` takes a half to the next even number: 0.5 and 2.5 become 0 and "
                "2. Here a half goes upwards.",
            ),
            Mistake(
                "rounded as decimals",
                _as_decimals,
                "0.2855 has no exact place in a computer, so that `round(…, 3)` takes it up or "
                "down as it happens to be stored. Count whole thousandths.",
            ),
            Mistake(
                "cut off",
                _cut_off,
                "This throws the half away. Rounding takes it upwards.",
            ),
            Mistake(
                "not rounded",
                _not_rounded,
                "A printed average is rounded: with three decimals it cannot hold half a "
                "thousandth. Round the mean before you compare.",
            ),
            Mistake(
                "a tolerance that hides it",
                _with_patience,
                "A tolerance of a thousandth accepts every half, whichever way it went, and a "
                "slip of one in the last digit. Rounding is exact; compare exactly.",
            ),
            Mistake(
                "those that fit",
                _those_that_fit,
                "These are the rows that are in order. Asked for are the others.",
            ),
        ),
        praise="Run it over the printed table, as triples: one row of thirty-six is left.",
    ),
    Exercise(
        id="ch08.queries",
        task=(
            "The average precisions of single queries have a standard deviation of 0.22. How many "
            "queries does it take until the 95 % interval of their mean is at most 0.01 to either "
            "side?"
        ),
        hint=(
            "Half of the interval's width is $1.96\\,\\sigma/\\sqrt{n}$.",
            "Solve $1.96 \\cdot 0.22 / \\sqrt{n} = 0.01$ for n, and round up.",
        ),
        solution=math.ceil((1.96 * 0.22 / 0.01) ** 2),
        tolerance=1e-6,
        mistakes=(
            Mistake(
                "not squared",
                math.ceil(1.96 * 0.22 / 0.01),
                "That is the root of the number. To halve an interval takes four times as many "
                "queries.",
            ),
            Mistake(
                "the whole width",
                math.ceil((2 * 1.96 * 0.22 / 0.01) ** 2),
                "0.01 is meant to either side, so that the interval is 0.02 wide.",
            ),
            Mistake(
                "one standard error",
                math.ceil((0.22 / 0.01) ** 2),
                "One standard error to either side covers two thirds of the cases only. For 95 % "
                "it takes 1.96 of them.",
            ),
            Mistake(
                "not rounded up",
                (1.96 * 0.22 / 0.01) ** 2,
                "There are no thirds of a query: round up.",
            ),
            Mistake(
                "2 in place of 1.96",
                math.ceil((2 * 0.22 / 0.01) ** 2),
                "2 is a good guess for the head. With 1.96 it is a few queries fewer.",
            ),
            Mistake(
                "rounded down",
                math.floor((1.96 * 0.22 / 0.01) ** 2),
                "With one query fewer the interval is a hair too wide. Round up.",
            ),
        ),
        praise="Pascal Sentences has a hundred test pairs, Wikipedia a few hundred.",
    ),
    Exercise(
        id="ch08.paired_interval",
        task=(
            "Write `paired_interval(a, b)`: two methods, one number a seed. Return the two ends of "
            "the 95 % interval of the mean of a − b, by Student's t."
        ),
        hint=(
            "Take the differences first. From then on there is one list.",
            "`scipy.special.stdtrit(n - 1, 0.975)` is the factor t; "
            "`np.std(d, ddof=1) / n ** 0.5` the standard error.",
        ),
        solution=_paired,
        cases=_paired_cases,
        mistakes=(
            *(
                Mistake(
                    name,
                    attempt,
                    "This adds up the spread of both methods and ignores what they share. Take the "
                    "differences seed by seed: what both saw falls out, much or little.",
                )
                for name, attempt in (
                    ("not paired", _unpaired),
                    ("not paired, with twice the degrees of freedom", _unpaired_pooled),
                )
            ),
            Mistake(
                "the normal in place of t",
                _by_the_normal,
                "1.96 is for many seeds. With five the factor is 2.78, since the spread itself "
                "is a guess from five numbers.",
            ),
            Mistake(
                "divided by n",
                _spread_over_n,
                "The spread is measured around its own mean, which makes it too small: divide by "
                "n − 1, which is `ddof=1`.",
            ),
            Mistake(
                "of a single seed",
                _of_one_seed,
                "That is roughly where the next seed's difference will lie. The mean of n is known "
                "better, by the root of n.",
            ),
            Mistake(
                "one side only",
                _one_sided,
                "With 0.95 five per cent lie above, and five below. For 95 % between the ends it "
                "is 0.975.",
            ),
            Mistake(
                "the other way round",
                _turned,
                "This is b − a. Asked for is a − b.",
            ),
        ),
        praise="`experiments.paired_difference` does the same from two records of the ledger.",
    ),
    Exercise(
        id="ch08.holm",
        task=(
            "Write `corrected(p)`: a list of p values, corrected for their number by Holm's "
            "method, in the order in which they came."
        ),
        hint=(
            "Sort them. The smallest is multiplied by Q, the next by Q − 1, the largest by 1.",
            "No corrected value may be smaller than the one before it, and none larger than 1: "
            "`np.maximum.accumulate`, `np.minimum`.",
            "`found = np.empty(Q); found[order] = values` puts them back in their order.",
        ),
        solution=_holm,
        cases=_holm_cases,
        mistakes=(
            Mistake(
                "all times Q",
                _bonferroni,
                "This is Bonferroni's correction. It is right, and stricter than it need be: once "
                "the smallest is decided, Q − 1 questions are left.",
            ),
            Mistake(
                "order not kept",
                _not_monotone,
                "A larger p got a smaller corrected value. Each of them is at least "
                "as large as the one before it.",
            ),
            Mistake(
                "left sorted",
                _left_in_order,
                "The numbers are right and stand in another order. Put each back where its p was.",
            ),
            Mistake(
                "larger than one",
                _not_cut_off,
                "A probability above one means nothing more than one: cut it off there.",
            ),
            Mistake(
                "counted the wrong way",
                _counted_upwards,
                "The smallest p is multiplied by the most, by Q, and the largest by 1.",
            ),
            Mistake(
                "false discoveries",
                _false_discovery,
                "This is the correction of Benjamini and Hochberg. It bounds the share of wrong "
                "decisions; Holm's bounds the chance of a single one.",
            ),
        ),
        praise="`experiments.compare_methods` does this for every pair of methods.",
    ),
    Exercise(
        id="ch08.own_method",
        task=(
            "Write a method of your own, in about twenty lines: a class with "
            "`fit(images, texts, labels)`, `embed_images` and `embed_texts`, derived from "
            "`sklearn.base.BaseEstimator`. Hand over an instance."
        ),
        hint=(
            "Anything will do that puts both views into one space. The labels are a bridge: what "
            "does each view know about the class by itself?",
            "For each view keep the mean and the scale of the training rows, and the centre of "
            "each class. An item is then described by how near it is to each centre.",
            "Pictures come as (n, height, width): `images.reshape(len(images), -1)`.",
        ),
        solution=_Centres(),
        check=_check_own,
        mistakes=(
            _own_mistake(
                "statistics of the test set",
                _TestStatistics(),
                _COMPANY,
                "An item's place depends on the company it is embedded in. Keep the means and "
                "scales of the training rows in `fit`; a search engine sees one query at a time.",
            ),
            _own_mistake(
                "memory of the other view",
                _Remembers(),
                _MEMORY,
                "A text's place depends on what was embedded before it, or on its row: pictures "
                "that were kept, or a count of rows, find every partner and have learned nothing. "
                "Keep what `fit` learned, and nothing else.",
            ),
            _own_mistake(
                "two spaces",
                _TwoSpaces(),
                _NO_BETTER,
                "On new pairs this is chance. Each view has a space of its own here, and nothing "
                "ties the first axis of the one to the first axis of the other.",
            ),
            _own_mistake(
                "two widths",
                _TwoWidths(),
                _WIDTHS,
                "Pictures and texts have a different number of coordinates. They need one space "
                "to be compared in.",
            ),
            _own_mistake(
                "nothing returned by fit",
                _FitReturnsNothing(),
                _RETURNS_NOTHING,
                "`fit` should end with `return self`. The measurement writes `Mine().fit(…)` and "
                "goes on with what it gets.",
            ),
            _own_mistake(
                "cannot be copied",
                _NoParameters(),
                _LACKS_PARAMETERS,
                "It embeds as it should, but nobody can make a fresh copy of it for the next "
                "seed. Derive it from `sklearn.base.BaseEstimator`.",
            ),
        ),
        praise="Now give it to `score_method` and see where in the table it lands.",
    ),
)
