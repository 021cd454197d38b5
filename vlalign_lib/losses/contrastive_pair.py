"""The contrastive loss over all pairs of a batch, as in CCL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vlalign_lib._fast import fast
from vlalign_lib._module import FunctionModule, NotNegative
from vlalign_lib._tensors import Reduction, objective


@objective(same_width=True)
def contrastive_pair_loss(
    x: Tensor,
    y: Tensor,
    labels: Any = None,
    *,
    margin: NotNegative = 1.0,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Any:
    r"""Draw items of one class together and push others apart up to a margin, all B² pairs.

    .. math::

        L = \frac{1}{2B} \sum_{i, j} \begin{cases}
            d_{ij}^2 & c_i = c_j \\ [m - d_{ij}]_+^2 & c_i \ne c_j
        \end{cases}, \qquad d_{ij} = \lVert u_i - v_j \rVert

    Unlike the losses on cosines it sees the length of the vectors. Two items of different classes
    on the same point give m² each and no gradient, since no direction leads away more than
    another. Distances are summed up from differences, not from inner products, so that small ones
    keep their digits. Second
    derivatives keep B² differences.

    Args:
        x: (B, k) embedded images, floating point.
        y: (B, k) embedded texts, row i the partner of row i of ``x``.
        labels: (B,) whole numbers, the class of each pair; None makes each pair its own class.
            Every number is a class, −1 too.
        margin: m ≥ 0, in units of the embedding.
        gather: compute the loss of the rows of all processes together.
        reduction: ``"mean"`` divides by B, ``"sum"`` does not; ``"none"`` gives half the sum over
            texts (B,) of each image.

    Returns:
        The loss, at least 0: without axes, or (B,) for ``reduction="none"``.

    Raises:
        ValueError: shapes that do not fit, an unknown word, a negative margin.

    Source:
        Hadsell, Chopra and LeCun, Dimensionality reduction by learning an invariant mapping, CVPR
        2006; over all pairs of images and texts, Peng et al., CCL, IEEE Trans. Multimedia 20,
        2018.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> import torch
        >>> images, texts = torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.zeros(2, 2)
        >>> float(contrastive_pair_loss(images, texts))  # (0 + 1² + 0 + 1²) / 4
        0.5
    """
    return pair_sums(x, y, labels, margin)


@fast("pair_sums")
def pair_sums(x: Tensor, y: Tensor, labels: Tensor | None, margin: float) -> Tensor:
    """Return half the sum over the texts (B,) of each image."""
    labels = torch.arange(len(x), device=x.device) if labels is None else labels
    same = labels[:, None] == labels
    squares = (x[:, None] - y).square().sum(dim=2)  # (B, B)
    d = torch.where(squares == 0, 1, squares).sqrt() * (squares != 0)
    return torch.where(same, squares, (margin - d).clamp(min=0).square()).sum(dim=1) / 2


class ContrastivePairLoss(
    FunctionModule, function=contrastive_pair_loss, inputs=("x", "y", "labels")
):
    """The contrastive loss over all pairs as a module.

    Args:
        margin: as for :func:`contrastive_pair_loss`, like all that follow.
        gather: over all processes.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> import torch
        >>> loss = ContrastivePairLoss(margin=2.0)
        >>> float(loss(torch.zeros(2, 3), torch.zeros(2, 3), [0, 1]))  # (0 + 2² + 2² + 0) / 4
        2.0
    """
