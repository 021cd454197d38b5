"""The triplet loss: every mining beside loops, kernels beside the reference, gradients, limits."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slopes import with_gradients

from vlalign_lib.losses import TripletLoss, triplet_loss

NAME = "losses.triplet_loss"
MININGS = ("semi-hard", "all", "hardest", "random")


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
    """For each anchor one of the rows of other classes, which stand in the order of classes."""
    generator, classes = seeded(seed), labels.tolist()
    picks = []
    for _ in range(directions):
        numbers = torch.rand(len(labels), generator=generator, dtype=torch.float64).tolist()
        others = [
            [j for j in np.argsort(classes, kind="stable") if classes[j] != each]
            for each in classes
        ]
        picks.append([o[int(r * len(o))] if o else 0 for o, r in zip(others, numbers, strict=True)])
    return picks


def without_engine(call, *inputs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLALIGN_ENGINE", "0")
        return call(*inputs)


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
    intra=st.booleans(),
    mining=st.sampled_from(MININGS),
    reduction=st.sampled_from(["sum", "none"]),
    block=st.integers(1, 400),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=150, deadline=None)
def test_kernels_beside_the_plain_form(
    in_blocks, rows, classes, intra, mining, reduction, block, seed, dtype
):
    x, y, labels = embedded(rows, classes=classes, seed=seed, dtype=dtype)
    options = {"mining": mining, "intra": intra, "reduction": reduction}

    def call(x, y):
        return triplet_loss(x, y, labels, generator=seeded(seed), **options)

    def seen():
        return triplet_loss(
            x, y, labels, generator=seeded(seed), return_statistics=True, **options
        )[1]

    with in_blocks(block):
        ours, counts = with_gradients(call, x, y), seen()
    plain, wanted = without_engine(with_gradients, call, x, y), without_engine(seen)
    near = 1e-12 if dtype == torch.float64 else 1e-4
    for got, each in zip(ours, plain, strict=True):
        torch.testing.assert_close(got, each, rtol=near, atol=near * (1 + float(each.abs().max())))
    assert torch.equal(counts.triplets, wanted.triplets)
    assert abs(int(counts.active - wanted.active)) <= (0 if dtype == torch.float64 else 2)


@pytest.mark.parametrize("engine", ["0", pytest.param("1", marks=pytest.mark.engine)])
@given(
    rows=st.integers(1, 12),
    classes=st.integers(1, 6),
    intra=st.booleans(),
    mining=st.sampled_from(MININGS),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=100, deadline=None)
def test_ties_and_edges_beside_loops(engine, rows, classes, intra, mining, seed):
    # Corners of a cube in 4 dimensions: cosines are halves and exact, equals are equal, edges met.
    generator = seeded(seed)
    x, y = (torch.randint(0, 2, (2, rows, 4), generator=generator) * 2 - 1).double()
    labels = torch.randint(classes, (rows,), generator=generator)
    picks = drawn_picks(labels, 4)
    each, active, count, _ = by_loops(x, y, labels.tolist(), 0.5, mining, intra, picks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLALIGN_ENGINE", engine)
        loss, seen = triplet_loss(
            x, y, labels, margin=0.5, mining=mining, intra=intra, generator=seeded(),
            reduction="none", return_statistics=True,
        )  # fmt: skip
    np.testing.assert_array_equal(loss, each)
    assert (int(seen.active), int(seen.triplets)) == (active, count)


@pytest.mark.engine
@pytest.mark.parametrize("mining", ["all", "semi-hard"])
def test_kernels_beside_the_plain_form_where_a_class_is_large(mining):
    # More positives than are compared one by one: the searching branch.
    x, y, labels = embedded(rows=400, classes=2)

    def call(x, y):
        return triplet_loss(x, y, labels, mining=mining)

    ours = with_gradients(call, x, y)
    for got, wanted in zip(ours, without_engine(with_gradients, call, x, y), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-11, atol=1e-15)


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
        # All images along the first axis; text 0 is the partner of image 0.
        y = torch.tensor([[c, math.sqrt(1 - c * c)] for c in cosines], dtype=torch.float64)
        x = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(y), 2)
        each = triplet_loss(x, y, margin=0.2, reduction="none")
        return float(each[0]) - 0.2  # the text is as similar to all images

    assert loss(0.5, 0.45, 0.9, 0.1) == pytest.approx(0.15)  # not the harder 0.9
    assert loss(0.5, 0.9, 0.7) == pytest.approx(0.4)  # none below: the easiest, not 0.9
    assert loss(0.5, 0.9, 0.1) == pytest.approx(0.0, abs=1e-15)  # the easiest is solved
    assert loss(0.5, 0.3 - 1e-12, 0.9) == pytest.approx(0.0, abs=1e-15)  # at the band's far edge


def test_all_averages_over_active_triplets_alone():
    x, y, labels = embedded(rows=40, classes=4, seed=1)
    total = triplet_loss(x, y, labels, mining="all", reduction="sum")
    mean, seen = triplet_loss(x, y, labels, mining="all", return_statistics=True)
    assert 0.05 < float(seen.active_fraction) < 0.95
    torch.testing.assert_close(mean, total / seen.active, rtol=1e-14, atol=0)


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


def test_random_negatives_are_of_another_class_and_uniform():
    # Images on one point and a margin that nothing solves: the hinge tells the negative's cosine.
    labels = torch.tensor([0, 1, 0, 2, 2, 0, 1])
    cosines = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64)
    y = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1)
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(7, 2)
    same = (labels[:, None] == labels).double()
    generator, counts = seeded(), torch.zeros(7, 7)
    for _ in range(600):
        each = triplet_loss(
            x, y, labels, margin=3.0, mining="random", reduction="none", generator=generator
        )
        drawn = (each + same @ cosines) / same.sum(dim=1) - 6
        nearest = (drawn[:, None] - cosines).abs().min(dim=1)
        assert nearest.values.max() < 1e-12
        counts[torch.arange(7), nearest.indices] += 1
    assert not counts[same.bool()].any()
    expected = (600 / (1 - same).sum(dim=1, keepdim=True)).expand(7, 7)[same == 0]
    assert ((counts[same == 0] - expected).abs() < 5 * expected.sqrt()).all()


def test_random_mining_repeats_with_its_generator():
    x, y, labels = embedded(rows=30)
    first, again, other = (
        triplet_loss(x, y, labels, mining="random", generator=seeded(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_on_a_gpu_the_host_never_waits_for_random_negatives(no_host_reads, monkeypatch):
    monkeypatch.setenv("VLALIGN_ENGINE", "0")
    x, y, labels = embedded()
    with no_host_reads:
        found = with_gradients(lambda x, y: triplet_loss(x, y, labels, mining="random"), x, y)
    assert all(part.isfinite().all() for part in found)


@pytest.mark.parametrize("view", [0, 1])
def test_nan_comes_out_of_random_mining_as_nan(backend, view):
    views = embedded()
    views[view][3, 1] = torch.nan
    found = with_gradients(lambda x, y: triplet_loss(x, y, views[2], mining="random"), *views[:2])
    assert all(part.isnan().any() for part in found)


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


def test_two_processes_draw_alike_or_say_why_not(two_processes):
    x, y, labels = embedded(rows=12)
    outcomes = two_processes.run("vlalign_lib.losses:triplet_loss", x, y, labels, mining="random")
    assert all("seeded alike" in str(outcome) for outcome in outcomes)
    two_processes("gathered:random_triplets", x, y, labels)
