"""The compiled pieces on their own: blocks of ties, the closed form, memory, cost of import."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vlalign_lib.metrics import _kernels, mean_average_precision, median_rank
from vlalign_lib.metrics._harmonic import harmonic_numbers


def blocks_of(values, tolerance):
    values = np.sort(np.asarray(values))
    n = len(values)
    lower, upper = np.empty(n + 1, values.dtype), np.empty(n + 1, values.dtype)
    sizes = np.empty(n, dtype=np.int64)
    count = _kernels.tie_blocks(values, values.dtype.type(tolerance), lower, upper, sizes)
    assert lower[count] == upper[count] == np.inf
    return values, lower[:count], upper[:count], sizes[:count]


# Scores by their distances, in tolerances, so that long chains come up.
chains = st.lists(st.sampled_from([0.0, 0.4, 1.0, 1.9, 2.0, 2.1, 5.0]), min_size=1, max_size=60)


@example([1.9] * 40, 0.5, np.float64)  # cut for its width, several times
@example([0.4, 1.0] * 30, 1e-3, np.float32)
@settings(max_examples=200, deadline=None)
@given(chains, st.sampled_from([0.0, 1e-3, 0.5]), st.sampled_from([np.float32, np.float64]))
def test_blocks_hold_every_score_once_and_do_not_overlap(gaps, tolerance, dtype):
    values = (tolerance or 1.0) * np.cumsum(gaps) - 3
    values, lower, upper, sizes = blocks_of(values.astype(dtype), tolerance)
    assert sizes.sum() == len(values)
    assert (lower < upper).all()
    assert (upper[:-1] <= lower[1:]).all()
    ends = np.cumsum(sizes)
    for block, (start, end) in enumerate(zip(ends - sizes, ends, strict=True)):
        inside = values[start:end]
        assert (lower[block] <= inside).all()
        assert (inside < upper[block]).all()
        assert inside[-1] - inside[0] <= _kernels.NARROW * dtype(tolerance)
        if end < len(values) and values[end] - values[end - 1] <= 2 * dtype(tolerance):
            # Cut for its width alone.
            assert values[end] - inside[0] > _kernels.NARROW * dtype(tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_tolerance_only_equal_scores_tie(dtype):
    step = np.nextafter(dtype(1), dtype(2))
    _, lower, upper, sizes = blocks_of(np.array([1, step, 1, 0, step, 1], dtype=dtype), 0)
    np.testing.assert_array_equal(sizes, [1, 3, 2])
    np.testing.assert_array_equal(lower, [0, 1, step])
    assert upper[1] == step


def test_scores_within_the_tolerance_tie():
    _, lower, upper, sizes = blocks_of(np.array([0.0, 0.15, 0.5]), 0.1)
    np.testing.assert_array_equal(sizes, [2, 1])
    np.testing.assert_allclose(lower, [-0.1, 0.4])
    np.testing.assert_allclose(upper, [0.25, 0.6])


def test_harmonic_numbers():
    got = harmonic_numbers(5)
    np.testing.assert_allclose(got, [0, 1, 3 / 2, 11 / 6, 25 / 12, 137 / 60], rtol=1e-15)
    euler = 0.57721566490153286
    n = 100_000
    expected = np.log(n) + euler + 1 / (2 * n) - 1 / (12 * n**2)
    assert harmonic_numbers(n)[n] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("drawn", [1, 16, 17, 200])
def test_short_and_long_sums_are_one_function(drawn):
    before, hits, tied, relevant = 31, 5, 200, 40
    slope = (relevant - 1) / (tied - 1)
    expected = sum(
        relevant / tied * (hits + 1 + (p - 1) * slope) / (before + p) for p in range(1, drawn + 1)
    )
    got = _kernels.expected_gain(before, hits, tied, relevant, drawn, harmonic_numbers(300))
    assert got == pytest.approx(expected, rel=1e-12)


def test_memory_does_not_grow_with_queries_times_gallery():
    n, d = 6000, 16
    rng = np.random.default_rng(0)
    queries, gallery = rng.standard_normal((2, n, d)).astype(np.float32)
    labels = rng.integers(0, 10, n)
    mean_average_precision(queries[:50], gallery[:50], labels[:50] * 0, labels[:50] * 0)
    tracemalloc.start()
    try:
        mean_average_precision(queries, gallery, labels, labels)
        median_rank(queries, gallery)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    whole = n * n * 4
    assert peak < 16e6 < whole / 8


def test_importing_costs_neither_torch_nor_numba():
    code = (
        "import sys, vlalign_lib.metrics as m\n"
        "m.average_precision([3, 2, 1], [1, 0, 1])\n"
        "heavy = {'torch', 'numba', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
