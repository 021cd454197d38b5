"""The adaptive margin: loops, the static control, the random one, centroids, the schedule."""

import math

import numpy as np
import pytest
import torch
from slopes import with_gradients

from vlalign_lib.losses import (
    AdaptiveMarginTripletLoss,
    adaptive_margin_triplet_loss,
    margin_weight,
    triplet_loss,
)

NAME = "losses.adaptive_margin_triplet_loss"


def embedded(rows=11, width=4, classes=4, seed=0, dtype=torch.float64):
    """Two views, classes, and similarities of the classes from −1 to 1."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    centres = rng.standard_normal((classes, width))
    views = (centres[labels] + rng.standard_normal((rows, width)) for _ in range(2))
    x, y = (torch.tensor(view, dtype=dtype) for view in views)
    unit = torch.nn.functional.normalize(torch.tensor(centres, dtype=dtype))
    return x, y, torch.tensor(labels), unit @ unit.T


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_loops(x, y, labels, alike, margin, weight, intra):
    u, v = (view / np.sqrt((view**2).sum(1, keepdims=True)) for view in (x.numpy(), y.numpy()))
    labels, alike = labels.tolist(), alike.tolist()
    each, active = np.zeros(len(u)), 0
    for first, second in [(u, v), (v, u), (u, u), (v, v)][: 4 if intra else 2]:
        for a in range(len(u)):
            for p in range(len(u)):
                if labels[p] != labels[a] or (first is second and p == a):
                    continue
                for n in range(len(u)):
                    if labels[n] == labels[a]:
                        continue
                    adaptive = margin * (1 - alike[labels[a]][labels[n]])
                    m = (1 - weight) * margin + weight * adaptive
                    hinge = m - first[a] @ second[p] + first[a] @ second[n]
                    each[a] += max(0.0, hinge)
                    active += hinge > 0
    return each, active


@pytest.mark.parametrize("intra", [True, False])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_beside_loops(agrees, intra, weight):
    x, y, labels, alike = embedded()
    each, active = by_loops(x, y, labels, alike, 0.4, weight, intra)
    against = "loops over all triplets"
    for reduction, wanted in (
        ("none", each),
        ("sum", each.sum()),
        ("mean", each.sum() / active),
    ):
        loss = adaptive_margin_triplet_loss(
            x, y, labels, alike, margin=0.4, weight=weight, intra=intra, reduction=reduction
        )
        agrees(NAME, loss, wanted, kind="loop", against=against, tolerance=1e-13)


def test_weight_0_and_unlike_classes_are_the_static_margin(agrees):
    x, y, labels, alike = embedded()

    def static(x, y):
        return triplet_loss(x, y, labels, margin=0.3, mining="all", intra=True)

    wanted = with_gradients(static, x, y)
    for similarity, weight in ((alike, 0.0), (torch.eye(4, dtype=torch.float64), 1.0)):
        ours = with_gradients(
            lambda x, y, s=similarity, w=weight: adaptive_margin_triplet_loss(
                x, y, labels, s, margin=0.3, weight=w
            ),
            x,
            y,
        )
        for got, number in zip(ours, wanted, strict=True):
            agrees(
                NAME, got, number, kind="derivation", against="triplet_loss, all violating",
                tolerance=1e-13,
            )  # fmt: skip


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_closed_form_on_one_point(agrees, weight):
    # Every cosine is 1: the hinges are the margins themselves, here m(1 − w/2) for all.
    x = torch.ones(6, 3, dtype=torch.float64)
    alike = torch.full((3, 3), 0.5, dtype=torch.float64)
    loss = adaptive_margin_triplet_loss(x, x, [0, 0, 1, 1, 2, 2], alike, margin=0.4, weight=weight)
    wanted = 0.4 * (1 - weight / 2)
    against = "one point: the margins"
    agrees(NAME, loss, wanted, kind="closed form", against=against, tolerance=1e-14)


def test_classes_that_cannot_be_told_apart_are_not_pushed():
    x, y, _, _ = embedded(rows=4)
    labels = [0, 0, 1, 1]
    same = torch.ones(2, 2, dtype=torch.float64)
    x = y = torch.ones(4, 3, dtype=torch.float64)
    assert float(adaptive_margin_triplet_loss(x, y, labels, same, margin=0.5)) == 0.0


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradients(agrees, reduction):
    x, y, labels, alike = embedded(rows=6, classes=3)

    def call(x, y):
        return adaptive_margin_triplet_loss(x, y, labels, alike, reduction=reduction)

    inputs = (x.requires_grad_(), y.requires_grad_())
    agrees.gradcheck(NAME, call, inputs, tolerance=1e-7)
    agrees.gradcheck(NAME, call, inputs, second=True, tolerance=1e-6)


def test_no_gradient_reaches_the_class_similarity():
    x, y, labels, alike = embedded()
    x.requires_grad_()
    alike.requires_grad_()
    adaptive_margin_triplet_loss(x, y, labels, alike).backward()
    assert alike.grad is None
    assert x.grad.any()


def test_random_margins_are_the_same_margins_in_other_places():
    x, y, labels, alike = embedded(rows=30)

    def random(seed):
        return adaptive_margin_triplet_loss(
            x, y, labels, alike, random_margins=True, generator=seeded(seed)
        )

    renamed = torch.randperm(4, generator=seeded(5))
    wanted = adaptive_margin_triplet_loss(x, y, labels, alike[renamed][:, renamed])
    assert torch.equal(random(5), wanted)
    assert len({float(random(seed)) for seed in range(20)}) > 5
    # Where all classes are equally alike there is nothing to put in a wrong place.
    even = torch.full((4, 4), 0.3, dtype=torch.float64)
    plain, moved = (
        adaptive_margin_triplet_loss(x, y, labels, even, random_margins=r) for r in (False, True)
    )
    assert torch.equal(plain, moved)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 0, 1]])
def test_extremes_are_finite(labels):
    x, y, _, alike = embedded(rows=4)
    x[0], y[2] = 0, 0
    value, dx, dy = with_gradients(
        lambda x, y: adaptive_margin_triplet_loss(x, y, labels, alike), x, y
    )
    assert all(torch.isfinite(each).all() for each in (value, dx, dy))
    if len(set(labels)) == 1:
        assert value == 0
    single = adaptive_margin_triplet_loss(x[:1], y[:1], [0], alike)
    assert float(single) == 0.0


def test_on_a_gpu_the_host_never_waits(no_host_reads, monkeypatch):
    monkeypatch.setenv("VLALIGN_ENGINE", "0")
    x, y, labels, _ = embedded()
    module = AdaptiveMarginTripletLoss(4, 4, random_margins=True).double()
    with no_host_reads:
        with_gradients(lambda x, y: module(x, y, labels), x, y)
    assert module.seen.all()


def test_margin_weight(agrees):
    name, against = "losses.margin_weight", "tanh"
    times = np.linspace(-0.5, 1.5, 41)
    for steepness, centre in ((20.0, 0.3), (5.0, 0.0), (1e5, 0.5)):
        wanted = (1 + np.tanh(steepness * (times - centre) / 2)) / 2
        ours = [margin_weight(t, steepness=steepness, centre=centre) for t in times]
        agrees(name, ours, wanted, kind="closed form", against=against, tolerance=1e-14)
    assert margin_weight(0.3) == 0.5
    assert margin_weight(0.0) < 0.003
    assert margin_weight(1.0) > 0.999999


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epoch_fraction": math.nan}, "epoch_fraction: expected a finite number"),
        ({"epoch_fraction": 0.5, "steepness": 0}, "steepness: expected a number greater than 0"),
        ({"epoch_fraction": 0.5, "centre": "middle"}, "centre: expected a finite number"),
    ],
)
def test_margin_weight_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        margin_weight(**arguments)


def test_module_keeps_centroids():
    x, y, labels, _ = embedded(rows=12, classes=3)
    labels[labels == 2] = 1  # class 2 is not met
    module = AdaptiveMarginTripletLoss(n_classes=3, n_features=4, momentum=0.8).double()
    unit = torch.nn.functional.normalize
    means = torch.zeros(3, 4, dtype=torch.float64)
    for c in (0, 1):
        means[c] = torch.cat([unit(x)[labels == c], unit(y)[labels == c]]).mean(dim=0)
    value = module(x, y, labels, epoch_fraction=0.4)
    torch.testing.assert_close(module.centroids, means)  # the first batch as it is
    assert module.seen.tolist() == [True, True, False]
    cosines = unit(means) @ unit(means).T
    wanted = adaptive_margin_triplet_loss(x, y, labels, cosines, weight=margin_weight(0.4))
    torch.testing.assert_close(value, wanted)
    # The next batch moves them by a fifth of the way, and only classes that are in it.
    module(y[labels == 0], y[labels == 0], [0] * int((labels == 0).sum()))
    moved = 0.8 * means[0] + 0.2 * unit(y)[labels == 0].mean(dim=0)
    torch.testing.assert_close(module.centroids[0], moved)
    torch.testing.assert_close(module.centroids[1], means[1])
    # Validation looks and does not touch.
    before = module.centroids.clone()
    module.eval()(x, y, labels)
    assert torch.equal(module.centroids, before)
    assert set(module.state_dict()) == {"centroids", "seen"}
    assert not list(module.parameters())
    assert "momentum=0.8, max_weight=1.0" in repr(module)


def test_nan_stays_out_of_the_centroids():
    x, y, labels, _ = embedded(rows=12, classes=3)
    sound = torch.arange(12) > 1
    x[0, 1], y[1, 0] = torch.nan, torch.inf
    module, without = (AdaptiveMarginTripletLoss(3, 4).double() for _ in range(2))
    assert module(x, y, labels).isnan()
    without(x[sound], y[sound], labels[sound])
    torch.testing.assert_close(module.centroids, without.centroids)
    alone = AdaptiveMarginTripletLoss(3, 4).double()
    alone(x[:1], y[:1], labels[:1])
    assert not alone.seen.any()
    assert not alone.centroids.any()


def test_module_controls():
    x, y, labels, _ = embedded(rows=30)
    static = AdaptiveMarginTripletLoss(4, 4, max_weight=0.0)(x, y, labels)
    wanted = triplet_loss(x, y, labels, mining="all", intra=True)
    torch.testing.assert_close(static, wanted, rtol=1e-13, atol=0)
    adaptive = AdaptiveMarginTripletLoss(4, 4)(x, y, labels)
    random = AdaptiveMarginTripletLoss(4, 4, random_margins=True, generator=seeded(1))
    assert float(adaptive) != float(random(x, y, labels)) != float(static)


def test_two_processes_draw_alike_or_say_why_not(two_processes):
    x, y, labels, alike = embedded(rows=12)
    outcomes = two_processes.run(
        "vlalign_lib.losses:adaptive_margin_triplet_loss",
        x,
        y,
        labels,
        shared={"class_similarity": alike},
        random_margins=True,
    )
    assert all("seeded alike" in str(outcome) for outcome in outcomes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(4, 5), "y": torch.ones(4, 5)}, r"expected 3 columns \(n_features\)"),
        ({"labels": [0, 1, 2, 7]}, r"classes from 0 to 2 \(n_classes\)"),
    ],
)
def test_module_bad_input(change, message):
    module = AdaptiveMarginTripletLoss(n_classes=3, n_features=3)
    arguments = {"x": torch.ones(4, 3), "y": torch.ones(4, 3), "labels": [0, 1, 2, 0]} | change
    with pytest.raises(ValueError, match=message):
        module(**arguments)
    with pytest.raises(ValueError, match="momentum: expected"):
        AdaptiveMarginTripletLoss(3, 3, momentum=1.0)
    for size in (0, -1, 2.0, True, "3", None):
        with pytest.raises(ValueError, match="n_classes: expected a whole number"):
            AdaptiveMarginTripletLoss(size, 3)
        with pytest.raises(ValueError, match="n_features: expected a whole number"):
            AdaptiveMarginTripletLoss(3, size)
