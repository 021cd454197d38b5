"""The compiled forms and the plain ones: near ties, closed forms, memory, trouble with numba."""

import os
import subprocess
import sys
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vlalign_lib.metrics import (
    average_precision,
    average_precisions,
    chance_average_precision,
    mean_average_precision,
    median_rank,
    ranks,
    ranks_from_scores,
)

PREPARED = pytest.mark.usefixtures("engine")


def precision_by_loops(values, truth, tolerance):
    """Average precision where relevant scores at most two tolerances apart form a narrow tie."""
    relevant = sorted(values[truth == 1])
    ties = [[relevant[0]]]
    for value in relevant[1:]:
        near = value - ties[-1][-1] <= 2 * tolerance
        narrow = value - ties[-1][0] <= 16 * tolerance
        ties[-1:] = [ties[-1] + [value]] if near and narrow else [ties[-1], [value]]
    claimed, floor = [], -np.inf
    for i, tie in enumerate(ties):
        low = max(tie[0] - tolerance, floor)
        floor = np.nextafter(tie[-1] + tolerance, values.dtype.type(np.inf))
        if i + 1 < len(ties):
            floor = min(floor, ties[i + 1][0])
        claimed.append((int((values >= floor).sum()), (values >= low) & (values < floor), len(tie)))
    gain, hits = Fraction(0), 0
    for before, inside, r in reversed(claimed):
        m = int(inside.sum())
        slope = Fraction(r - 1, m - 1) if m > 1 else 0
        gain += sum((hits + 1 + p * slope) / (before + 1 + p) for p in range(m)) * Fraction(r, m)
        hits += r
    return float(gain / hits)


# Scores by their distances, in tolerances, so that long chains come up.
chains = st.lists(
    st.tuples(st.sampled_from([0.0, 0.4, 1.0, 1.9, 2.0, 2.1, 5.0]), st.booleans()),
    min_size=1,
    max_size=60,
)


@PREPARED
@example([(1.9, True)] * 40, np.float64)  # cut for its width, several times
@example([(0.4, True), (1.0, False)] * 30, np.float32)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(chains, st.sampled_from([np.float32, np.float64]))
def test_near_scores_tie_and_long_chains_do_not(chain, dtype):
    gaps, truth = np.array([c[0] for c in chain]), np.array([int(c[1]) for c in chain])
    truth[0] = 1
    step = 10 * np.finfo(dtype).eps
    values = (1 + step * np.cumsum(gaps)).astype(dtype)
    # 2(4 + √d)ε, for dot products times the gallery's median length
    tolerance = dtype(step * np.float64(np.quantile(values.astype(np.float64), 0.5)))
    got = mean_average_precision(
        np.ones((1, 1), dtype), values[:, None], [1], truth, similarity="dot"
    )
    assert got == pytest.approx(precision_by_loops(values, truth, tolerance), rel=1e-12)


def test_both_forms_agree(monkeypatch):
    rng = np.random.default_rng(0)
    queries, gallery = rng.standard_normal((2, 300, 8))
    gallery[:40] = gallery[40:80]
    labels = rng.integers(0, 5, 300)

    def coarse(q, g):
        return np.round(q @ g.T, 1)

    def everything():
        found = []
        for similarity in ("cosine", "dot", "euclidean", coarse):
            found.append(ranks(queries, gallery, similarity=similarity))
            for dtype in (np.float32, np.float64):
                views = queries.astype(dtype), gallery.astype(dtype), labels, labels
                for options in ({}, {"top_k": 20}, {"top_k": 20, "normalise": "hits"}):
                    options["similarity"] = similarity
                    found.append(average_precisions(*views, **options))
        scores = np.round(queries[:, 0])
        cuts = [
            average_precision(scores, labels == 1, top_k=k, normalise="hits") for k in range(1, 300)
        ]
        return [*found, np.array(cuts)]

    fast = everything()
    monkeypatch.setitem(sys.modules, "vlalign_lib.engine", None)
    for one, other in zip(fast, everything(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)


@PREPARED
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_tolerance_only_equal_scores_tie(dtype):
    step = np.nextafter(dtype(1), dtype(2))
    scores = np.array([[1, step, 1, 0, step, 1]], dtype=dtype)
    assert ranks_from_scores(scores, targets=[0]) == 1 + 2 + 2 / 2
    got = average_precisions(
        [[1.0]], np.ones((6, 1)), [1], [1, 1, 0, 0, 0, 0], similarity=lambda q, g: scores
    )
    # Places 1 and 2 tie, one of them is right; then a tie of three with one right item.
    expected = (1 + 1 / 2) / 2 + (2 / 3 + 2 / 4 + 2 / 5) / 3
    np.testing.assert_allclose(got, expected / 2, rtol=1e-14)


@PREPARED
def test_harmonic_numbers():
    # The one right item among m that all tie scores H_m / m.
    assert chance_average_precision([0], [0, 1, 1, 1, 1]) == pytest.approx(137 / 300, rel=1e-15)
    n, euler = 100_000, 0.57721566490153286
    expected = np.log(n) + euler + 1 / (2 * n) - 1 / (12 * n**2)
    labels = np.arange(n) > 0
    assert chance_average_precision([0], labels) * n == pytest.approx(expected, rel=1e-14)


@PREPARED
@pytest.mark.parametrize("drawn", [1, 16, 17, 200])
def test_short_and_long_sums_are_one_function(drawn):
    before, hits, tied, relevant = 31, 5, 200, 40
    slope = (relevant - 1) / (tied - 1)
    gain = hits + sum(
        relevant / tied * (hits + 1 + (p - 1) * slope) / (before + p) for p in range(1, drawn + 1)
    )
    scores = np.concatenate([np.arange(before, 0, -1.0), np.zeros(tied)])
    labels = np.zeros(before + tied, dtype=int)
    labels[:hits] = labels[before : before + relevant] = 1
    depth = before + drawn
    got = mean_average_precision(
        [[1.0]], scores[:, None], [1], labels, top_k=depth, similarity="dot"
    )
    assert got == pytest.approx(gain / min(hits + relevant, depth), rel=1e-12)


def test_memory_does_not_grow_with_queries_times_gallery(engine):
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
    assert peak < (16e6 if engine == "engine" else 22e6) < whole / 6


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_importing_costs_neither_torch_nor_numba():
    result = run(
        "import sys, vlalign_lib.metrics as m\n"
        "m.average_precision([3, 2, 1], [1, 0, 1])\n"
        "heavy = {'torch', 'numba', 'sklearn', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    assert result.returncode == 0, result.stderr


CALLS = (
    "import numpy as np\n"
    "from vlalign_lib.metrics import mean_average_precision, recall_at_k\n"
    "print(recall_at_k(np.eye(5), np.eye(5)[::-1], 1), recall_at_k(np.eye(5), np.eye(5), 5))\n"
    "print(mean_average_precision(np.eye(4), np.eye(4), [0, 0, 1, 1], [0, 0, 1, 1], top_k=1))\n"
)
ANSWERS = "{1: 0.2} {5: 1.0}\n1.0\n"


def test_without_a_working_numba_the_plain_forms_answer_and_it_is_said_once():
    result = run("import sys; sys.modules['numba'] = None\n" + CALLS)
    assert (result.returncode, result.stdout) == (0, ANSWERS), result.stderr
    assert result.stderr.count("the fast form of count_above cannot be used") == 1


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_a_cache_of_compiled_code_that_was_cut_off(ending, tmp_path):
    assert run(CALLS, NUMBA_CACHE_DIR=str(tmp_path)).stdout == ANSWERS
    files = list(tmp_path.rglob(f"*.{ending}"))
    assert len(files) >= 2
    for file in files:
        file.write_bytes(file.read_bytes()[: 0 if ending == "nbi" else 100])
    result = run(CALLS, NUMBA_CACHE_DIR=str(tmp_path))
    assert (result.returncode, result.stdout) == (0, ANSWERS), result.stderr
    assert "cannot be used" in result.stderr or "damaged" in result.stderr
