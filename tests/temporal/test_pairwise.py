"""All pairs: one at a time, in blocks of any size, with lengths, forward and backward."""

import math

import pytest
import torch

from vlalign_lib.temporal import pairwise_s2dtw, s2dtw, sequence_cost

pytestmark = pytest.mark.usefixtures("backend")
LENGTHS_X, LENGTHS_Y = torch.tensor([4, 2, 1]), torch.tensor([5, 3])
SETTINGS = [
    {},
    {"smoothing": False},
    {"weak": False, "cost": "cosine"},
    {"smoothing": False, "weak": False, "cost": "euclidean"},
    {"dummy": -0.2, "cost": "euclidean"},
]


def sequences(costs):
    return costs(3, 4, 6), costs(2, 5, 6, seed=1)


def one_at_a_time(x, y, gamma, *, cost="shifted_cosine", lengths=None, **layers):
    lx, ly = lengths or ([x.shape[1]] * len(x), [y.shape[1]] * len(y))
    return torch.stack(
        [
            torch.stack(
                [
                    s2dtw(sequence_cost(a[None, :n], b[None, :m], cost), gamma, **layers)[0]
                    for b, m in zip(y, ly, strict=True)
                ]
            )
            for a, n in zip(x, lx, strict=True)
        ]
    )


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("cells", [200, None])
@pytest.mark.parametrize("ends", [False, True])
def test_one_pair_at_a_time(settings, cells, ends, costs, agrees):
    x, y = (v.requires_grad_() for v in sequences(costs))
    lengths = (LENGTHS_X, LENGTHS_Y) if ends else None
    given = {"lengths_x": LENGTHS_X, "lengths_y": LENGTHS_Y} if ends else {}
    ours = pairwise_s2dtw(x, y, 0.2, max_cells=cells, **given, **settings)
    theirs = one_at_a_time(x, y, 0.2, lengths=lengths, **settings)
    agrees(
        "temporal.pairwise_s2dtw",
        ours,
        theirs,
        kind="loop",
        against="one pair at a time",
        tolerance=1e-13,
    )
    scale = costs(3, 2, seed=2)
    got = torch.autograd.grad((ours * scale).sum(), (x, y))
    expected = torch.autograd.grad((theirs * scale).sum(), (x, y))
    for mine, other in zip(got, expected, strict=True):
        agrees(
            "temporal.pairwise_s2dtw",
            mine,
            other,
            kind="derivation",
            against="gradient of one pair at a time",
            tolerance=1e-12,
        )


@pytest.mark.parametrize("settings", [{}, {"cost": "euclidean"}])
@pytest.mark.parametrize("cells", [200, None])
def test_gradients(settings, cells, costs, agrees):
    x, y = costs(3, 2, 4).requires_grad_(), costs(2, 3, 4, seed=1).requires_grad_()

    def values(x, y):
        lengths = {"lengths_x": torch.tensor([2, 1, 2]), "lengths_y": torch.tensor([3, 2])}
        return pairwise_s2dtw(x, y, 0.3, max_cells=cells, **lengths, **settings)

    agrees.gradcheck("temporal.pairwise_s2dtw", values, (x, y))
    agrees.gradcheck("temporal.pairwise_s2dtw", values, (x, y), second=True)


def test_only_one_side_may_want_a_gradient(costs):
    x, y = sequences(costs)
    both = [v.clone().requires_grad_() for v in (x, y)]
    expected = torch.autograd.grad(pairwise_s2dtw(*both).sum(), both)
    for side in (0, 1):
        given = [x.clone(), y.clone()]
        given[side].requires_grad_()
        (got,) = torch.autograd.grad(pairwise_s2dtw(*given).sum(), given[side])
        assert torch.equal(got, expected[side])


def test_what_lies_beyond_the_lengths_reaches_nothing(costs):
    x, y = sequences(costs)
    given = {"lengths_x": LENGTHS_X, "lengths_y": LENGTHS_Y}
    expected = pairwise_s2dtw(x, y, **given)
    for values, ends in ((x, LENGTHS_X), (y, LENGTHS_Y)):
        for sequence, end in zip(values, ends.tolist(), strict=True):
            sequence[end:] = math.nan
    x.requires_grad_(), y.requires_grad_()
    for cost in ("shifted_cosine", "euclidean"):
        values = pairwise_s2dtw(x, y, cost=cost, **given)
        if cost == "shifted_cosine":
            assert torch.equal(values, expected)
        for gradient in torch.autograd.grad(values.sum(), (x, y)):
            assert gradient.isfinite().all()


def test_nan_stays_with_its_sequence(costs):
    x, y = sequences(costs)
    x[1, 0, 0] = math.nan
    values = pairwise_s2dtw(x, y)
    assert values.isnan().all(1).tolist() == [False, True, False]
    assert values[[0, 2]].isfinite().all()


def test_order_of_either_batch(costs):
    x, y = sequences(costs)
    values = pairwise_s2dtw(x, y)
    turned = pairwise_s2dtw(x[[2, 0, 1]], y.flip(0))
    torch.testing.assert_close(turned, values[[2, 0, 1]].flip(1), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(pairwise_s2dtw(y, x), values.T, rtol=1e-13, atol=1e-13)


def test_no_sequences():
    x, y = torch.zeros(0, 3, 4, requires_grad=True), torch.zeros(2, 3, 4)
    values = pairwise_s2dtw(x, y)
    assert values.shape == (0, 2)
    values.sum().backward()
    assert x.grad.shape == (0, 3, 4)
    assert pairwise_s2dtw(y, x).shape == (2, 0)


def test_float32(costs, agrees):
    x, y = costs(8, 8, 16).float(), costs(8, 8, 16, seed=1).float()
    agrees(
        "temporal.pairwise_s2dtw",
        pairwise_s2dtw(x, y),
        pairwise_s2dtw(x.double(), y.double()),
        kind="float32",
        against="float64",
        tolerance=2e-6,
    )


def test_transforms(costs):
    x, y = costs(3, 2, 2, 4), costs(2, 3, 4, seed=1)
    each = torch.func.vmap(lambda x: pairwise_s2dtw(x, y))(x)
    expected = torch.stack([pairwise_s2dtw(one, y) for one in x])
    torch.testing.assert_close(each, expected, rtol=1e-12, atol=1e-13)
    slope = torch.func.grad(lambda x: pairwise_s2dtw(x, y).sum())(x[0])
    leaf = x[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(pairwise_s2dtw(leaf, y).sum(), leaf)
    torch.testing.assert_close(slope, gradient, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(3, 4)}, "x: expected shape"),
        ({"x": torch.ones(3, 0, 6)}, "x: expected sequences"),
        ({"y": torch.ones(3, 5, 7)}, "embed both into the same space"),
        ({"cost": "l2"}, "cost: expected one of"),
        ({"lengths_x": torch.tensor([1, 2])}, "lengths_x: expected shape"),
        ({"lengths_x": torch.tensor([1, 2, 5])}, "lengths_x: expected 1 to 4"),
        ({"lengths_y": torch.tensor([0, 2])}, "lengths_y: expected 1 to 5"),
        ({"lengths_y": [1.0, 2.0]}, "lengths_y: expected whole numbers"),
        ({"gamma": -0.1}, "gamma: expected a"),
        ({"dummy": math.inf}, "dummy: expected a finite number"),
        ({"max_cells": 0}, "max_cells: expected a whole number"),
        ({"max_cells": 2.5}, "max_cells: expected a whole number"),
    ],
)
def test_what_cannot_be_aligned(change, message, costs):
    x, y = sequences(costs)
    with pytest.raises(ValueError, match=message):
        pairwise_s2dtw(**{"x": x, "y": y, **change})
