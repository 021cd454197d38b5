"""CKA over batches."""

import math
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from vlalign_lib.similarity import MinibatchCKA, cka, hsic

NAME = "similarity.MinibatchCKA"


def accumulated(x, y, size, **settings):
    whole = MinibatchCKA(**settings)
    for start in range(0, len(x), size):
        whole.update(x[start : start + size], y[start : start + size])
    return whole


@pytest.mark.parametrize(
    "settings", [{}, {"kernel": "rbf", "sigma": 3.0}, {"kernel": "rbf", "bandwidth": 0.4}]
)
def test_three_sums_and_one_ratio(agrees, loops, views, settings):
    x, y = views(24, 3, 4)
    sums = [0.0, 0.0, 0.0]
    kind = {"unbiased": True, **settings}
    for start in range(0, 24, 8):
        a, b = x[start : start + 8], y[start : start + 8]
        for i, pair in enumerate(((a, b), (a, a), (b, b))):
            sums[i] += float(hsic(*pair, **kind))
    agrees(
        NAME,
        accumulated(x, y, 8, **settings).compute(),
        sums[0] / math.sqrt(sums[1] * sums[2]),
        kind="derivation",
        against="sums of HSIC",
        tolerance=1e-12,
    )
    if not settings:
        terms = [0.0, 0.0, 0.0]
        for start in range(0, 24, 8):
            a, b = x[start : start + 8], y[start : start + 8]
            for i, pair in enumerate(((a, b), (a, a), (b, b))):
                terms[i] += loops.hsic(*pair, unbiased=True)
        agrees(
            NAME,
            accumulated(x, y, 8).compute(),
            terms[0] / math.sqrt(terms[1] * terms[2]),
            kind="loop",
            against="the definition, in loops",
            tolerance=1e-11,
        )


def test_one_batch_is_the_unbiased_form(views):
    x, y = views(30, 5, 6)
    whole = accumulated(x, y, 30)
    assert whole.compute() == pytest.approx(float(cka(x, y, unbiased=True)), rel=1e-13)
    assert (whole.n_batches, whole.n_rows) == (1, 30)


def test_the_mean_of_ratios_is_another_number():
    """True CKA c² = .37 in 60 dimensions: the means of biased batches are .93, .87, .67.

    For y = cx + √(1 − c²)z the biased form of n rows is near c² + (1 − c²) d/(n + d).
    """
    d, c = 60, math.sqrt(0.37)
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((2, 6144, d))
    y = c * x + math.sqrt(1 - c * c) * z
    for size, said in ((8, 0.93), (16, 0.87), (64, 0.67)):
        batches = [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
        mean = np.mean([cka(*batch) for batch in batches])
        level = c * c + (1 - c * c) * d / (size + d)
        assert level == pytest.approx(said, abs=0.006)
        assert mean == pytest.approx(level, abs=0.008)
        # Each batch's cosine has a standard deviation of at most √(2/(n(n − 3))).
        error = math.sqrt(2 / (size * (size - 3)) / len(batches))
        assert accumulated(x, y, size).compute() == pytest.approx(0.37, abs=3 * error)
    assert cka(x, y, unbiased=True) == pytest.approx(0.37, abs=0.01)


def test_beside_ckatorch(agrees, peer, views):
    core = peer("ckatorch.core")
    x, y = views(48, 5, 7)
    theirs = core.cka_batch(x.reshape(6, 8, 5), y.reshape(6, 8, 7))
    agrees(
        NAME,
        accumulated(x, y, 8).compute(),
        theirs,
        kind="peer",
        against="ckatorch",
        tolerance=1e-10,
    )


def test_merging_is_having_seen_both(views):
    x, y = views(40, 3, 4)
    first, second = accumulated(x[:16], y[:16], 8), accumulated(x[16:], y[16:], 8)
    kept = second.compute()
    merged = MinibatchCKA().merge(first).merge(second)
    assert merged.compute() == pytest.approx(accumulated(x, y, 8).compute(), rel=1e-13)
    assert (merged.n_batches, merged.n_rows) == (5, 40)
    assert second.compute() == kept
    assert first.n_batches == 2


def test_resetting_and_keeping(views):
    x, y = views(40, 3, 4)
    whole = accumulated(x, y, 8)
    copy = pickle.loads(pickle.dumps(whole))
    assert copy.compute() == whole.compute()
    whole.reset()
    assert (whole.n_batches, whole.n_rows) == (0, 0)
    whole.update(x, y)
    assert whole.compute() == pytest.approx(float(cka(x, y, unbiased=True)), rel=1e-13)


def test_batches_of_any_kind_and_scale(views):
    """Arrays, tensors with a gradient, masks, float32 at scales whose fourth power overflows."""
    x, y = views(32, 3, 4)
    expected = accumulated(x, y, 8).compute()
    mixed = MinibatchCKA()
    mixed.update(x[:8].numpy(), y[:8].numpy())
    mixed.update(x[8:16].clone().requires_grad_(), y[8:16])
    real = torch.arange(12) < 8
    mixed.update(
        torch.cat([x[16:24], x.new_full((4, 3), torch.nan)]),
        torch.cat([y[16:24], y.new_zeros((4, 4))]),
        mask=real,
    )
    mixed.update(x[24:], y[24:])
    assert mixed.compute() == pytest.approx(expected, rel=1e-12)
    assert mixed.n_rows == 32
    for factor in (2.0**60, 2.0**-60):
        narrow = accumulated((x * factor).float(), y.float(), 8).compute()
        assert narrow == pytest.approx(expected, rel=1e-5)


def test_a_batch_without_variation_adds_nothing(views):
    x, y = views(16, 3, 4)
    whole = accumulated(x, y, 8)
    before = whole.compute()
    whole.update(torch.ones(8, 3), y[:8].float())
    # It adds to what y has of its own, and not to what they share.
    own = sum(float(hsic(y[i : i + 8], y[i : i + 8], unbiased=True)) for i in (0, 8))
    more = float(hsic(y[:8], y[:8], unbiased=True))
    assert whole.compute() == pytest.approx(before * math.sqrt(own / (own + more)), rel=1e-6)


PROCESS = """
import sys, torch, numpy as np, torch.distributed as dist
from vlalign_lib.similarity import MinibatchCKA
torch.set_num_threads(1)
rank, file = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
rng = np.random.default_rng(0)
x = rng.standard_normal((40, 3)); y = np.tanh(x) + rng.standard_normal((40, 3))
mine = MinibatchCKA()
for start in ((0, 8), (16, 24, 32))[rank]:
    mine.update(x[start:start + 8], y[start:start + 8])
print(repr(mine.compute()), repr(mine.compute(gather=True)), repr(mine.compute(gather=True)))
dist.destroy_process_group()
"""


def test_across_two_processes(agrees, tmp_path):
    """Two batches here, three there; gathering twice counts nothing twice."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(tmp_path / "rendezvous")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [[float(n) for n in p.communicate(timeout=60)[0].split()] for p in processes]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    y = np.tanh(x) + rng.standard_normal((40, 3))
    expected = accumulated(x, y, 8).compute()
    for alone, together, again in told:
        assert together == again
        assert alone != together
        agrees(
            NAME,
            together,
            expected,
            kind="derivation",
            against="one process with all batches, beside two",
            tolerance=1e-12,
        )


def test_gathering_alone_is_computing(views):
    whole = accumulated(*views(16, 3, 4), 8)
    assert whole.compute(gather=True) == whole.compute()


def test_shows_its_settings():
    assert repr(MinibatchCKA()) == "MinibatchCKA(kernel='linear')"
    assert repr(MinibatchCKA(kernel="rbf")) == "MinibatchCKA(kernel='rbf', bandwidth=0.5)"
    assert "sigma=(1.0, 2.0)" in repr(MinibatchCKA(kernel="rbf", sigma=(1, 2)))


def test_explains_bad_input(views):
    x, y = views(8, 3, 4)
    with pytest.raises(ValueError, match="no batches so far"):
        MinibatchCKA().compute()
    with pytest.raises(ValueError, match="kernel: expected one of"):
        MinibatchCKA(kernel="cosine")
    with pytest.raises(ValueError, match=r"3 rows: the unbiased form needs at least 4.*leave out"):
        MinibatchCKA().update(x[:3], y[:3])
    with pytest.raises(ValueError, match=r"x: 1 row.*NaN"):
        MinibatchCKA().update(torch.where(torch.arange(8)[:, None] == 2, torch.nan, x), y)
    with pytest.raises(ValueError, match="expected a MinibatchCKA, got float"):
        MinibatchCKA().merge(0.5)
    with pytest.raises(ValueError, match="measures something else"):
        MinibatchCKA().merge(MinibatchCKA(kernel="rbf"))
    constant = MinibatchCKA()
    constant.update(torch.ones(8, 3, dtype=x.dtype), y)
    with pytest.raises(ValueError, match="x: did not vary within any of the 1 batches"):
        constant.compute()
    with pytest.raises(ValueError, match="fourth powers of such large numbers"):
        MinibatchCKA().update(x * 1e90, y)
    with pytest.raises(ValueError, match="median distance between two rows is 0"):
        MinibatchCKA(kernel="rbf").update(torch.ones(8, 3, dtype=x.dtype), y)


def test_a_refused_batch_leaves_no_trace(views):
    x, y = views(16, 3, 4)
    whole = accumulated(x, y, 8)
    before = whole.compute()
    with pytest.raises(ValueError, match="NaN"):
        whole.update(x[:8] * torch.nan, y[:8])
    assert whole.compute() == before
    assert whole.n_batches == 2
