"""CKA as a loss: 1 − CKA, whatever a batch brings."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.losses import CKALoss, cka_loss
from vlalign_lib.similarity import cka, pair_sequences

NAME = "losses.cka_loss"
FORMS = list(itertools.product(("linear", "rbf"), (False, True)))


def shared_views(n, p, q, *, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 2))
    x, y = (common @ rng.standard_normal((2, d)) + rng.standard_normal((n, d)) for d in (p, q))
    return torch.tensor(3 * x + 1, dtype=dtype), torch.tensor(y / 2 - 2, dtype=dtype)


def by_loops(x, y, unbiased):
    """1 − CKA with sums over pairs of rows, and HSIC by Song's formula in the unbiased form."""
    n = len(x)

    def gram(view):
        mean = [sum(column) / n for column in zip(*view, strict=True)]
        rows = [[v - m for v, m in zip(row, mean, strict=True)] for row in view]
        return [[sum(a * b for a, b in zip(r, s, strict=True)) for s in rows] for r in rows]

    def inner(k, m):
        if not unbiased:
            return sum(k[i][j] * m[i][j] for i in range(n) for j in range(n))
        pairs = [(i, j) for i in range(n) for j in range(n) if i != j]
        first = sum(k[i][j] * m[i][j] for i, j in pairs)
        second = sum(k[i][j] for i, j in pairs) * sum(m[i][j] for i, j in pairs)
        third = sum(k[i][j] * m[j][q] for i, j in pairs for q in range(n) if q != j)
        return first + second / ((n - 1) * (n - 2)) - 2 * third / (n - 2)

    k, m = gram(x.tolist()), gram(y.tolist())
    return 1 - inner(k, m) / (inner(k, k) * inner(m, m)) ** 0.5


@pytest.mark.parametrize(("n", "p", "q"), [(10, 3, 4), (6, 9, 2)])
@pytest.mark.parametrize("unbiased", [False, True])
def test_by_loops(agrees, n, p, q, unbiased):
    x, y = shared_views(n, p, q)
    agrees(
        NAME,
        cka_loss(x, y, unbiased=unbiased),
        by_loops(x, y, unbiased),
        kind="loop",
        against="sums over pairs of rows",
        tolerance=1e-11,
    )


@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_is_1_minus_cka_and_so_is_the_module(agrees, kernel, unbiased):
    x, y = shared_views(20, 5, 6)
    settings = {"kernel": kernel, "unbiased": unbiased, "bandwidth": 0.3}
    expected = 1 - cka(x, y, **settings)
    agrees(
        NAME,
        cka_loss(x, y, **settings),
        expected,
        kind="derivation",
        against="1 − similarity.cka",
        tolerance=1e-14,
    )
    assert torch.equal(CKALoss(**settings)(x, y), cka_loss(x, y, **settings))
    mask = torch.arange(20) != 3
    assert torch.equal(CKALoss(**settings)(x, y, mask), cka_loss(x[mask], y[mask], **settings))


@pytest.mark.parametrize(("n", "p"), [(12, 3), (6, 8)])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_gradient(agrees, n, p, kernel, unbiased):
    inputs = tuple(view.requires_grad_() for view in shared_views(n, p, 4))
    mask = torch.arange(n) != 1

    def value(x, y):
        return cka_loss(x, y, kernel=kernel, unbiased=unbiased, sigma=4.0, mask=mask)

    agrees.gradcheck(NAME, value, inputs)
    agrees.gradcheck(NAME, value, inputs, second=True)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_over_two_processes(two_processes, kernel):
    for n, p in ((16, 3), (8, 20)):
        x, y = shared_views(n, p, p)
        for unbiased in (False, True):
            two_processes("vlalign_lib.losses:cka_loss", x, y, kernel=kernel, unbiased=unbiased)
        mask = torch.arange(n) % 5 != 2  # another number of rows in either process
        two_processes("vlalign_lib.losses:CKALoss", x, y, mask, kernel=kernel)


def test_two_hundred_steps_align_a_network():
    """Tanh of 16 numbers onto 16 unrelated ones: from the level of chance to above .9."""
    torch.manual_seed(0)
    x, y = torch.randn(2, 64, 16)
    encoder = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 16))
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-2)
    start = float(cka(encoder(x).detach(), y))
    assert start < 0.35
    for _ in range(200):
        loss = cka_loss(encoder(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    end = encoder(x).detach()
    assert float(cka(end, y)) > 0.9
    assert float(cka(end, y, unbiased=True)) > 0.9
    order = torch.randperm(64)
    assert abs(float(cka(end[order], y, unbiased=True))) < 0.15


@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_a_collapsed_view_gives_1_and_no_gradient(kernel, unbiased):
    for n, p in ((10, 3), (6, 9)):
        x, y = shared_views(n, p, 4)
        x = torch.full_like(x, 0.1)
        leaves = x.requires_grad_(), y.requires_grad_()
        loss = cka_loss(*leaves, kernel=kernel, unbiased=unbiased)
        grads = torch.autograd.grad(loss, leaves)
        assert loss == 1
        assert not any(grad.any() for grad in grads)


def test_nan_goes_through():
    for n, p in ((10, 3), (6, 9)):
        for kernel, unbiased in FORMS:
            x, y = shared_views(n, p, 4)
            x[2, 0] = torch.nan
            leaf = x.requires_grad_()
            loss = cka_loss(leaf, y, kernel=kernel, unbiased=unbiased)
            loss.backward()
            assert loss.isnan()
            assert leaf.grad.isnan().any()
            finite = cka_loss(leaf, y, kernel=kernel, mask=torch.arange(n) != 2)
            assert finite.isfinite()


def test_small_batches_start_where_little_is_left_to_gain():
    """16 pairs in 128 dimensions: the biased loss of unrelated views is 1 − .89."""
    torch.manual_seed(0)
    losses = torch.tensor(
        [
            [cka_loss(x, y), cka_loss(x, y, unbiased=True)]
            for x, y in (torch.randn(2, 16, 128) for _ in range(50))
        ]
    ).mean(dim=0)
    assert float(losses[0]) == pytest.approx(1 - 128 / 144, abs=0.005)
    assert float(losses[1]) == pytest.approx(1, abs=3 * (2 / (16 * 13) / 50) ** 0.5)


@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_precisions(agrees, kernel, unbiased):
    x, y = shared_views(64, 8, 8, dtype=torch.float32)
    found = {}
    for dtype in (torch.float32, torch.float64):
        leaf = x.detach().to(dtype, copy=True).requires_grad_()
        loss = cka_loss(leaf, y.to(dtype), kernel=kernel, unbiased=unbiased)
        loss.backward()
        found[dtype] = loss.detach(), leaf.grad
    for ours, theirs in zip(*found.values(), strict=True):
        agrees(NAME, ours, theirs, kind="float32", against="itself in float64", tolerance=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(
            cka_loss(x, y, kernel=kernel, unbiased=unbiased), found[torch.float32][0]
        )
        encoder = nn.Linear(8, 8)
        half = encoder(x)
        assert half.dtype == torch.bfloat16
        loss = cka_loss(half, y, kernel=kernel, unbiased=unbiased)
    assert loss.dtype == torch.float32
    loss.backward()
    assert encoder.weight.grad.isfinite().all()


def test_sequences_as_rows():
    """Masked pools of frames and tokens, and the gradient back to each frame."""
    torch.manual_seed(0)
    frames, tokens = torch.randn(8, 5, 6, requires_grad=True), torch.randn(8, 7, 4)
    real = torch.arange(5) < torch.randint(1, 6, (8, 1))
    cka_loss(*pair_sequences(frames, tokens, x_mask=real)).backward()
    assert not frames.grad[~real].any()
    assert frames.grad[real].any(dim=1).all()


def test_modules_show_their_settings():
    shown = repr(CKALoss("rbf", True, sigma=2.0, gather=True))
    rest = "bandwidth=0.5, sigma=(2.0, 2.0), gather=True"
    assert shown == f"CKALoss(kernel='rbf', unbiased=True, {rest})"


BAD = [
    ({"x": torch.ones(5, 3)}, "x has 5 rows and y has 6"),
    ({"x": np.ones((6, 3))}, "x: expected a torch tensor"),
    ({"x": torch.ones(6, 3, dtype=torch.int64)}, "x: expected real numbers in floating point"),
    ({"x": torch.ones(6, 3, 2)}, r"x: expected shape \(B, p\)"),
    ({"x": torch.ones(3, 2), "y": torch.ones(3, 2), "unbiased": True}, "3 rows: the unbiased form"),
    ({"x": torch.ones(1, 2), "y": torch.ones(1, 2)}, "1 row: the biased form needs at least 2"),
    ({"kernel": "poly"}, 'kernel: expected one of "linear", "rbf"'),
    ({"kernel": "rbf", "bandwidth": -1}, "bandwidth: expected a number greater than 0"),
    ({"mask": torch.ones(6)}, "mask: expected booleans"),
    ({"mask": torch.ones(5, dtype=torch.bool)}, r"mask: expected shape \(6,\)"),
    ({"mask": torch.zeros(6, dtype=torch.bool)}, "mask keeps 0 rows"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:45] for _, message in BAD])
def test_explains_bad_input(change, message):
    arguments = {"x": torch.rand(6, 3), "y": torch.rand(6, 2)} | change
    x, y = arguments.pop("x"), arguments.pop("y")
    with pytest.raises(ValueError, match=message):
        cka_loss(x, y, **arguments)
    settings = {key: value for key, value in arguments.items() if key in ("kernel", "bandwidth")}
    if settings:
        with pytest.raises(ValueError, match=message):
            CKALoss(**settings)
