"""The expected alignment: paths, bounds, its own derivatives, precision over long sequences."""

import math

import pytest
import torch

from vlalign_lib.temporal import soft_alignment, soft_dtw

pytestmark = pytest.mark.usefixtures("backend")
LENGTHS = torch.tensor([[5, 6], [1, 6], [4, 1], [3, 3], [1, 1], [5, 2]])


@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.1, 1.0, 100.0])
def test_every_path_of_a_small_matrix(gamma, costs, slow, agrees):
    cost = costs(7, 4, 5)
    expected = torch.stack([slow.by_paths(matrix, gamma)[1] for matrix in cost])
    agrees(
        "temporal.soft_alignment",
        soft_alignment(cost, gamma),
        expected,
        kind="closed form",
        against="sum over all 129 paths",
        tolerance=1e-12,
    )


@pytest.mark.parametrize("gamma", [0.05, 1.0])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_derivative_of_loops_over_the_cells(gamma, lengths, costs, slow, agrees):
    cost = costs(6, 5, 6).requires_grad_()
    ends = [(5, 6)] * 6 if lengths is None else lengths.tolist()
    total = sum(slow.soft_dtw(c[:n, :m], gamma) for c, (n, m) in zip(cost, ends, strict=True))
    (expected,) = torch.autograd.grad(total, cost, create_graph=True)
    agrees(
        "temporal.soft_alignment",
        soft_alignment(cost.detach(), gamma, lengths=lengths),
        expected,
        kind="loop",
        against="loops over the cells",
        tolerance=1e-13,
    )
    direction = costs(6, 5, 6, seed=1)
    (second,) = torch.autograd.grad(expected, cost, direction)
    ours = torch.autograd.grad(soft_alignment(cost, gamma, lengths=lengths), cost, direction)[0]
    agrees(
        "temporal.soft_alignment",
        ours,
        second,
        kind="derivation",
        against="second derivative of loops",
        tolerance=1e-12,
    )


@pytest.mark.parametrize("lengths", [None, torch.tensor([[3, 4], [2, 3]])])
@pytest.mark.parametrize("gamma", [1.0, 0.3, 0.1])
def test_gradients(gamma, lengths, costs, agrees):
    cost = costs(2, 3, 4).requires_grad_()

    def expected(c):
        return soft_alignment(c, gamma, lengths=lengths)

    agrees.gradcheck("temporal.soft_alignment", expected, cost)
    agrees.gradcheck("temporal.soft_alignment", expected, cost, second=True)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 4), (2, 3, 1)])
def test_where_there_is_one_path_nothing_changes(shape, costs):
    cost = costs(*shape).requires_grad_()
    expected = soft_alignment(cost, 0.1)
    assert torch.equal(expected, torch.ones(shape, dtype=torch.float64))
    first = torch.autograd.grad(expected.sum(), cost, create_graph=True)[0]
    assert (first == 0).all()
    assert (torch.autograd.grad(first.sum(), cost)[0] == 0).all()


def test_bounds(costs):
    n, m = 7, 9
    for gamma in (0.0, 0.05, 1.0, 50.0):
        expected = soft_alignment(costs(50, n, m), gamma)
        assert (expected >= 0).all()
        assert (expected <= 1 + 1e-12).all()
        torch.testing.assert_close(expected[:, 0, 0], torch.ones(50).double(), rtol=1e-12, atol=0)
        torch.testing.assert_close(expected[:, -1, -1], torch.ones(50).double(), rtol=1e-12, atol=0)
        rows, columns, total = expected.sum(2), expected.sum(1), expected.sum((1, 2))
        assert (rows >= 1 - 1e-12).all()
        assert (rows <= m + 1e-12).all()
        assert (columns >= 1 - 1e-12).all()
        assert (columns <= n + 1e-12).all()
        assert (total >= max(n, m) - 1e-11).all()
        assert (total <= n + m - 1 + 1e-11).all()


def cosine_distances(related, generator):
    """8×8 costs of sequences of 32-d unit vectors; related ones share their topics in order."""
    clips = torch.randn(400, 8, 32, generator=generator, dtype=torch.float64)
    captions = torch.randn(400, 8, 32, generator=generator, dtype=torch.float64)
    if related:
        captions = clips + 0.5 * captions
    clips, captions = (torch.nn.functional.normalize(v, dim=-1) for v in (clips, captions))
    return -clips @ captions.transpose(1, 2)


def test_shifted_costs_make_long_paths():
    # 13.2 to 13.4 cells for −cos, 8 to 10 for 1 − cos; with γ = 1 the two come near each other.
    generator = torch.Generator().manual_seed(0)
    for related in (True, False):
        shifted = cosine_distances(related, generator)
        long, short = (
            float(soft_alignment(cost, 0.1).sum((1, 2)).mean()) for cost in (shifted, shifted + 1)
        )
        assert 12.4 < long < 14.2
        assert 8.0 <= short < 10.2
        blurred = [
            float(soft_alignment(cost, 1.0).sum((1, 2)).mean()) for cost in (shifted, shifted + 1)
        ]
        assert 11 < blurred[1] < blurred[0] < 13.5


def test_alignment_of_the_smoothed_hard_path():
    cost = torch.ones(1, 3, 3, dtype=torch.float64)
    assert soft_alignment(cost, 0.0)[0].tolist() == torch.eye(3).tolist()
    # Ties: the path traced from its end prefers the cell above to the one on the left.
    cost[0, 1, 1] = math.inf
    assert soft_alignment(cost, 0.0)[0, 2, 1] == 0
    assert soft_alignment(cost, 0.0)[0].sum() == 4


@pytest.mark.parametrize("gamma", [0.01, 1.0])
def test_float32(gamma, costs, agrees):
    cost = costs(2, 120, 150).float()
    agrees(
        "temporal.soft_alignment",
        soft_alignment(cost, gamma),
        soft_alignment(cost.double(), gamma),
        kind="float32",
        against="float64",
        tolerance=5e-6,
    )


def test_float32_over_two_thousand_items(backend, costs):
    if backend == "torch":
        pytest.skip("the reference computes in float64")
    cost = costs(1, 2000, 2000).float()
    difference = soft_alignment(cost, 0.1).double() - soft_alignment(cost.double(), 0.1)
    assert difference.abs().max() <= 5e-6


def test_derivative_is_zero_for_the_hard_path(costs):
    cost = costs(2, 4, 5).requires_grad_()
    expected = soft_alignment(cost, 0.0)
    assert (torch.autograd.grad(expected.square().sum(), cost)[0] == 0).all()


def test_no_pairs():
    cost = torch.zeros(0, 4, 5, requires_grad=True)
    expected = soft_alignment(cost, 0.1)
    expected.sum().backward()
    assert cost.grad.shape == expected.shape == (0, 4, 5)


def test_the_answer_shares_no_memory_with_the_next(costs):
    cost = costs(2, 4, 5).requires_grad_()
    values = soft_dtw(cost, 0.1)
    (first,) = torch.autograd.grad(values.sum(), cost, retain_graph=True)
    kept = first.clone()
    first.zero_()
    (again,) = torch.autograd.grad(values.sum(), cost)
    assert torch.equal(again, kept)


def test_loss_on_the_alignment_moves_the_path(costs):
    # Ask the path to run along the upper edge; descent on the costs finds it.
    cost = costs(1, 5, 5).requires_grad_()
    wanted = torch.zeros(1, 5, 5, dtype=torch.float64)
    wanted[0, 0], wanted[0, :, -1] = 1, 1
    for _ in range(200):
        loss = (soft_alignment(cost, 1.0) - wanted).square().sum()
        (gradient,) = torch.autograd.grad(loss, cost)
        cost = (cost - gradient).detach().requires_grad_()
    assert loss < 0.1
