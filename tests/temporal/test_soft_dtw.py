"""Soft-DTW values: all paths, loops, bounds, limits, and what lies beyond the lengths."""

import math

import pytest
import torch

from vlalign_lib.temporal import SoftDTW, dtw, soft_alignment, soft_dtw

pytestmark = pytest.mark.usefixtures("backend")
LENGTHS = torch.tensor([[5, 6], [1, 6], [4, 1], [3, 3], [1, 1], [5, 2]])
INF, NAN = math.inf, math.nan


def delannoy(n, m):
    return sum(math.comb(n, k) * math.comb(m, k) * 2**k for k in range(min(n, m) + 1))


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.1, 1.0, 100.0])
def test_every_path_of_a_small_matrix(gamma, costs, slow, agrees):
    cost = costs(7, 4, 5)
    assert len(slow.paths(4, 5)) == delannoy(3, 4) == 129
    values = torch.stack([slow.by_paths(matrix, gamma)[0] for matrix in cost])
    agrees(
        "temporal.soft_dtw",
        soft_dtw(cost, gamma),
        values,
        kind="closed form",
        against="sum over all 129 paths",
        tolerance=1e-14,
    )


@pytest.mark.parametrize("gamma", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_loops_over_the_cells(gamma, lengths, costs, slow, agrees):
    cost = costs(6, 5, 6)
    ends = [(5, 6)] * 6 if lengths is None else lengths.tolist()
    values = [slow.soft_dtw(c[:n, :m], gamma) for c, (n, m) in zip(cost, ends, strict=True)]
    agrees(
        "temporal.soft_dtw",
        soft_dtw(cost, gamma, lengths=lengths),
        torch.stack(values),
        kind="loop",
        against="loops over the cells",
        tolerance=1e-14,
    )


@pytest.mark.parametrize("lengths", [None, LENGTHS[:3]])
@pytest.mark.parametrize("gamma", [1.0, 0.3, 0.1])
def test_gradients(gamma, lengths, costs, agrees):
    cost = costs(3, 5, 6).requires_grad_()

    def values(c):
        return soft_dtw(c, gamma, lengths=lengths)

    agrees.gradcheck("temporal.soft_dtw", values, cost)
    agrees.gradcheck("temporal.soft_dtw", values, cost, second=True)


def test_third_derivative(costs):
    cost = costs(1, 3, 3).requires_grad_()

    def second(c):
        (first,) = torch.autograd.grad(soft_dtw(c, 0.5).sum(), c, create_graph=True)
        (again,) = torch.autograd.grad(first.square().sum(), c, create_graph=True)
        return again

    assert torch.autograd.gradcheck(second, cost)
    assert torch.autograd.gradgradcheck(second, cost)


def test_gradient_is_the_alignment_times_what_comes_in(costs):
    cost = costs(4, 5, 3).requires_grad_()
    scale = torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(soft_dtw(cost, 0.2), cost, scale)
    expected = soft_alignment(cost.detach(), 0.2) * scale[:, None, None]
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


def test_between_dtw_and_dtw_less_the_number_of_paths(costs):
    cost = costs(50, 8, 8)
    assert delannoy(7, 7) == 48_639
    hard = dtw(cost)[0]
    for gamma in (0.01, 0.1, 1.0, 10.0):
        soft = soft_dtw(cost, gamma)
        assert (soft <= hard + 1e-12).all()
        assert (soft >= hard - gamma * math.log(48_639) - 1e-12).all()


def test_small_gamma_approaches_dtw(costs):
    cost = costs(20, 4, 5)
    hard = soft_dtw(cost, 0.0)
    gaps = [float((hard - soft_dtw(cost, g)).abs().max()) for g in (1e-1, 1e-2, 1e-3, 1e-4)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-12
    for gamma in (1e-30, 1e-300):
        torch.testing.assert_close(soft_dtw(cost, gamma), hard, rtol=1e-14, atol=1e-14)
        single = soft_dtw(cost.float(), gamma)
        torch.testing.assert_close(single.double(), hard, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1)])
def test_a_single_item_on_one_side_leaves_one_path(shape, gamma, costs):
    cost = costs(3, *shape)
    torch.testing.assert_close(soft_dtw(cost, gamma), cost.sum((1, 2)), rtol=1e-14, atol=1e-14)


def test_constant_costs_count_paths(agrees):
    # Paths of length L through an n×m matrix: a closed form without any recursion.
    n, m, gamma, c = 6, 9, 0.7, 0.3
    weights = [
        math.comb(n - 1, k) * math.comb(n + m - 2 - k, n - 1) * math.exp(-c * cells / gamma)
        for k, cells in enumerate(range(n + m - 1, m - 1, -1))
    ]
    agrees(
        "temporal.soft_dtw",
        soft_dtw(torch.full((1, n, m), c, dtype=torch.float64), gamma),
        torch.tensor([-gamma * math.log(sum(weights))], dtype=torch.float64),
        kind="closed form",
        against="constant costs",
        tolerance=1e-14,
    )


@pytest.mark.parametrize("gamma", [0.05, 1.0])
def test_float32(gamma, costs, agrees):
    cost = costs(16, 40, 50)
    agrees(
        "temporal.soft_dtw",
        soft_dtw(cost.float(), gamma),
        soft_dtw(cost.float().double(), gamma),
        kind="float32",
        against="float64",
        tolerance=1e-6,
    )


@pytest.mark.parametrize("garbage", [0.0, -1e30, NAN, INF, -INF])
def test_beyond_the_lengths_nothing_matters(garbage, costs):
    cost = costs(6, 5, 6)
    spoiled = cost.clone()
    for matrix, (n, m) in zip(spoiled, LENGTHS.tolist(), strict=True):
        matrix[n:] = garbage
        matrix[:, m:] = garbage
    spoiled.requires_grad_()
    for gamma in (0.0, 0.1):
        values = soft_dtw(spoiled, gamma, lengths=LENGTHS)
        (gradient,) = torch.autograd.grad(values.sum(), spoiled)
        for b, (n, m) in enumerate(LENGTHS.tolist()):
            alone = cost[b : b + 1, :n, :m].clone().requires_grad_()
            value = soft_dtw(alone, gamma)
            (expected,) = torch.autograd.grad(value.sum(), alone)
            torch.testing.assert_close(values[b], value[0], rtol=1e-14, atol=1e-14)
            torch.testing.assert_close(gradient[b, :n, :m], expected[0], rtol=1e-13, atol=1e-14)
            assert (gradient[b, n:] == 0).all()
            assert (gradient[b, :, m:] == 0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.1, 10.0])
def test_nan_stays_in_its_pair(gamma, costs):
    cost = costs(4, 5, 6)
    clean = cost.clone().requires_grad_()
    cost[1, 2, 3] = NAN
    cost[3, 4, 5] = NAN
    cost.requires_grad_()
    values, expected = soft_dtw(cost, gamma), soft_dtw(clean, gamma)
    assert values.isnan().tolist() == [False, True, False, True]
    (gradient,) = torch.autograd.grad(values.sum(), cost)
    (untouched,) = torch.autograd.grad(expected.sum(), clean)
    assert gradient[[1, 3]].isnan().all()
    assert torch.equal(gradient[[0, 2]], untouched[[0, 2]])
    assert torch.equal(values[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("gamma", [0.0, 0.1, 10.0])
def test_minus_infinity_has_no_smallest_path(gamma, costs):
    cost = costs(3, 5, 6)
    cost[1, 2, 3] = -INF
    cost.requires_grad_()
    values = soft_dtw(cost, gamma)
    assert values.isnan().tolist() == [False, True, False]
    (gradient,) = torch.autograd.grad(values.sum(), cost)
    assert gradient[1].isnan().all()
    assert gradient[[0, 2]].isfinite().all()


def test_second_derivatives_of_pairs_with_nan_and_without_a_path(costs):
    cost = costs(4, 5, 6)
    clean = cost.clone().requires_grad_()
    cost[1, 0, 1] = NAN
    cost[2, 2] = INF
    cost.requires_grad_()
    lengths = torch.tensor([[5, 6], [3, 4], [5, 6], [4, 6]])
    second, expected = (
        torch.autograd.grad(soft_alignment(c, 0.3, lengths=lengths).square().sum(), c)[0]
        for c in (cost, clean)
    )
    assert torch.equal(second[[0, 3]], expected[[0, 3]])
    assert second[1, :3, :4].isnan().all()
    assert (second[1, 3:] == 0).all()
    assert (second[1, :, 4:] == 0).all()
    assert (second[2] == 0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.1])
def test_nan_behind_a_wall_and_in_a_single_cell(gamma):
    cost = torch.zeros(1, 3, 3, dtype=torch.float64)
    cost[0, 0, 2] = NAN
    cost[0, 0, 1] = cost[0, 1, 2] = INF
    assert soft_dtw(cost, gamma).isnan().all()
    single = torch.full((1, 1, 1), NAN, requires_grad=True)
    value = soft_dtw(single, gamma)
    (gradient,) = torch.autograd.grad(value.sum(), single)
    assert value.isnan().all()
    assert gradient.isnan().all()


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
def test_infinity_forbids_cells(gamma, costs, slow):
    cost = costs(3, 4, 5)
    cost[0, 1, 1] = cost[0, 2, 3] = cost[1, 0, 1] = cost[1, 1, 0] = INF
    cost[2, 3] = INF
    expected = [slow.by_paths(matrix, gamma)[0] for matrix in cost[:2]]
    expected = torch.stack([*expected, torch.tensor(INF, dtype=torch.float64)])
    leaf = cost.clone().requires_grad_()
    values = soft_dtw(leaf, gamma)
    torch.testing.assert_close(values.double(), expected.double(), rtol=1e-14, atol=1e-14)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    assert gradient.isfinite().all()
    assert (gradient[cost == INF] == 0).all()
    assert (gradient[2] == 0).all()
    if gamma:
        (second,) = torch.autograd.grad(soft_alignment(leaf, gamma).square().sum(), leaf)
        assert second.isfinite().all()
        assert (second[2] == 0).all()


@pytest.mark.parametrize("gamma", [0.0, 1e-31, 0.1, 1e31])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_but_infinity(gamma, dtype, costs):
    """Every cell is forbidden in the first pair, and in the second within its lengths."""
    cost = costs(3, 9, 9).to(dtype)
    cost[0] = cost[1, :4, :5] = INF
    lengths = torch.tensor([[9, 9], [4, 5], [9, 9]])
    leaf = cost.clone().requires_grad_()
    values = soft_dtw(leaf, gamma, lengths=lengths)
    assert values[:2].tolist() == [INF, INF]
    assert values[2] == soft_dtw(cost[2:], gamma)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    assert not gradient[:2].any()
    assert gradient[2].any()
    assert not soft_alignment(cost, gamma, lengths=lengths)[:2].any()
    hard, paths = dtw(cost, lengths=lengths)
    assert hard[:2].tolist() == [INF, INF]
    assert [tuple(path.shape) for path in paths[:2]] == [(0, 2), (0, 2)]


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e15, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_costs_of_any_size(scale, dtype, costs, slow):
    cost = (costs(3, 4, 5) * scale).to(dtype)
    for gamma in (0.1, 1.0):
        expected = torch.stack([slow.by_paths(matrix, gamma)[0] for matrix in cost])
        leaf = cost.clone().requires_grad_()
        values = soft_dtw(leaf, gamma)
        tolerance = 1e-6 if dtype == torch.float32 else 1e-14
        torch.testing.assert_close(values.double(), expected, rtol=tolerance, atol=tolerance)
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
        weights = torch.stack([slow.by_paths(matrix, gamma)[1] for matrix in cost])
        torch.testing.assert_close(gradient.double(), weights, rtol=0, atol=5e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_long_sequences_of_large_costs(sign):
    cost = torch.full((2, 300, 200), sign * 1e30, dtype=torch.float64)
    values = soft_dtw(cost, 1e-3)
    length = 300 if sign == 1 else 499
    torch.testing.assert_close(values, torch.full((2,), sign * length * 1e30).double())


def test_shift_of_all_costs_scale_and_units(costs):
    cost = costs(5, 6, 7)
    for gamma in (0.1, 1.0):
        scaled = soft_dtw(3 * cost, 3 * gamma)
        torch.testing.assert_close(scaled, 3 * soft_dtw(cost, gamma), rtol=1e-13, atol=1e-13)


def test_inputs_are_left_alone_however_they_lie(costs):
    base = costs(4, 6, 5)
    expected = soft_dtw(base, 0.1)
    before = base.clone()
    views = {
        "transposed": base.transpose(1, 2).contiguous().transpose(1, 2),
        "strided": torch.stack([base, base], -1)[..., 0],
        "reversed": base.flip(0).flip(0),
        "negated": torch.complex(torch.zeros_like(base), -base).conj().imag,
    }
    assert views["negated"].is_neg()
    for name, view in views.items():
        leaf = view.detach().requires_grad_()
        values = soft_dtw(leaf, 0.1)
        values.sum().backward()
        assert torch.equal(values.detach(), expected), name
        torch.testing.assert_close(leaf.grad, soft_alignment(base, 0.1), rtol=0, atol=0)
    assert torch.equal(base, before)


def test_gradient_through_an_expanded_matrix(costs):
    one = costs(1, 4, 5).requires_grad_()
    scale = torch.arange(1.0, 4.0, dtype=torch.float64)
    values = soft_dtw(one.expand(3, 4, 5), 0.1)
    (gradient,) = torch.autograd.grad((values * scale).sum(), one)
    expected = 6 * soft_alignment(one.detach(), 0.1)
    torch.testing.assert_close(gradient, expected, rtol=1e-14, atol=0)


def test_no_pairs():
    cost = torch.zeros(0, 4, 5, requires_grad=True)
    values = soft_dtw(cost, 0.1, lengths=torch.zeros(0, 2, dtype=torch.long))
    assert values.shape == (0,)
    values.sum().backward()
    assert cost.grad.shape == (0, 4, 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_and_returned_in_float32(dtype, costs):
    cost = costs(3, 20, 20).to(dtype)
    values = soft_dtw(cost, 0.1)
    assert values.dtype == torch.float32
    assert torch.equal(values, soft_dtw(cost.float(), 0.1))


def test_dtype_is_kept_and_autocast_changes_nothing(costs):
    for dtype in (torch.float32, torch.float64):
        cost = costs(3, 6, 7).to(dtype).requires_grad_()
        plain = soft_dtw(cost, 0.1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = soft_dtw(cost, 0.1)
        assert plain.dtype == mixed.dtype == dtype
        assert torch.equal(plain, mixed)


def test_module(costs):
    cost = costs(3, 4, 5)
    module = SoftDTW(gamma=0.2)
    assert torch.equal(module(cost), soft_dtw(cost, 0.2))
    short = LENGTHS[3:].clamp(max=4)
    assert torch.equal(module(cost, short), soft_dtw(cost, 0.2, lengths=short))
    assert repr(module) == "SoftDTW(gamma=0.2)"
