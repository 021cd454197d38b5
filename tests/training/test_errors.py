"""What goes wrong in training, and what the errors say to do."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import FitConfig, fit, seeded

X = np.random.default_rng(0).normal(size=(16, 2))


def squared(model, x):
    return model(x).square().mean()


def run(loss=squared, validation=None, monitor=None, **changes):
    with seeded(0):
        model = nn.Linear(2, 1)
    settings = {"epochs": 2, "batch_size": 8, "device": "cpu", "progress": False, **changes}
    config = FitConfig(**settings)
    return model, fit(model, loss, (X,), config, validation=validation, monitor=monitor)


def full(*arguments):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")


def too_much(model, x, when=True):
    if model.training == when:
        torch.empty(2**50)
    return squared(model, x)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("run_of", "words"),
    [
        (lambda: run(too_much), r"the main memory .* a step of 8 items: set batch_size=4 \("),
        (lambda: run(too_much, batch_size=1), r"a step of 1 items: use a smaller model \("),
        (
            lambda: run(lambda m, x: too_much(m, x, False), validation=(X[:5],)),
            r"validation of 5 items: set batch_size=2 \(",
        ),
        (
            lambda: run(full),
            'the GPU memory .* 8 items: set batch_size=4, or precision="bf16", or spread the '
            r"batch over more GPUs with torchrun \(CUDA out of memory. Tried to .* 2.00 GiB.\)$",
        ),
        (lambda: run(full, precision="bf16"), "set batch_size=4, or spread the batch"),
        (  # validation stays in float32, and each process has all of the items
            lambda: run(lambda m, x: squared(m, x) if m.training else full(), validation=(X[:6],)),
            r"the GPU memory .* validation of 6 items: set batch_size=3 \(CUDA",
        ),
        (
            lambda: run(monitor=full),
            r"the GPU memory .* the monitor: let it look at fewer items at a time \(CUDA",
        ),
    ],
)
def test_out_of_memory_names_the_batch_and_what_to_set(run_of, words):
    with pytest.raises(MemoryError, match=words) as caught:
        run_of()
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.engine
def test_a_model_that_is_too_large_for_the_gpu(monkeypatch):
    monkeypatch.setattr(nn.Linear, "to", full)
    words = 'the model: use a smaller model, or device="cpu", or free what else lies on the GPU'
    with pytest.raises(MemoryError, match=words):
        run()


class OfTorch(RuntimeError):
    """As torch.AcceleratorError is, which older versions do not have."""


@pytest.mark.engine
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
    with pytest.raises(FloatingPointError) as caught:
        run(lambda model, x: (model(x) ** 4).mean(), learning_rate=1e12, epochs=50)
    text = str(caught.value)
    for words in ("the loss is", "at step", "epoch", "1e+12", "learning_rate=1e+11", "warm-up"):
        assert words in text
    assert "max_grad_norm=1.0" in text


def test_a_loss_that_is_not_finite_names_the_step_or_the_epoch():
    calls = []

    def loss(model, x):
        calls.append(1)
        return squared(model, x) * (math.nan if len(calls) == 3 else 1.0)

    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 3 \(epoch 2\)"):
        run(loss)
    with pytest.raises(FloatingPointError, match=r"loss is -?inf at step 1"):
        run(lambda model, x: model(x).sum() * math.inf)
    for how in ({"validation": (np.full((3, 2), np.nan),)}, {"monitor": lambda model: math.nan}):
        with pytest.raises(FloatingPointError, match="validation loss is nan after epoch 1"):
            run(**how)


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


@pytest.mark.parametrize(("limit", "share"), [(None, 1.0), (0.5, None), (100.0, 1.0)])
def test_gradients_are_cut_to_their_length_and_no_shorter(limit, share):
    lengths = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            grads = [w.grad.flatten() for group in self.param_groups for w in group["params"]]
            lengths.append(float(torch.cat(grads).norm()))
            return super().step(closure)

    free = 4 * math.sqrt(3)  # d/dw of the sum over four rows of ones, d/db
    fit(
        nn.Linear(2, 1),
        lambda m, x: m(x).sum(),
        (np.ones((4, 2)),),
        FitConfig(1, None, device="cpu", progress=False, max_grad_norm=limit),
        optimiser=lambda weights: Watched(weights, lr=0.1),
    )
    assert lengths[0] == pytest.approx(free * share if share else limit, rel=1e-5)
