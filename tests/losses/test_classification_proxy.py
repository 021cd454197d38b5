"""Classifiers as the bridge: the sign of the logarithm, and softmax where it belongs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.losses import ClassificationProxyLoss, classification_proxy_loss

NAME = "losses.classification_proxy_loss"


def logits(rows=6, classes=4, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, rows, classes, dtype=torch.float64, generator=generator).to(dtype)
    labels = torch.randint(classes, (rows,), generator=generator)
    targets = torch.randint(2, (rows, classes), generator=generator)
    return 2 * x, y, labels, targets


def softmax_by_loops(z, labels):
    values = []
    for row, label in zip(z.tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(entry) for entry in row)
        values.append(-math.log(math.exp(row[label]) / total) if label >= 0 else 0.0)
    return np.array(values)


def sigmoid_by_loops(z, targets):
    values = []
    for row, wanted in zip(z.tolist(), targets.tolist(), strict=True):
        total = 0.0
        for entry, target in zip(row, wanted, strict=True):
            p = 1 / (1 + math.exp(-entry))
            total -= target * math.log(p) + (1 - target) * math.log(1 - p)
        values.append(total / len(row))
    return np.array(values)


def as_on_the_slide(z, targets):
    """The printed expression: y log σ(x) + (1 − y) log(1 − σ(x)), with no minus before it."""
    p = torch.sigmoid(z)
    return targets * p.log() + (1 - targets) * (1 - p).log()


@pytest.mark.parametrize("multi_label", [False, True])
def test_slow_loops(multi_label, agrees):
    x, y, labels, targets = logits()
    labels, loop = (targets, sigmoid_by_loops) if multi_label else (labels, softmax_by_loops)
    values = {"x": loop(x, labels), "y": loop(y, labels)}
    for views in ({"x": x, "y": y}, {"x": x, "y": None}, {"x": None, "y": y}):
        theirs = sum(values[name] for name, view in views.items() if view is not None)
        for reduction, expected in (
            ("none", theirs),
            ("mean", theirs.mean()),
            ("sum", theirs.sum()),
        ):
            agrees(
                NAME,
                classification_proxy_loss(
                    **views, labels=labels, multi_label=multi_label, reduction=reduction
                ),
                expected,
                kind="loop",
                against="logarithms of probabilities, one by one",
                tolerance=1e-14,
            )


def test_beside_scikit_learn(agrees):
    metrics = pytest.importorskip("sklearn.metrics")
    x, _, labels, targets = logits(40, 5)
    agrees(
        NAME,
        [
            classification_proxy_loss(x, None, labels),
            classification_proxy_loss(x, None, targets, multi_label=True),
        ],
        [
            metrics.log_loss(labels, torch.softmax(x, 1), labels=range(5)),
            np.mean(
                [metrics.log_loss(t, torch.sigmoid(z)) for t, z in zip(targets.T, x.T, strict=True)]
            ),
        ],
        kind="peer",
        against="scikit-learn, log_loss",
        tolerance=1e-12,
    )


def test_the_slide_s_missing_minus():
    """What is printed is the negative of a loss: minimised, it unlearns."""
    x, _, _, targets = logits()
    ours = classification_proxy_loss(x, None, targets, multi_label=True)
    assert ours > 0
    assert as_on_the_slide(x, targets).mean() == pytest.approx(-ours.item(), rel=1e-12)

    def agreement(loss):
        z = torch.zeros_like(x, requires_grad=True)
        for _ in range(50):
            (grad,) = torch.autograd.grad(loss(z), z)
            z = (z - grad).detach().requires_grad_()
        return ((z > 0) == targets.bool()).double().mean()

    assert agreement(lambda z: classification_proxy_loss(z, None, targets, multi_label=True)) == 1
    assert agreement(lambda z: as_on_the_slide(z, targets).mean()) == 0


def test_a_softmax_cannot_say_two_classes():
    """Two classes of three: shares of one unit of probability, against two certainties."""
    target = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)

    def minimised(loss):
        z = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([z], max_iter=100, line_search_fn="strong_wolfe")

        def closure():
            optimiser.zero_grad()
            value = loss(z)
            value.backward()
            return value

        optimiser.step(closure)
        return z.detach(), loss(z).item()

    z, left = minimised(lambda z: -(target * torch.log_softmax(z, 1)).sum())
    torch.testing.assert_close(torch.softmax(z, 1), target / 2, atol=1e-3, rtol=0)
    assert left == pytest.approx(2 * math.log(2), abs=1e-3)  # there is no better
    z, left = minimised(lambda z: classification_proxy_loss(z, None, target, multi_label=True))
    torch.testing.assert_close(torch.sigmoid(z), target, atol=1e-3, rtol=0)
    assert left < 1e-3


def test_no_information_costs_the_logarithm_of_the_number_of_classes(agrees):
    zeros = torch.zeros(5, 8, dtype=torch.float64)
    labels = torch.arange(5)
    agrees(
        NAME,
        [
            classification_proxy_loss(zeros, None, labels),
            classification_proxy_loss(zeros, zeros, labels),
            classification_proxy_loss(zeros, None, torch.eye(8)[labels], multi_label=True),
        ],
        [math.log(8), 2 * math.log(8), math.log(2)],
        kind="closed form",
        against="logits of zero: ln C and ln 2",
        tolerance=1e-14,
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_gradient(multi_label, agrees):
    x, y, _, targets = logits(3)
    wanted = targets if multi_label else torch.tensor([1, -1, 3])

    def loss(x, y):
        return classification_proxy_loss(x, y, wanted, multi_label=multi_label)

    views = (x.requires_grad_(), y.requires_grad_())
    agrees.gradcheck(NAME, loss, views)
    agrees.gradcheck(NAME, loss, views, second=True)


def test_gradient_is_posterior_minus_target(agrees):
    x, y, labels, targets = logits()
    x.requires_grad_()
    hot = torch.nn.functional.one_hot(labels, 4)
    for wanted, multi, theirs in (
        (labels, False, (torch.softmax(x, 1) - hot) / 6),
        (targets, True, (torch.sigmoid(x) - targets) / 24),
    ):
        (ours,) = torch.autograd.grad(classification_proxy_loss(x, y, wanted, multi_label=multi), x)
        agrees(
            NAME,
            ours,
            theirs,
            kind="closed form",
            against="gradient: posterior minus target",
            tolerance=1e-13,
        )


def test_neither_view_sees_the_other():
    x, y, labels, _ = logits()
    x.requires_grad_()
    (alone,) = torch.autograd.grad(classification_proxy_loss(x, None, labels), x)
    (together,) = torch.autograd.grad(classification_proxy_loss(x, y, labels), x)
    assert torch.equal(alone, together)
    both = classification_proxy_loss(x, y, labels)
    apart = classification_proxy_loss(x, None, labels) + classification_proxy_loss(None, y, labels)
    torch.testing.assert_close(both, apart, rtol=1e-14, atol=0)
    # Who is whose partner within a class is not used.
    partners = torch.tensor([1, 0, 2, 3])
    labels = torch.tensor([3, 3, 0, 3])
    torch.testing.assert_close(
        classification_proxy_loss(x[:4], y[partners], labels),
        classification_proxy_loss(x[:4], y[:4], labels),
        rtol=1e-14,
        atol=0,
    )


def test_rows_without_a_class_count_for_nothing():
    x, y, labels, _ = logits()
    some = labels.clone()
    some[[1, 4]] = -1
    keep = some >= 0
    x.requires_grad_()
    loss = classification_proxy_loss(x, y, some)
    expected = classification_proxy_loss(x[keep], y[keep], labels[keep])
    torch.testing.assert_close(loss, expected, rtol=1e-14, atol=0)
    (grad,) = torch.autograd.grad(loss, x)
    assert (grad[~keep] == 0).all()
    assert classification_proxy_loss(x, y, some, reduction="none")[1] == 0
    nothing = classification_proxy_loss(x, y, torch.full((6,), -1))
    assert nothing == 0
    (grad,) = torch.autograd.grad(nothing, x)
    assert (grad == 0).all()


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 6),
    classes=st.integers(1, 6),
    shift=st.floats(-1e3, 1e3),
    seed=st.integers(0, 99),
)
def test_invariances(rows, classes, shift, seed):
    x, y, labels, targets = logits(rows, classes, seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(rows, generator=generator)
    names = torch.randperm(classes, generator=generator)
    loss = classification_proxy_loss(x, y, labels)
    assert loss >= 0
    for ours in (
        classification_proxy_loss(x[order], y[order], labels[order]),
        classification_proxy_loss(y, x, labels),
        classification_proxy_loss(x + shift, y - 3 * shift, labels),
        classification_proxy_loss(x[:, names], y[:, names], names.argsort()[labels]),
    ):
        torch.testing.assert_close(ours, loss, rtol=1e-10, atol=1e-12)
    loss = classification_proxy_loss(x, y, targets, multi_label=True)
    for ours in (
        classification_proxy_loss(x[order], y[order], targets[order], multi_label=True),
        classification_proxy_loss(-x, -y, 1 - targets, multi_label=True),
        classification_proxy_loss(x[:, names], y[:, names], targets[:, names], multi_label=True),
    ):
        torch.testing.assert_close(ours, loss, rtol=1e-12, atol=0)


@pytest.mark.parametrize("size", [1e4, 1e30])
def test_logits_of_extreme_size(size):
    """log σ of the slide overflows; through the logits it does not."""
    z = torch.tensor([[size, -size]], dtype=torch.float64, requires_grad=True)
    right = classification_proxy_loss(z, None, torch.tensor([[1, 0]]), multi_label=True)
    wrong = classification_proxy_loss(z, None, torch.tensor([[0, 1]]), multi_label=True)
    assert right == 0
    assert wrong == size
    (grad,) = torch.autograd.grad(wrong, z)
    torch.testing.assert_close(grad, torch.tensor([[0.5, -0.5]], dtype=torch.float64))
    assert classification_proxy_loss(z, None, torch.tensor([1])).item() == pytest.approx(2 * size)


def test_targets_of_any_kind():
    x, y, _, targets = logits()
    reference = classification_proxy_loss(x, y, targets, multi_label=True)
    for kind in (torch.bool, torch.float32, torch.float64, torch.uint8):
        ours = classification_proxy_loss(x, y, targets.to(kind), multi_label=True)
        assert torch.equal(ours, reference)
    soft = torch.full((6, 4), 0.25)
    expected = sigmoid_by_loops(x, soft).mean()
    ours = classification_proxy_loss(x, None, soft, multi_label=True)
    assert ours.item() == pytest.approx(expected, rel=1e-14)
    assert torch.equal(
        classification_proxy_loss(x, y, [0, 1, 2, 3, 0, 1]),
        classification_proxy_loss(x, y, np.array([0, 1, 2, 3, 0, 1])),
    )


def test_module():
    x, y, labels, targets = logits()
    module = ClassificationProxyLoss(multi_label=True, reduction="sum")
    ours = classification_proxy_loss(x, y, targets, multi_label=True, reduction="sum")
    assert torch.equal(module(x, y, targets), ours)
    assert torch.equal(
        ClassificationProxyLoss()(None, y, labels), classification_proxy_loss(None, y, labels)
    )
    assert repr(module) == (
        "ClassificationProxyLoss(multi_label=True, reduction='sum', gather=False)"
    )
