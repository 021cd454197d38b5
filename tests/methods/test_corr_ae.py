"""Correspondence autoencoders: the objective by hand, what ties the codes, what comes back."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from vlalign_lib.methods import CorrAE, CorrCrossAE, CorrFullAE
from vlalign_lib.methods._base import TwoViewNetwork
from vlalign_lib.metrics import mean_reciprocal_rank

VARIANTS = {CorrAE: 0.8, CorrCrossAE: 0.2, CorrFullAE: 0.8}
by_variant = pytest.mark.parametrize("method", VARIANTS, ids=lambda m: m.__name__)


def made(n=300, seed=0):
    """Pairs that share four numbers out of six each, the private ones half as large, mixed."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 4))
    mixing = np.random.default_rng(99)
    x = np.hstack([shared, rng.normal(size=(n, 2)) / 2]) @ mixing.normal(size=(6, 12)) + 5
    y = np.hstack([shared, rng.normal(size=(n, 2)) / 2]) @ mixing.normal(size=(6, 9)) - 2
    return x, 30 * y


def small(method, **settings):
    given = {"n_components": 6, "hidden": (24,), "epochs": 80, "batch_size": 50, "device": "cpu"}
    return method(random_state=0, **{**given, **settings})


@pytest.fixture(scope="module")
def fitted():
    return {method: small(method).fit(*made()) for method in VARIANTS}


def identity_network():
    """Encoders and decoders that are scalings, so that the objective can be written out."""

    class Times(torch.nn.Module):
        def __init__(self, factor):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(factor, dtype=torch.float64))

        def forward(self, rows):
            return rows * self.factor

    return TwoViewNetwork(Times(2.0), Times(3.0), to_images=Times(0.5), to_texts=Times(0.25))


@by_variant
@pytest.mark.parametrize("alpha", [None, 0.0, 0.3, 1.0])
def test_the_objective_by_hand(method, alpha):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 5, 4))
    given = (torch.tensor(x), torch.tensor(y))
    got = method(alpha=alpha)._loss(identity_network(), *given, None, None).item()
    weight = VARIANTS[method] if alpha is None else alpha
    total = 0.0
    for a, b in zip(x, y, strict=True):
        u, v = 2 * a, 3 * b
        own = np.mean((a - 0.5 * u) ** 2) + np.mean((b - 0.25 * v) ** 2)
        crossed = np.mean((a - 0.5 * v) ** 2) + np.mean((b - 0.25 * u) ** 2)
        lost = {CorrAE: own, CorrCrossAE: crossed, CorrFullAE: own + crossed}[method]
        total += (1 - weight) * lost + weight * np.mean((u - v) ** 2)
    assert got == pytest.approx(total / 5, rel=1e-12)


@by_variant
def test_alpha_outside_its_range_is_refused(method):
    with pytest.raises(ValueError, match="alpha"):
        small(method, alpha=1.5).fit(*made())


@by_variant
def test_partners_find_each_other_on_new_pairs(method, fitted):
    x, y = made(seed=1)
    chance = (1 / np.arange(1, 301)).mean()
    assert fitted[method].score(x, y) > 10 * chance


@pytest.mark.parametrize(
    ("method", "tied"), [(CorrAE, False), (CorrCrossAE, False), (CorrFullAE, True)]
)
def test_without_the_distance_only_shared_decoders_tie_the_codes(method, tied):
    score = small(method, alpha=0.0).fit(*made()).score(*made(seed=1))
    chance = (1 / np.arange(1, 301)).mean()
    assert (score > 5 * chance) == tied
    if not tied:
        assert score < 2.5 * chance


def test_without_reconstruction_the_codes_fall_together():
    x, y = made()
    kept, fallen = (small(CorrAE, alpha=a).fit(x, y).embed_images(x).std(0).mean() for a in (0, 1))
    assert fallen < kept / 8


@by_variant
def test_views_come_back_in_their_own_units(method, fitted):
    x, y = made(seed=1)
    by_images, by_texts = (
        fitted[method].reconstruct_from_images(x),
        fitted[method].reconstruct_from_texts(y),
    )
    for guesses in (by_images, by_texts):
        for view, guess in zip((x, y), guesses, strict=True):
            assert guess.shape == view.shape
            assert guess.dtype == np.float64
            left = ((view - guess) ** 2).sum() / ((view - view.mean(0)) ** 2).sum()
            assert left < 0.75  # the mean alone leaves 1


def test_a_reconstruction_needs_a_fit_and_the_right_width(fitted):
    x, y = made(20)
    with pytest.raises(NotFittedError):
        CorrAE().reconstruct_from_images(x)
    with pytest.raises(ValueError, match="expected 12 numbers a row"):
        fitted[CorrAE].reconstruct_from_images(y)


@by_variant
def test_pictures_come_back_flattened(method):
    rng = np.random.default_rng(0)
    pictures, texts = rng.random((30, 8, 8)), rng.random((30, 5))
    model = small(method, epochs=1, channels=2).fit(pictures, texts)
    images, words = model.reconstruct_from_texts(texts[:4])
    assert images.shape == (4, 64)
    assert words.shape == (4, 5)


@by_variant
def test_the_papers_settings(method):
    paper = method.from_paper()
    assert (paper.n_components, paper.batch_size, paper.alpha) == (1024, 100, None)


def test_scores_of_two_views_swapped_are_the_same_problem(fitted):
    x, y = made(seed=1)
    u, v = fitted[CorrFullAE].embed_images(x), fitted[CorrFullAE].embed_texts(y)
    assert mean_reciprocal_rank(u, v) == pytest.approx(mean_reciprocal_rank(v, u), rel=0.25)


def test_a_decoder_of_the_cross_variant_learns_from_the_partner_alone():
    x, y = made(60)
    network = small(CorrCrossAE, epochs=1).fit(x, y).network_
    network.zero_grad()
    given = (torch.randn(8, 12), torch.randn(8, 9))
    CorrCrossAE(alpha=0.0)._loss(network, *given, None, None).backward()
    through_texts = network.to_images.layers[0].weight.grad.clone()
    network.zero_grad()
    v = network.encode(given[1], "texts")
    (network.to_images(v) - given[0]).square().mean().backward()
    torch.testing.assert_close(network.to_images.layers[0].weight.grad, through_texts)
