"""Deep canonical correlation analysis: minus the correlations of a batch."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vlalign_lib._gather import gather_rows
from vlalign_lib._tensors import as_number, as_views, check_choice
from vlalign_lib.losses import _cca_lapack, _cca_torch

# A batch of fewer pairs a dimension has correlations that say little about the next batch.
PAIRS_PER_DIMENSION = 2.5


def cca_loss(
    x: Tensor,
    y: Tensor,
    *,
    top_k: int | None = None,
    reg: float = 1e-4,
    objective: Literal["sum", "sum_of_squares"] = "sum",
    gather: bool = False,
) -> Tensor:
    r"""Return minus the sum of the canonical correlations between two views of a batch.

    .. math::

        \mathcal{L} = -\sum_{j=1}^{k} \rho_j,
        \qquad \rho = \text{singular values of } \hat S_x^{-1/2} S_{xy} \hat S_y^{-1/2},
        \qquad \hat S_x = S_x + \kappa \frac{\operatorname{tr} S_x}{p} I

    with the covariances of the batch, :math:`\hat S_y` likewise. The value lies between
    :math:`-\min(p, q)` and 0. It does not change when a constant is added to a view or when a view
    is multiplied by a number or rotated; without ridge it does not change under any invertible
    linear map of either view. Therefore the two views are **not** comparable with each other after
    training: refit ``vlalign_lib.linear.CCA`` on the outputs for the training set and compare its
    variates.

    The correlation of one component, :math:`\rho = E[uv] / \sqrt{E[u^2] E[v^2]}`, is what is
    usually printed as the objective of deep CCA; it is this loss with one dimension a view (and no
    ridge). With more, the sum counts whitened components, each uncorrelated with the ones before.

    Everything is computed in float64, whatever the inputs are. The gradient is a closed form: no
    eigenvectors are differentiated, so that it stays finite where correlations are equal, where a
    unit is dead and where the columns of a view depend on each other. A correlation below 1e-10
    counts as zero and has no gradient. There is no second derivative.

    Args:
        x: (B, p) the first view, embedded; floating point.
        y: (B, q) the second one; row i is the partner of row i of ``x``.
        top_k: k, how many correlations are summed, the largest first; None for all
            :math:`\min(p, q)`.
        reg: :math:`\kappa \ge 0`, the ridge relative to the mean variance of the view, as in
            ``vlalign_lib.linear.CCA``.
        objective: ``"sum"`` for :math:`-\sum \rho_j`; ``"sum_of_squares"`` for
            :math:`-\sum \rho_j^2`, which several libraries compute under the name of the former:
            smoother and faster, and it cares less about weak correlations.
        gather: correlate the rows of all processes of ``torch.distributed``; each has to hold as
            many.

    Returns:
        A scalar with the dtype of the inputs (float32 for half precision). NaN in any row makes it
        and its gradient NaN.

    Raises:
        ValueError: shapes that do not fit; ``B − 1 <= max(p, q)``, where every correlation is 1
            whatever the data (without ridge); a view without variance in some direction with
            ``reg=0`` (on a GPU the loss is NaN then, since looking would make the host wait).

    Warns:
        UserWarning: fewer than 2.5 pairs a dimension, where the correlations of the batch are
            mostly chance.

    Source:
        Andrew, Arora, Bilmes and Livescu, "Deep canonical correlation analysis", ICML 2013, with
        the gradient; its ridge is absolute, and here relative, which adds one term to the
        gradient.

    Chapter:
        5, Deep CCA.

    Example:
        >>> import torch
        >>> x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
        >>> round(cca_loss(x, x @ torch.diag(torch.tensor([2.0, -5.0, 1.0])), reg=0).item(), 6)
        -3.0
        >>> noise = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
        >>> bool(cca_loss(x, noise) > -0.5)
        True
    """
    x, y = as_views(x, y)
    if top_k is not None:
        top_k = _check_top_k(top_k, min(x.shape[1], y.shape[1]))
    reg = as_number(reg, "reg", low=0.0)
    check_choice(objective, "objective", ("sum", "sum_of_squares"))
    if gather:
        x, y = gather_rows(x, y)
    _check_batch(len(x), max(x.shape[1], y.shape[1]))
    keep = torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)
    loss: Tensor = _Correlations.apply(x, y, top_k, reg, objective == "sum_of_squares", keep)
    return loss


class CCALoss(nn.Module):
    """``cca_loss`` as a module.

    Args:
        top_k: how many correlations are summed; None for all.
        reg: the ridge relative to the mean variance of the view.
        objective: ``"sum"`` or ``"sum_of_squares"``.
        gather: correlate the rows of all processes.

    Raises:
        ValueError: as ``cca_loss``, when it is called.

    Chapter:
        5, Deep CCA.

    Example:
        >>> CCALoss(top_k=10)
        CCALoss(top_k=10, reg=0.0001, objective='sum', gather=False)
    """

    def __init__(
        self,
        top_k: int | None = None,
        reg: float = 1e-4,
        objective: Literal["sum", "sum_of_squares"] = "sum",
        gather: bool = False,
    ) -> None:
        super().__init__()
        self.top_k, self.reg, self.objective, self.gather = top_k, reg, objective, gather

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return ``cca_loss(x, y)``, x (B, p) and y (B, q)."""
        return cca_loss(
            x, y, top_k=self.top_k, reg=self.reg, objective=self.objective, gather=self.gather
        )

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"top_k={self.top_k}, reg={self.reg}, objective={self.objective!r}, "
            f"gather={self.gather}"
        )


class _Correlations(torch.autograd.Function):
    """Minus Σρ or Σρ², with the derivative in closed form."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, top_k: int | None, reg: float, squares: bool, keep: bool
    ) -> Tensor:
        # A compiler would trace numpy as if it were torch, and get it wrong.
        plain = x.device.type == "cpu" and not torch.compiler.is_compiling()
        ctx.kernel = kernel = _cca_lapack if plain else _cca_torch
        value, ctx.state = kernel.forward(x, y, top_k, reg, squares, keep=keep)
        ctx.save_for_backward(x, y)
        return value.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        views = ctx.kernel.backward(ctx.state, grads[0].detach(), ctx.needs_input_grad[:2])
        found = [None if view is None else view.to(grads[0].dtype) for view in views]
        if torch.is_grad_enabled():  # create_graph=True
            found = [None if g is None else _Final.apply(g, *ctx.saved_tensors) for g in found]
        return *found, None, None, None, None


class _Final(torch.autograd.Function):
    """A gradient that cannot be differentiated once more, and does not pass for a constant."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return grad

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError(
            "cca_loss has no second derivative: its gradient cannot be part of another loss"
        )


def _check_top_k(top_k: Any, most: int) -> int | None:
    """Return ``top_k``, None where it asks for all there are."""
    if isinstance(top_k, bool) or not isinstance(top_k, int) or not 1 <= top_k <= most:
        raise ValueError(
            f"top_k: expected None or a whole number from 1 to {most}, the smaller dimension, got "
            f"{top_k!r}"
        )
    return top_k if top_k < most else None


def _check_batch(pairs: int, dimensions: int) -> None:
    enough = PAIRS_PER_DIMENSION * dimensions
    advice = f"use more than {enough:g} pairs, or fewer dimensions (chapter 5)"
    if pairs - 1 <= dimensions:
        raise ValueError(
            f"batch of {pairs} pairs with {dimensions} dimensions: the correlation is perfect "
            f"whatever the data; {advice}"
        )
    if pairs < enough:
        warnings.warn(
            f"batch of {pairs} pairs with {dimensions} dimensions: the correlations of so few "
            f"pairs are mostly chance, and the loss learns to raise them on the batch alone; "
            f"{advice}",
            UserWarning,
            stacklevel=3,
        )
