"""What it costs to align an item of one sequence with an item of another, from embeddings."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from vlalign_lib._fast import fast
from vlalign_lib._tensors import (
    as_floats,
    check_choice,
    check_same_device,
    without_autocast,
)

Metric = Literal["shifted_cosine", "cosine", "euclidean"]
METRICS = get_args(Metric)


def sequence_cost(x: Tensor, y: Tensor, metric: Metric = "shifted_cosine") -> Tensor:
    r"""Return the cost of aligning every item of a sequence with every item of its partner.

    .. math::

        \delta_{ij} = -\frac{x_i^\top y_j}{\|x_i\| \|y_j\|} \in [-1, 1], \qquad
        \delta_{ij} = 1 - \frac{x_i^\top y_j}{\|x_i\| \|y_j\|} \in [0, 2], \qquad
        \delta_{ij} = \|x_i - y_j\|

    for ``"shifted_cosine"``, ``"cosine"`` and ``"euclidean"``. The first two differ by 1 for
    each cell that a path visits, so that their best paths differ: where costs are negative, a
    longer path may be the cheaper one.

    A vector of zeros has cosine 0 to everything. The distance of equal points has gradient 0.
    Differences are squared one by one, so that near points keep their digits; first derivatives
    take no more memory than the costs.

    Args:
        x: (..., n, d) sequences of n vectors.
        y: (..., m, d) sequences of m vectors; leading axes as those of ``x``, or broadcast.
        metric: one of the three words.

    Returns:
        (..., n, m) costs; half precision is computed, and returned, in float32.

    Raises:
        ValueError: not floating-point tensors of two axes or more, different numbers of
            dimensions, no dimensions, leading axes that do not fit, another word.

    Source:
        Shifted cosine: Ko et al., Video-text representation learning via differentiable weak
        temporal alignment, CVPR 2022, supplement A.2.

    Chapter:
        12, From DTW to soft-DTW.

    Example:
        >>> import torch
        >>> clips = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> captions = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> sequence_cost(clips, captions)
        tensor([[-1., -0.,  1.],
                [-0., -1., -0.]])
        >>> sequence_cost(clips, captions, "cosine").tolist()
        [[0.0, 1.0, 2.0], [1.0, 0.0, 1.0]]
        >>> sequence_cost(clips, captions, "euclidean")[0].tolist()
        [2.0, 1.4142135381698608, 2.0]
    """
    check_choice(metric, "metric", METRICS)
    x, y = _as_vectors(x, "x"), _as_vectors(y, "y")
    check_same_device(x, y)
    check_widths(x, y)
    try:
        torch.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except RuntimeError as error:
        raise ValueError(
            f"x has leading axes {tuple(x.shape[:-2])} and y {tuple(y.shape[:-2])}: sequence b of "
            "one is compared with sequence b of the other, so they must be equal, or 1"
        ) from error
    dtype = torch.promote_types(x.dtype, y.dtype)
    with without_autocast(x.device):
        return cost_of(*prepared(x.to(dtype), y.to(dtype), metric), metric)


def as_sequences(values: Any, name: str) -> Tensor:
    """Return sequences (B, n, d) of at least one vector, half precision as float32.

    Raises:
        ValueError: as ``as_floats``; no vectors, no dimensions.
    """
    sequences = as_floats(values, name, "(B, n, d)")
    if 0 in sequences.shape[1:]:
        raise ValueError(
            f"{name}: expected sequences (B, n, d) of at least one vector, got "
            f"{tuple(sequences.shape)}"
        )
    return sequences


def _as_vectors(values: Any, name: str) -> Tensor:
    """Return vectors (..., n, d), half precision as float32."""
    axes = max(values.ndim, 2) if isinstance(values, Tensor) else 3
    vectors = as_floats(values, name, f"({'B, ' * (axes - 2)}n, d)")
    if vectors.shape[-1] == 0:
        raise ValueError(f"{name}: vectors without dimensions, shape {tuple(vectors.shape)}")
    return vectors


def check_widths(x: Tensor, y: Tensor) -> None:
    """Raise a ValueError unless both hold vectors of the same number of dimensions."""
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"x has vectors of {x.shape[-1]} dimensions and y of {y.shape[-1]}: they are compared "
            "with each other, so embed both into the same space"
        )


def prepared(x: Tensor, y: Tensor, metric: Metric) -> tuple[Tensor, Tensor]:
    """Return what ``cost_of`` compares: unit vectors, or for distances the vectors themselves."""
    return (x, y) if metric == "euclidean" else (unit_rows(x), unit_rows(y))


def unit_rows(x: Tensor) -> Tensor:
    """Return the vectors (..., d) at length 1, those of zeros as they are.

    They are brought to ordinary size first, or squares of 1e20 would overflow in float32.
    """
    size = x.detach().abs().amax(-1, keepdim=True)
    x = x / torch.where(size > 0, size, 1.0)
    squares = x.square().sum(-1, keepdim=True)
    return x * torch.where(squares == 0, 1.0, squares).rsqrt()


def cost_of(x: Tensor, y: Tensor, metric: Metric) -> Tensor:
    """Return the costs (..., n, m) of what ``prepared`` returned."""
    if metric == "euclidean":
        return euclidean(x, y)
    cosines = x @ y.transpose(-1, -2)
    return -cosines if metric == "shifted_cosine" else 1 - cosines


@fast("euclidean_cost")
def euclidean(x: Tensor, y: Tensor) -> Tensor:
    """Return the distances (..., n, m), of all differences: equal points have gradient 0."""
    squares = (x[..., :, None, :] - y[..., None, :, :]).square().sum(-1)
    same = squares == 0
    return torch.where(same, 0.0, torch.where(same, 1.0, squares).sqrt())
