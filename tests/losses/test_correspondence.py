"""Correspondence autoencoders: what each variant reconstructs, per dimension, and the codes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.losses import CorrespondenceLoss, correspondence_loss

NAME = "losses.correspondence_loss"
ALPHA = {"plain": 0.8, "cross": 0.2, "full": 0.8}


def autoencoded(rows=6, k=3, p=5, q=4, seed=0, dtype=torch.float64):
    """Codes, views and both kinds of reconstructions."""
    generator = torch.Generator().manual_seed(seed)

    def draw(d):
        return torch.randn(rows, d, dtype=torch.float64, generator=generator).to(dtype)

    return draw(k), draw(k), draw(p), draw(q), (draw(p), draw(q)), (draw(p), draw(q))


def call(u, v, x, y, own, crossed, variant="plain", **keywords):
    return correspondence_loss(
        u,
        v,
        x,
        y,
        own=own if variant != "cross" else None,
        crossed=crossed if variant != "plain" else None,
        variant=variant,
        **keywords,
    )


def by_loops(u, v, x, y, own, crossed, variant, alpha):
    """One loss a pair, summed entry by entry."""
    u, v, x, y = (t.numpy() for t in (u, v, x, y))
    used = {"plain": [own], "cross": [crossed], "full": [own, crossed]}[variant]
    values = []
    for i in range(len(u)):
        total = alpha * sum((u[i, j] - v[i, j]) ** 2 for j in range(u.shape[1])) / u.shape[1]
        for guesses in used:
            for view, guess in zip((x, y), guesses, strict=True):
                d = view.shape[1]
                error = sum((view[i, j] - float(guess[i, j])) ** 2 for j in range(d)) / d
                total += (1 - alpha) * error
        values.append(total)
    return np.array(values)


@pytest.mark.parametrize("alpha", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("variant", list(ALPHA))
def test_slow_loops(variant, alpha, agrees):
    data = autoencoded()
    theirs = by_loops(*data, variant, ALPHA[variant] if alpha is None else alpha)
    for reduction, expected in (("none", theirs), ("mean", theirs.mean()), ("sum", theirs.sum())):
        agrees(
            NAME,
            call(*data, variant, alpha=alpha, reduction=reduction),
            expected,
            kind="loop",
            against="squared errors summed one by one",
            tolerance=1e-14,
        )


@pytest.mark.parametrize("variant", list(ALPHA))
def test_gradient(variant, agrees):
    tensors = [
        t for part in autoencoded(rows=3) for t in (part if isinstance(part, tuple) else [part])
    ]
    tensors = [t.requires_grad_() for t in tensors]

    def loss(u, v, x, y, x_own, y_own, x_crossed, y_crossed):
        return call(u, v, x, y, (x_own, y_own), (x_crossed, y_crossed), variant)

    agrees.gradcheck(NAME, loss, tensors)
    agrees.gradcheck(NAME, loss, tensors, second=True)


def test_closed_form_of_the_best_code_without_reconstruction_and_without_codes(agrees):
    u, v, x, y, own, crossed = autoencoded()
    agrees(
        NAME,
        [
            call(u, v, x, y, own, crossed, alpha=1),
            call(u, v, x, y, own, crossed, alpha=0),
            call(u, u, x, y, (x, y), crossed),
        ],
        [
            float(((u - v) ** 2).mean()),
            float(((x - own[0]) ** 2).mean() + ((y - own[1]) ** 2).mean()),
            0.0,
        ],
        kind="closed form",
        against="its two terms alone",
        tolerance=1e-14,
    )


def test_full_is_plain_and_cross_with_the_codes_counted_once():
    data = autoencoded()
    full, plain, cross = (call(*data, v, alpha=0.3) for v in ("full", "plain", "cross"))
    codes = 0.3 * ((data[0] - data[1]) ** 2).mean()
    torch.testing.assert_close(full, plain + cross - codes, rtol=1e-14, atol=0)


def test_defaults_are_the_paper_s():
    data = autoencoded()
    for variant, alpha in ALPHA.items():
        assert torch.equal(call(*data, variant), call(*data, variant, alpha=alpha))


def test_terms_are_means_over_dimensions_so_that_alpha_keeps_its_meaning():
    """Every column three times: sums over dimensions would weigh the pictures three times."""
    u, v, x, y, own, crossed = autoencoded()
    wide = call(u, v, x.repeat(1, 3), y, (own[0].repeat(1, 3), own[1]), crossed)
    torch.testing.assert_close(wide, call(u, v, x, y, own, crossed), rtol=1e-14, atol=0)
    # With the sums of the paper 4096 pixels with errors of 0.1 would outweigh codes at distance 1.
    x, y = torch.zeros(2, 4096), torch.zeros(2, 1000)
    u = torch.zeros(2, 10)
    loss = correspondence_loss(u, u + 1, x, y, own=(x + 0.1, y), alpha=0.5)
    assert loss.item() == pytest.approx(0.5 * (0.01 + 1), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(
    variant=st.sampled_from(list(ALPHA)),
    alpha=st.floats(0, 1),
    rows=st.integers(1, 6),
    k=st.integers(1, 4),
    p=st.integers(1, 4),
    scale=st.floats(-3, 3),
    seed=st.integers(0, 99),
)
def test_invariances(variant, alpha, rows, k, p, scale, seed):
    u, v, x, y, own, crossed = data = autoencoded(rows, k, p, seed=seed)
    loss = call(*data, variant, alpha=alpha)
    assert loss >= 0
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))

    def every(change):
        return [
            tuple(map(change, part)) if isinstance(part, tuple) else change(part) for part in data
        ]

    rotation = torch.linalg.qr(torch.randn(k, k, dtype=u.dtype))[0]
    for changed, expected in (
        (every(lambda t: t[order]), loss),
        (every(lambda t: t + 7), loss),
        (every(lambda t: t * 10**scale), loss * 100**scale),
        ((u @ rotation, v @ rotation, x, y, own, crossed), loss),
        ((v, u, y, x, own[::-1], crossed[::-1]), loss),
    ):
        ours = call(*changed, variant, alpha=alpha)
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=0)


def train(alpha, steps=400):
    """A linear correspondence autoencoder on two views of two common numbers."""
    generator = torch.Generator().manual_seed(0)
    common = torch.randn(200, 2, generator=generator)
    x = common @ torch.randn(2, 6, generator=generator)
    y = common @ torch.randn(2, 5, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        f, g, back_x, back_y = (torch.nn.Linear(*dims) for dims in ((6, 2), (5, 2), (2, 6), (2, 5)))
    layers = (f, g, back_x, back_y)
    optimiser = torch.optim.Adam([w for layer in layers for w in layer.parameters()], lr=0.02)
    for _ in range(steps):
        u, v = f(x), g(y)
        optimiser.zero_grad()
        correspondence_loss(u, v, x, y, own=(back_x(u), back_y(v)), alpha=alpha).backward()
        optimiser.step()
    return (u - v).square().mean().item(), u.std(dim=0).mean().item()


def test_the_codes_spread_tells_a_collapse():
    (near, spread), (collapsed_distance, collapsed) = train(alpha=0.5), train(alpha=1.0)
    assert near < 0.01
    assert spread > 0.3
    assert collapsed_distance < 1e-4  # a perfect agreement about nothing
    assert collapsed < 0.5 * spread


def test_pictures_need_not_be_flattened():
    u, v, _, y, own, crossed = autoencoded(4)
    x, guess = torch.randn(2, 4, 1, 3, 5, dtype=torch.float64)
    flat = call(u, v, x.flatten(1), y, (guess.flatten(1), own[1]), crossed)
    assert torch.equal(call(u, v, x, y, (guess, own[1]), crossed), flat)
    assert torch.equal(call(u, v, x, y, (guess.flatten(1), own[1]), crossed), flat)


def test_module():
    u, v, x, y, own, crossed = data = autoencoded()
    module = CorrespondenceLoss("full", 0.3, "none")
    assert torch.equal(
        module(u, v, x, y, own=own, crossed=crossed),
        call(*data, "full", alpha=0.3, reduction="none"),
    )
    assert repr(module) == (
        "CorrespondenceLoss(variant='full', alpha=0.3, reduction='none', gather=False)"
    )
