"""The training loop: what it minimises, when it stops, what it refuses, what it leaves behind."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import FitConfig, History, fit, seeded


def squared_error(model, x, y):
    return (model(x) - y).square().mean()


def a_line(n=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    y = (x @ np.array([[1.5], [-2.0]]) + 0.5).astype(np.float32)
    return x, y


def new_model(seed=0):
    with seeded(seed):
        return nn.Linear(2, 1)


def quiet(**changes):
    return FitConfig(
        **{"epochs": 3, "batch_size": 8, "device": "cpu", "progress": False, **changes}
    )


def test_every_step_is_the_update_written_by_hand():
    """Plain gradient descent, batches cut from the seeded order, the last one smaller."""
    x, y = a_line(10)
    model, rate = new_model(), 0.1
    weight, bias = model.weight.detach().clone().double(), model.bias.detach().clone().double()
    fit(
        model,
        squared_error,
        (x, y),
        quiet(epochs=2, batch_size=4, seed=7),
        optimiser=lambda parameters: torch.optim.SGD(parameters, lr=rate),
    )
    generator = torch.Generator().manual_seed(7)
    sizes = []
    for _ in range(2):
        order = torch.randperm(10, generator=generator).tolist()
        for start in range(0, 10, 4):
            rows = order[start : start + 4]
            sizes.append(len(rows))
            slope, shift = torch.zeros_like(weight), torch.zeros_like(bias)
            for i in rows:
                row = torch.tensor(x[i], dtype=torch.float64)
                error = (weight[0] * row).sum() + bias[0] - float(y[i, 0])
                slope[0] += 2 * error * row / len(rows)
                shift[0] += 2 * error / len(rows)
            weight, bias = weight - rate * slope, bias - rate * shift
    assert sizes == [4, 4, 2, 4, 4, 2]
    torch.testing.assert_close(model.weight.double(), weight, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.bias.double(), bias, rtol=1e-5, atol=1e-6)


def test_it_finds_the_line():
    model = new_model()
    fit(model, squared_error, a_line(), quiet(epochs=300, learning_rate=0.05))
    torch.testing.assert_close(model.weight, torch.tensor([[1.5, -2.0]]), rtol=0, atol=1e-3)
    torch.testing.assert_close(model.bias, torch.tensor([0.5]), rtol=0, atol=1e-3)


def test_the_same_seed_gives_the_same_weights_bit_for_bit():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1))

        def forward(self, x):
            return self.layers(x)

    def trained(seed, disturb):
        with seeded(0):
            model = Noisy()
        torch.manual_seed(disturb)  # whatever happened before must not matter
        history = fit(model, squared_error, a_line(), quiet(seed=seed))
        return torch.cat([w.flatten() for w in model.parameters()]), history.train_loss

    first, again, other = trained(1, 10), trained(1, 20), trained(2, 10)
    assert torch.equal(first[0], again[0])
    assert first[1] == again[1]
    assert not torch.equal(first[0], other[0])


def test_global_randomness_is_left_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(new_model(), squared_error, a_line(), quiet())
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(5)
    with pytest.raises(RuntimeError, match="mine"), seeded(1):
        raise RuntimeError("mine")
    assert torch.equal(torch.rand(3), expected)


def test_history_tells_what_happened():
    x, y = a_line(10)
    losses = []

    def recorded(model, xs, ys):
        loss = squared_error(model, xs, ys)
        losses.append((float(loss.detach()), len(xs)))
        return loss

    history = fit(new_model(), recorded, (x, y), quiet(epochs=2, batch_size=4))
    assert isinstance(history, History)
    assert history.steps == 6
    assert history.best_epoch == 2
    assert history.validation_loss == ()
    assert history.device == "cpu"
    assert not history.stopped_early
    assert history.seconds > 0
    for epoch in range(2):
        batches = losses[3 * epoch : 3 * epoch + 3]
        mean = sum(value * size for value, size in batches) / 10
        assert history.train_loss[epoch] == pytest.approx(mean, rel=1e-12)


def test_validation_loss_is_the_mean_over_the_items_in_evaluation_mode():
    modes = []

    def loss(model, x, y):
        modes.append((model.training, torch.is_grad_enabled()))
        return squared_error(model, x, y)

    model = new_model()
    held_out = a_line(13, seed=1)
    history = fit(model, loss, a_line(), quiet(epochs=1), validation=held_out)
    assert modes == [(True, True)] * 5 + [(False, False)] * 2
    with torch.no_grad():
        x, y = map(torch.tensor, held_out)
        expected = float(squared_error(model, x, y))
    assert history.validation_loss[0] == pytest.approx(expected, rel=1e-5)


class Scripted(nn.Module):
    """A weight that each step moves by exactly one, so that epoch e holds the value e."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))


def scripted_fit(validation_losses, **changes):
    model = Scripted()

    def loss(module, x):
        if module.training:
            return -module.value
        return torch.tensor(validation_losses[round(module.value.item()) - 1])

    history = fit(
        model,
        loss,
        (np.zeros((4, 1)),),
        quiet(epochs=len(validation_losses), batch_size=None, **changes),
        validation=(np.zeros((4, 1)),),
        optimiser=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    )
    return model, history


def test_patience_stops_and_the_best_weights_come_back():
    losses = [5.0, 3.0, 4.0, 3.0, 3.5, 1.0, 0.5]
    model, history = scripted_fit(losses, patience=3)
    assert history.validation_loss == (5.0, 3.0, 4.0, 3.0, 3.5)
    assert history.stopped_early
    assert history.best_epoch == 2  # an equal loss is no improvement
    assert model.value.item() == 2.0
    assert not model.training


def test_without_patience_every_epoch_runs_and_the_best_weights_come_back():
    model, history = scripted_fit([5.0, 3.0, 4.0, 1.0, 2.0])
    assert not history.stopped_early
    assert history.best_epoch == 4
    assert model.value.item() == 4.0


def test_without_validation_the_last_weights_stay():
    model = Scripted()
    fit(
        model,
        lambda module, x: -module.value,
        (np.zeros((4, 1)),),
        quiet(epochs=3, batch_size=None),
        optimiser=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    )
    assert model.value.item() == 3.0


def test_labels_stay_whole_numbers_and_read_only_arrays_are_left_alone():
    seen = []
    x, labels = np.zeros((6, 2)), np.arange(6)
    x.setflags(write=False)

    def loss(model, rows, classes):
        seen.append((rows.dtype, classes.dtype))
        return model(rows).square().mean()

    fit(new_model(), loss, (x, labels), quiet(epochs=1, batch_size=6))
    assert seen == [(torch.float32, torch.int64)]
    assert (x == 0).all()


def test_frozen_weights_stay_frozen():
    model = nn.Sequential(new_model(), nn.Linear(1, 1))
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    fit(model, squared_error, a_line(), quiet())
    assert torch.equal(model[0].weight, before)


def test_a_loss_that_is_not_finite_names_the_step():
    x, y = a_line(16)
    y[:] = 1.0
    calls = []

    def loss(model, xs, ys):
        calls.append(1)
        return squared_error(model, xs, ys) * (math.nan if len(calls) == 3 else 1.0)

    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 3 \(epoch 2\)"):
        fit(new_model(), loss, (x, y), quiet())
    with pytest.raises(FloatingPointError, match=r"loss is -?inf at step 1"):
        fit(new_model(), lambda m, a, b: m(a).sum() * math.inf, (x, y), quiet())


def test_a_validation_loss_that_is_not_finite_names_the_epoch():
    held_out = (np.full((3, 2), np.nan), np.zeros((3, 1)))
    with pytest.raises(FloatingPointError, match="validation loss is nan after epoch 1"):
        fit(new_model(), squared_error, a_line(), quiet(), validation=held_out)


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        ((), {}, "at least one array"),
        (np.zeros((4, 2)), {}, "expected a tuple of arrays, got ndarray"),
        ((np.zeros((0, 2)), np.zeros((0, 1))), {}, r"data\[0\].*at least one"),
        ((np.zeros((4, 2)), np.zeros((3, 1))), {}, r"data\[1\]: has 3 rows and data\[0\] has 4"),
        ((np.float64(1.0),), {}, r"data\[0\].*shape \(\)"),
        (a_line(4), {"batch_size": 8}, "8 items a step, but the data has 4; use at most 4"),
        (a_line(), {"patience": 2}, "there is no validation data"),
        (a_line(), {"device": "toaster"}, "'toaster' cannot be used here"),
    ],
)
def test_nonsense_is_refused(data, changes, message):
    with pytest.raises(ValueError, match=message):
        fit(new_model(), squared_error, data, quiet(**changes))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="'cuda' cannot be used here, with 0 CUDA devices"):
        fit(new_model(), squared_error, a_line(), quiet(device="cuda"))


def test_one_gpu_too_many_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="'cuda:1' cannot be used here, with 1 CUDA devices"):
        fit(new_model(), squared_error, a_line(), quiet(device="cuda:1"))


def test_a_model_without_weights_and_a_loss_that_is_no_scalar_are_refused():
    with pytest.raises(ValueError, match="no trainable weights"):
        fit(nn.ReLU(), squared_error, a_line(), quiet())
    with pytest.raises(ValueError, match=r"expected a scalar tensor, got shape \(8, 1\)"):
        fit(new_model(), lambda m, x, y: m(x) - y, a_line(), quiet())
    with pytest.raises(ValueError, match="got float"):
        fit(new_model(), lambda m, x, y: 1.0, a_line(), quiet())


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0},
        {"epochs": 1.5},
        {"batch_size": 0},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"weight_decay": -1.0},
        {"weight_decay": math.inf},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        FitConfig(**changes)


@pytest.mark.parametrize("seed", [-1, 1.0, True])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(ValueError, match="seed"), seeded(seed):
        pass


def test_full_batch_takes_everything_at_once():
    sizes = []

    def loss(model, x, y):
        sizes.append(len(x))
        return squared_error(model, x, y)

    fit(new_model(), loss, a_line(13), quiet(epochs=2, batch_size=None))
    assert sizes == [13, 13]


def test_the_bar_shows_loss_and_time_left(capsys):
    fit(new_model(), squared_error, a_line(), quiet(progress=True), validation=a_line(8, 1))
    shown = capsys.readouterr().err
    assert "Linear" in shown
    assert "loss=" in shown
    assert "validation=" in shown
    assert "15/15" in shown


def test_a_silent_fit_prints_nothing(capsys):
    fit(new_model(), squared_error, a_line(80), quiet())
    assert capsys.readouterr() == ("", "")
