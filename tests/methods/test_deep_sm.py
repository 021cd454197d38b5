"""Deep semantic matching: two classifiers that never meet, and yet one space."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from vlalign_lib.methods import DeepSM
from vlalign_lib.metrics import mean_average_precision
from vlalign_lib.training import FitContext


def world(n=180, seed=0):
    """Three classes, seen through two bent windows; vectors."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    latent = rng.normal(size=(n, 3)) + 4 * np.eye(3)[labels]
    images = np.tanh(latent @ rng.normal(size=(3, 20))) + 0.1 * rng.normal(size=(n, 20))
    texts = np.tanh(latent @ rng.normal(size=(3, 12))) + 0.1 * rng.normal(size=(n, 12))
    return images, texts, labels


def small(**settings):
    return DeepSM(**{"epochs": 6, "batch_size": 60, "hidden": (16,), "random_state": 0} | settings)


def other_partners(labels, seed=1):
    """Row numbers that give each item another partner of its class."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(labels))
    for label in np.unique(labels):
        rows[labels == label] = rng.permutation(rows[labels == label])
    return rows


def test_other_partners_of_the_class_change_no_bit_of_the_image_network():
    images, texts, labels = world()
    rows = other_partners(labels)
    assert (rows != np.arange(len(rows))).mean() > 0.9
    paired = small().fit(images, texts, labels)
    apart = small().fit(images, texts[rows], labels)
    np.testing.assert_array_equal(paired.embed_images(images), apart.embed_images(images))


def test_other_partners_of_the_class_change_nothing_at_all():
    """The text network sees the same texts in another order: the sums differ in rounding only."""
    images, texts, labels = world()
    everything = {"batch_size": None, "dropout": 0.0, "epochs": 15}
    paired = small(**everything).fit(images, texts, labels)
    apart = small(**everything).fit(images, texts[other_partners(labels)], labels)
    np.testing.assert_allclose(paired.embed_texts(texts), apart.embed_texts(texts), atol=1e-4)


def test_one_network_is_blind_to_what_the_other_sees():
    images, texts, labels = world()
    noise = np.random.default_rng(5).normal(size=texts.shape)
    with_texts = small().fit(images, texts, labels)
    with_noise = small().fit(images, noise, labels)
    np.testing.assert_array_equal(with_texts.embed_images(images), with_noise.embed_images(images))


def test_two_networks_that_never_met_search_each_other():
    images, texts, labels = world(n=360)
    method = small(epochs=40).fit(images[:180], texts[:180][other_partners(labels[:180])],
                                  labels[:180])  # fmt: skip
    u, v = method.embed_images(images[180:]), method.embed_texts(texts[180:])
    assert mean_average_precision(u, v, labels[180:], labels[180:]) > 0.9


def test_the_loss_is_that_of_two_classifiers_by_loops():
    images, texts, labels = world()
    method = small(dropout=0.0, epochs=1).fit(images, texts, labels)
    x, y = torch.randn(5, 20), torch.randn(5, 12)
    numbers = torch.tensor([0, 2, -1, 1, 1])
    context = FitContext(1, 1, 0.0, True, np.random.default_rng(0))
    value = method._loss(method.network_, x, y, numbers, context).item()
    total, counted = 0.0, 0
    with torch.no_grad():
        for a, b, c in zip(x, y, numbers.tolist(), strict=True):
            if c < 0:
                continue
            counted += 1
            for row, encoder in ((a, method.network_.images), (b, method.network_.texts)):
                posterior = softmax(encoder(row[None])[0].double().numpy())
                total -= np.log(posterior[c])
    assert value == pytest.approx(total / counted, rel=1e-5)


def test_what_is_compared_are_posteriors_at_the_temperature():
    images, texts, labels = world()
    method = small().fit(images, texts, labels)
    sure = method.embed_images(images)
    np.testing.assert_allclose(sure.sum(axis=1), 1)
    calm = method.set_params(temperature=3.0).embed_images(images)
    expected = sure ** (1 / 3)
    np.testing.assert_allclose(calm, expected / expected.sum(axis=1, keepdims=True), rtol=1e-9)
    logs = method.set_params(posterior="logarithms").embed_images(images)
    np.testing.assert_allclose(np.exp(logs), calm, rtol=1e-9)
    assert (sure.argmax(axis=1) == calm.argmax(axis=1)).all()


def test_a_temperature_parts_what_over_confidence_has_tied():
    images, texts, labels = world()
    method = small(epochs=1).fit(images, texts, labels)
    with torch.no_grad():
        last = method.network_.images.layers[-1]
        last.weight.mul_(1e4)
        last.bias.mul_(1e4)
    tied = np.unique(method.embed_images(images).round(12), axis=0)
    parted = np.unique(method.set_params(temperature=1e4).embed_images(images), axis=0)
    logs = method.set_params(temperature=1.0, posterior="logarithms").embed_images(images)
    assert len(tied) < 10
    assert len(parted) == len(images)
    assert np.isfinite(logs).all()


def test_training_knows_no_temperature():
    images, texts, labels = world()
    warm = small(temperature=5.0).fit(images, texts, labels)
    assert warm.loss_curve_ == small().fit(images, texts, labels).loss_curve_


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"posterior": "logits"}, "posterior"),
    ],
)
def test_settings_of_its_own_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings).fit(*world())


def test_one_class_is_not_enough():
    images, texts, labels = world()
    with pytest.raises(ValueError, match="two classes or more"):
        small().fit(images, texts, np.zeros_like(labels))
