"""Tensors of a batch: what is asked of them, the rows of all processes, what all losses share."""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, ParamSpec, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch._C import _functorch as functorch
from torch.autograd import forward_ad

from vlalign_lib._validate import as_number as as_number
from vlalign_lib._validate import check_choice as check_choice
from vlalign_lib._validate import check_settings

P = ParamSpec("P")
Reduction = Literal["mean", "sum", "none"]

_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


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


def in_full_precision(function: Callable[..., Any], *tensors: Tensor) -> Any:
    """Return ``function(*tensors)`` without mixed precision, in its backward pass as well.

    A backward pass that runs inside ``torch.autocast`` would make the products of the gradient
    narrow. Where autocast is on, the function's graph is therefore kept by itself and gone through
    with autocast off. ``tensors`` have to be all that wants a gradient.
    """
    device = tensors[0].device
    if not torch.is_autocast_enabled(device.type):
        return function(*tensors)
    if torch.is_grad_enabled() and not is_transformed(*tensors):
        return _FullPrecision.apply(function, *tensors)
    with without_autocast(device):
        return function(*tensors)


class _FullPrecision(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], *tensors: Tensor) -> Any:
        ctx.function = function
        ctx.save_for_backward(*tensors)
        ctx.inputs = [
            v.detach().requires_grad_(needed)
            for v, needed in zip(tensors, ctx.needs_input_grad[1:], strict=True)
        ]
        with torch.enable_grad(), without_autocast(tensors[0].device):
            found = function(*ctx.inputs)
        ctx.found = found if isinstance(found, tuple) else (found,)
        given = tuple(v.detach() if isinstance(v, Tensor) else v for v in ctx.found)
        return given if isinstance(found, tuple) else given[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        further, saved = torch.is_grad_enabled(), ctx.saved_tensors
        inputs, found = ctx.inputs, ctx.found
        with torch.enable_grad(), without_autocast(saved[0].device):
            if further:  # from the tensors themselves, which the gradient depends on as well
                inputs = [v.view_as(v) for v in saved]
                found = ctx.function(*inputs)
                found = found if isinstance(found, tuple) else (found,)
            pairs = zip(found, grads, strict=True)
            ends = [(v, g) for v, g in pairs if isinstance(v, Tensor) and v.requires_grad]
            wanted = [
                v for v, needed in zip(inputs, ctx.needs_input_grad[1:], strict=True) if needed
            ]
            slopes = torch.autograd.grad(
                [v for v, _ in ends],
                wanted,
                [g for _, g in ends],
                retain_graph=True,
                create_graph=further,
                materialize_grads=True,
            )
        each = iter(slopes)
        return None, *(next(each) if needed else None for needed in ctx.needs_input_grad[1:])


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


def objective(
    *,
    views: Callable[..., tuple[Tensor, Tensor]] | None = as_views,
    same_width: bool = False,
    gathers: Literal["rows", "values", "nothing"] = "rows",
    autocast: bool = False,
) -> Callable[[Callable[P, Any]], Callable[P, Tensor]]:
    """Make a loss of a function that returns one value a row.

    The function sees two views as tensors of one dtype, its settings as their annotations want
    them (see ``check_settings``), and ``labels``, where it has them, as class indices or None.
    It returns the values (B,), or a pair with how many terms each value sums up; one number
    is the loss itself. With ``return_statistics`` what it returns last goes out beside the loss.
    With its arguments

    - ``gather``, rows of all processes come in: ``"rows"`` where the loss compares rows with each
      other; ``"values"`` gathers what comes out, where each row stands for itself;
    - ``reduction``, the values are reduced.

    Mixed precision is kept out, unless ``autocast`` lets it in.

    Args:
        views: what checks x and y; None where the function does it itself.
        same_width: whether the views need as many columns.
        gathers: what ``gather=True`` gathers; ``"nothing"`` where the function does it itself.
        autocast: whether the function runs under the precision of its caller.
    """
    check = functools.partial(as_views, same_width=True) if same_width else views

    def decorate(body: Callable[P, Any]) -> Callable[P, Tensor]:
        known = inspect.signature(body).parameters
        places = [n for n, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
        needed = {name for name, each in known.items() if each.default is each.empty}

        @functools.wraps(body)
        def loss(*args: Any, **kwargs: Any) -> Any:
            placed = dict(zip(places, args, strict=False))
            twice = len(args) > len(places) or placed.keys() & kwargs.keys()
            if twice or not needed <= placed.keys() | kwargs.keys() <= known.keys():
                return body(*args, **kwargs)  # a TypeError: Python says what is wrong
            given = check_settings(body, placed | kwargs)
            gather = given.get("gather", False)
            if check is not None:
                given["x"], given["y"] = check(given["x"], given["y"])
                labels, x = given.get("labels"), given["x"]
                for name, value in given.items():
                    if isinstance(value, Tensor) and value.ndim == 0:
                        given[name] = value.to(x)
                if labels is not None or "labels" in needed:
                    given["labels"] = as_classes(labels, len(x), x.device)
                if gather and gathers == "rows":
                    rows = [n for n in ("x", "y", "labels") if given.get(n) is not None]
                    given |= zip(rows, gather_rows(*(given[n] for n in rows)), strict=True)
            first = given["y"] if given["x"] is None else given["x"]
            narrow = isinstance(first, Tensor) and torch.is_autocast_enabled(first.device.type)
            if autocast or not narrow:
                found = body(**given)  # type: ignore[call-arg]
            else:
                floats = {
                    name: value
                    for name, value in given.items()
                    if isinstance(value, Tensor) and value.is_floating_point()
                }

                def run(*new: Tensor) -> Any:
                    return body(**given | dict(zip(floats, new, strict=True)))  # type: ignore[call-arg]

                found = in_full_precision(run, *floats.values())
            values, *counts = found if isinstance(found, tuple) else (found,)
            seen = counts.pop() if given.get("return_statistics") else None
            if gather and gathers == "values":
                values, *counts = gather_rows(values, *counts)
            if values.ndim:
                values = reduce_loss(values, given.get("reduction", "mean"), *counts)
            return (values, seen) if seen is not None else values

        return cast("Callable[P, Tensor]", loss)

    return decorate


@contextmanager
def alone() -> Iterator[None]:
    """Let ``gather_rows`` return the rows of this process alone, inside a ``with`` block.

    For what every process computes from the same rows, validation say: gathered, each of them
    would be there once a process.
    """
    before = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(before)


def gather_rows(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return each tensor with the rows of all processes, in the order of their ranks.

    Every process then computes the loss of the whole batch, the same number everywhere. Backward
    adds up what the processes say about a row and hands the sum to the process it came from; so
    the gradients of the weights, averaged over the processes as DistributedDataParallel does, are
    those of one process that holds the whole batch. Gradients of any order pass through.

    Without ``torch.distributed``, or with one process, the tensors come back as they are. Whole
    numbers are gathered without a gradient. The sizes are compared first, for which a GPU is
    waited for unless the group can also talk over the CPU (``init_process_group`` without a
    backend, or ``"cpu:gloo,cuda:nccl"``).

    Args:
        tensors: (B, …) each; alike on all processes in shape and dtype.

    Returns:
        As many tensors (W·B, …), W the number of processes.

    Raises:
        ValueError: on every process, where one has another number of rows, another shape of a row
            or another dtype.
    """
    apart = not (dist.is_available() and dist.is_initialized()) or _ALONE.get()
    if apart or dist.get_world_size() == 1:
        return tensors
    _check_alike(tensors)
    return tuple(
        _Gather.apply(tensor) if tensor.is_floating_point() else _gather(tensor)
        for tensor in tensors
    )


class _Gather(torch.autograd.Function):
    """All processes' rows; the adjoint is ``_Return``."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _gather(tensor)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Return.apply(grads[0])


class _Return(torch.autograd.Function):
    """Sum over the processes, of which each keeps its own rows; the adjoint is ``_Gather``."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Gather.apply(grads[0])


def _gather(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().contiguous()
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor)
    return torch.cat(parts)


def _check_alike(tensors: tuple[Tensor, ...]) -> None:
    """Raise on every process unless all of them hold tensors of the same shapes and dtypes."""
    mine = []
    for tensor in tensors:
        mine += [tensor.shape[0], zlib.crc32(repr((tensor.shape[1:], tensor.dtype)).encode())]
    device = "cpu" if "cpu:" in dist.get_backend_config() else tensors[0].device
    told = _gather(torch.tensor([mine], dtype=torch.int64, device=device)).tolist()
    for i, tensor in enumerate(tensors):
        rows = [header[2 * i] for header in told]
        if len(set(rows)) > 1:
            raise ValueError(
                f"gather=True: the processes hold batches of {', '.join(map(str, rows))} rows "
                "(rank 0 first), and their rows make one batch only where all hold as many; drop "
                "the last incomplete batch (DataLoader(drop_last=True)), and let the sampler give "
                "every process as many"
            )
        if len({header[2 * i + 1] for header in told}) > 1:
            raise ValueError(
                f"gather=True: the rows here have shape {tuple(tensor.shape[1:])} and "
                f"{tensor.dtype}, and another process has other ones; all processes need the "
                "same model and precision"
            )
