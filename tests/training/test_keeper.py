"""The plain loop and the kept one give the same bits; what a keeper is told, and when."""

import numpy as np
import pytest
import torch
from torch import nn

import vlalign_lib.training as training
from vlalign_lib import _fast
from vlalign_lib.data import load_digit_halves
from vlalign_lib.engine import FORMS
from vlalign_lib.methods import METHODS
from vlalign_lib.training import (
    ClassBalancedSampler,
    FitConfig,
    Keeper,
    PairedSampler,
    fit,
    seeded,
    warmup_cosine,
)

RNG = np.random.default_rng(0)
X, Y, LABELS = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 2)), RNG.integers(0, 3, 30)
CONFIG = FitConfig(epochs=3, batch_size=8, device="cpu", progress=False)


def noisy(model, x, y, labels, context):
    drawn = context.rng.random() + torch.rand(())
    return (model(x) - y).square().mean() * (1 + drawn) + context.progress * model(x).mean()


def fitted(config=CONFIG, keeper=None, loss=noisy, **how):
    with seeded(0):
        model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.2), nn.Linear(6, 2))
    history = fit(model, loss, (X, Y, LABELS), config, keeper=keeper, **how)
    return model.state_dict(), history.train_loss, history.validation_loss, history.best_epoch


def same(one, other):
    assert one[0].keys() == other[0].keys()
    assert all(torch.equal(one[0][name], other[0][name]) for name in one[0])
    assert one[1:] == other[1:]


@pytest.fixture
def bare(monkeypatch):
    """The engine has kernels and no keeper."""
    gone = [name for name in FORMS if name == "keeper" or name.startswith("training.")]
    monkeypatch.setattr(_fast, "_FOUND", dict.fromkeys(gone))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"validation": (X[:9], Y[:9], LABELS[:9])},
        {"sampler": lambda: ClassBalancedSampler(LABELS, 2, 3, seed=2)},
        {"schedule": lambda step, total: warmup_cosine(step, total, warmup=3)},
        {"optimiser": lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9)},
        {"config": FitConfig(9, 8, patience=2, max_grad_norm=0.1, device="cpu", progress=False)}
        | {"monitor": lambda model: -float(model[0].weight.detach().abs().sum())},
    ],
    ids=lambda how: "+".join(how) or "plain",
)
def test_with_the_bare_keeper_and_the_engines_the_bits_are_the_same(how, tmp_path):
    def once(keeper, **more):
        sampler = {"sampler": how["sampler"]()} if "sampler" in how else {}
        return fitted(keeper=keeper, **(how | sampler | more))

    plain = once(Keeper())
    same(once(None), plain)
    config = vars(how.get("config", CONFIG)) | {"folder": tmp_path, "checkpoint_every": 2}
    same(once(None, config=FitConfig(**config)), plain)


@pytest.mark.parametrize("name", ["dcca", "info_nce", "triplet", "acmr", "corr_ae", "cmdn"])
def test_methods_need_no_engine_to_keep_their_runs(name, request):
    rows = load_digit_halves(seed=0).split("val")

    def embedded():
        method = METHODS[name](epochs=2, device="cpu", random_state=0)
        method.fit(rows.images, rows.texts, rows.labels)
        return method.embed_images(rows.images), method.embed_texts(rows.texts), method.loss_curve_

    kept = embedded()
    request.getfixturevalue("bare")
    for one, other in zip(kept, embedded(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_only_the_engine_can_is_asked_of_it(bare, monkeypatch):
    same(fitted(), fitted(keeper=Keeper()))
    for settings in ({"folder": "x"}, {"precision": "bf16"}, {"precision": "fp16"}):
        with pytest.raises(ValueError, match=r"keeper: a bare one .* vlalign_lib\.engine keep"):
            fitted(FitConfig(1, 8, device="cpu", **settings))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="keeper: a bare one"):
        fitted()
    for name in ("launch", "load_weights", "World"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(training, name)


def test_a_keeper_of_ones_own_is_told_everything():
    told = []

    class Told(Keeper):
        def start(self, **run):
            told.append(sorted(run))
            self.state = run["state"]

        def after_step(self):
            told.append(("step", self.state.step))

        def after_epoch(self):
            told.append(("epoch", len(self.state.train_loss), len(self.state.validation_loss)))

        def close(self):
            told.append("close")

        def cost(self):
            told.append("cost")
            return {"energy_joules": 7.0}

    keeper = Told()
    history = fit(
        nn.Linear(4, 1),
        lambda model, x: model(x).square().mean(),
        (X[:8],),
        FitConfig(2, 4, device="cpu"),
        validation=(X[8:],),
        keeper=keeper,
    )
    steps = [("step", 1), ("step", 2), ("epoch", 1, 1), ("step", 3), ("step", 4), ("epoch", 2, 2)]
    run = ["columns", "device", "functions", "model", "optimiser", "rng", "sampler", "state"]
    assert told == [run, *steps, "close", "cost"]
    assert (history.energy_joules, history.processes) == (7.0, 1)
    told.clear()
    with pytest.raises(ZeroDivisionError):
        fit(nn.Linear(4, 1), lambda model, x: 1 / 0, (X,), CONFIG, keeper=keeper)
    assert told == [run, "close"]


def test_every_name_can_be_had_and_no_other():
    assert all(callable(getattr(training, name)) for name in training.__all__)
    assert set(training.__all__) <= set(dir(training)), "where the API pages look"
    with pytest.raises(AttributeError, match="no attribute 'gradients'"):
        training.gradients  # noqa: B018


@pytest.fixture
def elsewhere():
    """New tensors have no values unless somebody says where they are to be."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize(
    "make",
    [lambda: PairedSampler(21, 5, seed=3), lambda: ClassBalancedSampler(LABELS, 2, 3, seed=3)],
    ids=["paired", "balanced"],
)
def test_orders_do_not_depend_on_the_default_device(make, request):
    here = [rows.tolist() for rows in make()]
    request.getfixturevalue("elsewhere")
    sampler = make()
    assert [rows.tolist() for rows in sampler] == here
    state = sampler.state_dict()
    following = next(iter(sampler)).tolist()
    other = make()
    other.load_state_dict(state)
    assert next(iter(other)).tolist() == following


def test_runs_do_not_depend_on_the_default_device_and_type(request, tmp_path):
    with seeded(0):
        model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.2), nn.Linear(6, 2))
    first = {name: value.clone() for name, value in model.state_dict().items()}

    def trained(folder):
        model.load_state_dict(first)
        config = FitConfig(3, 8, schedule="cosine", device="cpu", progress=False, folder=folder)
        how = {"validation": (X[:9], Y[:9], LABELS[:9])}
        history = fit(model, noisy, (X, Y, LABELS), config, **how)
        return dict(model.state_dict()), history.train_loss, history.validation_loss

    one = trained(None)
    one = ({name: value.clone() for name, value in one[0].items()}, *one[1:])
    request.getfixturevalue("elsewhere")
    for folder in (None, tmp_path, tmp_path):
        same(trained(folder), one)
    torch.set_default_device(None)
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(torch.float64)

    def in_float32(model, x, y, labels):
        return (model(x) - y).square().mean()

    trained_wide = fitted(loss=in_float32, config=CONFIG)
    assert {value.dtype for value in trained_wide[0].values()} >= {torch.float64}
    model.load_state_dict(first)
    assert fit(model, in_float32, (X, Y, LABELS), CONFIG).steps == 12
    assert model[0].weight.dtype == torch.float32


def test_whole_numbers_of_numpy_count():
    ours = PairedSampler(np.int64(21), np.int32(5), drop_last=np.True_, seed=np.uint8(3))
    theirs = PairedSampler(21, 5, drop_last=True, seed=3)
    assert [rows.tolist() for rows in ours] == [rows.tolist() for rows in theirs]
    balanced = ClassBalancedSampler(LABELS, np.int64(2), np.int16(3), batches=np.uint8(4))
    assert (len(balanced), balanced.sizes) == (4, (6,))
    assert PairedSampler(4, 2, seed=2**64 - 1).seed == 2**64 - 1
