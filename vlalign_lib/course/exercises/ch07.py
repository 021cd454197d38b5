"""Exercises of chapter 07: ranking, triplets and adaptive margins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.course._exercise import Case, Exercise, Mistake, case

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]


def _scores(seed: int, n: int) -> Matrix:
    """Cosines of n pictures with n texts: partners above strangers on the whole."""
    rng = np.random.default_rng(seed)
    scores: Matrix = np.round(rng.uniform(-0.4, 0.8, size=(n, n)) + 0.25 * np.eye(n), 3)
    return scores


def _semi_hard(scores: Matrix, labels: Labels) -> NDArray[np.int64]:
    return _choose(scores, labels, lambda row, strangers, own: _just_below(row, strangers, own))


def _choose(
    scores: Matrix, labels: Labels, rule: Callable[[Matrix, NDArray[np.int64], float], int]
) -> NDArray[np.int64]:
    """Apply a rule to each anchor's row, its strangers' columns and its partner's score."""
    chosen = [
        rule(row, np.flatnonzero(labels != labels[i]), float(row[i]))
        for i, row in enumerate(scores)
    ]
    return np.array(chosen)


def _just_below(row: Matrix, strangers: NDArray[np.int64], own: float) -> int:
    below = strangers[row[strangers] < own]
    if len(below):
        return int(below[row[below].argmax()])
    return int(strangers[row[strangers].argmin()])


def _friends_taken(scores: Matrix, labels: Labels) -> NDArray[np.int64]:
    return _semi_hard(scores, np.arange(len(labels)))


def _hardest_of_all(scores: Matrix, labels: Labels) -> NDArray[np.int64]:
    return _choose(scores, labels, lambda row, s, own: int(s[row[s].argmax()]))


def _wrong_inequality(scores: Matrix, labels: Labels) -> NDArray[np.int64]:
    def just_above(row: Matrix, s: NDArray[np.int64], own: float) -> int:
        above = s[row[s] > own]
        if len(above):
            return int(above[row[above].argmin()])
        return int(s[row[s].argmax()])

    return _choose(scores, labels, just_above)


def _easiest(scores: Matrix, labels: Labels) -> NDArray[np.int64]:
    return _choose(scores, labels, lambda row, s, own: int(s[row[s].argmin()]))


def _falls_back_on_the_hardest(scores: Matrix, labels: Labels) -> NDArray[np.int64]:
    def rule(row: Matrix, s: NDArray[np.int64], own: float) -> int:
        below = s[row[s] < own]
        among = below if len(below) else s
        return int(among[row[among].argmax()])

    return _choose(scores, labels, rule)


def _own_pair(scores: Matrix, labels: Labels) -> NDArray[np.int64]:
    """Take the best of the row that is not above the partner: the partner itself."""
    return np.arange(len(labels))


def _semi_hard_cases() -> Sequence[Case]:
    """Anchors with and without a stranger below the partner, and friends besides the partner."""
    far = _scores(1, 4)
    far[0] = [-0.5, 0.3, 0.6, 0.1]  # the first anchor has every stranger above its partner
    friends = _scores(2, 6)
    friends[0, 3] = friends[0, 0] - 0.01  # a friend just below the partner
    return [
        case(_scores(0, 4), np.arange(4), label="four pairs, each its own class"),
        case(far, np.arange(4), label="four pairs, one with every stranger above its partner"),
        case(friends, np.arange(6) % 3, label="six pairs of three classes"),
        case(_scores(3, 8), np.arange(8) // 2, label="eight pairs of four classes"),
    ]


def _hardest_loss(scores: Matrix, margin: float) -> float:
    return float((_one_way(scores, margin) + _one_way(scores.T, margin)) / 2)


def _one_way(scores: Matrix, margin: float, worst: Callable[..., Any] = np.max) -> float:
    strangers = np.where(np.eye(len(scores), dtype=bool), -np.inf, scores)
    hinges = np.maximum(0, margin - np.diag(scores) + worst(strangers, axis=1))
    return float(hinges.mean())


def _partner_as_stranger(scores: Matrix, margin: float) -> float:
    partner = np.diag(scores)
    rows = np.maximum(0, margin - partner + scores.max(axis=1)).mean()
    columns = np.maximum(0, margin - partner + scores.max(axis=0)).mean()
    return float((rows + columns) / 2)


def _all_strangers(scores: Matrix, margin: float) -> float:
    """The sum over all strangers in place of the largest, in both directions."""

    def way(s: Matrix) -> float:
        hinges = np.maximum(0, margin - np.diag(s)[:, None] + s)
        np.fill_diagonal(hinges, 0)
        return float(hinges.sum(axis=1).mean())

    return (way(scores) + way(scores.T)) / 2


def _not_clipped(scores: Matrix, margin: float) -> float:
    def way(s: Matrix) -> float:
        strangers = np.where(np.eye(len(s), dtype=bool), -np.inf, s)
        return float((margin - np.diag(s) + strangers.max(axis=1)).mean())

    return (way(scores) + way(scores.T)) / 2


def _sign_turned(scores: Matrix, margin: float) -> float:
    def way(s: Matrix) -> float:
        strangers = np.where(np.eye(len(s), dtype=bool), -np.inf, s)
        return float(np.maximum(0, margin + np.diag(s) - strangers.max(axis=1)).mean())

    return (way(scores) + way(scores.T)) / 2


def _loss_cases() -> Sequence[Case]:
    solved = 0.9 * np.eye(3) - 0.3
    return [
        case(_scores(4, 4), 0.2, label="four pairs, m = 0.2"),
        case(_scores(5, 6), 0.1, label="six pairs, m = 0.1"),
        case(_scores(6, 5), 0.0, label="five pairs, m = 0"),
        case(solved, 0.2, label="three pairs in perfect order"),
    ]


EXERCISES = (
    Exercise(
        id="ch07.three_hinges",
        task=(
            "An anchor's friend has cosine 0.7; three strangers have 0.8, 0.6 and 0.4. Give the "
            "three hinges for m = 0.2."
        ),
        hint=(
            "The hinge is zero when the friend is ahead by the margin or more.",
            "$[m - s(u, v^+) + s(u, v^-)]_+$: for the first stranger, $0.2 - 0.7 + 0.8$.",
        ),
        solution=[0.3, 0.1, 0.0],
        mistakes=(
            Mistake(
                "not cut off at zero",
                [0.3, 0.1, -0.1],
                "The last stranger is far enough away already. Its hinge is zero: a negative one "
                "would reward pushing it further for ever.",
            ),
            Mistake(
                "friend and stranger exchanged",
                [0.1, 0.3, 0.5],
                "This asks the stranger to be nearer than the friend. The friend's cosine is "
                "subtracted, the stranger's is added.",
            ),
            Mistake(
                "margin forgotten",
                [0.1, 0.0, 0.0],
                "Without the margin a stranger that is behind by a hair is good enough. Add m.",
            ),
            Mistake(
                "margin on the other side",
                [0.0, 0.0, 0.0],
                "With −m even a stranger that is ahead by less than m costs nothing. The margin "
                "is asked of the friend, so it is added to the hinge.",
            ),
        ),
        praise="A hard stranger, a semi-hard one and an easy one, in this order.",
    ),
    Exercise(
        id="ch07.semi_hard",
        task=(
            "Write `semi_hard(scores, labels)`: for each anchor (row) the column of its semi-hard "
            "stranger, where the anchor's friend is its own partner, on the diagonal."
        ),
        hint=(
            "Go row by row. Strangers are the columns with another label; the partner's score is "
            "`scores[i, i]`.",
            "Among the strangers with a score below the partner's take the one with the largest. "
            "If there is none, take the stranger with the smallest score of all.",
            "`strangers = np.flatnonzero(labels != labels[i])`, then "
            "`below = strangers[scores[i, strangers] < scores[i, i]]`.",
        ),
        solution=_semi_hard,
        cases=_semi_hard_cases,
        mistakes=(
            Mistake(
                "own pair as negative",
                _own_pair,
                "Every anchor is its own stranger: the diagonal holds the partner. Only columns "
                "with another label may be chosen.",
            ),
            Mistake(
                "friends as negatives",
                _friends_taken,
                "The partner is left out, and other items of its class are taken for strangers. "
                "Compare labels, not row numbers.",
            ),
            Mistake(
                "hardest, without a condition",
                _hardest_of_all,
                "This is the hardest stranger, also where it is ahead of the partner. Semi-hard "
                "ones are behind it.",
            ),
            Mistake(
                "wrong inequality",
                _wrong_inequality,
                "You look above the partner. A semi-hard stranger is less similar than the "
                "partner, and as near below it as can be found.",
            ),
            Mistake(
                "easiest",
                _easiest,
                "The most distant stranger has nothing to teach. Take the most similar one below "
                "the partner; the easiest is for anchors that have none.",
            ),
            Mistake(
                "falls back on the hardest",
                _falls_back_on_the_hardest,
                "Right where a stranger is below the partner. Where none is, the hardest is taken "
                "after all, and that is what pulls a young space together. Take the easiest.",
            ),
        ),
        praise="One more step and it is a loss: the hinge of each choice, in both directions.",
    ),
    Exercise(
        id="ch07.hardest_loss",
        task=(
            "Write `hardest_loss(scores, margin)`: the mean over both directions of the hinge "
            "with each anchor's hardest stranger, where all others are strangers."
        ),
        hint=(
            "Rows are pictures that look for texts, columns are texts that look for pictures.",
            "Put −∞ on the diagonal of a copy, then the maximum of a row is its hardest stranger.",
            "The second direction is the same function of `scores.T`.",
        ),
        solution=_hardest_loss,
        cases=_loss_cases,
        mistakes=(
            Mistake(
                "one direction only",
                lambda scores, margin: _one_way(scores, margin),
                "Pictures look for texts here, and texts never look for pictures. Add the same "
                "for the columns and take the mean.",
            ),
            Mistake(
                "the other direction only",
                lambda scores, margin: _one_way(scores.T, margin),
                "Texts look for pictures here, and pictures never look for texts. Add the same "
                "for the rows and take the mean.",
            ),
            Mistake(
                "own pair as negative",
                _partner_as_stranger,
                "The partner is among the strangers. No hinge can fall below m then, whatever is "
                "learnt. Take the diagonal out before the maximum.",
            ),
            Mistake(
                "all strangers",
                _all_strangers,
                "This adds up the hinges of all strangers. Only the largest of a row counts here.",
            ),
            Mistake(
                "not cut off at zero",
                _not_clipped,
                "A solved anchor earns a negative hinge and pays for an unsolved one. Cut each "
                "hinge off at zero before the mean.",
            ),
            Mistake(
                "friend and stranger exchanged",
                _sign_turned,
                "The sign is turned: this loss falls when strangers come nearer than partners.",
            ),
            Mistake(
                "directions added",
                lambda scores, margin: 2 * _hardest_loss(scores, margin),
                "Both directions are there, and the result is twice the mean.",
            ),
        ),
        praise="This is the loss with the hardest negatives of VSE++.",
    ),
    Exercise(
        id="ch07.margin_between_cosines",
        task=(
            "FaceNet asks for a margin of 0.2 between squared distances of unit vectors. Which "
            "margin between cosines asks for the same?"
        ),
        hint=(
            "Multiply out $\\lVert u - v \\rVert^2$ for two vectors of length one.",
            "$\\lVert u - v \\rVert^2 = 2 - 2\\,s(u, v)$. Put it into "
            "$d^2(u, v^-) > d^2(u, v^+) + 0.2$.",
        ),
        solution=0.1,
        mistakes=(
            Mistake(
                "the same number",
                0.2,
                "A squared distance of unit vectors runs from 0 to 4 and a cosine from −1 to 1. "
                "The same number asks for more between cosines.",
            ),
            Mistake(
                "doubled",
                0.4,
                "The other way round: the squared distance changes twice as fast as the cosine.",
            ),
            Mistake(
                "a square root",
                0.2**0.5,
                "The squared distance is linear in the cosine; no root is needed.",
            ),
        ),
        praise="Always ask between what a margin is measured before you copy it.",
    ),
    Exercise(
        id="ch07.adaptive_margin",
        task=(
            "m = 0.2, the class similarity is 0.6 and the schedule stands at w = 0.5. What is the "
            "margin between the two classes?"
        ),
        hint=(
            "Half of the way from the static margin to the adaptive one.",
            "The adaptive margin is $m\\,(1 - \\bar s)$, which is $0.2 \\cdot 0.4$.",
        ),
        solution=0.14,
        mistakes=(
            Mistake(
                "schedule over",
                0.08,
                "That is where the schedule ends, with w = 1. Half of the way is left.",
            ),
            Mistake(
                "similarity instead of its complement",
                0.16,
                "The adaptive part is m times one minus the similarity: classes that are alike get "
                "the smaller margin, not the larger one.",
            ),
            Mistake(
                "schedule not begun",
                0.2,
                "That is the static margin, where the schedule begins, with w = 0.",
            ),
            Mistake(
                "static part forgotten",
                0.04,
                "Half of the static margin is still there: $(1 - w)\\,m$ is added.",
            ),
        ),
    ),
)
