"""What the functions on cost matrices and sequences ask of their input."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor

from vlalign_lib._tensors import as_floats, as_number, as_tensor, is_transformed


def as_cost(cost: Any) -> Tensor:
    """Return ``cost`` (B, n, m), half precision as float32.

    Raises:
        ValueError: as ``as_floats``; sequences of length 0.
    """
    cost = as_floats(cost, "cost", "(B, n, m)")
    if 0 in cost.shape[1:]:
        raise ValueError(f"cost: expected sequences of at least one item, got {tuple(cost.shape)}")
    return cost


def as_gamma(gamma: Any, name: str = "gamma") -> float:
    """Return the smoothing parameter as a finite Python number of at least 0.

    Raises:
        ValueError: negative, not finite, not a number, or a tensor that wants a gradient.
    """
    if isinstance(gamma, Tensor) and gamma.requires_grad:
        raise ValueError(f"{name}: is a fixed number here and gets no gradient; pass float({name})")
    return as_number(gamma, name, low=0)


Gamma = Annotated[float, as_gamma]
"""Annotation of the smoothing parameter, for functions that modules are made of."""


def as_lengths(lengths: Any, cost: Tensor) -> Tensor | None:
    """Return the true lengths (B, 2) as int64 on the device of ``cost``, None for None.

    Lengths that lie on the CPU are checked. To look at those on another device the host would
    have to wait for it: there, lengths out of range are brought into it.

    Raises:
        ValueError: not whole numbers, another shape, below 1 or beyond the array.
    """
    if lengths is None:
        return None
    size, *most = cost.shape
    return _as_whole(lengths, "lengths", (size, 2), "(n, m) of each pair", most, cost.device)


def as_sequence_lengths(lengths: Any, sequences: Tensor, name: str) -> Tensor | None:
    """Return the true lengths (B,) of sequences (B, n, d); see ``as_lengths``.

    Raises:
        ValueError: not whole numbers, another shape, below 1 or beyond the array.
    """
    if lengths is None:
        return None
    size, n = sequences.shape[:2]
    return _as_whole(lengths, name, (size,), "one length a sequence", [n], sequences.device)


def _as_whole(
    lengths: Any,
    name: str,
    shape: tuple[int, ...],
    what: str,
    most: list[int],
    device: torch.device,
) -> Tensor:
    lengths = as_tensor(lengths, name, f"whole numbers {shape}, {what}")
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ValueError(f"{name}: expected whole numbers, got {lengths.dtype}; use .long()")
    if tuple(lengths.shape) != shape:
        raise ValueError(f"{name}: expected shape {shape}, {what}, got {tuple(lengths.shape)}")
    lengths = lengths.detach().long()
    columns = lengths.unbind(1) if lengths.ndim == 2 else [lengths]
    if lengths.device.type != "cpu":
        ranged = [column.clamp(1, top) for column, top in zip(columns, most, strict=True)]
        return torch.stack(ranged, -1).view(shape).to(device)
    if not is_transformed(lengths) and shape[0]:
        for column, largest in zip(columns, most, strict=True):
            low, high = (int(value) for value in column.aminmax())
            if low < 1 or high > largest:
                raise ValueError(
                    f"{name}: expected 1 to {largest}, the size of the array, got values from "
                    f"{low} to {high}; leave out what is empty"
                )
    return lengths.to(device).contiguous()


def is_valid(lengths: Tensor, n: int, m: int) -> Tensor:
    """Tell which cells (B, n, m) lie within the lengths (B, 2)."""
    rows, columns = (torch.arange(size, device=lengths.device) for size in (n, m))
    return (rows[:, None] < lengths[:, 0, None, None]) & (columns < lengths[:, 1, None, None])
