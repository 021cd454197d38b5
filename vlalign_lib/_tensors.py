"""What every function on tensors asks of its input, and how losses are reduced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch._C import _functorch as functorch
from torch.autograd import forward_ad

from vlalign_lib._validate import as_number as as_number
from vlalign_lib._validate import check_choice as check_choice

Reduction = Literal["mean", "sum", "none"]


def as_floats(values: Any, name: str, shape: str) -> Tensor:
    """Return ``values`` unless it is no dense tensor of real numbers with the axes of ``shape``.

    ``shape`` shows the axes as the caller knows them, ``"(B, d)"`` say. Half precision becomes
    float32, which keeps the gradient; a loss of 16-bit numbers is not worth having. Whether the
    numbers are finite is not looked at: on a device that would make the host wait.

    Raises:
        ValueError: not a tensor, whole or complex numbers, sparse, without values, another number
            of axes.
    """
    if not isinstance(values, Tensor):
        raise ValueError(
            f"{name}: expected a torch tensor {shape}, got {type(values).__name__}; "
            f"torch.as_tensor({name}) makes one"
        )
    if values.layout != torch.strided:
        raise ValueError(f"{name}: expected a dense tensor, got a sparse one; use .to_dense()")
    if not values.is_floating_point():
        raise ValueError(
            f"{name}: expected real numbers in floating point, got {values.dtype}; use .float()"
        )
    if values.is_meta:
        raise ValueError(f"{name}: is a tensor on the meta device, which has no values")
    axes = shape.count(",") + 1 - shape.endswith(",)")
    if values.ndim != axes:
        raise ValueError(f"{name}: expected shape {shape}, got {tuple(values.shape)}")
    return values.float() if values.element_size() < 4 else values


def as_views(
    x: Any, y: Any, *, min_rows: int = 1, same_width: bool = False
) -> tuple[Tensor, Tensor]:
    """Return two views (B, p) and (B, q), row i of one the partner of row i of the other.

    Views of different precision meet in the wider one.

    Raises:
        ValueError: as ``as_floats``; different numbers of rows or devices, too few rows, no
            columns, different widths where ``same_width`` asks for equal ones.
    """
    x, y = as_floats(x, "x", "(B, p)"), as_floats(y, "y", "(B, q)")
    if x.shape[0] != y.shape[0]:
        raise ValueError(
            f"x has {x.shape[0]} rows and y has {y.shape[0]}: row i of one must be the partner of "
            "row i of the other"
        )
    check_same_device(x, y)
    if x.shape[0] < min_rows:
        raise ValueError(f"x and y: need at least {min_rows} rows, got {x.shape[0]}")
    if x.shape[1] == 0 or y.shape[1] == 0:
        raise ValueError(f"x and y: need columns, got {tuple(x.shape)} and {tuple(y.shape)}")
    if same_width and x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} columns and y has {y.shape[1]}: they are compared with each "
            "other, so embed both into the same number of dimensions"
        )
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


def as_tensor(values: Any, name: str, what: str, device: torch.device | None = None) -> Tensor:
    """Return a tensor, an array or lists of numbers as a tensor, on ``device`` if one is given.

    ``what`` says in the error what was expected. Arrays are copied, since torch shares neither
    read-only nor reversed memory.

    Raises:
        ValueError: nothing that makes a tensor, or a tensor without values.
    """
    if isinstance(values, np.ndarray):
        values = values.copy()
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        got = "None" if values is None else f"{type(values).__name__} ({error})"
        raise ValueError(f"{name}: expected {what}, got {got}") from error
    if tensor.is_meta:
        raise ValueError(f"{name}: is a tensor on the meta device, which has no values")
    return tensor if device is None else tensor.to(device)


def as_classes(labels: Any, n: int, device: torch.device, name: str = "labels") -> Tensor:
    """Return class indices (n,) as an int64 tensor on ``device``.

    Raises:
        ValueError: not whole numbers, or not ``n`` of them.
    """
    labels = as_tensor(labels, name, f"whole numbers ({n},), one class a row", device)
    if labels.shape != (n,):
        raise ValueError(
            f"{name}: expected shape ({n},), one class a row, got {tuple(labels.shape)}"
        )
    if labels.is_floating_point() or labels.is_complex():
        raise ValueError(f"{name}: expected whole numbers, got {labels.dtype}; use .long()")
    return labels.long()


def check_same_device(*tensors: Tensor) -> None:
    """Raise a ValueError unless all tensors lie on one device."""
    devices = sorted({str(tensor.device) for tensor in tensors})
    if len(devices) > 1:
        raise ValueError(f"expected tensors on one device, got them on {' and '.join(devices)}")


def as_scalar(value: Any, name: str, *, above: float | None = None) -> float | Tensor:
    """Return a number, or a tensor without axes with its gradient.

    A number is looked at; a tensor is not, which may lie on a device that would have to be
    waited for.

    Raises:
        ValueError: not one real number, or a number out of bounds.
    """
    if not isinstance(value, Tensor):
        return as_number(value, name, above=above)
    if value.numel() != 1:
        raise ValueError(f"{name}: expected one number, got a tensor {tuple(value.shape)}")
    if value.is_meta or value.is_complex() or value.dtype == torch.bool:
        what = "a tensor on the meta device, which has no values" if value.is_meta else value.dtype
        raise ValueError(f"{name}: expected one real number, got {what}")
    return value.reshape(())


def reduce_loss(values: Tensor, reduction: Reduction, counts: Tensor | None = None) -> Tensor:
    """Return the mean or the sum of ``values``, or ``values`` themselves for ``"none"``.

    ``counts`` says for each value of how many terms it is the sum; the mean is over the terms.

    Raises:
        ValueError: another word.
    """
    check_choice(reduction, "reduction", ("mean", "sum", "none"))
    if reduction == "none":
        return values
    if reduction == "sum":
        return values.sum()
    return values.mean() if counts is None else values.sum() / counts.sum().clamp(min=1)


@contextmanager
def without_autocast(device: torch.device) -> Iterator[None]:
    """Keep mixed precision out: similarities and losses are computed as wide as they came."""
    with torch.autocast(device.type, enabled=False):
        yield


def in_full_precision(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """Return ``function(*tensors)`` without mixed precision, in its backward pass as well.

    A backward pass that runs inside ``torch.autocast`` would make the products of the gradient
    narrow. Where autocast is on, the function is therefore computed again for the gradient, with
    autocast off; ``tensors`` have to be all that wants a gradient.
    """
    device = tensors[0].device
    if not torch.is_autocast_enabled(device.type):
        return function(*tensors)
    result: Tensor = _FullPrecision.apply(function, *tensors)
    return result


class _FullPrecision(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*tensors)
        with without_autocast(tensors[0].device):
            return function(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        further = torch.is_grad_enabled()
        saved = ctx.saved_tensors
        with torch.enable_grad(), without_autocast(saved[0].device):
            # New names, so that only what depends on these very inputs is differentiated.
            inputs = [v.view_as(v) if further else v.detach() for v in saved]
            wanted = [
                v if v.requires_grad else v.requires_grad_()
                for v, needed in zip(inputs, ctx.needs_input_grad[1:], strict=True)
                if needed
            ]
            result = ctx.function(*inputs)
            found = iter(torch.autograd.grad(result, wanted, grads[0], create_graph=further))
        return None, *(next(found) if needed else None for needed in ctx.needs_input_grad[1:])


def is_transformed(*tensors: Tensor | None) -> bool:
    """Tell whether anything but plain autograd follows one of the tensors.

    That is torch.func, forward-mode differentiation or torch.compile.
    """
    if torch.compiler.is_compiling():
        return True
    for tensor in tensors:
        if tensor is None:
            continue
        if functorch.is_functorch_wrapped_tensor(tensor):
            return True
        if functorch.is_legacy_batchedtensor(tensor):  # of gradients, is_grads_batched=True
            return True
        if forward_ad._current_level >= 0 and forward_ad.unpack_dual(tensor).tangent is not None:
            return True
    return False
