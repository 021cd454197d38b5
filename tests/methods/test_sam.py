"""Scheduled adaptive margins: schedule, centroids and the two controls."""

import numpy as np
import pytest
import torch

from vlalign_lib.losses import margin_weight, triplet_loss
from vlalign_lib.methods import SAM
from vlalign_lib.metrics import mean_average_precision
from vlalign_lib.training import FitContext


def small(**settings):
    given = {"n_components": 4, "hidden": (16,), "epochs": 20, "batch_size": 40, "dropout": 0.0,
             "random_state": 0, "device": "cpu"}  # fmt: skip
    return SAM(**(given | settings))


@pytest.fixture(scope="module")
def pairs():
    """200 pairs of four classes, of which the last two are neighbours."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    centres = 2.5 * np.eye(4)
    centres[3] = centres[2] + 0.8 * np.eye(4)[3]
    latent = centres[labels] + rng.normal(size=(200, 4))
    images = np.tanh(latent @ rng.normal(size=(4, 20)))
    texts = np.tanh(latent @ rng.normal(size=(4, 12)))
    return images, texts, labels


def at(progress):
    return FitContext(1, 1, progress, False, np.random.default_rng(0))


def batch(method, pairs):
    """Inputs as the network takes them, and their embedding as torch vectors."""
    images, texts, labels = pairs
    x = torch.as_tensor((images - method.image_mean_) / method.image_scale_, dtype=torch.float32)
    y = torch.as_tensor((texts - method.text_mean_) / method.text_scale_, dtype=torch.float32)
    numbers = method._class_numbers(labels)
    embedded = method.embed_images(images), method.embed_texts(texts)
    return x, y, numbers, *(torch.as_tensor(e) for e in embedded)


def loops(u, v, labels, margins):
    """The mean of the hinges above zero, both directions and within each view, written out."""
    u, v = (z / z.norm(dim=1, keepdim=True) for z in (u, v))
    hinges = []
    for anchors, others in ((u, v), (v, u), (u, u), (v, v)):
        scores = anchors @ others.T
        for a in range(len(u)):
            same = labels == labels[a]
            friends = same.clone()
            if anchors is others:
                friends[a] = False
            gap = (
                margins[labels[a], labels[~same]][None, :]
                - scores[a, friends][:, None]
                + scores[a, ~same][None, :]
            )
            hinges.append(gap.flatten())
    flat = torch.cat(hinges)
    return float(flat[flat > 0].mean())


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_margins_go_from_static_to_adaptive_along_the_schedule(pairs, progress):
    method = small(margin=0.3).fit(*pairs)
    x, y, numbers, u, v = batch(method, pairs)
    with torch.no_grad():
        value = method._loss(method.network_, x, y, numbers, at(progress))
    centres = method.network_.margins.centroids
    assert bool(method.network_.margins.seen.all())
    centres = (centres / centres.norm(dim=1, keepdim=True)).double()
    weight = margin_weight(progress, steepness=method.steepness, centre=method.centre)
    margins = 0.3 * (1 - weight) + 0.3 * weight * (1 - centres @ centres.T)
    assert float(value) == pytest.approx(loops(u, v, numbers, margins), abs=1e-4)


def test_classes_that_are_alike_end_with_the_smaller_margin(pairs):
    method = small(epochs=6).fit(*pairs)
    centres = method.network_.margins.centroids.double().numpy()
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    alike = centres @ centres.T
    assert alike[2, 3] > max(alike[0, 1], alike[0, 2], alike[1, 2])


def test_the_static_control_is_the_triplet_loss(pairs):
    method = small(control="static").fit(*pairs)
    x, y, numbers, u, v = batch(method, pairs)
    for progress in (0.0, 1.0):
        with torch.no_grad():
            value = method._loss(method.network_, x, y, numbers, at(progress))
        wanted = triplet_loss(u, v, numbers, margin=0.2, mining="all", intra=True)
        assert float(value) == pytest.approx(float(wanted), abs=1e-5)


def test_the_random_control_has_the_same_margins_elsewhere(pairs):
    method = small(control="random").fit(*pairs)
    assert method.network_.margins.random_margins
    assert method.network_.margins.max_weight == 1
    x, y, numbers, *_ = batch(method, pairs)
    with torch.no_grad():
        drawn = {float(method._loss(method.network_, x, y, numbers, at(1.0))) for _ in range(30)}
    assert len(drawn) > 3, "names are drawn anew at every step"


def test_the_three_learn_different_spaces_of_like_quality(pairs):
    """No gain of the adaptive margins is promised; that they learn is."""
    images, texts, labels = pairs
    spaces = {}
    for control in ("none", "static", "random"):
        method = small(control=control, epochs=40).fit(*pairs)
        spaces[control] = method.embed_images(images)
        score = mean_average_precision(spaces[control], method.embed_texts(texts), labels, labels)
        assert score > 0.6, control
    assert not np.allclose(spaces["none"], spaces["static"])
    assert not np.allclose(spaces["none"], spaces["random"])


def test_pairs_without_a_class_are_left_out_of_the_margins(pairs):
    images, texts, labels = pairs
    some = np.where(np.arange(200) % 5 == 0, -1, labels)
    method = small(epochs=2).fit(images, texts, some)
    x, y, numbers, u, v = batch(method, (images, texts, some))
    known = numbers >= 0
    with torch.no_grad():
        value = method._loss(method.network_, x, y, numbers, at(0.0))
        rest = method._loss(method.network_, x[known], y[known], numbers[known], at(0.0))
        nobody = method._loss(method.network_, x, y, torch.full((200,), -1), at(0.0))
    assert float(value) == pytest.approx(float(rest), abs=1e-6)
    assert float(nobody) == pytest.approx(float(triplet_loss(u, v, margin=0.2)), abs=1e-5)


def test_centroids_are_saved_with_the_weights(pairs, tmp_path):
    method = small(epochs=2).fit(*pairs)
    method.save(tmp_path / "sam")
    loaded = SAM.load(tmp_path / "sam")
    assert torch.equal(loaded.network_.margins.centroids, method.network_.margins.centroids)
    assert torch.equal(loaded.network_.margins.seen, method.network_.margins.seen)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"control": "none at all"}, "control"),
        ({"margin": -0.1}, "margin"),
        ({"momentum": 1.0}, "momentum"),
        ({"steepness": 0.0}, "steepness"),
    ],
)
def test_bad_settings_are_explained(pairs, settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings).fit(*pairs)


def test_classes_are_needed(pairs):
    with pytest.raises(ValueError, match="labels"):
        small().fit(pairs[0], pairs[1])
