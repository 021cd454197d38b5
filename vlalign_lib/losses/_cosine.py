"""Rows whose products are their similarities."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Similarity = Literal["cosine", "dot"]


def comparable(x: Tensor, y: Tensor, similarity: Similarity = "cosine") -> tuple[Tensor, Tensor]:
    """Return the rows of two views so that products are similarities: of length 1 for cosines."""
    if similarity == "dot":
        return x, y
    both = unit_rows(torch.cat([x, y]))  # once for both views: small batches wait for every call
    return both[: len(x)], both[len(x) :]


def unit_rows(x: Tensor) -> Tensor:
    """Return the rows of x (n, k) scaled to length 1, so that products are cosines.

    Each row is first divided by its largest entry: squares of very small or very large numbers
    would vanish or overflow. A row of zeros stays one (its cosine with everything is 0) and gets
    the gradient zero; a row with NaN or infinity becomes NaN.
    """
    largest = x.detach().abs().amax(dim=-1, keepdim=True)
    x = x / torch.where(largest > 0, largest, 1)
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    empty = length == 0
    return x * ((~empty) / torch.where(empty, 1, length))
