"""Two processes give what one gives; what they cannot share is refused; none waits for ever."""

import json

import pytest
import torch
from torch import nn

from vlalign_lib.training import FitConfig, World, average_gradients, fit, world


def load(path):
    return torch.load(path, weights_only=True)


def close(ours, whole):
    torch.testing.assert_close(ours, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gather", [False, True])
def test_gradients_are_those_of_one_process(nursery, tmp_path, gather):
    """With a loss over all rows only where it gathers them; else with a mean over the items."""
    assert nursery.run(("gradients", {"out": tmp_path / "one", "gather": gather})) == [0]
    codes = nursery.pair("gradients", out=tmp_path / "two", gather=gather)
    assert codes == [0, 0], nursery.output()
    (one,), two = [load(tmp_path / "one.0")], [load(tmp_path / f"two.{r}") for r in range(2)]
    assert sum(grad is None for grad in one) == 2, "one part of the model is not used"
    for rank in two:
        reached = 0
        for ours, whole in zip(rank, one, strict=True):
            if whole is not None:
                close(ours, whole)
                continue
            # Rank 1 alone reached it, so its gradient counts half; the other rank has it too.
            close(ours, torch.full_like(ours, 0.5))
            reached += 1
        assert reached == 2


@pytest.mark.parametrize("gather", [False, True])
def test_weights_after_many_steps_are_those_of_one_process(nursery, tmp_path, gather):
    settings = {"gather": gather, "schedule": "cosine", "warmup": 2, "max_grad_norm": 0.5}
    assert nursery.run(("together", {"out": tmp_path / "one", **settings})) == [0]
    codes = nursery.pair("together", out=tmp_path / "two", seed_of_rank=True, **settings)
    assert codes == [0, 0], nursery.output()
    one = load(tmp_path / "one.0")
    assert (one["processes"], len(one["losses"])) == (1, 15)
    for rank in range(2):
        two = load(tmp_path / f"two.{rank}")
        assert two["processes"] == 2
        for name, whole in one["weights"].items():
            close(two["weights"][name], whole)
        close(torch.tensor(two["train_loss"]), torch.tensor(one["train_loss"]))
        close(torch.tensor(two["validation_loss"]), torch.tensor(one["validation_loss"]))
        assert {size for _, size in two["losses"]} == {4}, "half of every batch"
        assert two["unused"], "what no process reaches keeps the gradient None, and stays"
        if gather:
            # The same value everywhere, of all rows; in validation no row is there twice.
            close(
                torch.tensor([value for value, _ in two["losses"]]),
                torch.tensor([value for value, _ in one["losses"]]),
            )
            assert two["largest"] == 8


def test_both_ranks_agree_to_the_last_bit_and_count_the_energy_of_all(nursery, tmp_path):
    assert nursery.pair("together", out=tmp_path / "two") == [0, 0], nursery.output()
    first, second = (load(tmp_path / f"two.{rank}") for rank in range(2))
    for name, value in first["weights"].items():
        assert torch.equal(value, second["weights"][name])
    for name in ("train_loss", "validation_loss", "joules"):
        assert first[name] == second[name]


def test_rank_0_alone_writes_files_and_shows_progress(nursery, tmp_path):
    folder = tmp_path / "run"
    codes = nursery.pair("together", out=tmp_path / "two", folder=folder)
    assert codes == [0, 0], nursery.output()
    assert nursery.output().count(" 0/15 ") == 1, "one bar"
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert {path.name for path in folder.iterdir()} == {"last.pt", "log.jsonl"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 9}, "a batch of 9 items cannot be shared by 2 processes evenly"),
        ({"batch_size": 3}, "use a batch_size that 2 divides"),
        ({"batch_size": 26, "drop_last": True}, None),
        ({"batch_size": None}, None),
    ],
    ids=str,
)
def test_batches_that_cannot_be_shared_evenly(nursery, tmp_path, settings, words):
    codes = nursery.pair("refused", out=tmp_path / "two", **settings)
    assert codes == [0, 0], nursery.output()
    for rank in range(2):
        error = tmp_path / f"two.{rank}.error"
        assert error.exists() == (words is not None)
        if words is not None:
            assert words in error.read_text()
            assert "drop_last=True" in error.read_text()


def test_processes_with_different_data_are_told_so(nursery, tmp_path):
    assert nursery.pair("refused", out=tmp_path / "two", fewer=2) == [0, 0], nursery.output()
    for rank in range(2):
        words = (tmp_path / f"two.{rank}.error").read_text()
        assert "data (rank 0 has 40 items, rank 1 has 38 items)" in words, words


@pytest.mark.parametrize("how", ["die", "hang"])
def test_a_process_that_is_lost_does_not_hold_up_the_other_for_ever(nursery, tmp_path, how):
    codes = nursery.pair("loses_a_process", out=tmp_path / "after", how=how)
    assert codes[0] == 7, nursery.output()
    seconds, error = json.loads((tmp_path / "after.0").read_text())
    assert seconds < 10
    assert error


def test_shares_in_the_order_of_ranks_are_the_batch():
    rows = torch.randperm(12)
    shares = [World(rank, 3).share(rows) for rank in range(3)]
    assert torch.equal(torch.cat(shares), rows)
    assert {len(share) for share in shares} == {4}
    with pytest.raises(ValueError, match="13 items cannot be shared by 3"):
        World(0, 3).share(torch.arange(13))


def test_alone_everything_is_a_world_of_one():
    assert world() == World(0, 1, 0)
    weight = nn.Parameter(torch.ones(2))
    average_gradients([weight])
    assert weight.grad is None


def test_a_world_without_an_address_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"RANK, MASTER_ADDR, MASTER_PORT is not set.*torchrun"):
        world()


def test_each_process_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "2")
    for name in ("auto", "cuda"):
        config = FitConfig(1, 2, device=name, progress=False)
        with pytest.raises(ValueError, match=r"process 2 .* has no GPU of its own: there are 2"):
            fit(nn.Linear(2, 1), lambda model, x: model(x).mean(), (torch.ones(2, 2),), config)
