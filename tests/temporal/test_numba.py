"""The compiled loops beside plain ones, on both layouts of lanes and at their seams."""

import functools
import math
import multiprocessing
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

_numba = pytest.importorskip("vlalign_lib.engine.soft_dtw.loops", exc_type=ImportError)
pytestmark = pytest.mark.engine

INF, NAN = math.inf, math.nan
SHAPES = [(1, 1), (1, 7), (7, 1), (2, 2), (3, 5), (17, 17), (31, 33), (70, 45), (5, 90)]
GAMMAS = [1e-4, 0.1, 1.0, 100.0]


def loop(cost, gamma):
    """Value, expected alignment and transition probabilities of one matrix, in float64."""
    n, m = cost.shape
    r = np.full((n + 1, m + 1), INF)
    r[0, 0] = 0.0
    p = np.zeros((n, m, 3))
    for i in range(n):
        for j in range(m):
            before = np.array([r[i, j], r[i, j + 1], r[i + 1, j]])
            least = before.min()
            if least == INF or cost[i, j] == INF:
                continue
            if gamma == 0:
                p[i, j, before.argmin()] = 1.0
                soft = least
            else:
                terms = np.exp((least - before) / gamma)
                p[i, j] = terms / terms.sum()
                soft = least - gamma * math.log(terms.sum())
            r[i + 1, j + 1] = soft + cost[i, j]
    return r[n, m], flow(p, r[n, m]), p


def flow(p, value):
    n, m, _ = p.shape
    e = np.zeros((n + 1, m + 1))
    e[n, m] = value < INF
    for i in range(n, 0, -1):
        for j in range(m, 0, -1):
            for k, (y, x) in enumerate(((i - 1, j - 1), (i - 1, j), (i, j - 1))):
                e[y, x] += e[i, j] * p[i - 1, j - 1, k]
    return e[1:, 1:]


def loops(costs, gamma, lengths=None):
    """Values and alignments of a batch; NaN in a matrix makes all of its own answers NaN."""
    costs = costs.double().numpy()
    values, alignments = np.empty(len(costs)), np.zeros(costs.shape)
    for b, cost in enumerate(costs):
        n, m = cost.shape if lengths is None else lengths[b].tolist()
        if np.isnan(cost[:n, :m]).any() or (cost[:n, :m] == -INF).any():
            values[b], alignments[b, :n, :m] = NAN, NAN
        else:
            values[b], alignments[b, :n, :m], _ = loop(cost[:n, :m], gamma)
    return torch.from_numpy(values), torch.from_numpy(alignments)


@functools.cache
def example(shape, gamma, dtype):
    """A few matrices of one shape, and what plain loops make of them."""
    generator = torch.Generator().manual_seed(0)
    costs = torch.randn(3, *shape, generator=generator, dtype=torch.float64).to(dtype)
    return costs, loops(costs, gamma)


def compiled(costs, gamma, lengths=None):
    values, state = _numba.forward(costs, lengths, gamma, keep=True)
    return values, _numba.alignment(state, lengths, gamma, tuple(costs.shape))


def product(costs, direction, gamma, lengths=None):
    _, state = _numba.forward(costs, lengths, gamma, keep=True)
    expected = _numba.alignment(state, lengths, gamma, tuple(costs.shape))
    return _numba.hessian_product(state, expected, direction, lengths, gamma)


def draw_lengths(size, n, m, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([rng.integers(1, k + 1, size) for k in (n, m)], 1))


def assert_same(ours, theirs, tolerance):
    """Equal where not finite; else within the tolerance of the largest magnitude, at least 1."""
    ours, theirs = ours.double(), theirs.double()
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert torch.equal(ours == INF, theirs == INF)
    keep = theirs.isfinite()
    if keep.any():
        largest = max(1.0, float(theirs[keep].abs().max()))
        assert float((ours[keep] - theirs[keep]).abs().max()) <= tolerance * largest


@pytest.fixture(params=["pairs", "rows"])
def layout(request, monkeypatch):
    """Run a test with pairs in the lanes, and with rows."""
    monkeypatch.setattr(_numba, "_lanes_are_pairs", lambda *_: request.param == "pairs")
    return request.param


TOLERANCES = {torch.float64: 1e-11, torch.float32: 3e-6}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("gamma", [0.0, *GAMMAS])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_loops_agree_with_plain_ones(layout, shape, gamma, dtype):
    c, right = example(shape, gamma, dtype)
    for ours, theirs in zip(compiled(c, gamma), right, strict=True):
        assert ours.dtype == dtype
        assert_same(ours, theirs, TOLERANCES[dtype])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0])
def test_lengths_and_what_lies_beyond_them(layout, costs, gamma, dtype):
    """Whatever the padding holds, the answers are those of the matrices without it."""
    c = costs(35, 34, 35).to(dtype)
    lengths = draw_lengths(35, 34, 35)
    theirs = loops(c, gamma, lengths)
    for junk in (NAN, INF, -INF, 1e30, -1e30):
        padded = c.clone()
        for b, (n, m) in enumerate(lengths.tolist()):
            padded[b, n:] = junk
            padded[b, :, m:] = junk
        for ours, right in zip(compiled(padded, gamma, lengths), theirs, strict=True):
            assert_same(ours, right, TOLERANCES[dtype])
        z = torch.full_like(padded, junk)
        for b, (n, m) in enumerate(lengths.tolist()):
            z[b, :n, :m] = c[b, :n, :m].flip(0)
        ours = product(padded, z, gamma, lengths)
        zeros = ours.clone()
        for b, (n, m) in enumerate(lengths.tolist()):
            alone = product(c[None, b, :n, :m].contiguous(), z[None, b, :n, :m].contiguous(), gamma)
            assert_same(ours[b, :n, :m], alone[0], TOLERANCES[dtype])
            zeros[b, :n, :m] = 0
        assert not zeros.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("gamma", [0.0, 1e-3, 1.0])
def test_forbidden_cells(layout, costs, gamma, dtype):
    """Not the least probability leaks into a cell that costs +inf."""
    c = costs(40, 20, 23).to(dtype)
    mask = costs(40, 20, 23, seed=1) > 0.8
    c = torch.where(mask, INF, c)
    values, expected = compiled(c, gamma)
    right_values, right = loops(c, gamma)
    assert 0 < (right_values == INF).sum() < 40, "some of them have an open path, and some none"
    assert_same(values, right_values, TOLERANCES[dtype])
    assert_same(expected, right, TOLERANCES[dtype])
    assert not expected[mask].any()
    assert not expected[right_values == INF].any()
    assert not product(c, torch.ones_like(c), gamma)[right_values == INF].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("gamma", [0.0, 0.1])
@pytest.mark.parametrize("bad", [NAN, -INF])
def test_nan_stays_in_its_pair(layout, costs, bad, gamma, dtype):
    c = costs(40, 9, 40).to(dtype)
    clean = [*compiled(c, gamma), product(c, c, gamma)]
    c[7, 3, 5] = c[39, 0, 0] = c[20, 8, 39] = bad
    hit = torch.zeros(40, dtype=torch.bool)
    hit[[7, 20, 39]] = True
    for ours, before in zip([*compiled(c, gamma), product(c, c, gamma)], clean, strict=True):
        if gamma == 0 and ours is not None and not before.any():
            continue  # the second derivative of a hard minimum is zero whatever the costs
        assert ours[hit].isnan().all()
        assert torch.equal(ours[~hit], before[~hit])


@pytest.mark.parametrize("gamma", [1e-4, 0.1, 1.0, 100.0])
def test_huge_costs_beside_small_ones(layout, costs, gamma):
    c = costs(9, 12, 40)
    c = torch.where(costs(9, 12, 40, seed=1) > 1.0, c * 1e30, c)
    for dtype in (torch.float64, torch.float32):
        narrow = c.to(dtype)
        for ours, theirs in zip(compiled(narrow, gamma), loops(narrow, gamma), strict=True):
            assert_same(ours, theirs, 1e-6)


def test_the_seam_between_exponents_and_the_logarithmic_domain(layout, costs):
    """Just below the largest cost that exponents take, and just above it, the answers agree."""
    gamma, shape = 1e-3, (3, 40, 36)
    limit = float(_numba._scale(gamma, 76, np.dtype(np.float64)).limit)
    c = costs(*shape)
    for largest in (0.99 * limit, 1.01 * limit):
        scaled = c.clone()
        scaled[0, 0, 0] = -largest  # all paths pay the first and the last
        scaled[1, -1, -1] = largest
        scaled[2, 20, 20] = largest
        values, expected = compiled(scaled, gamma)
        right_values, right = loops(scaled, gamma)
        assert_same(values, right_values, 1e-12)
        assert_same(expected, right, 1e-7)  # R of 1e3 / gamma costs the plain loop digits


@pytest.mark.parametrize("gamma", [0.05, 1.0])
@pytest.mark.parametrize("shape", [(34, 5, 6), (3, 40, 35)])
def test_hessian_product_is_the_derivative_of_the_alignment(layout, agrees, costs, shape, gamma):
    c, z = costs(*shape), costs(*shape, seed=1)
    c[:, 1, 2] = INF
    step = 1e-5
    ahead, behind = (compiled(c + s * step * z, gamma)[1] for s in (1, -1))
    agrees(
        "temporal.soft_alignment",
        product(c, z, gamma),
        (ahead - behind) / (2 * step),
        kind="derivation",
        against="central differences of the compiled alignment",
        tolerance=1e-6,
    )


def test_hessian_product_is_symmetric(layout, costs):
    c, a, b = (costs(33, 11, 37, seed=seed) for seed in range(3))
    left = (a * product(c, b, 0.3)).sum((1, 2))
    right = (b * product(c, a, 0.3)).sum((1, 2))
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


def test_both_layouts_have_every_answer(agrees, costs, monkeypatch):
    c, z = costs(33, 50, 41), costs(33, 50, 41, seed=1)
    lengths = draw_lengths(33, 50, 41)
    answers = []
    for by_pairs in (True, False):
        monkeypatch.setattr(_numba, "_lanes_are_pairs", lambda *_, answer=by_pairs: answer)
        answers.append([*compiled(c, 0.2, lengths), product(c, z, 0.2, lengths)])
    for which, ours, theirs in zip(
        ("soft_dtw", "soft_alignment", "soft_alignment"), *answers, strict=True
    ):
        agrees(
            f"temporal.{which}",
            ours,
            theirs,
            kind="derivation",
            against="rows in the lanes beside pairs",
            tolerance=1e-11,
        )


@pytest.mark.parametrize("derivative", [False, True])
def test_pairs_that_do_not_fit_the_cache(costs, monkeypatch, derivative):
    """The probabilities of a few rows at a time: the same numbers as of all at once."""
    monkeypatch.setattr(_numba, "_lanes_are_pairs", lambda *_: True)
    monkeypatch.setattr(_numba, "_KEPT", threading.local())
    c, z = costs(20, 61, 18), costs(20, 61, 18, seed=1)
    lengths = draw_lengths(20, 61, 18)

    def answer():
        return product(c, z, 0.1, lengths) if derivative else compiled(c, 0.1, lengths)[1]

    whole = answer()
    monkeypatch.setattr(_numba, "CACHED", 1)
    assert torch.equal(answer(), whole)


@pytest.mark.parametrize("gamma", [0.01, 0.1, 1.0])
def test_single_precision_over_long_sequences(agrees, gamma):
    """Path sums of thousands of cells, and the gradient is right to six digits."""
    c = torch.rand(1, 2000, 2000, generator=torch.Generator().manual_seed(0))
    for which, ours, theirs in zip(
        ("soft_dtw", "soft_alignment"), compiled(c, gamma), compiled(c.double(), gamma), strict=True
    ):
        agrees(
            f"temporal.{which}",
            ours,
            theirs,
            kind="float32",
            against="float64, length 2000",
            tolerance=5e-6 if which == "soft_alignment" else 1e-6,
        )


def test_probability_is_neither_lost_nor_made(layout, costs):
    """Rows and columns of E sum to one at least, and every path ends where it starts."""
    for dtype, slack in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        _, expected = compiled((costs(5, 300, 200) * 2).to(dtype), 0.3)
        assert expected.min() >= 0
        assert expected.max() <= 1 + slack
        assert expected.sum(1).min() >= 1 - slack
        assert expected.sum(2).min() >= 1 - slack
        torch.testing.assert_close(expected[:, 0, 0], expected[:, -1, -1], rtol=slack, atol=slack)


@pytest.mark.parametrize("gamma", [1e-45, 1e-31, 1e31, 1e36])
def test_temperatures_beyond_any_scale(layout, costs, gamma):
    for dtype in (torch.float64, torch.float32):
        c = costs(3, 8, 9).to(dtype)
        for ours, theirs in zip(compiled(c, gamma), loops(c, gamma), strict=True):
            assert_same(ours, theirs, TOLERANCES[dtype])


def test_ties_of_a_hard_minimum_go_diagonally_then_up(layout):
    value, expected = compiled(torch.zeros(1, 3, 4), 0.0)
    assert value.item() == 0
    assert torch.equal(expected[0], torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    c = torch.full((1, 3, 3), 1.0)
    c[0, 1, 1] = 9.0
    _, expected = compiled(c, 0.0)
    assert torch.equal(expected[0], torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 0, 1]]))


def test_inputs_are_read_only(layout, costs):
    c, z, lengths = costs(33, 9, 8), costs(33, 9, 8, seed=1), draw_lengths(33, 9, 8)
    c[0, 0, 0], c[1, 2, 2] = NAN, 1e30
    copies = [tensor.clone() for tensor in (c, z, lengths)]
    product(c, z, 0.1, lengths)
    for tensor, copy in zip((c, z, lengths), copies, strict=True):
        assert torch.equal(tensor.nan_to_num(), copy.nan_to_num())


def test_several_threads_of_torch_give_the_answer_of_one(costs):
    before = torch.get_num_threads()
    for shape in ((2000, 20, 20), (3, 700, 500)):
        c = costs(*shape)
        c[-1, 0, 0] = NAN
        answers = []
        try:
            for threads in (1, 3):
                torch.set_num_threads(threads)
                answers.append([*compiled(c, 0.1), product(c, c, 0.1)])
        finally:
            torch.set_num_threads(before)
        for one, three in zip(*answers, strict=True):
            assert torch.equal(one.nan_to_num(7.0), three.nan_to_num(7.0))


def test_callers_in_several_threads_do_not_disturb_each_other(costs):
    batches = [costs(40, 20 + k, 30 - k, seed=k) for k in range(6)]
    alone = [compiled(c, 0.1) for c in batches]
    wrong = []

    def work(k):
        for _ in range(20):
            values, expected = compiled(batches[k], 0.1)
            if not (torch.equal(values, alone[k][0]) and torch.equal(expected, alone[k][1])):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def in_a_child(c, right, answer):
    torch.set_num_threads(2)
    answer.put(torch.equal(compiled(c, 0.1)[1], right))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_can_go_on(costs):
    """As the workers of a DataLoader do, after the parent has used threads."""
    c = costs(2000, 20, 20)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        right = compiled(c, 0.1)[1]
    finally:
        torch.set_num_threads(before)
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    child = context.Process(target=in_a_child, args=(c, right, answer))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert answer.get()


def test_work_is_shared_without_gaps_and_errors_reach_the_caller():
    done = []
    _numba._share(lambda k, first, last: done.append((first, last)), 10, 3)
    assert sorted(done) == [(0, 3), (3, 6), (6, 10)]

    def work(k, first, last):
        if first > 0:
            raise KeyError("second half")

    with pytest.raises(KeyError, match="second half"):
        _numba._share(work, 10, 2)


def test_importing_the_library_leaves_numba_alone():
    code = "import sys, vlalign_lib.temporal; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
