"""What a loss is told, what it may be made of, and what epochs may be compared by."""

import functools
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import FitConfig, FitContext, fit, seeded

X = np.random.default_rng(0).normal(size=(10, 2))
CONFIG = FitConfig(epochs=3, batch_size=4, device="cpu", progress=False)


def squared(model, x):
    return model(x).square().mean()


def test_the_loss_is_told_where_training_stands():
    seen = []

    def loss(model, x, context):
        assert isinstance(context, FitContext)
        seen.append((context.step, context.epoch, context.progress, context.training))
        return squared(model, x)

    fit(nn.Linear(2, 1), loss, (X,), CONFIG, validation=(X[:4],))
    steps = [entry for entry in seen if entry[3]]
    assert [entry[0] for entry in steps] == list(range(1, 10))
    assert [entry[1] for entry in steps] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [entry[2] for entry in steps] == pytest.approx([t / 9 for t in range(9)], abs=1e-15)
    after = [entry for entry in seen if not entry[3]]
    assert after == [(3, 1, 3 / 9, False), (6, 2, 6 / 9, False), (9, 3, 1.0, False)]


def test_any_callable_may_ask_for_it():
    class Loss:
        def __call__(self, model, x, *, context):
            steps.append(context.step)
            return squared(model, x)

    def weighted(model, x, weight, context):
        steps.append(context.step)
        return weight * squared(model, x)

    for loss in (Loss(), functools.partial(weighted, weight=2.0)):
        steps = []
        fit(nn.Linear(2, 1), loss, (X,), CONFIG)
        assert steps == list(range(1, 10))


def test_a_loss_with_a_state_of_its_own_is_sent_into_the_model():
    class Centres(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("centres", torch.zeros(2))

        def forward(self, model, x):
            return squared(model, x)

    with pytest.raises(ValueError, match=r"Centres has .* make it a part of the model"):
        fit(nn.Linear(2, 1), Centres(), (X,), CONFIG)

    class Stateless(nn.Module):
        def forward(self, model, x):
            return squared(model, x)

    assert fit(nn.Linear(2, 1), Stateless(), (X,), CONFIG).steps == 9


def test_all_draws_are_seeded_and_global_states_are_left_alone():
    def drawn(seed, disturb):
        random.seed(disturb)
        torch.manual_seed(disturb)
        before = random.getstate(), torch.get_rng_state()
        found = []

        def loss(model, x, context):
            found.append((context.rng.random(), random.random(), torch.rand(()).item()))
            return squared(model, x)

        config = FitConfig(1, 5, seed=seed, device="cpu", progress=False)
        with seeded(0):
            model = nn.Linear(2, 1)
        fit(model, loss, (X,), config)
        assert random.getstate() == before[0]
        assert torch.equal(torch.get_rng_state(), before[1])
        return found

    assert drawn(1, 7) == drawn(1, 8)
    assert drawn(1, 7) != drawn(2, 7)
    assert len({value for draw in drawn(1, 7) for value in draw}) == 6


def test_a_step_moves_only_what_its_loss_reaches():
    """Turns between two parts of a model, as an adversary and its opponent take them."""
    model = nn.ModuleDict({"one": nn.Linear(2, 1), "two": nn.Linear(2, 1)})
    states = []

    def loss(model, x, context):
        states.append([model[name].weight.detach().clone() for name in ("one", "two")])
        return squared(model["one" if context.step % 2 else "two"], x)

    fit(model, loss, (X,), FitConfig(2, 5, weight_decay=0.1, device="cpu", progress=False))
    states.append([model[name].weight.detach().clone() for name in ("one", "two")])
    for step, (before, after) in enumerate(pairwise(states), start=1):
        moved = [not torch.equal(b, a) for b, a in zip(before, after, strict=True)]
        assert moved == ([True, False] if step % 2 else [False, True])


def test_epochs_may_be_compared_by_anything():
    scores, seen = iter([0.2, 0.9, 0.5, 0.4]), []

    def monitor(model):
        seen.append((model.training, torch.is_grad_enabled(), model.weight.clone()))
        return -next(scores)

    model = nn.Linear(2, 1)
    config = FitConfig(8, 5, patience=2, device="cpu", progress=False)
    history = fit(model, squared, (X,), config, monitor=monitor)
    assert history.validation_loss == (-0.2, -0.9, -0.5, -0.4)
    assert (history.best_epoch, history.stopped_early) == (2, True)
    assert {entry[:2] for entry in seen} == {(False, False)}
    assert torch.equal(model.weight, seen[1][2])
    with pytest.raises(FloatingPointError, match="validation loss is nan after epoch 1"):
        fit(model, squared, (X,), config, monitor=lambda model: float("nan"))


@pytest.mark.parametrize("name", ["sampler", "schedule", "monitor"])
def test_arguments_of_another_kind_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}: expected .*, got str"):
        fit(nn.Linear(2, 1), squared, (X,), CONFIG, **{name: "often"})
