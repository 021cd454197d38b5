"""Exercises of chapter 05: deep CCA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.course._exercise import Case, Exercise, Mistake, case

Matrix = NDArray[np.float64]


def _parts(h: Matrix, g: Matrix) -> tuple[Matrix, Matrix, Matrix, Matrix, Matrix]:
    """Both views centred, the projections A and B, and ρ: CCA without ridge."""
    h, g = h - h.mean(axis=0), g - g.mean(axis=0)
    n = len(h)
    lx, ly = np.linalg.cholesky(h.T @ h / (n - 1)), np.linalg.cholesky(g.T @ g / (n - 1))
    across = h.T @ g / (n - 1)
    u, rho, vt = np.linalg.svd(np.linalg.solve(ly, np.linalg.solve(lx, across).T).T)
    return h, g, np.linalg.solve(lx.T, u), np.linalg.solve(ly.T, vt.T), rho


def _gradient(h: Matrix, g: Matrix) -> Matrix:
    h, g, a, b, rho = _parts(h, g)
    found: Matrix = (g @ b - (h @ a) * rho) @ a.T / (len(h) - 1)
    return found


def _of_the_loss(h: Matrix, g: Matrix) -> Matrix:
    return -_gradient(h, g)


def _not_divided(h: Matrix, g: Matrix) -> Matrix:
    return _gradient(h, g) * (len(h) - 1)


def _pull_only(h: Matrix, g: Matrix) -> Matrix:
    h, g, a, b, _ = _parts(h, g)
    found: Matrix = g @ b @ a.T / (len(h) - 1)
    return found


def _half_a_push(h: Matrix, g: Matrix) -> Matrix:
    h, g, a, b, rho = _parts(h, g)
    found: Matrix = (g @ b - (h @ a) * rho / 2) @ a.T / (len(h) - 1)
    return found


def _no_shrinking(h: Matrix, g: Matrix) -> Matrix:
    h, g, a, b, _ = _parts(h, g)
    found: Matrix = (g @ b - h @ a) @ a.T / (len(h) - 1)
    return found


def _other_projection(h: Matrix, g: Matrix) -> Matrix:
    h, g, a, b, rho = _parts(h, g)
    found: Matrix = (g @ b - (h @ a) * rho) @ b.T / (len(h) - 1)
    return found


def _not_transposed(h: Matrix, g: Matrix) -> Matrix:
    h, g, a, b, rho = _parts(h, g)
    found: Matrix = (g @ b - (h @ a) * rho) @ a / (len(h) - 1)
    return found


def _two_views(seed: int, n: int, k: int) -> tuple[Matrix, Matrix]:
    """Outputs of two networks: correlated, of unequal spread, far from zero."""
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(n, k)) @ rng.normal(size=(k, k)) + 2
    g = h @ rng.normal(size=(k, k)) + 2 * rng.normal(size=(n, k)) - 1
    return h, g


def _gradient_cases() -> Sequence[Case]:
    return [
        case(*_two_views(0, 30, 3), label="30 pairs of 3 outputs"),
        case(*_two_views(1, 12, 2), label="12 pairs of 2 outputs"),
    ]


def _align(h: Matrix, g: Matrix, h_new: Matrix, g_new: Matrix) -> tuple[Matrix, Matrix]:
    a, b = _parts(h, g)[2:4]
    return (h_new - h.mean(axis=0)) @ a, (g_new - g.mean(axis=0)) @ b


def _align_on_new(h: Matrix, g: Matrix, h_new: Matrix, g_new: Matrix) -> tuple[Matrix, Matrix]:
    return _align(h_new, g_new, h_new, g_new)


def _align_by_new_means(
    h: Matrix, g: Matrix, h_new: Matrix, g_new: Matrix
) -> tuple[Matrix, Matrix]:
    a, b = _parts(h, g)[2:4]
    return (h_new - h_new.mean(axis=0)) @ a, (g_new - g_new.mean(axis=0)) @ b


def _align_not_at_all(h: Matrix, g: Matrix, h_new: Matrix, g_new: Matrix) -> tuple[Matrix, Matrix]:
    return h_new, g_new


def _align_with_one(h: Matrix, g: Matrix, h_new: Matrix, g_new: Matrix) -> tuple[Matrix, Matrix]:
    a = _parts(h, g)[2]
    return (h_new - h.mean(axis=0)) @ a, (g_new - g.mean(axis=0)) @ a


def _align_old(h: Matrix, g: Matrix, h_new: Matrix, g_new: Matrix) -> tuple[Matrix, Matrix]:
    return _align(h, g, h, g)


def _align_white(h: Matrix, g: Matrix, h_new: Matrix, g_new: Matrix) -> tuple[Matrix, Matrix]:
    lx, ly = np.linalg.cholesky(np.cov(h.T)), np.linalg.cholesky(np.cov(g.T))
    u, v = h_new - h.mean(axis=0), g_new - g.mean(axis=0)
    return np.linalg.solve(lx, u.T).T, np.linalg.solve(ly, v.T).T


def _align_tries() -> Sequence[tuple[Matrix, Matrix, Matrix, Matrix]]:
    tries = []
    for seed, n, k in ((2, 60, 3), (3, 40, 4)):
        h, g = _two_views(seed, n + 9, k)
        tries.append((h[:n], g[:n], h[n:], g[n:]))
    return tries


def _check_align(attempt: Callable[..., Any]) -> str | None:
    for h, g, h_new, g_new in _align_tries():
        answer = attempt(h.copy(), g.copy(), h_new.copy(), g_new.copy())
        if not (isinstance(answer, tuple | list) and len(answer) == 2):
            return "expected two arrays, `u, v`."
        u, v = (np.asarray(part, dtype=np.float64) for part in answer)
        wanted = _align(h, g, h_new, g_new)
        if u.shape != wanted[0].shape or v.shape != wanted[1].shape:
            return (
                f"for {len(h_new)} new pairs of {h.shape[1]} outputs, expected two arrays of "
                f"shape {wanted[0].shape}, got {u.shape} and {v.shape}."
            )
        if not _same_space((u, v), wanted):
            return (
                "these are not the canonical variates of the new pairs: their products `u @ v.T` "
                "and `u @ u.T` differ from those of `CCA(k, reg=0)`."
            )
    return None


def _same_space(found: Sequence[Matrix], wanted: Sequence[Matrix]) -> bool:
    """Whether two pairs of embeddings are the same up to a rotation of both (signs, say)."""
    return all(
        a.shape == b.shape and np.allclose(a, b, atol=1e-6)
        for a, b in (
            (found[0] @ found[1].T, wanted[0] @ wanted[1].T),
            (found[0] @ found[0].T, wanted[0] @ wanted[0].T),
            (found[1] @ found[1].T, wanted[1] @ wanted[1].T),
        )
    )


def _align_mistake(name: str, attempt: Callable[..., Any], message: str) -> Mistake:
    def recognise(tried: Any) -> bool:
        for parts in _align_tries():
            u, v = (np.asarray(p) for p in tried(*(part.copy() for part in parts)))
            if not _same_space((u, v), attempt(*parts)):
                return False
        return True

    return Mistake(name, attempt, message, recognise)


def _rotation(h: Matrix, g: Matrix) -> Matrix:
    u, _, vt = np.linalg.svd((h - h.mean(axis=0)).T @ (g - g.mean(axis=0)))
    found: Matrix = u @ vt
    return found


def _rotation_back(h: Matrix, g: Matrix) -> Matrix:
    return _rotation(h, g).T


def _rotation_not_centred(h: Matrix, g: Matrix) -> Matrix:
    u, _, vt = np.linalg.svd(h.T @ g)
    found: Matrix = u @ vt
    return found


def _least_squares(h: Matrix, g: Matrix) -> Matrix:
    h, g = h - h.mean(axis=0), g - g.mean(axis=0)
    found: Matrix = np.asarray(np.linalg.lstsq(h, g, rcond=None)[0], dtype=np.float64)
    return found


def _rotation_of_rows(h: Matrix, g: Matrix) -> Matrix:
    u, _, vt = np.linalg.svd((h - h.mean(axis=0)).T @ (g - g.mean(axis=0)))
    found: Matrix = u @ vt.T
    return found


def _rotation_cases() -> Sequence[Case]:
    return [
        case(*_two_views(4, 50, 3), label="50 pairs of 3 outputs"),
        case(*_two_views(5, 20, 2), label="20 pairs of 2 outputs"),
    ]


def _epochs_for(updates: int, pairs: int, batch_size: int) -> int:
    return -(-updates // (pairs // batch_size))


def _epochs_cases() -> Sequence[Case]:
    return [case(160, 800, 100), case(160, 800, 300), case(100, 800, 300), case(500, 90, 8)]


EXERCISES = (
    Exercise(
        id="ch05.chance",
        task=(
            "Two views of 10 dimensions have nothing in common. Give two numbers: the expected "
            "mean of ρ² in a batch of 25 pairs, and the smallest batch for which it is at most "
            "one tenth."
        ),
        hint=(
            "The sum of the ρ² is expected to be pq / (N − 1). Here p and q are 10, and the mean "
            "is over 10 of them.",
            "The mean is k / (N − 1). Put in k = 10 and N = 25, and then solve "
            "k / (N − 1) = 1/10 for N.",
        ),
        solution=[10 / 24, 101],
        tolerance=2e-3,
        mistakes=(
            Mistake(
                "divided by N",
                [10 / 25, 100],
                "Centring takes one pair away: it is N − 1, not N.",
            ),
            Mistake(
                "the sum instead of the mean",
                [100 / 24, 1001],
                "That is the sum of ten squares. The mean is a tenth of it.",
            ),
            Mistake(
                "correlations instead of squares",
                [(10 / 24) ** 0.5, 1001],
                "You took the root: that is about the size of a typical ρ. The question is about "
                "ρ², for the 25 pairs and for the tenth.",
            ),
            Mistake(
                "one pair too many",
                [10 / 24, 102],
                "Nearly: with 101 pairs the mean is 10/100, which is one tenth exactly, and that "
                "was allowed.",
            ),
        ),
        praise="So at 2.5 pairs a dimension, where the warning ends, chance still looks like this.",
    ),
    Exercise(
        id="ch05.gradient",
        task=(
            "Write `gradient(h, g)`: how the sum of the canonical correlations of two outputs "
            "(N, k) changes with each entry of `h`, without ridge; an array (N, k)."
        ),
        hint=(
            "Centre both. Find A, B and ρ as in chapter 03; `np.linalg.solve(lx.T, u)` is A.",
            "The variates are `h @ a` and `g @ b`. Subtract from the text's variate what the "
            "picture's already says of it, which is ρ times as much.",
            "`(g @ b - (h @ a) * rho) @ a.T / (len(h) - 1)`",
        ),
        solution=_gradient,
        cases=_gradient_cases,
        mistakes=(
            Mistake(
                "of the loss",
                _of_the_loss,
                "Every sign is turned round: this is the gradient of −Σρ, the loss. Asked for is "
                "that of Σρ.",
            ),
            Mistake(
                "not divided by N − 1",
                _not_divided,
                "Everything is N − 1 times too large: the covariances are means, and each pair "
                "has a small share in them.",
            ),
            Mistake(
                "the pull without the push",
                _pull_only,
                "Only the covariance across was differentiated. The covariance within changes "
                "as well; without its term the outputs would grow for ever.",
            ),
            Mistake(
                "half the push",
                _half_a_push,
                "The term of the covariance within is half as large as it should be: it is "
                "quadratic in h, and the two of the derivative cancels the one half.",
            ),
            Mistake(
                "the push without ρ",
                _no_shrinking,
                "The best guess of the text's variate is ρ times the picture's, not the "
                "picture's itself.",
            ),
            Mistake(
                "back through the other projection",
                _other_projection,
                "The bracket is right. It is a change of the picture's variate, and the way back "
                "to the picture's outputs is A, not B.",
            ),
            Mistake(
                "A not transposed",
                _not_transposed,
                "A leads from outputs to variates. The gradient travels backwards: use A "
                "transposed.",
            ),
        ),
        praise=(
            "Each output is pulled towards what its partner says, less what could be predicted "
            "anyway."
        ),
    ),
    Exercise(
        id="ch05.align",
        task=(
            "Write `align(h, g, h_new, g_new)`, the last step of deep CCA: from the outputs "
            "`h, g` for the training pairs (n, k), without ridge, to the variates `u, v` of new "
            "outputs (m, k)."
        ),
        hint=(
            "Fit on `h` and `g`; apply to `h_new` and `g_new`. Which means are taken away from "
            "the new rows?",
            "`CCA(h.shape[1], reg=0).fit(h, g)` has `embed_images` and `embed_texts`.",
        ),
        solution=_align,
        check=_check_align,
        mistakes=(
            _align_mistake(
                "not aligned",
                _align_not_at_all,
                "The outputs came back as they went in. They are in two spaces that have nothing "
                "to do with each other.",
            ),
            _align_mistake(
                "fitted to the new pairs",
                _align_on_new,
                "The projections were fitted to the very pairs they are judged on. Fit on "
                "`h` and `g`; who belongs to whom among the new ones is what is asked.",
            ),
            _align_mistake(
                "centred with the new means",
                _align_by_new_means,
                "The projections are right. New rows are centred with the means of training, or "
                "an embedding would depend on its neighbours in the test.",
            ),
            _align_mistake(
                "one projection for both",
                _align_with_one,
                "The texts went through the pictures' projection. Each view has its own.",
            ),
            _align_mistake(
                "whitened only",
                _align_white,
                "Both clouds are round now, and not yet turned onto each other: the singular "
                "vectors of M are missing.",
            ),
            _align_mistake(
                "the training pairs embedded",
                _align_old,
                "These are the variates of `h` and `g`. Asked for are those of the new rows.",
            ),
        ),
        praise="Three lines, and without them the rest was for nothing.",
    ),
    Exercise(
        id="ch05.rotation",
        task=(
            "Write `rotation(h, g)`: the orthogonal matrix R (k, k) that brings centred `h @ R` "
            "nearest to centred `g`, in the sum of squares."
        ),
        hint=(
            "Multiply out the sum of squares: only the trace of Rᵀ hᵀ g depends on R.",
            "With hᵀ g = U Σ Vᵀ, that trace is largest for R = U Vᵀ.",
            "`u, _, vt = np.linalg.svd(h.T @ g)`, after centring; then `u @ vt`.",
        ),
        solution=_rotation,
        cases=_rotation_cases,
        mistakes=(
            Mistake(
                "turned the other way",
                _rotation_back,
                "This brings g to h. Asked for is the matrix that is multiplied to h.",
            ),
            Mistake(
                "not centred",
                _rotation_not_centred,
                "The means take part: the matrix turns one mean to the other before it looks at "
                "the pairs. Centre both.",
            ),
            Mistake(
                "any matrix",
                _least_squares,
                "That is least squares: near to g, but it stretches and shrinks. A rotation "
                "keeps lengths: RᵀR = I.",
            ),
            Mistake(
                "V for its transpose",
                _rotation_of_rows,
                "`np.linalg.svd` returns V transposed already; it is used as it comes.",
            ),
        ),
        praise="Orthogonal Procrustes, as it is called. Now compare it with the final CCA.",
    ),
    Exercise(
        id="ch05.epochs_for",
        task=(
            "Write `epochs_for(updates, pairs, batch_size)`: the fewest epochs that make at least "
            "so many updates, where the incomplete last batch of an epoch is left out."
        ),
        hint=(
            "How many full batches has an epoch? That is a whole number, rounded down.",
            "Divide the updates by it and round up: `-(-a // b)`.",
        ),
        solution=_epochs_for,
        cases=_epochs_cases,
        mistakes=(
            Mistake(
                "the incomplete batch counted",
                lambda updates, pairs, batch_size: -(-updates // -(-pairs // batch_size)),
                "The incomplete last batch was counted as an update. Deep CCA leaves it out, "
                "since its few pairs would correlate perfectly.",
            ),
            Mistake(
                "rounded down",
                lambda updates, pairs, batch_size: updates // (pairs // batch_size),
                "Rounded down, the last epoch is missing and there are fewer updates than asked "
                "for.",
            ),
            Mistake(
                "a fraction",
                lambda updates, pairs, batch_size: updates * batch_size / pairs,
                "That is the number of passes if batches could run on into the next epoch. An "
                "epoch has a whole number of full batches, and epochs are whole.",
            ),
            Mistake(
                "updates are samples",
                lambda updates, pairs, batch_size: -(-updates // pairs),
                "That many epochs show the network so many pairs, not so many batches.",
            ),
        ),
        praise="Use it to run the comparison with batches of your own.",
    ),
)
