"""Several processes that train one model: each computes a share of every batch."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """The processes that train together, and which of them this is.

    Args:
        rank: number of this process, from 0.
        size: number of processes; 1 where nothing is distributed.
        local_rank: number of this process on its machine, which is that of its GPU.

    Chapter:
        17, where a contrastive loss is spread over GPUs.

    Example:
        >>> World().first
        True
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one process that writes files and shows progress."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """Return this process's rows of a batch: the ranks' shares in order are the batch.

        Args:
            rows: (B,) row numbers of the whole batch, the same on every process.

        Raises:
            ValueError: a batch that the processes cannot share evenly.
        """
        self.check_even(len(rows))
        each = len(rows) // self.size
        return rows[self.rank * each : (self.rank + 1) * each]

    def check_even(self, size: int) -> None:
        """Raise a ValueError unless a batch of ``size`` items can be shared evenly."""
        if size % self.size:
            raise ValueError(
                f"a batch of {size} items cannot be shared by {self.size} processes evenly, and "
                "uneven shares would not give the gradient of the whole batch; use a batch_size "
                f"that {self.size} divides, and drop_last=True where the last batch is the odd one"
            )


def world(*, device: str = "auto", timeout: float = 600.0) -> World:
    """Return the processes that ``torchrun`` has started, and let them find each other.

    Under ``torchrun`` (or where ``WORLD_SIZE``, ``RANK`` and the address are set in another way)
    the first call connects them, with NCCL between GPUs and Gloo between CPUs, until the process
    ends. Anywhere else it returns a world of one.

    Args:
        device: ``"cpu"`` where no GPU shall be used.
        timeout: seconds after which waiting for another process is an error.

    Returns:
        The world.

    Raises:
        ValueError: ``WORLD_SIZE`` is set and what else is needed is not, or there are more
            processes on this machine than GPUs.

    Chapter:
        17, where a contrastive loss is spread over GPUs.

    Example:
        >>> world().size
        1
    """
    if not dist.is_available():
        return World()
    if not dist.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return World()
        missing = [v for v in ("RANK", "MASTER_ADDR", "MASTER_PORT") if v not in os.environ]
        if missing:
            raise ValueError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {', '.join(missing)} is not set; "
                "start the processes with torchrun, which sets all of them, or unset WORLD_SIZE"
            )
        if torch.cuda.is_available() and not device.startswith("cpu"):
            torch.cuda.set_device(own_gpu())
        # Without a named backend, tensors on the CPU travel by Gloo and those on GPUs by NCCL.
        dist.init_process_group(timeout=timedelta(seconds=float(timeout)))
        atexit.register(_leave)
    return World(dist.get_rank(), dist.get_world_size(), _local_rank())


def average_gradients(weights: Sequence[nn.Parameter]) -> None:
    r"""Replace every gradient by its mean over the processes.

    .. math:: g \leftarrow \frac{1}{W} \sum_{r=1}^{W} g_r

    With shares of equal size and a loss that is a mean over the items, this is the gradient of
    the whole batch; with a loss that gathers the rows of all processes (``gather=True``) too.
    It works on gradients, not on a wrapped model, so that a loss may call any part of the model
    in any way. A weight that no process has reached keeps the gradient None.

    Args:
        weights: parameters after ``backward()``, the same on every process.

    Chapter:
        17, where a contrastive loss is spread over GPUs.

    Example:
        >>> weight = nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.tensor([1.0, 3.0])
        >>> average_gradients([weight])  # one process: its own
        >>> weight.grad.tolist()
        [1.0, 3.0]
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return
    for dtype in dict.fromkeys(weight.dtype for weight in weights):
        alike = [weight for weight in weights if weight.dtype == dtype]
        reached = [float(weight.grad is not None) for weight in alike]
        grads = [torch.zeros_like(w) if w.grad is None else w.grad for w in alike]
        flags = torch.tensor(reached, dtype=dtype, device=alike[0].device)
        flat = torch.cat([*(grad.reshape(-1) for grad in grads), flags])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        *means, flags = flat.split([*(grad.numel() for grad in grads), len(alike)])
        for weight, mean, by_any in zip(alike, means, flags.tolist(), strict=True):
            weight.grad = mean.view_as(weight).clone() if by_any else None


def mean_over_processes(value: Tensor | float, device: torch.device) -> float:
    """Return the mean of a scalar over the processes, the same number on each."""
    total = torch.tensor(float(value), dtype=torch.float64, device=device)
    dist.all_reduce(total)
    return float(total) / dist.get_world_size()


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite tensors in place with those of rank 0."""
    present = [tensor.detach() for tensor in tensors]
    for dtype in dict.fromkeys(tensor.dtype for tensor in present):
        alike = [tensor for tensor in present if tensor.dtype == dtype]
        flat = torch.cat([tensor.reshape(-1) for tensor in alike])
        dist.broadcast(flat.view(torch.uint8) if dtype == torch.bool else flat, src=0)
        for tensor, values in zip(alike, flat.split([t.numel() for t in alike]), strict=True):
            tensor.copy_(values.view_as(tensor))


def gather_objects(thing: Any) -> list[Any]:
    """Return what each process holds, in the order of the ranks."""
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, thing)
    return found


def check_alike(**mine: str) -> None:
    """Raise a ValueError on every process unless all hold the same under each name."""
    told = gather_objects(mine)
    for name in mine:
        values = [other[name] for other in told]
        if len(set(values)) > 1:
            shown = ", ".join(f"rank {rank} has {value}" for rank, value in enumerate(values))
            raise ValueError(
                f"the processes do not train the same thing, but different {name} ({shown}); give "
                "all of them the same model, data and configuration: fit itself shares out the "
                "batches"
            )


def object_from_first(thing: Any) -> Any:
    """Return what rank 0 holds."""
    box = [thing]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def own_device(name: str) -> str:
    """Return the name of this process's own GPU where ``name`` leaves open which one it is."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{own_gpu()}"
    return name


def own_gpu() -> int:
    """Return the number of this process's GPU.

    Raises:
        ValueError: there is none left for it.
    """
    if _local_rank() >= torch.cuda.device_count():
        raise ValueError(
            f"process {_local_rank()} of this machine, counted from 0, has no GPU of its own: "
            f"there are {torch.cuda.device_count()}; start at most as many processes, or use "
            'device="cpu"'
        )
    return _local_rank()


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")))


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
