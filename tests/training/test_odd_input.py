"""Arguments of another kind than the loop can work with are named before anything is trained."""

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import FitConfig, fit, seeded

ROWS = np.arange(12.0).reshape(6, 2)
QUIET = FitConfig(epochs=1, batch_size=3, device="cpu", progress=False)


def mean_output(model, rows):
    return model(rows).square().mean()


def run(**changes):
    given = {"model": nn.Linear(2, 1), "loss_fn": mean_output, "data": (ROWS,), "config": QUIET}
    return fit(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ROWS}, "model: expected a torch module, got ndarray"),
        ({"loss_fn": "mse"}, "loss_fn: expected a function"),
        ({"config": ROWS}, "config: expected a FitConfig or None, got ndarray"),
        ({"optimiser": "adam"}, "optimiser: expected a function of the parameters"),
        ({"optimiser": lambda weights: None}, "optimiser: expected it to return"),
        ({"data": "rows"}, "data: expected a tuple of arrays, got str"),
        ({"data": ([[1.0], [1.0, 2.0]],)}, r"data\[0\]: the rows make no array"),
        ({"data": (np.array([["a"]]),)}, r"data\[0\]: expected real numbers"),
        ({"data": (np.array([None]),)}, r"data\[0\]: expected real numbers"),
        ({"data": (torch.eye(2).to_sparse(),)}, r"data\[0\]: expected a dense tensor"),
        ({"validation": (ROWS, ROWS)}, "validation: expected 1 arrays like data, got 2"),
        ({"loss_fn": lambda m, x: torch.tensor(1.0)}, "does not depend on the model's weights"),
        ({"loss_fn": lambda m, x: m(x).mean().detach()}, "does not depend on the model's weights"),
        ({"loss_fn": lambda m, x: torch.tensor(1)}, "expected a floating-point number"),
    ],
)
def test_arguments_that_cannot_work(changes, message):
    with pytest.raises(ValueError, match=message):
        run(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": None},
        {"epochs": True},
        {"batch_size": True},
        {"learning_rate": None},
        {"learning_rate": "fast"},
        {"learning_rate": np.ones(2)},
        {"weight_decay": [0.1]},
        {"seed": -1},
        {"seed": "x"},
        {"progress": np.ones(2)},
    ],
    ids=str,
)
def test_settings_that_make_no_sense(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=f"{name}: expected"):
        FitConfig(**changes)


@pytest.mark.parametrize("device", [None, 1.5, "meta"])
def test_devices_that_cannot_compute(device):
    with pytest.raises(ValueError, match="device: "):
        run(config=FitConfig(epochs=1, batch_size=3, device=device, progress=False))


@pytest.mark.parametrize("seed", [2**64, -1, 1.0, None])
def test_seeds_out_of_range(seed):
    with pytest.raises(ValueError, match="seed: expected a whole number"), seeded(seed):
        pass


@pytest.mark.parametrize("dtype", [">f8", "f2", np.longdouble, ">i4"])
def test_arrays_of_any_number_type(dtype):
    history = run(
        data=(ROWS.astype(dtype),), loss_fn=lambda m, rows: m(rows.float()).square().mean()
    )
    assert history.steps == 2


def test_whole_numbers_of_numpy_count():
    assert run(config=FitConfig(np.int64(1), np.int64(3), device="cpu", progress=False)).steps == 2
