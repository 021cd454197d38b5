"""How far reconstructed views are from what they should be."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def reconstruction_loss(guesses: Sequence[Tensor], views: Sequence[Tensor]) -> Tensor:
    r"""Return the mean squared error of reconstructed views, summed over the views.

    .. math:: \mathcal{L} = \frac1B \sum_{i=1}^{B} \sum_{j=1}^{V}
        \frac{1}{p_j} \lVert x_{ij} - \hat x_{ij} \rVert^2

    A mean over the dimensions of each view, so that a view of a thousand columns does not drown
    one of ten.

    Args:
        guesses: V reconstructions, (B, p_j) each.
        views: V views in the same order and shapes.

    Returns:
        A scalar; 0 where everything comes back.

    Raises:
        ValueError: no view, different numbers of views, or different shapes.

    Source:
        Ngiam et al., "Multimodal deep learning", ICML 2011, for two views.

    Chapter:
        04, where it is all that an autoencoder asks for.

    Example:
        >>> import torch
        >>> reconstruction_loss([torch.zeros(2, 3)], [torch.ones(2, 3)])
        tensor(1.)
    """
    if len(guesses) != len(views) or not views:
        raise ValueError(
            f"expected one reconstruction a view, at least one, got {len(guesses)} of {len(views)}"
        )
    for place, (guess, view) in enumerate(zip(guesses, views, strict=True)):
        if guess.shape != view.shape:
            raise ValueError(
                f"view {place}: expected a reconstruction of shape {tuple(view.shape)}, got "
                f"{tuple(guess.shape)}"
            )
    parts = [(guess - view).square().mean() for guess, view in zip(guesses, views, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
