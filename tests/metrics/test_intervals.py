"""Bootstrap intervals: exact distributions, a peer, coverage, draws shared, bad input."""

from math import comb

import numpy as np
import pytest
from scipy.stats import bootstrap

from vlalign_lib.metrics import Interval, bootstrap_interval, report


def test_exact_distribution_of_two_kinds_of_value(agrees):
    # The mean of n resampled zeros and ones is binomial: its quantiles are known.
    n, ones = 40, 14
    values = np.array([1.0] * ones + [0.0] * (n - ones))
    share = ones / n
    mass = np.cumsum([comb(n, x) * share**x * (1 - share) ** (n - x) for x in range(n + 1)])
    low, high = np.searchsorted(mass, [0.05, 0.95]) / n
    got = bootstrap_interval(values, level=0.9, n_resamples=20_000)
    found = (got.estimate, got.low, got.high)
    agrees(
        "metrics.bootstrap_interval",
        found,
        (share, low, high),
        "closed form",
        "quantiles of the binomial",
        1e-12,
    )
    assert got.level == 0.9


def test_scipy_percentile_bootstrap(agrees):
    values = np.random.default_rng(0).exponential(size=150)
    for statistic, function in (("mean", np.mean), ("median", np.median)):
        got = bootstrap_interval(values, statistic=statistic, n_resamples=40_000)
        peer = bootstrap(
            (values,), function, n_resamples=40_000, method="percentile", rng=1
        ).confidence_interval
        width = peer.high - peer.low
        ours, theirs = (
            np.array([got.low, got.high]) / width,
            np.array([peer.low, peer.high]) / width,
        )
        agrees(
            "metrics.bootstrap_interval",
            ours,
            theirs,
            "peer",
            "SciPy's bootstrap, in widths",
            0.03,
            absolute=True,
        )


@pytest.mark.parametrize(("name", "function"), [("mean", np.mean), ("median", np.median)])
def test_named_statistics_are_the_functions(name, function):
    values = np.random.default_rng(1).standard_normal(61)
    named = bootstrap_interval(values, statistic=name, n_resamples=300, seed=5)
    own = bootstrap_interval(values, statistic=function, n_resamples=300, seed=5)
    assert (named.estimate, named.low, named.high) == pytest.approx(
        (own.estimate, own.low, own.high), rel=1e-12
    )


def test_draws_in_several_parts_are_whole_samples(monkeypatch):
    values = np.random.default_rng(2).standard_normal((64, 2))
    whole = report.resample(values, "mean", 500, 3)
    monkeypatch.setattr(report, "DRAWS_AT_ONCE", 64 * 7)
    parts = report.resample(values, "mean", 500, 3)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    assert whole.shape == (500, 2)


def test_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(4)
    covered = 0
    for trial in range(400):
        got = bootstrap_interval(rng.standard_normal(80), level=0.8, n_resamples=400, seed=trial)
        covered += got.low <= 0 <= got.high
    assert 0.8 - 4 * np.sqrt(0.16 / 400) < covered / 400 < 0.8 + 4 * np.sqrt(0.16 / 400)


def test_shift_scale_and_order():
    values = np.random.default_rng(5).standard_normal(50)
    before = bootstrap_interval(values)
    after = bootstrap_interval(7 - 2 * values)
    assert after.estimate == pytest.approx(7 - 2 * before.estimate, rel=1e-12)
    assert after.low == pytest.approx(7 - 2 * before.high, rel=1e-12)
    assert after.high == pytest.approx(7 - 2 * before.low, rel=1e-12)
    assert before.low < before.estimate < before.high
    assert before.half_width == pytest.approx((before.high - before.low) / 2)


def test_seed_decides():
    values = np.random.default_rng(6).standard_normal(50)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)


def test_global_randomness_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    bootstrap_interval([1.0, 2.0, 4.0])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_prints():
    interval = Interval(0.3123, 0.29, 0.3349)
    assert str(interval) == "0.312 [0.290, 0.335]"
    assert f"{interval:.1%}" == "31.2% [29.0%, 33.5%]"


def test_truth_values_count_as_numbers():
    assert bootstrap_interval([True, False, True, True]).estimate == 0.75


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0], {}, "at least 2 queries, got 1"),
        (np.ones((3, 2)), {}, r"values: expected \(n,\)"),
        (["a", "b"], {}, "values: expected"),
        ([1.0, np.nan], {}, "NaN or infinity"),
        ([1.0, 2.0], {"level": 95}, "level: expected a .* greater than 0 and less"),
        ([1.0, 2.0], {"n_resamples": 10}, "n_resamples: expected at least 100"),
        ([1.0, 2.0], {"statistic": "mode"}, "statistic: expected 'mean', 'median'"),
        ([1.0, 2.0], {"statistic": np.ones(2)}, "statistic: expected 'mean', 'median'"),
        ([1.0, 2.0], {"statistic": lambda sample: sample}, "statistic: expected one finite number"),
        ([1.0, 2.0], {"statistic": lambda sample: np.nan}, "statistic: expected one finite number"),
        ([1.0, 2.0], {"level": None}, "level: expected a .* greater than 0 and less"),
        (
            [1.0, 2.0],
            {"level": np.ones(2)},
            "level: expected a .* greater than 0 and less",
        ),
        ([1.0, 2.0], {"n_resamples": 200.0}, "n_resamples: .* a whole number"),
        ([1.0, 2.0], {"n_resamples": 10**9}, "n_resamples: .* at most 1,000,000"),
        ([1.0, 2.0], {"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ([1.0, 2.0], {"seed": "a"}, "seed: expected a whole number"),
        ([1.0, 2.0], {"seed": np.ones((2, 2))}, "seed: expected a whole number"),
        ([[1.0], [1.0, 2.0]], {}, "values: the rows make no array"),
    ],
)
def test_errors_teach(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **options)
