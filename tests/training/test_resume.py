"""Killed anywhere and started again, a run ends in the same bits."""

import json
import random
import signal

import pytest
import torch

KILLED = -signal.SIGKILL
STEPS = 24  # 4 epochs of 44 pairs in batches of 8


def same(one, other):
    """Whether two results are alike to the last bit."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name == "weights":
            assert value.keys() == other[name].keys()
            assert all(torch.equal(value[k], other[name][k]) for k in value)
        else:
            assert value == other[name], name


def result(path):
    return torch.load(path, weights_only=True)


def lines(folder):
    """The log without the seconds, which no run repeats."""
    found = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in found]


@pytest.fixture(scope="module")
def whole(nursery, tmp_path_factory):
    """The run that nobody killed: folder and result."""
    folder = tmp_path_factory.mktemp("whole")
    assert nursery.run(("train", {"folder": folder, "out": folder / "out"})) == [0], (
        nursery.output()
    )
    return folder, result(folder / "out")


def check(folder, whole):
    same(result(folder / "out"), whole[1])
    assert lines(folder) == lines(whole[0])
    there = sorted(path.name for path in folder.iterdir())
    assert there == sorted(path.name for path in whole[0].iterdir())
    assert not [name for name in there if name.startswith(".")], "nothing is left lying about"


def test_the_run_has_something_to_lose(whole):
    folder, found = whole
    assert found["steps"] == STEPS
    assert len(set(found["train_loss"])) == 4
    assert found["train_loss"][-1] < found["train_loss"][0]
    assert [line["step"] for line in lines(folder)] == list(range(1, STEPS + 1)), "each once"
    assert all("loss" in line for line in lines(folder))
    assert [line["epoch"] for line in lines(folder) if "epoch" in line] == [1, 2, 3, 4]


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_killed_at_each_step(nursery, tmp_path, whole, step):
    args = {"folder": tmp_path, "out": tmp_path / "out"}
    assert nursery.run(("train", {**args, "die_at": step})) == [KILLED]
    assert not (tmp_path / "out").exists()
    assert nursery.run(("train", args)) == [0], nursery.output()
    check(tmp_path, whole)


def test_killed_again_and_again(nursery, tmp_path, whole):
    """Up to the step of the kill nothing is lost but what came after a checkpoint."""
    args = {"folder": tmp_path, "out": tmp_path / "out"}
    for step in sorted(random.Random(0).choices(range(1, STEPS + 1), k=8)):
        assert nursery.run(("train", {**args, "die_at": step})) == [KILLED]
    assert nursery.run(("train", args)) == [0], nursery.output()
    check(tmp_path, whole)


@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.35])
def test_killed_from_outside_at_any_moment(nursery, tmp_path, whole, seconds):
    args = {"folder": tmp_path, "out": tmp_path / "out"}
    nursery.run(("train", {**args, "slow": 0.02}, {"kill_after": seconds}))
    assert nursery.run(("train", args)) == [0], nursery.output()
    check(tmp_path, whole)


@pytest.mark.parametrize("call", [*range(1, 16), 22, 29, 36, 43])
def test_killed_while_a_checkpoint_is_written(nursery, tmp_path, whole, call):
    """With half a file written, before fsync, before the rename, and while clearing up."""
    args = {"folder": tmp_path, "out": tmp_path / "out"}
    assert nursery.run(("train", {**args, "die_in_call": call})) == [KILLED]
    assert nursery.run(("train", args)) == [0], nursery.output()
    check(tmp_path, whole)


@pytest.mark.parametrize(
    "settings",
    [{"balanced": True}, {"precision": "fp16", "times": 1e4}, {"precision": "bf16"}],
    ids=str,
)
def test_with_another_sampler_and_with_narrow_numbers(nursery, tmp_path, settings):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert nursery.run(
        ("train", {"folder": whole, "out": tmp_path / "a", **settings}),
        ("train", {"folder": cut, "out": tmp_path / "b", "die_at": 10, **settings}),
    ) == [0, KILLED], nursery.output()
    assert nursery.run(("train", {"folder": cut, "out": tmp_path / "b", **settings})) == [0]
    same(result(tmp_path / "a"), result(tmp_path / "b"))


def test_a_run_that_has_ended_is_read_back(nursery, tmp_path, whole):
    args = {"folder": tmp_path, "out": tmp_path / "out"}
    assert nursery.run(("train", args)) == [0]
    (tmp_path / "out").unlink()
    assert nursery.run(("train", {**args, "die_at": 1, "slow": 60})) == [0]
    check(tmp_path, whole)


def test_started_anew_it_forgets(nursery, tmp_path, whole):
    args = {"folder": tmp_path, "out": tmp_path / "out"}
    assert nursery.run(("train", {**args, "die_at": 20})) == [KILLED]
    assert nursery.run(("train", {**args, "resume": False})) == [0], nursery.output()
    check(tmp_path, whole)


def test_two_processes_killed_and_continued(nursery, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    args = {"drop_last": True}
    assert nursery.pair("train", folder=whole, out=tmp_path / "a", **args) == [0, 0], (
        nursery.output()
    )
    assert nursery.pair("train", folder=cut, out=tmp_path / "b", die_at=8, **args) == [KILLED] * 2
    assert nursery.pair("train", folder=cut, out=tmp_path / "b", **args) == [0, 0]
    for rank in range(2):
        same(result(tmp_path / f"a.{rank}"), result(tmp_path / f"b.{rank}"))
    same(result(tmp_path / "a.0"), result(tmp_path / "a.1"))
    assert lines(whole) == lines(cut)
    assert nursery.run(("train", {"folder": cut, "out": tmp_path / "c", **args})) == [1]
    assert "processes was 2 and is 1" in nursery.output()
