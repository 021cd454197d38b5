"""The loss of deep CCA beside cca-zoo and the eigen-decomposition form that ports share.

Timed is one value with the gradients of both views. cca-zoo's objective is the sum of the
*squared* correlations with an absolute ridge, so it is met without ridge; the eigen-decomposition
form is written here after Andrew et al. 2013 (inverse roots and singular values through symmetric
eigen-decompositions that torch differentiates), with the relative ridge of ours.

Batches are 800 pairs for 10 and 50 dimensions, as the ports have them, and 4 pairs a dimension.
Unrelated views are those of the first steps of a training, related ones (ρ about 0.7) of the last;
ours spends a little more on correlations near zero. Numbers are float64, in which everybody works
to the same digits. In float32 the peers compute in float32 throughout, at half the cost and with
the digits that it has; ours computes in float64 all the same. Those cases are shown without a goal.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from _harness import Case, Peer, main
from torch import Tensor

from vlalign_lib.losses import cca_loss

PACKAGES = ("torch", "numpy", "scipy", "cca-zoo")
REG = 1e-4
Answer = tuple[Tensor, Tensor, Tensor]


def views(rows: int, d: int, related: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, rows, d, dtype=torch.float64, generator=generator).to(dtype)
    y = x + y if related else y
    return x.requires_grad_(), y.requires_grad_()


def value_and_gradients(loss: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Answer:
    value = loss(x, y)
    return value.detach(), *torch.autograd.grad(value, (x, y))


def difference(ours: Answer, theirs: Answer) -> float:
    return max(
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True)
    )


def eigen_decompositions(x: Tensor, y: Tensor, reg: float, power: int) -> Tensor:
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)

    def inverse_root(view: Tensor) -> Tensor:
        s = view.T @ view / (len(view) - 1)
        s = s + reg * s.trace() / len(s) * torch.eye(len(s), dtype=s.dtype)
        values, vectors = torch.linalg.eigh(s)
        return vectors @ torch.diag(values.rsqrt()) @ vectors.T

    t = inverse_root(x) @ (x.T @ y / (len(x) - 1)) @ inverse_root(y)
    squares = torch.linalg.eigvalsh(t.T @ t).clamp_min(1e-12)
    return -(squares.sqrt() if power == 1 else squares).sum()


def the_sum(rows: int, d: int, related: bool = True, dtype: torch.dtype = torch.float64) -> Case:
    x, y = views(rows, d, related, dtype)
    wide = dtype == torch.float64
    return Case(
        operation="DCCA loss, Σρ, with gradient" + ("" if wide else ", float32"),
        size=f"{rows}×{d}, {'related' if related else 'unrelated'} views",
        ours=lambda: value_and_gradients(lambda a, b: cca_loss(a, b, reg=REG), x, y),
        peers={
            "eigen-decompositions": Peer(
                lambda: value_and_gradients(lambda a, b: eigen_decompositions(a, b, REG, 1), x, y)
            )
        },
        difference=difference,
        tolerance=1e-6 if wide else 2e-2,
        goal=2.0 if wide else None,
        function="losses.cca_loss",
    )


def the_sum_of_squares(rows: int, d: int, dtype: torch.dtype = torch.float64) -> Case:
    from cca_zoo.deep.objectives import CCALoss

    x, y = views(rows, d, True, dtype)
    wide = dtype == torch.float64
    zoo = CCALoss(reg_covar=0.0)
    return Case(
        operation="DCCA loss, Σρ², with gradient" + ("" if wide else ", float32"),
        size=f"{rows}×{d}, related views",
        ours=lambda: value_and_gradients(
            lambda a, b: cca_loss(a, b, reg=0, objective="sum_of_squares"), x, y
        ),
        peers={
            "cca-zoo": Peer(lambda: value_and_gradients(lambda a, b: zoo([a, b]), x, y)),
            "eigen-decompositions": Peer(
                lambda: value_and_gradients(lambda a, b: eigen_decompositions(a, b, 0, 2), x, y)
            ),
        },
        difference=difference,
        tolerance=1e-8 if wide else 2e-2,
        goal=2.0 if wide else None,
        function="losses.cca_loss",
    )


SIZES = ((40, 10), (800, 10), (200, 50), (800, 50), (512, 128), (2048, 512))
CASES = [
    *(lambda s=s: the_sum(*s) for s in SIZES),
    *(lambda s=s: the_sum(*s, related=False) for s in SIZES),
    *(lambda s=s: the_sum_of_squares(*s) for s in SIZES),
    *(lambda s=s: the_sum(*s, dtype=torch.float32) for s in SIZES),
    *(lambda s=s: the_sum_of_squares(*s, dtype=torch.float32) for s in SIZES),
]

if __name__ == "__main__":
    raise SystemExit(main("losses_cca", CASES, PACKAGES))
