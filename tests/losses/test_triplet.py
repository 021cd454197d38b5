"""The triplet loss: every mining beside loops, kernels beside the reference, gradients, limits."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib import _fast
from vlalign_lib.losses import TripletLoss, _triplets, triplet_loss

NAME = "losses.triplet_loss"
MININGS = ("semi-hard", "all", "hardest", "random")
KERNELS = ["torch", "numba"] if _fast.form("mined_hinges") else ["torch"]


def embedded(rows=9, width=4, classes=3, seed=0, dtype=torch.float64):
    """Two views around shared class centres, so that some triplets are solved and some are not."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    centres = rng.standard_normal((classes, width))[labels]
    views = (centres + rng.standard_normal((rows, width)) for _ in range(2))
    x, y = (torch.tensor(view, dtype=dtype) for view in views)
    return x, y, torch.tensor(labels)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def with_gradients(call, x, y):
    x, y = (view.detach().clone().requires_grad_() for view in (x, y))
    value = call(x, y)
    return value.detach(), *torch.autograd.grad(value.sum(), (x, y))


def chosen_triplets(s, labels, margin, mining, within, picks):
    """Yield (anchor, positive, negative) of one direction, by the words of the definition."""
    n = len(s)
    for a in range(n):
        own = [j for j in range(n) if labels[j] == labels[a] and not (within and j == a)]
        other = [j for j in range(n) if labels[j] != labels[a]]
        if not own or not other:
            continue
        if mining == "all":
            yield from ((a, p, q) for p in own for q in other)
        elif mining == "hardest":
            yield a, min(own, key=lambda j: s[a, j]), max(other, key=lambda j: s[a, j])
        elif mining == "random":
            yield from ((a, p, picks[a]) for p in own)
        else:
            for p in own:
                band = [q for q in other if s[a, p] - margin < s[a, q] < s[a, p]]
                if band:
                    yield a, p, max(band, key=lambda j: s[a, j])
                else:
                    yield a, p, min(other, key=lambda j: s[a, j])


def by_loops(x, y, labels, margin, mining, intra, picks):
    """Sums of hinges per pair, active and all triplets; gradients by adding up the active ones."""
    x, y = (view.numpy() for view in (x, y))
    u, v = (view / np.sqrt((view**2).sum(1, keepdims=True)) for view in (x, y))
    each, active, count = np.zeros(len(u)), 0, 0
    slopes = {"u": np.zeros_like(u), "v": np.zeros_like(v)}
    views = {"u": u, "v": v}
    names = [("u", "v"), ("v", "u"), ("u", "u"), ("v", "v")][: 4 if intra else 2]
    for (first, second), drawn in zip(names, picks, strict=False):
        s = views[first] @ views[second].T
        for a, p, q in chosen_triplets(s, labels, margin, mining, first == second, drawn):
            count += 1
            hinge = margin - s[a, p] + s[a, q]
            if hinge > 0:
                active += 1
                each[a] += hinge
                slopes[first][a] += views[second][q] - views[second][p]
                slopes[second][p] -= views[first][a]
                slopes[second][q] += views[first][a]
    gradients = []
    for raw, unit, slope in ((x, u, slopes["u"]), (y, v, slopes["v"])):
        along = (slope * unit).sum(1, keepdims=True)
        gradients.append((slope - along * unit) / np.sqrt((raw**2).sum(1, keepdims=True)))
    return each, active, count, gradients


def drawn_picks(labels, directions, seed=0):
    generator = seeded(seed)
    numbers = [
        torch.rand(len(labels), generator=generator, dtype=torch.float64) for _ in range(directions)
    ]
    return [_triplets.random_negatives(labels, each).numpy() for each in numbers]


def mined_by(kernel, scores, rule, rows):
    if kernel == "numba":
        from vlalign_lib.engine import mining_numba

        slopes = torch.zeros_like(scores)
        return _triplets.Mined(*mining_numba.mine(scores, slopes, rule, rows)), slopes
    slopes, active, triplets = rule.choose(scores, rows)
    hinge = (slopes * scores).sum(dim=1) + rule.margin * active
    return _triplets.Mined(hinge, active, triplets), slopes


@pytest.fixture(params=KERNELS)
def backend(request, monkeypatch):
    if request.param == "torch":
        monkeypatch.setenv("VLALIGN_ENGINE", "0")
    return request.param


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize(("labelled", "intra"), [(False, False), (True, False), (True, True)])
def test_value_gradient_and_counts_beside_loops(agrees, backend, mining, labelled, intra):
    x, y, labels = embedded(rows=11)
    classes = labels if labelled else torch.arange(len(x))
    picks = drawn_picks(classes, 4)
    each, active, count, gradients = by_loops(x, y, classes.numpy(), 0.3, mining, intra, picks)
    options = {"margin": 0.3, "mining": mining, "intra": intra}
    given_labels = labels if labelled else None
    against = "triplets chosen by loops"

    def ours(reduction):
        return with_gradients(
            lambda x, y: triplet_loss(
                x, y, given_labels, reduction=reduction, generator=seeded(), **options
            ),
            x,
            y,
        )

    total, *ours_gradients = ours("sum")
    agrees(NAME, total, each.sum(), kind="loop", against=against, tolerance=1e-13)
    for got, wanted in zip(ours_gradients, gradients, strict=True):
        agrees(NAME, got, wanted, kind="loop", against=f"{against}, gradient", tolerance=1e-13)
    single, *same_gradients = ours("none")
    agrees(NAME, single, each, kind="loop", against=against, tolerance=1e-13)
    for got, wanted in zip(same_gradients, gradients, strict=True):
        agrees(NAME, got, wanted, kind="loop", against=f"{against}, gradient", tolerance=1e-13)
    mean = each.sum() / (active if mining == "all" else count)
    agrees(NAME, ours("mean")[0], mean, kind="loop", against=against, tolerance=1e-13)

    _, seen = triplet_loss(
        x, y, given_labels, generator=seeded(), return_statistics=True, **options
    )
    assert (int(seen.active), int(seen.triplets)) == (active, count)
    assert float(seen.active_fraction) == pytest.approx(active / count)
    u, v = (torch.nn.functional.normalize(view) for view in (x, y))
    strangers = [float(u[i] @ v[j]) for i, j in itertools.permutations(range(len(u)), 2)]
    assert float(seen.mean_cosine) == pytest.approx(np.mean(strangers), abs=1e-14)


@pytest.mark.engine
@given(
    rows=st.integers(1, 40),
    classes=st.integers(1, 40),
    ties=st.booleans(),
    within=st.booleans(),
    mining=st.sampled_from(MININGS),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=150, deadline=None)
def test_kernels_agree_with_the_reference(rows, classes, ties, within, mining, seed, dtype):
    generator = seeded(seed)
    scores = torch.rand(rows, rows, generator=generator, dtype=dtype) * 2 - 1
    scores = (scores * 4).round() / 4 if ties else scores  # exact in binary
    labels = torch.randint(classes, (rows,), generator=generator)
    picks = _triplets.random_negatives(labels, torch.rand(rows, generator=generator))
    rule = _triplets.Rule(labels, 0.25, mining, picks=picks, within=within)
    part = slice(rows // 3, rows)
    (plain, slopes), (fast, fast_slopes) = (
        mined_by(kernel, scores[part], rule, part) for kernel in ("torch", "numba")
    )
    torch.testing.assert_close(fast.hinge, plain.hinge, rtol=1e-6, atol=1e-6)
    assert torch.equal(fast.active, plain.active)
    assert torch.equal(fast.triplets, plain.triplets)
    if not ties:  # of equals, either may be taken
        assert torch.equal(fast_slopes, slopes)
    assert torch.equal(fast_slopes.sum(dim=1), torch.zeros(rows - part.start, dtype=dtype))


@given(
    rows=st.integers(1, 12),
    classes=st.integers(1, 6),
    within=st.booleans(),
    mining=st.sampled_from(MININGS),
    kernel=st.sampled_from(KERNELS),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=200, deadline=None)
def test_ties_and_edges_beside_loops(rows, classes, within, mining, kernel, seed):
    # Cosines and margin are quarters: sums are exact, equals are equal, edges are met.
    generator = seeded(seed)
    scores = torch.randint(-4, 5, (rows, rows), generator=generator) / 4
    labels = torch.randint(classes, (rows,), generator=generator)
    picks = _triplets.random_negatives(labels, torch.rand(rows, generator=generator))
    rule = _triplets.Rule(labels, 0.5, mining, picks=picks, within=within)
    mined, slopes = mined_by(kernel, scores, rule, slice(0, rows))
    hinge, active, count = (np.zeros(rows) for _ in range(3))
    s, classes = scores.numpy(), labels.tolist()
    for a, p, n in chosen_triplets(s, classes, 0.5, mining, within, picks.tolist()):
        gap = 0.5 - s[a, p] + s[a, n]
        hinge[a] += max(0.0, gap)
        active[a] += gap > 0
        count[a] += 1
    np.testing.assert_array_equal(mined.hinge, hinge)
    np.testing.assert_array_equal(mined.active, active)
    np.testing.assert_array_equal(mined.triplets, count)
    # The hinges are linear in the scores, with these slopes, up to the margins.
    np.testing.assert_array_equal((slopes * scores).sum(dim=1) + 0.5 * mined.active, hinge)


@pytest.mark.engine
def test_kernels_agree_with_the_reference_where_a_class_is_large():
    # More positives than are compared one by one: the searching branch.
    labels = (torch.arange(400) % 2 == 0).long()
    scores = torch.randn(400, 400, generator=seeded())
    for mining in ("all", "semi-hard"):
        rule = _triplets.Rule(labels, 0.2, mining)
        (plain, slopes), (fast, fast_slopes) = (
            mined_by(kernel, scores, rule, slice(0, 400)) for kernel in ("torch", "numba")
        )
        torch.testing.assert_close(fast.hinge, plain.hinge, rtol=1e-6, atol=0)
        assert torch.equal(fast.active, plain.active)
        assert torch.equal(fast_slopes, slopes)


@pytest.mark.parametrize("mining", MININGS)
def test_blocks_change_nothing(in_blocks, backend, mining):
    x, y, labels = embedded(rows=23, classes=5)

    def ours(reduction):
        return with_gradients(
            lambda x, y: triplet_loss(
                x,
                y,
                labels,
                mining=mining,
                intra=True,
                generator=seeded(),
                reduction=reduction,
            ),
            x,
            y,
        )

    whole = [*ours("mean"), *ours("none")]
    with in_blocks(4 * 23):
        cut = [*ours("mean"), *ours("none")]
    for got, wanted in zip(cut, whole, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradcheck(agrees, mining, reduction):
    x, y, labels = embedded(rows=7, seed=3)

    def call(x, y):
        return triplet_loss(
            x, y, labels, mining=mining, intra=True, reduction=reduction, generator=seeded()
        )

    assert (call(x, y) > 0).all()
    agrees.gradcheck(NAME, call, (x.requires_grad_(), y.requires_grad_()), tolerance=1e-7)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_second_derivatives(agrees, backend, mining, reduction):
    x, y, labels = embedded(rows=5, seed=3)

    def call(x, y):
        return triplet_loss(x, y, labels, mining=mining, reduction=reduction, generator=seeded())

    inputs = (x.requires_grad_(), y.requires_grad_())
    agrees.gradcheck(NAME, call, inputs, second=True, tolerance=1e-6)


@pytest.mark.parametrize("mining", MININGS)
def test_closed_forms(agrees, backend, mining):
    # All on one point: every cosine is 1 and every hinge the margin.
    x = torch.ones(6, 3, dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    loss = triplet_loss(x, 2 * x, labels, margin=0.2, mining=mining)
    agrees(NAME, loss, 0.2, kind="closed form", against="one point: the margin", tolerance=1e-14)
    # Classes on axes of their own: partners at 1, strangers at 0.
    x = torch.eye(3, dtype=torch.float64)[labels]
    assert float(triplet_loss(x, x, labels, margin=0.99, mining=mining, intra=True)) == 0.0
    # Beyond the gap the hinge is what the margin has more than it.
    loss = triplet_loss(x, x, labels, margin=1.25, mining=mining, intra=True)
    against = "classes on axes: margin − 1"
    agrees(NAME, loss, 0.25, kind="closed form", against=against, tolerance=1e-14)


def test_semi_hard_prefers_the_band_and_falls_back_to_the_easiest(backend):
    def loss(*cosines):
        # One image along the first axis; text 0 is its partner. All other anchors are solved.
        y = torch.tensor([[c, math.sqrt(1 - c * c)] for c in cosines], dtype=torch.float64)
        x = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(y), 2)
        labels = torch.tensor([0, *range(1, len(y))])
        rule = _triplets.Rule(labels, 0.2, "semi-hard")
        return float(_triplets.mined_hinges(x, y, rule, pooled=False)[0][0])

    assert loss(0.5, 0.45, 0.9, 0.1) == pytest.approx(0.15)  # not the harder 0.9
    assert loss(0.5, 0.9, 0.7) == pytest.approx(0.4)  # none below: the easiest, not 0.9
    assert loss(0.5, 0.9, 0.1) == 0.0  # the easiest is solved
    assert loss(0.5, 0.3 - 1e-12, 0.9) == 0.0  # at the far edge of the band


def test_all_averages_over_active_triplets_alone():
    x, y, labels = embedded(rows=40, classes=4, seed=1)
    total = triplet_loss(x, y, labels, mining="all", reduction="sum")
    mean, seen = triplet_loss(x, y, labels, mining="all", return_statistics=True)
    assert 0.05 < float(seen.active_fraction) < 0.95
    torch.testing.assert_close(mean, total / seen.active, rtol=1e-14, atol=0)


@pytest.mark.parametrize("mining", ["semi-hard", "all", "hardest"])
def test_invariances(mining):
    x, y, labels = embedded(rows=15, seed=2)
    options = {"mining": mining, "intra": True}
    wanted = triplet_loss(x, y, labels, **options)
    order = torch.randperm(15, generator=seeded())
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=seeded())).Q
    scale = torch.linspace(1e-3, 1e3, 15, dtype=torch.float64)[:, None]
    for same in (
        triplet_loss(x[order], y[order], labels[order], **options),
        triplet_loss(x @ rotation, y @ rotation, labels, **options),
        triplet_loss(y, x, labels, **options),
        triplet_loss(x * scale, y / scale, labels, **options),
        triplet_loss(x, y, 7 - 3 * labels, **options),
        triplet_loss(x, y, labels.tolist(), **options),
        triplet_loss(1e-300 * x, 1e300 * y, labels, **options),
    ):
        torch.testing.assert_close(same, wanted, rtol=1e-13, atol=0)


@pytest.mark.parametrize("labelled", [False, True])
def test_hardest_beside_pytorch_metric_learning(agrees, peer, labelled):
    peer("pytorch_metric_learning")
    from pytorch_metric_learning import distances, losses, miners, reducers

    x, y, labels = embedded(rows=60, width=8, classes=7)
    classes = labels if labelled else torch.arange(60)
    miner = miners.BatchHardMiner(distance=distances.CosineSimilarity())
    theirs = losses.TripletMarginLoss(
        margin=0.2, distance=distances.CosineSimilarity(), reducer=reducers.MeanReducer()
    )

    def both(x, y):
        other = classes.clone()  # the same object would be taken for one view
        return sum(
            theirs(a, classes, miner(a, classes, b, other), b, other) for a, b in ((x, y), (y, x))
        ) / 2  # fmt: skip

    for got, wanted in zip(
        with_gradients(lambda x, y: triplet_loss(x, y, classes, mining="hardest"), x, y),
        with_gradients(both, x, y),
        strict=True,
    ):
        agrees(
            NAME, got, wanted, kind="peer", against="pytorch-metric-learning, hardest",
            tolerance=1e-13,
        )  # fmt: skip


def test_semi_hard_beside_pytorch_metric_learning(agrees, peer):
    # With one positive an anchor the definitions meet; theirs leaves out an anchor without a
    # negative below its positive, so the data has none. With several positives theirs takes one
    # of them, ours each.
    peer("pytorch_metric_learning")
    from pytorch_metric_learning import distances, losses, miners, reducers

    x, y, _ = embedded(rows=60, width=8)
    y = x + 0.7 * y
    classes = torch.arange(60)
    miner = miners.BatchEasyHardMiner(
        pos_strategy="hard", neg_strategy="semihard", distance=distances.CosineSimilarity()
    )
    theirs = losses.TripletMarginLoss(
        margin=0.2, distance=distances.CosineSimilarity(), reducer=reducers.MeanReducer()
    )
    found = [miner(a, classes, b, classes.clone()) for a, b in ((x, y), (y, x))]
    assert all(len(triplets[0]) == 60 for triplets in found)

    def both(x, y):
        return sum(
            theirs(a, classes, triplets, b, classes.clone())
            for (a, b), triplets in zip(((x, y), (y, x)), found, strict=True)
        ) / 2  # fmt: skip

    for got, wanted in zip(
        with_gradients(triplet_loss, x, y), with_gradients(both, x, y), strict=True
    ):
        agrees(
            NAME, got, wanted, kind="peer",
            against="pytorch-metric-learning, semi-hard, one positive", tolerance=1e-13,
        )  # fmt: skip


def test_all_beside_pytorch_metric_learning(agrees, peer):
    # Theirs averages over what is active in one direction, ours over both together: sums agree.
    peer("pytorch_metric_learning")
    from pytorch_metric_learning import distances, losses, reducers

    x, y, labels = embedded(rows=40, width=8, classes=5)
    theirs = losses.TripletMarginLoss(
        margin=0.2, distance=distances.CosineSimilarity(), reducer=reducers.SumReducer()
    )

    def both(x, y):
        return theirs(x, labels, None, y, labels.clone()) + theirs(
            y, labels, None, x, labels.clone()
        )

    def ours(x, y):
        return triplet_loss(x, y, labels, mining="all", reduction="sum")

    for got, wanted in zip(with_gradients(ours, x, y), with_gradients(both, x, y), strict=True):
        agrees(
            NAME, got, wanted, kind="peer", against="pytorch-metric-learning, all, summed",
            tolerance=1e-12,
        )  # fmt: skip


@pytest.mark.parametrize("mining", MININGS)
def test_float32(agrees, mining):
    x, y, labels = embedded(rows=200, width=16, classes=10)

    def ours(dtype):
        return with_gradients(
            lambda x, y: triplet_loss(x, y, labels, mining=mining, intra=True, generator=seeded()),
            x.to(dtype),
            y.to(dtype),
        )

    narrow, wide = ours(torch.float32), ours(torch.float64)
    assert all(each.dtype == torch.float32 for each in narrow)
    for got, wanted in zip(narrow, wide, strict=True):
        agrees(NAME, got, wanted, kind="float32", against="float64", tolerance=1e-5)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize(
    "labels",
    [[0, 0, 0, 0], [0, 1, 2, 3], [0, 0, 0, 1], [-1, -1, 5, 5]],
    ids=["one class", "each its own", "one alone", "odd numbers"],
)
@pytest.mark.parametrize("intra", [False, True])
def test_extremes_are_finite(backend, mining, labels, intra):
    x, y, _ = embedded(rows=4)
    x[0], y[2] = 0, 0  # dead units
    x[1], y[1] = 1e-200, 1e200
    value, dx, dy = with_gradients(
        lambda x, y: triplet_loss(x, y, labels, mining=mining, intra=intra, generator=seeded()),
        x,
        y,
    )
    assert torch.isfinite(value)
    assert value >= 0
    assert torch.isfinite(dx).all()
    assert torch.isfinite(dy).all()
    assert not dx[0].any()
    if len(set(labels)) == 1:
        assert value == 0
        assert not dx.any()


@pytest.mark.parametrize("mining", MININGS)
def test_one_pair_has_no_triplet(backend, mining):
    value, dx, dy = with_gradients(
        lambda x, y: triplet_loss(x, y, mining=mining), *torch.ones(2, 1, 3)
    )
    assert value == 0
    assert not dx.any()
    assert not dy.any()


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("view", [0, 1])
def test_nan_comes_out_as_nan(backend, mining, view):
    views = embedded()
    views[view][3, 1] = torch.nan
    for reduction in ("mean", "none"):
        value, dx, dy = with_gradients(
            lambda x, y, r=reduction: triplet_loss(x, y, views[2], mining=mining, reduction=r),
            *views[:2],
        )
        assert value.isnan().all()
        assert dx.isnan().any()
        assert dy.isnan().any()
    quiet = [torch.isnan(views[i]).sum() for i in range(2)]
    assert quiet[view] == 1, "inputs are not written to"


def test_random_negatives_are_of_another_class_and_uniform():
    labels = torch.tensor([0, 1, 0, 2, 2, 0, 1])
    draws = torch.stack(
        [_triplets.random_negatives(labels, torch.full((7,), (i + 0.5) / 420)) for i in range(420)]
    )
    for row in range(7):
        others = (labels != labels[row]).nonzero().flatten()
        counts = torch.bincount(draws[:, row], minlength=7)
        assert counts.nonzero().flatten().tolist() == others.tolist()
        assert (counts[others] == 420 // len(others)).all()


def test_random_mining_repeats_with_its_generator():
    x, y, labels = embedded(rows=30)
    first, again, other = (
        triplet_loss(x, y, labels, mining="random", generator=seeded(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("mining", MININGS)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_on_a_gpu_the_host_never_waits(no_host_reads, monkeypatch, mining, reduction):
    monkeypatch.setenv("VLALIGN_ENGINE", "0")
    x, y, labels = embedded()
    with no_host_reads:
        value, dx, _ = with_gradients(
            lambda x, y: triplet_loss(x, y, labels, mining=mining, reduction=reduction), x, y
        )
    assert value.isfinite().all()
    assert dx.isfinite().all()


def test_half_precision_is_computed_in_float32():
    x, y, labels = embedded(rows=20)
    narrow = triplet_loss(x.bfloat16(), y.bfloat16(), labels)
    assert narrow.dtype == torch.float32
    wide = triplet_loss(x.bfloat16().float(), y.bfloat16().float(), labels)
    assert torch.equal(narrow, wide)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(triplet_loss(x.float(), y.float()), triplet_loss(x.float(), y.float()))
        inside = triplet_loss(x, y, labels, mining="all")
    assert torch.equal(inside, triplet_loss(x, y, labels, mining="all"))


def test_inputs_in_any_state():
    x, y, labels = embedded(rows=10)
    wanted = triplet_loss(x, y, labels)
    assert torch.equal(triplet_loss(x.T.contiguous().T, y, labels.int()), wanted)
    flat = torch.ones(1, 4, dtype=torch.float64).expand(10, 4)
    assert torch.isfinite(triplet_loss(flat, y, labels))
    with torch.inference_mode():
        assert torch.equal(triplet_loss(x, y, labels), wanted)


def test_module_is_the_function_and_keeps_statistics():
    x, y, labels = embedded(rows=20)
    module = TripletLoss(margin=0.3, mining="all", intra=True, reduction="sum")
    assert module.statistics is None
    value = module(x, y, labels)
    wanted, seen = triplet_loss(
        x, y, labels, margin=0.3, mining="all", intra=True, reduction="sum", return_statistics=True
    )
    assert torch.equal(value, wanted)
    assert all(map(torch.equal, vars(module.statistics).values(), vars(seen).values()))
    assert "margin=0.3, mining='all', intra=True" in repr(module)


@pytest.mark.parametrize("mining", ["semi-hard", "all", "hardest"])
def test_two_processes(two_processes, mining):
    x, y, labels = embedded(rows=12)
    two_processes("vlalign_lib.losses:triplet_loss", x, y, labels, mining=mining, intra=True)
    two_processes("vlalign_lib.losses:triplet_loss", x, y, mining=mining, reduction="none")


def test_two_processes_draw_alike_or_say_why_not(two_processes):
    x, y, labels = embedded(rows=12)
    outcomes = two_processes.run("vlalign_lib.losses:triplet_loss", x, y, labels, mining="random")
    assert all("seeded alike" in str(outcome) for outcome in outcomes)
    two_processes("gathered:random_triplets", x, y, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(4, 3).numpy()}, "x: expected a torch tensor"),
        ({"x": torch.ones(5, 3)}, "x has 5 rows and y has 4"),
        ({"y": torch.ones(4, 2)}, "embed both into the same number of dimensions"),
        ({"x": torch.ones(0, 3), "y": torch.ones(0, 3)}, "need at least 1 rows"),
        ({"labels": [0, 1, 2]}, r"labels: expected shape \(4,\)"),
        ({"labels": [0.0, 1.0, 2.0, 3.0]}, "expected whole numbers"),
        ({"labels": ["a", "b", "a", "b"]}, r"labels: expected whole numbers \(4,\), .* got list"),
        ({"labels": "abab"}, "labels: expected whole numbers"),
        ({"labels": [[0], [1, 2], [0], [1]]}, "labels: expected whole numbers"),
        ({"labels": {}}, "labels: expected whole numbers"),
        ({"labels": torch.zeros(4, device="meta").long()}, "labels: is a tensor on the meta"),
        ({"margin": -0.1}, "margin: expected a number of at least 0"),
        ({"margin": float("nan")}, "margin: expected a finite number"),
        ({"mining": "semihard"}, 'mining: expected one of "semi-hard"'),
        ({"reduction": "average"}, 'reduction: expected one of "mean"'),
        ({"intra": True}, "without labels an item has no other positive"),
    ],
)
def test_bad_input(change, message):
    arguments = {"x": torch.ones(4, 3), "y": torch.ones(4, 3)} | change
    x, y = arguments.pop("x"), arguments.pop("y")
    with pytest.raises(ValueError, match=message):
        triplet_loss(x, y, **arguments)


def test_labels_as_arrays_of_any_kind():
    x, y, labels = embedded(rows=6)
    wanted = triplet_loss(x, y, labels)
    frozen = labels.numpy().copy()
    frozen.flags.writeable = False
    backwards = labels.numpy()[::-1].copy()[::-1]
    for form in (frozen, backwards, labels.tolist(), tuple(labels.tolist()), labels.int()):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(triplet_loss(x, y, form), wanted)
