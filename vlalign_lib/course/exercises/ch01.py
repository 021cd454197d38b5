"""Exercises of chapter 01: a multimodal world."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.course._exercise import Case, Exercise, Mistake, case

# --- mAP by hand: the hits of two queries, place by place -----------------------------------

_FIRST, _SECOND = (1, 0, 1, 0, 0), (0, 1, 0, 1, 1)


def _precisions(hits: Sequence[int]) -> NDArray[np.float64]:
    return np.cumsum(hits) / np.arange(1, len(hits) + 1)


def _by_hand(hits: Sequence[int]) -> float:
    return float((_precisions(hits) * hits).sum() / sum(hits))


def _over_both(measure: Any) -> float:
    return float(np.mean([measure(_FIRST), measure(_SECOND)]))


# --- recall at k ----------------------------------------------------------------------------


def _recall_cases() -> Sequence[Case]:
    rng = np.random.default_rng(0)
    strict = rng.permutation(36).reshape(6, 6).astype(float)
    tied = np.array([[2.0, 2.0, 0.0], [1.0, 1.0, 1.0], [0.0, 3.0, 3.0]])
    return [
        case(np.eye(3), 1, label="three queries, each answered first (k = 1)"),
        case(strict, 1, label="six queries, no two scores alike (k = 1)"),
        case(strict, 3, label="six queries, no two scores alike (k = 3)"),
        case(tied, 1, label="three queries with tied scores (k = 1)"),
        case(tied, 2, label="three queries with tied scores (k = 2)"),
        case(np.zeros((5, 5)), 1, label="five queries to which all answers score the same (k = 1)"),
    ]


def _counts(scores: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    own = np.diag(scores)[:, None]
    return (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1


def _recall_at_k(scores: NDArray[Any], k: int) -> float:
    greater, ties = _counts(scores)
    return float(np.clip((k - greater) / (ties + 1), 0, 1).mean())


def _recall_of_middle_rank(scores: NDArray[Any], k: int) -> float:
    greater, ties = _counts(scores)
    return float((1 + greater + ties / 2 <= k).mean())


def _own_score_as_tie(scores: NDArray[Any], k: int) -> float:
    greater, ties = _counts(scores)
    return float(np.clip((k - greater) / (ties + 2), 0, 1).mean())


def _not_clipped(scores: NDArray[Any], k: int) -> float:
    greater, ties = _counts(scores)
    return float(((k - greater) / (ties + 1)).mean())


def _own_scores_in_a_row(scores: NDArray[Any], k: int) -> float:
    own = np.diag(scores)
    greater, ties = (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1
    return float(np.clip((k - greater) / (ties + 1), 0, 1).mean())


def _ties_in_favour(scores: NDArray[Any], k: int) -> float:
    return float((_counts(scores)[0] < k).mean())


def _ties_against(scores: NDArray[Any], k: int) -> float:
    greater, ties = _counts(scores)
    return float((1 + greater + ties <= k).mean())


def _ties_by_position(scores: NDArray[Any], k: int) -> float:
    first = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((first == np.arange(len(scores))[:, None]).any(axis=1).mean())


# --- average precision ----------------------------------------------------------------------


def _average_precision(hits: Sequence[int], relevant: int) -> float:
    return float((_precisions(hits) * hits).sum() / min(relevant, len(hits)))


def _divided_by_hits(hits: Sequence[int], relevant: int) -> float:
    return float((_precisions(hits) * hits).sum() / sum(hits))


def _places_from_zero(hits: Sequence[int], relevant: int) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.cumsum(hits) / np.arange(len(hits))
    return float((precision * hits)[np.asarray(hits) > 0].sum() / min(relevant, len(hits)))


def _hit_not_counted(hits: Sequence[int], relevant: int) -> float:
    precision = _precisions(hits) - np.asarray(hits) / np.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / min(relevant, len(hits)))


def _reciprocal_places(hits: Sequence[int], relevant: int) -> float:
    return float((np.asarray(hits) / np.arange(1, len(hits) + 1)).sum() / min(relevant, len(hits)))


def _average_precision_cases() -> Sequence[Case]:
    return [
        case(np.array([1, 1, 0, 0]), 2, label="two relevant items, both in front"),
        case(np.array([1, 0, 1, 0, 0]), 2, label="two relevant items, one out of its place"),
        case(np.array([0, 1, 0, 1]), 5, label="a list cut after four places, five relevant items"),
        case(np.array([0, 1, 0, 0, 1, 0]), 3, label="a cut list that misses one of three"),
    ]


# --- chance ---------------------------------------------------------------------------------


def _chance_recall(k: int, gallery: int, relevant: int) -> float:
    return 1 - comb(gallery - relevant, k) / comb(gallery, k)


def _chance_cases() -> Sequence[Case]:
    return [
        case(1, 1000, 1, label="one right name among 1,000, one place looked at"),
        case(10, 1000, 1, label="one right name among 1,000, ten places looked at"),
        case(1, 800, 80, label="80 right names among 800, one place looked at"),
        case(10, 800, 80, label="80 right names among 800, ten places looked at"),
        case(4, 10, 7, label="seven right names among ten, four places looked at"),
    ]


# --- two papers, one space ------------------------------------------------------------------


def printed_numbers() -> dict[str, float]:
    """Return the mAP that two papers print for one and the same space: CCA on the digits.

    Returns:
        ``{"paper A": …, "paper B": …}``, left halves search right halves.
    """
    from vlalign_lib.data import load_digit_halves
    from vlalign_lib.linear import CCA

    digits = load_digit_halves()
    train, test = digits.split("train"), digits.split("test")
    cca = CCA(n_components=9, reg=0.3).fit(train.images, train.texts)
    images, texts = cca.embed_images(test.images), cca.embed_texts(test.texts)
    return {
        "paper A": _scored(images, texts, test.labels),
        "paper B": _paper_b(images, texts, test.labels),
    }


def _scored(images: Any, texts: Any, labels: Any, **protocol: Any) -> float:
    from vlalign_lib.metrics import mean_average_precision

    return mean_average_precision(images, texts, labels, labels, **protocol)


def _paper_b(images: Any, texts: Any, labels: Any) -> float:
    return _scored(images, texts, labels, similarity="euclidean", top_k=50, normalise="hits")


def _paper_cases() -> Sequence[Case]:
    rng = np.random.default_rng(1)
    labels = np.arange(150) % 3
    centres = 2 * rng.normal(size=(3, 4))
    images = (centres[labels] + 3 * rng.normal(size=(150, 4))) * rng.uniform(0.3, 3, (150, 1))
    texts = (centres[labels] + 3 * rng.normal(size=(150, 4))) * rng.uniform(0.3, 3, (150, 1))
    return [
        case(images, texts, labels, label="a space of 150 pairs in three classes"),
        case(texts, images, labels, label="the same space, searched the other way"),
    ]


def _is_constant(attempt: Any) -> bool:
    here, there = (attempt(*tried.args) for tried in _paper_cases())
    return bool(here == there)


# --- a space that knows classes and no partners ---------------------------------------------

_LABELS = np.arange(120) % 4


def _class_space(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    corners = np.eye(int(labels.max()) + 1)[labels]
    return corners, corners


def _check_class_space(attempt: Any) -> str | None:
    from vlalign_lib.metrics import recall_at_k

    answer = attempt(_LABELS.copy())
    if not (isinstance(answer, (tuple, list)) and len(answer) == 2):
        return "Return two arrays, the pictures' points and the names' points."
    points, names = np.asarray(answer[0], dtype=float), np.asarray(answer[1], dtype=float)
    if points.ndim != 2 or points.shape != names.shape or len(points) != len(_LABELS):
        return (
            f"Expected two arrays of shape ({len(_LABELS)}, k), one row a label, got "
            f"{points.shape} and {names.shape}."
        )
    by_class = _scored(points, names, _LABELS)
    if by_class < 0.999:
        return f"The class mAP is {by_class:.3f}; it should be 1."
    first, members = recall_at_k(points, names, 1)[1], int((_LABELS == 0).sum())
    if first > 1.5 / members:
        return (
            f"R@1 is {first:.3f}: the space knows partners. Each class has {members} members, so "
            f"guessing inside the class gives {1 / members:.3f}."
        )
    return None


EXERCISES = (
    Exercise(
        id="ch01.map_by_hand",
        task=(
            "Two queries rank the same five items. The first has hits at places 1 and 3, the "
            "second at places 2, 4 and 5. What is the mean average precision, to three decimals?"
        ),
        hint=(
            "Go to each hit and ask: of the items up to here, this one included, which share is "
            "relevant? The average precision is the mean of these shares over the hits.",
            "The shares of the first query are 1/1 and 2/3, those of the second 1/2, 2/4 and 3/5. "
            "Take the mean within each query first, then the mean of the two.",
        ),
        solution=_over_both(_by_hand),
        tolerance=6e-4,
        mistakes=(
            Mistake(
                "precision averaged over all places",
                _over_both(lambda hits: float(_precisions(hits).mean())),
                "Places without a hit took part. Only the places of relevant items are averaged.",
            ),
            Mistake(
                "divided by the length of the list",
                _over_both(lambda hits: float((_precisions(hits) * hits).mean())),
                "The sums are right, the divisor is not: divide by the number of relevant items, "
                "two for the first query and three for the second.",
            ),
            Mistake(
                "all hits in one bag",
                float(
                    sum((_precisions(hits) * hits).sum() for hits in (_FIRST, _SECOND))
                    / (sum(_FIRST) + sum(_SECOND))
                ),
                "The five precisions were averaged at once, so the query with more hits counts "
                "more. Average within each query first: every query has one vote.",
            ),
            Mistake(
                "only the first hit of each query",
                0.75,
                "That is the mean reciprocal rank of the first hit. The later hits count as well.",
            ),
            Mistake(
                "one over the place, without counting hits",
                _over_both(lambda hits: _reciprocal_places(hits, sum(hits))),
                "At the second hit there are two relevant items so far, at the third three: the "
                "precision is hits so far over place, not one over place.",
            ),
            Mistake(
                "the first query alone",
                _by_hand(_FIRST),
                "Right for the first query. The mean is taken over both.",
            ),
            Mistake(
                "the second query alone",
                _by_hand(_SECOND),
                "Right for the second query. The mean is taken over both.",
            ),
            Mistake(
                "rounded too far",
                round(_over_both(_by_hand), 2),
                "As far as it goes, this is right. Give three decimals.",
            ),
            Mistake(
                "percent instead of a share",
                100 * _over_both(_by_hand),
                "The sums are right; write the mean as a number between zero and one.",
            ),
        ),
        praise="Every query has one vote, and within a query every relevant item has one.",
    ),
    Exercise(
        id="ch01.recall_at_k",
        task=(
            "Write `recall_at_k(scores, k)`: the expected share of queries whose own answer is "
            "among the first k when ties are broken at random. `scores` is (n, n), one row a "
            "query, and the answer to query i is column i."
        ),
        hint=(
            "Nothing needs sorting. In each row count the scores that are greater than the right "
            "one, and the other scores that equal it.",
            "`own = np.diag(scores)[:, None]` puts the score of each right answer beside its row; "
            "`(scores > own).sum(axis=1)` counts.",
            "With g greater scores and t other ties, the right answer is equally likely at each "
            "of the places g + 1 … g + t + 1. Which share of these places is at most k? "
            "`np.clip((k - g) / (t + 1), 0, 1)`.",
        ),
        solution=_recall_at_k,
        cases=_recall_cases,
        mistakes=(
            Mistake(
                "ties broken in one's own favour",
                _ties_in_favour,
                "An answer that scores the same as others is placed before all of them, so a "
                "space in which everything is one point gets full marks. All places of the tie "
                "are equally likely.",
            ),
            Mistake(
                "ties broken against oneself",
                _ties_against,
                "Every tie is placed before the right answer. Better than the opposite, and "
                "still not the expected value: all places of the tie are equally likely.",
            ),
            Mistake(
                "ties broken by position",
                _ties_by_position,
                "Sorting has to put equal scores in some order, and takes the order of the "
                "columns: shuffle the gallery and the number changes. All places of the tie are "
                "equally likely.",
            ),
            Mistake(
                "sorted the wrong way round",
                lambda scores, k: _ties_by_position(-scores, k),
                "`np.argsort` puts the smallest first, so these are the k worst answers. And "
                "sorting breaks ties by position: counting is safer.",
            ),
            Mistake(
                "the smaller scores counted",
                lambda scores, k: _recall_at_k(-scores, k),
                "A greater score is a better answer: count the scores that are greater than the "
                "right one.",
            ),
            Mistake(
                "the middle rank instead of the expected share",
                _recall_of_middle_rank,
                "The expected rank is compared with k, so a tie counts wholly or not at all. Its "
                "places are equally likely: let it count with the share of them that is at most k.",
            ),
            Mistake(
                "off by one",
                lambda scores, k: _recall_at_k(scores, k + 1),
                "The best rank is counted as zero, so that k = 1 accepts the first two places. "
                "The best rank is one.",
            ),
            Mistake(
                "off by one, too strict",
                lambda scores, k: _recall_at_k(scores, k - 1),
                "Rank k itself still counts.",
            ),
            Mistake(
                "wrong axis",
                lambda scores, k: _recall_at_k(scores.T, k),
                "The scores are compared down the columns, so the answers search for their "
                "queries. A query is a row: compare along axis 1.",
            ),
            Mistake(
                "the right scores laid out as a row",
                _own_scores_in_a_row,
                "`np.diag(scores)` is a row, so each score is compared with the right one of its "
                "column. Make it a column: `np.diag(scores)[:, None]`.",
            ),
            Mistake(
                "the right answer counted as its own tie",
                _own_score_as_tie,
                "The right answer equals its own score. Only the others are ties: take one away.",
            ),
            Mistake(
                "not clipped",
                _not_clipped,
                "(k - g) / (t + 1) can fall below 0 and rise above 1. A share of places lies "
                "between: clip it for each query before you average.",
            ),
            Mistake(
                "a count instead of a share",
                lambda scores, k: _recall_at_k(scores, k) * len(scores),
                "This is how many queries are answered; divide by their number.",
            ),
            Mistake(
                "percent instead of a share",
                lambda scores, k: 100 * _recall_at_k(scores, k),
                "The share lies between zero and one; percent are for the reader's table.",
            ),
        ),
        praise="Two comparisons and no sorting.",
    ),
    Exercise(
        id="ch01.average_precision",
        task=(
            "Write `average_precision(hits, relevant)`. `hits` is a ranked list, best first: 1 "
            "where the item is relevant, else 0. It may be cut off, so `relevant` says how many "
            "relevant items there are in all. Divide by `relevant`, or by the length of the list "
            "where that is smaller."
        ),
        hint=(
            "`np.cumsum(hits)` counts the relevant items up to each place; divided by the place, "
            "that is the precision there.",
            "Multiply by `hits` to keep the places of relevant items, add up, and divide by "
            "`min(relevant, len(hits))`.",
        ),
        solution=_average_precision,
        cases=_average_precision_cases,
        mistakes=(
            Mistake(
                "divided by the hits, not by the relevant items",
                _divided_by_hits,
                "A relevant item that never turned up costs nothing then, and cutting the list "
                "earlier can raise the number. Some papers do so; this book does not.",
            ),
            Mistake(
                "precision averaged over all places",
                lambda hits, relevant: float(_precisions(hits).mean()),
                "Places without a hit took part. Multiply by `hits` before you add up.",
            ),
            Mistake(
                "precision at all places added up",
                lambda hits, relevant: float(_precisions(hits).sum() / min(relevant, len(hits))),
                "Places without a hit took part in the sum. Multiply by `hits` first.",
            ),
            Mistake(
                "divided by all relevant items, however short the list",
                lambda hits, relevant: float((_precisions(hits) * hits).sum() / relevant),
                "A list of four places cannot hold five relevant items; even a perfect one would "
                "not reach 1. Divide by the smaller of the two numbers.",
            ),
            Mistake(
                "off by one: places counted from zero",
                _places_from_zero,
                "The first place is 1, not 0: `np.arange(1, len(hits) + 1)`.",
            ),
            Mistake(
                "off by one: the hit itself is not counted",
                _hit_not_counted,
                "The precision at a hit includes that hit: a single relevant item in front has "
                "precision 1.",
            ),
            Mistake(
                "one over the place, without counting hits",
                _reciprocal_places,
                "Precision is hits so far over place; at the second hit the numerator is two.",
            ),
            Mistake(
                "divided by the length of the list",
                lambda hits, relevant: float((_precisions(hits) * hits).mean()),
                "The sum is right. It has as many terms as there are hits, not places: divide by "
                "the relevant items.",
            ),
            Mistake(
                "not divided",
                lambda hits, relevant: float((_precisions(hits) * hits).sum()),
                "This is the sum of the precisions; a mean divides it.",
            ),
        ),
        praise="The sum is easy; the divisor is what papers differ in.",
    ),
    Exercise(
        id="ch01.chance_recall",
        task=(
            "Write `chance_recall(k, gallery, relevant)`: how probable is it that at least one of "
            "`relevant` right answers is among the first k of `gallery` items in random order?"
        ),
        hint=(
            "Ask for the opposite: that none of the first k is a right answer.",
            "The first place misses with probability (G − R)/G, the second then with "
            "(G − R − 1)/(G − 1), and so on: `math.comb(G - R, k) / math.comb(G, k)`.",
        ),
        solution=_chance_recall,
        cases=_chance_cases,
        tolerance=1e-9,
        mistakes=(
            Mistake(
                "probabilities added up",
                lambda k, gallery, relevant: k * relevant / gallery,
                "That is the expected number of right answers among the first k. It counts lists "
                "with two right answers twice, and can pass 1.",
            ),
            Mistake(
                "drawn with replacement",
                lambda k, gallery, relevant: 1 - (1 - relevant / gallery) ** k,
                "No item stands at two places of a list: after a miss there is one wrong answer "
                "fewer.",
            ),
            Mistake(
                "one right answer only",
                lambda k, gallery, relevant: k / gallery,
                "Right for one right answer. With more of them the chance of a hit is larger.",
            ),
            Mistake(
                "only the first place",
                lambda k, gallery, relevant: relevant / gallery,
                "That is the chance of the first place alone; k places are looked at.",
            ),
            Mistake(
                "the opposite event",
                lambda k, gallery, relevant: 1 - _chance_recall(k, gallery, relevant),
                "That is the chance of no hit at all; take it from 1.",
            ),
            Mistake(
                "all of the first k",
                lambda k, gallery, relevant: comb(relevant, k) / comb(gallery, k),
                "That is the chance that every one of the first k is right. One is enough.",
            ),
            Mistake(
                "probabilities added up and cut off at 1",
                lambda k, gallery, relevant: min(1.0, k * relevant / gallery),
                "Cutting off at 1 hides what is wrong with adding: lists with two right answers "
                "are counted twice. Ask how probable it is that there is none.",
            ),
            Mistake(
                "exactly one right answer",
                lambda k, gallery, relevant: (
                    relevant * comb(gallery - relevant, k - 1) / comb(gallery, k)
                ),
                "That is the chance of exactly one right answer. Two or more also count.",
            ),
        ),
        praise="Now you can say what a number like R@10 is worth before you see the method.",
    ),
    Exercise(
        id="ch01.two_papers",
        task=(
            "Paper A and paper B score the same space and print different numbers. Write "
            "`paper_b(images, texts, labels)`, which returns what paper B would print: find the "
            "similarity, the cut-off and the divisor."
        ),
        hint=(
            "Call `mean_average_precision` on the digits with every combination of "
            "`similarity`, `top_k` and `normalise`, and look for the number of paper B.",
            "Paper B's number is much larger than paper A's, and cutting the list is not enough "
            "for that: divided by relevant items, CCA's number fell. Which divisor forgives "
            "what was not found?",
            "Try `normalise='hits'` with round cut-offs, 10, 50 and 100, in both similarities.",
        ),
        solution=_paper_b,
        cases=_paper_cases,
        mistakes=(
            Mistake(
                "the protocol of paper A",
                _scored,
                "Cosine over the whole list is paper A. With nothing cut off, both divisors are "
                "the same.",
            ),
            Mistake(
                "another similarity",
                lambda images, texts, labels: _scored(
                    images, texts, labels, top_k=50, normalise="hits"
                ),
                "Cut-off and divisor are right. Paper B does not divide the vectors by their "
                "lengths.",
            ),
            Mistake(
                "another similarity: the bare product",
                lambda images, texts, labels: _scored(
                    images, texts, labels, similarity="dot", top_k=50, normalise="hits"
                ),
                "Cut-off and divisor are right. Paper B ranks by distance, not by the product.",
            ),
            Mistake(
                "another divisor",
                lambda images, texts, labels: _scored(
                    images, texts, labels, similarity="euclidean", top_k=50
                ),
                "Similarity and cut-off are right. Paper B divides by what it found, not by what "
                "there was to find.",
            ),
            Mistake(
                "the whole list",
                lambda images, texts, labels: _scored(
                    images, texts, labels, similarity="euclidean"
                ),
                "The similarity is right. Paper B looks at the first page of results only.",
            ),
            Mistake(
                "the other direction",
                lambda images, texts, labels: _paper_b(texts, images, labels),
                "The protocol is right. Here the pictures search: they come first.",
            ),
            Mistake(
                "both directions",
                lambda images, texts, labels: (
                    (_paper_b(images, texts, labels) + _paper_b(texts, images, labels)) / 2
                ),
                "The protocol is right. Here only the pictures search; no mean is taken.",
            ),
            Mistake(
                "the printed number itself",
                lambda images, texts, labels: printed_numbers()["paper B"],
                "The check brings a space of its own, so the number cannot be written down: "
                "compute it from the arguments.",
                recognise=_is_constant,
            ),
            Mistake(
                "another cut-off, too late",
                lambda images, texts, labels: _scored(
                    images, texts, labels, similarity="euclidean", top_k=100, normalise="hits"
                ),
                "Similarity and divisor are right. Paper B cuts the list earlier.",
            ),
            Mistake(
                "another cut-off, too early",
                lambda images, texts, labels: _scored(
                    images, texts, labels, similarity="euclidean", top_k=10, normalise="hits"
                ),
                "Similarity and divisor are right. Paper B looks at more than the ten best.",
            ),
        ),
        praise="Three choices in half a sentence of small print, and the number is another one.",
    ),
    Exercise(
        id="ch01.class_space",
        task=(
            "Write `class_space(labels)`, which returns points of pictures and points of names, "
            "two arrays (n, k), such that the class mAP is 1 and yet nobody finds their own "
            "partner better than by guessing inside the class."
        ),
        hint=(
            "What does a space look like in which all members of a class are the same point?",
            "`np.eye(number_of_classes)[labels]` puts every class on a corner of its own.",
        ),
        solution=_class_space,
        check=_check_class_space,
        mistakes=(
            Mistake(
                "everything on one point",
                lambda labels: (np.ones((len(labels), 2)), np.ones((len(labels), 2))),
                "A collapsed space knows neither partners nor classes: its class mAP is chance.",
                recognise=lambda attempt: bool(
                    np.ptp(np.concatenate(attempt(_LABELS.copy())), axis=0).max() < 1e-9
                ),
            ),
            Mistake(
                "every pair on a point of its own",
                lambda labels: (np.eye(len(labels)), np.eye(len(labels))),
                "Partners find each other, and classmates do not. Ask for the opposite.",
                recognise=lambda attempt: (
                    len(np.unique(np.asarray(attempt(_LABELS.copy())[0]), axis=0)) == len(_LABELS)
                ),
            ),
            Mistake(
                "the label as a length",
                lambda labels: (labels[:, None] + 1.0, labels[:, None] + 1.0),
                "Cosine does not see lengths: all these points lie in one direction. Give every "
                "class a direction of its own.",
                recognise=lambda attempt: (
                    np.asarray(attempt(_LABELS.copy())[0]).reshape(len(_LABELS), -1).shape[1] == 1
                ),
            ),
        ),
        praise="Class mAP and R@K measure different things; a table with one of them is half a "
        "table.",
    ),
)
