"""The adversary: one loss, two directions, and a schedule between them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.losses import (
    DomainAdversarialLoss,
    GradientReversal,
    domain_adversarial_loss,
    gradient_reversal,
    reversal_schedule,
)

NAME = "losses.domain_adversarial_loss"


def views(rows=6, k=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, rows, k, dtype=torch.float64, generator=generator).to(dtype)
    return x, y + 0.5


def discriminator(k=3, outputs=2, seed=0, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [torch.nn.Linear(k, 5), torch.nn.Tanh(), torch.nn.Linear(5, outputs)]
    return torch.nn.Sequential(*layers).to(dtype)


def by_loops(x, y, judge):
    """The mean over the two rows of a pair of −log P(right view)."""
    values = []
    with torch.no_grad():
        for u, v in zip(x, y, strict=True):
            total = 0.0
            for row, right in ((u, 0), (v, 1)):
                a, b = judge(row[None])[0].tolist()
                total -= math.log(math.exp((a, b)[right]) / (math.exp(a) + math.exp(b)))
            values.append(total / 2)
    return np.array(values)


def test_slow_loops(agrees):
    x, y = views()
    judge = discriminator()
    theirs = by_loops(x, y, judge)
    for reduction, expected in (("none", theirs), ("mean", theirs.mean()), ("sum", theirs.sum())):
        agrees(
            NAME,
            domain_adversarial_loss(x, y, judge, reduction=reduction),
            expected,
            kind="loop",
            against="logarithms of probabilities, one by one",
            tolerance=1e-13,
        )


def test_beside_torch_s_cross_entropy(agrees):
    x, y = views()
    judge = discriminator()
    labels = torch.tensor([0] * 6 + [1] * 6)
    theirs = torch.nn.functional.cross_entropy(judge(torch.cat([x, y])), labels)
    agrees(
        NAME,
        domain_adversarial_loss(x, y, judge),
        theirs,
        kind="derivation",
        against="torch's cross-entropy of the stacked rows",
        tolerance=1e-14,
    )


def test_one_logit_and_two_say_the_same():
    x, y = views()
    two = discriminator()
    reference = domain_adversarial_loss(x, y, two)
    for shape in ((-1, 1), (-1,)):
        ours = domain_adversarial_loss(
            x, y, lambda z, s=shape: (two(z)[:, 1] - two(z)[:, 0]).reshape(s)
        )
        torch.testing.assert_close(ours, reference, rtol=1e-14, atol=0)


def test_a_fooled_discriminator_has_a_loss_of_ln_2(agrees):
    x, y = views()
    agrees(
        NAME,
        domain_adversarial_loss(x, y, lambda z: 0 * z[:, :2]),
        math.log(2),
        kind="closed form",
        against="an undecided discriminator: ln 2",
        tolerance=1e-15,
    )
    sure = domain_adversarial_loss(x * 0, y * 0 + 1, lambda z: 1e4 * (z[:, 0] - 0.5))
    assert sure == 0
    fooled = domain_adversarial_loss(x * 0, y * 0 + 1, lambda z: -1e4 * (z[:, 0] - 0.5))
    assert fooled == 5e3  # and not inf


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0, 2.0])
def test_encoders_get_minus_strength_times_the_gradient_and_the_discriminator_its_own(strength):
    judge = discriminator()
    weights = list(judge.parameters())

    def gradients(loss):
        x, y = (v.requires_grad_() for v in views())
        return torch.autograd.grad(loss(x, y), [x, y, *weights])

    labels = torch.tensor([0] * 6 + [1] * 6)
    plain = gradients(
        lambda x, y: torch.nn.functional.cross_entropy(judge(torch.cat([x, y])), labels)
    )
    ours = gradients(lambda x, y: domain_adversarial_loss(x, y, judge, strength=strength))
    for a, b in zip(ours[:2], plain[:2], strict=True):
        torch.testing.assert_close(a, -strength * b, rtol=1e-13, atol=1e-16)
    for a, b in zip(ours[2:], plain[2:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-16)


def test_strength_one_is_exactly_minus_one(agrees):
    """The sign test of a reversal: with and without it, the encoder's gradient adds up to zero."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        encoder = torch.nn.Linear(4, 3).double()
    judge = discriminator()
    x = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def gradients(layer):
        loss = judge(layer(encoder(x))).square().mean()
        return torch.autograd.grad(loss, list(encoder.parameters()))

    reversed_, plain = gradients(GradientReversal(1.0)), gradients(torch.nn.Identity())
    for a, b in zip(reversed_, plain, strict=True):
        assert torch.equal(a, -b)
        agrees(
            "losses.gradient_reversal",
            a,
            -b,
            kind="derivation",
            against="minus the gradient without it",
            tolerance=0,
        )


def test_gradient_beside_finite_differences(agrees):
    """A reversed gradient is no derivative of the value; of the discriminator's side it is."""
    x, y = views()
    judge = discriminator()
    names = [name for name, _ in judge.named_parameters()]

    def loss(*weights):
        functional = dict(zip(names, weights, strict=True))
        return domain_adversarial_loss(
            x, y, lambda z: torch.func.functional_call(judge, functional, (z,))
        )

    weights = [w.detach().requires_grad_() for w in judge.parameters()]
    agrees.gradcheck(NAME, loss, weights)
    agrees.gradcheck(NAME, loss, weights, second=True)

    # With two reversals the signs cancel, and the views' side can be checked as well.
    def twice(x, y):
        return domain_adversarial_loss(gradient_reversal(x), gradient_reversal(y), judge)

    agrees.gradcheck(NAME, twice, [x.requires_grad_(), y.requires_grad_()])


def test_one_optimiser_over_all_weights_plays_the_game():
    """Two clouds apart: trained jointly with the reversal, the adversary ends up fooled."""

    def play(strength):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(200, 2, generator=generator)
        y = torch.randn(200, 2, generator=generator) + 3
        shift = torch.nn.Parameter(torch.zeros(2))
        judge = discriminator(2, dtype=torch.float32)
        optimiser = torch.optim.SGD([{"params": [shift]}, {"params": judge.parameters()}], lr=0.3)
        for _ in range(400):
            optimiser.zero_grad()
            loss = domain_adversarial_loss(x + shift, y, judge, strength=strength)
            loss.backward()
            optimiser.step()
        return loss.item()

    assert play(1.0) > 0.55
    assert play(0.0) < 0.1


def test_the_discriminator_is_asked_once():
    """Batch statistics of one view alone would be worth nothing to an adversary."""
    calls = []
    x, y = views()

    def judge(z):
        calls.append(z.shape)
        return z[:, :2]

    domain_adversarial_loss(x, y, judge)
    assert calls == [(12, 3)]


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 8), k=st.integers(1, 5), seed=st.integers(0, 99))
def test_invariances(rows, k, seed):
    x, y = views(rows, k, seed)
    judge = discriminator(k, seed=seed)
    loss = domain_adversarial_loss(x, y, judge)
    assert loss > 0
    generator = torch.Generator().manual_seed(seed)
    order, partners = (torch.randperm(rows, generator=generator) for _ in range(2))
    for ours in (
        domain_adversarial_loss(x[order], y[partners], judge),  # no use is made of the pairs
        domain_adversarial_loss(y, x, lambda z: judge(z).flip(1)),
        domain_adversarial_loss(x, y, lambda z: judge(z) + 7),
        domain_adversarial_loss(x, y, judge, strength=0.2),
    ):
        torch.testing.assert_close(ours, loss, rtol=1e-12, atol=0)


def test_reversal_keeps_everything_but_the_gradient():
    for shape in ((), (3,), (2, 0), (2, 3, 4)):
        x = torch.randn(shape, dtype=torch.float16, requires_grad=True)
        ours = gradient_reversal(x, 0.5)
        assert torch.equal(ours, x)
        assert ours.dtype == x.dtype
        ours.sum().backward()
        assert torch.equal(x.grad, torch.full(shape, -0.5, dtype=torch.float16))
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (g,) = torch.autograd.grad((gradient_reversal(x, 2.0) ** 3).sum(), x, create_graph=True)
    assert torch.equal(g, torch.full((3,), -6.0, dtype=torch.float64))
    (h,) = torch.autograd.grad(g.sum(), x)  # of −λ·3R(x)², and R is reversed once more
    assert torch.equal(h, torch.full((3,), 24.0, dtype=torch.float64))
    layer = GradientReversal(0.25)
    assert repr(layer) == "GradientReversal(strength=0.25)"
    layer.strength = 4.0
    (g,) = torch.autograd.grad(layer(x).sum(), x)
    assert torch.equal(g, torch.full((3,), -4.0, dtype=torch.float64))


def test_schedule(agrees):
    steps = np.linspace(0, 1, 11)
    for slope in (10.0, 3.0):
        agrees(
            "losses.reversal_schedule",
            [reversal_schedule(t, slope=slope) for t in steps],
            2 / (1 + np.exp(-slope * steps)) - 1,
            kind="closed form",
            against="2/(1 + e^(−st)) − 1",
            tolerance=1e-15,
        )
    assert reversal_schedule(0) == 0
    assert reversal_schedule(1) == pytest.approx(0.9999092, abs=1e-7)
    assert reversal_schedule(1, slope=1e6) == 1
    assert isinstance(reversal_schedule(np.float32(0.5)), float)
    values = [reversal_schedule(t) for t in steps]
    assert values == sorted(values)


def test_the_precision_of_the_discriminator_is_its_own_affair():
    judge = discriminator().float()
    x, y = views(50, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = domain_adversarial_loss(x, y, judge, reduction="none")
    assert half.dtype == torch.float32
    ours = domain_adversarial_loss(x, y, judge, reduction="none")
    torch.testing.assert_close(half, ours, rtol=0, atol=0.02)


def test_bad_input_of_reversal_and_schedule():
    for bad in (torch.ones(2, dtype=torch.int64), np.ones(2), None):
        with pytest.raises(ValueError, match="x: expected a torch tensor of real numbers"):
            gradient_reversal(bad)
    with pytest.raises(ValueError, match="strength"):
        gradient_reversal(torch.ones(2), -0.5)
    for bad in (-0.1, 1.1, math.nan, "half"):
        with pytest.raises(ValueError, match="progress"):
            reversal_schedule(bad)
    for bad in (0, -1, math.inf):
        with pytest.raises(ValueError, match="slope"):
            reversal_schedule(0.5, slope=bad)


def test_module():
    x, y = views()
    judge = discriminator()
    module = DomainAdversarialLoss(judge, strength=0.5, reduction="sum")
    assert torch.equal(module(x, y), domain_adversarial_loss(x, y, judge, reduction="sum"))
    assert len(list(module.parameters())) == 4
    assert repr(module).startswith(
        "DomainAdversarialLoss(\n  strength=0.5, reduction='sum', gather=False\n"
    )
