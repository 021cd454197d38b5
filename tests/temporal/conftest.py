"""Slow ways to the answers, and the implementations that every answer is asked of."""

import functools
import math

import pytest
import torch


@pytest.fixture(params=["plain", pytest.param("engine", marks=pytest.mark.engine)])
def backend(request, monkeypatch):
    """Run a test once on the plain forms and once on the engine's."""
    monkeypatch.setenv("VLALIGN_ENGINE", "0" if request.param == "plain" else "1")
    return request.param


@functools.cache
def every_path(n, m):
    """All paths from (0, 0) to (n - 1, m - 1) by steps right, down and diagonal."""
    if n == 1 or m == 1:
        return [[(i, j) for i in range(n) for j in range(m)]]
    last = (n - 1, m - 1)
    return [
        [*path, last]
        for shape in ((n - 1, m - 1), (n - 1, m), (n, m - 1))
        for path in every_path(*shape)
    ]


def by_paths(cost, gamma):
    """Value and expected alignment of one matrix, summed over all of its paths."""
    paths = every_path(*cost.shape)
    masks = torch.zeros(len(paths), *cost.shape, dtype=torch.float64)
    for mask, path in zip(masks, paths, strict=True):
        mask[tuple(zip(*path, strict=True))] = 1
    totals = torch.where(masks == 1, cost.double(), 0.0).sum((1, 2))
    if gamma == 0:
        return totals.min(), masks[totals.argmin()]
    weights = torch.softmax(-totals / gamma, 0)
    return -gamma * torch.logsumexp(-totals / gamma, 0), torch.einsum("p,pij->ij", weights, masks)


def soft_minimum(values, gamma):
    """Soft minimum of a list of Python numbers or 0-d tensors."""
    values = torch.stack([torch.as_tensor(v, dtype=torch.float64) for v in values])
    least = values.detach().min()
    if least == math.inf:
        return least
    if gamma == 0:
        return values.min()
    return least - gamma * ((least - values) / gamma).exp().sum().log()


def by_loops(cost, gamma):
    """Soft-DTW value of one matrix by two loops over its cells, differentiable."""
    n, m = cost.shape
    total = {(-1, -1): torch.zeros((), dtype=torch.float64)}
    for i in range(n):
        for j in range(m):
            before = [total[q] for q in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if q in total]
            total[i, j] = cost[i, j].double() + soft_minimum(before, gamma)
    return total[n - 1, m - 1]


def s2dtw_by_loops(cost, gamma, dummy=0.5, smoothing=True, weak=True):
    """S2DTW value of one matrix, layer by layer as it is defined, differentiable."""
    n, m = cost.shape
    cells = {(i, j): cost[i, j].double() for i in range(n) for j in range(m)}
    if smoothing:
        sums = {}
        for i, j in cells:
            around = [cells[q] for q in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if q in cells]
            sums[i, j] = cells[i, j] + soft_minimum(around or [0.0, 0.0, 0.0], gamma)
        cells = sums
    if weak:
        real, n, m = cells, 2 * n + 1, 2 * m + 1
        cells = {
            (row, column): real[row // 2, column // 2]
            if row % 2 and column % 2
            else torch.tensor(dummy, dtype=torch.float64)
            for row in range(n)
            for column in range(m)
        }
    return by_loops(torch.stack([cells[q] for q in sorted(cells)]).view(n, m), gamma)


@pytest.fixture(scope="session")
def slow():
    """The oracles: ``slow.paths``, ``slow.by_paths``, ``slow.soft_dtw``, ``slow.s2dtw``."""

    class Slow:
        paths = staticmethod(every_path)
        by_paths = staticmethod(by_paths)
        soft_dtw = staticmethod(by_loops)
        s2dtw = staticmethod(s2dtw_by_loops)

    return Slow


@pytest.fixture
def costs():
    """Random costs (B, n, m) in float64, of both signs."""

    def draw(*shape, seed=0, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return draw
