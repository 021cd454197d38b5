"""Soft-DTW on the CPU beside tslearn, pysdtw, the double loop of Maghoumi's code, and torch.

Costs are minus the cosines of random embeddings, as in a contrastive batch at the start of a
training, γ = 0.1. Everybody is given the same matrices (B, n, m). tslearn and pysdtw compute in
float64 whatever they are given, and round their table to float32 for the backward pass. The double
loop is written here after the published algorithm (one pair at a time, float64, logarithms and
exponentials of a cell in scalar code); with Mathieu Blondel's Cython code, which cannot be built
everywhere, it shares all but the language. The last peer is the library's own portable form:
anti-diagonals of the whole batch in torch, in float64.

Values are compared, and gradients where they are timed. Two threads are compared with one of
ours and with two of the peers.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import torch
from _harness import Case, MemoryCase, Peer, main
from torch import Tensor

from vlalign_lib._fast import plain_of
from vlalign_lib.losses import s2dtw_contrastive_loss
from vlalign_lib.temporal import pairwise_s2dtw, soft_alignment, soft_dtw

PACKAGES = ("torch", "numpy", "numba", "tslearn", "pysdtw")
GAMMA = 0.1
Answer = tuple[Tensor, ...]


def matrices(size: int, n: int, m: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(size, k, 32, generator=generator, dtype=torch.float64) for k in (n, m))
    x, y = (torch.nn.functional.normalize(each, dim=-1) for each in (x, y))
    return (-x @ y.mT).to(dtype).contiguous()


@numba.njit(parallel=True)
def double_loop(costs, gamma):
    size, n, m = costs.shape
    table = np.full((size, n + 2, m + 2), np.inf)
    for b in numba.prange(size):
        table[b, 0, 0] = 0.0
        for i in range(1, n + 1):
            for j in range(1, m + 1):
                p = -table[b, i - 1, j - 1] / gamma
                q = -table[b, i - 1, j] / gamma
                r = -table[b, i, j - 1] / gamma
                top = max(p, q, r)
                total = math.exp(p - top) + math.exp(q - top) + math.exp(r - top)
                table[b, i, j] = costs[b, i - 1, j - 1] - gamma * (math.log(total) + top)
    return table


@numba.njit(parallel=True)
def double_loop_back(costs, table, gamma):
    size, n, m = costs.shape
    flow = np.zeros((size, n + 2, m + 2))
    for b in numba.prange(size):
        flow[b, n, m] = 1.0
        for i in range(n, 0, -1):
            for j in range(m, 0, -1):
                here = table[b, i, j]
                if i < n:
                    weight = (table[b, i + 1, j] - here - costs[b, i, j - 1]) / gamma
                    flow[b, i, j] += flow[b, i + 1, j] * math.exp(weight)
                if j < m:
                    weight = (table[b, i, j + 1] - here - costs[b, i - 1, j]) / gamma
                    flow[b, i, j] += flow[b, i, j + 1] * math.exp(weight)
                if i < n and j < m:
                    weight = (table[b, i + 1, j + 1] - here - costs[b, i, j]) / gamma
                    flow[b, i, j] += flow[b, i + 1, j + 1] * math.exp(weight)
    return flow[:, 1:-1, 1:-1]


class DoubleLoop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, costs: Tensor) -> Tensor:
        table = double_loop(costs.detach().numpy(), GAMMA)
        ctx.costs, ctx.table = costs.detach(), table
        return torch.from_numpy(table[:, -2, -2].copy()).to(costs.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        flow = double_loop_back(ctx.costs.numpy(), ctx.table, GAMMA)
        return torch.from_numpy(flow).to(gradient.dtype) * gradient[:, None, None]


def anti_diagonals(costs: Tensor) -> Tensor:
    """Return the values by the library's plain form, in float64, which autograd differentiates."""
    values: Tensor = plain_of("soft_dtw")(costs, None, GAMMA)
    return values


def others(costs: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    from pysdtw.sdtw_cpu import SoftDTWcpu
    from tslearn.metrics import SoftDTWLossPyTorch

    lengths = torch.tensor(costs.shape[1:]).expand(len(costs), 2)
    tslearn = SoftDTWLossPyTorch(gamma=GAMMA, dist_func=lambda x, y: x.clone())
    return {
        "tslearn": lambda c: tslearn(c, c),
        "pysdtw": lambda c: SoftDTWcpu.apply(c, lengths, GAMMA, 0.0),
        "double loop, numba": DoubleLoop.apply,
        "anti-diagonals, torch": anti_diagonals,
    }


def values_only(function: Callable[[Tensor], Tensor], costs: Tensor) -> Answer:
    with torch.no_grad():
        return (function(costs),)


def with_gradient(function: Callable[[Tensor], Tensor], costs: Tensor) -> Answer:
    values = function(costs)
    return values.detach(), *torch.autograd.grad(values.sum(), costs)


def difference(ours: Answer, theirs: Answer) -> float:
    return max(
        float((a.double() - b.double()).abs().max() / b.abs().max())
        for a, b in zip(ours, theirs, strict=True)
    )


def peers_of(run: Callable[..., Answer], costs: Tensor, rounds: int | None) -> dict[str, Peer]:
    """Everybody at the same task; float32 tables cost tslearn and pysdtw digits."""
    rough = 2e-6 if run is values_only else max(2e-4, 5e-6 * costs.shape[1])
    rounding = {"tslearn": rough, "pysdtw": rough}
    return {
        name: Peer(
            lambda f=function: run(f, costs),
            tolerance=rounding.get(name),
            rounds=rounds,
        )
        for name, function in others(costs).items()
    }


def forward(
    size: int, n: int, m: int, dtype: torch.dtype = torch.float32, goal: float | None = None
) -> Case:
    costs = matrices(size, n, m, dtype)
    narrow = dtype == torch.float32
    return Case(
        operation="soft-DTW, forward" + ("" if narrow else ", float64"),
        size=f"{size} × {n}×{m}",
        ours=lambda: values_only(lambda c: soft_dtw(c, GAMMA), costs),
        peers=peers_of(values_only, costs, 3 if costs.numel() > 2_000_000 else None),
        difference=difference,
        tolerance=1e-6 if narrow else 1e-12,
        goal=goal,
        work=(costs.numel() / 1e9, "G cells"),
        function="temporal.soft_dtw",
    )


def gradient(
    size: int, n: int, m: int, dtype: torch.dtype = torch.float32, goal: float | None = None
) -> Case:
    costs = matrices(size, n, m, dtype).requires_grad_()
    narrow = dtype == torch.float32
    return Case(
        operation="soft-DTW, forward and backward" + ("" if narrow else ", float64"),
        size=f"{size} × {n}×{m}",
        ours=lambda: with_gradient(lambda c: soft_dtw(c, GAMMA), costs),
        peers=peers_of(with_gradient, costs, 3 if costs.numel() > 2_000_000 else None),
        difference=difference,
        tolerance=5e-6 if narrow else 1e-10,
        goal=goal,
        work=(costs.numel() / 1e9, "G cells"),
        function="temporal.soft_dtw",
    )


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(count)
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def two_threads(size: int, n: int, m: int) -> Case:
    costs = matrices(size, n, m).requires_grad_()

    def run(function: Callable[[Tensor], Tensor], count: int) -> Answer:
        with threads(count):
            return with_gradient(function, costs)

    def ours(c: Tensor) -> Tensor:
        return soft_dtw(c, GAMMA)

    loop = others(costs)["double loop, numba"]
    return Case(
        operation="soft-DTW, forward and backward, two threads",
        size=f"{size} × {n}×{m}",
        ours=lambda: run(ours, 2),
        peers={
            "ours, one thread": Peer(
                lambda: run(ours, 1), compared=False, note="what the second thread brings"
            ),
            "double loop, numba": Peer(lambda: run(loop, 2), note="two threads too"),
        },
        difference=difference,
        tolerance=5e-6,
        work=(costs.numel() / 1e9, "G cells"),
        function="temporal.soft_dtw",
    )


def derivative_of_the_alignment(size: int, n: int, m: int) -> Case:
    costs = matrices(size, n, m).requires_grad_()
    direction = matrices(size, n, m).flip(0)

    def ours() -> Answer:
        expected = soft_alignment(costs, GAMMA)
        return expected.detach(), *torch.autograd.grad(expected, costs, direction)

    def reference() -> Answer:
        expected = plain_of("soft_alignment")(costs, None, GAMMA)
        return expected.detach(), *torch.autograd.grad(expected, costs, direction)

    return Case(
        operation="expected alignment and its derivative",
        size=f"{size} × {n}×{m}",
        ours=ours,
        peers={"anti-diagonals, torch": Peer(reference)},
        difference=difference,
        tolerance=5e-6,
        work=(costs.numel() / 1e9, "G cells"),
        note="no other library differentiates the alignment",
        function="temporal.soft_alignment",
    )


def contrastive(size: int, length: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, size, length, 512, generator=generator).requires_grad_().unbind()
    s2dtw_contrastive_loss(x, y).backward()


def contrastive_128_of_8() -> None:
    contrastive(128, 8)


def contrastive_64_of_32() -> None:
    contrastive(64, 32)


def contrastive_values(size: int, length: int) -> Case:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, size, length, 512, generator=generator)
    return Case(
        operation="all pairs of S2DTW",
        size=f"{size}² × {length}×{length}",
        ours=lambda: pairwise_s2dtw(x, y),
        peers={},
        difference=lambda a, b: float((a - b).abs().max()),
        tolerance=0.0,
        note="smoothing and dummies included",
        function="temporal.pairwise_s2dtw",
    )


LARGE = ((64, 32, 32), (32, 64, 64), (256, 64, 64), (16, 256, 256), (4, 512, 512), (1, 2000, 2000))
WIDE = ((1024, 17, 17), (32, 64, 64), (4, 512, 512))
CASES = [
    lambda: forward(1, 8, 8),
    lambda: forward(16, 17, 17),
    lambda: forward(1024, 17, 17, goal=9.7),
    *(lambda s=s: forward(*s, goal=15.0) for s in LARGE),
    *(lambda s=s: forward(*s, dtype=torch.float64) for s in WIDE),
    lambda: gradient(1, 8, 8),
    lambda: gradient(16, 17, 17),
    lambda: gradient(1024, 17, 17, goal=11.0),
    *(lambda s=s: gradient(*s, goal=10.0) for s in LARGE),
    *(lambda s=s: gradient(*s, dtype=torch.float64) for s in WIDE),
    *(lambda s=s: two_threads(*s) for s in ((1024, 17, 17), (256, 64, 64), (4, 512, 512))),
    *(lambda s=s: derivative_of_the_alignment(*s) for s in ((1024, 17, 17), (4, 256, 256))),
    lambda: contrastive_values(128, 8),
    lambda: contrastive_values(64, 32),
    lambda: MemoryCase("contrastive loss, with gradient", "128 of 8", contrastive_128_of_8, 800),
    lambda: MemoryCase("contrastive loss, with gradient", "64 of 32", contrastive_64_of_32, 800),
]

if __name__ == "__main__":
    raise SystemExit(main("temporal", CASES, PACKAGES))
