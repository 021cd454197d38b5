"""Every number of a pair of test embeddings, by every protocol of the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.experiments._record import Estimate
from vlalign_lib.metrics import (
    average_precisions,
    bootstrap_interval,
    chance_average_precision,
    mean_average_precision,
    mean_reciprocal_rank,
    median_rank,
    recall_at_k,
)

Matrix = NDArray[np.float64]
_DIRECTIONS = ("i2t", "t2i")


def mean_map(u: Matrix, v: Matrix, labels: NDArray[np.int64]) -> float:
    return (
        mean_average_precision(u, v, labels, labels) + mean_average_precision(v, u, labels, labels)
    ) / 2


def _standardised(u: Matrix) -> Matrix:
    """Return the embedding with each column at mean 0 and deviation 1 over these very rows."""
    spread = u.std(axis=0)
    return (u - u.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def class_scores(u: Matrix, v: Matrix, labels: NDArray[np.int64]) -> dict[str, float]:
    """Return every metric of one pair of test embeddings with classes."""
    protocols: dict[str, Callable[[Matrix, Matrix], float]] = {
        "map": lambda a, b: mean_average_precision(a, b, labels, labels),
        "map50_hits": lambda a, b: mean_average_precision(
            a, b, labels, labels, top_k=50, normalise="hits"
        ),
        "map_znorm": lambda a, b: mean_average_precision(
            _standardised(a), _standardised(b), labels, labels
        ),
    }
    metrics = _both_ways(protocols, u, v)
    metrics |= partner_scores(u, v)
    metrics["map_chance"] = chance_average_precision(labels, labels)
    return metrics


def partner_scores(u: Matrix, v: Matrix) -> dict[str, float]:
    """Return how well the one partner is found, row i answering row i."""
    metrics = _both_ways({"medr": median_rank, "mrr": mean_reciprocal_rank}, u, v)
    for direction, found in zip(_DIRECTIONS, (recall_at_k(u, v), recall_at_k(v, u)), strict=True):
        metrics |= {f"recall{k}_{direction}": value for k, value in found.items()}
    return metrics


def _both_ways(
    protocols: dict[str, Callable[[Matrix, Matrix], float]], u: Matrix, v: Matrix
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, protocol in protocols.items():
        i2t, t2i = protocol(u, v), protocol(v, u)
        metrics |= {f"{name}_i2t": i2t, f"{name}_t2i": t2i, f"{name}_mean": (i2t + t2i) / 2}
    return metrics


def query_intervals(u: Matrix, v: Matrix, labels: NDArray[np.int64]) -> dict[str, Estimate]:
    """Return bootstrap intervals over the test pairs, of the class mAP by each protocol."""
    zu, zv = _standardised(u), _standardised(v)
    protocols: dict[str, tuple[Matrix, Matrix, dict[str, Any]]] = {
        "map": (u, v, {}),
        "map50_hits": (u, v, {"top_k": 50, "normalise": "hits"}),
        "map_znorm": (zu, zv, {}),
    }
    estimates = {}
    for protocol, (a, b, options) in protocols.items():
        i2t = np.asarray(average_precisions(a, b, labels, labels, **options))
        t2i = np.asarray(average_precisions(b, a, labels, labels, **options))
        # A pair is drawn as a whole: both its queries, or none.
        for name, values in (("i2t", i2t), ("t2i", t2i), ("mean", (i2t + t2i) / 2)):
            interval = bootstrap_interval(values, n_resamples=2000, seed=0)
            estimates[f"{protocol}_{name}"] = Estimate(
                float(values.mean()),
                float(interval.low),
                float(interval.high),
                len(values),
                f"percentile bootstrap over {len(values)} queries, 2000 resamples",
            )
    return estimates
