"""Contrastive learning of sequences that match only in part: InfoNCE over S2DTW values."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import cross_entropy

from vlalign_lib._module import FunctionModule, NotNegative, Positive
from vlalign_lib._tensors import Reduction, as_tensor, gather_rows, objective, without_autocast
from vlalign_lib._validate import check_settings
from vlalign_lib.temporal import pairwise_s2dtw, permute_in_time
from vlalign_lib.temporal.sequence_cost import Metric


@objective(views=None, gathers="nothing", autocast=True)
def s2dtw_contrastive_loss(
    x: Tensor,
    y: Tensor,
    *,
    gamma: NotNegative = 0.1,
    dummy: float = 0.5,
    smoothing: bool = True,
    weak: bool = True,
    cost: Metric = "shifted_cosine",
    temperature: Positive = 1.0,
    symmetric: bool = False,
    lengths_x: Tensor | ArrayLike | None = None,
    lengths_y: Tensor | ArrayLike | None = None,
    augment: Positive | None = None,
    generator: torch.Generator | None = None,
    max_cells: int | None = None,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Any:
    r"""Ask that every sequence of captions aligns better with its own clips than with others'.

    .. math::

        L = \frac1B \sum_i \Bigl[\log \sum_j e^{s_{ij}} - s_{ii}\Bigr], \qquad
        s_{ij} = -\frac1\tau\, \mathrm{S2DTW}\bigl(\delta(x_j, y_i)\bigr)

    over the clips of all videos j, the own ones among them: from text to video, as released.
    The gradient at a cost of video j and text i,

    .. math::

        \frac{\partial L}{\partial \delta^{(ij)}} = \frac1{\tau B} \bigl(1[i = j] - p_{ij}\bigr)
        \frac{\partial\, \mathrm{S2DTW}_{ij}}{\partial \delta^{(ij)}}, \qquad
        p_{ij} = \operatorname{softmax}_j s_{ij},

    is the softmax weight of the pair times the share of the alignment in that cell: captions of
    other videos that resemble a clip are pushed away most (hard negatives). The B² alignments
    are computed a block at a time, forward and backward, by
    :func:`~vlalign_lib.temporal.pairwise_s2dtw`.

    Without negatives, by the mean of :func:`~vlalign_lib.temporal.s2dtw` over the own pairs
    alone, everything collapses onto one point.

    Args:
        x: (B, n, d) embedded clips, one sequence a video; of any length under a cosine.
        y: (B, m, d) embedded captions; sequence i belongs to video i.
        gamma: γ of S2DTW, in units of the cost.
        dummy: θ, the cost of a dummy cell.
        smoothing: whether to smooth.
        weak: whether to lay dummies around.
        cost: the ``metric`` of :func:`~vlalign_lib.temporal.sequence_cost`.
        temperature: τ > 0, by which the values are divided. They are sums over paths, of the
            order of n: 1 is the released setting, and 0.02 makes training fail.
        symmetric: whether to take the mean with the other direction, from video to text.
        lengths_x: (B,) true lengths of the clips; None for full sequences.
        lengths_y: (B,) true lengths of the captions.
        augment: the temperature of :func:`~vlalign_lib.temporal.permute_in_time`, by which both
            views are put in a slightly different order first (0.02 in the release, where it is
            switched off); None for the order as it is.
        generator: the source of randomness of ``augment``; give each process its own seed.
        max_cells: as for :func:`~vlalign_lib.temporal.pairwise_s2dtw`.
        gather: whether the batch is that of all processes together (``torch.distributed``).
        reduction: ``"mean"``, ``"sum"``, or ``"none"`` for (B,) losses, one a text.

    Returns:
        The loss, a single number or (B,); ln B at chance.

    Raises:
        ValueError: as :func:`~vlalign_lib.temporal.pairwise_s2dtw`; different numbers of
            sequences or none; a temperature of 0 or less; another reduction.

    Source:
        Ko et al., Video-text representation learning via differentiable weak temporal alignment,
        CVPR 2022, as in the code released with it.

    Chapter:
        13, Weak temporal alignment.

    Example:
        >>> import torch
        >>> clips = torch.eye(6).view(2, 3, 6)
        >>> round(s2dtw_contrastive_loss(clips, clips).item(), 4)
        0.0027
        >>> round(s2dtw_contrastive_loss(clips, clips.flip(0)).item(), 4)
        5.908
    """
    _check_sequences(x, y)
    if augment is not None:
        x, _ = permute_in_time(x, temperature=augment, lengths=lengths_x, generator=generator)
        y, _ = permute_in_time(y, temperature=augment, lengths=lengths_y, generator=generator)
    if gather:
        x, y, lengths_x, lengths_y = _gathered(x, y, lengths_x, lengths_y)
    alignments = pairwise_s2dtw(
        x,
        y,
        gamma,
        dummy=dummy,
        smoothing=smoothing,
        weak=weak,
        cost=cost,
        lengths_x=lengths_x,
        lengths_y=lengths_y,
        max_cells=max_cells,
    )  # (videos, texts)
    with without_autocast(alignments.device):
        scores = -alignments / temperature
        own = torch.arange(len(scores), device=scores.device)
        losses = cross_entropy(scores.T, own, reduction="none")
        if symmetric:
            losses = (losses + cross_entropy(scores, own, reduction="none")) / 2
        return losses


class S2DTWContrastiveLoss(
    FunctionModule,
    function=s2dtw_contrastive_loss,
    inputs=("x", "y", "lengths_x", "lengths_y", "generator", "augment"),
):
    """Compute :func:`s2dtw_contrastive_loss`, as a module.

    Args:
        gamma: γ of S2DTW.
        dummy: θ, the cost of a dummy cell.
        smoothing: whether to smooth.
        weak: whether to lay dummies around.
        cost: the metric of the costs.
        temperature: τ > 0.
        symmetric: whether to take the mean with the other direction.
        augment: temperature of the permutations in time; None for none. They are drawn in
            training mode only.
        max_cells: how many cells of matrices to hold at a time.
        gather: whether the batch is that of all processes together.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Chapter:
        13, Weak temporal alignment.

    Example:
        >>> import torch
        >>> clips = torch.eye(6).view(2, 3, 6)
        >>> round(S2DTWContrastiveLoss(symmetric=True)(clips, clips).item(), 4)
        0.0027
    """

    def __init__(self, *, augment: float | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.augment = check_settings(s2dtw_contrastive_loss, {"augment": augment})["augment"]

    def forward(
        self,
        x: Tensor,
        y: Tensor,
        lengths_x: Tensor | ArrayLike | None = None,
        lengths_y: Tensor | ArrayLike | None = None,
        generator: torch.Generator | None = None,
    ) -> Any:
        """Return the loss of clips (B, n, d) and captions (B, m, d)."""
        augment = self.augment if self.training else None
        return super().forward(x, y, lengths_x, lengths_y, generator, augment)


def _check_sequences(x: Any, y: Any) -> None:
    for name, values in (("x", x), ("y", y)):
        if isinstance(values, Tensor) and len(values.shape) and len(values) == 0:
            raise ValueError(f"{name}: needs at least one sequence, got {tuple(values.shape)}")
    if isinstance(x, Tensor) and isinstance(y, Tensor) and x.shape[:1] != y.shape[:1]:
        raise ValueError(
            f"x has {len(x)} sequences and y has {len(y)}: sequence i of one must belong to "
            "sequence i of the other"
        )


def _gathered(x: Tensor, y: Tensor, lengths_x: Any, lengths_y: Any) -> tuple[Any, ...]:
    lengths = [
        None if given is None else as_tensor(given, name, "one whole number a sequence", x.device)
        for name, given in (("lengths_x", lengths_x), ("lengths_y", lengths_y))
    ]
    rows = iter(gather_rows(x, y, *(given for given in lengths if given is not None)))
    return next(rows), next(rows), *(None if given is None else next(rows) for given in lengths)
