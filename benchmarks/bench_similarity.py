"""CKA beside netrep's formulation, ckatorch, and the published forms in plain numpy and torch.

What netrep computes (Gram matrices of the items in numpy and the angle between them; no package of
it can be installed) is written out here, and so are the forms of the CKA paper: by columns, by
rows, unbiased, with the rbf kernel. ckatorch works in float64 whatever comes in; its rbf width, a
fraction of the median over all n² squared distances, is given to everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _harness import Case, MemoryCase, Peer, main
from numpy.typing import NDArray
from torch import Tensor

from vlalign_lib.losses import cka_loss
from vlalign_lib.similarity import MinibatchCKA, cka

PACKAGES = ("numpy", "torch", "ckatorch")
Matrix = NDArray[Any]
WIDTH = 25.0  # of the rbf kernels of the loss, half a typical distance


def views(n: int, p: int, q: int, dtype: Any = np.float64) -> tuple[Matrix, Matrix]:
    """Two views with 10 directions in common."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((n, 10))
    x, y = (
        shared @ rng.standard_normal((10, d)) + 2 * rng.standard_normal((n, d)) + 1 for d in (p, q)
    )
    return x.astype(dtype), y.astype(dtype)


def difference(ours: Any, theirs: Any) -> float:
    return abs(float(ours) - float(theirs))


def by_angle(x: Matrix, y: Matrix) -> float:
    """As netrep has it: centred columns, Gram matrices of items, the angle; here its cosine."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    k, m = x @ x.T, y @ y.T
    return float(np.cos(np.arccos(np.sum(k * m) / np.linalg.norm(k) / np.linalg.norm(m))))


def by_columns(x: Matrix, y: Matrix) -> float:
    """The CKA paper's form for more items than dimensions."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    lengths = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(x.T @ y) ** 2 / lengths)


def centred_gram(k: Matrix, unbiased: bool) -> Matrix:
    """The CKA paper's centring of a Gram matrix, in either form."""
    n = len(k)
    k = k.copy()
    if not unbiased:
        means = k.mean(axis=0)
        means -= means.mean() / 2
        return k - means[:, None] - means
    np.fill_diagonal(k, 0)
    means = k.sum(axis=0) / (n - 2)
    means -= means.sum() / (2 * (n - 1))
    k = k - means[:, None] - means
    np.fill_diagonal(k, 0)
    return k


def by_rows(x: Matrix, y: Matrix, unbiased: bool = False) -> float:
    k, m = (centred_gram(v @ v.T, unbiased) for v in (x, y))
    return float(k.ravel() @ m.ravel() / np.linalg.norm(k) / np.linalg.norm(m))


def by_rows_rbf(x: Matrix, y: Matrix, sigma: tuple[float, float], unbiased: bool) -> float:
    grams = []
    for view, width in zip((x, y), sigma, strict=True):
        products = view @ view.T
        norms = np.diag(products)
        squared = norms[:, None] + norms - 2 * products
        grams.append(centred_gram(np.exp(-squared / (2 * width**2)), unbiased))
    k, m = grams
    return float(k.ravel() @ m.ravel() / np.linalg.norm(k) / np.linalg.norm(m))


def library_peers(x: Matrix, y: Matrix, *, single: bool) -> dict[str, Peer]:
    from ckatorch.core import cka_base

    tensors = torch.from_numpy(x), torch.from_numpy(y)
    return {
        "netrep's formulation": Peer(
            lambda: by_angle(x, y),
            tolerance=1e-3 if single else 1e-8,
            rounds=2 if len(x) > 2000 else None,
            note="np.linalg.norm adds n² squares in float32" if single else "",
        ),
        "ckatorch": Peer(lambda: cka_base(*tensors), rounds=2 if len(x) > 2000 else None),
    }


def linear_case(n: int, p: int, dtype: Any, goal: float) -> Callable[[], Case]:
    def build() -> Case:
        x, y = views(n, p, p, dtype)
        single = dtype is np.float32
        return Case(
            operation=f"linear CKA, {'float32' if single else 'float64'}",
            size=f"{n}×{p}",
            ours=lambda: cka(x, y),
            peers=library_peers(x, y, single=single),
            difference=difference,
            tolerance=1e-5 if single else 1e-10,
            goal=goal,
            function="similarity.cka",
        )

    return build


def published_case(n: int, p: int, dtype: Any) -> Callable[[], Case]:
    def build() -> Case:
        x, y = views(n, p, p, dtype)
        single = dtype is np.float32
        return Case(
            operation=f"linear CKA beside the paper's forms, {'float32' if single else 'float64'}",
            size=f"{n}×{p}",
            ours=lambda: cka(x, y),
            peers={
                "by columns, numpy": Peer(lambda: by_columns(x, y)),
                "by rows, numpy": Peer(
                    lambda: by_rows(x, y), tolerance=1e-3 if single else None, rounds=3
                ),
            },
            difference=difference,
            tolerance=1e-5 if single else 1e-10,
            note="the same three products: what is left is centring, checking and safety",
            function="similarity.cka",
        )

    return build


def unbiased_case(n: int, p: int, goal: float) -> Callable[[], Case]:
    def build() -> Case:
        from ckatorch.core import cka_base

        x, y = views(n, p, p)
        tensors = torch.from_numpy(x), torch.from_numpy(y)
        return Case(
            operation="unbiased linear CKA, float64",
            size=f"{n}×{p}",
            ours=lambda: cka(x, y, unbiased=True),
            peers={
                "by rows, numpy": Peer(lambda: by_rows(x, y, unbiased=True), rounds=3),
                "ckatorch": Peer(lambda: cka_base(*tensors, unbiased=True), rounds=3),
            },
            difference=difference,
            tolerance=1e-10,
            goal=goal,
            function="similarity.cka",
        )

    return build


def rbf_case(n: int, p: int, unbiased: bool) -> Callable[[], Case]:
    def build() -> Case:
        from ckatorch.core import cka_base

        x, y = views(n, p, p)
        tensors = torch.from_numpy(x), torch.from_numpy(y)
        sigma = tuple(0.5 * float((torch.cdist(v, v) ** 2).median().sqrt()) for v in tensors)
        return Case(
            operation=f"rbf CKA{', unbiased' * unbiased}, float64",
            size=f"{n}×{p}",
            ours=lambda: cka(x, y, kernel="rbf", sigma=sigma, unbiased=unbiased),
            peers={
                "by rows, numpy": Peer(lambda: by_rows_rbf(x, y, sigma, unbiased)),
                "ckatorch": Peer(lambda: cka_base(*tensors, "rbf", unbiased, threshold=0.5)),
            },
            difference=difference,
            tolerance=1e-9,
            goal=1.3,
            function="similarity.cka",
        )

    return build


def minibatch_case() -> Case:
    from ckatorch.core import cka_batch

    x, y = views(4096, 128, 128)
    stacks = torch.from_numpy(x).reshape(64, 64, 128), torch.from_numpy(y).reshape(64, 64, 128)
    batches = [tuple(stack[i] for stack in stacks) for i in range(64)]

    def ours() -> float:
        whole = MinibatchCKA()
        for batch in batches:
            whole.update(*batch)
        return whole.compute()

    return Case(
        operation="CKA over batches, float64",
        size="64 batches of 64×128",
        ours=ours,
        peers={"ckatorch, all in one stack": Peer(lambda: cka_batch(*stacks))},
        difference=difference,
        tolerance=1e-10,
        function="similarity.MinibatchCKA",
    )


def length(matrix: Tensor) -> Tensor:
    """torch.linalg.norm loses three digits of a large float32 matrix, and the gradient too."""
    return matrix.square().sum().sqrt()


def plain_columns(x: Tensor, y: Tensor, unbiased: bool) -> Tensor:
    x, y = x - x.mean(0), y - y.mean(0)
    return 1 - (x.T @ y).square().sum() / length(x.T @ x) / length(y.T @ y)


def plain_rows(x: Tensor, y: Tensor, unbiased: bool) -> Tensor:
    if not unbiased:
        x, y = x - x.mean(0), y - y.mean(0)
    k, m = x @ x.T, y @ y.T
    if unbiased:
        n = len(k)
        keep = 1 - torch.eye(n, dtype=k.dtype)
        grams = []
        for gram in (k * keep, m * keep):
            means = gram.sum(0) / (n - 2)
            means = means - means.sum() / (2 * (n - 1))
            grams.append((gram - means[:, None] - means) * keep)
        k, m = grams
    return 1 - (k * m).sum() / length(k) / length(m)


def plain_rbf(x: Tensor, y: Tensor, unbiased: bool) -> Tensor:
    grams = []
    for view in (x, y):
        products = view @ view.T
        norms = products.diagonal()
        squared = norms[:, None] + norms - 2 * products
        gram = torch.exp(-squared / (2 * WIDTH**2))
        means = gram.mean(0)
        means = means - means.mean() / 2
        grams.append(gram - means[:, None] - means)
    k, m = grams
    return 1 - (k * m).sum() / length(k) / length(m)


def loss_case(
    n: int, p: int, *, kernel: str = "linear", unbiased: bool = False, goal: float | None = 1.3
) -> Callable[[], Case]:
    def build() -> Case:
        leaves = [torch.from_numpy(v).requires_grad_() for v in views(n, p, p, np.float32)]

        def step(loss: Callable[..., Tensor], **settings: Any) -> Callable[[], Tensor]:
            def run() -> Tensor:
                grads = torch.autograd.grad(loss(*leaves, unbiased=unbiased, **settings), leaves)
                return torch.cat([grad.flatten() for grad in grads])

            return run

        if kernel == "rbf":
            peers = {"by rows, autograd": Peer(step(plain_rbf))}
        else:
            peers = {"by rows, autograd": Peer(step(plain_rows))}
            if not unbiased:
                peers["by columns, autograd"] = Peer(step(plain_columns))
        width = {"sigma": WIDTH} if kernel == "rbf" else {}
        name = f"{'rbf ' if kernel == 'rbf' else ''}CKA loss{', unbiased' * unbiased}"
        return Case(
            operation=f"{name}, forward and backward, float32",
            size=f"{n}×{p}",
            ours=step(cka_loss, kernel=kernel, **width),
            peers=peers,
            difference=lambda a, b: float((a - b).abs().max() / b.abs().max()),
            tolerance=2e-3 if kernel == "rbf" else 5e-5,
            goal=goal,
            function="losses.cka_loss",
        )

    return build


def long_views() -> float:
    """200,000 rows in float32, both forms: an n×n matrix would take 160 GB."""
    x, y = views(200_000, 64, 64, np.float32)
    return cka(x, y) + cka(x, y, unbiased=True)


CASES = [
    linear_case(4096, 512, np.float64, 6.0),
    linear_case(4096, 512, np.float32, 6.0),
    linear_case(6000, 128, np.float64, 6.0),
    linear_case(1024, 512, np.float64, 1.3),
    linear_case(512, 512, np.float64, 1.3),
    linear_case(512, 512, np.float32, 1.3),
    linear_case(300, 256, np.float64, 1.3),
    linear_case(1024, 4096, np.float64, 1.3),
    linear_case(64, 128, np.float64, 1.3),
    published_case(4096, 512, np.float64),
    published_case(4096, 512, np.float32),
    unbiased_case(4096, 512, 6.0),
    unbiased_case(512, 512, 1.3),
    rbf_case(1024, 128, False),
    rbf_case(1024, 128, True),
    minibatch_case,
    loss_case(16, 128, goal=None),
    loss_case(64, 128, goal=None),
    loss_case(256, 512),
    loss_case(1024, 512),
    loss_case(4096, 512),
    loss_case(64, 128, unbiased=True, goal=None),
    loss_case(1024, 512, unbiased=True),
    loss_case(1024, 128, kernel="rbf"),
    lambda: MemoryCase("linear CKA, both forms", "200,000×64", long_views, limit_mb=1500),
]

if __name__ == "__main__":
    raise SystemExit(main("similarity", CASES, packages=PACKAGES))
