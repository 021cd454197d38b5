"""Centred kernel alignment as a regulariser."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from vlalign_lib._module import FunctionModule, Positive
from vlalign_lib._tensors import gather_rows, in_full_precision, objective
from vlalign_lib.similarity._views import Kernel, Settings, Widths, as_mask, kept_rows
from vlalign_lib.similarity.hsic import hsic_terms


@objective(gathers="nothing", autocast=True)
def cka_loss(
    x: Tensor,
    y: Tensor,
    *,
    kernel: Kernel = "linear",
    unbiased: bool = False,
    bandwidth: Positive = 0.5,
    sigma: Widths | None = None,
    mask: Tensor | None = None,
    gather: bool = False,
) -> Any:
    r"""Return 1 − CKA: how far the similarity structures of two views of a batch are apart.

    .. math::

        \mathcal{L} = 1 - \frac{\mathrm{HSIC}(K, L)}
            {\sqrt{\mathrm{HSIC}(K, K) \, \mathrm{HSIC}(L, L)}},
        \qquad \mathcal{L}_\text{total} = \mathcal{L}_\text{task} + \lambda \mathcal{L}

    with the Gram matrices K of x and L of y; adding λ times this loss is the same as
    subtracting λ times the CKA. Weights λ of 0.1 to 0.3 have helped, 1 has harmed.

    What to know of its gradient, with a linear kernel: it has no component along x itself
    (scale), its columns add up to 0 (shift), and it grows as one over the size of the view, so
    that a normalisation before it is a good idea. It leaves the rotation between the views to
    the task's own loss. In the biased form a batch of n pairs with d dimensions starts near
    1 − d/(n + d) whatever the data, so that little is left to gain in a small batch; the unbiased
    form starts near 1.

    A view that does not vary within the batch tells nothing: the loss is then 1 and has no
    gradient (``vlalign_lib.similarity.cka`` raises). So it is where the median distance of an
    rbf kernel is 0.

    Args:
        x: (B, p) the first view, embedded; floating point.
        y: (B, q) the second one; row i is the partner of row i of ``x``. Sequences become rows
            through ``vlalign_lib.similarity.pair_sequences``.
        kernel: ``"linear"`` or ``"rbf"``.
        unbiased: the unbiased form of HSIC.
        bandwidth: width of the rbf kernel as a multiple of the median distance of the batch, in
            each view its own; the median counts as a constant in the gradient.
        sigma: the width itself, one for both views or a pair for (x, y); None for ``bandwidth``.
        mask: (B,) booleans, True for the rows that count; what the others hold does not matter.
        gather: compare the rows of all processes of ``torch.distributed``; each has to hold as
            many. Without it every process compares its own, fewer ones.

    Returns:
        A scalar in [0, 1], or [0, 2] for the unbiased form, with the dtype of the inputs
        (float32 for half precision). NaN in a row that counts makes it and its gradient NaN.

    Raises:
        ValueError: shapes that do not fit, fewer than 2 rows (4 in the unbiased form), a mask
            that is not boolean. Where a mask on a GPU keeps too few rows, the loss is NaN, since
            looking would make the host wait.

    Source:
        Yun, Kim and Jung, "Modality alignment between deep representations for effective
        video-and-language learning", LREC 2022; CKA: Kornblith et al., "Similarity of neural
        network representations revisited", ICML 2019.

    Chapter:
        10, CKA as a regulariser.

    Example:
        >>> import torch
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], requires_grad=True)
        >>> turned = torch.stack([x[:, 1], -x[:, 0]], dim=1)
        >>> bool(cka_loss(x, 3 * turned + 1) < 1e-6)
        True
        >>> loss = cka_loss(x, torch.tensor([[0.0], [1.0], [0.0]]))
        >>> loss.backward()
        >>> bool((x * x.grad).sum().abs() < 1e-6)  # scale does not matter
        True
    """
    settings = Settings(kernel, unbiased, bandwidth, sigma)
    if mask is not None:
        mask = as_mask(mask, (len(x),), x)
    if gather:
        rows = gather_rows(x, y) if mask is None else gather_rows(x, y, mask.byte())
        x, y = rows[:2]
        mask = rows[2].bool() if mask is not None else None
    on_host = x.device.type == "cpu"
    x, y = kept_rows(x, y, mask if on_host else None, settings.least)
    terms = partial(hsic_terms, settings=settings, mask=None if on_host else mask)
    return 1 - in_full_precision(terms, x, y)[3]


class CKALoss(FunctionModule, function=cka_loss, inputs=("x", "y", "mask")):
    """``cka_loss`` as a module.

    Args:
        kernel: ``"linear"`` or ``"rbf"``.
        unbiased: the unbiased form of HSIC.
        bandwidth: width of the rbf kernel as a multiple of the median distance of the batch.
        sigma: the width itself, one for both views or a pair; None for ``bandwidth``.
        gather: compare the rows of all processes.

    Raises:
        ValueError: another kernel, a width that is not greater than 0; as ``cka_loss``, when it
            is called.

    Chapter:
        10, CKA as a regulariser.

    Example:
        >>> CKALoss(unbiased=True)
        CKALoss(kernel='linear', unbiased=True, bandwidth=0.5, sigma=None, gather=False)
    """
