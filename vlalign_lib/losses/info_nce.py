"""InfoNCE: every other item of the batch is a wrong answer."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from vlalign_lib._fast import fast
from vlalign_lib._module import Count, FunctionModule, PositiveScalar, ShareBelowOne, keep_number
from vlalign_lib._tensors import Reduction, as_number, objective
from vlalign_lib.losses._cosine import Similarity, comparable

Columns = Literal["all", "others", "none"]


@objective(same_width=True)
def info_nce_loss(
    x: Tensor,
    y: Tensor,
    *,
    temperature: PositiveScalar = 0.07,
    symmetric: bool = True,
    similarity: Similarity = "cosine",
    label_smoothing: ShareBelowOne = 0.0,
    block_size: Count | None = None,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Any:
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
        block_size: how many rows are scored at a time; None to choose by memory. Value and
            gradient are the same for any.
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
    u, v = comparable(x, y, similarity)
    columns: Columns = "all" if symmetric else "none"
    over_texts, over_images, own = log_partitions(u, v, 1 / temperature, columns, block_size)
    wanted = own
    if label_smoothing > 0:
        mean = u @ v.mean(dim=0)  # the mean score of each image, of each text
        if symmetric:
            mean = (mean + v @ u.mean(dim=0)) / 2
        wanted = (1 - label_smoothing) * own + label_smoothing * (1 / temperature) * mean
    return ((over_texts + over_images) / 2 if symmetric else over_texts) - wanted


@fast("log_partitions")
def log_partitions(
    u: Tensor,
    v: Tensor,
    scale: float | Tensor,
    columns: Columns = "all",
    block_size: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the logarithms of the sums of exp(z) over rows, columns and each row's own part.

    With :math:`z_{ij} = c\,\langle u_i, v_j\rangle` and K = m/B columns of v for each row of u,
    the columns :math:`iK, …, iK + K - 1` are row i's own.

    Args:
        u: (B, k) rows.
        v: (m, k) columns, m a multiple of B.
        scale: c, a number or a tensor without axes.
        columns: over which rows to sum each column: ``"all"``; ``"others"`` without the one that
            owns it (B > 1); ``"none"`` where the sums are not needed (they are 0 then).
        block_size: how many rows are scored at a time, where the engine does it.

    Returns:
        Over rows (B,), over columns (m,), over each row's own columns (B,).
    """
    z = (scale * u) @ v.T  # (B, m)
    none = u.new_zeros(len(v))
    if len(u) == len(v) and columns != "others":
        # A score less the logarithm of its share is the sum it has a share in. torch takes the
        # shares in one pass and the sum in five; and the sum is then never less than its part.
        own = z.diagonal()
        over_columns = own - z.log_softmax(dim=0).diagonal() if columns == "all" else none
        return own - z.log_softmax(dim=1).diagonal(), over_columns, own
    owner = torch.arange(len(v), device=v.device) // (len(v) // len(u))
    mine = owner == torch.arange(len(u), device=u.device)[:, None]
    counted = z.masked_fill(mine, -torch.inf) if columns == "others" else z
    over_columns = none if columns == "none" else counted.logsumexp(dim=0)
    own = z.unflatten(1, (len(u), -1)).diagonal()  # (K, B)
    return z.logsumexp(dim=1), over_columns, own.logsumexp(dim=0)


class InfoNCELoss(FunctionModule, function=info_nce_loss, inputs=("x", "y", "temperature")):
    """InfoNCE as a module, with a temperature that may be learnt.

    Args:
        temperature: τ, or where it starts.
        learnable: learn its logarithm, as the parameter ``log_temperature``.
        symmetric: as for :func:`info_nce_loss`, like all that follow.
        similarity: ``"cosine"`` or ``"dot"``.
        label_smoothing: ε in [0, 1).
        gather: over all processes.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        block_size: rows that are scored at a time; None for a size that fits.

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
        self, temperature: float = 0.07, learnable: bool = False, *args: Any, **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self.learnable = learnable
        start = torch.tensor(as_number(temperature, "temperature", above=0)).log()
        keep_number(self, "log_temperature", start, learnable)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        """Return the loss of the batch."""
        return super().forward(x, y, self.log_temperature.exp())

    def extra_repr(self) -> str:
        """Return the settings."""
        now = self.log_temperature.exp().item()
        return f"temperature={now:.4g}, learnable={self.learnable}, {super().extra_repr()}"
