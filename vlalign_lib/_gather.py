"""Rows from every process, for losses whose value depends on the whole batch."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_ALONE: ContextVar[bool] = ContextVar("alone", default=False)


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
