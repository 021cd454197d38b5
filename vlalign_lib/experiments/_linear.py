"""How one method of the experiment ``linear`` is chosen, fitted and tested."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.data import PairedDataset, load_digit_halves, load_glyphs, load_wikipedia
from vlalign_lib.experiments._experiment import OFFICIAL, Measurement
from vlalign_lib.experiments._record import Estimate, array_hash
from vlalign_lib.linear import CCA, CFA, KernelCCA, SemanticMatching, correlation
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
Estimator = CCA | CFA | KernelCCA | SemanticMatching
_DIRECTIONS = ("i2t", "t2i")


def measure_method(config: Mapping[str, Any], part: str) -> Measurement:
    """Return one method's numbers on one split: a seed's, or the official one."""
    seed = None if part == OFFICIAL else int(part)
    pairs = _load(config["data"], seed)
    train, val, test = (pairs.split(name) for name in ("train", "val", "test"))
    chosen, validation = _choose(config["method"], config["grid"], train, val)
    both = pairs.subset(np.sort(np.concatenate([pairs.splits["train"], pairs.splits["val"]])))
    estimator = _build(config["method"], chosen, seed or 0)
    estimator.fit(both.images, both.texts, both.labels)
    u, v = estimator.embed_images(test.images), estimator.embed_texts(test.texts)
    at_train = correlation(estimator.embed_images(both.images), estimator.embed_texts(both.texts))
    at_test = correlation(u, v)
    metrics = _scores(u, v, test.labels)
    metrics["correlation_train"] = float(at_train.mean())
    metrics["correlation_test"] = float(at_test.mean())
    return Measurement(
        metrics=metrics,
        data_hashes={
            "images": array_hash(pairs.images),
            "texts": array_hash(pairs.texts),
            "labels": array_hash(pairs.labels),
            "test": array_hash(pairs.splits["test"]),
        },
        estimates=_query_intervals(u, v, test.labels) if seed is None else {},
        details={
            "chosen": chosen,
            "validation_map": validation,
            "correlations_train": np.round(at_train, 6),
            "correlations_test": np.round(at_test, 6),
        },
    )


def _load(data: Mapping[str, Any], seed: int | None) -> PairedDataset:
    if data["name"] == "digits":
        return load_digit_halves(seed=seed)
    if data["name"] == "wikipedia":
        return load_wikipedia(seed=seed)
    return load_glyphs(
        data["split"], data["drop_family_word"], families_only=data["families_only"], seed=seed
    )


def _build(method: str, chosen: Mapping[str, Any], seed: int) -> Estimator:
    """Return the estimator with the chosen hyper-parameters, not fitted."""
    k = chosen.get("n_components")
    match method:
        case "cca" | "rcca":
            return CCA(k, chosen["reg"], random_state=seed)
        case "kcca":
            return KernelCCA(k, reg=chosen["reg"], random_state=seed)
        case "cfa":
            return CFA(k, random_state=seed)
        case "sm":
            return SemanticMatching(chosen["reg"], random_state=seed)
        case _:
            return SemanticMatching(chosen["reg"], on=CCA(k, chosen["cca_reg"]), random_state=seed)


def _choose(
    method: str, grid: Mapping[str, list[Any]], train: PairedDataset, val: PairedDataset
) -> tuple[dict[str, Any], float]:
    """Return the hyper-parameters with the best class mAP on validation, and that mAP.

    Of equal ones the first wins: fewer components, then the smaller ridge.
    """
    best: tuple[float, dict[str, Any]] | None = None
    for chosen, u, v in _candidates(method, grid, train, val):
        value = _mean_map(u, v, val.labels)
        if best is None or value > best[0]:
            best = (value, chosen)
    assert best is not None
    return best[1], best[0]


def _candidates(
    method: str, grid: Mapping[str, list[Any]], train: PairedDataset, val: PairedDataset
) -> Iterator[tuple[dict[str, Any], Matrix, Matrix]]:
    """Yield each point of the grid with the validation pairs embedded by it.

    The components of CCA, kernel CCA and CFA come in order and do not depend on how many are
    asked for: one fit with the most serves every smaller number.
    """
    if method == "sm":
        for reg in grid["reg"]:
            u, v = _embedded(SemanticMatching(reg), train, val)
            yield {"reg": reg}, u, v
        return
    most = min(train.images[0].size, train.texts.shape[1], len(train) - 1)
    sizes = [min(k, most) for k in grid["n_components"]]
    beneath = "cca" if method == "scm" else method
    regs = grid["cca_reg" if method == "scm" else "reg"] if method != "cfa" else [None]
    for reg in regs:
        point = {} if reg is None else {"reg": reg}
        fitted = _build(beneath, {"n_components": max(sizes), **point}, 0)
        with warnings.catch_warnings():
            # The grid may ask for more components than these data have.
            warnings.filterwarnings("ignore", "n_components=", UserWarning)
            u, v = _embedded(fitted, train, val)
        for k in sorted({min(k, u.shape[1]) for k in sizes}):
            if method != "scm":
                yield {"n_components": k, **point}, u[:, :k], v[:, :k]
                continue
            variates = fitted.embed_images(train.images), fitted.embed_texts(train.texts)
            for ridge in grid["reg"]:
                top = SemanticMatching(ridge)
                top.fit(variates[0][:, :k], variates[1][:, :k], train.labels)
                chosen = {"n_components": k, "cca_reg": reg, "reg": ridge}
                yield chosen, top.embed_images(u[:, :k]), top.embed_texts(v[:, :k])


def _embedded(
    estimator: Estimator, train: PairedDataset, val: PairedDataset
) -> tuple[Matrix, Matrix]:
    """Fit on the training pairs, and return the validation pairs' places in the space."""
    estimator.fit(train.images, train.texts, train.labels)
    return estimator.embed_images(val.images), estimator.embed_texts(val.texts)


def _mean_map(u: Matrix, v: Matrix, labels: NDArray[np.int64]) -> float:
    return (
        mean_average_precision(u, v, labels, labels) + mean_average_precision(v, u, labels, labels)
    ) / 2


def _standardised(u: Matrix) -> Matrix:
    """Return the embedding with each column at mean 0 and deviation 1 over these very rows."""
    spread = u.std(axis=0)
    return (u - u.mean(axis=0)) / np.where(spread > 0, spread, 1.0)


def _scores(u: Matrix, v: Matrix, labels: NDArray[np.int64]) -> dict[str, float]:
    """Return every metric of one pair of test embeddings."""
    protocols: dict[str, Callable[[Matrix, Matrix], float]] = {
        "map": lambda a, b: mean_average_precision(a, b, labels, labels),
        "map50_hits": lambda a, b: mean_average_precision(
            a, b, labels, labels, top_k=50, normalise="hits"
        ),
        "map_znorm": lambda a, b: mean_average_precision(
            _standardised(a), _standardised(b), labels, labels
        ),
        "medr": median_rank,
        "mrr": mean_reciprocal_rank,
    }
    metrics: dict[str, float] = {}
    for name, protocol in protocols.items():
        i2t, t2i = protocol(u, v), protocol(v, u)
        metrics |= {f"{name}_i2t": i2t, f"{name}_t2i": t2i, f"{name}_mean": (i2t + t2i) / 2}
    for direction, found in zip(_DIRECTIONS, (recall_at_k(u, v), recall_at_k(v, u)), strict=True):
        metrics |= {f"recall{k}_{direction}": value for k, value in found.items()}
    metrics["map_chance"] = chance_average_precision(labels, labels)
    return metrics


def _query_intervals(u: Matrix, v: Matrix, labels: NDArray[np.int64]) -> dict[str, Estimate]:
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
