"""InfoNCE: loops, closed forms, blocks beside the plain formula, gradients, limits."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from slopes import with_gradients

from vlalign_lib.losses import InfoNCELoss, info_nce_loss
from vlalign_lib.losses.info_nce import log_partitions

NAME = "losses.info_nce_loss"


def paired(rows=9, width=4, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, width))
    y = x + rng.standard_normal((rows, width))
    return torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)


def by_loops(x, y, temperature, symmetric, cosine, smoothing):
    """Each question asked alone, in plain Python."""
    x, y = x.tolist(), y.tolist()
    n = len(x)

    def similarity(a, b):
        product = sum(p * q for p, q in zip(a, b, strict=True))
        lengths = math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))
        return product / lengths if cosine else product

    s = [[similarity(a, b) / temperature for b in y] for a in x]
    losses = []
    for i in range(n):
        answers = [s[i], [s[j][i] for j in range(n)]][: 2 if symmetric else 1]
        total = 0.0
        for row in answers:
            largest = max(row)
            partition = largest + math.log(sum(math.exp(z - largest) for z in row))
            for j in range(n):
                asked = smoothing / n + (1 - smoothing if i == j else 0)
                total += asked * (partition - row[j])
        losses.append(total / len(answers))
    return losses


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_beside_loops(agrees, symmetric, similarity, smoothing):
    x, y = paired()
    wanted = by_loops(x, y, 0.3, symmetric, similarity == "cosine", smoothing)
    options = {
        "temperature": 0.3,
        "symmetric": symmetric,
        "similarity": similarity,
        "label_smoothing": smoothing,
    }
    for reduction, number in (("none", wanted), ("sum", sum(wanted)), ("mean", np.mean(wanted))):
        loss = info_nce_loss(x, y, reduction=reduction, **options)
        agrees(NAME, loss, number, kind="loop", against="loops in plain Python", tolerance=1e-13)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("block", "keep"), [(2**19, 2**23), (30, 2**23), (30, 0)])
@pytest.mark.engine
def test_value_and_gradient_beside_cross_entropy(
    agrees, in_blocks, symmetric, smoothing, block, keep
):
    x, y = paired(rows=14)
    t = torch.tensor(0.2, dtype=torch.float64)

    def plain(x, y, t):
        z = F.normalize(x) @ F.normalize(y).T / t
        answer = torch.arange(len(x))
        loss = F.cross_entropy(z, answer, label_smoothing=smoothing)
        if symmetric:
            loss = (loss + F.cross_entropy(z.T, answer, label_smoothing=smoothing)) / 2
        return loss

    def ours(x, y, t):
        return info_nce_loss(x, y, temperature=t, symmetric=symmetric, label_smoothing=smoothing)

    with in_blocks(block, keep):
        found = with_gradients(ours, x, y, t)
    for got, wanted in zip(found, with_gradients(plain, x, y, t), strict=True):
        agrees(
            NAME, got, wanted, kind="derivation", against="cross entropy of all scores",
            tolerance=1e-13,
        )  # fmt: skip


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("batch", [1, 2, 57])
def test_one_point_costs_the_logarithm_of_the_batch(agrees, batch):
    x = torch.ones(batch, 3, dtype=torch.float64)
    against = "one point: log B"
    for options in ({}, {"symmetric": False}, {"label_smoothing": 0.3}, {"temperature": 1e-4}):
        loss = info_nce_loss(x, 3 * x, **options)
        agrees(NAME, loss, math.log(batch), kind="closed form", against=against, tolerance=1e-11)


@pytest.mark.usefixtures("both_ways")
def test_partners_on_axes_of_their_own(agrees):
    x = torch.eye(5, dtype=torch.float64)
    against = "axes: log(1 + (B − 1) exp(−1/τ))"
    for t in (1.0, 0.1, 0.02):
        wanted = math.log1p(4 * math.exp(-1 / t))
        loss = info_nce_loss(x, x, temperature=t)
        agrees(
            NAME, loss, wanted, kind="closed form", against=against, tolerance=1e-13,
            absolute=True,
        )  # fmt: skip
    assert float(info_nce_loss(x, x, temperature=1e-3)) == 0.0


@pytest.mark.engine
@given(
    rows=st.integers(1, 20),
    width=st.integers(1, 6),
    columns=st.sampled_from(["all", "others", "none"]),
    each=st.integers(1, 3),
    block=st.integers(1, 400),
    keep=st.booleans(),
    power=st.integers(-3, 3),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=100, deadline=None)
def test_blocks_beside_the_plain_formula(
    in_blocks, rows, width, columns, each, block, keep, power, seed
):
    if columns == "others" and rows == 1:
        columns = "none"
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(rows, width, dtype=torch.float64, generator=generator)
    v = torch.randn(rows * each, width, dtype=torch.float64, generator=generator)
    scale = torch.tensor(10.0**power, dtype=torch.float64)
    weights = [torch.randn(n, generator=generator).double() for n in (rows, rows * each, rows)]

    def total(form):
        def weighted(*inputs):
            sums = form(*inputs, columns=columns)
            return sum((w * part).sum() for w, part in zip(weights, sums, strict=True))

        return with_gradients(weighted, u, v, scale)

    with in_blocks(block, 2**23 if keep else 0):
        ours = total(log_partitions)
    for got, wanted in zip(ours, total(log_partitions.plain), strict=True):
        size = 1 + float(wanted.abs().max())
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-11 * size)


@pytest.mark.parametrize("block", [1, 4, 9, 100])
def test_any_size_of_the_blocks_gives_the_same(block):
    x, y = paired()
    wanted = with_gradients(info_nce_loss, x, y)
    ours = with_gradients(lambda x, y: info_nce_loss(x, y, block_size=block), x, y)
    for got, each in zip(ours, wanted, strict=True):
        torch.testing.assert_close(got, each, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("options", [{}, {"symmetric": False}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.usefixtures("both_ways")
def test_gradients(agrees, options, reduction):
    t = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    inputs = (*(each.requires_grad_() for each in paired(rows=5, width=3)), t)

    def call(x, y, t):
        return info_nce_loss(x, y, temperature=t, reduction=reduction, **options)

    agrees.gradcheck(NAME, call, inputs, tolerance=1e-7)
    agrees.gradcheck(NAME, call, inputs, second=True, tolerance=1e-6)


@pytest.mark.usefixtures("both_ways")
def test_second_derivative_with_some_inputs_fixed():
    x, y = paired(rows=5)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(info_nce_loss(x, y), x, create_graph=True)
    (ours,) = torch.autograd.grad(slope.square().sum(), x)
    z = F.normalize(x) @ F.normalize(y).T / 0.07
    plain = (F.cross_entropy(z, torch.arange(5)) + F.cross_entropy(z.T, torch.arange(5))) / 2
    (slope,) = torch.autograd.grad(plain, x, create_graph=True)
    torch.testing.assert_close(ours, torch.autograd.grad(slope.square().sum(), x)[0])


@pytest.mark.usefixtures("both_ways")
def test_backward_twice():
    x, y = paired()
    x.requires_grad_()
    loss = info_nce_loss(x, y)
    first = torch.autograd.grad(loss, x, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], first, rtol=1e-14, atol=1e-16)


def test_beside_pytorch_metric_learning(agrees, peer):
    # Theirs puts both views into one batch; asked in one direction with a reference it is ours.
    peer("pytorch_metric_learning")
    from pytorch_metric_learning import losses

    x, y = paired(rows=40, width=8)
    classes = torch.arange(40)
    theirs = losses.NTXentLoss(temperature=0.1)

    def both(x, y):
        other = classes.clone()
        forth = theirs(x, classes, ref_emb=y, ref_labels=other)
        return (forth + theirs(y, classes, ref_emb=x, ref_labels=other)) / 2

    def ours(x, y):
        return info_nce_loss(x, y, temperature=0.1)

    for got, wanted in zip(with_gradients(ours, x, y), with_gradients(both, x, y), strict=True):
        agrees(NAME, got, wanted, kind="peer", against="pytorch-metric-learning", tolerance=1e-12)


def test_views_may_be_swapped_and_a_temperature_may_have_an_axis():
    x, y = paired(rows=15)
    wanted = info_nce_loss(x, y)
    temperature = torch.tensor([0.07], dtype=torch.float64)
    for same in (info_nce_loss(y, x), info_nce_loss(x, y, temperature=temperature)):
        torch.testing.assert_close(same, wanted, rtol=1e-12, atol=0)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_are_finite_and_right(dtype):
    x, y = paired(dtype=dtype)
    x[0], y[1] = 0, 0  # dead units
    value, dx, dy = with_gradients(lambda x, y: info_nce_loss(x, y, temperature=1e-4), x, y)
    assert all(torch.isfinite(each).all() for each in (value, dx, dy))
    assert value >= 0
    assert not dx[0].any()
    # Logits of ±10⁴: the wrong answer wins by the whole distance.
    x = 100 * torch.eye(2, dtype=dtype)
    loss = info_nce_loss(x, x.flip(0), similarity="dot", temperature=1.0)
    assert float(loss) == 1e4
    assert float(info_nce_loss(x, x, similarity="dot", temperature=1.0)) == 0.0


def test_module_is_the_function():
    x, y = paired(rows=20)
    module = InfoNCELoss(temperature=0.1, symmetric=False, label_smoothing=0.1, reduction="sum")
    assert not list(module.parameters())
    wanted = info_nce_loss(
        x, y, temperature=0.1, symmetric=False, label_smoothing=0.1, reduction="sum"
    )
    torch.testing.assert_close(module.double()(x, y), wanted, rtol=1e-6, atol=0)
    assert "temperature=0.1, learnable=False, symmetric=False" in repr(module)
    module = InfoNCELoss(temperature=0.5, learnable=True)
    module(x, y).backward()
    h = 1e-6
    start = math.log(0.5)
    ends = [info_nce_loss(x, y, temperature=math.exp(start + d)) for d in (h, -h)]
    assert float(module.log_temperature.grad) == pytest.approx(
        float(ends[0] - ends[1]) / (2 * h), rel=1e-5
    )
