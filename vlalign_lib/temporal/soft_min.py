"""The soft minimum."""

from __future__ import annotations

import torch
from torch import Tensor

from vlalign_lib._tensors import as_floats, without_autocast
from vlalign_lib._validate import is_whole
from vlalign_lib.temporal._checks import as_gamma


def soft_min(values: Tensor, gamma: float = 1.0, *, dim: int = -1) -> Tensor:
    r"""Return the minimum, smoothed so that every value has a share in it.

    .. math::

        {\min}^\gamma(a) = -\gamma \log \sum_k e^{-a_k / \gamma}
        = a_\min - \gamma \log \sum_k e^{(a_\min - a_k) / \gamma}

    lies between :math:`a_\min - \gamma \log K` and :math:`a_\min`; its gradient is the softmax of
    :math:`-a / \gamma`. With γ = 0 it is the minimum, and the first of equals has the gradient.

    Args:
        values: floating-point tensor of at least one axis; +inf has no share, and where all are
            +inf so is the answer, without a gradient.
        gamma: γ, in units of ``values``, at least 0.
        dim: the axis over which to take the minimum.

    Returns:
        The soft minimum, without that axis.

    Raises:
        ValueError: not a floating-point tensor, no such axis or an empty one, γ negative or not
            finite.

    Source:
        Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, ICML 2017.

    Chapter:
        12, From DTW to soft-DTW.

    Example:
        >>> import torch
        >>> values = torch.tensor([1.0, 1.0, 5.0])
        >>> round(soft_min(values, gamma=1.0).item(), 4)
        0.2977
        >>> soft_min(values, gamma=0.0).item()
        1.0
    """
    if isinstance(values, Tensor):
        shape = ", ".join("n" * values.ndim)
        if values.ndim == 0:
            raise ValueError("values: expected at least one axis, got a single number")
        values = as_floats(values, "values", f"({shape},)" if values.ndim == 1 else f"({shape})")
    else:
        values = as_floats(values, "values", "(..., n)")
    if not is_whole(dim) or not -values.ndim <= dim < values.ndim:
        raise ValueError(f"dim: expected an axis of {tuple(values.shape)}, got {dim!r}")
    if values.shape[dim] == 0:
        raise ValueError(f"values: no minimum along an empty axis, shape {tuple(values.shape)}")
    with without_autocast(values.device):
        return smooth_minimum(values, as_gamma(gamma), dim)


def smooth_minimum(values: Tensor, gamma: float, dim: int) -> Tensor:
    """Return the soft minimum of checked values along an axis."""
    if gamma == 0:
        return values.gather(dim, values.argmin(dim, keepdim=True)).squeeze(dim)
    gamma = max(gamma, torch.finfo(values.dtype).tiny)  # the smallest ones would be 0
    least = values.detach().amin(dim, keepdim=True)
    closed = least == float("inf")
    scaled = torch.where(closed, 0.0, (least - values) / gamma)
    soft = least - gamma * scaled.logsumexp(dim, keepdim=True)
    return torch.where(closed, float("inf"), soft).squeeze(dim)
