import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.linear import canonical_correlations, correlation


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 20), k=st.integers(1, 4))
def test_correlation_by_loops(seed, n, k, agrees):
    rng = np.random.default_rng(seed)
    u, v = rng.normal(size=(n, k)), rng.normal(size=(n, k)) + 1e3
    for j, found in enumerate(correlation(u, v)):
        a = [value - sum(u[:, j]) / n for value in u[:, j]]
        b = [value - sum(v[:, j]) / n for value in v[:, j]]
        top = sum(x * y for x, y in zip(a, b, strict=True))
        bottom = (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
        agrees("linear.correlation", found, top / bottom, "loop", "the definition, in loops", 1e-10)


def test_correlation_knows_its_limits():
    rng = np.random.default_rng(0)
    u = rng.normal(size=(20, 3))
    np.testing.assert_array_equal(correlation(u, 2 * u + 7) > 1 - 1e-12, True)
    np.testing.assert_allclose(correlation(u, -u), -1, atol=1e-12)
    u[:, 1] = 0.1  # constant, though 0.1 is not exact in binary
    np.testing.assert_array_equal(correlation(u, rng.normal(size=(20, 3)))[1], 0)
    assert correlation(u.astype(np.float32), u).dtype == np.float64
    assert (np.abs(correlation(u, u)) <= 1).all()


@pytest.mark.parametrize(
    ("u", "v", "message"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), "u has 3 rows and v has 4"),
        (np.ones((3, 2)), np.ones((3, 1)), "use canonical_correlations"),
        (np.ones((1, 2)), np.ones((1, 2)), "at least 2 rows"),
        (np.array([[np.nan], [1.0]]), np.ones((2, 1)), "NaN or infinity"),
        (np.ones(3), np.ones(3), r"expected \(n, d\)"),
    ],
)
def test_correlation_explains_bad_input(u, v, message):
    with pytest.raises(ValueError, match=message):
        correlation(u, v)


def test_canonical_correlations_by_orthonormal_bases(paired_views, agrees):
    """Björck and Golub: the singular values of Q_xᵀQ_y, with Q from the QR of each view."""
    x, y = paired_views(60, 7, 5)
    qx, _ = np.linalg.qr(x - x.mean(axis=0))
    qy, _ = np.linalg.qr(y - y.mean(axis=0))
    expected = np.linalg.svd(qx.T @ qy, compute_uv=False)
    found = canonical_correlations(x, y)
    agrees(
        "linear.canonical_correlations", found, expected, "derivation", "orthonormal bases", 1e-10
    )


def test_canonical_correlations_are_given_back_at_any_rank(exact_views, agrees):
    x, y = exact_views([0.9, 0.5, 0.1], n=50, p=4, q=3)
    found = canonical_correlations(x, y)
    agrees(
        "linear.canonical_correlations",
        found,
        [0.9, 0.5, 0.1],
        "closed form",
        "given correlations",
        1e-12,
    )
    repeated = canonical_correlations(np.hstack([x, x]), y)
    np.testing.assert_allclose(repeated, [0.9, 0.5, 0.1], atol=1e-8)


def test_a_ridge_lowers_every_correlation(paired_views):
    x, y = paired_views(40, 30, 50)
    ladder = [canonical_correlations(x, y, reg=reg) for reg in (1e-4, 1e-2, 1.0, 100.0)]
    assert all((a > b).all() for a, b in itertools.pairwise(ladder))
    assert ladder[-1][0] < 0.5


def test_noise_alone_correlates_as_theory_says():
    """Wachter's law: with a = p/n and b = q/n fixed, noise reaches √(a(1−b)) + √(b(1−a))."""
    n, p, q = 2000, 200, 100
    rng = np.random.default_rng(0)
    found = canonical_correlations(rng.normal(size=(n, p)), rng.normal(size=(n, q)))[0]
    a, b = p / n, q / n
    edge = np.sqrt(a * (1 - b)) + np.sqrt(b * (1 - a))
    assert found == pytest.approx(edge, abs=0.02)


def test_canonical_correlations_warn_where_they_mean_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 32)), rng.normal(size=(16, 32))
    with pytest.warns(
        UserWarning, match="15 of the correlations are 1 whatever the data"
    ) as caught:
        rho = canonical_correlations(x, y)
    np.testing.assert_allclose(rho, 1, atol=1e-9)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert canonical_correlations(x, y, reg=1.0)[0] < 0.95


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((5, 2)), np.eye(5), "x: all 2 columns are constant"),
        (np.eye(5), np.eye(4), "x has 5 rows and y has 4"),
        (np.full((3, 2), 1e308) * [[1], [-1], [1]], np.eye(3), "x: values too large"),
        (np.array([["a"], ["b"]]), np.eye(2), "x: expected numbers"),
    ],
)
def test_canonical_correlations_explain_bad_input(x, y, message):
    with pytest.raises(ValueError, match=message):
        canonical_correlations(x, y)
