"""Triplets and contrastive losses beside pytorch-metric-learning and plain torch.

Timed is one value with the gradients of both views, float32. Mining picks by comparing cosines,
and in float32 a rounding can tip a comparison: values are compared as timed, gradients beforehand
in float64. pytorch-metric-learning has losses of one direction; it is asked twice and averaged.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from _harness import Case, MemoryCase, Peer, main
from torch import Tensor

from vlalign_lib.losses import (
    contrastive_pair_loss,
    info_nce_loss,
    mil_nce_loss,
    sigmoid_pair_loss,
    triplet_loss,
)

PACKAGES = ("torch", "numpy", "numba", "pytorch-metric-learning")
PML = "pytorch-metric-learning"
Loss = Callable[[Tensor, Tensor], Tensor]
Answer = tuple[Tensor, Tensor, Tensor]


def embeddings(rows: int, d: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Two views around shared centres, as after some epochs: some triplets solved, some not."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    shared = torch.randn(classes, d, generator=generator)[labels]
    shared = 0.7 * shared + 0.7 * torch.randn(rows, d, generator=generator)
    x, y = (shared + torch.randn(rows, d, generator=generator) for _ in range(2))
    return x, y, labels


def value_and_gradients(loss: Loss, x: Tensor, y: Tensor) -> Answer:
    value = loss(x, y)
    return value.detach(), *torch.autograd.grad(value, (x, y))


def furthest(ours: Answer, theirs: Answer) -> float:
    """The largest relative difference of value and gradients."""
    return max(
        float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True)
    )


def of_values(ours: Answer, theirs: Answer) -> float:
    return furthest(ours[:1], theirs[:1])


def case(
    operation: str,
    size: str,
    function: str,
    views: tuple[Tensor, Tensor],
    ours: Loss,
    peers: dict[str, Loss],
    *,
    mined: bool = False,
    goal: float | None = None,
    yardsticks: dict[str, tuple[Loss, str]] | None = None,
    slow: tuple[str, ...] = (),
    note: str = "",
) -> Case:
    wide = tuple(view.double().requires_grad_() for view in views)
    narrow = tuple(view.requires_grad_() for view in views)
    wanted = value_and_gradients(ours, *wide)
    for name, peer in peers.items():
        if (error := furthest(wanted, value_and_gradients(peer, *wide))) > 1e-9:
            raise AssertionError(f"{operation}, {size}: {name} differs by {error:.3g} in float64")

    def rival(peer: Loss, rounds: int | None, why: str = "") -> Peer:
        run = functools.partial(value_and_gradients, peer, *narrow)
        return Peer(run, rounds=rounds, compared=not why, note=why)

    rivals = {name: rival(peer, 3 if name in slow else None) for name, peer in peers.items()}
    rivals |= {name: rival(peer, 3, why) for name, (peer, why) in (yardsticks or {}).items()}
    return Case(
        operation=operation,
        size=size,
        ours=lambda: value_and_gradients(ours, *narrow),
        peers=rivals,
        difference=of_values if mined else furthest,
        tolerance=2e-6 if mined else 2e-4,
        goal=goal,
        note=note or "forward and backward, float32, both directions",
        function=f"losses.{function}",
    )


def asked_twice(
    loss: Callable[..., Tensor], miner: Callable[..., object] | None, labels: Tensor
) -> Loss:
    """Average a loss of pytorch-metric-learning over both directions."""
    other = labels.clone()  # the same object would be taken for one view

    def both(x: Tensor, y: Tensor) -> Tensor:
        total = x.new_zeros(())
        for a, b in ((x, y), (y, x)):
            found = miner(a, labels, b, other) if miner is not None else None
            total = total + loss(a, labels, found, b, other)
        return total / 2

    return both


def batch_hard(rows: int = 2048, d: int = 128, classes: int = 64) -> Case:
    from pytorch_metric_learning import distances, losses, miners, reducers

    x, y, labels = embeddings(rows, d, classes)
    cosine = distances.CosineSimilarity()
    loss = losses.TripletMarginLoss(0.2, distance=cosine, reducer=reducers.MeanReducer())
    miner = miners.BatchHardMiner(distance=cosine)

    def plain(x: Tensor, y: Tensor) -> Tensor:
        s = F.normalize(x) @ F.normalize(y).T
        same = labels[:, None] == labels
        total = s.new_zeros(())
        for scores in (s, s.T):
            worst = scores.masked_fill(same, -torch.inf).amax(dim=1)
            best = scores.masked_fill(~same, torch.inf).amin(dim=1)
            total = total + (0.2 + worst - best).clamp(min=0).mean()
        return total / 2

    return case(
        "triplets, batch hard",
        f"B={rows}, d={d}, {classes} classes",
        "triplet_loss",
        (x, y),
        lambda x, y: triplet_loss(x, y, labels, mining="hardest"),
        {PML: asked_twice(loss, miner, labels), "plain torch": plain},
        mined=True,
        goal=4.0,
    )


def semi_hard_one_positive(rows: int = 2048, d: int = 128) -> Case:
    from pytorch_metric_learning import distances, losses, miners, reducers

    x, y, _ = embeddings(rows, d, 64)
    classes = torch.arange(rows)
    cosine = distances.CosineSimilarity()
    loss = losses.TripletMarginLoss(0.2, distance=cosine, reducer=reducers.MeanReducer())
    miner = miners.BatchEasyHardMiner("hard", "semihard", distance=cosine)
    return case(
        "triplets, semi-hard",
        f"B={rows}, d={d}, own partner",
        "triplet_loss",
        (x, y),
        lambda x, y: triplet_loss(x, y, mining="semi-hard"),
        {PML: asked_twice(loss, miner, classes)},
        mined=True,
        goal=5.0,
    )


def semi_hard(rows: int = 2048, d: int = 128, classes: int = 64) -> Case:
    from pytorch_metric_learning import distances, losses, miners, reducers

    x, y, labels = embeddings(rows, d, classes)
    cosine = distances.CosineSimilarity()
    loss = losses.TripletMarginLoss(0.2, distance=cosine, reducer=reducers.MeanReducer())
    miner = miners.BatchEasyHardMiner("hard", "semihard", distance=cosine)

    def plain(x: Tensor, y: Tensor) -> Tensor:
        s = F.normalize(x) @ F.normalize(y).T
        same = labels[:, None] == labels
        anchors, positives = same.nonzero(as_tuple=True)
        total, count = s.new_zeros(()), 2 * len(anchors)
        for scores in (s, s.T):
            falling, order = scores.detach().masked_fill(same, torch.inf).sort(dim=1)
            below = torch.searchsorted(falling, scores.detach().contiguous())[anchors, positives]
            against = order[anchors, (below - 1).clamp(min=0)]
            gaps = 0.2 + scores[anchors, against] - scores[anchors, positives]
            total = total + gaps.clamp(min=0).sum()
        return total / count

    return case(
        "triplets, semi-hard",
        f"B={rows}, d={d}, {classes} classes",
        "triplet_loss",
        (x, y),
        lambda x, y: triplet_loss(x, y, labels, mining="semi-hard"),
        {"plain torch, sort and search": plain},
        mined=True,
        yardsticks={PML: (asked_twice(loss, miner, labels), "one positive an anchor, ours all")},
        slow=("plain torch, sort and search",),
    )


def all_violating(rows: int = 256, d: int = 128, classes: int = 16) -> Case:
    from pytorch_metric_learning import distances, losses, reducers

    x, y, labels = embeddings(rows, d, classes)
    loss = losses.TripletMarginLoss(
        0.2, distance=distances.CosineSimilarity(), reducer=reducers.SumReducer()
    )

    def plain(x: Tensor, y: Tensor) -> Tensor:
        s = F.normalize(x) @ F.normalize(y).T
        same = labels[:, None] == labels
        usable = same[:, :, None] & ~same[:, None, :]
        total = s.new_zeros(())
        for scores in (s, s.T):
            hinge = (0.2 - scores[:, :, None] + scores[:, None, :]).clamp(min=0)
            total = total + (hinge * usable).sum()
        return total / 2

    return case(
        "triplets, all violating",
        f"B={rows}, d={d}, {classes} classes",
        "triplet_loss",
        (x, y),
        lambda x, y: triplet_loss(x, y, labels, mining="all", reduction="sum") / 2,
        {PML: asked_twice(loss, None, labels), "plain torch, B³": plain},
        note="forward and backward, float32, both directions; sums, over which all agree",
    )


def plain_info_nce(x: Tensor, y: Tensor) -> Tensor:
    z = F.normalize(x) @ F.normalize(y).T / 0.07
    answer = torch.arange(len(x))
    return (F.cross_entropy(z, answer) + F.cross_entropy(z.T, answer)) / 2


def info_nce(rows: int, d: int = 256) -> Case:
    from pytorch_metric_learning import losses, reducers

    x, y, _ = embeddings(rows, d, 64)
    loss = losses.SupConLoss(0.07, reducer=reducers.MeanReducer())
    return case(
        "InfoNCE",
        f"B={rows}, d={d}",
        "info_nce_loss",
        (x, y),
        lambda x, y: info_nce_loss(x, y),
        {"plain torch": plain_info_nce, PML: asked_twice(loss, None, torch.arange(rows))},
        slow=(PML,) if rows > 2000 else (),
    )


def sigmoid_pairs(rows: int, d: int = 256) -> Case:
    x, y, _ = embeddings(rows, d, 64)

    def plain(x: Tensor, y: Tensor) -> Tensor:
        z = 10 * F.normalize(x) @ F.normalize(y).T - 10
        sign = 2 * torch.eye(rows, dtype=x.dtype) - 1
        return -F.logsigmoid(sign * z).sum() / rows

    return case(
        "sigmoid pairs (SigLIP)",
        f"B={rows}, d={d}",
        "sigmoid_pair_loss",
        (x, y),
        lambda x, y: sigmoid_pair_loss(x, y),
        {"plain torch": plain},
        note="forward and backward, float32",
    )


def mil_nce(rows: int = 512, candidates: int = 4, d: int = 256) -> Case:
    x, y, _ = embeddings(rows, d, 64)
    generator = torch.Generator().manual_seed(1)
    y = (y[:, None] + torch.randn(rows, candidates, d, generator=generator)) / d**0.5

    def plain(x: Tensor, y: Tensor) -> Tensor:
        z = (x @ y.flatten(0, 1).T).unflatten(1, y.shape[:2])  # clip, owner, candidate
        own = torch.eye(rows, dtype=torch.bool)[:, :, None]
        column = z.masked_fill(own, -torch.inf).transpose(0, 1)
        both = torch.cat([z.flatten(1), column.flatten(1)], dim=1)
        return (both.logsumexp(dim=1) - z.diagonal().T.logsumexp(dim=1)).mean()

    return case(
        "MIL-NCE",
        f"B={rows}, K={candidates}, d={d}",
        "mil_nce_loss",
        (x, y),
        lambda x, y: mil_nce_loss(x, y),
        {"plain torch": plain},
        note="forward and backward, float32",
    )


def contrastive_pairs(rows: int = 512, d: int = 64, classes: int = 20) -> Case:
    x, y, labels = embeddings(rows, d, classes)
    x, y = x / d**0.5, y / d**0.5

    def plain(x: Tensor, y: Tensor) -> Tensor:
        distance = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        push = (1 - distance).clamp(min=0)
        return torch.where(labels[:, None] == labels, distance, push).square().sum() / (2 * rows)

    return case(
        "contrastive pairs (CCL)",
        f"B={rows}, d={d}, {classes} classes",
        "contrastive_pair_loss",
        (x, y),
        lambda x, y: contrastive_pair_loss(x, y, labels),
        {"plain torch": plain},
        note="forward and backward, float32",
    )


def info_nce_of_16384() -> None:
    x, y, _ = embeddings(16384, 128, 64)
    value_and_gradients(info_nce_loss, x.requires_grad_(), y.requires_grad_())


def batch_hard_of_16384() -> None:
    x, y, labels = embeddings(16384, 128, 512)
    value_and_gradients(
        lambda x, y: triplet_loss(x, y, labels, mining="hardest"),
        x.requires_grad_(),
        y.requires_grad_(),
    )


if __name__ == "__main__":
    large = "B=16384, d=128"
    one_matrix = f"forward and backward; one matrix of scores alone is {16384**2 * 4 / 1e6:.0f} MB"
    raise SystemExit(
        main(
            "losses_pairs",
            [
                batch_hard,
                semi_hard_one_positive,
                semi_hard,
                all_violating,
                *(lambda rows=rows: info_nce(rows) for rows in (64, 256, 1024, 4096)),
                *(lambda rows=rows: sigmoid_pairs(rows) for rows in (256, 1024, 4096)),
                mil_nce,
                contrastive_pairs,
                lambda: MemoryCase("InfoNCE, memory", large, info_nce_of_16384, 600, one_matrix),
                lambda: MemoryCase(
                    "triplets, batch hard, memory", large, batch_hard_of_16384, 600, one_matrix
                ),
            ],
            packages=PACKAGES,
        )
    )
