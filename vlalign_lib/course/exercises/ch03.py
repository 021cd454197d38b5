"""Exercises of chapter 03: linear coordinates, CCA and kin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.course._exercise import Case, Exercise, Mistake, case

Matrix = NDArray[np.float64]
Fitted = tuple[Matrix, Matrix, Matrix]


def _root_inverse(s: Matrix, power: float = -0.5) -> Matrix:
    """S to a power, through its eigenvectors."""
    values, vectors = np.linalg.eigh(s)
    powered: Matrix = (vectors * values**power) @ vectors.T
    return powered


def _covariances(x: Matrix, y: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    n = len(x)
    return x.T @ x / (n - 1), y.T @ y / (n - 1), x.T @ y / (n - 1)


def _solve(sx: Matrix, sy: Matrix, sxy: Matrix, k: int) -> Fitted:
    wx, wy = _root_inverse(sx), _root_inverse(sy)
    u, rho, vt = np.linalg.svd(wx @ sxy @ wy)
    return wx @ u[:, :k], wy @ vt[:k].T, rho[:k]


def _cca(x: Matrix, y: Matrix, k: int) -> Fitted:
    return _solve(*_covariances(x, y), k)


def _not_centred(x: Matrix, y: Matrix, k: int) -> Fitted:
    n = len(x)
    return _solve(x.T @ x / (n - 1), y.T @ y / (n - 1), x.T @ y / (n - 1), k)


def _two_divisors(x: Matrix, y: Matrix, k: int) -> Fitted:
    sx, sy, sxy = _covariances(x, y)
    return _solve(sx, sy, sxy * (len(x) - 1) / len(x), k)


def _divided_twice(x: Matrix, y: Matrix, k: int) -> Fitted:
    sx, sy, sxy = _covariances(x, y)
    return _solve(sx, sy, sxy / len(x), k)


def _still_white(x: Matrix, y: Matrix, k: int) -> Fitted:
    sx, sy, sxy = _covariances(x, y)
    u, rho, vt = np.linalg.svd(_root_inverse(sx) @ sxy @ _root_inverse(sy))
    return u[:, :k], vt[:k].T, rho[:k]


def _wrong_side(x: Matrix, y: Matrix, k: int) -> Fitted:
    sx, sy, sxy = _covariances(x, y)
    lx, ly = np.linalg.cholesky(sx), np.linalg.cholesky(sy)
    u, rho, vt = np.linalg.svd(np.linalg.solve(ly, np.linalg.solve(lx, sxy).T).T)
    return np.linalg.solve(lx, u[:, :k]), np.linalg.solve(ly, vt[:k].T), rho[:k]


def _root_not_inverted(x: Matrix, y: Matrix, k: int) -> Fitted:
    sx, sy, sxy = _covariances(x, y)
    u, rho, vt = np.linalg.svd(_root_inverse(sx) @ sxy @ _root_inverse(sy))
    return _root_inverse(sx, 0.5) @ u[:, :k], _root_inverse(sy, 0.5) @ vt[:k].T, rho[:k]


def _no_root(x: Matrix, y: Matrix, k: int) -> Fitted:
    sx, sy, sxy = _covariances(x, y)
    wx, wy = np.linalg.inv(sx), np.linalg.inv(sy)
    u, rho, vt = np.linalg.svd(wx @ sxy @ wy)
    return wx @ u[:, :k], wy @ vt[:k].T, rho[:k]


def _rows_for_columns(x: Matrix, y: Matrix, k: int) -> Fitted:
    sx, sy, sxy = _covariances(x, y)
    wx, wy = _root_inverse(sx), _root_inverse(sy)
    u, rho, vt = np.linalg.svd(wx @ sxy @ wy)
    return wx @ u[:, :k], wy @ vt[:, :k], rho[:k]


def _squared(x: Matrix, y: Matrix, k: int) -> Fitted:
    a, b, rho = _cca(x, y, k)
    return a, b, rho**2


def _signs_apart(x: Matrix, y: Matrix, k: int) -> Fitted:
    a, b, rho = _cca(x, y, k)
    return a, -b, rho


def _two_views(seed: int, n: int, p: int, q: int) -> tuple[Matrix, Matrix]:
    """Views with means far from zero, unequal scales and two things in common."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 2)) * [1.0, 0.7]
    x = shared @ rng.normal(size=(2, p)) + rng.normal(size=(n, p)) * rng.uniform(0.4, 2, p) + 3
    y = shared @ rng.normal(size=(2, q)) + rng.normal(size=(n, q)) * rng.uniform(0.4, 2, q) - 2
    return x, y


def _cca_tries() -> tuple[tuple[Matrix, Matrix, int], ...]:
    return (*_two_views(0, 60, 4, 3), 2), (*_two_views(1, 25, 3, 3), 3)


def _check_cca(attempt: Callable[..., Any]) -> str | None:
    for x, y, k in _cca_tries():
        complaint = _complain(attempt(x.copy(), y.copy(), k), x, y, k)
        if complaint is not None:
            n, p = x.shape
            return f"For {n} pairs of {p} and {y.shape[1]} numbers, k = {k}: {complaint}"
    return None


def _complain(answer: Any, x: Matrix, y: Matrix, k: int) -> str | None:
    """Say what is wrong with projections and correlations, or return None."""
    if not (isinstance(answer, tuple | list) and len(answer) == 3):
        return "expected three things, `A, B, rho`."
    a, b, rho = (np.asarray(part, dtype=np.float64) for part in answer)
    shapes = (x.shape[1], k), (y.shape[1], k), (k,)
    for name, part, shape in zip(("A", "B", "rho"), (a, b, rho), shapes, strict=True):
        if part.shape != shape:
            return f"`{name}` has shape {part.shape}; expected {shape}."
    wanted = _cca(x, y, k)[2]
    if not np.allclose(rho, wanted, atol=1e-6):
        return f"the correlations are {np.round(wanted, 3)}, and `rho` is {np.round(rho, 3)}."
    u, v = (x - x.mean(axis=0)) @ a, (y - y.mean(axis=0)) @ b
    for name, variates in (("A", u), ("B", v)):
        found = variates.std(axis=0, ddof=1)
        if not np.allclose(found, 1, atol=1e-6):
            return (
                f"the variates that `{name}` makes should each have variance one; their standard "
                f"deviations are {np.round(found, 3)}."
            )
    if not np.allclose(u.T @ v / (len(x) - 1), np.diag(wanted), atol=1e-6):
        return (
            "`rho` is right, but the variates do not have these correlations: `A` and `B` do not "
            "belong together."
        )
    return None


def _up_to_signs(wrong: Callable[..., Fitted]) -> Callable[[Any], bool]:
    """Recognise attempts that answer as ``wrong`` does, whatever the signs of the columns."""

    def settled(answer: Any) -> list[Matrix]:
        a, b, rho = (np.asarray(part, dtype=np.float64) for part in answer)
        both = np.vstack([a, b])
        signs = np.sign(both[np.abs(both).argmax(axis=0), np.arange(both.shape[1])])
        return [a * signs, b * signs, rho]

    def recognise(attempt: Any) -> bool:
        return all(
            np.allclose(left, right, atol=1e-6)
            for x, y, k in _cca_tries()
            for left, right in zip(
                settled(wrong(x, y, k)), settled(attempt(x.copy(), y.copy(), k)), strict=True
            )
        )

    return recognise


def _left_white(attempt: Any) -> bool:
    """Recognise projections that are orthonormal: right in the whitened space only."""
    for x, y, k in _cca_tries():
        a, b, rho = (np.asarray(part) for part in attempt(x.copy(), y.copy(), k))
        if not (
            np.allclose(a.T @ a, np.eye(k), atol=1e-6)
            and np.allclose(b.T @ b, np.eye(k), atol=1e-6)
            and np.allclose(rho, _cca(x, y, k)[2], atol=1e-6)
        ):
            return False
    return True


def _scaled_by(*factors: Callable[[int], float]) -> Callable[[Any], bool]:
    """Recognise correlations that are all off by one of the ``factors``, functions of n."""

    def recognise(attempt: Any) -> bool:
        return any(
            all(
                np.allclose(np.asarray(attempt(x.copy(), y.copy(), k)[2]), factor(len(x)) * rho)
                for x, y, k in _cca_tries()
                for rho in (_cca(x, y, k)[2],)
            )
            for factor in factors
        )

    return recognise


def _cca_mistake(
    name: str,
    attempt: Callable[..., Fitted],
    message: str,
    recognise: Callable[[Any], bool] | None = None,
) -> Mistake:
    return Mistake(name, attempt, message, recognise or _up_to_signs(attempt))


def _centre_test(k_test: Matrix, k_train: Matrix) -> Matrix:
    columns = k_train.mean(axis=0)
    centred: Matrix = k_test - columns - k_test.mean(axis=1, keepdims=True) + columns.mean()
    return centred


def _kernel_cases() -> Sequence[Case]:
    rng = np.random.default_rng(3)
    train, test = rng.normal(size=(6, 2)) + 1, rng.normal(size=(4, 2))
    linear = (test @ train.T, train @ train.T)
    points, few = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)) + 2

    def gaussian(a: Matrix, b: Matrix) -> Matrix:
        squared: Matrix = ((a[:, None] - b[None]) ** 2).sum(axis=2)
        return np.exp(-0.3 * squared)

    return [
        case(*linear, label="a linear kernel, 4 test rows and 6 training rows"),
        case(
            gaussian(few, points),
            gaussian(points, points),
            label="a Gaussian kernel, 2 test rows and 5 training rows",
        ),
    ]


def _by_test_means(k_test: Matrix, k_train: Matrix) -> Matrix:
    centred: Matrix = (
        k_test - k_test.mean(axis=0) - k_test.mean(axis=1, keepdims=True) + k_test.mean()
    )
    return centred


def _choose_reg(x: Matrix, y: Matrix, x_val: Matrix, y_val: Matrix, regs: Sequence[float]) -> float:
    return float(regs[int(np.argmax(_worth(x, y, x_val, y_val, regs)))])


def _worth(
    x: Matrix, y: Matrix, x_new: Matrix, y_new: Matrix, regs: Sequence[float]
) -> list[float]:
    """The mean correlation of two components on new pairs, for each regularisation."""
    from vlalign_lib.linear import CCA, correlation

    worth = []
    for reg in regs:
        cca = CCA(n_components=2, reg=reg).fit(x, y)
        worth.append(float(correlation(cca.embed_images(x_new), cca.embed_texts(y_new)).mean()))
    return worth


def _reg_cases() -> Sequence[Case]:
    """Two things in common, beneath three louder ones that each view has for itself."""
    cases = []
    for seed, regs in ((0, (1e-4, 1e-2, 0.1, 10.0)), (1, (100.0, 0.1, 0.01))):
        rng = np.random.default_rng(seed)
        shared = rng.normal(size=(400, 2))
        x, y = rng.normal(size=(2, 400, 30))
        for view in (x, y):
            view[:, :6] += shared @ rng.normal(size=(2, 6))
            view[:, 6:] += 2 * rng.normal(size=(400, 3)) @ rng.normal(size=(3, 24))
        label = f"60 pairs of 30 numbers and regs = {regs}"
        cases.append(case(x[:60], y[:60], x[60:], y[60:], regs, label=label))
    return cases


EXERCISES = (
    Exercise(
        id="ch03.whitened_svd",
        task=(
            "Find both canonical correlations by hand, the larger first, from S_x, S_y and S_xy."
        ),
        hint=(
            "Take each covariance apart as $S = L L^\\top$ with $L$ lower triangular. For "
            "$S_x$ the first entry of $L_x$ is the square root of 4.",
            "$L_x$ has the rows (2, 0) and (1, 1), $L_y$ has the rows (3, 0) and (1, 1). Solve "
            "$L_x N = S_{xy}$ row by row, then $M L_y^\\top = N$ column by column.",
            "$M$ has one number other than zero in each row and each column, so its singular "
            "values can be read off.",
        ),
        solution=[0.8, 0.5],
        tolerance=2e-3,
        mistakes=(
            Mistake(
                "nothing whitened",
                [2.3327, 1.0289],
                "These are the singular values of S_xy itself: covariances, which grow with the "
                "scale of the views. Whiten both sides first.",
            ),
            Mistake(
                "scaled, not whitened",
                [0.9048, 0.2210],
                "Dividing by the standard deviations gives the correlations between columns, but "
                "the columns of one view still lean on each other. Use L, not the diagonal.",
            ),
            Mistake(
                "only the pictures whitened",
                [1.6070, 0.7467],
                "The texts still have their own scale. Both views need whitening: "
                "$M = L_x^{-1} S_{xy} L_y^{-\\top}$.",
            ),
            Mistake(
                "only the texts whitened",
                [1.8037, 0.4435],
                "The pictures still have their own scale. Both views need whitening: "
                "$M = L_x^{-1} S_{xy} L_y^{-\\top}$.",
            ),
            Mistake(
                "the transpose forgotten",
                [0.9450, 0.4233],
                "On the right stands the inverse of L_y transposed, not of L_y.",
            ),
            Mistake(
                "inverse instead of inverse root",
                [0.4625, 0.1441],
                "S⁻¹ takes the scale out twice. Each side needs the root only: L⁻¹.",
            ),
            Mistake(
                "squares",
                [0.64, 0.25],
                "These are the squares: the eigenvalues of M Mᵀ. The correlations are the singular "
                "values of M, their roots.",
            ),
            Mistake(
                "smallest first",
                [0.5, 0.8],
                "The numbers are right; canonical correlations are written largest first.",
            ),
        ),
        praise="And no computer: all that CCA needs is two triangles and a look at M.",
    ),
    Exercise(
        id="ch03.cca",
        task=(
            "Write `cca(x, y, k)`, which returns `A, B, rho`: projections of shape (p, k) and "
            "(q, k) and the k largest canonical correlations, without regularisation. Whiten with "
            "the inverse square roots of the covariances; the variates have variance one "
            "(divide by n − 1)."
        ),
        hint=(
            "Centre both views. Make S_x, S_y and S_xy with the same divisor, n − 1.",
            "`values, vectors = np.linalg.eigh(s)`, then `(vectors / np.sqrt(values)) @ vectors.T` "
            "is the inverse square root of `s`.",
            "`u, rho, vt = np.linalg.svd(wx @ sxy @ wy)`. The directions found there live in the "
            "whitened spaces: multiply by `wx` and `wy` once more. `vt` holds them in its rows.",
        ),
        solution=_cca,
        check=_check_cca,
        mistakes=(
            _cca_mistake(
                "no centring",
                _not_centred,
                "The means are still in: $E[uv]$ is a covariance only where they are zero, and "
                "here two constants agree very well with each other. Subtract the column means.",
            ),
            _cca_mistake(
                "n in one place, n − 1 in another",
                _two_divisors,
                "Every correlation is off by the same factor, about one. Divide all three "
                "covariances by the same number; it then cancels.",
                _scaled_by(lambda n: (n - 1) / n, lambda n: n / (n - 1)),
            ),
            _cca_mistake(
                "divided by n twice",
                _divided_twice,
                "The correlations are about n times too small: S_xy is divided once more than "
                "S_x and S_y.",
                _scaled_by(lambda n: 1 / n, lambda n: 1 / (n - 1)),
            ),
            _cca_mistake(
                "never back from the whitened space",
                _still_white,
                "`rho` is right, but `A` and `B` are directions for whitened data. Multiply "
                "by the inverse roots once more, so that they can be applied to the data.",
                _left_white,
            ),
            _cca_mistake(
                "whitening with the wrong side",
                _wrong_side,
                "`rho` is right. With Cholesky factors the way back is the transposed one: "
                "`A = np.linalg.solve(lx.T, u)`, because $u = L_x^\\top a$.",
            ),
            _cca_mistake(
                "back with the root instead of its inverse",
                _root_not_inverted,
                "`rho` is right. A whitened direction is $S_x^{1/2} a$, so $a$ is the inverse root "
                "times it: the same matrix as on the way in.",
            ),
            _cca_mistake(
                "inverse instead of inverse root",
                _no_root,
                "S⁻¹ stands where S to the power −1/2 belongs, so the scale is taken out twice.",
            ),
            _cca_mistake(
                "rows taken for columns",
                _rows_for_columns,
                "`np.linalg.svd` returns $V^\\top$: the directions of the texts are its rows. Take "
                "`vt[:k].T`, not `vt[:, :k]`.",
            ),
            _cca_mistake(
                "squares",
                _squared,
                "`A` and `B` are right, and `rho` is squared: eigenvalues of $M M^\\top$ where the "
                "singular values of $M$ are asked for.",
            ),
            _cca_mistake(
                "signs chosen apart",
                _signs_apart,
                "`A` and `B` point in opposite directions, so that each pair of variates has the "
                "correlation −ρ. Flip a column of one only together with that of the other.",
            ),
        ),
        praise="The library does the same, with Cholesky factors, a ridge, and more caution.",
    ),
    Exercise(
        id="ch03.half_circle",
        task="What is the correlation of cos θ and sin 2θ where θ is uniform on the upper half?",
        hint=(
            "The density is $1/\\pi$ on $[0, \\pi]$. Both means are zero, so the covariance is "
            "$\\frac1\\pi \\int_0^\\pi \\cos\\theta \\sin 2\\theta \\, d\\theta$.",
            "$\\cos\\theta \\sin 2\\theta = \\frac12 (\\sin 3\\theta + \\sin\\theta)$, and both "
            "variances are one half.",
        ),
        solution=8 / (3 * np.pi),
        tolerance=2e-3,
        mistakes=(
            Mistake(
                "the whole circle",
                0.0,
                "Over the whole circle the integral is zero. Here only the upper half counts, "
                "and there cos θ and sin 2θ have the same sign everywhere.",
            ),
            Mistake(
                "a covariance",
                4 / (3 * np.pi),
                "This is the covariance. Divide by both standard deviations; each is the square "
                "root of one half.",
            ),
            Mistake(
                "divided by the variances",
                16 / (3 * np.pi),
                "More than one: this is divided by both variances. A correlation divides by the "
                "standard deviations, their roots.",
            ),
            Mistake(
                "divided by a sum",
                4 / (3 * np.pi) / np.sqrt(2),
                "The standard deviations are multiplied, not added. This slip is in published "
                "code; see the traps.",
            ),
            Mistake(
                "the sign lost",
                -8 / (3 * np.pi),
                "The size is right, and the sign is not: left of the middle both are negative, "
                "right of it both are positive.",
            ),
        ),
        praise=(
            "So linear CCA is not blind to angles as such. It is blind where what it can see on "
            "one side of the circle is undone by the other side."
        ),
    ),
    Exercise(
        id="ch03.centre_test_kernel",
        task=(
            "Write `centre_test_kernel(k_test, k_train)`: the kernel of m new rows with n training "
            "rows, (m, n), centred in feature space around the mean of the training rows."
        ),
        hint=(
            "Write the kernel as $\\phi(t)^\\top \\phi(x_j)$ and replace each $\\phi$ by $\\phi$ "
            "minus the training mean. Four terms come out.",
            "The terms are: the kernel; the mean of each test row over the training rows; the "
            "mean of each column of `k_train`; the mean of all of `k_train`. Only the first two "
            "know the new rows.",
        ),
        solution=_centre_test,
        cases=_kernel_cases,
        mistakes=(
            Mistake(
                "centred with test means",
                _by_test_means,
                "The mean that is taken away is that of the test rows. The embedding of a picture "
                "then depends on which other pictures are tested with it, and a single one always "
                "lands on zero. Column means and total mean come from `k_train`.",
            ),
            Mistake(
                "total mean of the test kernel",
                lambda k_test, k_train: (
                    k_test
                    - k_train.mean(axis=0)
                    - k_test.mean(axis=1, keepdims=True)
                    + k_test.mean()
                ),
                "The last term is the training mean with itself: the mean of `k_train`.",
            ),
            Mistake(
                "total mean left out",
                lambda k_test, k_train: (
                    k_test - k_train.mean(axis=0) - k_test.mean(axis=1, keepdims=True)
                ),
                "Three terms of four: minus times minus leaves the mean of all of `k_train`, "
                "to be added.",
            ),
            Mistake(
                "total mean subtracted",
                lambda k_test, k_train: (
                    k_test
                    - k_train.mean(axis=0)
                    - k_test.mean(axis=1, keepdims=True)
                    - k_train.mean()
                ),
                "Minus times minus is plus: the mean of `k_train` is added.",
            ),
            Mistake(
                "columns only",
                lambda k_test, k_train: k_test - k_train.mean(axis=0),
                "Only one of the two features is centred. The new rows need it as well.",
            ),
            Mistake(
                "rows only",
                lambda k_test, k_train: k_test - k_test.mean(axis=1, keepdims=True),
                "Only one of the two features is centred. The training rows need it as well.",
            ),
            Mistake(
                "not centred",
                lambda k_test, k_train: np.array(k_test),
                "This is the kernel as it came.",
            ),
        ),
        praise="Every number that is taken away was known when training ended, as it has to be.",
    ),
    Exercise(
        id="ch03.choose_reg",
        task=(
            "Write `choose_reg(x, y, x_val, y_val, regs)`: the entry of `regs` with which "
            "`CCA(n_components=2, reg=…)`, fitted to x and y, has the largest mean correlation on "
            "the validation pairs."
        ),
        hint=(
            "Fit once for each entry. `correlation(cca.embed_images(x_val), "
            "cca.embed_texts(y_val))` gives one number a component.",
            "Take the mean over the components, `np.argmax` over the entries, and return the "
            "entry itself.",
        ),
        solution=_choose_reg,
        cases=_reg_cases,
        mistakes=(
            Mistake(
                "chosen on the training pairs",
                lambda x, y, x_val, y_val, regs: min(regs),
                "This is the weakest regularisation, with which the training correlation is always "
                "largest (`correlations_` is one of those). Measure on pairs that the fit has not "
                "seen.",
            ),
            Mistake(
                "the strongest there is",
                lambda x, y, x_val, y_val, regs: max(regs),
                "This is always the strongest regularisation. More is not always better: past "
                "some point the fit no longer whitens at all.",
            ),
            Mistake(
                "the place instead of the value",
                lambda x, y, x_val, y_val, regs: int(np.argmax(_worth(x, y, x_val, y_val, regs))),
                "This is the index of the best entry. Return the entry, `regs[index]`.",
            ),
            Mistake(
                "the worst",
                lambda x, y, x_val, y_val, regs: float(
                    regs[int(np.argmin(_worth(x, y, x_val, y_val, regs)))]
                ),
                "This entry has the smallest correlation on the validation pairs. A correlation is "
                "no loss: more is better.",
            ),
        ),
        praise="Five lines, and the difference between a perfect score and a useful one.",
    ),
)
