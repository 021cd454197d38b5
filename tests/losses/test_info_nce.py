"""InfoNCE: loops, closed forms, blocks beside the plain formula, gradients, limits."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.losses import InfoNCELoss, info_nce_loss

NAME = "losses.info_nce_loss"


def paired(rows=9, width=4, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, width))
    y = x + rng.standard_normal((rows, width))
    return torch.tensor(x, dtype=dtype), torch.tensor(y, dtype=dtype)


def with_gradients(call, *inputs):
    inputs = [each.detach().clone().requires_grad_() for each in inputs]
    value = call(*inputs)
    return value.detach(), *torch.autograd.grad(value.sum(), inputs)


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


@given(
    rows=st.integers(1, 20),
    width=st.integers(1, 6),
    symmetric=st.booleans(),
    block=st.integers(1, 25),
    power=st.integers(-3, 1),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_any_block_gives_the_same(rows, width, symmetric, block, power, seed):
    x, y = paired(rows, width, seed)
    t = torch.tensor(10.0**power, dtype=torch.float64)
    weights = torch.linspace(-1, 1, rows, dtype=torch.float64)

    def ours(block_size):
        return with_gradients(
            lambda x, y, t: (
                weights
                * info_nce_loss(
                    x,
                    y,
                    temperature=t,
                    symmetric=symmetric,
                    similarity="dot",
                    block_size=block_size,
                    reduction="none",
                )
            ),
            x,
            y,
            t,
        )

    for got, wanted in zip(ours(block), ours(None), strict=True):
        size = 1 + float(wanted.abs().max())
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-11 * size)


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


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("temperature", [1.0, 0.07, 0.01])
def test_float32(agrees, temperature):
    x, y = paired(rows=200, width=16)

    def ours(dtype):
        return with_gradients(
            lambda x, y: info_nce_loss(x, y, temperature=temperature), x.to(dtype), y.to(dtype)
        )

    narrow, wide = ours(torch.float32), ours(torch.float64)
    assert all(each.dtype == torch.float32 for each in narrow)
    for got, wanted in zip(narrow, wide, strict=True):
        agrees(NAME, got, wanted, kind="float32", against="float64", tolerance=1e-5)


def test_invariances():
    x, y = paired(rows=15)
    wanted = info_nce_loss(x, y)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(torch.tensor(np.random.default_rng(0).standard_normal((4, 4)))).Q
    scale = torch.linspace(1e-3, 1e3, 15, dtype=torch.float64)[:, None]
    for same in (
        info_nce_loss(x[order], y[order]),
        info_nce_loss(x @ rotation, y @ rotation),
        info_nce_loss(y, x),
        info_nce_loss(x * scale, y / scale),
        info_nce_loss(1e-300 * x, 1e300 * y),
        info_nce_loss(x, y, temperature=torch.tensor([0.07], dtype=torch.float64)),
    ):
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


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("view", [0, 1])
def test_nan_comes_out_as_nan(view):
    views = paired()
    views[view][2, 1] = torch.nan
    for reduction in ("mean", "none"):
        value, dx, dy = with_gradients(
            lambda x, y, r=reduction: info_nce_loss(x, y, reduction=r), *views
        )
        assert value.isnan().all()
        assert dx.isnan().any()
        assert dy.isnan().any()


@pytest.mark.usefixtures("both_ways")
def test_the_host_never_waits(no_host_reads):
    x, y = paired()
    t = torch.tensor(0.5, dtype=torch.float64)
    with no_host_reads:
        each = with_gradients(lambda x, y, t: info_nce_loss(x, y, temperature=t), x, y, t)
    assert all(part.isfinite().all() for part in each)


def test_half_precision_and_autocast():
    x, y = paired(rows=20)
    narrow = info_nce_loss(x.half(), y.half())
    assert narrow.dtype == torch.float32
    assert torch.equal(narrow, info_nce_loss(x.half().float(), y.half().float()))
    a, b = x.float().requires_grad_(), y.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = info_nce_loss(a, b)
    (slope,) = torch.autograd.grad(inside, a)
    outside = info_nce_loss(a, b)
    assert torch.equal(inside, outside)
    assert torch.equal(slope, torch.autograd.grad(outside, a)[0])


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


def test_two_processes(two_processes):
    x, y = paired(rows=8)
    t = torch.tensor(0.2, dtype=torch.float64)
    target = "vlalign_lib.losses:info_nce_loss"
    two_processes(target, x, y, shared={"temperature": t})
    two_processes(target, x, y, symmetric=False, label_smoothing=0.1, reduction="none")
    two_processes("vlalign_lib.losses:InfoNCELoss", x, y, learnable=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(5, 3)}, "x has 5 rows and y has 4"),
        ({"y": torch.ones(4, 2)}, "embed both into the same number of dimensions"),
        ({"x": torch.ones(4, 3).long()}, "expected real numbers in floating point"),
        ({"temperature": 0}, "temperature: expected a number greater than 0"),
        ({"temperature": torch.ones(2)}, r"temperature: expected one number, got a tensor \(2,\)"),
        ({"temperature": torch.tensor(True)}, "expected one real number, got torch.bool"),
        ({"temperature": torch.ones((), device="meta")}, "temperature: .* on the meta device"),
        ({"temperature": "warm"}, "temperature: expected a finite number"),
        ({"label_smoothing": 1.0}, "label_smoothing: expected a number .* less than 1"),
        ({"block_size": 0}, "block_size: expected a whole number of at least 1"),
        ({"label_smoothing": -0.1}, "label_smoothing: expected a number of at least 0"),
        ({"similarity": "euclidean"}, 'similarity: expected one of "cosine", "dot"'),
        ({"reduction": None}, "reduction: expected one of"),
    ],
)
def test_bad_input(change, message):
    arguments = {"x": torch.ones(4, 3), "y": torch.ones(4, 3)} | change
    x, y = arguments.pop("x"), arguments.pop("y")
    with pytest.raises(ValueError, match=message):
        info_nce_loss(x, y, **arguments)
