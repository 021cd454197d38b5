"""CMDN-style: what each of its three stages learns from, and what it leaves alone."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from vlalign_lib.losses import classification_proxy_loss
from vlalign_lib.methods import CMDN
from vlalign_lib.methods.cmdn import _anew_in_each_stage
from vlalign_lib.training import FitContext

REPRESENTATIONS, CLASSES, STACK = 0.1, 0.5, 0.9  # shares of the training within each stage


def people(n=72, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    latent = rng.normal(size=(n, 3)) + 3 * np.eye(3)[labels]
    images = np.tanh(latent @ rng.normal(size=(3, 15))) + 0.1 * rng.normal(size=(n, 15))
    texts = np.tanh(latent @ rng.normal(size=(3, 9))) + 0.1 * rng.normal(size=(n, 9))
    return images, texts, labels


def raised(**settings):
    """A method in float64 that has run through all stages once, without dropout."""
    common = {"n_components": 4, "hidden": (11,), "dropout": 0.0, "epochs": 3, "random_state": 0}
    method = CMDN(**common | settings).fit(*people())
    method.network_.double()
    return method


def some(n=9):
    images, texts, labels = people()
    return torch.tensor(images[:n]), torch.tensor(texts[:n]), torch.tensor(labels[:n])


def at(progress, training=True):
    return FitContext(1, 1, progress, training, np.random.default_rng(7))


def reached(method, progress, batch=None):
    """``{weight: gradient}`` of the weights that the loss of a moment reaches."""
    network = method.network_
    network.zero_grad(set_to_none=True)
    method._loss(network, *(batch or some()), at(progress)).backward()
    return {n: w.grad.clone() for n, w in network.named_parameters() if w.grad is not None}


def parts_of(names):
    """``images.own.layers.0.weight`` is a weight of the part ``own``."""
    split = [name.split(".") for name in names]
    return {words[1] if words[0] in ("images", "texts") else words[0] for words in split}


@pytest.mark.parametrize(
    ("progress", "parts"),
    [
        (0.0, {"own", "inlet", "joint", "from_own", "from_joint"}),
        (0.3333, {"own", "inlet", "joint", "from_own", "from_joint"}),
        (0.3334, {"own", "inlet", "joint", "fusion", "classes"}),
        (0.6666, {"own", "inlet", "joint", "fusion", "classes"}),
        (0.6667, {"down", "up", "heads"}),
        (1.0, {"down", "up", "heads"}),
    ],
)
def test_each_stage_moves_its_own_weights(progress, parts):
    assert parts_of(reached(raised(), progress)) == parts


def test_representations_are_learned_without_labels():
    method = raised()
    x, y, labels = some()
    with_labels = method._loss(method.network_, x, y, labels, at(REPRESENTATIONS))
    without = method._loss(method.network_, x, y, torch.full_like(labels, -1), at(REPRESENTATIONS))
    assert with_labels.item() == without.item()


def test_representations_lose_what_slow_loops_say():
    method = raised(missing=0.25)
    network, (x, y, labels) = method.network_, some()
    value = method._loss(network, x, y, labels, at(REPRESENTATIONS)).item()
    drawn = np.random.default_rng(7).random(len(x))
    total, seen = 0.0, {"both": 0, "image": 0, "text": 0}
    with torch.no_grad():
        for i, chance in enumerate(drawn):
            kind = "text" if chance < 0.25 else "image" if chance >= 0.75 else "both"
            seen[kind] += 1
            a = x[i : i + 1] if kind != "text" else torch.zeros_like(x[:1])
            b = y[i : i + 1] if kind != "image" else torch.zeros_like(y[:1])
            inlets = [network.images.inlet(a).clamp(min=0), network.texts.inlet(b).clamp(min=0)]
            joint = network.joint(torch.cat(inlets, dim=1)).clamp(min=0)
            for part, row in ((network.images, x[i]), (network.texts, y[i])):
                own = part.from_own(part.own(row[None]).clamp(min=0))[0]
                for again in (own, part.from_joint(joint)[0]):
                    total += float(sum((again - row) ** 2)) / len(row)
    assert min(seen.values()) > 0
    assert value == pytest.approx(total / len(x), rel=1e-12)


def test_classes_are_learned_from_no_pair():
    method = raised()
    x, y, labels = some()
    same_class = torch.tensor([3, 4, 5, 6, 7, 8, 0, 1, 2])
    assert torch.equal(labels[same_class], labels)
    paired = reached(method, CLASSES, (x, y, labels))
    apart = reached(method, CLASSES, (x, y[same_class], labels))
    for name, gradient in paired.items():
        torch.testing.assert_close(gradient, apart[name], atol=1e-14, rtol=1e-9)
    value = method._loss(method.network_, x, y, labels, at(CLASSES))
    alone = [
        functional.cross_entropy(part.classes(method.network_.fused(rows, name)), labels)
        for part, rows, name in (
            (method.network_.images, x, "images"),
            (method.network_.texts, y, "texts"),
        )
    ]
    assert value.item() == pytest.approx(sum(alone).item(), rel=1e-12)


def stacked_by_hand(method, x, y, labels):
    """The loss of every level, from the definitions."""
    network, losses = method.network_, []
    below = []
    for rows, name in ((x, "images"), (y, "texts")):
        z = network.fused(rows, name)
        below.append(
            (z - z.mean(1, keepdim=True)) / (z.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        )
    for level in range(method.levels):
        codes, lost = [], 0.0
        for part, under in zip((network.images, network.texts), below, strict=True):
            code = torch.tanh(part.down[level](under))
            lost = lost + (part.up[level](code) - under).square().mean()
            codes.append(code)
        apart = (codes[0] - codes[1]).square().mean()
        named = sum(functional.cross_entropy(network.heads[level](code), labels) for code in codes)
        losses.append(((1 - method.alpha) * lost + method.alpha * apart
                       + method.class_weight * named).item())  # fmt: skip
        below = codes
    return losses


def test_the_stack_has_the_loss_of_its_definition():
    method = raised(levels=3, alpha=0.3, class_weight=0.7)
    x, y, labels = some()
    value = method._loss(method.network_, x, y, labels, at(STACK)).item()
    assert value == pytest.approx(sum(stacked_by_hand(method, x, y, labels)), rel=1e-9)


def test_a_level_of_the_stack_does_not_hear_the_levels_above():
    method = raised(levels=2)
    before = reached(method, STACK)
    with torch.no_grad():
        for part in (method.network_.images, method.network_.texts):
            part.down[1].weight.mul_(-2)
            part.up[1].weight.add_(1)
        method.network_.heads[1].weight.zero_()
    after = reached(method, STACK)
    for name, gradient in before.items():
        same = torch.equal(gradient, after[name])
        assert same == (".0." in name), name


def test_widths_halve_down_to_the_codes():
    method = raised(levels=3, n_components=5)
    widths = [layer.out_features for layer in method.network_.texts.down]
    assert method.network_.texts.fusion.out_features == 40
    assert widths == [20, 10, 5]
    assert method.network_(*some()[:2])[1].shape == (9, 5)


def test_a_missing_view_is_a_row_of_zeros():
    method = raised()
    network, (x, y, _) = method.network_.eval(), some()
    joint = network.code(x, torch.zeros_like(y))
    part = network.images
    fused = part.fusion(torch.cat([part.own(x), joint], dim=1).relu()).relu()
    torch.testing.assert_close(network.fused(x, "images"), fused)
    assert torch.equal(network.encode(x, "images"), part.levels(fused)[-1])


def test_the_rate_falls_anew_in_each_stage():
    for total in (1, 2, 3, 7, 30, 100):
        rates = [_anew_in_each_stage(step, total) for step in range(total)]
        stages = [min(int(step / total * 3), 2) for step in range(total)]
        assert all(0 < rate <= 1 for rate in rates)
        for before, after, old, new in zip(rates, rates[1:], stages, stages[1:], strict=False):
            assert after == 1 if new != old else after < before
    assert _anew_in_each_stage(5, 30) == pytest.approx((1 + math.cos(math.pi / 2)) / 2)


def test_epochs_are_compared_by_the_last_classes_in_every_stage():
    images, texts, labels = people()
    method = CMDN(n_components=4, hidden=(11,), epochs=4, random_state=0)
    method.fit(images[:48], texts[:48], labels[:48],
               validation=(images[48:], texts[48:], labels[48:]))  # fmt: skip
    u, v = (
        torch.tensor(codes, dtype=torch.float32)
        for codes in (method.embed_images(images[48:]), method.embed_texts(texts[48:]))
    )
    head = method.network_.heads[-1]
    kept = classification_proxy_loss(head(u), head(v), torch.tensor(labels[48:])).item()
    assert min(method.validation_curve_) == pytest.approx(kept, abs=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 0}, "levels"),
        ({"levels": True}, "levels"),
        ({"levels": 1.0}, "levels"),
        ({"missing": 0.6}, "missing"),
        ({"class_weight": -1.0}, "class_weight"),
        ({"alpha": 1.5}, "alpha"),
    ],
)
def test_settings_of_its_own_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        raised(**settings)
