"""How one method of the experiment ``linear`` is chosen, fitted and tested."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vlalign_lib.data import PairedDataset, load_digit_halves, load_glyphs, load_wikipedia
from vlalign_lib.experiments._experiment import OFFICIAL, Measurement
from vlalign_lib.experiments._record import array_hash
from vlalign_lib.experiments._scores import Matrix, class_scores, mean_map, query_intervals
from vlalign_lib.linear import CCA, CFA, KernelCCA, SemanticMatching, correlation

Estimator = CCA | CFA | KernelCCA | SemanticMatching


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
    metrics = class_scores(u, v, test.labels)
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
        estimates=query_intervals(u, v, test.labels) if seed is None else {},
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
        value = mean_map(u, v, val.labels)
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
