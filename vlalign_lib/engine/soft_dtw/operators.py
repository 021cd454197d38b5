"""The recursions as operators that ``torch.compile`` takes as they are, without looking inside.

Only compiled code comes through here. What an operator keeps has to be among its outputs, with
shapes known in advance, and that of the kernels is not: so each derivative runs the forward
recursion again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vlalign_lib.engine.soft_dtw.forms import kernels_of

MATRIX = "(Tensor cost, Tensor? lengths, float gamma) -> Tensor"
PRODUCT = "(Tensor cost, Tensor direction, Tensor? lengths, float gamma) -> Tensor"


@torch.library.custom_op("vlalign::soft_dtw", mutates_args=(), schema=MATRIX)
def values(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    """Return the soft-DTW values (B,) of costs (B, n, m)."""
    if len(cost) == 0:
        return cost.new_zeros(0)
    return kernels_of(cost.device.type).forward(cost.contiguous(), lengths, gamma, keep=False)[0]


@torch.library.custom_op("vlalign::soft_alignment", mutates_args=(), schema=MATRIX)
def alignments(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    """Return the expected alignments (B, n, m)."""
    if len(cost) == 0:
        return cost.clone()
    backend = kernels_of(cost.device.type)
    _, state = backend.forward(cost.contiguous(), lengths, gamma, keep=True)
    return backend.alignment(state, lengths, gamma, tuple(cost.shape)).to(cost.dtype)


@torch.library.custom_op("vlalign::soft_alignment_product", mutates_args=(), schema=PRODUCT)
def products(cost: Tensor, direction: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    """Return the derivative (B, n, m) of the expected alignments in a direction."""
    if len(cost) == 0:
        return cost.clone()
    backend = kernels_of(cost.device.type)
    _, state = backend.forward(cost.contiguous(), lengths, gamma, keep=True)
    expected = backend.alignment(state, lengths, gamma, tuple(cost.shape)).to(cost.dtype)
    return backend.hessian_product(state, expected, direction.contiguous(), lengths, gamma)


@values.register_fake
def _(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    return cost.new_empty(cost.shape[0])


@alignments.register_fake
def _(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    return cost.new_empty(cost.shape)


@products.register_fake
def _(cost: Tensor, direction: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    return cost.new_empty(cost.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    cost, lengths, ctx.gamma = inputs
    ctx.save_for_backward(cost, lengths)


def _values_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    cost, lengths = ctx.saved_tensors
    return alignments(cost, lengths, ctx.gamma) * gradient[:, None, None], None, None


def _alignments_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    cost, lengths = ctx.saved_tensors
    return products(cost, gradient, lengths, ctx.gamma), None, None


values.register_autograd(_values_backward, setup_context=_keep)
alignments.register_autograd(_alignments_backward, setup_context=_keep)
