"""The contrastive loss over all pairs: loops, closed forms, gradients, the point of contact."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slopes import with_gradients

from vlalign_lib.losses import ContrastivePairLoss, contrastive_pair_loss

NAME = "losses.contrastive_pair_loss"


def embedded(rows=9, width=3, classes=3, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    centres = rng.standard_normal((classes, width))[labels]
    views = (0.4 * centres + 0.2 * rng.standard_normal((rows, width)) for _ in range(2))
    x, y = (torch.tensor(view, dtype=dtype) for view in views)
    return x, y, torch.tensor(labels)


def by_loops(x, y, labels, margin):
    """Half the sum over texts of each image, and the gradients pair by pair."""
    x, y = x.numpy(), y.numpy()
    sums, dx, dy = np.zeros(len(x)), np.zeros_like(x), np.zeros_like(y)
    for i in range(len(x)):
        for j in range(len(y)):
            gap = x[i] - y[j]
            d = math.sqrt(sum(gap**2))
            if labels[i] == labels[j]:
                sums[i] += d**2 / 2
                pull = gap
            else:
                sums[i] += max(0.0, margin - d) ** 2 / 2
                pull = -max(0.0, margin - d) * gap / d
            dx[i] += pull
            dy[j] -= pull
    return sums, dx, dy


@pytest.mark.parametrize("labelled", [True, False])
def test_beside_loops(agrees, labelled):
    x, y, labels = embedded()
    classes = labels if labelled else torch.arange(len(x))
    labels = labels if labelled else None
    wanted = by_loops(x, y, classes.tolist(), 0.8)
    assert wanted[0].min() > 0
    against = "loops over the pairs"

    def ours(reduction):
        return with_gradients(
            lambda x, y: contrastive_pair_loss(x, y, labels, margin=0.8, reduction=reduction),
            x,
            y,
        )

    for got, number in zip(ours("none"), wanted, strict=True):
        agrees(NAME, got, number, kind="loop", against=against, tolerance=1e-13)
    agrees(NAME, ours("sum")[0], wanted[0].sum(), kind="loop", against=against, tolerance=1e-13)
    agrees(
        NAME, ours("mean")[0], wanted[0].sum() / 9, kind="loop", against=against, tolerance=1e-13
    )


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_closed_forms(agrees, batch):
    x = torch.full((batch, 3), 0.3, dtype=torch.float64)
    value, dx, dy = with_gradients(lambda x, y: contrastive_pair_loss(x, y, margin=1.5), x, x)
    agrees(
        NAME, value, 1.5**2 * (batch - 1) / 2, kind="closed form",
        against="one point: m²(B − 1)/2", tolerance=1e-14, absolute=True,
    )  # fmt: skip
    assert not dx.any()
    assert not dy.any()
    # Partners on one point, strangers further apart than the margin.
    x = 2 * torch.eye(batch, dtype=torch.float64)
    assert float(contrastive_pair_loss(x, x, margin=2.8)) == 0.0
    # One class: the mean squared distance between the views, times B / 2.
    x, y, _ = embedded(rows=batch)
    wanted = sum(float(((a - b) ** 2).sum()) for a in x for b in y) / (2 * batch)
    loss = contrastive_pair_loss(x, y, torch.zeros(batch, dtype=torch.int64))
    agrees(
        NAME, loss, wanted, kind="closed form", against="one class: squared distances",
        tolerance=1e-14,
    )  # fmt: skip


def test_positives_beside_pytorch_metric_learning(agrees, peer):
    # Theirs has [d]₊ and [1 − d]₊, not squared, averages over what is not zero and takes the
    # distances of unit vectors unless told otherwise. With squared distances its positive half is
    # ours; its negative half is [m − d²]₊, another loss.
    peer("pytorch_metric_learning")
    from pytorch_metric_learning import distances, losses, reducers

    x, y, labels = embedded(rows=40, width=8, classes=5)
    theirs = losses.ContrastiveLoss(
        pos_margin=0,
        neg_margin=0,
        distance=distances.LpDistance(normalize_embeddings=False, power=2),
        reducer=reducers.SumReducer(),
    )

    def both(x, y):
        return theirs(x, labels, ref_emb=y, ref_labels=labels.clone()) / 2

    def ours(x, y):
        return contrastive_pair_loss(x, y, labels, margin=0, reduction="sum")

    for got, wanted in zip(with_gradients(ours, x, y), with_gradients(both, x, y), strict=True):
        agrees(
            NAME, got, wanted, kind="peer", against="pytorch-metric-learning, positives alone",
            tolerance=1e-12,
        )  # fmt: skip


@given(
    rows=st.integers(1, 15),
    width=st.integers(1, 5),
    classes=st.integers(1, 15),
    margin=st.floats(0, 3),
    block=st.integers(1, 200),
    keep=st.booleans(),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
@pytest.mark.engine
def test_blocks_and_shapes_beside_loops(in_blocks, rows, width, classes, margin, block, keep, seed):
    x, y, labels = embedded(rows, width, classes, seed)
    with in_blocks(block, 2**23 if keep else 0):
        ours = with_gradients(
            lambda x, y: contrastive_pair_loss(x, y, labels, margin=margin, reduction="none"),
            x,
            y,
        )
    for got, wanted in zip(ours, by_loops(x, y, labels.tolist(), margin), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradients(agrees, reduction):
    x, y, labels = embedded(rows=6)

    def call(x, y):
        return contrastive_pair_loss(x, y, labels, reduction=reduction)

    inputs = (x.requires_grad_(), y.requires_grad_())
    agrees.gradcheck(NAME, call, inputs, tolerance=1e-7)
    agrees.gradcheck(NAME, call, inputs, second=True, tolerance=1e-6)


def test_small_distances_keep_their_digits():
    # From inner products the distance 1e-4 beside vectors of length 100 would be noise.
    y = torch.full((1, 4), 50.0)
    x = y.clone()
    x[0, 0] += 2**-13
    assert float(contrastive_pair_loss(x, y)) == 2**-26 / 2


def test_distances_and_margin_have_one_unit():
    x, y, labels = embedded(rows=15)
    wanted = 16 * contrastive_pair_loss(x, y, labels)
    ours = contrastive_pair_loss(4 * x, 4 * y, labels, margin=4.0)
    torch.testing.assert_close(ours, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("view", [0, 1])
def test_nan_stays_with_the_pairs_it_is_in(view):
    views = embedded()
    views[view][2, 1] = torch.nan
    each = contrastive_pair_loss(*views, reduction="none")
    assert each.isnan().sum() == (1 if view == 0 else len(each))


@pytest.mark.parametrize("labels", [None, [0, 0, 0, 0], [0, 0, 0, 1]])
def test_extremes_are_finite(labels):
    x, y, _ = embedded(rows=4)
    x[0], y[0], y[1] = 0, 0, 0  # a pair, and a stranger, on one point
    x[2] = 1e8
    each = with_gradients(lambda x, y: contrastive_pair_loss(x, y, labels), x, y)
    assert all(torch.isfinite(part).all() for part in each)


def test_module_is_the_function():
    x, y, labels = embedded()
    module = ContrastivePairLoss(margin=0.5, reduction="sum")
    wanted = contrastive_pair_loss(x, y, labels, margin=0.5, reduction="sum")
    assert torch.equal(module(x, y, labels), wanted)
    assert "margin=0.5" in repr(module)
