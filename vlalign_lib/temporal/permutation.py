"""Augmentation in time: put the items of a sequence in a slightly different, plausible order."""

from __future__ import annotations

from functools import cache

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from vlalign_lib._tensors import as_number, without_autocast
from vlalign_lib._validate import as_whole
from vlalign_lib.temporal._checks import as_sequence_lengths
from vlalign_lib.temporal.sequence_cost import as_sequences, unit_rows

MOST = 20_000  # permutations to choose from: up to 12 items that move by two, or 20 by one
CELLS = 2**22  # of similarities in a new order, to hold at a time


def permute_in_time(
    x: Tensor,
    *,
    temperature: float = 0.02,
    max_shift: int = 2,
    lengths: Tensor | ArrayLike | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Return every sequence in a random order that hardly changes its self-similarity.

    .. math::

        P(p) \propto \exp\Bigl(-\frac{\|C - C_p\|_F}{\tau}\Bigr), \qquad |p(i) - i| \le 2, \qquad
        C_{ij} = \cos(x_i, x_j), \quad (C_p)_{ij} = C_{p(i)\,p(j)}.

    Items that look alike change places, others hardly ever; the order as it is always has the
    largest probability. Of n items there are 2, 6, 14, 31, 73, 172, 400 such orders for n = 2
    to 8. The self-similarity gets no gradient, the items do.

    Args:
        x: (B, n, d) sequences of vectors.
        temperature: τ; smaller keeps more to the order as it is.
        max_shift: how far an item may move, in places.
        lengths: (B,) whole numbers, the true length of each sequence; what lies beyond stays
            where it is. None for full sequences.
        generator: the source of randomness; None for torch's own.

    Returns:
        The sequences (B, n, d) in their new order, and the orders (B, n), int64. New item i of
        sequence b is its old item ``order[b, i]``.

    Raises:
        ValueError: not (B, n, d), a temperature of 0 or less, ``max_shift`` below 0, lengths
            that do not fit, or sequences so long that there are too many orders to weigh.

    Source:
        Ko et al., Video-text representation learning via differentiable weak temporal alignment,
        CVPR 2022: the sampler in the code released with it, where it is switched off. Its
        τ = 0.02 is probably that of equation 12.

    Chapter:
        13, Weak temporal alignment.

    Example:
        >>> import torch
        >>> x = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        >>> permuted, order = permute_in_time(x, generator=torch.Generator().manual_seed(0))
        >>> bool((permuted == x).all()), sorted(order[0, :2].tolist())
        (True, [0, 1])
    """
    x = as_sequences(x, "x")
    temperature = as_number(temperature, "temperature", above=0)
    max_shift = as_whole(max_shift, "max_shift", 0)
    ends = as_sequence_lengths(lengths, x, "lengths")
    orders = torch.tensor(near_permutations(x.shape[1], max_shift)).to(x.device)  # (P, n)
    with without_autocast(x.device):
        changes = _changes(x.detach(), orders, ends)
    uniform = torch.rand(
        changes.shape, generator=generator, device=generator.device if generator else x.device
    )
    # The largest of log-weights plus Gumbel noise is a draw in proportion to the weights.
    noise = -torch.log(-torch.log(uniform.to(x.device).clamp(min=1e-30)))
    order = orders[(noise - changes / temperature).argmax(1)]
    index = order[:, :, None].expand(-1, -1, x.shape[2])
    return x.gather(1, index), order


def _changes(x: Tensor, orders: Tensor, ends: Tensor | None) -> Tensor:
    """Return ‖C − C_p‖ (B, P), infinite where an order moves what lies beyond the lengths.

    A sequence with NaN stays as it is.
    """
    n = x.shape[1]
    units = unit_rows(x)
    similar = units @ units.transpose(1, 2)
    if ends is not None:
        inside = torch.arange(n, device=x.device) < ends[:, None]
        similar = torch.where(inside[:, :, None] & inside[:, None, :], similar, 0.0)
    rows, columns = orders[:, :, None], orders[:, None, :]
    changes = x.new_empty(len(x), len(orders))
    at_once = max(1, CELLS // rows.numel() // n)
    for first in range(0, len(x), at_once):
        some = similar[first : first + at_once, None]
        turned = similar[first : first + at_once, rows, columns]  # (b, P, n, n)
        changes[first : first + at_once] = (some - turned).square().sum((2, 3)).sqrt()
    if ends is not None:
        moved = orders != torch.arange(n, device=x.device)
        outside = (moved & ~inside[:, None, :]).any(2)
        changes = torch.where(outside, float("inf"), changes)
    broken = torch.full_like(changes[:1], float("inf"))
    broken[:, 0] = 0.0
    return torch.where(changes.isnan().any(1, keepdim=True), broken, changes)


@cache
def near_permutations(n: int, max_shift: int) -> list[list[int]]:
    """Return all orders of ``n`` items that move none by more than ``max_shift``.

    The order as it is comes first.

    Raises:
        ValueError: more than ``MOST`` of them.
    """
    found: list[list[int]] = [[]]
    for place in range(n):
        near = range(max(0, place - max_shift), min(n, place + max_shift + 1))
        # An item that can move no further has to be taken now.
        last = place - max_shift
        found = [
            [*order, item]
            for order in found
            for item in ((last,) if last >= 0 and last not in order else near)
            if item not in order
        ]
        if len(found) > MOST:
            raise ValueError(
                f"x: {n} items have too many orders in which none moves by more than {max_shift} "
                f"(over {MOST:,}); cut the sequences into windows, or lower max_shift"
            )
    return sorted(found)
