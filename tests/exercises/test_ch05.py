"""What the exercises of chapter 05 accept, and where their answers come from."""

import numpy as np
import pytest
import torch

from vlalign_lib.course import assess
from vlalign_lib.course.exercises import find
from vlalign_lib.linear import CCA
from vlalign_lib.losses import cca_loss


def outputs(seed, n=40, k=3):
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(n, k)) + 1
    return h, h @ rng.normal(size=(k, k)) + rng.normal(size=(n, k))


def test_chance_is_what_independent_batches_show():
    rng = np.random.default_rng(0)

    def mean_square(n):
        bases = [np.linalg.qr(v - v.mean(axis=0))[0] for v in rng.normal(size=(2, n, 10))]
        return (np.linalg.svd(bases[0].T @ bases[1])[1] ** 2).mean()

    mean, enough = find("ch05.chance").solution
    assert np.mean([mean_square(25) for _ in range(800)]) == pytest.approx(mean, abs=0.008)
    assert np.mean([mean_square(enough) for _ in range(400)]) == pytest.approx(0.1, abs=0.003)


def test_chance_accepts_three_decimals():
    assert assess(find("ch05.chance"), [0.417, 101]).status == "right"


def test_the_gradient_is_that_of_minus_the_loss():
    h, g = outputs(0)
    x = torch.tensor(h, requires_grad=True)
    (-cca_loss(x, torch.tensor(g), reg=0)).backward()
    np.testing.assert_allclose(find("ch05.gradient").solution(h, g), x.grad.numpy(), atol=1e-12)


def test_a_gradient_by_differences_is_as_right():
    def total(h, g):
        bases = [np.linalg.qr(v - v.mean(axis=0))[0] for v in (h, g)]
        return np.linalg.svd(bases[0].T @ bases[1])[1].sum()

    def attempt(h, g):
        found = np.zeros_like(h)
        for i in np.ndindex(h.shape):
            step = np.zeros_like(h)
            step[i] = 1e-5
            found[i] = (total(h + step, g) - total(h - step, g)) / 2e-5
        return found

    assert assess(find("ch05.gradient"), attempt).status == "right"


def by_library(h, g, h_new, g_new):
    cca = CCA(h.shape[1], reg=0).fit(h, g)
    return cca.embed_images(h_new), cca.embed_texts(g_new)


def test_the_library_aligns_and_signs_are_free():
    assert assess(find("ch05.align"), by_library).status == "right"

    def flipped(*parts):
        u, v = by_library(*parts)
        return u * [-1, *np.ones(u.shape[1] - 1)], v * [-1, *np.ones(u.shape[1] - 1)]

    assert assess(find("ch05.align"), flipped).status == "right"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda u, v: u, "two arrays"),
        (lambda u, v: (u[:, :1], v), "of shape"),
        (lambda u, v: (2 * u, v), "not the canonical variates"),
        (lambda u, v: (-u, v), "not the canonical variates"),
    ],
)
def test_what_is_wrong_with_an_alignment_is_said(change, complaint):
    verdict = assess(find("ch05.align"), lambda *parts: change(*by_library(*parts)))
    assert verdict.status == "wrong"
    assert verdict.mistake is None
    assert complaint in verdict.message


def test_no_other_rotation_comes_nearer():
    h, g = outputs(1)
    best = find("ch05.rotation").solution(h, g)
    h, g = h - h.mean(axis=0), g - g.mean(axis=0)
    np.testing.assert_allclose(best.T @ best, np.eye(3), atol=1e-12)
    rng = np.random.default_rng(0)
    for size in (0.01, 0.3, 3.0):
        turn = np.linalg.qr(np.eye(3) + size * rng.normal(size=(3, 3)))[0]
        assert np.linalg.norm(h @ best - g) < np.linalg.norm(h @ best @ turn - g)


@pytest.mark.parametrize(("updates", "pairs", "batch_size"), [(160, 800, 25), (7, 100, 33)])
def test_epochs_make_enough_updates_and_one_fewer_does_not(updates, pairs, batch_size):
    epochs = find("ch05.epochs_for").solution(updates, pairs, batch_size)
    assert epochs * (pairs // batch_size) >= updates > (epochs - 1) * (pairs // batch_size)
