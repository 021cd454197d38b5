"""The contrastive form of S2DTW: definition, hard negatives, order of the batch, processes."""

import copy
import math
import pickle

import pytest
import torch

from vlalign_lib.losses import S2DTWContrastiveLoss, s2dtw_contrastive_loss
from vlalign_lib.temporal import s2dtw, sequence_cost


def videos(batch=5, n=4, m=3, d=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, n, d, generator=generator, dtype=torch.float64),
        torch.randn(batch, m, d, generator=generator, dtype=torch.float64),
    )


def by_definition(x, y, temperature=1.0, cost="shifted_cosine", **layers):
    """Of every text i: log Σ_j exp s_ij − s_ii over the videos j."""
    losses = []
    for i in range(len(y)):
        scores = [
            -s2dtw(sequence_cost(x[j : j + 1], y[i : i + 1], cost), **layers)[0] / temperature
            for j in range(len(x))
        ]
        losses.append(sum(score.exp() for score in scores).log() - scores[i])
    return torch.stack(losses)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gamma": 1.0, "temperature": 3.0},
        {"smoothing": False, "weak": False},
        {"cost": "euclidean", "dummy": 1.5},
        {"cost": "cosine", "gamma": 0.0},
    ],
)
def test_definition(settings, agrees):
    x, y = videos()
    expected = by_definition(x, y, **settings)
    for reduction, reduced in (
        ("none", expected),
        ("mean", expected.mean()),
        ("sum", expected.sum()),
    ):
        agrees(
            "losses.s2dtw_contrastive_loss",
            s2dtw_contrastive_loss(x, y, reduction=reduction, **settings),
            reduced,
            kind="loop",
            against="pair by pair",
            tolerance=1e-12,
        )


def test_both_directions():
    x, y = videos(m=4)
    there = by_definition(x, y)
    back = by_definition(y, x)
    both = s2dtw_contrastive_loss(x, y, symmetric=True, reduction="none")
    torch.testing.assert_close(both, (there + back) / 2, rtol=1e-12, atol=1e-13)
    assert (there - back).abs().max() > 1e-3


@pytest.mark.parametrize("settings", [{}, {"symmetric": True, "cost": "euclidean"}])
def test_gradients(settings, agrees):
    x, y = (v.requires_grad_() for v in videos(batch=3, n=2, m=3, d=4))

    def loss(x, y):
        lengths = {"lengths_x": torch.tensor([2, 1, 2]), "lengths_y": torch.tensor([3, 3, 2])}
        return s2dtw_contrastive_loss(x, y, gamma=0.3, **lengths, **settings)

    agrees.gradcheck("losses.s2dtw_contrastive_loss", loss, (x, y))
    agrees.gradcheck("losses.s2dtw_contrastive_loss", loss, (x, y), second=True)


def test_gradient_is_the_weight_of_the_pair_times_its_alignment(agrees):
    # ∂L/∂δ_ij = (1[i = j] − p_ij)/(τB) · ∂S2DTW_ij/∂δ, pulled back to the clips and captions.
    batch, temperature = 4, 2.0
    x, y = (v.requires_grad_() for v in videos(batch))
    loss = s2dtw_contrastive_loss(x, y, temperature=temperature)
    got = torch.autograd.grad(loss, (x, y))
    scores = torch.empty(batch, batch, dtype=torch.float64)
    slopes, costs = {}, {}
    for i in range(batch):
        for j in range(batch):
            costs[i, j] = sequence_cost(x[j : j + 1], y[i : i + 1])
            leaf = costs[i, j].detach().requires_grad_()
            value = s2dtw(leaf)
            (slopes[i, j],) = torch.autograd.grad(value.sum(), leaf)
            scores[i, j] = -value.item() / temperature
    weights = (torch.eye(batch) - scores.softmax(1)) / (temperature * batch)
    total = sum((costs[q] * slopes[q]).sum() * weights[q] for q in costs)
    expected = torch.autograd.grad(total, (x, y))
    for ours, theirs in zip(got, expected, strict=True):
        agrees(
            "losses.s2dtw_contrastive_loss",
            ours,
            theirs,
            kind="derivation",
            against="softmax weight times alignment",
            tolerance=1e-12,
        )


def test_hard_negatives_are_pushed_most():
    # Video 1 shows almost what video 0 does; its clips feel text 0 more than video 2's and 3's.
    x, _ = videos(4, n=5, d=16)
    y = x.clone()
    x[1] = x[0] + 0.3 * x[1]
    x.requires_grad_()
    losses = s2dtw_contrastive_loss(x, y, reduction="none")
    (gradient,) = torch.autograd.grad(losses[0], x)
    sizes = gradient.flatten(1).norm(dim=1)
    assert sizes[1] > 100 * sizes[2:].max()


def test_below_chance_for_aligned_pairs_and_at_chance_on_one_point():
    x, _ = videos(8, d=32)
    assert s2dtw_contrastive_loss(x, x) < 0.1 * math.log(8)
    point = torch.ones(8, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(
        s2dtw_contrastive_loss(point, point), torch.tensor(math.log(8)).double()
    )


def test_size_of_the_vectors_and_of_the_blocks_do_not_matter():
    x, y = videos()
    loss = s2dtw_contrastive_loss(x, y)
    torch.testing.assert_close(s2dtw_contrastive_loss(7 * x, 0.1 * y), loss, rtol=1e-12, atol=0)
    torch.testing.assert_close(s2dtw_contrastive_loss(x, y, max_cells=1), loss, rtol=1e-12, atol=0)


def test_lengths():
    x, y = videos(4)
    lengths_x, lengths_y = torch.tensor([4, 2, 3, 1]), torch.tensor([1, 3, 2, 3])
    scores = torch.stack(
        [
            torch.stack(
                [
                    -s2dtw(sequence_cost(x[j, :n][None], y[i, :m][None]))[0]
                    for j, n in enumerate(lengths_x)
                ]
            )
            for i, m in enumerate(lengths_y)
        ]
    )
    expected = scores.logsumexp(1) - scores.diagonal()
    got = s2dtw_contrastive_loss(x, y, lengths_x=lengths_x, lengths_y=lengths_y, reduction="none")
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)


def test_augmentation_permutes_both_views():
    x, y = videos(6, n=5, m=5)

    def loss(seed, temperature):
        generator = torch.Generator().manual_seed(seed)
        return s2dtw_contrastive_loss(x, y, augment=temperature, generator=generator).item()

    plain = s2dtw_contrastive_loss(x, y).item()
    assert loss(0, 1e-6) == plain
    assert loss(0, 10.0) == loss(0, 10.0)
    assert len({loss(seed, 10.0) for seed in range(5)} | {plain}) == 6


def test_training_separates_videos():
    torch.manual_seed(0)
    x, y = videos(8, n=4, m=4, d=8)
    head = torch.nn.Linear(8, 8).double()
    optimiser = torch.optim.Adam(head.parameters(), lr=0.03)
    first = s2dtw_contrastive_loss(head(x), y).item()
    for _ in range(60):
        optimiser.zero_grad()
        loss = s2dtw_contrastive_loss(head(x), y)
        loss.backward()
        optimiser.step()
    assert loss < 0.5 * first
    assert loss < math.log(8)


def test_one_pair_has_nothing_to_learn_from():
    x, y = (v.requires_grad_() for v in videos(1))
    loss = s2dtw_contrastive_loss(x, y)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.grad(loss, x)[0].abs().max() < 1e-12


def test_module():
    x, y = videos()
    module = S2DTWContrastiveLoss(gamma=0.2, temperature=2.0, symmetric=True)
    expected = s2dtw_contrastive_loss(x, y, gamma=0.2, temperature=2.0, symmetric=True)
    for twin in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(x, y), expected)
    assert "gamma=0.2, dummy=0.5, smoothing=True" in repr(module)
    drawn = S2DTWContrastiveLoss(augment=10.0)
    torch.manual_seed(0)
    assert drawn(x, y) != s2dtw_contrastive_loss(x, y)
    assert drawn.eval()(x, y) == s2dtw_contrastive_loss(x, y)
    for name, wrong in (("augment", 0.0), ("cost", "dot"), ("gamma", -1.0), ("temperature", 0)):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            S2DTWContrastiveLoss(**{name: wrong})
