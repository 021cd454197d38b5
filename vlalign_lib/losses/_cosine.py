"""Rows of length one, whatever length they came with."""

from __future__ import annotations

import torch
from torch import Tensor


def unit_rows(x: Tensor) -> Tensor:
    """Return the last axis of ``x`` scaled to length 1, so that products are cosines.

    Each row is first divided by its largest entry: squares of very small or very large numbers
    would vanish or overflow. A row of zeros stays one (its cosine with everything is 0) and gets
    the gradient zero; a row with NaN or infinity becomes NaN.
    """
    largest = x.detach().abs().amax(dim=-1, keepdim=True)
    x = x / torch.where(largest > 0, largest, 1)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    empty = length == 0
    return x * ((~empty) / torch.where(empty, 1, length))
