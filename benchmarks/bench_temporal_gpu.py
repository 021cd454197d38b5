"""Soft-DTW on a CUDA device beside the published CUDA algorithm, torch, and the memory's speed.

The peer is written here after the published algorithm of Maghoumi et al. (2021, "DeepNAG"): one
block of threads a pair, one thread a row, one anti-diagonal after the other with a barrier between
them, the table of R in global memory within borders of +inf; backward the same from the end, with
the exponentials of differences of R. A block has at most 1,024 threads, so that sequences may not
be longer, and there are no lengths. It is in Triton as ours is, so that the language makes no
difference, and is given no more work than that.

Without a CUDA device nothing is measured and nothing written. Every call ends with the device
being through: times are those that a caller sees.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from _harness import Case, Peer, main
from torch import Tensor

from vlalign_lib._fast import plain_of
from vlalign_lib.temporal import soft_dtw

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

PACKAGES = ("torch", "triton", "numpy", "numba")
GAMMA = 0.1
LONGEST = 1024
SIZES = (
    (1024, 17, 17),
    (16_384, 17, 17),
    (4096, 33, 33),
    (1024, 64, 64),
    (64, 256, 256),
    (256, 256, 256),
    (64, 512, 512),
    (16, 1024, 1024),
    (1, 1024, 1024),
    (1, 2000, 2000),
    (16, 4000, 4000),
)
Answer = tuple[Tensor, ...]

if triton is not None:

    @triton.jit
    def table_kernel(costs, table, gamma, n, m, ROWS: tl.constexpr):
        pair = tl.program_id(0).to(tl.int64)
        row = tl.arange(0, ROWS)
        costs += pair * n * m
        table += pair * (n + 2) * (m + 2)
        for diagonal in range(n + m - 1):
            column = diagonal - row
            here = (row < n) & (column >= 0) & (column < m)
            cell = table + (row + 1) * (m + 2) + column + 1
            p = -tl.load(cell - (m + 2) - 1, mask=here, other=0.0) / gamma
            q = -tl.load(cell - (m + 2), mask=here, other=0.0) / gamma
            r = -tl.load(cell - 1, mask=here, other=0.0) / gamma
            top = tl.maximum(tl.maximum(p, q), r)
            total = tl.exp(p - top) + tl.exp(q - top) + tl.exp(r - top)
            cost = tl.load(costs + row * m + column, mask=here, other=0.0)
            tl.store(cell, cost - gamma * (tl.log(total) + top), mask=here)
            tl.debug_barrier()

    @triton.jit
    def flow_kernel(costs, table, flow, gamma, n, m, ROWS: tl.constexpr):
        pair = tl.program_id(0).to(tl.int64)
        row = tl.arange(0, ROWS)
        costs += pair * (n + 2) * (m + 2)
        table += pair * (n + 2) * (m + 2)
        flow += pair * (n + 2) * (m + 2)
        for step in range(n + m - 1):
            column = n + m - 2 - step - row
            here = (row < n) & (column >= 0) & (column < m)
            cell = (row + 1) * (m + 2) + column + 1
            below = cell + (m + 2)
            value = tl.load(table + cell, mask=here, other=0.0)
            total = tl.zeros([ROWS], tl.float32)
            # One successor after the other: below, to the right, diagonal.
            at = tl.load(table + below, mask=here, other=0.0)
            cost = tl.load(costs + below, mask=here, other=0.0)
            weight = tl.exp((at - value - cost) / gamma)
            total += tl.load(flow + below, mask=here, other=0.0) * weight
            at = tl.load(table + cell + 1, mask=here, other=0.0)
            cost = tl.load(costs + cell + 1, mask=here, other=0.0)
            weight = tl.exp((at - value - cost) / gamma)
            total += tl.load(flow + cell + 1, mask=here, other=0.0) * weight
            at = tl.load(table + below + 1, mask=here, other=0.0)
            cost = tl.load(costs + below + 1, mask=here, other=0.0)
            weight = tl.exp((at - value - cost) / gamma)
            total += tl.load(flow + below + 1, mask=here, other=0.0) * weight
            tl.store(flow + cell, total, mask=here)
            tl.debug_barrier()


def launch(size: int, rows: int) -> dict[str, int]:
    block = triton.next_power_of_2(rows)
    return {"ROWS": block, "num_warps": max(1, block // 32)}


class OneThreadARow(torch.autograd.Function):
    """The published algorithm; the steps in torch around its kernels are the published ones."""

    @staticmethod
    def forward(ctx: Any, costs: Tensor) -> Tensor:
        size, n, m = costs.shape
        if max(n, m) > LONGEST:
            raise ValueError(f"sequences of at most {LONGEST}")
        table = torch.full((size, n + 2, m + 2), float("inf"), device=costs.device)
        table[:, 0, 0] = 0
        table_kernel[(size,)](costs.detach(), table, GAMMA, n, m, **launch(size, n))
        ctx.save_for_backward(costs.detach(), table)
        return table[:, -2, -2].clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        costs, table = ctx.saved_tensors
        size, n, m = costs.shape
        padded = torch.zeros_like(table)
        padded[:, 1:-1, 1:-1] = costs
        table = table.clone()
        table[:, :, -1] = -float("inf")
        table[:, -1, :] = -float("inf")
        table[:, -1, -1] = table[:, -2, -2]
        flow = torch.zeros_like(table)
        flow[:, -1, -1] = 1
        flow_kernel[(size,)](padded, table, flow, GAMMA, n, m, **launch(size, n))
        return flow[:, 1:-1, 1:-1] * gradient[:, None, None]


def anti_diagonals(costs: Tensor) -> Tensor:
    """Return the values by the library's plain form, in float64, which autograd differentiates."""
    values: Tensor = plain_of("soft_dtw")(costs, None, GAMMA)
    return values


def matrices(size: int, n: int, m: int) -> Tensor:
    """Minus the cosines of random embeddings, as in a contrastive batch."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(size, k, 32, generator=generator) for k in (n, m))
    x, y = (torch.nn.functional.normalize(each, dim=-1) for each in (x, y))
    return (-x @ y.mT).contiguous().to("cuda")


def finished(run: Callable[[], Answer]) -> Callable[[], Answer]:
    def call() -> Answer:
        answer = run()
        torch.cuda.synchronize()
        return answer

    return call


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


def case(shape: tuple[int, int, int], *, gradient: bool) -> Case:
    costs = matrices(*shape).requires_grad_(gradient)
    run = with_gradient if gradient else values_only
    cells = costs.numel()
    # Read the costs; with a gradient write two probabilities, read them and write E as well.
    moved = torch.empty(cells * (6 if gradient else 1) // 2, device="cuda")
    room = torch.empty_like(moved)
    peers = {
        "memory": Peer(
            finished(lambda: (room.copy_(moved),)),
            compared=False,
            note="a copy that moves as many bytes as the cells make necessary",
        ),
    }
    if max(shape[1:]) <= LONGEST:
        # Logarithms in single precision: the gradient has two to three digits.
        peers["one thread a row, Triton"] = Peer(
            finished(lambda: run(OneThreadARow.apply, costs)), tolerance=2e-2 if gradient else 1e-5
        )
    if cells <= 2**25:
        peers["anti-diagonals, torch"] = Peer(
            finished(lambda: run(anti_diagonals, costs)), rounds=3
        )
    size, n, m = shape
    return Case(
        operation="soft-DTW, forward and backward" if gradient else "soft-DTW, forward",
        size=f"{size:,} pairs of {n}×{m}" if size > 1 else f"a pair of {n}×{m}",
        ours=finished(lambda: run(lambda c: soft_dtw(c, GAMMA), costs)),
        peers=peers,
        difference=difference,
        tolerance=5e-6,
        goal=10.0,
        work=(cells / 1e9, "G cells"),
        note=f"float32, γ = {GAMMA}, {torch.cuda.get_device_name()}",
        function="temporal.soft_dtw",
    )


if __name__ == "__main__":
    if triton is None or not torch.cuda.is_available():
        missing = "Triton" if triton is None else "a CUDA device"
        print(f"nothing measured and nothing written: this benchmark needs {missing}")
        sys.exit(0)
    cases = [
        lambda shape=shape, gradient=gradient: case(shape, gradient=gradient)
        for gradient in (False, True)
        for shape in SIZES
    ]
    raise SystemExit(main("temporal_gpu", cases, packages=PACKAGES))
