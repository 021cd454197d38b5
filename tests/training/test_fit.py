"""The training loop: what it minimises, what it hands on, when it stops, what it refuses."""

import functools
import math
import random
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import ClassBalancedSampler, FitConfig, FitContext, fit, seeded

ROWS = np.arange(12.0).reshape(6, 2)


def squared_error(model, x, y):
    return (model(x) - y).square().mean()


def squared(model, x):
    return model(x).square().mean()


def a_line(n=40, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2)).astype(np.float32)
    return x, (x @ np.array([[1.5], [-2.0]]) + 0.5).astype(np.float32)


def new_model(seed=0):
    with seeded(seed):
        return nn.Linear(2, 1)


def quiet(**changes):
    return FitConfig(
        **{"epochs": 3, "batch_size": 8, "device": "cpu", "progress": False, **changes}
    )


def sgd(rate):
    return lambda weights: torch.optim.SGD(weights, lr=rate)


def test_every_step_is_the_update_written_by_hand():
    """Plain gradient descent, batches cut from the seeded order, the last one smaller."""
    x, y = a_line(10)
    model, rate = new_model(), 0.1
    weight, bias = model.weight.detach().clone().double(), model.bias.detach().clone().double()
    config = quiet(epochs=2, batch_size=4, seed=7)
    fit(model, squared_error, (x, y), config, optimiser=sgd(rate))
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


def test_all_draws_are_seeded_and_global_states_are_left_alone():
    def drawn(seed, disturb):
        random.seed(disturb)
        torch.manual_seed(disturb)
        before = random.getstate(), torch.get_rng_state()
        found = []

        def loss(model, x, context):
            found.append((context.rng.random(), random.random(), torch.rand(()).item()))
            return squared(model, x)

        with seeded(0):
            model = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        history = fit(model, loss, (ROWS,), quiet(epochs=1, batch_size=3, seed=seed))
        with pytest.raises(RuntimeError, match="mine"), seeded(1):
            raise RuntimeError("mine")
        assert random.getstate() == before[0]
        assert torch.equal(torch.get_rng_state(), before[1])
        return found, history.train_loss, model[0].weight.tolist()

    assert drawn(1, 7) == drawn(1, 8), "whatever happened before"
    assert all(one != other for one, other in zip(drawn(1, 7), drawn(2, 7), strict=True))
    assert len({value for draw in drawn(1, 7)[0] for value in draw}) == 6


def test_history_tells_what_happened():
    losses = []

    def recorded(model, x, y):
        loss = squared_error(model, x, y)
        losses.append((float(loss.detach()), len(x)))
        return loss

    history = fit(new_model(), recorded, a_line(10), quiet(epochs=2, batch_size=4))
    assert (history.steps, history.best_epoch, history.validation_loss) == (6, 2, ())
    assert (history.device, history.stopped_early, history.processes) == ("cpu", False, 1)
    assert history.seconds > 0
    for epoch in range(2):
        mean = sum(value * size for value, size in losses[3 * epoch : 3 * epoch + 3]) / 10
        assert history.train_loss[epoch] == pytest.approx(mean, rel=1e-12)


@pytest.mark.engine
def test_the_cost_is_told():
    def heavy(model, x):
        block = torch.ones(40_000_000)  # 153 MiB
        return model.weight.sum() * block.sum()

    light = fit(new_model(), squared, (ROWS,), quiet(batch_size=2))
    history = fit(new_model(), heavy, (ROWS,), quiet(epochs=1, batch_size=6))
    assert history.peak_memory_mb > light.peak_memory_mb + 100
    assert history.peak_gpu_mb is None
    assert history.energy_joules > 0


def test_validation_loss_is_the_mean_over_the_items_in_evaluation_mode():
    modes = []

    def loss(model, x, y):
        modes.append((model.training, torch.is_grad_enabled()))
        return squared_error(model, x, y)

    model, held_out = new_model(), a_line(13, seed=1)
    history = fit(model, loss, a_line(), quiet(epochs=1), validation=held_out)
    assert modes == [(True, True)] * 5 + [(False, False)] * 2
    with torch.no_grad():
        expected = float(squared_error(model, *map(torch.tensor, held_out)))
    assert history.validation_loss[0] == pytest.approx(expected, rel=1e-5)


class Scripted(nn.Module):
    """A weight that each step moves by exactly one, so that epoch e holds the value e."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best"),
    [
        ([5.0, 3.0, 4.0, 3.0, 3.5, 1.0, 0.5], 3, 5, 2),  # an equal loss is no improvement
        ([5.0, 3.0, 4.0, 1.0, 2.0], None, 5, 4),
        ([None] * 3, None, 3, 3),
    ],
    ids=["patience", "without", "no validation"],
)
def test_the_best_weights_come_back(losses, patience, epochs, best):
    def loss(module, x):
        if module.training:
            return -module.value
        return torch.tensor(losses[round(module.value.item()) - 1])

    model, rows = Scripted(), (np.zeros((4, 1)),)
    config = quiet(epochs=len(losses), batch_size=None, patience=patience)
    held_out = None if losses[0] is None else rows
    history = fit(model, loss, rows, config, validation=held_out, optimiser=sgd(1.0))
    assert history.validation_loss == (tuple(losses[:epochs]) if held_out else ())
    assert (history.stopped_early, history.best_epoch) == (patience is not None, best)
    assert model.value.item() == best
    assert not model.training


def test_epochs_may_be_compared_by_anything():
    scores, seen = iter([0.2, 0.9, 0.5, 0.4]), []

    def monitor(model):
        seen.append((model.training, torch.is_grad_enabled(), model.weight.clone()))
        return -next(scores)

    model = new_model()
    history = fit(
        model, squared, (ROWS,), quiet(epochs=8, patience=2, batch_size=3), monitor=monitor
    )
    assert history.validation_loss == (-0.2, -0.9, -0.5, -0.4)
    assert (history.best_epoch, history.stopped_early) == (2, True)
    assert {entry[:2] for entry in seen} == {(False, False)}
    assert torch.equal(model.weight, seen[1][2])


def test_the_loss_is_told_where_training_stands():
    seen = []

    class Loss:
        def __call__(self, model, x, *, context):
            assert isinstance(context, FitContext)
            seen.append((context.step, context.epoch, context.progress, context.training))
            return squared(model, x)

    def weighted(model, x, weight, loss, context):
        return weight * loss(model, x, context=context)

    for loss in (Loss(), functools.partial(weighted, weight=2.0, loss=Loss())):
        seen.clear()
        fit(nn.Linear(2, 1), loss, (ROWS,), quiet(batch_size=2), validation=(ROWS[:2],))
        steps = [entry for entry in seen if entry[3]]
        assert [entry[:2] for entry in steps] == [(t, (t + 2) // 3) for t in range(1, 10)]
        assert [entry[2] for entry in steps] == pytest.approx([t / 9 for t in range(9)], abs=1e-15)
        after = [entry for entry in seen if not entry[3]]
        assert after == [(3, 1, 3 / 9, False), (6, 2, 6 / 9, False), (9, 3, 1.0, False)]


def test_a_loss_with_a_state_of_its_own_is_sent_into_the_model():
    class Centres(nn.Module):
        def __init__(self, keeps):
            super().__init__()
            if keeps:
                self.register_buffer("centres", torch.zeros(2))

        def forward(self, model, x):
            return squared(model, x)

    with pytest.raises(ValueError, match=r"Centres has .* make it a part of the model"):
        fit(nn.Linear(2, 1), Centres(True), (ROWS,), quiet(batch_size=2))
    assert fit(nn.Linear(2, 1), Centres(False), (ROWS,), quiet(batch_size=2)).steps == 9


def test_a_step_moves_only_what_its_loss_reaches_and_nothing_that_is_frozen():
    """Turns between two parts of a model, as an adversary and its opponent take them."""
    model = nn.ModuleDict({name: nn.Linear(2, 1) for name in ("one", "two", "frozen")})
    model["frozen"].requires_grad_(False)
    states = []

    def note():
        states.append([part.weight.detach().clone() for part in model.values()])

    def loss(model, x, context):
        note()
        turn = squared(model["one" if context.step % 2 else "two"], x)
        return turn + squared(model["frozen"], x)

    fit(model, loss, (ROWS,), quiet(epochs=2, batch_size=3, weight_decay=0.1))
    note()
    for step, (before, after) in enumerate(pairwise(states), start=1):
        moved = [not torch.equal(b, a) for b, a in zip(before, after, strict=True)]
        assert moved == ([True, False, False] if step % 2 else [False, True, False])


def taught(model, data, **settings):
    """The batches that the loss saw."""
    seen = []

    def loss(model, *batch):
        seen.append(batch)
        return sum(weight.square().sum() for weight in model.parameters())

    return seen, fit(model, loss, data, quiet(**{"epochs": 1, "batch_size": 2, **settings}))


def test_pictures_words_and_classes_of_any_shape_keep_together():
    pictures = np.arange(5 * 3 * 4 * 4).reshape(5, 3, 4, 4) / 10
    pictures.setflags(write=False)
    words, classes = torch.arange(5)[:, None].repeat(1, 7), np.arange(5)
    seen, _ = taught(nn.Linear(1, 1), (pictures, words, classes))
    for x, y, c in seen:
        assert (x.dtype, y.dtype, c.dtype) == (torch.float32, torch.int64, torch.int64)
        assert torch.equal(y, c[:, None].expand(-1, 7))
        assert torch.equal(x, torch.tensor(pictures[c.numpy()], dtype=torch.float32))
    assert sorted(torch.cat([c for *_, c in seen]).tolist()) == list(range(5))


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_view_arrives_as_none(missing):
    data = [np.ones((4, 2)), np.ones((4, 3)), np.arange(4)]
    data[missing] = None
    seen, _ = taught(nn.Linear(1, 1), data)
    assert len(seen) == 2
    for batch in seen:
        assert [part is None for part in batch] == [i == missing for i in range(3)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_arrive_in_the_precision_of_the_weights(dtype):
    data = [ROWS.astype(kind) for kind in (">f8", "f2", np.longdouble, "f4")]
    seen, _ = taught(nn.Linear(1, 1).to(dtype), (*data, torch.ones(6).half()))
    assert {part.dtype for batch in seen for part in batch} == {dtype}
    assert torch.equal(seen[0][0], seen[0][2])
    seen, _ = taught(nn.Linear(1, 1), (ROWS.astype(">i4"), ROWS > 3))
    assert [part.dtype for part in seen[0]] == [torch.int32, torch.bool]


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [({"drop_last": True}, [2] * 6), ({}, [2, 2, 2, 1] * 2), ({"batch_size": None}, [7, 7])],
    ids=str,
)
def test_how_the_items_are_cut(settings, sizes):
    seen, history = taught(nn.Linear(1, 1), (np.arange(7.0),), epochs=2, **settings)
    assert [len(x) for (x,) in seen] == sizes
    assert history.steps == len(sizes)


def test_a_sampler_decides_what_makes_a_batch():
    classes = np.array([0] * 9 + [1] * 3)
    seen = []

    def loss(model, c):
        seen.append(torch.bincount(c).tolist())
        return model.weight.sum()

    sampler = ClassBalancedSampler(classes, 2, 2, batches=5)
    assert fit(nn.Linear(1, 1), loss, (classes,), quiet(epochs=1), sampler=sampler).steps == 5
    assert seen == [[2, 2]] * 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("free", [79, 80])
def test_data_that_do_not_fit_onto_the_gpu_come_batch_by_batch(monkeypatch, free):
    moved, to = [], torch.Tensor.to
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**9))
    monkeypatch.setattr(torch.Tensor, "to", lambda t, *a: moved.append(t.shape) or to(t, *a))
    seen, _ = taught(nn.Linear(1, 1), (torch.arange(10.0), None), device="cuda")
    assert {x.device.type for x, _ in seen} == {"cuda"}
    assert ((10,) in [tuple(shape) for shape in moved[1:]]) == (free == 80)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ROWS}, "model: expected a torch module, got ndarray"),
        ({"model": nn.ReLU()}, "no trainable weights"),
        ({"loss_fn": "mse"}, "loss_fn: expected a function"),
        ({"loss_fn": lambda m, x: m(x)}, r"expected a scalar tensor, got shape \(3, 1\)"),
        ({"loss_fn": lambda m, x: 1.0}, "got float"),
        ({"loss_fn": lambda m, x: torch.tensor(1.0)}, "does not depend on the model's weights"),
        ({"loss_fn": lambda m, x: m(x).mean().detach()}, "does not depend on the model's weights"),
        ({"loss_fn": lambda m, x: torch.tensor(1)}, "expected a floating-point number"),
        ({"config": ROWS}, "config: expected a FitConfig or None, got ndarray"),
        ({"config": quiet(batch_size=8)}, "8 items a step, but the data has 6; use at most 6"),
        ({"config": quiet(patience=2, batch_size=3)}, "there is no validation data"),
        ({"config": quiet(device="toaster")}, "'toaster' cannot be used here"),
        ({"config": quiet(device="meta")}, "'meta' cannot be used here"),
        ({"optimiser": "adam"}, "optimiser: expected a function of the parameters"),
        ({"optimiser": lambda weights: None}, "optimiser: expected it to return"),
        ({"sampler": "often"}, "sampler: expected .*, got str"),
        ({"schedule": "often"}, "schedule: expected .*, got str"),
        ({"monitor": "often"}, "monitor: expected .*, got str"),
        ({"keeper": "often"}, "keeper: expected a Keeper or None, got str"),
        ({"data": "rows"}, "data: expected a tuple of arrays, got str"),
        ({"data": ROWS}, "expected a tuple of arrays, got ndarray"),
        ({"data": ()}, "at least one array"),
        ({"data": (None, None)}, "at least one array, got none"),
        ({"data": (None, np.ones(4), np.ones(3))}, r"data\[2\]: has 3 rows and data\[1\] has 4"),
        ({"data": (np.zeros((0, 2)), np.zeros((0, 1)))}, r"data\[0\].*at least one"),
        ({"data": (np.float64(1.0),)}, r"data\[0\].*shape \(\)"),
        ({"data": ([[1.0], [1.0, 2.0]],)}, r"data\[0\]: the rows make no array"),
        ({"data": (np.array([["a"]]),)}, r"data\[0\]: expected real numbers"),
        ({"data": (torch.eye(2).to_sparse(),)}, r"data\[0\]: expected a dense tensor"),
        ({"validation": (ROWS, ROWS)}, "validation: expected 1 arrays like data, got 2"),
    ],
)
def test_arguments_that_cannot_work(changes, message):
    given = {"model": nn.Linear(2, 1), "loss_fn": squared, "data": (ROWS,)}
    with pytest.raises(ValueError, match=message):
        fit(**{**given, "config": quiet(batch_size=3), **changes})


@pytest.mark.parametrize(("devices", "name"), [(0, "cuda"), (1, "cuda:1")])
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, devices, name):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    if devices == 0 and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match=f"'{name}' cannot be used here, with {devices} CUDA"):
        fit(new_model(), squared_error, a_line(), quiet(device=name))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        *[({"epochs": value}, "epochs: expected a whole") for value in (0, 1.5, None, True)],
        *[({"batch_size": value}, "batch_size: expected a whole") for value in (0, True)],
        *[
            ({"learning_rate": value}, "learning_rate: expected")
            for value in (0.0, math.nan, None, "fast", np.ones(2))
        ],
        *[({"weight_decay": v}, "weight_decay: expected") for v in (-1.0, math.inf, [0.1])],
        *[({"seed": value}, "seed: expected a whole") for value in (-1, "x", 1.0, 2**64)],
        *[({"device": value}, "device: expected a name") for value in (None, 1.5)],
        *[({"progress": value}, "progress: expected True or F") for value in (1, None, np.ones(2))],
        ({"patience": 0}, "patience: expected a whole number"),
        ({"folder": 3}, "folder: expected a path or None"),
        ({"tensorboard": True}, "tensorboard: needs a folder"),
        ({"checkpoint_every": 5}, "checkpoint_every: needs a folder"),
        ({"log_every": 5}, "log_every: needs a folder"),
        ({"schedule": "linear"}, 'schedule: expected one of "constant", "cosine"'),
        ({"precision": "half"}, 'precision: expected one of "auto", "float32", "bf16", "fp16"'),
        ({"warmup": -1}, "warmup: expected a whole number of at least 0"),
        ({"warmup_start": 2.0}, "warmup_start: expected a share"),
        ({"max_grad_norm": 0.0}, "max_grad_norm: expected a number greater than 0"),
        ({"timeout": 0}, "timeout: expected a number greater than 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**settings)


@pytest.mark.parametrize("seed", [2**64, -1, 1.0, None, True])
def test_seeds_out_of_range(seed):
    with pytest.raises(ValueError, match="seed: expected a whole number"), seeded(seed):
        pass


def test_numbers_of_numpy_are_plain_ones_in_the_settings():
    config = FitConfig(np.int64(2), np.uint8(4), np.float32(0.5), seed=np.int32(3), resume=np.True_)
    assert config == FitConfig(2, 4, 0.5, seed=3)
    kinds = {type(value) for value in vars(config).values()}
    assert kinds == {int, float, str, bool, type(None)}


@pytest.mark.engine
def test_the_bar_shows_loss_and_time_left_and_a_silent_fit_prints_nothing(capsys):
    fit(new_model(), squared_error, a_line(), quiet(progress=True), validation=a_line(8, 1))
    shown = capsys.readouterr().err
    assert all(word in shown for word in ("Linear", "loss=", "validation=", "15/15"))
    fit(new_model(), squared_error, a_line(80), quiet())
    assert capsys.readouterr() == ("", "")
