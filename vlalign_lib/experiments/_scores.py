"""Every number of a pair of test embeddings, by every protocol of the tables."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
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
_FIRST_PAGE: Mapping[str, Any] = {"top_k": 50, "normalise": "hits"}
_ZNORM = "map_znorm"
Protocols = Mapping[str, Mapping[str, Any]]
PROTOCOLS: Protocols = MappingProxyType(
    {
        "map": {},
        "map_l2": {"similarity": "euclidean"},
        "map50_hits": _FIRST_PAGE,
        "map50_l2_hits": {"similarity": "euclidean", **_FIRST_PAGE},
        _ZNORM: {},
    }
)
"""``{name: options of average_precisions}``; ``map_znorm`` standardises the embeddings first."""

VOTES: Protocols = MappingProxyType({"map_votes": {"similarity": "dot"}})
"""JRL's published similarity: how probably both rows are of one class, by their neighbours."""


def mean_map(u: Matrix, v: Matrix, labels: NDArray[np.int64]) -> float:
    return (
        mean_average_precision(u, v, labels, labels) + mean_average_precision(v, u, labels, labels)
    ) / 2


def _standardised(u: Matrix) -> Matrix:
    """Return the embedding with each column at mean 0 and deviation 1 over these very rows."""
    spread = u.std(axis=0)
    return (u - u.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def query_precisions(
    u: Matrix, v: Matrix, labels: NDArray[np.int64], protocol: str, options: Mapping[str, Any]
) -> dict[str, NDArray[np.float64]]:
    """Return the average precision of every query by one protocol, in both directions."""
    if protocol == _ZNORM:
        u, v = _standardised(u), _standardised(v)
    ways = ((u, v), (v, u))
    return {
        name: np.asarray(average_precisions(a, b, labels, labels, **options))
        for name, (a, b) in zip(_DIRECTIONS, ways, strict=True)
    }


def class_maps(
    u: Matrix, v: Matrix, labels: NDArray[np.int64], protocols: Protocols = PROTOCOLS
) -> dict[str, float]:
    """Return the class mAP by each protocol, in both directions and their mean."""
    metrics: dict[str, float] = {}
    for protocol, options in protocols.items():
        found = query_precisions(u, v, labels, protocol, options)
        metrics |= _with_mean(protocol, {name: float(ap.mean()) for name, ap in found.items()})
    return metrics


def class_scores(u: Matrix, v: Matrix, labels: NDArray[np.int64]) -> dict[str, float]:
    """Return every metric of one pair of test embeddings with classes."""
    metrics = class_maps(u, v, labels) | partner_scores(u, v)
    metrics["map_chance"] = chance_average_precision(labels, labels)
    return metrics


def partner_scores(u: Matrix, v: Matrix) -> dict[str, float]:
    """Return how well the one partner is found, row i answering row i."""
    metrics: dict[str, float] = {}
    for name, metric in (("medr", median_rank), ("mrr", mean_reciprocal_rank)):
        metrics |= _with_mean(name, {"i2t": metric(u, v), "t2i": metric(v, u)})
    for direction, found in zip(_DIRECTIONS, (recall_at_k(u, v), recall_at_k(v, u)), strict=True):
        metrics |= {f"recall{k}_{direction}": value for k, value in found.items()}
    return metrics


def _with_mean(name: str, ways: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics of both directions under their names, and their mean."""
    named = {f"{name}_{direction}": value for direction, value in ways.items()}
    return named | {f"{name}_mean": sum(ways.values()) / len(ways)}


def query_intervals(
    u: Matrix, v: Matrix, labels: NDArray[np.int64], protocols: Protocols = PROTOCOLS
) -> dict[str, Estimate]:
    """Return bootstrap intervals over the test pairs, of the class mAP by each protocol."""
    estimates = {}
    for protocol, options in protocols.items():
        found = query_precisions(u, v, labels, protocol, options)
        # A pair is drawn as a whole: both its queries, or none.
        for name, values in {**found, "mean": (found["i2t"] + found["t2i"]) / 2}.items():
            interval = bootstrap_interval(values, n_resamples=2000, seed=0)
            estimates[f"{protocol}_{name}"] = Estimate(
                float(values.mean()),
                float(interval.low),
                float(interval.high),
                len(values),
                f"percentile bootstrap over {len(values)} queries, 2000 resamples",
            )
    return estimates


_MORE = (
    "{}: where an item is put depends on more than the item: on the order, on which others are "
    "embedded with it, or on what was embedded before. Learn in fit whatever an embedding needs, "
    "and keep nothing while embedding"
)


def embed_independently(
    method: Any, images: NDArray[Any], texts: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both views' places, made so that nothing but an item itself can decide its own.

    Row i answers row i, so that whoever remembers the other view, or merely counts rows, would
    find every partner. Each view is therefore embedded by a copy of its own, texts first, and in
    an order of its own; and again afterwards, in another order and two parts, which has to give
    the same.

    Raises:
        ValueError: it does not give the same, or not a row of finite numbers for each item.
    """
    rng = np.random.default_rng(0)
    views = {"embed_texts": texts, "embed_images": images}
    found = {part: _places(_copied(method), part, rows, rng, 1) for part, rows in views.items()}
    later = _copied(method)
    for part in ("embed_images", "embed_texts", "embed_images"):
        places, again = found[part], _places(later, part, views[part], rng, 2)
        near = 1e-3 * float(np.abs(places).max(initial=0.0))
        if again.shape != places.shape or not np.allclose(again, places, rtol=1e-3, atol=near):
            raise ValueError(_MORE.format(part))
    return found["embed_images"], found["embed_texts"]


def _places(
    method: Any, part: str, rows: NDArray[Any], rng: np.random.Generator, parts: int
) -> NDArray[np.float64]:
    """Return the places of rows that are shown in a random order, and in so many parts."""
    order = rng.permutation(len(rows))
    shown = [
        np.asarray(getattr(method, part)(rows[some]), dtype=np.float64)
        for some in np.split(order, [2 * len(rows) // 3] if parts == 2 else [])
    ]
    for some in shown:
        if some.ndim != 2 or not np.isfinite(some).all():
            raise ValueError(
                f"{part}: expected a row of finite numbers for each item, got shape {some.shape}"
            )
    if parts == 1 and len(shown[0]) != len(rows):
        raise ValueError(f"{part}: got {len(shown[0])} rows for {len(rows)} items")
    if len({some.shape[1] for some in shown}) > 1 or sum(map(len, shown)) != len(rows):
        raise ValueError(_MORE.format(part))
    places = np.concatenate(shown)
    back = np.empty_like(places)
    back[order] = places
    return back


def _copied(method: Any) -> Any:
    """Return a copy that shares nothing with the method, or the method where it has none."""
    try:
        return copy.deepcopy(method)
    except Exception:  # what holds a handle or a lock: then the orders alone have to do
        return method
