"""What is kept on disk, what is refused, and the log beside it."""

import errno
import json
import math
import os
import pickle
import sys
import traceback
import types
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import (
    ClassBalancedSampler,
    FitConfig,
    PairedSampler,
    fit,
    load_weights,
    seeded,
    warmup_cosine,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 2)), RNG.normal(size=(24, 1))
HELD_OUT = RNG.normal(size=(9, 2)), RNG.normal(size=(9, 1))


def squared_error(model, x, y):
    return (model(x) - y).square().mean()


def absolute_error(model, x, y):
    return (model(x) - y).abs().mean()


def new_model(seed=0, width=4, between=nn.Tanh):
    with seeded(seed):
        return nn.Sequential(nn.Linear(2, width), between(), nn.Linear(width, 1))


def frozen():
    model = new_model()
    model[0].weight.requires_grad_(False)
    return model


def sgd(rate, apart=False):
    """Plain descent, each weight in a group of its own or all in one."""
    return lambda weights: torch.optim.SGD(
        [{"params": [w]} for w in weights] if apart else weights, lr=rate
    )


def trained(
    folder,
    model=None,
    data=(X, Y),
    held_out=HELD_OUT,
    sampler=None,
    by=None,
    loss=squared_error,
    curve=None,
    monitor=None,
    **changes,
):
    settings = {"epochs": 3, "batch_size": 8, "device": "cpu", "progress": False}
    model = model or new_model()
    config = FitConfig(folder=folder, **(settings | changes))
    how = {"validation": held_out, "sampler": sampler, "optimiser": by}
    how |= {"schedule": curve, "monitor": monitor}
    return model, fit(model, loss, data, config, **how)


def numbers(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_folder_changes_no_number(tmp_path):
    with_folder, history = trained(tmp_path / "deep" / "er")
    without, other = trained(None)
    for one, two in zip(with_folder.parameters(), without.parameters(), strict=True):
        assert torch.equal(one, two)
    assert history.train_loss == other.train_loss
    assert history.validation_loss == other.validation_loss


def test_the_weights_can_be_had_without_training(tmp_path):
    """On data whose validation loss rises again, best and last are different ones."""
    losses = iter([3.0, 1.0, 2.0])
    model = new_model()
    seen = []

    def monitor(module):
        seen.append({k: v.clone() for k, v in module.state_dict().items()})
        return next(losses)

    config = FitConfig(3, 8, device="cpu", progress=False, folder=tmp_path)
    history = fit(model, squared_error, (X, Y), config, monitor=monitor)
    assert (history.best_epoch, history.validation_loss) == (2, (3.0, 1.0, 2.0))
    for which, epoch in (("best", 1), ("last", 2)):
        weights = load_weights(tmp_path, which)
        assert weights.keys() == seen[epoch].keys()
        assert all(torch.equal(weights[k], seen[epoch][k]) for k in weights)
    assert not torch.equal(seen[1]["0.weight"], seen[2]["0.weight"])
    assert torch.equal(model.state_dict()["0.weight"], seen[1]["0.weight"])


def test_without_validation_the_last_weights_are_the_best(tmp_path):
    model, _ = trained(tmp_path, held_out=None)
    for which in ("best", "last"):
        assert torch.equal(load_weights(tmp_path, which)["0.weight"], model[0].weight)
    with pytest.raises(ValueError, match='expected one of "best", "last"'):
        load_weights(tmp_path, "first")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_weights(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {"learning_rate": 0.01}, "learning_rate was 0.001 and is 0.01"),
        (
            {},
            {"epochs": 4, "batch_size": 6, "drop_last": True, "weight_decay": 0.1, "seed": 1}
            | {"schedule": "cosine", "patience": 2},
            r"drop_last was False and is True; and 4 more\. Going on",
        ),
        ({}, {"epochs": 4}, "epochs was 3 and is 4"),
        ({}, {"seed": 1, "batch_size": 6}, "batch_size was 8 and is 6; seed was 0 and is 1"),
        ({}, {"schedule": "cosine"}, "schedule was constant and is cosine"),
        ({}, {"max_grad_norm": 1.0}, "max_grad_norm was None and is 1.0"),
        ({}, {"model": new_model(width=5)}, "model was Sequential of 17 weights"),
        (
            {},
            {"model": new_model(between=nn.ReLU)},
            r"layers was   \(1\): Tanh\(\) and is   \(1\): R",
        ),
        ({}, {"model": frozen()}, r"weights was 0.weight torch.float32 \(4, 2\) trained and is"),
        (
            {},
            {"loss": absolute_error},
            "run: function loss_fn was squared_error and is absolute_error",
        ),
        (
            {},
            {"loss": partial(squared_error)},
            r"and is functools.partial\(<function squared_error>",
        ),
        ({}, {"data": (X + 1e-6, Y)}, r"run: data was torch.float32 \(24, 2\)"),
        ({}, {"monitor": lambda model: 0.0}, "function monitor was None and is <lambda>"),
        ({}, {"held_out": None}, "validation was"),
        (
            {},
            {"sampler": ClassBalancedSampler(np.arange(24) % 3, 2, 4)},
            "sampler was PairedSampler",
        ),
        (
            {},
            {"sampler": PairedSampler(24, 8, seed=1)},
            "sampler's settings was seed=0 and is seed=1",
        ),
        ({}, {"by": torch.optim.SGD}, "optimiser was AdamW and is SGD; optimiser's settings was"),
        ({"by": sgd(0.1)}, {"by": sgd(1.0)}, r"settings was lr=0\.1 in group 0 and is lr=1\.0"),
        ({"by": sgd(0.1, apart=True)}, {"by": sgd(0.1)}, "settings was params=1 in group 0 and is"),
        (
            {"curve": lambda step, total: 1 - step / total},
            {"curve": lambda step, total: 1 - 0.5 * step / total},
            r"schedule's shares was 0\.888888888889 at step 2 and is 0\.9444",
        ),
        (
            {"curve": partial(warmup_cosine, warmup=2)},
            {"curve": partial(warmup_cosine, warmup=4)},
            r"function schedule was .*warmup=2.*warmup=4.*shares was 0\.5 at step 2",
        ),
        (
            {"sampler": ClassBalancedSampler(np.arange(24) % 3, 2, 4)},
            {"sampler": ClassBalancedSampler(np.arange(24) // 8, 2, 4)},
            "sampler's settings was labels=",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, before, after, words):
    trained(tmp_path, **before)
    there = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(ValueError, match=words) as refused:
        trained(tmp_path, **after)
    assert "resume=False" in str(refused.value)
    assert (tmp_path / "last.pt").read_bytes() == there, "and left as it was"
    assert len(numbers(tmp_path)) == 3
    trained(tmp_path, **before)


def scaled(factor):
    return lambda model: factor * float(model[0].weight.sum())


class Named:
    """Has an address in its ``repr``, and another one each time."""

    def __call__(self, model, x, y):
        return squared_error(model, x, y)


def test_functions_are_known_by_their_names_alone(tmp_path):
    """What ``fit`` says that it cannot tell apart; and no address is compared."""
    trained(tmp_path / "one", monitor=scaled(1.0))
    trained(tmp_path / "one", monitor=scaled(2.0))
    first, second = Named(), Named()
    assert repr(first) != repr(second)
    trained(tmp_path / "two", loss=first, curve=partial(lambda o, t, n: 1.0, first))
    trained(tmp_path / "two", loss=second, curve=partial(lambda o, t, n: 1.0, second))


def test_what_no_number_depends_on_may_change(tmp_path):
    _, history = trained(tmp_path)
    _, again = trained(tmp_path, device="auto", progress=True, log_every=1, timeout=5.0)
    assert again.train_loss == history.train_loss
    assert again.seconds == history.seconds > 0, "reading back costs nothing"
    assert again.energy_joules == history.energy_joules


def test_numbers_of_numpy_are_kept_and_read_back(tmp_path):
    plain, _ = trained(None, by=sgd(0.1))
    numpy = {"epochs": np.int64(3), "learning_rate": np.float32(0.5), "resume": np.True_}
    numpy |= {"timeout": np.int32(30), "checkpoint_every": np.uint8(2), "by": sgd(np.float64(0.1))}
    for _ in range(2):
        model, _ = trained(tmp_path, **numpy)
        assert torch.equal(model[0].weight, plain[0].weight)


class WithExtra(nn.Linear):
    """Keeps something beside its weights, which changes with every training step."""

    def __init__(self, extra):
        super().__init__(2, 1)
        self.extra, self.found, self.steps = extra, [], 0

    def forward(self, x):
        self.steps += self.training
        return super().forward(x)

    def get_extra_state(self):
        return self.extra(self.steps)

    def set_extra_state(self, state):
        self.found.append(state)


@pytest.mark.parametrize(
    "extra",
    [lambda n: {"steps": [n], "name": "x"}, lambda n: torch.tensor([n, n]), lambda n: n],
    ids=["dictionary", "tensor", "number"],
)
def test_modules_may_keep_more_than_weights(tmp_path, extra):
    def steps(state):
        value = state["steps"] if isinstance(state, dict) else state
        return int(torch.as_tensor(value).flatten()[0])

    losses = [3.0, 1.0, 2.0]

    def best_of(folder, resume):
        scores = iter(losses)
        with seeded(0):
            model = WithExtra(extra)
        trained(folder, model=model, monitor=lambda module: next(scores), resume=resume)
        return [steps(state) for state in model.found]

    assert best_of(None, True) == [6], "as it was after the second of three epochs"
    assert best_of(tmp_path, False) == [6]
    assert best_of(tmp_path, True) == [9, 6], "as it was at the end, then the best"
    assert steps(load_weights(tmp_path)["_extra_state"]) == 6


def test_what_no_checkpoint_can_hold_is_told_before_training(tmp_path):
    for what in (lambda n: np.ones(2), lambda n: {"set": Named()}):
        model = WithExtra(what)
        with pytest.raises(ValueError, match=r"folder: _extra_state holds .*tolist\(\)"):
            trained(tmp_path, model=model)
        assert model.steps == 0
        trained(None, model=model)  # without a folder it may be anything


@pytest.mark.parametrize(("name", "code"), [("chmod", errno.EPERM), ("fsync", errno.EINVAL)])
def test_disks_that_know_no_permissions_or_cannot_be_waited_for(tmp_path, monkeypatch, name, code):
    """As network, exchange and cloud disks are; np.save and torch.save work there."""

    def refuses(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, name, refuses)
    model, _ = trained(tmp_path)
    assert torch.equal(trained(tmp_path)[0][0].weight, model[0].weight)


def test_a_disk_that_is_full_is_an_error(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        trained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl"}


BROKEN = r"last\.pt: no checkpoint of this library, or a damaged one"


def test_damaged_foreign_and_later_files_are_named(tmp_path):
    trained(tmp_path)
    last = tmp_path / "last.pt"
    whole = last.read_bytes()
    contents = (b"", b"no checkpoint", whole[: len(whole) // 2], whole[:-1])
    for content in contents:
        last.write_bytes(content)
        for read in (trained, load_weights):
            with pytest.raises(ValueError, match=BROKEN) as caught:
                read(tmp_path)
            assert "start anew with resume=False, or give another folder" in str(caught.value)
    torch.save({"weights": 1}, last)
    with pytest.raises(ValueError, match=BROKEN):
        trained(tmp_path)
    torch.save({"format": 99}, last)
    with pytest.raises(ValueError, match="format 99, this version reads up to"):
        trained(tmp_path)
    torch.save({"format": 2, "model": {}}, last)
    with pytest.raises(ValueError, match=r"last\.pt: written in format 2 by an earlier"):
        trained(tmp_path)
    trained(tmp_path, resume=False)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: [state.pop(name) for name in set(state) - {"format"}],
        lambda state: state.update(format="2"),
        lambda state: state.pop("identity"),
        lambda state: state.pop("log_bytes"),
        lambda state: state.update(model=3),
        lambda state: state["state"].pop("step"),
        lambda state: state["optimiser"].pop("state"),
        lambda state: state["model"].pop("0.weight"),
        lambda state: state["sampler"].clear(),
        lambda state: state["generators"].clear(),
    ],
)
def test_whatever_is_wrong_inside_is_one_error(tmp_path, change):
    trained(tmp_path)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=BROKEN):
        trained(tmp_path)


def test_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        for resume in (True, False):
            with pytest.raises(ValueError, match=r"folder: .*file.* give another one"):
                trained(folder, resume=resume)
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "run" / "last.pt").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"last\.pt: cannot be read .*give another folder"):
        trained(tmp_path / "run")


class Malice:
    def __reduce__(self):
        return os.mkdir, (self.where,)


def test_a_checkpoint_cannot_run_code(tmp_path):
    bad = Malice()
    bad.where = str(tmp_path / "harm")
    torch.save({"format": 3, "model": bad}, tmp_path / "last.pt")
    for read in (trained, load_weights):
        with pytest.raises(ValueError, match=BROKEN) as caught:
            read(tmp_path)
        told = "".join(traceback.format_exception(caught.value))
        assert "weights_only" not in told.splitlines()[-1]
        assert "Re-running" not in told, "torch's advice would run the code"
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(bad))
    assert (tmp_path / "harm").exists(), "the same object is harmful where it is trusted"


def test_leftovers_of_killed_processes_go_and_nothing_else(tmp_path):
    (tmp_path / ".last.pt.x1").write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    trained(tmp_path)
    there = {path.name for path in tmp_path.iterdir()}
    assert there == {"last.pt", "log.jsonl", "notes.txt"}


def test_the_log_tells_each_epoch_and_each_step_asked_for(tmp_path):
    _, history = trained(tmp_path, log_every=2, schedule="cosine")
    epochs = [line for line in numbers(tmp_path) if "epoch" in line]
    steps = [line for line in numbers(tmp_path) if "loss" in line]
    assert [line["step"] for line in epochs] == [3, 6, 9]
    assert [line["step"] for line in numbers(tmp_path)] == [2, 3, 4, 6, 8, 9], "each step once"
    assert steps[2]["loss"] == steps[2]["train_loss"] == history.train_loss[1]
    assert [line["train_loss"] for line in epochs] == list(history.train_loss)
    assert [line["validation_loss"] for line in epochs] == list(history.validation_loss)
    assert [line["step"] for line in steps] == [2, 4, 6, 8]
    rates = [1e-3 * (1 + math.cos(math.pi * (t - 1) / 9)) / 2 for t in (2, 4, 6, 8)]
    assert [line["learning_rate"] for line in steps] == pytest.approx(rates, rel=1e-12)
    seconds = [line["seconds"] for line in numbers(tmp_path)]
    assert seconds == sorted(seconds)


def test_a_log_that_was_cut_or_lost_does_not_stop_a_run(tmp_path):
    trained(tmp_path)
    (tmp_path / "log.jsonl").unlink()
    _, history = trained(tmp_path)
    assert history.steps == 9
    assert numbers(tmp_path) == []


class Board:
    """Stands in for TensorBoard's writer."""

    def __init__(self, folder, purge_step):
        self.folder, self.purge_step, self.scalars, self.closed = folder, purge_step, [], False
        Board.made.append(self)

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def close(self):
        self.closed = True


def test_tensorboard_gets_the_same_numbers(tmp_path, monkeypatch):
    Board.made = []
    module = types.SimpleNamespace(SummaryWriter=Board)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    _, history = trained(tmp_path, tensorboard=True, log_every=3)
    (board,) = Board.made
    assert (board.folder, board.purge_step) == (str(tmp_path / "tensorboard"), 1)
    losses = [(value, step) for name, value, step in board.scalars if name == "train_loss"]
    assert losses == list(zip(history.train_loss, (3, 6, 9), strict=True))
    assert board.closed
    written = [(name, step) for name, _, step in board.scalars]
    assert len(written) == len(set(written)), "each number once a step"
    assert ("learning_rate", 3) in written
    trained(tmp_path, tensorboard=True)
    assert Board.made[-1].purge_step == 10, "what was written after the checkpoint is dropped"


def test_without_tensorboard_the_way_to_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install 'tensorboard>=2\.17,<3'"):
        trained(tmp_path, tensorboard=True)
