"""How one method of the experiment ``retrieval`` is chosen, fitted and tested."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from vlalign_lib.data import (
    PairedDataset,
    load_digit_halves,
    load_glyphs,
    load_nus_wide_10k,
    load_pascal_sentences,
    load_wikipedia,
    load_wikipedia_deep,
)
from vlalign_lib.experiments._experiment import OFFICIAL, Measurement
from vlalign_lib.experiments._grid import at_edge
from vlalign_lib.experiments._phrases import ANSWERS, PHRASES
from vlalign_lib.experiments._record import array_hash
from vlalign_lib.experiments._scores import (
    VOTES,
    Matrix,
    class_maps,
    class_scores,
    mean_map,
    partner_scores,
    query_intervals,
)
from vlalign_lib.linear import CCA, CFA, KernelCCA, SemanticMatching
from vlalign_lib.methods import METHODS, SCM
from vlalign_lib.metrics import nearest

Embed = Callable[[Any, Any, Any], tuple[Matrix, Matrix]]
_LOADERS = {
    "digits": load_digit_halves,
    "wikipedia": load_wikipedia,
    "pascal_sentences": load_pascal_sentences,
    "nus_wide_10k": load_nus_wide_10k,
    "wikipedia_deep": load_wikipedia_deep,
}
# Their components come in order and do not depend on how many are asked for: one fit with the
# most serves every smaller number.
_ORDERED = (CCA, CFA, KernelCCA)


def _embedded(method: Any, images: Any, texts: Any) -> tuple[Matrix, Matrix]:
    return method.embed_images(images), method.embed_texts(texts)


def measure_method(
    config: Mapping[str, Any], part: str, prototype: Any = None, embed: Embed = _embedded
) -> Measurement:
    """Return one method's numbers on one split: a seed's, or the official one.

    ``prototype`` is an estimator that is cloned for every fit, None for the method that the
    configuration names; ``embed`` is how a fitted one is asked for the places of the test pairs.
    """
    pairs, _, method, details = fit_part(config, part, prototype)
    if config["task"] == "names" and config["data"].get("split") == "random" and part == "0":
        details["answers"] = _answers(method, pairs.split("test"))
    galleries = ("serif", "mono") if config["data"].get("split") == "typeface" else ("test",)
    metrics: dict[str, float] = {}
    estimates = {}
    for name in galleries:
        test = pairs.split(name)
        u, v = embed(method, test.images, test.texts)
        if config["task"] == "classes":
            found = class_scores(u, v, test.labels)
            estimates = query_intervals(u, v, test.labels) if part == OFFICIAL else {}
            if config["method"] == "jrl":
                method.set_params(space="votes")
                u, v = embed(method, test.images, test.texts)
                found |= class_maps(u, v, test.labels, VOTES)
                if part == OFFICIAL:
                    estimates |= query_intervals(u, v, test.labels, VOTES)
        else:
            found = partner_scores(u, v)
        metrics |= {k: metrics.get(k, 0.0) + value / len(galleries) for k, value in found.items()}
        if len(galleries) > 1:
            metrics |= {f"{k}_{name}": value for k, value in found.items()}
    return Measurement(
        metrics=metrics,
        data_hashes=data_hashes(pairs),
        estimates=estimates,
        details=details,
    )


def data_hashes(pairs: PairedDataset) -> dict[str, str]:
    """Return the digests of what was read, and of which rows were tested."""
    return {
        "images": array_hash(pairs.images),
        "texts": array_hash(pairs.texts),
        "labels": array_hash(pairs.labels),
        "test": array_hash(pairs.splits["test"]),
    }


def fit_part(
    config: Mapping[str, Any], part: str, prototype: Any = None
) -> tuple[PairedDataset, PairedDataset, Any, dict[str, Any]]:
    """Choose on one split's validation pairs, and fit to these and the training pairs.

    Returns all pairs, those that were learned from, the fitted method, and what was chosen.
    """
    if prototype is None:
        prototype = METHODS[config["method"]]()
    pairs = _load(config["data"], _seed(part))
    train, val = pairs.split("train"), pairs.split("val")
    chosen, on_validation = _choose(config, prototype, train, val, _seed(part) or 0)
    both, method = _fit_both(config, prototype, chosen, part, pairs)
    details: dict[str, Any] = {"chosen": chosen}
    if on_validation is not None:
        details["validation"] = on_validation
        details["at_edge"] = at_edge(config["grid"], chosen)
    curve = getattr(method, "loss_curve_", ())
    if curve:
        details["loss"] = [round(float(value), 5) for value in (curve[0], curve[-1])]
    return pairs, both, method, details


def fit_chosen(config: Mapping[str, Any], chosen: Mapping[str, Any], part: str) -> Any:
    """Return the method that a configuration names, fitted as it was for one part."""
    pairs = _load(config["data"], _seed(part))
    return _fit_both(config, METHODS[config["method"]](), chosen, part, pairs)[1]


def _fit_both(
    config: Mapping[str, Any],
    prototype: Any,
    chosen: Mapping[str, Any],
    part: str,
    pairs: PairedDataset,
) -> tuple[PairedDataset, Any]:
    """Return the training and validation pairs, and a copy of ``prototype`` fitted to them."""
    both = pairs.subset(np.sort(np.concatenate([pairs.splits["train"], pairs.splits["val"]])))
    return both, _fitted(config, prototype, chosen, _seed(part) or 0, both)


def _seed(part: str) -> int | None:
    return None if part == OFFICIAL else int(part)


def _answers(method: Any, gallery: PairedDataset) -> dict[str, list[str]]:
    """Return, for each phrase, the names (``ids``) of the pairs whose pictures answer it."""
    asked = method.embed_texts(gallery.encode_captions(PHRASES))
    found = nearest(asked, method.embed_images(gallery.images), ANSWERS)
    return {
        phrase: [gallery.ids[row] for row in rows]
        for phrase, rows in zip(PHRASES, found, strict=True)
    }


def _load(data: Mapping[str, Any], seed: int | None) -> PairedDataset:
    if data["name"] == "glyphs":
        return load_glyphs(
            data["split"], data["drop_family_word"], families_only=data["families_only"], seed=seed
        )
    return _LOADERS[data["name"]](seed=seed)


def _fitted(
    config: Mapping[str, Any],
    prototype: Any,
    chosen: Mapping[str, Any],
    seed: int,
    pairs: PairedDataset,
) -> Any:
    """Return a copy of ``prototype`` with the chosen hyper-parameters, fitted to ``pairs``."""
    from sklearn.base import clone

    parameters = {**config["fixed"], **chosen, "random_state": seed}
    method = clone(prototype)
    known = method.get_params()
    if "hidden" in parameters:
        parameters["hidden"] = tuple(parameters["hidden"])
    if "random_state" not in known:
        del parameters["random_state"]
    method.set_params(**parameters)
    with warnings.catch_warnings():
        # A grid may ask for more components than these data have.
        warnings.filterwarnings("ignore", "n_components=", UserWarning)
        return method.fit(pairs.images, pairs.texts, pairs.labels)


def _choose(
    config: Mapping[str, Any],
    prototype: Any,
    train: PairedDataset,
    val: PairedDataset,
    seed: int,
) -> tuple[dict[str, Any], float | None]:
    """Return the hyper-parameters that do best on validation, and how well they do.

    Of equal ones the first wins. A grid of one point needs no choice.
    """
    grid = config["grid"]
    if all(len(values) == 1 for values in grid.values()):
        return {name: values[0] for name, values in grid.items()}, None
    best: tuple[float, dict[str, Any]] | None = None
    for chosen, u, v in _candidates(config, prototype, train, val, seed):
        if config["task"] == "classes":
            value = mean_map(u, v, val.labels)
        else:
            value = partner_scores(u, v)["mrr_mean"]
        if best is None or value > best[0]:
            best = (value, chosen)
    assert best is not None
    return best[1], best[0]


def _candidates(
    config: Mapping[str, Any],
    prototype: Any,
    train: PairedDataset,
    val: PairedDataset,
    seed: int,
) -> Iterator[tuple[dict[str, Any], Matrix, Matrix]]:
    """Yield each point of the grid with the validation pairs embedded by it."""
    grid = dict(config["grid"])
    if type(prototype) is SCM and {*grid} == {"n_components", "cca_reg", "reg"}:
        yield from _matched_variates(grid, train, val)
        return
    ordered = type(prototype) in _ORDERED
    sizes = grid.pop("n_components", None) if ordered else None
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        most = {} if sizes is None else {"n_components": max(sizes)}
        method = _fitted(config, prototype, {**point, **most}, seed, train)
        u, v = method.embed_images(val.images), method.embed_texts(val.texts)
        if sizes is None:
            yield point, u, v
            continue
        for k in sorted({min(k, u.shape[1]) for k in sizes}):
            yield {"n_components": k, **point}, u[:, :k], v[:, :k]


def _matched_variates(
    grid: Mapping[str, Any], train: PairedDataset, val: PairedDataset
) -> Iterator[tuple[dict[str, Any], Matrix, Matrix]]:
    """Yield each point of SCM's grid: one CCA a ridge serves every number of variates."""
    for cca_reg in grid["cca_reg"]:
        point = {"n_components": max(grid["n_components"]), "reg": cca_reg}
        beneath = _fitted({"fixed": {}}, CCA(), point, 0, train)
        a, b = beneath.embed_images(train.images), beneath.embed_texts(train.texts)
        u, v = beneath.embed_images(val.images), beneath.embed_texts(val.texts)
        for k in sorted({min(k, u.shape[1]) for k in grid["n_components"]}):
            for reg in grid["reg"]:
                top = SemanticMatching(reg).fit(a[:, :k], b[:, :k], train.labels)
                chosen = {"n_components": k, "cca_reg": cca_reg, "reg": reg}
                yield chosen, top.embed_images(u[:, :k]), top.embed_texts(v[:, :k])
