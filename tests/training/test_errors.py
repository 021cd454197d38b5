"""What goes wrong in training, and what the errors say to do."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import FitConfig, fit, seeded

X = np.random.default_rng(0).normal(size=(16, 2))


def run(loss, validation=None, monitor=None, **changes):
    with seeded(0):
        model = nn.Linear(2, 1)
    settings = {"epochs": 2, "batch_size": 8, "device": "cpu", "progress": False, **changes}
    config = FitConfig(**settings)
    return model, fit(model, loss, (X,), config, validation=validation, monitor=monitor)


def too_much(model, x, when=True):
    if model.training == when:
        torch.empty(2**50)
    return model(x).square().mean()


def test_out_of_main_memory_names_the_batch_and_what_to_set():
    with pytest.raises(MemoryError, match=r"main memory .* a step of 8 items: set batch_size=4"):
        run(too_much)
    with pytest.raises(MemoryError, match="set batch_size=1 "):
        run(too_much, batch_size=2)
    with pytest.raises(MemoryError, match="use a smaller model"):
        run(too_much, batch_size=1)
    with pytest.raises(MemoryError, match="validation of 5 items"):
        run(lambda m, x: too_much(m, x, False), validation=(X[:5],))


def test_out_of_gpu_memory_names_what_else_there_is():
    def loss(model, x):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")

    with pytest.raises(MemoryError) as caught:
        run(loss)
    for words in ("GPU memory", "8 items", "batch_size=4", 'precision="bf16"', "torchrun", "2.00"):
        assert words in str(caught.value)
    assert "More." not in str(caught.value)
    assert isinstance(caught.value.__cause__, torch.cuda.OutOfMemoryError)
    with pytest.raises(MemoryError, match="set batch_size=4, or spread the batch") as caught:
        run(loss, precision="bf16")
    assert "precision" not in str(caught.value), "it is narrow already"


def test_in_validation_only_a_smaller_batch_helps():
    """It stays in float32, and each process has all of the items."""

    def loss(model, x):
        if not model.training:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return model(x).square().mean()

    with pytest.raises(MemoryError) as caught:
        run(loss, validation=(X[:6],))
    assert str(caught.value) == (
        "the GPU memory does not suffice for validation of 6 items: set batch_size=3 "
        "(CUDA out of memory.)"
    )


def test_a_monitor_that_needs_too_much_memory_is_to_look_at_less():
    def monitor(model):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(MemoryError) as caught:
        run(lambda model, x: model(x).square().mean(), monitor=monitor)
    assert str(caught.value) == (
        "the GPU memory does not suffice for the monitor: let it look at fewer items at a time "
        "(CUDA out of memory.)"
    )


def test_a_model_that_is_too_large_for_the_gpu(monkeypatch):
    def full(module, device):
        raise RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be …")

    monkeypatch.setattr(nn.Linear, "to", full)
    with pytest.raises(MemoryError) as caught:
        run(lambda model, x: model(x).mean())
    assert str(caught.value) == (
        "the GPU memory does not suffice for the model: use a smaller model, or "
        'device="cpu", or free what else lies on the GPU (CUDA error: out of memory)'
    )


class OfTorch(RuntimeError):
    """As torch.AcceleratorError is, which older versions do not have."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), r"the main memory .* of 8 items: set batch_size=4 \(MemoryError\)"),
        (MemoryError("\n"), r"the main memory .* \(MemoryError\)"),
        (torch.OutOfMemoryError(""), r"the GPU memory .* \(OutOfMemoryError\)"),
        (RuntimeError("CUDA error: out of memory"), r"the GPU memory .* set batch_size=4, or p"),
        (OfTorch("CUDA error: out of memory"), "the GPU memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling …"), "the GPU memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: …"), r"main memory .* batch_size=4 \("),
        (RuntimeError("shapes"), None),
        (NotImplementedError("x"), None),
        (KeyError("k"), None),
    ],
    ids=repr,
)
def test_all_the_words_for_too_little_memory_and_no_others(error, words):
    def loss(model, x):
        raise error

    with pytest.raises(type(error) if words is None else MemoryError, match=words) as caught:
        run(loss)
    assert (caught.value if words is None else caught.value.__cause__) is error


def test_a_loss_that_runs_away_names_step_loss_rate_and_what_to_try():
    def loss(model, x):
        return (model(x) ** 4).mean()

    with pytest.raises(FloatingPointError) as caught:
        run(loss, learning_rate=1e12, epochs=50)
    text = str(caught.value)
    for words in ("the loss is", "at step", "epoch", "1e+12", "learning_rate=1e+11", "warm-up"):
        assert words in text
    assert "max_grad_norm=1.0" in text


def test_a_gradient_that_is_no_number_is_seen_before_it_spoils_the_weights():
    class Spoils(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * math.nan

    model = nn.Linear(2, 1)
    before = model.weight.clone()
    config = FitConfig(1, 8, device="cpu", progress=False, max_grad_norm=1.0)
    with pytest.raises(FloatingPointError, match="gradient's norm is nan at step 1"):
        fit(model, lambda m, x: Spoils.apply(m(x)).sum(), (X,), config)
    assert torch.equal(model.weight, before)


def test_gradients_are_cut_to_their_length_and_no_shorter():
    lengths = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            grads = [w.grad.flatten() for group in self.param_groups for w in group["params"]]
            lengths.append(float(torch.cat(grads).norm()))
            return super().step(closure)

    def fitted(limit, scale):
        lengths.clear()
        config = FitConfig(1, None, device="cpu", progress=False, max_grad_norm=limit)
        model = nn.Linear(2, 1)
        nn.init.ones_(model.weight)
        fit(
            model,
            lambda m, x: scale * m(x).sum(),
            (np.ones((4, 2)),),
            config,
            optimiser=lambda weights: Watched(weights, lr=0.1),
        )
        return lengths[0]

    free = 4 * math.sqrt(3)  # d/dw of the sum over four rows of ones, d/db
    assert fitted(None, 1.0) == pytest.approx(free, rel=1e-6)
    assert fitted(0.5, 1.0) == pytest.approx(0.5, rel=1e-5)
    assert fitted(100.0, 1.0) == pytest.approx(free, rel=1e-6)
