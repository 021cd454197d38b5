"""The contrastive loss over all pairs of a batch, as in CCL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vlalign_lib._gather import gather_rows
from vlalign_lib._tensors import (
    Reduction,
    as_classes,
    as_number,
    as_views,
    check_choice,
    reduce_loss,
    without_autocast,
)
from vlalign_lib.losses._scores import KEEP, differentiable, row_blocks


def contrastive_pair_loss(
    x: Tensor,
    y: Tensor,
    labels: Any = None,
    *,
    margin: float = 1.0,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
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
    x, y = as_views(x, y, same_width=True)
    margin = as_number(margin, "margin", low=0)
    check_choice(reduction, "reduction", ("mean", "sum", "none"))
    if labels is None:
        x, y = gather_rows(x, y) if gather else (x, y)
        labels = torch.arange(len(x), device=x.device)
    else:
        labels = as_classes(labels, len(x), x.device)
        x, y, labels = gather_rows(x, y, labels) if gather else (x, y, labels)
    with without_autocast(x.device):
        return reduce_loss(_PairSums.apply(x, y, labels, margin), reduction)


class ContrastivePairLoss(nn.Module):
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

    def __init__(
        self, margin: float = 1.0, gather: bool = False, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.margin = margin
        self.gather = gather
        self.reduction: Reduction = reduction

    def forward(self, x: Tensor, y: Tensor, labels: Any = None) -> Tensor:
        """Return the loss of the batch."""
        return contrastive_pair_loss(
            x, y, labels, margin=self.margin, gather=self.gather, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"margin={self.margin}"


class _PairSums(torch.autograd.Function):
    """Half the sum over the texts (B,), block by block; the gradient is two products.

    With h half a term of the sum, :math:`w = dh / d(d^2)` is 1/2 within a class and
    :math:`-[m - d]_+ / 2d` between classes, and the gradient of h with respect to the image is
    2w times the difference of the two.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, labels: Tensor, margin: float) -> Tensor:
        ctx.margin, ctx.kept = margin, []
        ctx.save_for_backward(x, y, labels)
        sums = x.new_empty(len(x))
        for part in row_blocks(len(x), len(y), x.device):
            d = distances(x[part], y)
            if len(x) * len(y) <= KEEP:
                ctx.kept.append(d)
            same = labels[part, None] == labels
            sums[part] = torch.where(same, d, (margin - d).clamp(min=0)).square().sum(dim=1) / 2
        return sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, y, labels = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants second derivatives
            return *differentiable(plain_sums, (x, y), grads, labels, ctx.margin), None, None
        (grad,) = grads
        dx, dy = torch.empty_like(x), torch.zeros_like(y)
        for i, part in enumerate(row_blocks(len(x), len(y), x.device)):
            d = ctx.kept[i] if ctx.kept else distances(x[part], y)
            same = labels[part, None] == labels
            push = (d - ctx.margin).clamp(max=0) / torch.where(d == 0, 1, d)
            pull = torch.where(same, 1, push * (d != 0)) * grad[part, None]  # (b, B)
            torch.sub(pull.sum(dim=1, keepdim=True) * x[part], pull @ y, out=dx[part])
            dy += pull.sum(dim=0)[:, None] * y - pull.T @ x[part]
        ctx.kept = []
        return dx, dy, None, None


def plain_sums(x: Tensor, y: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Return the same from all differences (B, B, k) at once and by autograd."""
    squares = (x[:, None] - y).square().sum(dim=2)
    d = torch.where(squares == 0, 1, squares).sqrt() * (squares != 0)
    same = labels[:, None] == labels
    return torch.where(same, squares, (margin - d).clamp(min=0).square()).sum(dim=1) / 2


def distances(x: Tensor, y: Tensor) -> Tensor:
    """Return the Euclidean distances (b, B) of rows, from their differences."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
