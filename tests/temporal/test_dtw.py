"""DTW: best of all paths, its path, ties, and pairs without one."""

import math

import pytest
import torch

from vlalign_lib.temporal import dtw, soft_dtw

pytestmark = pytest.mark.usefixtures("backend")


def test_best_of_every_path(costs, slow, agrees):
    cost = costs(20, 4, 5)
    values, paths = dtw(cost)
    best = torch.stack([slow.by_paths(matrix, 0.0)[0] for matrix in cost])
    agrees(
        "temporal.dtw",
        values,
        best,
        kind="closed form",
        against="best of all 129 paths",
        tolerance=1e-14,
    )
    for matrix, path in zip(cost, paths, strict=True):
        assert [tuple(cell) for cell in path.tolist()] in slow.paths(4, 5)
        expected = slow.by_paths(matrix, 0.0)[1].nonzero()
        assert torch.equal(path, expected)


def test_lengths(costs):
    cost = costs(3, 5, 6)
    lengths = torch.tensor([[5, 6], [2, 3], [1, 4]])
    values, paths = dtw(cost, lengths=lengths)
    for b, (n, m) in enumerate(lengths.tolist()):
        value, (path,) = dtw(cost[b : b + 1, :n, :m])
        assert torch.equal(values[b], value[0])
        assert torch.equal(paths[b], path)
        assert path[-1].tolist() == [n - 1, m - 1]


def test_the_path_adds_up_to_the_value_and_is_the_gradient(costs):
    cost = costs(6, 9, 7).requires_grad_()
    values, paths = dtw(cost)
    (gradient,) = torch.autograd.grad(values.sum(), cost)
    for b, path in enumerate(paths):
        rows, columns = path.T
        total = cost[b, rows, columns].sum()
        torch.testing.assert_close(values[b], total, rtol=1e-13, atol=1e-13)
        assert gradient[b].sum() == len(path)
        assert (gradient[b, rows, columns] == 1).all()
        steps = path.diff(dim=0)
        assert ((steps >= 0) & (steps <= 1)).all()
        assert (steps.sum(1) > 0).all()
    assert torch.equal(values, soft_dtw(cost, 0.0))


def test_ties_prefer_the_diagonal_then_above_then_left():
    _, (path,) = dtw(torch.zeros(1, 4, 4))
    assert path.tolist() == [[i, i] for i in range(4)]
    _, (path,) = dtw(torch.zeros(1, 2, 4))
    assert path.tolist() == [[0, 0], [0, 1], [0, 2], [1, 3]]
    cost = torch.zeros(1, 2, 2)
    cost[0, 0, 0] = math.nan
    _, (path,) = dtw(cost)
    assert path.shape == (0, 2)
    corner = torch.tensor([[[0.0, 0.0, 9.0], [0.0, math.inf, 0.0], [9.0, 0.0, 0.0]]])
    _, (path,) = dtw(corner)
    assert path.tolist() == [[0, 0], [0, 1], [1, 2], [2, 2]]


def test_pairs_without_a_path_and_with_nan(costs):
    cost = costs(3, 4, 5)
    cost[0, :, 2] = math.inf
    cost[1, 0, 0] = math.nan
    values, paths = dtw(cost)
    assert values[0] == math.inf
    assert values[1].isnan()
    assert values[2].isfinite()
    assert [tuple(path.shape) for path in paths[:2]] == [(0, 2), (0, 2)]
    assert len(paths[2]) >= 5
    assert all(path.dtype == torch.int64 for path in paths)


def test_no_pairs():
    values, paths = dtw(torch.zeros(0, 3, 3))
    assert values.shape == (0,)
    assert paths == []


def test_path_of_a_warped_copy():
    x = torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0])
    warp = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4])
    cost = (x[:, None] - x[warp][None]).abs()[None]
    values, (path,) = dtw(cost)
    assert values.item() == 0
    assert torch.equal(path, torch.stack([warp, torch.arange(8)], 1))
