"""Retrieval metrics beside pytorch-metric-learning, torch.topk, torch.sort and scikit-learn."""

from __future__ import annotations

import numpy as np
from _harness import Case, MemoryCase, Peer, main
from numpy.typing import NDArray

from vlalign_lib.metrics import (
    mean_average_precision,
    ranks,
    ranks_from_scores,
    recall_at_k,
)

PACKAGES = ("numpy", "torch", "numba", "scikit-learn", "pytorch-metric-learning")
CLASSES = 10


def embeddings(
    n: int, d: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Two views of n items around ten centres, so that the scores look like a trained space's."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, n)
    shared = rng.standard_normal((CLASSES, d))[labels] + rng.standard_normal((n, d))
    images, texts = (shared + rng.standard_normal((n, d)) for _ in range(2))
    return images.astype(np.float32), texts.astype(np.float32), labels


def average_precision_from_embeddings(n: int = 5000, d: int = 128) -> Case:
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    images, texts, labels = embeddings(n, d)
    q, g, t = map(torch.from_numpy, (images, texts, labels))
    calculator = AccuracyCalculator(
        include=("mean_average_precision",),
        k=n,
        device=torch.device("cpu"),
        knn_func=CustomKNN(CosineSimilarity()),
    )

    def pytorch_metric_learning() -> float:
        found = calculator.get_accuracy(q, t, reference=g, reference_labels=t)
        return float(found["mean_average_precision"])

    def full_sort() -> float:
        scores = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(g).T
        relevant = t[scores.argsort(dim=1, descending=True)] == t[:, None]
        hits = relevant.cumsum(dim=1)
        precision = hits / torch.arange(1, n + 1)
        return float(((precision * relevant).sum(dim=1) / hits[:, -1]).mean())

    def scikit_learn() -> float:
        from sklearn.metrics import label_ranking_average_precision_score

        scores = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(g).T
        return float(
            label_ranking_average_precision_score(labels[:, None] == labels, scores.numpy())
        )

    return Case(
        operation="mAP",
        size=f"{n}×{n}, d={d}, {CLASSES} classes",
        ours=lambda: mean_average_precision(images, texts, labels, labels),
        peers={
            "pytorch-metric-learning": Peer(pytorch_metric_learning),
            "torch.argsort of everything": Peer(full_sort),
            "scikit-learn, label ranking": Peer(scikit_learn, rounds=3),
        },
        difference=lambda a, b: abs(a - b),
        tolerance=2e-6,
        goal=12.0,
        note="float32 embeddings in, cosine; product included",
    )


def ranks_given_scores(n: int, goal: float | None, rounds: int) -> Case:
    import torch

    images, texts, _ = (torch.as_tensor(each) for each in embeddings(n, 64))
    tensor = torch.nn.functional.normalize(images) @ torch.nn.functional.normalize(texts).T
    scores = tensor.numpy()
    answer = torch.arange(n)[:, None]

    def topk() -> float:
        return float((tensor.topk(10, dim=1).indices == answer).any(dim=1).float().mean())

    return Case(
        operation="ranks, scores given",
        size=f"{n}×{n}",
        ours=lambda: float((ranks_from_scores(scores) <= 10).mean()),
        peers={
            "torch.topk, ten best": Peer(
                topk, rounds=min(rounds, 5), note="gives recall at ten only; ours every rank"
            ),
            "numpy.max, one pass": Peer(
                scores.max, compared=False, note="how fast memory can be read at all"
            ),
        },
        difference=lambda a, b: abs(a - b),
        tolerance=1e-6,
        goal=goal,
        rounds=rounds,
        work=(scores.nbytes / 1e9, "GB"),
        note="cosines of two embedded views, float32; recall at ten compared",
    )


def ranks_from_embeddings(n: int = 5000, d: int = 128) -> Case:
    import torch

    images, texts, _ = embeddings(n, d)
    q, g = torch.from_numpy(images), torch.from_numpy(texts)
    answer = torch.arange(n)[:, None]

    def topk() -> float:
        scores = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(g).T
        return float((scores.topk(10, dim=1).indices == answer).any(dim=1).float().mean())

    return Case(
        operation="recall at ten",
        size=f"{n}×{n}, d={d}",
        ours=lambda: recall_at_k(images, texts, 10)[10],
        peers={"torch.topk, ten best": Peer(topk)},
        difference=lambda a, b: abs(a - b),
        tolerance=2 / n,
        note="float32 embeddings in, cosine; the product, the same for both, takes most of it",
    )


def average_precision_of_20000() -> None:
    images, texts, labels = embeddings(20_000, 512)
    mean_average_precision(images, texts, labels, labels)


def ranks_of_20000() -> None:
    images, texts, _ = embeddings(20_000, 512)
    ranks(images, texts, similarity="euclidean")  # in float64: the most that ranks need


if __name__ == "__main__":
    size = "20000×20000, d=512"
    raise SystemExit(
        main(
            "metrics",
            [
                average_precision_from_embeddings,
                lambda: ranks_given_scores(5_000, goal=10.0, rounds=9),
                lambda: ranks_given_scores(20_000, goal=None, rounds=3),
                ranks_from_embeddings,
                lambda: MemoryCase("mAP, memory", size, average_precision_of_20000, 2000),
                lambda: MemoryCase("ranks, memory", size, ranks_of_20000, 2000),
            ],
            packages=PACKAGES,
        )
    )
