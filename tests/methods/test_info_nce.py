"""InfoNCE as a method: its objective, its temperature, and what it does with classes."""

import math

import numpy as np
import pytest
import torch

from vlalign_lib.losses import info_nce_loss
from vlalign_lib.methods import InfoNCE
from vlalign_lib.metrics import recall_at_k


def small(**settings):
    given = {"n_components": 4, "hidden": (16,), "epochs": 30, "batch_size": 40, "dropout": 0.0,
             "random_state": 0, "device": "cpu"}  # fmt: skip
    return InfoNCE(**(given | settings))


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(200, 4))
    images = np.tanh(latent @ rng.normal(size=(4, 20)))
    texts = np.tanh(latent @ rng.normal(size=(4, 12)))
    return images, texts, np.arange(200) % 4


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_its_objective_is_the_loss_of_what_it_embeds(pairs, temperature):
    images, texts, _ = pairs
    method = small(temperature=temperature, epochs=2).fit(images, texts)
    x = torch.as_tensor((images - method.image_mean_) / method.image_scale_, dtype=torch.float32)
    y = torch.as_tensor((texts - method.text_mean_) / method.text_scale_, dtype=torch.float32)
    with torch.no_grad():
        value = method._loss(method.network_, x, y, torch.zeros(200), None)
    u, v = (torch.as_tensor(e) for e in (method.embed_images(images), method.embed_texts(texts)))
    wanted = info_nce_loss(u, v, temperature=temperature)
    assert float(value) == pytest.approx(float(wanted), rel=1e-4)


def test_classes_change_nothing(pairs):
    images, texts, labels = pairs
    alone = small(epochs=3).fit(images, texts)
    told = small(epochs=3).fit(images, texts, labels)
    np.testing.assert_array_equal(alone.embed_images(images), told.embed_images(images))


def test_it_finds_the_partner(pairs):
    images, texts, _ = pairs
    method = small(epochs=100).fit(images[:150], texts[:150])
    held_out = method.embed_images(images[150:]), method.embed_texts(texts[150:])
    assert recall_at_k(*held_out)[1] > 0.5
    assert method.loss_curve_[0] > 0.6 * math.log(40), (
        "a batch of 40: log 40 where nothing is known"
    )
    assert method.loss_curve_[-1] < 0.3 * method.loss_curve_[0]


def test_a_high_temperature_hardly_teaches(pairs):
    """With τ far above the range of cosines all strangers weigh alike."""
    images, texts, _ = pairs
    hot = small(temperature=100.0).fit(images, texts)
    assert hot.loss_curve_[-1] == pytest.approx(math.log(40), abs=0.05)
    assert hot.loss_curve_[-1] < math.log(40)


def test_settings_of_the_paper():
    paper = InfoNCE.from_paper()
    assert (paper.temperature, paper.weight_decay) == (0.07, 0.2)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_none_is_refused(pairs, temperature):
    with pytest.raises(ValueError, match="temperature"):
        small(temperature=temperature).fit(*pairs)
