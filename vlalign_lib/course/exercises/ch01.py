"""Exercises of chapter 01: a multimodal world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.course._exercise import Case, Exercise, Mistake, case


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


def _expected_ranks(scores: NDArray[Any]) -> NDArray[Any]:
    own = np.diag(scores)[:, None]
    greater = (scores > own).sum(axis=1)
    ties = (scores == own).sum(axis=1) - 1
    return 1 + greater + ties / 2


def _recall_at_k(scores: NDArray[Any], k: int) -> float:
    return float((_expected_ranks(scores) <= k).mean())


def _ties_in_favour(scores: NDArray[Any], k: int) -> float:
    return float(((scores > np.diag(scores)[:, None]).sum(axis=1) < k).mean())


def _ties_against(scores: NDArray[Any], k: int) -> float:
    return float(((scores >= np.diag(scores)[:, None]).sum(axis=1) <= k).mean())


def _ties_by_position(scores: NDArray[Any], k: int) -> float:
    first = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((first == np.arange(len(scores))[:, None]).any(axis=1).mean())


EXERCISES = (
    Exercise(
        id="ch01.recall_at_k",
        task=(
            "Write `recall_at_k(scores, k)`: the share of queries whose own answer is ranked k or "
            "better. `scores` is (n, n), one row a query, and the answer to query i is column i. "
            "The rank is one plus the number of greater scores plus half of the other ties."
        ),
        hint=(
            "The rank needs no sorting: count the scores of the row that are greater than the "
            "right one.",
            "`own = np.diag(scores)[:, None]` puts the score of each right answer beside its row; "
            "`(scores > own).sum(axis=1)` counts. Then add half of the ties, and do not count the "
            "answer as a tie with itself.",
        ),
        solution=_recall_at_k,
        cases=_recall_cases,
        mistakes=(
            Mistake(
                "ties broken in one's own favour",
                _ties_in_favour,
                "An answer that scores the same as others is placed before all of them, so a "
                "space in which everything is one point gets full marks. Add half of the ties.",
            ),
            Mistake(
                "ties broken against oneself",
                _ties_against,
                "Every tie is placed before the right answer, the answer itself included. Add "
                "half of the other ties instead.",
            ),
            Mistake(
                "ties broken by position",
                _ties_by_position,
                "Sorting has to put equal scores in some order, and takes the order of the "
                "columns: shuffle the gallery and the number changes. Add half of the ties.",
            ),
            Mistake(
                "off by one",
                lambda scores, k: float((_expected_ranks(scores) - 1 <= k).mean()),
                "The best rank is counted as zero, so that k = 1 accepts the first two places. "
                "The best rank is one.",
            ),
            Mistake(
                "off by one, too strict",
                lambda scores, k: float((_expected_ranks(scores) < k).mean()),
                "Rank k itself still counts: compare with <=, not with <.",
            ),
            Mistake(
                "wrong axis",
                lambda scores, k: _recall_at_k(scores.T, k),
                "The scores are compared down the columns, so the answers search for their "
                "queries. A query is a row: compare along axis 1.",
            ),
            Mistake(
                "a count instead of a share",
                lambda scores, k: float((_expected_ranks(scores) <= k).sum()),
                "This is how many queries are answered; divide by their number.",
            ),
            Mistake(
                "percent instead of a share",
                lambda scores, k: 100 * _recall_at_k(scores, k),
                "The share lies between zero and one; percent are for the reader's table.",
            ),
        ),
        praise="One comparison and one sum, and no sorting.",
    ),
)
