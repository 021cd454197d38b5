"""S2DTW: layer by layer, its constants, its gradient mass, any shape."""

import math

import pytest
import torch

from vlalign_lib.temporal import S2DTW, s2dtw, soft_alignment, soft_dtw

pytestmark = pytest.mark.usefixtures("backend")
LENGTHS = torch.tensor([[5, 6], [1, 6], [4, 1], [3, 3], [1, 1], [5, 2]])
LAYERS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.mark.parametrize(("smoothing", "weak"), LAYERS)
@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_layer_by_layer(smoothing, weak, gamma, lengths, costs, slow, agrees):
    cost = costs(6, 5, 6)
    ends = [(5, 6)] * 6 if lengths is None else lengths.tolist()
    layers = {"smoothing": smoothing, "weak": weak, "dummy": 0.3}
    expected = torch.stack(
        [
            slow.s2dtw(c[:n, :m], gamma, **layers).detach()
            for c, (n, m) in zip(cost, ends, strict=True)
        ]
    )
    agrees(
        "temporal.s2dtw",
        s2dtw(cost, gamma, lengths=lengths, **layers),
        expected,
        kind="loop",
        against="layer by layer in loops",
        tolerance=1e-13,
    )


@pytest.mark.parametrize(("smoothing", "weak"), LAYERS)
@pytest.mark.parametrize("lengths", [None, torch.tensor([[3, 4], [2, 1]])])
def test_gradients(smoothing, weak, lengths, costs, agrees):
    cost = costs(2, 3, 4).requires_grad_()

    def values(c):
        return s2dtw(c, 0.3, smoothing=smoothing, weak=weak, lengths=lengths)

    agrees.gradcheck("temporal.s2dtw", values, cost)
    agrees.gradcheck("temporal.s2dtw", values, cost, second=True)


def test_without_both_layers_it_is_soft_dtw(costs):
    cost = costs(3, 5, 6)
    plain = s2dtw(cost, 0.2, smoothing=False, weak=False, lengths=LENGTHS[3:])
    assert torch.equal(plain, soft_dtw(cost, 0.2, lengths=LENGTHS[3:]))


def constants(value):
    return torch.full((1, 8, 8), value, dtype=torch.float64)


def test_no_matrix_costs_more_than_its_dummies(costs):
    assert s2dtw(constants(100.0), 0.0).item() == 9.0
    assert s2dtw(constants(100.0), 0.0, dummy=0.25).item() == 4.5
    assert (s2dtw(5 * costs(50, 8, 8), 0.0) <= 9.0).all()
    assert (s2dtw(5 * costs(50, 8, 8), 0.1) <= 9.0).all()


def test_where_everything_lies_on_one_point(agrees):
    collapsed = constants(-1.0)
    assert s2dtw(collapsed, 0.0).item() == -21.0
    assert soft_dtw(collapsed, 0.0).item() == -15.0
    assert round(s2dtw(collapsed, 0.1).item(), 2) == -23.31
    assert round(soft_dtw(collapsed, 0.1).item(), 2) == -15.81
    for n in (1, 2, 5):
        hard = s2dtw(torch.full((1, n, n), -1.0, dtype=torch.float64), 0.0)
        assert hard.item() == pytest.approx(-(3 * n - 3) if n > 1 else 0.0, abs=1e-12)
    # The weights of all paths, summed column by column without a logarithm.
    gamma = 0.1
    smooth = constants(-2.0) - gamma * math.log(3)
    smooth[0, 0, 1:] = smooth[0, 1:, 0] = -2.0
    smooth[0, 0, 0] = -1.0 - gamma * math.log(3)
    wide = constants(0.5).new_full((17, 17), 0.5)
    wide[1::2, 1::2] = smooth[0]
    mass = torch.zeros(17, dtype=torch.float64)
    for column in range(17):
        local = torch.exp(-wide[:, column] / gamma)
        arriving = mass + torch.cat([mass.new_zeros(1), mass[:-1]])
        if column == 0:
            arriving = torch.eye(17, dtype=torch.float64)[0]
        down = torch.zeros(17, dtype=torch.float64)
        for row in range(17):
            down[row] = local[row] * (arriving[row] + (down[row - 1] if row else 0.0))
        mass = down
    agrees(
        "temporal.s2dtw",
        s2dtw(collapsed, gamma),
        -gamma * mass[-1:].log(),
        kind="closed form",
        against="path weights of a constant matrix",
        tolerance=1e-13,
    )


def test_irrelevant_pairs_are_skipped_only_when_far_apart():
    # A constant cost D is on the path exactly while it is below θ(n + 1)/n = 0.5625.
    for level, used in ((0.55, True), (0.57, False)):
        cost = constants(level).requires_grad_()
        value = s2dtw(cost, 0.0, smoothing=False)
        (gradient,) = torch.autograd.grad(value.sum(), cost)
        assert bool(gradient.any()) is used


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
def test_mass_of_the_gradient(gamma, costs):
    # Σ ∂S2DTW/∂δ = 2 Σ E_real − E_real(1, 1): each cell pays itself and one neighbour.
    cost = costs(5, 6, 7).requires_grad_()
    (gradient,) = torch.autograd.grad(s2dtw(cost, gamma).sum(), cost)
    smooth = torch.stack([smoothed(matrix, gamma) for matrix in cost.detach()])
    wide = smooth.new_full((5, 13, 15), 0.5)
    wide[:, 1::2, 1::2] = smooth
    real = soft_alignment(wide, gamma)[:, 1::2, 1::2]
    mass = 2 * real.sum((1, 2)) - real[:, 0, 0]
    torch.testing.assert_close(gradient.sum((1, 2)), mass, rtol=1e-12, atol=1e-12)


def smoothed(cost, gamma):
    n, m = cost.shape
    out = cost.clone()
    for i in range(n):
        for j in range(m):
            around = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
            near = torch.stack([cost[q] for q in around if min(q) >= 0] or [cost.new_zeros(())] * 3)
            soft = -gamma * torch.logsumexp(-near / gamma, 0) if gamma else near.min()
            out[i, j] += soft
    return out


def test_large_costs_and_small_gamma(costs):
    cost = costs(4, 5, 6) * 1e20
    torch.testing.assert_close(s2dtw(cost, 0.1), s2dtw(cost, 0.0), rtol=1e-14, atol=1e-14)
    cost = costs(4, 5, 6)
    torch.testing.assert_close(s2dtw(cost, 1e-9), s2dtw(cost, 0.0), rtol=0, atol=1e-7)


def test_infinity_leaves_only_dummies():
    cost = torch.full((1, 4, 4), math.inf, requires_grad=True)
    value = s2dtw(cost, 0.0)
    assert value.item() == 0.5 * 10
    (gradient,) = torch.autograd.grad(s2dtw(cost, 0.1).sum(), cost)
    assert (gradient == 0).all()
    assert s2dtw(cost, 0.1, weak=False).item() == math.inf


def test_nan_stays_in_its_pair(costs):
    cost = costs(3, 4, 5)
    cost[1, 0, 3] = math.nan
    leaf = cost.requires_grad_()
    values = s2dtw(leaf, 0.1)
    assert values.isnan().tolist() == [False, True, False]
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    assert gradient[1].isnan().all()
    assert gradient[[0, 2]].isfinite().all()


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, -1e30])
def test_beyond_the_lengths_nothing_matters(garbage, costs):
    cost = costs(6, 5, 6)
    expected = s2dtw(cost, 0.1, lengths=LENGTHS)
    for matrix, (n, m) in zip(cost, LENGTHS.tolist(), strict=True):
        matrix[n:] = garbage
        matrix[:, m:] = garbage
    cost.requires_grad_()
    values = s2dtw(cost, 0.1, lengths=LENGTHS)
    assert torch.equal(values, expected)
    (gradient,) = torch.autograd.grad(values.sum(), cost)
    assert gradient.isfinite().all()


def test_float32(costs, agrees):
    cost = costs(64, 8, 8).tanh().float()
    agrees(
        "temporal.s2dtw",
        s2dtw(cost),
        s2dtw(cost.double()),
        kind="float32",
        against="float64",
        tolerance=1e-6,
    )


def test_no_pairs_and_single_items(costs):
    assert s2dtw(torch.zeros(0, 3, 4)).shape == (0,)
    # One clip, one caption: through dummies 4θ = 2, or through D = δ − γ log 3 and two dummies.
    cost = torch.tensor([[[-0.7]]], dtype=torch.float64)
    assert s2dtw(cost, 0.0).item() == pytest.approx(0.3)


def test_module(costs):
    cost = costs(2, 4, 5)
    module = S2DTW(0.2, dummy=0.4, smoothing=False)
    assert torch.equal(module(cost), s2dtw(cost, 0.2, dummy=0.4, smoothing=False))
    assert repr(module) == "S2DTW(gamma=0.2, dummy=0.4, smoothing=False, weak=True)"
