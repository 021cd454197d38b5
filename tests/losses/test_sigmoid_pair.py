"""The sigmoid loss: loops, closed forms, blocks beside the plain formula, gradients, limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slopes import with_gradients

from vlalign_lib.losses import SigmoidPairLoss, sigmoid_pair_loss
from vlalign_lib.losses.sigmoid_pair import sigmoid_sums

NAME = "losses.sigmoid_pair_loss"


def paired(rows=9, width=4, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, width))
    y = x + rng.standard_normal((rows, width))
    return torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def by_loops(x, y, scale, bias, cosine):
    x, y = x.tolist(), y.tolist()
    sums = []
    for i, a in enumerate(x):
        total = 0.0
        for j, b in enumerate(y):
            s = sum(p * q for p, q in zip(a, b, strict=True))
            if cosine:
                s /= math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))
            z = (scale * s + bias) * (1 if i == j else -1)
            total += math.log1p(math.exp(-z)) if z > 0 else math.log1p(math.exp(z)) - z
        sums.append(total)
    return sums


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_beside_loops(agrees, similarity):
    x, y = paired()
    wanted = by_loops(x, y, 5.0, -3.0, similarity == "cosine")
    options = {"scale": 5.0, "bias": -3.0, "similarity": similarity}
    against = "loops in plain Python"
    for reduction, sums in (("none", wanted), ("sum", sum(wanted)), ("mean", np.mean(wanted))):
        loss = sigmoid_pair_loss(x, y, reduction=reduction, **options)
        agrees(NAME, loss, sums, kind="loop", against=against, tolerance=1e-13)


@pytest.mark.usefixtures("both_ways")
def test_beside_binary_cross_entropy(agrees):
    x, y = paired(rows=30)

    def plain(x, y, scale, bias):
        unit = torch.nn.functional.normalize
        logits = scale * unit(x) @ unit(y).T + bias
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits, torch.eye(30, dtype=torch.float64), reduction="none"
        ).sum(dim=1).mean()  # fmt: skip

    def ours(x, y, scale, bias):
        return sigmoid_pair_loss(x, y, scale=scale, bias=bias)

    inputs = (x, y, number(12.0), number(-7.0))
    for got, wanted in zip(
        with_gradients(ours, *inputs), with_gradients(plain, *inputs), strict=True
    ):
        agrees(
            NAME, got, wanted, kind="derivation", against="binary cross entropy of all logits",
            tolerance=1e-13,
        )  # fmt: skip


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("batch", [1, 2, 30])
def test_closed_forms(agrees, batch):
    x = torch.zeros(batch, 3, dtype=torch.float64)
    loss = sigmoid_pair_loss(x, x, bias=0.0)
    agrees(
        NAME, loss, batch * math.log(2), kind="closed form", against="logits of 0: B log 2",
        tolerance=1e-14,
    )  # fmt: skip
    loss = sigmoid_pair_loss(x, x, bias=-10.0)
    wanted = 10 + math.log1p(math.exp(-10)) + (batch - 1) * math.log1p(math.exp(-10))
    agrees(NAME, loss, wanted, kind="closed form", against="the bias alone", tolerance=1e-14)
    x = torch.eye(batch, dtype=torch.float64)
    assert float(sigmoid_pair_loss(x, x, scale=1e5, bias=-5e4)) == 0.0


@pytest.mark.engine
@given(
    rows=st.integers(1, 20),
    block=st.integers(1, 400),
    keep=st.booleans(),
    scale=st.floats(0.01, 100),
    bias=st.floats(-50, 50),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=80, deadline=None)
def test_blocks_beside_the_plain_formula(in_blocks, rows, block, keep, scale, bias, seed):
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.randn(2, rows, 3, dtype=torch.float64, generator=generator)
    weights = torch.randn(rows, generator=generator).double()
    inputs = (u, v, number(scale), number(bias))
    with in_blocks(block, 2**23 if keep else 0):
        ours = with_gradients(lambda *a: weights * sigmoid_sums(*a), *inputs)
    plain = with_gradients(lambda *a: weights * sigmoid_sums.plain(*a), *inputs)
    for got, wanted in zip(ours, plain, strict=True):
        size = 1 + float(wanted.abs().max())
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-13 * size)


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.usefixtures("both_ways")
def test_gradients(agrees, reduction):
    inputs = (*paired(rows=5, width=3), number(4.0), number(-2.0))
    inputs = tuple(each.requires_grad_() for each in inputs)

    def call(x, y, scale, bias):
        return sigmoid_pair_loss(x, y, scale=scale, bias=bias, reduction=reduction)

    agrees.gradcheck(NAME, call, inputs, tolerance=1e-7)
    agrees.gradcheck(NAME, call, inputs, second=True, tolerance=1e-6)


@pytest.mark.parametrize("view", [0, 1])
@pytest.mark.usefixtures("both_ways")
def test_nan_stays_with_the_pairs_it_is_in(view):
    # A question asks about two items only: other images keep their answers about other texts.
    views = paired()
    views[view][2, 1] = torch.nan
    each = sigmoid_pair_loss(*views, reduction="none")
    assert each.isnan().sum() == (1 if view == 0 else len(each))


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_are_finite_and_right(dtype):
    x, y = paired(dtype=dtype)
    x[0], y[1] = 0, 0
    value, dx, dy = with_gradients(lambda x, y: sigmoid_pair_loss(x, y, scale=1e4), x, y)
    assert all(torch.isfinite(each).all() for each in (value, dx, dy))
    assert not dx[0].any()
    # Logits of 10⁴ and −10⁴: each wrong answer costs the whole of it.
    x = 100 * torch.eye(2, dtype=dtype)
    options = {"similarity": "dot", "scale": 1.0}
    assert float(sigmoid_pair_loss(x, x.flip(0), bias=0.0, **options)) == pytest.approx(
        1e4 + math.log(2)
    )
    assert float(sigmoid_pair_loss(x, -x, bias=-1e3, **options)) == 11e3


def test_module_is_the_function():
    x, y = paired(rows=20)
    module = SigmoidPairLoss(scale=4.0, bias=-1.0, reduction="sum").double()
    value = module(x, y)
    wanted = sigmoid_pair_loss(x, y, scale=4.0, bias=-1.0, reduction="sum")
    torch.testing.assert_close(value, wanted, rtol=1e-6, atol=0)
    value.backward()
    h = 1e-6
    ends = [sigmoid_pair_loss(x, y, scale=4.0, bias=b, reduction="sum") for b in (-1 + h, -1 - h)]
    assert float(module.bias.grad) == pytest.approx(float(ends[0] - ends[1]) / (2 * h), rel=1e-5)
    assert "scale=4, bias=-1, learnable=True" in repr(module)
    fixed = SigmoidPairLoss(learnable=False)
    assert not list(fixed.parameters())
    assert sorted(fixed.state_dict()) == ["bias", "log_scale"]
