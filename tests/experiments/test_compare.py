"""Every method against every other: differences, p values and their correction."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from vlalign_lib.data import DataUnavailable
from vlalign_lib.experiments import (
    Estimate,
    Record,
    _retrieval,
    compare_methods,
    holm,
    paired_difference,
)
from vlalign_lib.experiments._compare import PAIRS
from vlalign_lib.experiments.retrieval import DATASETS

SEEDS = tuple(range(6))


def record(method, values, **changes):
    values = tuple(float(value) for value in values)
    return dataclasses.replace(
        Record.example(),
        method=method,
        key=f"example-{method}",
        seeds=SEEDS[: len(values)],
        data_hashes={str(seed): {"test": str(seed) * 64} for seed in SEEDS},
        per_seed={"map_mean": values},
        metrics={"map_mean": Estimate.from_values(values)},
        **changes,
    )


def invented(k, n=6, seed=0):
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=n)
    return [
        record(f"m{i}", 0.4 + 0.02 * i + 0.05 * shared + 0.01 * rng.normal(size=n))
        for i in range(k)
    ]


def test_it_is_the_paired_t_test_of_scipy(agrees):
    records = invented(4)
    found = compare_methods(records, test_to_train=0)
    assert [(c.first, c.second) for c in found] == list(
        itertools.combinations(["m0", "m1", "m2", "m3"], 2)
    )
    for one, (a, b) in zip(found, itertools.combinations(records, 2), strict=True):
        peer = stats.ttest_rel(a.per_seed["map_mean"], b.per_seed["map_mean"])
        agrees(
            "experiments.compare_methods",
            one.p_value,
            peer.pvalue,
            "peer",
            "SciPy's ttest_rel, p value",
            1e-9,
        )
        ends = peer.confidence_interval()
        ours = (one.difference.low, one.difference.high)
        agrees(
            "experiments.paired_difference",
            ours,
            tuple(ends),
            "peer",
            "SciPy's ttest_rel, interval",
            1e-9,
        )
        assert one.difference == paired_difference(a, b, "map_mean")
    assert holm([c.p_value for c in found]) == [c.adjusted for c in found]


def test_overlapping_splits_widen_by_the_factor_of_nadeau_and_bengio(agrees):
    records = invented(2)
    (plain,) = compare_methods(records, test_to_train=0)
    (wide,) = compare_methods(records, test_to_train=0.8)
    assert wide.difference.mean == plain.difference.mean
    factor = math.sqrt((1 / 6 + 0.8) / (1 / 6))
    widened = factor * plain.difference.half_width
    agrees(
        "experiments.paired_difference",
        wide.difference.half_width,
        widened,
        "closed form",
        "the factor of Nadeau and Bengio",
        1e-12,
    )
    differences = np.subtract(*(r.per_seed["map_mean"] for r in records))
    t = differences.mean() / (differences.std(ddof=1) * math.sqrt(1 / 6 + 0.8))
    p = 2 * stats.t.sf(abs(t), 5)
    agrees(
        "experiments.compare_methods",
        wide.p_value,
        p,
        "derivation",
        "t by its formula, the tail by SciPy",
        1e-9,
    )
    assert "r = 0.8" in wide.difference.interval
    assert "r =" not in plain.difference.interval


def test_which_question_is_asked_is_said_and_by_default_it_is_about_other_data():
    records = [dataclasses.replace(one, dataset="digits") for one in invented(2)]
    (by_default,) = compare_methods(records)
    assert by_default == compare_methods(records, test_to_train=797 / 1000)[0]
    assert "other data like these? (r = 0.797" in by_default.question
    (on_these,) = compare_methods(records, test_to_train=0)
    assert "all splits of these very data? (r = 0)" in on_these.question
    assert on_these.p_value < by_default.p_value
    with pytest.raises(ValueError, match="the split of 'example' is not known here"):
        compare_methods(invented(2))


@pytest.mark.parametrize("dataset", PAIRS)
def test_the_ratio_is_that_of_the_split(dataset):
    try:
        pairs = _retrieval._load(DATASETS[dataset].config, 0)
    except DataUnavailable:
        pytest.skip(f"{dataset} is not at hand")
    sizes = {name: len(rows) for name, rows in pairs.splits.items()}
    assert PAIRS[dataset] == (sizes["train"] + sizes["val"], sizes["test"])


def slow_holm(p):
    """By its definition: reject step by step; the adjusted p is the level at which that starts."""
    m = len(p)
    order = sorted(range(m), key=lambda i: p[i])
    adjusted = [0.0] * m
    for place, i in enumerate(order):
        steps = [min(1.0, (m - j) * p[order[j]]) for j in range(place + 1)]
        adjusted[i] = max(steps)
    return adjusted


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_its_definition(seed, agrees):
    p = np.random.default_rng(seed).beta(0.3, 2, size=20).round(2)
    agrees(
        "experiments.holm",
        holm(p),
        slow_holm(list(p)),
        "loop",
        "its definition, step by step",
        1e-15,
    )


def test_holm_by_hand_keeps_the_order_it_was_given():
    assert holm([0.04, 0.001, 0.03]) == pytest.approx([0.06, 0.003, 0.06])
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_few_nothings_are_decided():
    """Methods that are equal: some pair is called decided in about 5 % of the worlds at most."""
    rng = np.random.default_rng(0)
    wrong = naive = 0
    for _ in range(300):
        values = rng.normal(size=(5, 6))
        found = compare_methods(
            [record(f"m{i}", row) for i, row in enumerate(values)], test_to_train=0
        )
        wrong += any(c.decided for c in found)
        naive += any(c.p_value <= 0.05 for c in found)
    assert wrong / 300 < 0.09
    assert naive / 300 > 0.15  # without the correction it is a habit


def test_equal_methods_and_constant_differences():
    r = {"test_to_train": 0}
    same = compare_methods([record("a", [0.1, 0.2, 0.3]), record("b", [0.1, 0.2, 0.3])], **r)
    assert (same[0].p_value, same[0].decided) == (1.0, False)
    ahead = compare_methods([record("a", [0.5, 0.75, 1.0]), record("b", [0.25, 0.5, 0.75])], **r)
    assert (ahead[0].p_value, ahead[0].decided) == (0.0, True)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "needs two methods or more"),
        ([record("a", [1, 2])], "needs two methods or more"),
        ([record("a", [1, 2]), record("a", [1, 2])], "a stands there twice"),
        ([record("a", [1, 2]), record("b", [1, 2], dataset="x")], "within one data set"),
        ([record("a", [1]), record("b", [2])], "one common seed has no spread"),
    ],
)
def test_what_cannot_be_compared(records, message):
    with pytest.raises(ValueError, match=message):
        compare_methods(records, test_to_train=0)


@pytest.mark.parametrize("ratio", [-0.1, math.nan, math.inf])
def test_a_ratio_of_no_sense(ratio):
    with pytest.raises(ValueError, match="test_to_train: expected a number of at least 0"):
        compare_methods(invented(2), test_to_train=ratio)


def test_a_metric_that_is_not_there():
    with pytest.raises(ValueError, match="no metric 'recall'"):
        compare_methods(invented(2), "recall", test_to_train=0)


@pytest.mark.parametrize("p", [[], [0.1, 1.1], [-0.1], [float("nan")], [[0.1]]])
def test_holm_refuses_what_is_no_p_value(p):
    with pytest.raises(ValueError, match="p_values: expected numbers from 0 to 1"):
        holm(p)
