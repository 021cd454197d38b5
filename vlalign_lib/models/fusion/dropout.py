"""Modality dropout: rehearse the missing view while training."""

from __future__ import annotations

import torch
from torch import Tensor

from vlalign_lib._validate import as_number
from vlalign_lib.models.fusion._inputs import check_tensor


def modality_dropout(
    x: Tensor, y: Tensor, p: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Take one view away from a random share of the items, never both.

    For each item, independently,

    .. math::

        (m_x, m_y) = \begin{cases}
            (1, 1) & \text{with probability } 1 - p \\
            (0, 1) & \text{with probability } p/2 \\
            (1, 0) & \text{with probability } p/2
        \end{cases}

    so that :math:`p = 2/3` shows both, only the first and only the second view equally often.
    The rows taken away are set to zero. What is returned fits the fusion modules' ``forward``:
    ``model(*modality_dropout(x, y, 0.5, generator))``.

    Args:
        x: first view, (B, …).
        y: second view, (B, …), row i the partner of row i.
        p: share of the items that lose a view, in [0, 1].
        generator: source of randomness; None takes torch's global one.

    Returns:
        ``x`` and ``y`` with zeros in the rows taken away, and the booleans (B,) ``has_x`` and
        ``has_y`` that say which rows are left.

    Raises:
        ValueError: ``p`` outside [0, 1], or views of different length.

    Source:
        Ngiam et al., Multimodal Deep Learning, ICML 2011 (there with p = 2/3, by copies of the
        data); Neverova et al., ModDrop: adaptive multi-modal gesture recognition, PAMI 2016.

    Chapter:
        02, where it closes the gap, and what it costs.

    Example:
        >>> x, y = torch.ones(4, 2), torch.ones(4, 3)
        >>> _, _, has_x, has_y = modality_dropout(x, y, 1.0, torch.Generator().manual_seed(0))
        >>> bool((has_x ^ has_y).all())  # with p = 1 every item keeps exactly one
        True
    """
    p = as_number(p, "p", low=0, high=1)
    if not (generator is None or isinstance(generator, torch.Generator)):
        raise ValueError(f"generator: expected a torch.Generator or None, got {generator!r}")
    check_tensor(x, "x")
    check_tensor(y, "y")
    if x.ndim < 1 or y.ndim < 1 or x.shape[0] != y.shape[0]:
        raise ValueError(
            f"expected two views with one row an item, got {tuple(x.shape)} and {tuple(y.shape)}"
        )
    where = x.device if generator is None else generator.device
    draw = torch.rand(x.shape[0], generator=generator, device=where).to(x.device)
    has_x, has_y = draw >= p / 2, (draw < p / 2) | (draw >= p)
    kept_x = torch.where(has_x.view(-1, *[1] * (x.ndim - 1)), x, 0)
    kept_y = torch.where(has_y.view(-1, *[1] * (y.ndim - 1)), y, 0)
    return kept_x, kept_y, has_x, has_y
