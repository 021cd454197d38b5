"""InfoNCE: every other item of the batch is a wrong answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vlalign_lib._gather import gather_rows
from vlalign_lib._tensors import (
    Reduction,
    as_number,
    as_views,
    check_choice,
    reduce_loss,
    without_autocast,
)
from vlalign_lib.losses._scores import (
    SIMILARITIES,
    Similarity,
    as_scalar,
    comparable,
    log_partitions,
)


def info_nce_loss(
    x: Tensor,
    y: Tensor,
    *,
    temperature: float | Tensor = 0.07,
    symmetric: bool = True,
    similarity: Similarity = "cosine",
    label_smoothing: float = 0.0,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    r"""Ask of every item which of the batch is its partner: a classification into B classes.

    .. math::

        \ell_i = \tfrac12\Bigl(\log\sum_j e^{s_{ij}/\tau} + \log\sum_j e^{s_{ji}/\tau}\Bigr)
        - \frac{s_{ii}}{\tau}, \qquad L = \frac1B \sum_i \ell_i

    with the similarity :math:`s_{ij} = s(u_i, v_j)`; without ``symmetric`` only images ask for
    texts, and the half and the second sum are gone. A batch that lies on one point has the loss
    log B, partners far more similar than strangers 0. With label smoothing ε the right answer is
    asked for with the weight 1 − ε + ε/B and every other one with ε/B.

    The scores are computed in blocks and the gradient in closed form: memory grows with B, not
    B², once B² is above eight million. Second derivatives keep everything.

    Args:
        x: (B, k) embedded images, floating point.
        y: (B, k) embedded texts, row i the partner of row i of ``x``.
        temperature: τ > 0: a number, or a tensor without axes that may be learnt. The smaller,
            the more the hardest strangers count.
        symmetric: ask in both directions and average.
        similarity: ``"cosine"`` (a row of zeros has cosine 0 with everything), or ``"dot"``.
        label_smoothing: ε in [0, 1).
        gather: compute the loss of the rows of all processes together.
        reduction: ``"mean"`` over pairs, ``"sum"``, or ``"none"`` for each pair.

    Returns:
        The loss: without axes, or (B,) for ``reduction="none"``.

    Raises:
        ValueError: shapes that do not fit, an unknown word, a temperature not above 0, smoothing
            outside [0, 1).

    Source:
        van den Oord, Li and Vinyals, Representation learning with contrastive predictive coding,
        2018; in both directions with a learnt temperature, Radford et al., Learning transferable
        visual models from natural language supervision (CLIP), ICML 2021.

    Chapter:
        17, From here to CLIP, and what it costs.

    Example:
        >>> import torch
        >>> round(float(info_nce_loss(torch.ones(8, 3), torch.ones(8, 3))), 4)  # log 8
        2.0794
        >>> round(float(info_nce_loss(torch.eye(4), torch.eye(4), temperature=0.02)), 4)
        0.0
    """
    x, y = as_views(x, y, same_width=True)
    check_choice(similarity, "similarity", SIMILARITIES)
    check_choice(reduction, "reduction", ("mean", "sum", "none"))
    smoothing = as_number(label_smoothing, "label_smoothing", low=0)
    if smoothing >= 1:
        raise ValueError(f"label_smoothing: expected a number in [0, 1), got {smoothing:g}")
    scale = 1 / as_scalar(temperature, "temperature", x, above=0)
    x, y = gather_rows(x, y) if gather else (x, y)
    with without_autocast(x.device):
        u, v = comparable(x, similarity), comparable(y, similarity)
        rows, columns, own = log_partitions(u, v, scale, columns="all" if symmetric else "none")
        wanted = own
        if smoothing > 0:
            blurred = u @ v.mean(dim=0)
            if symmetric:
                blurred = (blurred + v @ u.mean(dim=0)) / 2
            wanted = (1 - smoothing) * own + smoothing * scale * blurred
        return reduce_loss(((rows + columns) / 2 if symmetric else rows) - wanted, reduction)


class InfoNCELoss(nn.Module):
    """InfoNCE as a module, with a temperature that may be learnt.

    Args:
        temperature: τ, or where it starts.
        learnable: learn its logarithm, as the parameter ``log_temperature``.
        symmetric: as for :func:`info_nce_loss`, like all that follow.
        similarity: ``"cosine"`` or ``"dot"``.
        label_smoothing: ε in [0, 1).
        gather: over all processes.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Chapter:
        17, From here to CLIP, and what it costs.

    Example:
        >>> import torch
        >>> loss = InfoNCELoss(learnable=True)
        >>> loss(torch.eye(4), torch.eye(4)).backward()
        >>> bool(loss.log_temperature.grad > 0)  # all is right: the temperature may fall
        True
    """

    log_temperature: Tensor

    def __init__(
        self,
        temperature: float = 0.07,
        learnable: bool = False,
        symmetric: bool = True,
        similarity: Similarity = "cosine",
        label_smoothing: float = 0.0,
        gather: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        start = torch.tensor(as_number(temperature, "temperature", above=0)).log()
        if learnable:
            self.log_temperature = nn.Parameter(start)
        else:
            self.register_buffer("log_temperature", start)
        self.learnable = learnable
        self.symmetric = symmetric
        self.similarity: Similarity = similarity
        self.label_smoothing = label_smoothing
        self.gather = gather
        self.reduction: Reduction = reduction

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of the batch."""
        return info_nce_loss(
            x,
            y,
            temperature=self.log_temperature.exp(),
            symmetric=self.symmetric,
            similarity=self.similarity,
            label_smoothing=self.label_smoothing,
            gather=self.gather,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """Return the settings."""
        now = self.log_temperature.exp().item()
        return f"temperature={now:.4g}, learnable={self.learnable}, symmetric={self.symmetric}"
