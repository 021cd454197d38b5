"""The bimodal autoencoder: what is hidden in training, the code of a pair, what comes back."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vlalign_lib.methods import BimodalAE


def made(n=400, seed=0):
    """Two views that are mixtures of the same three numbers, with some noise."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(n, 3))
    mixing = np.random.default_rng(98)
    x = shared @ mixing.normal(size=(3, 10)) + 0.3 * rng.normal(size=(n, 10)) + 4
    y = shared @ mixing.normal(size=(3, 8)) + 0.3 * rng.normal(size=(n, 8)) - 1
    return x, 20 * y


def small(**settings):
    given = {"n_components": 16, "hidden": (24,), "epochs": 40, "batch_size": 50, "device": "cpu"}
    return BimodalAE(random_state=0, **{**given, **settings})


@pytest.fixture(scope="module")
def fitted():
    return {missing: small(missing=missing).fit(*made()) for missing in (0.0, 1 / 3)}


class Watch(torch.nn.Module):
    """Remembers what the network was shown, and gives zeros back."""

    def __init__(self, p, q):
        super().__init__()
        self.widths, self.seen = (p, q), None

    def code(self, x, y):
        self.seen = (x, y)
        return torch.zeros(len(x), 1)

    def to_images(self, code):
        return torch.zeros(len(code), self.widths[0])

    def to_texts(self, code):
        return torch.zeros(len(code), self.widths[1])


def watched(missing, training, n=30_000):
    network, ones = Watch(2, 3), (torch.ones(n, 2), 2 * torch.ones(n, 3))
    context = SimpleNamespace(training=training, rng=np.random.default_rng(0))
    loss = BimodalAE(missing=missing)._loss(network, *ones, None, context)
    return network.seen, loss.item()


@pytest.mark.parametrize("missing", [0.0, 0.2, 1 / 3, 0.5])
def test_as_many_are_hidden_as_it_says_and_never_both(missing):
    (x, y), loss = watched(missing, training=True)
    lost_x, lost_y = (x == 0).all(dim=1), (y == 0).all(dim=1)
    assert ((x == 0).any(dim=1) == lost_x).all(), "whole rows are hidden"
    assert not (lost_x & lost_y).any()
    for lost in (lost_x, lost_y):
        error = 4.5 * np.sqrt(max(missing * (1 - missing), 1e-12) / len(x))
        assert abs(lost.double().mean().item() - missing) <= error
    assert loss == pytest.approx(1 + 4), "both views are asked for, hidden or not"


@pytest.mark.parametrize("missing", [0.0, 0.2, 1 / 3, 0.5])
def test_validation_sees_the_mixture_that_training_draws(missing):
    """In its mean: the whole pair, the image alone and the text alone, each with its share."""
    shares = {(1.0, 2.0): 1 - 2 * missing, (1.0, 0.0): missing, (0.0, 2.0): missing}

    class Tells(Watch):
        def code(self, x, y):
            return torch.full((len(x), 1), float(x[0, 0] + 10 * y[0, 0]))

        def to_images(self, code):
            return code.expand(-1, 2)

    context = SimpleNamespace(training=False, rng=None)
    ones = torch.ones(4, 2), 2 * torch.ones(4, 3)
    loss = BimodalAE(missing=missing)._loss(Tells(2, 3), *ones, None, context)
    expected = sum(share * ((x + 10 * y - 1) ** 2 + 4) for (x, y), share in shares.items())
    assert loss.item() == pytest.approx(expected)


@pytest.mark.parametrize("missing", [-0.1, 0.6])
def test_an_impossible_share_is_refused(missing):
    with pytest.raises(ValueError, match=r"missing: expected a share from 0 to 0\.5"):
        small(missing=missing).fit(*made())


def test_a_view_alone_is_a_pair_whose_other_view_is_at_its_mean(fitted):
    x, y = made(20, seed=1)
    method = fitted[1 / 3]
    at_mean = np.tile(method.text_mean_, (20, 1))
    np.testing.assert_allclose(method.embed_pairs(x, at_mean), method.embed_images(x), atol=1e-5)
    at_mean = np.tile(method.image_mean_, (20, 1))
    np.testing.assert_allclose(method.embed_pairs(at_mean, y), method.embed_texts(y), atol=1e-5)


def test_hiding_in_training_brings_the_codes_together(fitted):
    x, y = made(seed=1)
    without, taught = (fitted[missing].score(x, y) for missing in (0.0, 1 / 3))
    assert taught > 1.5 * without


def unexplained(view, guess):
    return ((view - guess) ** 2).sum() / ((view - view.mean(0)) ** 2).sum()


def test_a_whole_pair_comes_back_in_its_own_units(fitted):
    x, y = made(seed=1)
    for method in fitted.values():
        guesses = method.reconstruct(x, y)
        assert unexplained(x, guesses[0]) < 0.2
        assert unexplained(y, guesses[1]) < 0.2


def test_the_other_view_comes_back_from_one_only_when_taught(fitted):
    x, y = made(seed=1)
    for reconstruct, given, wanted in (
        ("reconstruct_from_images", x, (1, y)),
        ("reconstruct_from_texts", y, (0, x)),
    ):
        place, view = wanted
        untaught, taught = (
            unexplained(view, getattr(fitted[m], reconstruct)(given)[place]) for m in (0.0, 1 / 3)
        )
        assert taught < 0.35
        assert taught < untaught / 1.5


def test_pairs_have_to_be_pairs(fitted):
    x, y = made(20)
    with pytest.raises(ValueError, match="images"):
        fitted[0.0].embed_pairs(x, y[:7])
    with pytest.raises(ValueError, match="expected 10 numbers a row"):
        fitted[0.0].reconstruct(y, x)


def test_the_papers_settings():
    assert BimodalAE.from_paper().missing == pytest.approx(1 / 3)


def test_a_pair_far_from_those_of_training_has_no_place(fitted):
    x, y = (rows[:5].copy() for rows in made())
    for far, view in ((x, "images"), (y, "texts")):
        near = far[2].copy()
        far[2] *= 1e150
        with pytest.raises(ValueError, match=f"{view}: row 2 is so far from the training rows"):
            fitted[0.0].embed_pairs(x, y)
        far[2] = near
    x[2] = 1e30
    steep = small(epochs=1).fit(*made())
    for weight in steep.network_.parameters():
        weight.data *= 1e6
    with pytest.raises(ValueError, match="images and texts: row 2 is so far"):
        steep.embed_pairs(x, y)
