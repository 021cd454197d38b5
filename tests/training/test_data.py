"""What reaches the loss: any shape, missing views, the precision of the weights; and the cost."""

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import ClassBalancedSampler, FitConfig, fit

QUIET = FitConfig(epochs=1, batch_size=2, device="cpu", progress=False)


def taught(model, data, **settings):
    """The batches that the loss saw."""
    seen = []

    def loss(model, *batch):
        seen.append(batch)
        return sum(weight.square().sum() for weight in model.parameters())

    config = FitConfig(
        **{"epochs": 1, "batch_size": 2, "device": "cpu", "progress": False} | settings
    )
    return seen, fit(model, loss, data, config)


def test_pictures_words_and_classes_of_any_shape_keep_together():
    pictures = np.arange(5 * 3 * 4 * 4).reshape(5, 3, 4, 4) / 10
    words, classes = torch.arange(5)[:, None].repeat(1, 7), np.arange(5)
    seen, _ = taught(nn.Linear(1, 1), (pictures, words, classes))
    for x, y, c in seen:
        assert x.shape[1:] == (3, 4, 4)
        assert (x.dtype, y.dtype, c.dtype) == (torch.float32, torch.int64, torch.int64)
        assert torch.equal(y, c[:, None].expand(-1, 7))
        expected = torch.tensor(pictures[c.numpy()], dtype=torch.float32)
        assert torch.equal(x, expected)
    assert sorted(torch.cat([c for *_, c in seen]).tolist()) == list(range(5))


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_view_arrives_as_none(missing):
    data = [np.ones((4, 2)), np.ones((4, 3)), np.arange(4)]
    data[missing] = None
    seen, _ = taught(nn.Linear(1, 1), data)
    assert len(seen) == 2
    for batch in seen:
        assert [part is None for part in batch] == [i == missing for i in range(3)]


def test_views_that_are_all_missing_or_disagree_are_refused():
    with pytest.raises(ValueError, match="at least one array, got none"):
        taught(nn.Linear(1, 1), (None, None))
    with pytest.raises(ValueError, match=r"data\[2\]: has 3 rows and data\[1\] has 4"):
        taught(nn.Linear(1, 1), (None, np.ones(4), np.ones(3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_arrive_in_the_precision_of_the_weights(dtype):
    seen, _ = taught(nn.Linear(1, 1).to(dtype), (np.ones((4, 2), np.float32), np.ones(4)))
    assert {part.dtype for batch in seen for part in batch} == {dtype}


def test_an_incomplete_batch_can_be_left_out():
    seen, history = taught(nn.Linear(1, 1), (np.arange(7.0),), drop_last=True, epochs=2)
    assert [len(x) for (x,) in seen] == [2] * 6
    assert history.steps == 6


def test_a_sampler_decides_what_makes_a_batch():
    classes = np.array([0] * 9 + [1] * 3)
    seen = []

    def loss(model, c):
        seen.append(torch.bincount(c).tolist())
        return model.weight.sum()

    sampler = ClassBalancedSampler(classes, 2, 2, batches=5)
    history = fit(nn.Linear(1, 1), loss, (classes,), QUIET, sampler=sampler)
    assert seen == [[2, 2]] * 5
    assert history.steps == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("free", [79, 80])
def test_data_that_do_not_fit_onto_the_gpu_come_batch_by_batch(monkeypatch, free):
    moved, to = [], torch.Tensor.to
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**9))
    monkeypatch.setattr(torch.Tensor, "to", lambda t, *a: moved.append(t.shape) or to(t, *a))
    seen, _ = taught(nn.Linear(1, 1), (torch.arange(10.0), None), device="cuda")
    assert {x.device.type for x, _ in seen} == {"cuda"}
    assert ((10,) in [tuple(shape) for shape in moved[1:]]) == (free == 80)


def test_the_cost_is_told():
    def heavy(model, x):
        block = torch.ones(40_000_000)  # 153 MiB
        return model.weight.sum() * block.sum()

    _, light = taught(nn.Linear(1, 1), (np.ones(4),))
    history = fit(nn.Linear(1, 1), heavy, (np.ones(4),), QUIET)
    assert history.peak_memory_mb > light.peak_memory_mb + 100
    assert history.peak_gpu_mb is None
    assert history.energy_joules > 0
    assert history.processes == 1
