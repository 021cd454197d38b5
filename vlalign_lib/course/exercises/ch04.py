"""Exercises of chapter 04: autoencoders."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.course._exercise import Case, Exercise, Mistake, case

Matrix = NDArray[np.float64]
Decoder = Callable[[Matrix], Matrix]
Copies = tuple[Matrix, Matrix, Matrix, Matrix]


def _three_copies(x: Matrix, y: Matrix) -> Copies:
    seen_x = np.concatenate([x, x, np.zeros_like(x)])
    seen_y = np.concatenate([y, np.zeros_like(y), y])
    return seen_x, seen_y, np.concatenate([x, x, x]), np.concatenate([y, y, y])


def _targets_hidden(x: Matrix, y: Matrix) -> Copies:
    seen_x, seen_y, _, _ = _three_copies(x, y)
    return seen_x, seen_y, seen_x, seen_y


def _never_whole(x: Matrix, y: Matrix) -> Copies:
    n = len(x)
    seen_x, seen_y, want_x, want_y = (part[n:] for part in _three_copies(x, y))
    return seen_x, seen_y, want_x, want_y


def _both_gone(x: Matrix, y: Matrix) -> Copies:
    seen_x = np.concatenate([x, x, np.zeros_like(x)])
    seen_y = np.concatenate([y, y, np.zeros_like(y)])
    return seen_x, seen_y, np.concatenate([x, x, x]), np.concatenate([y, y, y])


def _other_order(x: Matrix, y: Matrix) -> Copies:
    seen_x = np.concatenate([x, np.zeros_like(x), x])
    seen_y = np.concatenate([y, y, np.zeros_like(y)])
    return seen_x, seen_y, np.concatenate([x, x, x]), np.concatenate([y, y, y])


def _copy_cases() -> Sequence[Case]:
    rng = np.random.default_rng(0)
    return [
        case(np.array([[1.0, 2.0]]), np.array([[3.0]]), label="one pair, [1, 2] and [3]"),
        case(rng.normal(size=(4, 3)), rng.normal(size=(4, 2)), label="4 pairs of 3 and 2 numbers"),
    ]


def _square(a: Matrix, b: Matrix) -> float:
    return float(((a - b) ** 2).mean())


def _sum_of_squares(a: Matrix, b: Matrix) -> float:
    return float(((a - b) ** 2).sum(axis=1).mean())


def _corr_loss(
    u: Matrix, v: Matrix, x: Matrix, y: Matrix, to_x: Decoder, to_y: Decoder,
    alpha: float, variant: str, error: Callable[[Matrix, Matrix], float] = _square,
) -> float:  # fmt: skip
    own = error(x, to_x(u)) + error(y, to_y(v))
    crossed = error(x, to_x(v)) + error(y, to_y(u))
    lost = {"plain": own, "cross": crossed, "full": own + crossed}[variant]
    return (1 - alpha) * lost + alpha * error(u, v)


def _weights_swapped(
    u: Matrix, v: Matrix, x: Matrix, y: Matrix, to_x: Decoder, to_y: Decoder,
    alpha: float, variant: str,
) -> float:  # fmt: skip
    return _corr_loss(u, v, x, y, to_x, to_y, 1 - alpha, variant)


def _cross_is_plain(
    u: Matrix, v: Matrix, x: Matrix, y: Matrix, to_x: Decoder, to_y: Decoder,
    alpha: float, variant: str,
) -> float:  # fmt: skip
    swapped = {"plain": "cross", "cross": "plain", "full": "full"}[variant]
    return _corr_loss(u, v, x, y, to_x, to_y, alpha, swapped)


def _full_is_cross(
    u: Matrix, v: Matrix, x: Matrix, y: Matrix, to_x: Decoder, to_y: Decoder,
    alpha: float, variant: str,
) -> float:  # fmt: skip
    known = "cross" if variant == "full" else variant
    return _corr_loss(u, v, x, y, to_x, to_y, alpha, known)


def _full_halved(
    u: Matrix, v: Matrix, x: Matrix, y: Matrix, to_x: Decoder, to_y: Decoder,
    alpha: float, variant: str,
) -> float:  # fmt: skip
    if variant != "full":
        return _corr_loss(u, v, x, y, to_x, to_y, alpha, variant)
    both = [_corr_loss(u, v, x, y, to_x, to_y, alpha, name) for name in ("plain", "cross")]
    return sum(both) / 2


def _summed(
    u: Matrix, v: Matrix, x: Matrix, y: Matrix, to_x: Decoder, to_y: Decoder,
    alpha: float, variant: str,
) -> float:  # fmt: skip
    return _corr_loss(u, v, x, y, to_x, to_y, alpha, variant, error=_sum_of_squares)


def _loss_cases() -> Sequence[Case]:
    rng = np.random.default_rng(1)
    back_x, back_y = rng.normal(size=(3, 4)), rng.normal(size=(3, 2))

    def to_x(code: Matrix) -> Matrix:
        return np.tanh(code @ back_x)

    def to_y(code: Matrix) -> Matrix:
        return np.tanh(code @ back_y)

    u, v = rng.normal(size=(2, 5, 3))
    x, y = rng.normal(size=(5, 4)), rng.normal(size=(5, 2))
    return [
        case(u, v, x, y, to_x, to_y, 0.8, "plain", label='variant "plain", alpha 0.8'),
        case(u, v, x, y, to_x, to_y, 0.2, "cross", label='variant "cross", alpha 0.2'),
        case(u, v, x, y, to_x, to_y, 0.7, "full", label='variant "full", alpha 0.7'),
    ]


def _squared(u: Matrix, v: Matrix) -> Matrix:
    distances: Matrix = ((u[:, None, :] - v[None, :, :]) ** 2).sum(axis=2)
    return distances


def _partner_ratio(u: Matrix, v: Matrix) -> float:
    distance, own = _squared(u, v), np.eye(len(u), dtype=bool)
    return float(distance[own].mean() / distance[~own].mean())


def _among_all(u: Matrix, v: Matrix) -> float:
    distance = _squared(u, v)
    return float(np.diag(distance).mean() / distance.mean())


def _upside_down(u: Matrix, v: Matrix) -> float:
    return 1 / _partner_ratio(u, v)


def _not_squared(u: Matrix, v: Matrix) -> float:
    distance, own = np.sqrt(_squared(u, v)), np.eye(len(u), dtype=bool)
    return float(distance[own].mean() / distance[~own].mean())


def _within_one_view(u: Matrix, v: Matrix) -> float:
    own = np.eye(len(u), dtype=bool)
    return float(np.diag(_squared(u, v)).mean() / _squared(u, u)[~own].mean())


def _no_strangers(u: Matrix, v: Matrix) -> float:
    return float(((u - v) ** 2).sum(axis=1).mean())


def _ratio_cases() -> Sequence[Case]:
    rng = np.random.default_rng(2)
    u = rng.normal(size=(6, 3))
    return [
        case(
            np.array([[0.0], [2.0]]), np.array([[1.0], [4.0]]),
            label="two pairs on a line: pictures at 0 and 2, texts at 1 and 4",
        ),
        case(u, u + 0.5 * rng.normal(size=(6, 3)) + 1, label="6 pairs of 3 numbers"),
    ]  # fmt: skip


def _borrow_labels(u_train: Matrix, c_train: NDArray[np.int64], v_new: Matrix) -> NDArray[np.int64]:
    classes = np.unique(c_train)
    means = np.stack([u_train[c_train == c].mean(axis=0) for c in classes])
    nearest: NDArray[np.int64] = classes[_squared(v_new, means).argmin(axis=1)]
    return nearest


def _places(u_train: Matrix, c_train: NDArray[np.int64], v_new: Matrix) -> NDArray[np.int64]:
    return np.searchsorted(np.unique(c_train), _borrow_labels(u_train, c_train, v_new))


def _furthest(u_train: Matrix, c_train: NDArray[np.int64], v_new: Matrix) -> NDArray[np.int64]:
    classes = np.unique(c_train)
    means = np.stack([u_train[c_train == c].mean(axis=0) for c in classes])
    furthest: NDArray[np.int64] = classes[_squared(v_new, means).argmax(axis=1)]
    return furthest


def _nearest_item(u_train: Matrix, c_train: NDArray[np.int64], v_new: Matrix) -> NDArray[np.int64]:
    nearest: NDArray[np.int64] = c_train[_squared(v_new, u_train).argmin(axis=1)]
    return nearest


def _by_product(u_train: Matrix, c_train: NDArray[np.int64], v_new: Matrix) -> NDArray[np.int64]:
    classes = np.unique(c_train)
    means = np.stack([u_train[c_train == c].mean(axis=0) for c in classes])
    largest: NDArray[np.int64] = classes[(v_new @ means.T).argmax(axis=1)]
    return largest


def _label_cases() -> Sequence[Case]:
    rng = np.random.default_rng(5)
    centres = np.array([[0.0, 0.0], [2.0, 0.5], [1.0, 3.0]])
    classes = np.repeat([4, 7, 9], 5)
    codes = np.repeat(centres, 5, axis=0) + 0.8 * rng.normal(size=(15, 2))
    new = np.repeat(centres, 4, axis=0) + 0.8 * rng.normal(size=(12, 2))
    return [case(codes, classes, new, label="classes 4, 7 and 9, 15 pictures and 12 texts")]


EXERCISES = (
    Exercise(
        id="ch04.cheap_distance",
        task="Give the loss after the codes were halved and the decoders made to double them.",
        hint=(
            "What comes out of the decoders has not changed, so the reconstruction error has not.",
            "The distance is a *squared* one. If both codes are halved, so is their difference.",
        ),
        solution=0.10,
        tolerance=1e-3,
        mistakes=(
            Mistake(
                "nothing changes",
                0.22,
                "The views come back as before, but the distance of the codes does not stay: both "
                "codes are half as large.",
            ),
            Mistake(
                "halved, not quartered",
                0.14,
                "The distance is squared: half the difference is a quarter of its square.",
            ),
            Mistake(
                "the reconstruction shrinks too",
                0.055,
                "The decoders double what they read, so that the views come back as before: the "
                "first term keeps its 0.30.",
            ),
            Mistake(
                "the weights the wrong way round",
                0.25,
                "α is the weight of the distance, 1 − α that of the reconstruction.",
            ),
        ),
        praise="Less than half the loss, and no partner is easier to tell from a stranger.",
    ),
    Exercise(
        id="ch04.three_copies",
        task=(
            "Write `three_copies(x, y)`, which returns `seen_x, seen_y, want_x, want_y` of three "
            "copies of the data: whole, first view alone, second view alone. A view that is not "
            "shown is zero; both views are always asked for."
        ),
        hint=(
            "`np.concatenate([a, b, c])` puts copies below each other, `np.zeros_like(x)` is a "
            "view that is not shown.",
            "The second copy shows x and hides y, the third hides x and shows y. What is asked "
            "for is the same in all three.",
        ),
        solution=_three_copies,
        cases=_copy_cases,
        mistakes=(
            Mistake(
                "what is hidden is not asked for",
                _targets_hidden,
                "The network is asked for zeros where the view was hidden. Then it learns that a "
                "missing text is an empty text. Ask for the true view, always.",
            ),
            Mistake(
                "never a whole pair",
                _never_whole,
                "The first copy, with both views, is missing. Whole pairs are to be had in use, "
                "so rehearse them as well.",
            ),
            Mistake(
                "both hidden in one copy",
                _both_gone,
                "The second copy hides nothing and the third hides both views. From nothing, "
                "nothing comes back but the mean.",
            ),
            Mistake(
                "the single views in the other order",
                _other_order,
                "The copies are right, the order is not: whole, then the first view alone, then "
                "the second.",
            ),
        ),
        praise="Three copies, or masks drawn anew for each batch: the second draws each hole anew "
        "in every epoch.",
    ),
    Exercise(
        id="ch04.corr_loss",
        task="Write the loss of the correspondence autoencoder, in its three variants.",
        hint=(
            "`((a - b) ** 2).mean()` is the mean over rows and dimensions.",
            "Own: x from u, y from v. Crossed: x from v, y from u.",
            "Full is the sum of both, four errors. Then (1 − α) times that, plus α times the "
            "distance of u and v.",
        ),
        solution=_corr_loss,
        cases=_loss_cases,
        mistakes=(
            Mistake(
                "α and 1 − α swapped",
                _weights_swapped,
                "α is the weight of the codes' distance; the reconstruction gets 1 − α.",
            ),
            Mistake(
                "plain and cross swapped",
                _cross_is_plain,
                "In the plain variant each view comes back from its own code, in the cross one "
                "from its partner's.",
            ),
            Mistake(
                "full without the own codes",
                _full_is_cross,
                "The full variant brings each view back from both codes: four errors, not two.",
            ),
            Mistake(
                "full as an average",
                _full_halved,
                "The four errors are added, not averaged. (It would be another α, nothing worse.)",
            ),
            Mistake(
                "sums over the dimensions",
                _summed,
                "Each error is summed over its dimensions. Then the view with the most columns "
                "has the most weight, and α means something else for every data set.",
            ),
        ),
        praise="The cross variant asks for as much as the plain one and has less to remember.",
    ),
    Exercise(
        id="ch04.partner_ratio",
        task=(
            "Write `partner_ratio(u, v)`: the mean squared distance of partners over that of "
            "strangers, a picture and a text of different pairs."
        ),
        hint=(
            "`((u[:, None, :] - v[None, :, :]) ** 2).sum(axis=2)` holds the squared distance of "
            "every picture to every text.",
            "Partners stand on its diagonal; strangers are everything else.",
        ),
        solution=_partner_ratio,
        cases=_ratio_cases,
        mistakes=(
            Mistake(
                "partners among the strangers",
                _among_all,
                "The mean below the line is taken over all pairs, partners included. With few "
                "pairs that hides a good space. Leave the diagonal out.",
            ),
            Mistake(
                "upside down",
                _upside_down,
                "This is strangers over partners. It explodes where the space is perfect.",
            ),
            Mistake(
                "distances not squared",
                _not_squared,
                "The distances are to be squared before the mean is taken, as the loss does.",
            ),
            Mistake(
                "strangers from one view",
                _within_one_view,
                "Strangers are a picture and a *text*. Between pictures alone the ratio does not "
                "see two islands, one of pictures and one of texts.",
            ),
            Mistake(
                "no strangers at all",
                _no_strangers,
                "This is the distance of partners alone, which a collapse makes as small as it "
                "likes. Divide by that of strangers.",
            ),
        ),
        praise="It needs no label, only held-out pairs: report it beside every loss that pulls.",
    ),
    Exercise(
        id="ch04.borrow_labels",
        task=(
            "Write `borrow_labels(u_train, c_train, v_new)`: the class of the nearest class mean "
            "of picture codes, for each text code."
        ),
        hint=(
            "`classes = np.unique(c_train)`; the mean of class c is "
            "`u_train[c_train == c].mean(axis=0)`.",
            "`distance.argmin(axis=1)` is a place among the classes: `classes[...]` makes labels "
            "of it.",
        ),
        solution=_borrow_labels,
        cases=_label_cases,
        mistakes=(
            Mistake(
                "places in the list of classes",
                _places,
                "These are places among the sorted classes, 0 to C − 1, not the classes: index "
                "`classes` with them.",
            ),
            Mistake("the furthest", _furthest, "This is the class of the *furthest* mean."),
            Mistake(
                "the nearest item",
                _nearest_item,
                "This is the class of the nearest single picture. Take the means of the classes "
                "first: they have less noise.",
            ),
            Mistake(
                "the largest product",
                _by_product,
                "A dot product prefers means that are far from the origin. The nearest mean is "
                "asked for.",
            ),
        ),
        praise="No label of a text was used, and none was needed: that is what an aligned space "
        "is for.",
    ),
    Exercise(
        id="ch04.honest_lead",
        task="Give Corr-AE's lead, in mAP, over the best linear row that reads no labels.",
        hint=(
            "LGCFL and JRL read labels; CCA, CFA and KCCA do not.",
            "Take each row's mean over the three data sets first, then compare.",
        ),
        solution=0.0653,
        tolerance=2e-3,
        mistakes=(
            Mistake(
                "against CCA",
                0.2550,
                "That is the lead over CCA, the weakest row of the table.",
            ),
            Mistake(
                "against CFA",
                0.0730,
                "CFA reads no labels either, but KCCA's mean is a little higher.",
            ),
            Mistake(
                "against JRL",
                -0.0133,
                "JRL is better than Corr-AE, and reads labels: compare like with like.",
            ),
        ),
        praise="A quarter of the lead over CCA. Ask of every table which row it wants you to look "
        "at.",
    ),
)
