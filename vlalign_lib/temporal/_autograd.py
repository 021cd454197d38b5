"""The recursions inside autograd: values, expected alignments, and their derivatives.

``_Values`` differentiates into ``_Alignment`` and that into ``_HessianProduct``; each runs on the
backend. From the third derivative on, the torch reference is differentiated, which autograd can
take as far as anybody likes. What forward keeps is handed on, so that nothing is computed twice,
and nothing is kept where no gradient is asked for. The transforms of ``torch.func`` and forward
mode, which need more than a backward pass, are given the reference too; ``torch.compile`` is
given operators.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from vlalign_lib.temporal import _ops, _torch
from vlalign_lib.temporal._backend import State, backend_for
from vlalign_lib.temporal._checks import is_transformed


def soft_dtw_values(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    """Return the values (B,) of checked costs (B, n, m), differentiable to any order."""
    if torch.compiler.is_compiling():
        return _ops.values(cost, lengths, gamma)
    if len(cost) == 0:
        return cost.sum((1, 2))
    if is_transformed(cost, lengths):
        return _torch.differentiable(cost, lengths, gamma)
    if torch.is_grad_enabled() and cost.requires_grad:
        return _applied(_Values, cost, lengths, gamma)
    return _forward(cost, lengths, gamma, keep=False)[0]


def soft_alignments(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    """Return the expected alignments (B, n, m), differentiable to any order."""
    if torch.compiler.is_compiling():
        return _ops.alignments(cost, lengths, gamma)
    if len(cost) == 0:
        return cost.clone()
    if is_transformed(cost, lengths):
        return torch.func.grad(lambda c: _torch.differentiable(c, lengths, gamma).sum())(cost)
    if torch.is_grad_enabled() and cost.requires_grad:
        return _applied(_Alignment, cost, lengths, gamma)
    _, state = _forward(cost, lengths, gamma, keep=True)
    return _alignment(cost, state, lengths, gamma)


def hard_alignments(cost: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the DTW values (B,), differentiable, and the one best path (B, n, m) as ones."""
    if torch.compiler.is_compiling():
        return _ops.values(cost, lengths, 0.0), _ops.alignments(cost.detach(), lengths, 0.0)
    if is_transformed(cost, lengths):
        raise RuntimeError(
            "dtw returns paths of different lengths, which torch.func cannot follow; "
            "soft_dtw(cost, 0.0) has the same values"
        )
    if len(cost) == 0:
        return cost.sum((1, 2)), cost.detach().clone()
    values, state = _forward(cost, lengths, 0.0, keep=True)
    if torch.is_grad_enabled() and cost.requires_grad:
        values = _applied(_Values, cost, lengths, 0.0)
    return values, _alignment(cost, state, lengths, 0.0)


def _forward(
    cost: Tensor, lengths: Tensor | None, gamma: float, *, keep: bool
) -> tuple[Tensor, State]:
    plain = cost.detach().resolve_neg().contiguous()
    return backend_for(cost.device).forward(plain, lengths, gamma, keep=keep)


def _alignment(cost: Tensor, state: State, lengths: Tensor | None, gamma: float) -> Tensor:
    found = backend_for(cost.device).alignment(state, lengths, gamma, tuple(cost.shape))
    return found.to(cost.dtype)


def _product(
    state: State, expected: Tensor, direction: Tensor, lengths: Tensor | None, gamma: float
) -> Tensor:
    if is_transformed(direction):
        raise RuntimeError(
            "second derivatives of soft-DTW take one gradient at a time: leave out "
            "is_grads_batched=True (vectorize=True), or use torch.func, which takes many"
        )
    direction = direction.detach().resolve_neg().contiguous()
    backend = backend_for(direction.device)
    return backend.hessian_product(state, expected.detach(), direction, lengths, gamma)


def _applied(function: type[Function], *inputs: Any) -> Tensor:
    result: Tensor = function.apply(*inputs)
    return result


class _Values(Function):
    @staticmethod
    def forward(ctx: Any, cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
        values, state = _forward(cost, lengths, gamma, keep=True)
        ctx.save_for_backward(cost, lengths, *state)
        ctx.gamma = gamma
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        cost, lengths, *state = ctx.saved_tensors
        if torch.is_grad_enabled():
            expected = _applied(_Alignment, cost, lengths, ctx.gamma, *state)
            return expected * gradient[:, None, None], None, None
        expected = _alignment(cost, tuple(state), lengths, ctx.gamma)
        if is_transformed(gradient):  # a batch of gradients does not fit in place
            return expected * gradient[:, None, None], None, None
        return expected.mul_(gradient[:, None, None]), None, None  # nobody else has seen it


class _Alignment(Function):
    @staticmethod
    def forward(
        ctx: Any, cost: Tensor, lengths: Tensor | None, gamma: float, *state: Tensor
    ) -> Tensor:
        ctx.gamma, ctx.states = gamma, len(state)
        if not state:
            _, state = _forward(cost, lengths, gamma, keep=True)
        expected = _alignment(cost, state, lengths, gamma)
        ctx.save_for_backward(cost, lengths, expected, *state)
        return expected

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cost, lengths, expected, *state = ctx.saved_tensors
        none = (None,) * (2 + ctx.states)
        if torch.is_grad_enabled():
            inputs = (cost, gradient, expected.detach(), lengths, ctx.gamma, *state)
            return _applied(_HessianProduct, *inputs), *none
        return _product(tuple(state), expected, gradient, lengths, ctx.gamma), *none


class _HessianProduct(Function):
    @staticmethod
    def forward(
        ctx: Any,
        cost: Tensor,
        direction: Tensor,
        expected: Tensor,
        lengths: Tensor | None,
        gamma: float,
        *state: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(cost, direction, lengths)
        ctx.gamma, ctx.states = gamma, len(state)
        return _product(state, expected, direction, lengths, gamma)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cost, direction, lengths = ctx.saved_tensors
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            # New names for the same tensors: the direction may itself depend on the cost, and
            # only the derivative with respect to the cost as written here is wanted.
            c, z = (_renamed(tensor, further) for tensor in (cost, direction))
            values = _torch.differentiable(c, lengths, ctx.gamma).sum()
            (expected,) = torch.autograd.grad(values, c, create_graph=True)
            if not expected.requires_grad:  # a single cell, or a hard minimum: E is constant
                return *(torch.zeros_like(cost) for _ in range(2)), *(None,) * (3 + ctx.states)
            (product,) = torch.autograd.grad(expected, c, z, create_graph=True)
            by_cost, by_direction = torch.autograd.grad(
                product, (c, z), gradient, create_graph=further, materialize_grads=True
            )
        return by_cost, by_direction, *(None,) * (3 + ctx.states)


def _renamed(tensor: Tensor, further: bool) -> Tensor:
    if further and tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()
