"""Triplets as a method: what is compared, what is mined, and what that does to a space."""

import numpy as np
import pytest
import torch

from vlalign_lib.losses import triplet_loss
from vlalign_lib.methods import Triplet
from vlalign_lib.metrics import mean_average_precision, recall_at_k


def small(**settings):
    given = {"n_components": 4, "hidden": (16,), "epochs": 30, "batch_size": 40, "dropout": 0.0,
             "random_state": 0, "device": "cpu"}  # fmt: skip
    return Triplet(**(given | settings))


@pytest.fixture(scope="module")
def pairs():
    """200 pairs of four classes; within a class each pair has a place of its own."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    latent = 2.5 * np.eye(4)[labels] + rng.normal(size=(200, 4))
    images = np.tanh(latent @ rng.normal(size=(4, 20)))
    texts = np.tanh(latent @ rng.normal(size=(4, 12)))
    return images, texts, labels


def class_map(method, images, texts, labels):
    u, v = method.embed_images(images), method.embed_texts(texts)
    both = (
        mean_average_precision(u, v, labels, labels),
        mean_average_precision(v, u, labels, labels),
    )
    return sum(both) / 2


def batch_loss(method, pairs, labels):
    """The method's objective on all pairs at once, and the embedding that it is of."""
    images, texts, _ = pairs
    method.fit(images, texts, labels)
    x = torch.as_tensor((images - method.image_mean_) / method.image_scale_, dtype=torch.float32)
    y = torch.as_tensor((texts - method.text_mean_) / method.text_scale_, dtype=torch.float32)
    numbers = method._class_numbers(np.asarray(labels))
    with torch.no_grad():
        value = method._loss(method.network_, x, y, numbers, None)
    u, v = (torch.as_tensor(e) for e in (method.embed_images(images), method.embed_texts(texts)))
    return float(value), u, v


@pytest.mark.parametrize("mining", ["semi-hard", "all", "hardest"])
@pytest.mark.parametrize("intra", [False, True])
def test_its_objective_is_the_loss_of_what_it_embeds(pairs, mining, intra):
    labels = pairs[2]
    value, u, v = batch_loss(small(mining=mining, intra=intra, margin=0.3, epochs=2), pairs, labels)
    wanted = triplet_loss(u, v, labels, margin=0.3, mining=mining, intra=intra)
    assert value == pytest.approx(float(wanted), abs=1e-5)
    assert value > 0


def test_with_pairs_as_positives_labels_do_not_count(pairs):
    images, texts, labels = pairs
    value, u, v = batch_loss(small(positives="pair", epochs=2), pairs, labels)
    assert value == pytest.approx(float(triplet_loss(u, v)), abs=1e-5)
    with_labels = small(positives="pair", epochs=3).fit(images, texts, labels)
    without = small(positives="class", epochs=3).fit(images, texts)
    np.testing.assert_array_equal(with_labels.embed_texts(texts), without.embed_texts(texts))


def test_a_pair_without_a_class_is_its_own(pairs):
    """Two pairs without a class are strangers to each other, and to everybody else."""
    some = np.where(np.arange(200) % 5 == 0, -1, pairs[2])
    value, u, v = batch_loss(small(epochs=2, mining="all"), pairs, some)
    alone = np.where(some < 0, 100 + np.arange(200), some)
    together = np.where(some < 0, 100, some)
    assert value == pytest.approx(float(triplet_loss(u, v, alone, mining="all")), abs=1e-5)
    assert abs(value - float(triplet_loss(u, v, together, mining="all"))) > 1e-3


def test_classes_gather_by_class_and_partners_by_pair(pairs):
    """What is called a friend decides what is found."""
    images, texts, labels = pairs
    by_class = small(epochs=60).fit(images, texts, labels)
    by_pair = small(epochs=60, positives="pair").fit(images, texts, labels)
    assert class_map(by_class, *pairs) > class_map(by_pair, *pairs) + 0.05
    first = [
        recall_at_k(m.embed_images(images), m.embed_texts(texts))[1] for m in (by_class, by_pair)
    ]
    assert first[1] > first[0] + 0.05


def test_no_margin_and_a_solved_order_leave_nothing_to_learn(pairs):
    images, texts, labels = pairs
    solved = small(epochs=60, margin=0.2).fit(images, texts, labels)
    assert solved.loss_curve_[-1] < 0.25 * solved.loss_curve_[0]
    wide = small(epochs=60, margin=1.5, mining="all").fit(images, texts, labels)
    assert wide.loss_curve_[-1] > 0.1, "1.5 between cosines cannot be had from four corners"


def test_settings_of_the_paper_are_in_cosines():
    """‖u − v‖² = 2 − 2s on unit vectors: a margin between squared distances counts twice."""
    paper = Triplet.from_paper()
    assert (paper.margin, paper.mining, paper.n_components) == (0.1, "semi-hard", 128)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"positives": "friend"}, "positives"),
        ({"mining": "easy"}, "mining"),
        ({"margin": -0.1}, "margin"),
        ({"intra": True, "positives": "pair"}, "intra=True"),
    ],
)
def test_bad_settings_are_explained(pairs, settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings).fit(*pairs)
