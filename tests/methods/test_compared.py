"""What ``embed_*`` returns is what the loss compared: training's own number, from the outside."""

import numpy as np
import pytest
import torch
from torch.nn.functional import nll_loss

from vlalign_lib.losses import (
    cca_loss,
    contrastive_pair_loss,
    info_nce_loss,
    triplet_loss,
)
from vlalign_lib.methods import METHODS

LABELS = np.arange(60) % 3


def made(seed):
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(60, 3)) + 2 * np.eye(3)[LABELS]
    maps = np.random.default_rng(9).normal(size=(2, 3, 8))
    return (*(np.tanh(latent @ to) + 0.1 * rng.normal(size=(60, 8)) for to in maps), LABELS)


def squared(u, v, labels):
    return (u - v).square().sum(dim=1).mean() / u.shape[1]


def named(u, v, labels):
    return nll_loss(u.log(), labels) + nll_loss(v.log(), labels)


def semi_hard(u, v, labels):
    return triplet_loss(u, v, labels, margin=0.2, mining="semi-hard")


COMPARED = {
    "corr_ae": ({"alpha": 1.0}, squared),
    "corr_cross_ae": ({"alpha": 1.0}, squared),
    "corr_full_ae": ({"alpha": 1.0}, squared),
    "dcca": ({"n_components": 3}, lambda u, v, labels: cca_loss(u, v, reg=1e-4)),
    "deep_sm": ({"temperature": 1.0}, named),
    "ccl": (
        {"class_weight": 0.0, "margin": 0.7},
        lambda u, v, labels: contrastive_pair_loss(u, v, labels, margin=0.7),
    ),
    "triplet": ({"margin": 0.2}, semi_hard),
    "info_nce": (
        {"temperature": 0.1},
        lambda u, v, labels: info_nce_loss(u, v, temperature=0.1),
    ),
}
"""``{method: (its settings, its loss as a function of what it embeds)}``.

Not here: Bimodal AE and CMDN compare reconstructions and classes, no places; SAM's margins are
fitted while it trains, and ACMR's has a judge besides: both compare by cosine, as triplets do.
"""


@pytest.mark.parametrize("name", COMPARED)
def test_the_loss_that_training_reports_is_that_of_the_embeddings(name):
    settings, loss = COMPARED[name]
    method = METHODS[name](epochs=1, hidden=(16,), batch_size=60, device="cpu", random_state=0)
    held_out = made(1)
    method.set_params(**settings).fit(*made(0), validation=held_out)
    u, v = (
        torch.as_tensor(rows)
        for rows in (method.embed_images(held_out[0]), method.embed_texts(held_out[1]))
    )
    (reported,) = method.validation_curve_
    assert loss(u, v, torch.as_tensor(LABELS)).item() == pytest.approx(reported, rel=2e-3)


def test_ccl_gives_the_unit_vectors_that_it_was_trained_on():
    images, texts, labels = made(0)
    method = METHODS["ccl"](epochs=1, hidden=(16,), device="cpu", random_state=0)
    method.fit(images, texts, labels)
    for rows in (method.embed_images(images), method.embed_texts(texts)):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-12)
