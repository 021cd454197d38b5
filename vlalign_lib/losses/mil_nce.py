"""MIL-NCE: several candidate captions a clip, of which at least one should fit."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vlalign_lib._module import FunctionModule, PositiveScalar
from vlalign_lib._tensors import Reduction, as_floats, check_same_device, objective
from vlalign_lib.losses._cosine import Similarity, comparable
from vlalign_lib.losses.info_nce import Columns, log_partitions


def as_clips(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Return clips (B, k) and captions (B, K, k), K = 1 where there is no axis for it.

    Raises:
        ValueError: shapes that do not fit.
    """
    x = as_floats(x, "x", "(B, k)")
    single = isinstance(y, Tensor) and y.ndim == 2
    y = as_floats(y, "y", "(B, k)")[:, None] if single else as_floats(y, "y", "(B, K, k)")
    if x.shape[0] != y.shape[0] or x.shape[1] != y.shape[2]:
        raise ValueError(
            f"x {tuple(x.shape)} and y {tuple(y.shape)}: expected (B, k) and (B, K, k), y[i] the "
            "candidate captions of clip i, embedded into as many dimensions"
        )
    if 0 in y.shape:
        raise ValueError(f"y: need clips, captions and dimensions, got {tuple(y.shape)}")
    check_same_device(x, y)
    dtype = torch.promote_types(x.dtype, y.dtype)
    return x.to(dtype), y.to(dtype)


@objective(views=as_clips)
def mil_nce_loss(
    x: Tensor,
    y: Tensor,
    *,
    temperature: PositiveScalar = 1.0,
    similarity: Similarity = "dot",
    as_released: bool = False,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Any:
    r"""Ask that any of a clip's K candidate captions stand out from those of other clips.

    .. math::

        \ell_i = -\log \frac{\sum_k e^{z_{i,ik}}}{\sum_k e^{z_{i,ik}}
        + \sum_{j \ne i} \sum_k \bigl(e^{z_{i,jk}} + e^{z_{j,ik}}\bigr)}, \qquad
        z_{i,jk} = \frac{s(u_i, v_{jk})}{\tau}

    The negatives are the other clips' captions for clip i and the other clips for its captions.
    What is summed inside the logarithm may be carried by one caption: the others may be about
    something else. The similarity is the inner product, not normalised, and τ = 1, as published;
    a cosine is bounded and needs a temperature of about 0.1 to become sharp. With K = 1 it is
    InfoNCE with both directions in one denominator.

    The released code counts the candidates of a clip twice in the denominator, once with its row
    and once with its column: ``as_released`` does the same. The loss then cannot fall below
    log 2.

    Args:
        x: (B, k) embedded clips, floating point.
        y: (B, K, k) embedded captions, ``y[i]`` the candidates of clip i; (B, k) is K = 1.
        temperature: τ > 0: a number, or a tensor without axes that may be learnt.
        similarity: ``"dot"``, or ``"cosine"`` (a row of zeros has cosine 0 with everything).
        as_released: count the positives twice in the denominator.
        gather: compute the loss of the rows of all processes together.
        reduction: ``"mean"`` over clips, ``"sum"``, or ``"none"`` for each clip.

    Returns:
        The loss: without axes, or (B,) for ``reduction="none"``. One clip alone has nothing to
        stand out from: 0, or log 2 as released.

    Raises:
        ValueError: shapes that do not fit, an unknown word, a temperature not above 0.

    Source:
        Miech, Alayrac, Smaira, Laptev, Sivic and Zisserman, End-to-end learning of visual
        representations from uncurated instructional videos, CVPR 2020.

    Chapter:
        13, Weak temporal alignment.

    Example:
        >>> import torch
        >>> clips = 20 * torch.eye(2)
        >>> captions = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [0.0, 0.0]]])
        >>> round(float(mil_nce_loss(clips, captions)), 4)  # the second caption is about nothing
        0.0
        >>> round(float(mil_nce_loss(clips, captions, as_released=True)), 4)
        0.6931
    """
    candidates = y.shape[1]
    u, v = comparable(x, y.flatten(0, 1), similarity)
    alone = len(u) == 1 and not as_released  # nobody else's captions, and no other clips
    columns: Columns = "none" if alone else "all" if as_released else "others"
    total, over_clips, own = log_partitions(u, v, 1 / temperature, columns)
    if not alone:
        others = over_clips.unflatten(0, (len(u), candidates)).logsumexp(dim=1)
        total = torch.logaddexp(total, others)
    return total - own


class MILNCELoss(FunctionModule, function=mil_nce_loss, inputs=("x", "y")):
    """MIL-NCE as a module.

    Args:
        temperature: as for :func:`mil_nce_loss`, like all that follow.
        similarity: ``"dot"`` or ``"cosine"``.
        as_released: count the positives twice in the denominator.
        gather: over all processes.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.

    Chapter:
        13, Weak temporal alignment.

    Example:
        >>> import torch
        >>> round(float(MILNCELoss()(torch.zeros(2, 3), torch.zeros(2, 4, 3))), 4)  # log 3
        1.0986
    """
