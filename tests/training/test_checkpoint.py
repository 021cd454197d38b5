"""What is kept on disk, what is refused, and the log beside it."""

import hashlib
import io
import json
import math
import os
import pickle
import subprocess
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
from vlalign_lib.training._identity import _function
from vlalign_lib.training.checkpoint import _SEAL, FORMAT

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 2)), RNG.normal(size=(24, 1))
HELD_OUT = RNG.normal(size=(9, 2)), RNG.normal(size=(9, 1))


def squared_error(model, x, y):
    return (model(x) - y).square().mean()


def absolute_error(model, x, y):
    return (model(x) - y).abs().mean()


def another_squared_error():
    """A loss of the same name."""

    def named(model, x, y):
        return (model(x) - y).square().sum()

    named.__qualname__ = "squared_error"
    return named


def new_model(seed=0, width=4, between=nn.Tanh):
    with seeded(seed):
        return nn.Sequential(nn.Linear(2, width), between(), nn.Linear(width, 1))


def frozen():
    model = new_model()
    model[0].weight.requires_grad_(False)
    return model


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
    assert (tmp_path / "best-2.pt").exists()
    assert not (tmp_path / "best-1.pt").exists()


def test_without_validation_the_last_weights_are_the_best(tmp_path):
    model, _ = trained(tmp_path, held_out=None)
    for which in ("best", "last"):
        assert torch.equal(load_weights(tmp_path, which)["0.weight"], model[0].weight)
    with pytest.raises(ValueError, match='expected "best" or "last"'):
        load_weights(tmp_path, "first")
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        load_weights(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.01}, "learning_rate was 0.001 and is 0.01"),
        ({"epochs": 4}, "epochs was 3 and is 4"),
        ({"seed": 1, "batch_size": 6}, "batch_size was 8 and is 6; seed was 0 and is 1"),
        ({"schedule": "cosine"}, "schedule was 'constant' and is 'cosine'"),
        ({"max_grad_norm": 1.0}, "max_grad_norm was None and is 1.0"),
        ({"model": new_model(width=5)}, "model was 'Sequential of 17 weights'"),
        ({"model": new_model(between=nn.ReLU)}, r"run: layers\[2\] was '  \(1\): Tanh\(\)' and"),
        (
            {"model": frozen()},
            r"run: weights\[0\] was '0.weight float32 \(4, 2\)' and is .*, frozen'",
        ),
        ({"loss": absolute_error}, r"run: loss_fn was 'squared_error \(code .* is 'absolute_error"),
        ({"loss": another_squared_error()}, r"run: loss_fn was 'squared_error \(code"),
        ({"loss": partial(squared_error)}, "run: loss_fn was .* and is 'squared_error .* with"),
        ({"data": (X + 1e-6, Y)}, r"run: data\[0\] was 'float32 \(24, 2\)"),
        ({"monitor": lambda model: 0.0}, "monitor was None and is '<lambda>"),
        ({"held_out": None}, "validation data was"),
        ({"sampler": ClassBalancedSampler(np.arange(24) % 3, 2, 4)}, "sampler was 'PairedSampler"),
        (
            {"sampler": PairedSampler(24, 8, seed=1)},
            r"sampler settings seed was 0 and is 1\. ",
        ),
        ({"by": torch.optim.SGD}, "optimiser was 'AdamW' and is 'SGD'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changes, words):
    trained(tmp_path)
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(ValueError, match=words) as refused:
        trained(tmp_path, **changes)
    assert "resume=False" in str(refused.value)
    assert (tmp_path / "last.pt").read_bytes() == before, "and left as it was"
    assert len(numbers(tmp_path)) == 3


def scaled(factor):
    return lambda model: factor * float(model[0].weight.sum())


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            {"by": lambda weights: torch.optim.SGD(weights, lr=0.1)},
            {"by": lambda weights: torch.optim.SGD(weights, lr=1.0)},
            r"run: optimiser settings\[0\] lr was 0\.1 and is 1\.0\. ",
        ),
        (
            {"by": lambda weights: torch.optim.SGD(weights, lr=0.1)},
            {"by": lambda weights: torch.optim.Adam(weights, lr=0.1)},
            "run: optimiser was 'SGD' and is 'Adam'; .* and [0-9]+ more",
        ),
        (
            {"by": lambda weights: torch.optim.SGD([{"params": [w]} for w in weights], lr=0.1)},
            {"by": lambda weights: torch.optim.SGD(weights, lr=0.1)},
            r"run: optimiser settings\[0\] weights was 1 and is 4\. ",
        ),
        (
            {"curve": lambda step, total: 1 - step / total},
            {"curve": lambda step, total: 1 - 0.5 * step / total},
            r"scheduler's shares\[1\] was '0\.888888888889 at step 2' and is '0\.9444",
        ),
        (
            {"curve": partial(warmup_cosine, warmup=2)},
            {"curve": partial(warmup_cosine, warmup=4)},
            r"scheduler was .*{'warmup': 2}.*{'warmup': 4}.*shares\[1\] was '0\.5 at step 2'",
        ),
        (
            {"monitor": lambda model: float(model[0].weight.sum())},
            {"monitor": lambda model: -float(model[0].weight.sum())},
            "run: monitor was '<lambda> .code .* of Python .* and is '<lambda> .code",
        ),
        (
            {"sampler": ClassBalancedSampler(np.arange(24) % 3, 2, 4)},
            {"sampler": ClassBalancedSampler(np.arange(24) // 8, 2, 4)},
            "run: sampler settings labels was",
        ),
    ],
    ids=["rate", "class", "groups", "schedule", "partial", "monitor", "labels"],
)
def test_what_is_given_as_a_function_is_compared_too(tmp_path, before, after, words):
    _, history = trained(tmp_path, **before)
    with pytest.raises(ValueError, match=words):
        trained(tmp_path, **after)
    assert trained(tmp_path, **before)[1].train_loss == history.train_loss


def test_closures_of_one_function_are_taken_for_the_same(tmp_path):
    """What ``fit`` says that it cannot tell apart."""
    trained(tmp_path, monitor=scaled(1.0))
    trained(tmp_path, monitor=scaled(2.0))


class Named:
    """Has an address in its ``repr``, and another one each time."""

    def __call__(self, model, x, y):
        return squared_error(model, x, y)


def test_what_changes_from_process_to_process_is_not_compared():
    assert "at 0x" in repr(Named())
    assert "0x" not in _function(partial(squared_error, Named()))
    assert _function(Named()) == _function(Named())
    assert _function(partial(max, Named())) == _function(partial(max, Named()))
    assert _function(torch.no_grad()(squared_error)) == _function(squared_error)
    assert _function(max) == "max"
    code = "from vlalign_lib.training._identity import _function\n"
    code += "print(_function(lambda x: x in {'a', 'b', 'c', 'd', 'e'}))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(found) == 1


def test_what_no_number_depends_on_may_change(tmp_path):
    _, history = trained(tmp_path)
    _, again = trained(tmp_path, device="auto", progress=True, log_every=1, timeout=5.0)
    assert again.train_loss == history.train_loss
    assert again.seconds == history.seconds > 0, "reading back costs nothing"
    assert again.energy_joules == history.energy_joules


def test_a_changed_batch_of_numpy_type_is_no_change(tmp_path):
    trained(tmp_path)
    trained(tmp_path, epochs=np.int64(3), learning_rate=np.float64(1e-3))


def test_damaged_foreign_and_later_files_are_named(tmp_path):
    trained(tmp_path)
    last = tmp_path / "last.pt"
    whole = last.read_bytes()
    for content in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        last.write_bytes(content)
        with pytest.raises(ValueError, match=r"last\.pt: no checkpoint of this library, or a dam"):
            trained(tmp_path)
    torch.save({"weights": 1}, last)
    with pytest.raises(ValueError, match="no checkpoint of this library"):
        trained(tmp_path)
    torch.save({"format": FORMAT + 1}, last)
    with pytest.raises(ValueError, match=rf"format {FORMAT + 1}, this version reads up to"):
        trained(tmp_path)
    torch.save({"format": 1, "model": {}}, last)
    with pytest.raises(ValueError, match=r"last\.pt: written in format 1 by an earlier"):
        trained(tmp_path)
    last.write_bytes(whole)
    (tmp_path / "best-3.pt").unlink()
    with pytest.raises(ValueError, match=r"best-3\.pt: is missing, though last\.pt names it"):
        trained(tmp_path)


def test_a_flipped_bit_is_told_wherever_it_is(tmp_path):
    trained(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("last.pt", "best-3.pt"):
        path = tmp_path / name
        whole = path.read_bytes()
        for place in (*rng.integers(0, len(whole), 40).tolist(), len(whole) - 1):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << rng.integers(8)
            path.write_bytes(flipped)
            with pytest.raises(ValueError, match=rf"{name}: no checkpoint of this library, or a"):
                trained(tmp_path)
            with pytest.raises(ValueError, match=rf"{name}: no checkpoint of this library, or a"):
                load_weights(tmp_path)
        path.write_bytes(whole)
    trained(tmp_path)


def sealed(state, path):
    """Write a file as this library would, whoever made its content."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    body = buffer.getvalue()
    path.write_bytes(body + _SEAL + hashlib.sha256(body).digest())


def without(name):
    return lambda state: state.pop(name)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.clear(),
        lambda state: [state.pop(name) for name in set(state) - {"format"}],
        without("format"),
        without("identity"),
        without("model"),
        without("optimiser"),
        without("best"),
        without("log_bytes"),
        lambda state: state.update(format="2"),
        lambda state: state.update(format=None),
        lambda state: state.update(format=True),
        lambda state: state.update(log_bytes=None),
        lambda state: state.update(model=3),
        lambda state: state["standing"].update(unknown=1),
        lambda state: state["standing"].pop("step"),
        lambda state: state["optimiser"].pop("state"),
        lambda state: state["model"].pop("0.weight"),
        lambda state: state["sampler"].clear(),
        lambda state: state["randomness"].clear(),
        lambda state: state["spent"].pop("joules"),
        lambda state: state.update(best="../../etc/passwd"),
        lambda state: state.update(best="/etc/passwd"),
        lambda state: state.update(best="best-03.pt"),
        lambda state: state.update(best="best-3.pt\n"),
        lambda state: state.update(best=3),
    ],
)
def test_whatever_is_wrong_inside_is_one_error(tmp_path, change):
    trained(tmp_path)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    change(state)
    sealed(state, tmp_path / "last.pt")
    with pytest.raises(
        ValueError, match=r"last\.pt: no checkpoint of this library, or a"
    ) as caught:
        trained(tmp_path)
    assert "start anew with resume=False, or give another folder" in str(caught.value)
    trained(tmp_path, resume=False)


def test_a_file_without_its_end_is_damaged(tmp_path):
    trained(tmp_path)
    whole = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match="the digest at its end is missing"):
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
    for write in (torch.save, sealed):
        write({"format": FORMAT, "model": bad}, tmp_path / "last.pt")
        for read in (trained, load_weights):
            with pytest.raises(ValueError, match="no checkpoint of this library") as caught:
                read(tmp_path)
            told = "".join(traceback.format_exception(caught.value))
            assert "weights_only" not in told.splitlines()[-1]
            assert "Re-running" not in told, "torch's advice would run the code"
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(bad))
    assert (tmp_path / "harm").exists(), "the same object is harmful where it is trusted"


def test_leftovers_of_killed_processes_go(tmp_path):
    for name in (".last.pt.x1", ".best-1.pt.y2", "best-7.pt"):
        (tmp_path / name).write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    trained(tmp_path)
    there = {path.name for path in tmp_path.iterdir()}
    assert {"last.pt", "log.jsonl", "notes.txt"} <= there
    assert not {name for name in there if name.startswith(".") or name == "best-7.pt"}


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folder": 3}, "folder: expected a path or None"),
        ({"tensorboard": True}, "tensorboard: needs a folder"),
        ({"checkpoint_every": 5}, "checkpoint_every: needs a folder"),
        ({"checkpoint_every": 0, "folder": "x"}, "checkpoint_every: expected a whole number"),
        ({"log_every": 1.5, "folder": "x"}, "log_every: expected a whole number"),
        ({"log_every": 5}, "log_every: needs a folder"),
        ({"resume": 1}, "resume: expected True or False"),
        ({"schedule": "linear"}, 'schedule: expected one of "constant", "cosine"'),
        ({"precision": "half"}, 'precision: expected one of "auto", "float32", "bf16", "fp16"'),
        ({"warmup": -1}, "warmup: expected a whole number of at least 0"),
        ({"warmup_start": 2.0}, "warmup_start: expected a share"),
        ({"max_grad_norm": 0.0}, "max_grad_norm: expected a number above 0"),
        ({"drop_last": None}, "drop_last: expected True or False"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        FitConfig(**settings)
