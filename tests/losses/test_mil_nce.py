"""MIL-NCE: loops, the form with one candidate, the released double count, gradients, limits."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from slopes import with_gradients

from vlalign_lib.losses import MILNCELoss, mil_nce_loss

NAME = "losses.mil_nce_loss"


def clips(rows=6, candidates=3, width=4, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, width))
    y = x[:, None] + rng.standard_normal((rows, candidates, width))
    return torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)


def by_loops(x, y, temperature, as_released):
    losses = []
    for i in range(len(x)):
        positive = sum(math.exp(x[i] @ caption / temperature) for caption in y[i])
        total = 2 * positive if as_released else positive
        for j in range(len(x)):
            if j != i:
                total += sum(math.exp(x[i] @ caption / temperature) for caption in y[j])
                total += sum(math.exp(x[j] @ caption / temperature) for caption in y[i])
        losses.append(-math.log(positive / total))
    return losses


def released(x, y):
    """The concatenation of the released code, in its own words: rows and columns of one matrix."""
    z = (x @ y.flatten(0, 1).T).view(len(x), len(x), -1)  # clip, owner of the caption, caption
    positive = z.diagonal().T.logsumexp(dim=1)
    both = torch.cat([z.flatten(1), z.transpose(0, 1).flatten(1)], dim=1)
    return both.logsumexp(dim=1) - positive


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize("candidates", [1, 4])
def test_beside_loops(agrees, as_released, candidates):
    x, y = clips(candidates=candidates)
    wanted = by_loops(x.numpy(), y.numpy(), 0.7, as_released)
    options = {"temperature": 0.7, "as_released": as_released}
    for reduction, number in (("none", wanted), ("sum", sum(wanted)), ("mean", np.mean(wanted))):
        loss = mil_nce_loss(x, y, reduction=reduction, **options)
        agrees(NAME, loss, number, kind="loop", against="loops in plain Python", tolerance=1e-13)
    unit_x, unit_y = F.normalize(x), F.normalize(y, dim=2)
    wanted = by_loops(unit_x.numpy(), unit_y.numpy(), 0.7, as_released)
    loss = mil_nce_loss(x, y, similarity="cosine", reduction="none", **options)
    agrees(NAME, loss, wanted, kind="loop", against="loops in plain Python", tolerance=1e-13)


@pytest.mark.usefixtures("both_ways")
def test_as_released_beside_the_concatenation(agrees):
    x, y = clips(rows=12)
    ours = with_gradients(lambda x, y: mil_nce_loss(x, y, as_released=True, reduction="none"), x, y)
    for got, wanted in zip(ours, with_gradients(released, x, y), strict=True):
        agrees(
            NAME, got, wanted, kind="derivation", against="rows and columns concatenated",
            tolerance=1e-13,
        )  # fmt: skip


@pytest.mark.usefixtures("both_ways")
def test_one_candidate_is_nce_with_both_directions_in_one_denominator(agrees):
    # One softmax over a clip's row and, without the diagonal, its column: 2B − 1 answers.
    x, y = clips(rows=10, candidates=1)

    def one_softmax(x, y):
        z = x @ y[:, 0].T
        column = z.T.masked_fill(torch.eye(10, dtype=torch.bool), -1e300)
        return F.cross_entropy(torch.cat([z, column], dim=1), torch.arange(10))

    for got, wanted in zip(
        with_gradients(mil_nce_loss, x, y), with_gradients(one_softmax, x, y), strict=True
    ):
        agrees(
            NAME, got, wanted, kind="derivation", against="K = 1: one softmax over 2B − 1",
            tolerance=1e-13,
        )  # fmt: skip
    assert torch.equal(mil_nce_loss(x, y), mil_nce_loss(x, y[:, 0]))


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(("batch", "candidates"), [(1, 1), (1, 5), (2, 3), (30, 4)])
def test_closed_forms(agrees, batch, candidates):
    x = torch.zeros(batch, 3, dtype=torch.float64)
    y = torch.zeros(batch, candidates, 3, dtype=torch.float64)
    against = "one point: log(2B − 1), as released log 2B"
    for as_released, number in ((False, 2 * batch - 1), (True, 2 * batch)):
        value, dx, dy = with_gradients(
            lambda x, y, r=as_released: mil_nce_loss(x, y, as_released=r), x, y
        )
        agrees(
            NAME, value, math.log(number), kind="closed form", against=against,
            tolerance=1e-14, absolute=True,
        )  # fmt: skip
        assert not dx.any()
        assert not dy.any()
    x = 100 * torch.eye(batch, dtype=torch.float64)
    y = x[:, None].expand(batch, candidates, batch)
    assert float(mil_nce_loss(x, y)) == 0.0
    loss = mil_nce_loss(x, y, as_released=True)
    agrees(
        NAME, loss, math.log(2), kind="closed form", against="all right, as released: log 2",
        tolerance=1e-12,
    )  # fmt: skip


def test_one_fitting_caption_is_enough():
    x = 20 * torch.eye(3)
    y = torch.zeros(3, 4, 3)
    y[:, 2] = torch.eye(3)
    assert float(mil_nce_loss(x, y)) < 1e-6
    assert float(mil_nce_loss(x, y[:, :2])) > 1


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.usefixtures("both_ways")
def test_gradients(agrees, as_released, reduction):
    t = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    inputs = (*(each.requires_grad_() for each in clips(rows=4, candidates=2, width=3)), t)

    def call(x, y, t):
        return mil_nce_loss(x, y, temperature=t, as_released=as_released, reduction=reduction)

    agrees.gradcheck(NAME, call, inputs, tolerance=1e-7)
    agrees.gradcheck(NAME, call, inputs, second=True, tolerance=1e-6)


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize("keep", [0, 2**23])
@pytest.mark.engine
def test_blocks_change_nothing(in_blocks, as_released, keep):
    x, y = clips(rows=11)

    def ours():
        return with_gradients(
            lambda x, y: mil_nce_loss(x, y, as_released=as_released, reduction="none"), x, y
        )

    whole = ours()
    with in_blocks(70, keep):
        found = ours()
    for got, wanted in zip(found, whole, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-13, atol=1e-14)


def test_the_temperature_divides_the_products():
    x, y = clips(rows=15)
    ours = mil_nce_loss(2 * x, y, temperature=2.0)
    torch.testing.assert_close(ours, mil_nce_loss(x, y), rtol=1e-13, atol=0)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("as_released", [False, True])
def test_extremes_are_finite_and_right(dtype, as_released):
    x, y = clips(dtype=dtype)
    x[0], y[1] = 0, 0
    for options in ({"temperature": 1e-4}, {"temperature": 1e-4, "similarity": "cosine"}):
        each = with_gradients(
            lambda x, y, o=options: mil_nce_loss(x, y, as_released=as_released, **o), x, y
        )
        assert all(torch.isfinite(part).all() for part in each)
    x = 100 * torch.eye(2, dtype=dtype)
    wrong = mil_nce_loss(x, x.flip(0)[:, None], as_released=as_released)
    assert float(wrong) == pytest.approx(1e4 + math.log(2), rel=1e-7)


def test_module_is_the_function():
    x, y = clips()
    module = MILNCELoss(temperature=0.2, similarity="cosine", as_released=True, reduction="sum")
    wanted = mil_nce_loss(
        x, y, temperature=0.2, similarity="cosine", as_released=True, reduction="sum"
    )
    assert torch.equal(module(x, y), wanted)
    assert "temperature=0.2, similarity='cosine', as_released=True" in repr(module)
