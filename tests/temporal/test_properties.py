"""What holds for matrices of any shape, size and length."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from vlalign_lib.temporal import dtw, s2dtw, soft_alignment, soft_dtw

pytestmark = pytest.mark.usefixtures("backend")

many = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def problems(draw):
    """Costs (B, n, m) in float64 of one size, γ, and lengths or None."""
    size, n, m = (draw(st.integers(1, top)) for top in (5, 20, 20))
    scale = 10.0 ** draw(st.integers(-6, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    cost = scale * torch.randn(size, n, m, generator=generator, dtype=torch.float64)
    gamma = draw(st.sampled_from([0.0, 1e-3, 0.1, 1.0, 10.0])) * scale
    lengths = None
    if draw(st.booleans()):
        ends = [torch.randint(1, top + 1, (size,), generator=generator) for top in (n, m)]
        lengths = torch.stack(ends, 1)
    return cost, gamma, lengths


def ends_of(cost, lengths):
    return [tuple(cost.shape[1:])] * len(cost) if lengths is None else lengths.tolist()


def close(ours, theirs, scale=1.0, tolerance=1e-11):
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * float(scale))


@many
@given(problems())
def test_bounds(problem):
    cost, gamma, lengths = problem
    values, (hard, paths) = soft_dtw(cost, gamma, lengths=lengths), dtw(cost, lengths=lengths)
    expected = soft_alignment(cost, gamma, lengths=lengths)
    size = float(cost.abs().max()) * sum(cost.shape)
    for b, (n, m) in enumerate(ends_of(cost, lengths)):
        ways = sum(math.comb(n - 1, k) * math.comb(m - 1, k) * 2**k for k in range(min(n, m)))
        assert values[b] <= hard[b] + 1e-13 * size
        assert values[b] >= hard[b] - gamma * math.log(ways) - 1e-13 * size
        assert max(n, m) - 1e-9 <= expected[b].sum() <= n + m - 1 + 1e-9
        assert (expected[b, :n, :m].sum(1) >= 1 - 1e-11).all()
        assert (expected[b, :n, :m].sum(0) >= 1 - 1e-11).all()
        assert expected[b].min() >= 0
        assert expected[b].max() <= 1 + 1e-11
        assert expected[b, n:].any() == expected[b, :, m:].any() == False  # noqa: E712
        assert max(n, m) <= len(paths[b]) <= n + m - 1


@many
@given(problems())
def test_lengths_are_smaller_matrices(problem):
    cost, gamma, lengths = problem
    values = soft_dtw(cost, gamma, lengths=lengths)
    expected = soft_alignment(cost, gamma, lengths=lengths)
    for b, (n, m) in enumerate(ends_of(cost, lengths)):
        alone = cost[b : b + 1, :n, :m]
        close(values[b], soft_dtw(alone, gamma)[0], cost.abs().max(), 1e-13)
        close(expected[b, :n, :m], soft_alignment(alone, gamma)[0])


@many
@given(problems())
def test_transposed_reversed_and_in_another_order(problem):
    cost, gamma, lengths = problem
    values = soft_dtw(cost, gamma, lengths=lengths)
    expected = soft_alignment(cost, gamma, lengths=lengths)
    size = cost.abs().max()
    swapped = None if lengths is None else lengths.flip(1)
    close(soft_dtw(cost.transpose(1, 2), gamma, lengths=swapped), values, size)
    order = torch.arange(len(cost)).flip(0)
    turned = None if lengths is None else lengths[order]
    close(soft_dtw(cost[order], gamma, lengths=turned), values[order], size, 1e-13)
    close(soft_alignment(cost[order], gamma, lengths=turned), expected[order])
    if gamma:
        mirrored = soft_alignment(cost.transpose(1, 2), gamma, lengths=swapped)
        close(mirrored.transpose(1, 2), expected, tolerance=1e-10)
    if lengths is None:
        close(soft_dtw(cost.flip(1, 2), gamma), values, size)
        if gamma:
            back = soft_alignment(cost.flip(1, 2), gamma).flip(1, 2)
            close(back, expected, tolerance=1e-10)


@many
@given(problems(), st.floats(-5, 5))
def test_the_first_and_the_last_cell_are_paid_once(problem, shift):
    cost, gamma, _ = problem
    shift = shift * float(cost.abs().max())
    moved = cost.clone()
    moved[:, 0, 0] += shift
    moved[:, -1, -1] += shift
    size = cost.abs().max() + abs(shift)
    close(soft_dtw(moved, gamma), soft_dtw(cost, gamma) + 2 * shift, size)
    close(soft_alignment(moved, gamma), soft_alignment(cost, gamma), tolerance=1e-9)


@many
@given(problems(), st.floats(1e-3, 1e3))
def test_units(problem, scale):
    cost, gamma, lengths = problem
    for function in (soft_dtw, s2dtw):
        options = {"lengths": lengths} | ({"dummy": 0.0} if function is s2dtw else {})
        scaled = function(scale * cost, scale * gamma, **options)
        close(scaled / scale, function(cost, gamma, **options), cost.abs().max())


@many
@given(problems())
def test_larger_costs_larger_value_and_concave(problem):
    cost, gamma, lengths = problem
    other = cost.flip(0) + cost.abs().max()
    size = float(cost.abs().max()) * sum(cost.shape)
    one, two, middle = (
        soft_dtw(c, gamma, lengths=lengths) for c in (cost, other, (cost + other) / 2)
    )
    assert (middle >= (one + two) / 2 - 1e-12 * size).all()
    higher = soft_dtw(cost + other.clamp(min=0), gamma, lengths=lengths)
    assert (higher >= one - 1e-12 * size).all()


@many
@given(problems())
def test_single_precision(problem):
    cost, gamma, lengths = problem
    cost = cost.float()
    exact = soft_dtw(cost.double(), gamma, lengths=lengths)
    size = float(cost.abs().max()) * sum(cost.shape)
    close(soft_dtw(cost, gamma, lengths=lengths).double(), exact, size, 1e-6)
    if gamma:
        expected = soft_alignment(cost, gamma, lengths=lengths).double()
        close(expected, soft_alignment(cost.double(), gamma, lengths=lengths), 1.0, 5e-6)


@many
@given(problems())
def test_s2dtw_is_soft_dtw_of_its_layers(problem):
    cost, gamma, _ = problem
    wide = cost.new_full((len(cost), 2 * cost.shape[1] + 1, 2 * cost.shape[2] + 1), 0.5)
    wide[:, 1::2, 1::2] = cost
    assert torch.equal(s2dtw(cost, gamma, smoothing=False), soft_dtw(wide, gamma))
    dummies = 0.5 * (cost.shape[1] + cost.shape[2] + 2)
    if cost.shape[1] == cost.shape[2]:
        assert (s2dtw(cost, gamma) <= dummies + 1e-12).all()
