"""The sigmoid loss of SigLIP: every pair of the batch is a question of its own."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlalign_lib._fast import fast
from vlalign_lib._module import FunctionModule, PositiveScalar, Scalar, keep_number
from vlalign_lib._tensors import Reduction, as_number, objective
from vlalign_lib.losses._cosine import Similarity, comparable


@objective(same_width=True)
def sigmoid_pair_loss(
    x: Tensor,
    y: Tensor,
    *,
    scale: PositiveScalar = 10.0,
    bias: Scalar = -10.0,
    similarity: Similarity = "cosine",
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Any:
    r"""Ask of every image and every text whether they belong together.

    .. math::

        L = \frac1B \sum_i \sum_j \log\bigl(1 + e^{-t_{ij} (c\,s(u_i, v_j) + b)}\bigr), \qquad
        t_{ij} = \begin{cases} 1 & i = j \\ -1 & i \ne j \end{cases}

    No sum over the batch stands inside a logarithm, so that pairs do not compete. Of B² questions
    B have the answer yes: the bias starts at −10 so that training does not begin with unlearning
    a guess of one half. Where all logits are 0 the loss is B log 2.

    The scores are computed in blocks and the gradient in closed form: memory grows with B, not
    B², once B² is above eight million. Second derivatives keep everything.

    Args:
        x: (B, k) embedded images, floating point.
        y: (B, k) embedded texts, row i the partner of row i of ``x``.
        scale: c, the inverse of a temperature: a number above 0, or a tensor without axes that
            may be learnt.
        bias: b, a number or a tensor without axes.
        similarity: ``"cosine"`` (a row of zeros has cosine 0 with everything), or ``"dot"``.
        gather: compute the loss of the rows of all processes together.
        reduction: ``"mean"`` over images of the sum over texts, ``"sum"``, or ``"none"`` for the
            sum over texts (B,) of each image.

    Returns:
        The loss: without axes, or (B,) for ``reduction="none"``.

    Raises:
        ValueError: shapes that do not fit, an unknown word, a scale not above 0.

    Source:
        Zhai, Mustafa, Kolesnikov and Beyer, Sigmoid loss for language image pre-training
        (SigLIP), ICCV 2023.

    Chapter:
        17, From here to CLIP, and what it costs.

    Example:
        >>> import torch
        >>> x = torch.zeros(4, 3)
        >>> round(float(sigmoid_pair_loss(x, x, bias=0.0)), 4)  # 4 log 2
        2.7726
    """
    return sigmoid_sums(*comparable(x, y, similarity), scale, bias)


@fast("sigmoid_sums")
def sigmoid_sums(u: Tensor, v: Tensor, scale: float | Tensor, bias: float | Tensor) -> Tensor:
    r"""Return :math:`\sum_j \log(1 + e^{-t_{ij}(c\langle u_i, v_j\rangle + b)})`, t = ±1, (B,)."""
    z = (scale * u) @ v.T + bias  # (B, B)
    partners = torch.eye(len(u), dtype=torch.bool, device=u.device)
    return F.softplus(torch.where(partners, -z, z), threshold=50).sum(dim=1)


class SigmoidPairLoss(
    FunctionModule, function=sigmoid_pair_loss, inputs=("x", "y", "scale", "bias")
):
    """The sigmoid loss as a module, with scale and bias that are learnt.

    Args:
        scale: c, or where it starts.
        bias: b, or where it starts.
        learnable: learn both, the scale through its logarithm: the parameters ``log_scale`` and
            ``bias``.
        similarity: as for :func:`sigmoid_pair_loss`, like all that follow.
        gather: over all processes.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Chapter:
        17, From here to CLIP, and what it costs.

    Example:
        >>> import torch
        >>> loss = SigmoidPairLoss()
        >>> sorted(name for name, _ in loss.named_parameters())
        ['bias', 'log_scale']
        >>> bool(loss(torch.eye(4), torch.eye(4)) < loss(torch.eye(4), torch.eye(4).flip(0)))
        True
    """

    log_scale: Tensor
    bias: Tensor

    def __init__(
        self,
        scale: float = 10.0,
        bias: float = -10.0,
        learnable: bool = True,
        *args: Any,
        **settings: Any,
    ) -> None:
        super().__init__(*args, **settings)
        self.learnable = learnable
        start = torch.tensor(as_number(scale, "scale", above=0)).log()
        keep_number(self, "log_scale", start, learnable)
        keep_number(self, "bias", torch.tensor(as_number(bias, "bias")), learnable)

    def forward(self, x: Tensor, y: Tensor) -> Any:
        """Return the loss of the batch."""
        return super().forward(x, y, self.log_scale.exp(), self.bias)

    def extra_repr(self) -> str:
        """Return the settings."""
        scale, bias = self.log_scale.exp().item(), self.bias.item()
        shown = f"scale={scale:.4g}, bias={bias:.4g}, learnable={self.learnable}"
        return f"{shown}, {super().extra_repr()}"
