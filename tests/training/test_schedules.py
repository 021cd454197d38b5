"""The rate at 0, at the end of the warm-up and at the end, and that the optimiser gets it."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import FitConfig, fit, warmup_constant, warmup_cosine

WARM, TOTAL = 100_000, 250_000


def test_the_documented_rates():
    """From 1e-5 in a line to 1e-3 over 100,000 steps, then along a cosine to 0."""

    def rate(t):
        return 1e-3 * warmup_cosine(t, TOTAL, warmup=WARM, start=0.01)

    assert rate(0) == pytest.approx(1e-5, rel=1e-12)
    assert rate(WARM) == 1e-3
    assert rate(TOTAL) == 0.0
    assert rate(40_000) == pytest.approx(1e-5 + (1e-3 - 1e-5) * 0.4, rel=1e-12)
    assert rate((WARM + TOTAL) // 2) == pytest.approx(5e-4, rel=1e-12)


def test_as_released_it_starts_at_nothing():
    assert warmup_cosine(0, 10, warmup=5) == 0.0
    assert warmup_constant(0, 10, warmup=5) == 0.0


def test_up_without_a_jump_and_then_down():
    factors = [warmup_cosine(t, 50, warmup=20, start=0.1) for t in range(51)]
    assert np.argmax(factors) == 20
    assert (np.diff(factors[:21]) > 0).all()
    assert (np.diff(factors[20:]) < 0).all()
    np.testing.assert_allclose(np.diff(factors[:21]), 0.9 / 20, rtol=1e-12)
    for t in range(20, 51):
        assert factors[t] == pytest.approx((1 + math.cos(math.pi * (t - 20) / 30)) / 2, abs=1e-15)


def test_without_warm_up_they_begin_at_the_top():
    assert warmup_cosine(0, 10) == 1.0
    assert {warmup_constant(t, 10) for t in range(11)} == {1.0}
    assert warmup_cosine(10, 10, warmup=10) == 1.0
    line = [warmup_constant(t, 10, warmup=4, start=0.2) for t in (0, 2, 4, 10)]
    assert line == pytest.approx([0.2, 0.6, 1.0, 1.0], rel=1e-15)


@pytest.mark.parametrize("curve", [warmup_cosine, warmup_constant])
@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((-1, 10), {}, "step: expected 0 to 10"),
        ((11, 10), {}, "step: expected 0 to 10"),
        ((0, 10), {"warmup": 11}, "warmup: 11 steps, but training has 10; use fewer"),
        ((0, 10), {"warmup": -1}, "warmup"),
        ((0, 10), {"start": 1.5}, "start: expected a share between 0 and 1"),
        ((0, 10), {"start": math.nan}, "start"),
    ],
)
def test_nonsense_is_refused(curve, arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        curve(*arguments, **settings)


def rates(**settings):
    """The learning rate of each of six updates, read off plain gradient descent on −w."""
    model = nn.Linear(1, 1, bias=False)
    before, seen = [model.weight.item()], []

    def loss(model, x):
        seen.append(model.weight.item())
        return -model.weight.sum()

    schedule = settings.pop("by", None)
    fit(
        model.double(),
        loss,
        (np.zeros((4, 1)),),
        FitConfig(3, 2, learning_rate=0.5, device="cpu", progress=False, **settings),
        optimiser=lambda weights: torch.optim.SGD(weights, lr=0.5),
        schedule=schedule,
    )
    assert seen[0] == pytest.approx(before[0])
    return np.diff([*seen, model.weight.item()])


def test_the_loop_asks_before_every_update():
    np.testing.assert_allclose(rates(), 0.5, rtol=1e-9)
    np.testing.assert_allclose(
        rates(schedule="cosine", warmup=2, warmup_start=0.1),
        [0.5 * warmup_cosine(t, 6, warmup=2, start=0.1) for t in range(6)],
        rtol=1e-9,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        rates(by=lambda step, total: (step + 1) / total), np.arange(1, 7) / 12, rtol=1e-9
    )


def test_a_warm_up_longer_than_the_training_is_refused_at_once():
    with pytest.raises(ValueError, match="warmup: 7 steps, but training has 6"):
        rates(warmup=7)
