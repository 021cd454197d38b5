"""What the exercises of chapter 03 accept, and where their typed numbers come from."""

import numpy as np
import pytest

from vlalign_lib.course import assess
from vlalign_lib.course.exercises import find

S_X = np.array([[4.0, 2.0], [2.0, 2.0]])
S_Y = np.array([[9.0, 3.0], [3.0, 2.0]])
S_XY = np.array([[0.0, 1.6], [1.5, 1.3]])


def by_cholesky(x, y, k):
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    lx, ly = (np.linalg.cholesky(np.cov(view.T)) for view in (x, y))
    m = np.linalg.inv(lx) @ (x.T @ y / (len(x) - 1)) @ np.linalg.inv(ly).T
    u, rho, vt = np.linalg.svd(m)
    return np.linalg.inv(lx).T @ u[:, :k], np.linalg.inv(ly).T @ vt[:k].T, rho[:k]


def inverse(values):
    return np.linalg.inv(values)


def typed_mistakes():
    l_x, l_y = np.linalg.cholesky(S_X), np.linalg.cholesky(S_Y)
    return {
        "nothing whitened": S_XY,
        "scaled, not whitened": S_XY / np.sqrt(np.outer(np.diag(S_X), np.diag(S_Y))),
        "only the pictures whitened": inverse(l_x) @ S_XY,
        "only the texts whitened": S_XY @ inverse(l_y).T,
        "the transpose forgotten": inverse(l_x) @ S_XY @ inverse(l_y),
        "inverse instead of inverse root": inverse(S_X) @ S_XY @ inverse(S_Y),
    }


def test_the_solution_by_hand_is_the_solution():
    l_x, l_y = np.linalg.cholesky(S_X), np.linalg.cholesky(S_Y)
    rho = np.linalg.svd(inverse(l_x) @ S_XY @ inverse(l_y).T)[1]
    assert np.allclose(rho, find("ch03.whitened_svd").solution)


@pytest.mark.parametrize("name", typed_mistakes())
def test_the_mistakes_by_hand_are_what_they_say(name):
    made = np.linalg.svd(typed_mistakes()[name])[1]
    assert assess(find("ch03.whitened_svd"), made).mistake == name
    assert assess(find("ch03.whitened_svd"), list(made.round(3))).mistake == name


def test_half_a_circle_agrees_with_a_sum_over_angles():
    theta = (np.arange(200_000) + 0.5) * np.pi / 200_000
    rho = np.corrcoef(np.cos(theta), np.sin(2 * theta))[0, 1]
    assert np.isclose(rho, find("ch03.half_circle").solution, atol=1e-8)
    assert assess(find("ch03.half_circle"), round(rho, 3)).status == "right"


def test_another_whitening_is_as_right():
    assert assess(find("ch03.cca"), by_cholesky).status == "right"


def test_the_sign_of_a_pair_is_free():
    def flipped(x, y, k):
        a, b, rho = by_cholesky(x, y, k)
        return -a, -b, rho

    assert assess(find("ch03.cca"), flipped).status == "right"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda a, b, rho: (a, b), "three things"),
        (lambda a, b, rho: (a.T, b, rho), "`A` has shape"),
        (lambda a, b, rho: (2 * a, 2 * b, rho), "variance one"),
        (lambda a, b, rho: (a, b[:, ::-1], rho), "do not belong together"),
        (lambda a, b, rho: (a, b, rho / 2), "the correlations are"),
    ],
)
def test_what_is_wrong_with_projections_is_said(change, complaint):
    verdict = assess(find("ch03.cca"), lambda x, y, k: change(*by_cholesky(x, y, k)))
    assert verdict.status == "wrong"
    assert verdict.mistake is None
    assert complaint in verdict.message


@pytest.mark.parametrize("off", [lambda n: n / (n - 1), lambda n: (n - 1) / n])
def test_two_divisors_are_recognised_either_way(off):
    def attempt(x, y, k):
        a, b, rho = by_cholesky(x, y, k)
        return a, b, off(len(x)) * rho

    assert assess(find("ch03.cca"), attempt).mistake == "n in one place, n − 1 in another"


def test_the_centred_test_kernel_is_that_of_centred_features():
    rng = np.random.default_rng(5)
    train, test = rng.normal(size=(7, 3)) + 2, rng.normal(size=(4, 3))
    centred = (test - train.mean(axis=0)) @ (train - train.mean(axis=0)).T
    found = find("ch03.centre_test_kernel").solution(test @ train.T, train @ train.T)
    assert np.allclose(found, centred)
