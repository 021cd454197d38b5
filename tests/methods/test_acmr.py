"""ACMR: which way each part of its game pulls, and what the released code leaves out."""

import math

import numpy as np
import pytest
import torch

from vlalign_lib.losses import classification_proxy_loss, reversal_schedule, triplet_loss
from vlalign_lib.methods import ACMR
from vlalign_lib.training import FitContext, seeded


def scene(n=90, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    latent = rng.normal(size=(n, 3)) + 3 * np.eye(3)[labels]
    images = np.tanh(latent @ rng.normal(size=(3, 14))) + 0.1 * rng.normal(size=(n, 14))
    texts = np.tanh(latent @ rng.normal(size=(3, 10))) + 0.1 * rng.normal(size=(n, 10))
    return images, texts, labels


def begun(**settings):
    """A method whose network has seen one epoch, without dropout, in float64."""
    common = {"n_components": 8, "hidden": (12,), "dropout": 0.0, "epochs": 1, "random_state": 0}
    method = ACMR(**common | settings).fit(*scene())
    method.network_.double()
    return method


def a_batch(n=12):
    images, texts, labels = scene()
    return torch.tensor(images[:n]), torch.tensor(texts[:n]), torch.tensor(labels[:n])


def moment(progress):
    return FitContext(1, 1, progress, True, np.random.default_rng(0))


def gradients(method, progress=0.4):
    """The gradient of every weight, 0 where none arrives."""
    network = method.network_
    network.zero_grad(set_to_none=True)
    method._loss(network, *a_batch(), moment(progress)).backward()
    return {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in network.named_parameters()
    }


def judged_plainly(method):
    """The judge's cross-entropy by loops, and its gradient where nothing is reversed."""
    network = method.network_
    network.zero_grad(set_to_none=True)
    x, y, _ = a_batch()
    losses = []
    for rows, right in ((network.images(x), 0), (network.texts(y), 1)):
        for logits in network.judge(rows):
            losses.append(torch.logsumexp(logits, 0) - logits[right])
    value = torch.stack(losses).mean()
    value.backward()
    return value.item(), {
        name: torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
        for name, weight in network.named_parameters()
    }


def of_encoders(names):
    return [name for name in names if name.startswith(("images.", "texts."))]


def test_the_value_is_the_sum_of_its_three_terms():
    method = begun(class_weight=3.0, margin=0.3, adversary=0.7)
    network, (x, y, labels) = method.network_, a_batch()
    u, v = network(x, y)
    classes = classification_proxy_loss(network.label_layer(u), network.label_layer(v), labels)
    triplets = triplet_loss(u, v, labels, margin=0.3, mining="semi-hard")
    views, _ = judged_plainly(method)
    value = method._loss(network, x, y, labels, moment(0.4)).item()
    assert value == pytest.approx((3 * classes + triplets).item() + views, rel=1e-12)


def test_the_gradient_of_the_judge_reaches_the_encoders_reversed():
    method = begun(adversary=0.7)
    _, plain = judged_plainly(method)
    with_adversary = gradients(method)
    without = gradients(method.set_params(adversary=0.0))
    strength = 0.7 * reversal_schedule(0.4)
    names = of_encoders(plain)
    assert len(names) == 8
    for name in names:
        torch.testing.assert_close(
            with_adversary[name] - without[name], -strength * plain[name], atol=1e-14, rtol=1e-9
        )
    assert max(plain[name].abs().max() for name in names) > 1e-4


def test_the_judge_itself_descends_whatever_the_strength():
    method = begun()
    _, plain = judged_plainly(method)
    for adversary in (0.0, 0.1, 5.0):
        found = gradients(method.set_params(adversary=adversary))
        for name in plain:
            if name.startswith("judge."):
                torch.testing.assert_close(found[name], plain[name], atol=1e-14, rtol=1e-9)


def test_the_adversary_begins_with_nothing():
    method = begun(adversary=2.0)
    first = gradients(method, progress=0.0)
    none = gradients(method.set_params(adversary=0.0), progress=0.0)
    for name in of_encoders(first):
        torch.testing.assert_close(first[name], none[name], atol=0, rtol=0)


def test_as_released_the_encoders_have_no_adversary():
    released = begun(as_released=True, adversary=2.0)
    found = gradients(released)
    without = gradients(released.set_params(adversary=0.0))
    _, plain = judged_plainly(released)
    for name, gradient in found.items():
        assert torch.equal(gradient, without[name]), name
    for name in plain:
        if name.startswith("judge."):
            torch.testing.assert_close(found[name], plain[name], atol=1e-14, rtol=1e-9)


@pytest.mark.parametrize("as_released", [True, False])
def test_as_released_the_label_layer_stays_as_it_was_drawn(as_released):
    method = ACMR(
        n_components=8, hidden=(12,), epochs=5, as_released=as_released, random_state=3
    ).fit(*scene())
    with seeded(3):
        drawn = method._network()
    for name, weight in drawn.named_parameters():
        moved = not torch.equal(weight, dict(method.network_.named_parameters())[name])
        assert moved == (not (as_released and name.startswith("label_layer."))), name


def test_the_label_layer_of_the_released_code_still_teaches_the_encoders():
    """A fixed random layer is a target like another: the gradient passes through it."""
    released = begun(as_released=True, class_weight=1.0)
    found, none = gradients(released), gradients(released.set_params(class_weight=0.0))
    assert not torch.allclose(found["images.0.layers.0.weight"], none["images.0.layers.0.weight"])


def test_codes_are_bounded_and_the_judge_narrows():
    method = begun(n_components=40)
    codes, _ = method.network_(*a_batch()[:2])
    assert 0 < codes.abs().max() < 1
    assert [layer.out_features for layer in method.network_.judge] == [20, 10, 2]


def test_a_pair_without_a_class_counts_in_triplets_alone():
    method = begun(class_weight=100.0, adversary=0.0)
    x, y, labels = a_batch()
    none = torch.full_like(labels, -1)
    u, v = method.network_(x, y)
    expected = triplet_loss(u, v, None, margin=method.margin, mining="semi-hard").item()
    views, _ = judged_plainly(method)
    value = method._loss(method.network_, x, y, none, moment(0.0)).item()
    assert value == pytest.approx(expected + views, rel=1e-12)


def test_a_judge_who_knows_nothing_says_log_2():
    method = begun(class_weight=0.0, adversary=1.0)
    x, y, labels = a_batch()
    with torch.no_grad():
        for weight in method.network_.judge[-1].parameters():
            weight.zero_()
    u, v = method.network_(x, y)
    triplets = triplet_loss(u, v, labels, margin=method.margin, mining="semi-hard").item()
    value = method._loss(method.network_, x, y, labels, moment(1.0)).item()
    assert value - triplets == pytest.approx(math.log(2), abs=1e-12)
