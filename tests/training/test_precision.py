"""Narrow numbers inside modules and nowhere else."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.training import FitConfig, fit, seeded

Both = namedtuple("Both", "code logits")
NARROW = [("bf16", torch.bfloat16), ("fp16", torch.float16)]


class Probe(nn.Module):
    """Remembers the type of its result before anybody widens it."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(3, 3), []

    def forward(self, x):
        y = self.layer(x)
        self.seen.append(y.dtype)
        return y


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = Probe(), nn.Linear(3, 2)

    def forward(self, x):
        code = self.body(x)
        return {"both": Both(code, self.head(code)), "list": [code, 1], "whole": code.argmax(1)}

    def embed(self, x):
        return self.body(x)


def narrowly(model, x, loss, precision):
    """One step of training, with the modules in narrow numbers."""
    config = FitConfig(1, None, precision=precision, device="cpu", progress=False)
    return fit(model, loss, (x,), config)


@pytest.mark.parametrize(("precision", "dtype"), NARROW)
def test_modules_are_narrow_and_what_they_hand_out_is_wide(precision, dtype):
    model, x = Model(), torch.randn(4, 3)

    def loss(model, x):
        out, code = model(x), model.embed(x)
        assert not torch.is_autocast_enabled("cpu")
        assert {out["both"].code.dtype, out["both"].logits.dtype} == {torch.float32}
        assert isinstance(out["both"], Both)
        assert (out["list"][0].dtype, out["list"][1]) == (torch.float32, 1)
        assert (out["whole"].dtype, code.dtype) == (torch.int64, torch.float32)
        assert (x @ x.T).dtype == torch.float32, "what a loss computes itself"
        return code.mean() + out["both"].logits.mean()

    narrowly(model, x, loss, precision)
    assert model.body.seen == [dtype, dtype]
    model(x)
    assert model.body.seen[-1] == torch.float32, "over with the training"


def test_an_error_inside_a_module_leaves_nothing_behind():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x[:, :3])

    model = Broken()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="shapes"):
            narrowly(model, torch.ones(4, 5), lambda model, x: model(x).mean(), "bf16")
        assert not torch.is_autocast_enabled("cpu")
        assert not model._forward_hooks
        assert not model.layer._forward_pre_hooks


def trained(precision, scale=1.0, learning_rate=0.05, **changes):
    """Train one probe to copy its input, and tell the types met in training and in validation."""
    with seeded(0):
        model = Probe()
    x = np.random.default_rng(0).normal(size=(32, 3))
    types = []

    def loss(model, x):
        out = model(x)
        types.append((model.training, out.dtype))
        return scale * (out - x).square().mean()

    config = {"epochs": 4, "batch_size": 8, "precision": precision, "device": "cpu"}
    config = FitConfig(**config, progress=False, learning_rate=learning_rate, **changes)
    history = fit(model, loss, (x,), config, validation=(x,))
    assert {dtype for _, dtype in types} == {torch.float32}
    in_training = [d for d, (training, _) in zip(model.seen, types, strict=True) if training]
    in_validation = [d for d, (training, _) in zip(model.seen, types, strict=True) if not training]
    return model, history, set(in_training), set(in_validation)


def test_plain_numbers_on_the_cpu_unless_asked_for():
    auto, history, *types = trained("auto")
    plain, other, *_ = trained("float32")
    assert types == [{torch.float32}, {torch.float32}]
    assert torch.equal(auto.layer.weight, plain.layer.weight)
    assert history.train_loss == other.train_loss


@pytest.mark.parametrize(("precision", "narrow"), NARROW)
def test_training_is_narrow_and_validation_is_not(precision, narrow):
    # A small loss, which fp16 can scale by 65,536 from the first step on without an overflow.
    model, history, in_training, in_validation = trained(precision, scale=0.01)
    assert in_training == {narrow}
    assert in_validation == {torch.float32}
    _, wide, *_ = trained("float32", scale=0.01)
    np.testing.assert_allclose(history.train_loss, wide.train_loss, rtol=0.02)
    assert history.train_loss != wide.train_loss
    assert model.layer.weight.dtype == torch.float32


def test_a_loss_scaled_too_far_leaves_steps_out_and_goes_on():
    """The gradient of the scaled loss overflows at first; the scale falls until it fits."""
    model, history, *_ = trained("fp16", scale=1e4, max_grad_norm=1.0)
    assert torch.isfinite(model.layer.weight).all()
    assert history.train_loss[-1] < history.train_loss[0]
    assert history.steps == 16


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_weights_are_refused_where_they_are_trained(dtype):
    """AdamW's updates round to nothing in them; frozen parts may be as narrow as they like."""

    def loss(model, x):
        return model[1](model[0](x.to(dtype)).float()).square().mean()

    model = nn.Sequential(nn.Linear(3, 3).to(dtype), nn.Linear(3, 1))
    config = FitConfig(1, 4, device="cpu", progress=False)
    with pytest.raises(ValueError, match=rf"trainable weights in {dtype}.*precision=.bf16"):
        fit(model, loss, (torch.randn(8, 3),), config)
    model[0].requires_grad_(False)
    assert fit(model, loss, (torch.randn(8, 3),), config).steps == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_that_has_it_gets_it():
    model = Probe()
    fit(model, lambda m, x: m(x).mean(), (torch.randn(4, 3),), FitConfig(1, 4, precision="auto"))
    native = torch.cuda.get_device_capability() >= (8, 0)
    assert model.seen == [torch.bfloat16 if native else torch.float32]
