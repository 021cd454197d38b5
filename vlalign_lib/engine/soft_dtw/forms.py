"""The recursions of soft-DTW inside autograd: values, expected alignments, their derivatives.

``_Values`` differentiates into ``_Alignment`` and that into ``_HessianProduct``; each runs on the
kernels of its device. From the third derivative on, the plain form is differentiated, which
autograd can take as far as anybody likes. What forward keeps is handed on, so that nothing is
computed twice, and nothing is kept where no gradient is asked for. The transforms of
``torch.func`` and forward mode, which need more than a backward pass, and devices without kernels
are left to the plain form; ``torch.compile`` is given operators.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd import Function

from vlalign_lib._fast import plain_of, rescued
from vlalign_lib._tensors import is_transformed

State = tuple[Tensor, ...]
KERNELS = {"cpu": "loops", "cuda": "triton_kernels"}


class Kernels(Protocol):
    """The recursions on contiguous tensors (B, n, m) outside autograd."""

    forward: Callable[..., tuple[Tensor, State]]
    alignment: Callable[..., Tensor]
    hessian_product: Callable[..., Tensor]


@cache
def kernels_of(kind: str) -> Kernels:
    """Return the module of kernels for a kind of device."""
    return cast(Kernels, importlib.import_module(f"{__package__}.{KERNELS[kind]}"))


def soft_dtw(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    """Return the values (B,) of checked costs (B, n, m), differentiable to any order."""
    if torch.compiler.is_compiling():
        return _operators().values(cost, lengths, gamma)
    if _is_left_to_the_plain_form(cost, lengths):
        return NotImplemented
    if torch.is_grad_enabled() and cost.requires_grad:
        return _applied(_Values, cost, lengths, gamma)
    return _forward(cost, lengths, gamma, keep=False)[0]


def soft_alignment(cost: Tensor, lengths: Tensor | None, gamma: float) -> Tensor:
    """Return the expected alignments (B, n, m), differentiable to any order."""
    if torch.compiler.is_compiling():
        return _operators().alignments(cost, lengths, gamma)
    if _is_left_to_the_plain_form(cost, lengths):
        return NotImplemented
    if torch.is_grad_enabled() and cost.requires_grad:
        return _applied(_Alignment, cost, lengths, gamma)
    _, state = _forward(cost, lengths, gamma, keep=True)
    return _alignment(cost, state, lengths, gamma)


def _is_left_to_the_plain_form(cost: Tensor, lengths: Tensor | None) -> bool:
    return len(cost) == 0 or cost.device.type not in KERNELS or is_transformed(cost, lengths)


def _operators() -> Any:
    """Return the operators, which are registered with torch at their first use."""
    from vlalign_lib.engine.soft_dtw import operators

    return operators


def _forward(
    cost: Tensor, lengths: Tensor | None, gamma: float, *, keep: bool
) -> tuple[Tensor, State]:
    plain = cost.detach().resolve_neg().contiguous()
    return kernels_of(cost.device.type).forward(plain, lengths, gamma, keep=keep)


def _alignment(cost: Tensor, state: State, lengths: Tensor | None, gamma: float) -> Tensor:
    kernels, shape = kernels_of(cost.device.type), tuple(cost.shape)
    result: Tensor = rescued(
        "soft_alignment",
        lambda: kernels.alignment(state, lengths, gamma, shape).to(cost.dtype),
        lambda: plain_of("soft_alignment")(cost.detach(), lengths, gamma),
    )
    return result


def _product(
    cost: Tensor,
    state: State,
    expected: Tensor,
    direction: Tensor,
    lengths: Tensor | None,
    gamma: float,
) -> Tensor:
    if is_transformed(direction):
        raise RuntimeError(
            "second derivatives of soft-DTW take one gradient at a time: leave out "
            "is_grads_batched=True (vectorize=True), or use torch.func, which takes many"
        )
    direction = direction.detach().resolve_neg().contiguous()

    def plain() -> Tensor:
        with torch.enable_grad():
            c = cost.detach().requires_grad_()
            expected = plain_of("soft_alignment")(c, lengths, gamma)
            return torch.autograd.grad((expected * direction).sum(), c)[0]

    kernels = kernels_of(direction.device.type)
    result: Tensor = rescued(
        "soft_alignment",
        lambda: kernels.hessian_product(state, expected.detach(), direction, lengths, gamma),
        plain,
    )
    return result


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
        return _product(cost, tuple(state), expected, gradient, lengths, ctx.gamma), *none


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
        return _product(cost, state, expected, direction, lengths, gamma)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cost, direction, lengths = ctx.saved_tensors
        if ctx.gamma == 0:  # a hard minimum: E is constant
            return *(torch.zeros_like(cost) for _ in range(2)), *(None,) * (3 + ctx.states)
        further = torch.is_grad_enabled()
        with torch.enable_grad():
            # New names for the same tensors: the direction may itself depend on the cost, and
            # only the derivative with respect to the cost as written here is wanted.
            c, z = (_renamed(tensor, further) for tensor in (cost, direction))
            expected = plain_of("soft_alignment")(c, lengths, ctx.gamma)
            (product,) = torch.autograd.grad(expected, c, z, create_graph=True)
            by_cost, by_direction = torch.autograd.grad(
                product, (c, z), gradient, create_graph=further, materialize_grads=True
            )
        return by_cost, by_direction, *(None,) * (3 + ctx.states)


def _renamed(tensor: Tensor, further: bool) -> Tensor:
    if further and tensor.requires_grad:
        return tensor.view_as(tensor)
    return tensor.detach().requires_grad_()
