"""The experiment of chapter 03: chosen on validation alone, fitted on both, tested once."""

import dataclasses
import itertools

import numpy as np
import pytest

from vlalign_lib.data import PairedDataset, load_digit_halves
from vlalign_lib.experiments import EXPERIMENTS, _retrieval, _scores, array_hash
from vlalign_lib.experiments.linear import DATASETS, METHODS
from vlalign_lib.linear import CCA, CFA, KernelCCA, SemanticMatching

EXPERIMENT = EXPERIMENTS["linear"]
SMALL = {
    "datasets": "digits",
    "components": "2,4",
    "cca_regs": "0.01,0.1",
    "bare_cca_regs": "0.0001",
    "kcca_regs": "0.1,1",
    "sm_regs": "0.01,0.1",
    "scm_components": "3,5",
    "scm_cca_regs": "0.1",
    "scm_regs": "0.01,0.1",
}


def linear_case(method, **settings):
    changes = {**SMALL, "methods": method, **settings}
    (case,) = EXPERIMENT.cases(EXPERIMENT.configured("cpu", changes))
    return case


def little_digits(seed):
    """A tenth of the digits, so that every point of a grid can be fitted the long way."""
    whole = load_digit_halves(seed=seed)
    parts = {name: rows[: len(rows) // 8] for name, rows in whole.splits.items()}
    rows = np.sort(np.concatenate([*parts.values()]))
    return whole.subset(rows)


@pytest.fixture
def little(monkeypatch):
    monkeypatch.setitem(_retrieval._LOADERS, "digits", lambda *, seed=None: little_digits(seed))


def slow_average_precision(scores, relevant):
    """By hand, for scores without ties."""
    found, total = 0, 0.0
    for place, j in enumerate(sorted(range(len(scores)), key=lambda j: -scores[j]), start=1):
        if relevant[j]:
            found += 1
            total += found / place
    return total / found


def slow_map(u, v, labels):
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    values = [slow_average_precision(v @ q, labels == c) for q, c in zip(u, labels, strict=True)]
    return sum(values) / len(values)


def slow_mean_map(u, v, labels):
    return (slow_map(u, v, labels) + slow_map(v, u, labels)) / 2


def points(method, grid):
    """Every estimator of the grid, each fitted by itself."""
    if method == "sm":
        for reg in grid["reg"]:
            yield {"reg": reg}, SemanticMatching(reg)
    elif method == "cfa":
        for k in grid["n_components"]:
            yield {"n_components": k}, CFA(k)
    elif method == "scm":
        for ridge, k, reg in itertools.product(
            *(grid[n] for n in ("cca_reg", "n_components", "reg"))
        ):
            chosen = {"n_components": k, "cca_reg": ridge, "reg": reg}
            yield chosen, SemanticMatching(reg, on=CCA(k, ridge))
    else:
        for reg, k in itertools.product(grid["reg"], grid["n_components"]):
            made = KernelCCA(k, reg=reg) if method == "kcca" else CCA(k, reg)
            yield {"n_components": k, "reg": reg}, made


@pytest.mark.parametrize("method", list(METHODS))
def test_the_whole_procedure_is_the_long_way_round(method, little):
    """Every point fitted by itself, scored with sorted lists; then the best one on both parts."""
    case = linear_case(method)
    found = EXPERIMENT.measure(case, "3")
    pairs = little_digits(3)
    train, val, test = (pairs.split(name) for name in ("train", "val", "test"))
    tried = []
    for chosen, estimator in points(method, case.config["grid"]):
        estimator.fit(train.images, train.texts, train.labels)
        u, v = estimator.embed_images(val.images), estimator.embed_texts(val.texts)
        tried.append((slow_mean_map(u, v, val.labels), chosen, estimator))
    best = max(tried, key=lambda one: one[0])
    assert found.details["chosen"] == best[1]
    assert found.details["validation"] == pytest.approx(best[0], rel=1e-6)
    images = np.concatenate([train.images, val.images])
    texts = np.concatenate([train.texts, val.texts])
    best[2].fit(images, texts, np.concatenate([train.labels, val.labels]))
    u, v = best[2].embed_images(test.images), best[2].embed_texts(test.texts)
    assert found.metrics["map_i2t"] == pytest.approx(slow_map(u, v, test.labels), rel=1e-6)
    assert found.metrics["map_t2i"] == pytest.approx(slow_map(v, u, test.labels), rel=1e-6)
    mean = (found.metrics["map_i2t"] + found.metrics["map_t2i"]) / 2
    assert found.metrics["map_mean"] == pytest.approx(mean, rel=1e-12)
    at_test = [np.corrcoef(u[:, j], v[:, j])[0, 1] for j in range(u.shape[1])]
    np.testing.assert_allclose(found.details["correlations_test"], at_test, atol=2e-6)
    assert found.metrics["correlation_test"] == pytest.approx(np.mean(at_test), rel=1e-6)


def test_the_test_part_has_no_say_in_the_choice(monkeypatch):
    """Other test pairs, labels and all: the same choice, other results."""
    pairs = little_digits(0)
    rng = np.random.default_rng(0)
    images, texts, labels = pairs.images.copy(), pairs.texts.copy(), pairs.labels.copy()
    rows = pairs.splits["test"]
    images[rows], texts[rows] = rng.random(images[rows].shape), rng.random(texts[rows].shape)
    labels[rows] = rng.permutation(labels[rows])
    other = dataclasses.replace(pairs, images=images, texts=texts, labels=labels)
    for method in METHODS:
        results = []
        for data in (pairs, other):
            monkeypatch.setitem(_retrieval._LOADERS, "digits", lambda data=data, **_: data)
            results.append(EXPERIMENT.measure(linear_case(method), "0"))
        for name in ("chosen", "validation"):
            assert results[0].details[name] == results[1].details[name]
        assert results[0].metrics["map_mean"] != results[1].metrics["map_mean"]
        np.testing.assert_array_equal(
            results[0].details["correlations_train"], results[1].details["correlations_train"]
        )


def test_a_draw_goes_to_the_first_point_of_the_grid(monkeypatch, little):
    monkeypatch.setattr(_retrieval, "mean_map", lambda u, v, labels: 0.5)
    chosen = EXPERIMENT.measure(linear_case("cca"), "0").details["chosen"]
    assert chosen == {"n_components": 2, "reg": 0.01}


def test_every_metric_is_what_its_name_says():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    u = rng.normal(size=(60, 4)) + np.eye(4)[labels]
    v = rng.normal(size=(60, 4)) + 5 * np.eye(4)[labels] + 3.0
    found = _scores.class_scores(u, v, labels)
    unit = [m / np.linalg.norm(m, axis=1, keepdims=True) for m in (u, v)]
    scores = unit[0] @ unit[1].T
    for direction, matrix in (("i2t", scores), ("t2i", scores.T)):
        ranks = np.array([1 + (row > row[i]).sum() for i, row in enumerate(matrix)])
        for k in (1, 5, 10):
            assert found[f"recall{k}_{direction}"] == pytest.approx((ranks <= k).mean())
        assert found[f"medr_{direction}"] == np.median(ranks)
        assert found[f"mrr_{direction}"] == pytest.approx((1 / ranks).mean())
        hits = []
        for i, row in enumerate(matrix):
            best = np.argsort(-row)[:50]
            relevant = labels[best] == labels[i]
            precision = np.cumsum(relevant) / np.arange(1, 51)
            hits.append((precision * relevant).sum() / relevant.sum())
        assert found[f"map50_hits_{direction}"] == pytest.approx(np.mean(hits))
    squared = ((u[:, None] - v) ** 2).sum(axis=2)
    for direction, matrix in (("i2t", squared), ("t2i", squared.T)):
        slow = [slow_average_precision(-row, labels == labels[i]) for i, row in enumerate(matrix)]
        assert found[f"map_l2_{direction}"] == pytest.approx(np.mean(slow))
    assert found["map_l2_i2t"] != pytest.approx(found["map_i2t"])
    page = []
    for i, row in enumerate(squared):
        relevant = labels[np.argsort(row)[:50]] == labels[i]
        precision = np.cumsum(relevant) / np.arange(1, 51)
        page.append((precision * relevant).sum() / relevant.sum())
    assert found["map50_l2_hits_i2t"] == pytest.approx(np.mean(page))
    z = [(m - m.mean(axis=0)) / m.std(axis=0) for m in (u, v)]
    assert found["map_znorm_i2t"] == pytest.approx(slow_map(z[0], z[1], labels))
    assert found["map_znorm_i2t"] != pytest.approx(found["map_i2t"])
    draws = [slow_average_precision(rng.random(60), labels == 0) for _ in range(3000)]
    assert found["map_chance"] == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / 3000**0.5)
    for name in (*_scores.PROTOCOLS, "medr", "mrr"):
        both = (found[f"{name}_i2t"] + found[f"{name}_t2i"]) / 2
        assert found[f"{name}_mean"] == pytest.approx(both)


def test_a_constant_coordinate_is_standardised_to_nothing():
    u = np.column_stack([np.arange(4.0), np.full(4, 7.0)])
    z = _scores._standardised(u)
    assert np.isfinite(z).all()
    assert (z[:, 1] == 0).all()


def test_query_intervals_draw_pairs_as_a_whole():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 4
    u = rng.normal(size=(80, 4)) + np.eye(4)[labels]
    v = rng.normal(size=(80, 4)) + np.eye(4)[labels]
    found = _scores.query_intervals(u, v, labels)
    scores = _scores.class_scores(u, v, labels)
    drawn = np.random.default_rng(0).integers(0, 80, size=(2000, 80))
    assert len(found) == 3 * len(_scores.PROTOCOLS)
    assert all(e.mean == pytest.approx(scores[name], rel=1e-12) for name, e in found.items())
    per_query = {
        "i2t": _scores.average_precisions(u, v, labels, labels),
        "t2i": _scores.average_precisions(v, u, labels, labels),
    }
    per_query["mean"] = (per_query["i2t"] + per_query["t2i"]) / 2
    for name, values in per_query.items():
        estimate = found[f"map_{name}"]
        low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.1 * (high - low))
        assert "bootstrap over 80 queries" in estimate.interval


def test_fewer_components_than_the_grid_lists_are_no_trouble(recwarn, monkeypatch):
    """Texts of rank 3: the grid's 5 and 20 become 3, without a warning."""
    rng = np.random.default_rng(0)
    labels = np.arange(160) % 3
    texts = np.eye(4)[labels][:, :3] + 0.1 * rng.random((160, 3))
    texts = np.column_stack([texts, texts.sum(axis=1)])
    images = rng.normal(size=(160, 6)) + texts @ rng.normal(size=(4, 6))
    splits = {"train": np.arange(80), "val": np.arange(80, 100), "test": np.arange(100, 160)}
    pairs = PairedDataset("toy", images, texts, labels, ("a", "b", "c"), splits=splits)
    monkeypatch.setitem(_retrieval._LOADERS, "digits", lambda **_: pairs)
    for method in ("cca", "bare_cca", "cfa", "scm"):
        case = linear_case(method, components="5,20", scm_components="5,20")
        assert EXPERIMENT.measure(case, "0").details["chosen"]["n_components"] == 3
    assert not [warning for warning in recwarn if "n_components" in str(warning.message)]


def test_hashes_are_of_the_arrays_that_were_read(little):
    pairs = little_digits(2)
    assert EXPERIMENT.measure(linear_case("cfa"), "2").data_hashes == {
        "images": array_hash(pairs.images),
        "texts": array_hash(pairs.texts),
        "labels": array_hash(pairs.labels),
        "test": array_hash(pairs.splits["test"]),
    }


def test_every_method_meets_every_data_set_and_wikipedia_has_its_official_split():
    cases = EXPERIMENT.cases(EXPERIMENT.settings("cpu"))
    assert [case.key for case in cases] == [f"{d}-{m}" for d in DATASETS for m in METHODS]
    for case in cases:
        official = ("official",) if case.dataset == "wikipedia" else ()
        assert case.parts(2) == (*official, "0", "1")
        assert case.config["data"]["name"] == case.dataset
    glyphs = next(case for case in cases if case.dataset == "glyphs").config["data"]
    assert glyphs == {
        "name": "glyphs",
        "split": "random",
        "drop_family_word": True,
        "families_only": True,
    }


def test_seeds_cut_the_data_anew_and_official_takes_the_published_cut(monkeypatch):
    asked = []

    def load(*, seed=None):
        asked.append(seed)
        return little_digits(seed)

    monkeypatch.setitem(_retrieval._LOADERS, "wikipedia", load)
    case = linear_case("cfa", datasets="wikipedia")
    official = EXPERIMENT.measure(case, "official")
    resplit = EXPERIMENT.measure(case, "4")
    assert asked == [None, 4]
    assert {"map_i2t", "map_t2i", "map_mean"} < set(official.estimates)
    assert resplit.estimates == {}
