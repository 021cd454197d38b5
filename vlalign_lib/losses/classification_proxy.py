"""A classifier as the bridge: each view learns to name the class, and the posteriors meet."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vlalign_lib._module import FunctionModule
from vlalign_lib._tensors import Reduction, as_classes, as_floats, as_tensor, as_views, objective


@objective(views=None, gathers="values")
def classification_proxy_loss(
    x: Tensor | None,
    y: Tensor | None,
    labels: Tensor,
    *,
    multi_label: bool = False,
    reduction: Reduction = "mean",
    gather: bool = False,
) -> Any:
    r"""Return the loss of the views' classifiers, whose posteriors are the shared space.

    With one class a row, the categorical cross-entropy of a softmax; with ``multi_label=True`` the
    binary cross-entropy of a sigmoid a class, averaged over the C classes; the two views added up:

    .. math::

        \mathcal{L} = \sum_{z \in \{x, y\}} -\log \operatorname{softmax}(z)_{\ell}
        \qquad\text{or}\qquad
        \mathcal{L} = \sum_{z \in \{x, y\}} -\frac1C \sum_{c=1}^C
        \left[ t_c \log \sigma(z_c) + (1 - t_c) \log (1 - \sigma(z_c)) \right]

    Mind the minus: the bracket is a log-likelihood, often printed without it; minimised as it
    stands it drives every answer to the wrong side. And mind the sigmoid: a softmax lets classes
    compete for one unit of probability, so that a row with two classes cannot have both.

    Neither view sees the other: the gradient of one does not depend on the other's being there,
    and no use is made of who is whose partner. Afterwards compare posteriors, ``softmax(x)`` or
    ``sigmoid(x)``, by cosine; where they are too sure of themselves, their logarithms.

    Args:
        x: (B, C) logits of the first view, before softmax or sigmoid; None to leave it out.
        y: (B, C) logits of the second view, or None.
        labels: (B,) class indices from 0 to C − 1, or −1 for a row without a class, which
            counts for nothing; with ``multi_label`` (B, C) targets in [0, 1], true or false, or
            whole numbers.
        multi_label: whether a row may have several classes, or none.
        reduction: ``"mean"`` over the rows with a class, ``"sum"``, or ``"none"`` for one loss a
            row, both views added up.
        gather: reduce over the rows of all processes of ``torch.distributed``.

    Returns:
        A scalar, or (B,) without reduction; 0 where no row has a class.

    Raises:
        ValueError: both views None; shapes that do not fit; labels that are not what
            ``multi_label`` says, or outside 0 to C − 1 (looked at on the CPU only, since a
            GPU would make the host wait).

    Source:
        Wei et al., "Cross-modal retrieval with CNN visual features: a new baseline", IEEE
        Transactions on Cybernetics 47, 2017 (deep semantic matching).

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> import torch
        >>> images = torch.tensor([[0.0, 0.0], [9.0, -9.0]])
        >>> round(classification_proxy_loss(images, None, torch.tensor([1, 0])).item(), 4)
        0.3466
        >>> both = torch.tensor([[1, 1], [1, 0]])
        >>> round(classification_proxy_loss(images, None, both, multi_label=True).item(), 4)
        0.3466
    """
    logits = _as_logits(x, y)
    targets = (_as_targets if multi_label else _as_indices)(labels, logits[0])
    if multi_label:
        losses = [
            F.binary_cross_entropy_with_logits(z, targets.to(z), reduction="none").mean(dim=1)
            for z in logits
        ]
        return torch.stack(losses).sum(dim=0), torch.ones_like(targets[:, 0])
    losses = [F.cross_entropy(z, targets, ignore_index=-1, reduction="none") for z in logits]
    return torch.stack(losses).sum(dim=0), targets >= 0


class ClassificationProxyLoss(
    FunctionModule, function=classification_proxy_loss, inputs=("x", "y", "labels")
):
    """``classification_proxy_loss`` as a module.

    Args:
        multi_label: whether a row may have several classes, or none.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        gather: reduce over the rows of all processes.

    Raises:
        ValueError: as ``classification_proxy_loss``, when it is called.

    Chapter:
        6, Labels as a bridge.

    Example:
        >>> ClassificationProxyLoss(multi_label=True)
        ClassificationProxyLoss(multi_label=True, reduction='mean', gather=False)
    """


def _as_logits(x: Any, y: Any) -> list[Tensor]:
    """Return the views that are there, (B, C) each."""
    if x is None and y is None:
        raise ValueError("x and y: both are None; give the logits of at least one view")
    if x is not None and y is not None:
        x, y = as_views(x, y)
        if x.shape[1] != y.shape[1]:
            raise ValueError(
                f"x has {x.shape[1]} classes and y has {y.shape[1]}: both views answer the same "
                "question, so both need a logit for every class"
            )
        return [x, y]
    name = "y" if x is None else "x"
    view = as_floats(y if x is None else x, name, "(B, C)")
    if view.numel() == 0:
        raise ValueError(f"{name}: expected at least one row and one class, got {view.shape}")
    return [view]


def _as_indices(labels: Any, logits: Tensor) -> Tensor:
    """Return one class a row (B,)."""
    rows, classes = logits.shape
    labels = as_tensor(labels, "labels", f"whole numbers ({rows},), one class a row", logits.device)
    if labels.shape == (rows, classes):
        raise ValueError(
            f"labels: expected one class index a row, shape ({rows},), got {(rows, classes)}; for "
            "several classes a row use multi_label=True, for one-hot rows labels.argmax(1)"
        )
    labels = as_classes(labels, rows, logits.device)
    if labels.device.type == "cpu" and bool(((labels < -1) | (labels >= classes)).any()):
        raise ValueError(
            f"labels: expected class indices from 0 to {classes - 1}, or −1 for none, got "
            f"{int(labels.min())} to {int(labels.max())}; the views have {classes} columns"
        )
    return labels


def _as_targets(labels: Any, logits: Tensor) -> Tensor:
    """Return which classes a row has, (B, C)."""
    shape = tuple(logits.shape)
    labels = as_tensor(labels, "labels", f"{shape}, which classes a row has", logits.device)
    if labels.shape != shape:
        raise ValueError(
            f"labels: with multi_label=True expected shape {shape}, which classes a row "
            f"has, got {tuple(labels.shape)}"
        )
    if labels.is_complex():
        raise ValueError(f"labels: expected numbers from 0 to 1, got {labels.dtype}")
    if labels.device.type == "cpu" and bool(((labels < 0) | (labels > 1)).any()):
        raise ValueError(
            f"labels: with multi_label=True expected numbers from 0 to 1, got "
            f"{labels.min().item():g} to {labels.max().item():g}"
        )
    return labels
