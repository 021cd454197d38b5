"""Exercises of chapter 06: labels as a bridge."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_softmax, logsumexp, softmax

from vlalign_lib.course._exercise import Case, Exercise, Mistake, case

Array = NDArray[Any]


# -- cross_entropy ---------------------------------------------------------------------------


def _class_cases() -> Sequence[Case]:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (6, 3))
    sure = np.array([[900.0, 0.0, -900.0], [0.0, 800.0, 0.0]])
    return [
        case(logits, np.array([0, 2, 1, 1, 0, 2]), label="six items, three classes"),
        case(logits[:1], np.array([1]), label="a single item"),
        case(logits, np.array([0, -1, 1, -1, 0, 2]), label="two items without a class (−1)"),
        case(sure, np.array([1, 1]), label="logits in the hundreds"),
    ]


def _known(logits: Array, labels: Array) -> tuple[Array, Array]:
    known = labels >= 0
    return logits[known], labels[known]


def _picked(values: Array, labels: Array) -> Array:
    return np.asarray(values[np.arange(len(labels)), labels])


def _cross_entropy(logits: Array, labels: Array) -> float:
    z, c = _known(logits, labels)
    return float(-_picked(log_softmax(z, axis=1), c).mean())


def _no_minus(logits: Array, labels: Array) -> float:
    return -_cross_entropy(logits, labels)


def _no_logarithm(logits: Array, labels: Array) -> float:
    z, c = _known(logits, labels)
    return float(-_picked(softmax(z, axis=1), c).mean())


def _last_class(logits: Array, labels: Array) -> float:
    return float(-_picked(log_softmax(logits, axis=1), labels).mean())


def _divided_by_all(logits: Array, labels: Array) -> float:
    z, c = _known(logits, labels)
    return float(-_picked(log_softmax(z, axis=1), c).sum() / len(logits))


def _overflowing(logits: Array, labels: Array) -> float:
    z, c = _known(logits, labels)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        power = np.exp(z)
        return float(-np.log(_picked(power / power.sum(axis=1, keepdims=True), c)).mean())


def _over_items(logits: Array, labels: Array) -> float:
    z, c = _known(logits, labels)
    return float(-_picked(log_softmax(z, axis=0), c).mean())


def _in_bits(logits: Array, labels: Array) -> float:
    return _cross_entropy(logits, labels) / float(np.log(2))


def _summed(logits: Array, labels: Array) -> float:
    z, c = _known(logits, labels)
    return float((logsumexp(z, axis=1) - _picked(z, c)).sum())


# -- binary_cross_entropy --------------------------------------------------------------------


def _set_cases() -> Sequence[Case]:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (5, 4))
    targets = (rng.random((5, 4)) < 0.4).astype(float)
    targets[0], targets[1] = 0.0, 1.0
    return [
        case(logits, targets, label="five items, four classes"),
        case(logits[:1], targets[:1], label="an item without any class"),
        case(logits[1:2], targets[1:2], label="an item of every class"),
        case(np.array([[800.0, -800.0]]), np.array([[0.0, 1.0]]), label="logits in the hundreds"),
    ]


def _terms(logits: Array, targets: Array) -> Array:
    # −log σ(z) is log(1 + e^−z), which logaddexp computes without overflow
    yes, no = np.logaddexp(0, -logits), np.logaddexp(0, logits)
    return np.asarray(targets * yes + (1 - targets) * no)


def _binary_cross_entropy(logits: Array, targets: Array) -> float:
    return float(_terms(logits, targets).mean())


def _slide(logits: Array, targets: Array) -> float:
    return -_binary_cross_entropy(logits, targets)


def _summed_classes(logits: Array, targets: Array) -> float:
    return float(_terms(logits, targets).sum(axis=1).mean())


def _only_yes(logits: Array, targets: Array) -> float:
    return float((targets * np.logaddexp(0, -logits)).mean())


def _with_softmax(logits: Array, targets: Array) -> float:
    log_p = log_softmax(logits, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        no = np.where(targets == 1, 0.0, (1 - targets) * np.log1p(-np.exp(log_p)))
        return float(-(targets * log_p + no).mean())


def _shared_out(logits: Array, targets: Array) -> float:
    share = targets / np.maximum(targets.sum(axis=1, keepdims=True), 1)
    return float(-(share * log_softmax(logits, axis=1)).sum(axis=1).mean())


def _overflowing_sets(logits: Array, targets: Array) -> float:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        p = 1 / (1 + np.exp(-logits))
        return float(-(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean())


def _no_logarithm_sets(logits: Array, targets: Array) -> float:
    p = expit(logits)
    return float(-(targets * p + (1 - targets) * (1 - p)).mean())


# -- encoder_gradient ------------------------------------------------------------------------


def _gradient_cases() -> Sequence[Case]:
    task, judge = np.array([1.0, -2.0, 0.5]), np.array([0.4, 0.3, -3.0])
    return [
        case(task, judge, 0.3, label="after three tenths of the training"),
        case(task, judge, 0.0, label="at the first step"),
        case(task, judge, 1.0, label="at the last step"),
        case(2 * task, np.zeros(3), 0.5, label="a judge without an opinion"),
    ]


def _strength(progress: float) -> float:
    return float(2 / (1 + np.exp(-10 * progress)) - 1)


def _encoder_gradient(task: Array, judge: Array, progress: float) -> Array:
    return np.asarray(task - _strength(progress) * judge)


# -- leaking_words ---------------------------------------------------------------------------


def _caption_cases() -> Sequence[Case]:
    stars = ["BLACK STAR", "WHITE STAR", "STAR OF DAVID", "SMALL STAR"]
    arrows = ["BLACK ARROW", "LEFT ARROW SMALL", "ARROW TO LEFT"]
    parts = ["PART ONE", "PART TWO", "ART DECO", "MODERN ART"]
    doubled = ["NO NO NO SIGN", "STOP SIGN", "YES SIGN", "DOT", "DOT DOT", "COLON DOT"]
    return [
        case([*stars, *arrows], np.array([0] * 4 + [1] * 3), 0.6, label="stars and arrows"),
        case(parts, np.array([0, 0, 1, 1]), 1.0, label="PART and ART"),
        case(doubled, np.array([0, 0, 0, 1, 1, 1]), 0.9, label="a word said three times"),
        case([*stars, *arrows], np.array([0] * 4 + [1] * 3), 0.3, label="a lower share"),
        case(["DOT LEFT", "DOT RIGHT", "DASH", "DASH UP", "DASH LEFT"],
             np.array([0, 0, 1, 1, 1]), 0.5, label="two classes of different size"),
    ]  # fmt: skip


def _word_counts(captions: Iterable[str], labels: Array) -> dict[str, Counter[int]]:
    """In how many captions of each class each word occurs."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for caption, label in zip(captions, labels, strict=True):
        for word in set(caption.split()):
            counts[word][int(label)] += 1
    return counts


def _leaking_words(captions: Sequence[str], labels: Array, share: float) -> list[str]:
    sizes = Counter(int(label) for label in labels)
    found = []
    for word, counts in _word_counts(captions, labels).items():
        (label, times), *others = counts.most_common()
        if not others and times >= share * sizes[label]:
            found.append(word)
    return sorted(found)


def _frequent_words(captions: Sequence[str], labels: Array, share: float) -> list[str]:
    sizes = Counter(int(label) for label in labels)
    counts = _word_counts(captions, labels)
    return sorted(
        word for word, by in counts.items() if any(n >= share * sizes[c] for c, n in by.items())
    )


def _exclusive_words(captions: Sequence[str], labels: Array, share: float) -> list[str]:
    return sorted(w for w, by in _word_counts(captions, labels).items() if len(by) == 1)


def _share_of_all(captions: Sequence[str], labels: Array, share: float) -> list[str]:
    counts = _word_counts(captions, labels)
    return sorted(
        w for w, by in counts.items() if len(by) == 1 and sum(by.values()) >= share * len(captions)
    )


def _parts_of_words(captions: Sequence[str], labels: Array, share: float) -> list[str]:
    sizes = Counter(int(label) for label in labels)
    found = []
    for word in _word_counts(captions, labels):
        by = Counter(int(c) for text, c in zip(captions, labels, strict=True) if word in text)
        (label, times), *others = by.most_common()
        if not others and times >= share * sizes[label]:
            found.append(word)
    return sorted(found)


EXERCISES = (
    Exercise(
        id="ch06.same_class",
        task=(
            "The image network gives a picture the posterior (0.7, 0.2, 0.1), the text network "
            "gives a text (0.6, 0.3, 0.1). If both are right about their uncertainty, how "
            "probable is it that the two are of the same class?"
        ),
        hint=(
            "There are three ways to be of the same class. They exclude each other, so their "
            "probabilities add up.",
            "Both of class 0: 0.7 · 0.6. Do the same for the other two classes, and add.",
        ),
        solution=0.49,
        mistakes=(
            Mistake(
                "the cosine",
                0.49 / np.sqrt(0.54 * 0.46),
                "This is the cosine of the two posteriors: their inner product divided by both "
                "lengths. The probability is the inner product itself.",
            ),
            Mistake(
                "only the favourite class",
                0.42,
                "This is the probability that both are of class 0. They may also both be of "
                "class 1, or of class 2.",
            ),
            Mistake(
                "the overlap",
                0.9,
                "Adding up the smaller of the two probabilities says how alike the two lists are, "
                "not how probable the same class is. Two coins overlap completely and agree half "
                "of the time.",
            ),
            Mistake(
                "the mean confidence",
                0.65,
                "This is the mean of the two largest probabilities. Both have to happen, so "
                "multiply.",
            ),
            Mistake(
                "the complement",
                0.51,
                "This is the probability of two different classes.",
            ),
        ),
        praise="An inner product of posteriors is a probability; the cosine divides by confidence.",
    ),
    Exercise(
        id="ch06.cross_entropy",
        task=(
            "Write `cross_entropy(logits, labels)` with NumPy: the mean over the items of minus "
            "the logarithm of the softmax at the item's class. An item with the label −1 has no "
            "class and counts for nothing."
        ),
        hint=(
            "The logarithm of a softmax is the logit minus the log of the sum of the "
            "exponentials. Take the largest logit of the row away first: nothing changes, and "
            "nothing overflows.",
            "`known = labels >= 0` selects rows and labels; "
            "`z = z - z.max(axis=1, keepdims=True)`, "
            "`log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))`; then "
            "`log_p[np.arange(len(z)), labels]`.",
        ),
        solution=_cross_entropy,
        cases=_class_cases,
        mistakes=(
            Mistake(
                "the minus left out",
                _no_minus,
                "This is the mean log-likelihood, which should rise. Minimised, it drives the "
                "network away from the right class without end. Put a minus before it.",
            ),
            Mistake(
                "no logarithm",
                _no_logarithm,
                "This is minus the mean probability. It barely moves for an item that is badly "
                "wrong, so that those teach least. Take the logarithm.",
            ),
            Mistake(
                "−1 read as the last class",
                _last_class,
                "An index of −1 is the last column in NumPy, so items without a class are taught "
                "to be of the last one. Leave these rows out.",
            ),
            Mistake(
                "divided by all items",
                _divided_by_all,
                "Items without a class are left out of the sum and still counted in the mean. "
                "Divide by the number of items that have a class.",
            ),
            Mistake(
                "exponentials that overflow",
                _overflowing,
                "With logits in the hundreds the exponential is infinite and the loss no number. "
                "Take the largest logit of each row away before, or work with the log-sum-exp.",
            ),
            Mistake(
                "softmax over the items",
                _over_items,
                "The softmax runs down the column, so that items compete for a class. The classes "
                "compete for an item: `axis=1`.",
            ),
            Mistake(
                "in bits",
                _in_bits,
                "Correct in bits. The book, and torch, use natural logarithms.",
            ),
            Mistake(
                "a sum over the items",
                _summed,
                "This is the sum over the items. With a mean the loss does not depend on how many "
                "there are.",
            ),
        ),
        praise="Two of these, one for each view, are the whole loss of Deep-SM.",
    ),
    Exercise(
        id="ch06.binary_cross_entropy",
        task=(
            "Write `binary_cross_entropy(logits, targets)` with NumPy: for each item and class "
            "minus the log-likelihood of a yes or no under a sigmoid, averaged over classes and "
            "items. `targets` holds a 1 for each class an item has, and a 0 for each it has not."
        ),
        hint=(
            "−log σ(z) is log(1 + e^−z), and −log(1 − σ(z)) is log(1 + e^z).",
            "`np.logaddexp(0, -logits)` is the first, without overflow. Weight the two with "
            "`targets` and `1 - targets`, and take the mean of everything.",
        ),
        solution=_binary_cross_entropy,
        cases=_set_cases,
        mistakes=(
            Mistake(
                "the minus left out",
                _slide,
                "This is the bracket of the slide as it is printed: a log-likelihood. Minimised, "
                "it teaches every answer to be wrong.",
            ),
            Mistake(
                "a sum over the classes",
                _summed_classes,
                "This adds up the classes. The book averages over them, so that the loss does not "
                "grow with their number.",
            ),
            Mistake(
                "the noes left out",
                _only_yes,
                "Only the classes that an item has are counted. A network that says yes to "
                "everything then has no loss at all. Add the second term.",
            ),
            Mistake(
                "a softmax in place of the sigmoids",
                _with_softmax,
                "With a softmax the classes share one unit of probability, so an item of two "
                "classes cannot have both. Each class needs a sigmoid of its own.",
            ),
            Mistake(
                "the categorical loss with shared targets",
                _shared_out,
                "This shares one unit out among the classes that an item has. It cannot tell an "
                "item of one class from an item of three, and learns nothing from one of none.",
            ),
            Mistake(
                "sigmoids that saturate",
                _overflowing_sets,
                "With logits in the hundreds the sigmoid is exactly 0 or 1, and its logarithm "
                "infinite. Write the logarithm of the sigmoid as one function of the logit.",
            ),
            Mistake(
                "no logarithm",
                _no_logarithm_sets,
                "Take the logarithm of the probabilities before averaging.",
            ),
        ),
        praise="An item may now have three classes, or none.",
    ),
    Exercise(
        id="ch06.encoder_gradient",
        task=(
            "Write `encoder_gradient(task, judge, progress)`: what reaches the encoders when the "
            "gradient of the judge's loss comes back reversed, with the strength λ of the "
            "chapter (slope 10), and is added to the gradient of the task."
        ),
        hint=(
            "Reversed means: times −λ. And λ depends on `progress`.",
            "λ = 2 / (1 + e^(−10 · progress)) − 1; the answer is `task - λ * judge`.",
        ),
        solution=_encoder_gradient,
        cases=_gradient_cases,
        mistakes=(
            Mistake(
                "not reversed",
                lambda task, judge, progress: task + _strength(progress) * judge,
                "With a plus the encoders help the judge: the views are pulled apart. Check the "
                "sign at full strength.",
            ),
            Mistake(
                "full strength from the first step",
                lambda task, judge, progress: task - judge,
                "At the first step the judge knows nothing, and its gradient is noise. Multiply "
                "by λ.",
            ),
            Mistake(
                "half strength at the start",
                lambda task, judge, progress: task - judge / (1 + np.exp(-10 * progress)),
                "This is the sigmoid itself, which starts at one half. Twice the sigmoid minus 1 "
                "starts at 0.",
            ),
            Mistake(
                "everything reversed",
                lambda task, judge, progress: -_strength(progress) * (task + judge),
                "The task's gradient is turned round as well. Only what comes back from the judge "
                "is.",
            ),
            Mistake(
                "the judge's share turned down instead of up",
                lambda task, judge, progress: task - (1 - _strength(progress)) * judge,
                "This begins at full strength and fades. λ grows from 0.",
            ),
            Mistake(
                "linear in t",
                lambda task, judge, progress: task - progress * judge,
                "A straight line from 0 to 1. The chapter's λ rises steeply and levels off.",
            ),
        ),
        praise="One backward pass plays both sides of the game.",
    ),
    Exercise(
        id="ch06.leaking_words",
        task=(
            "Write `leaking_words(captions, labels, share)`: the words that occur in captions of "
            "one class only, and in at least the given share of the captions of that class. A "
            "word is what stands between spaces. Return a sorted list."
        ),
        hint=(
            "For each word, count in how many captions of each class it occurs; "
            "`set(caption.split())` counts a caption once.",
            "A `Counter` of labels for each word: keep the word if the counter has one label and "
            "its count is at least `share` times the size of that class.",
        ),
        solution=_leaking_words,
        cases=_caption_cases,
        mistakes=(
            Mistake(
                "words of several classes",
                _frequent_words,
                "Frequent in one class is not enough: a word that other classes use too gives "
                "nothing away for certain.",
            ),
            Mistake(
                "rare words",
                _exclusive_words,
                "Every word that belongs to one class is reported, even one that occurs once. "
                "Ask for its share of the captions of the class.",
            ),
            Mistake(
                "a share of all captions",
                _share_of_all,
                "The share is taken of all captions. A small class can leak with a word that is "
                "rare on the whole: divide by the size of the class.",
            ),
            Mistake(
                "parts of words",
                _parts_of_words,
                "ART is found within PART. Compare whole words: split the caption first.",
            ),
        ),
        praise="Run it on any data set before you trust a class mAP.",
    ),
)
