"""Deep canonical correlation analysis: minus the correlations of a batch."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import torch
from torch import Tensor

from vlalign_lib._fast import fast
from vlalign_lib._module import Count, FunctionModule, NotNegative
from vlalign_lib._tensors import objective

# A batch of fewer pairs a dimension has correlations that say little about the next batch.
PAIRS_PER_DIMENSION = 2.5
# What rounding makes of a correlation that is zero stays below; it has no direction to follow.
FAINT = 1e-10
# A ridge below it does not make up for a direction without variance.
NO_RIDGE = 1e-8


@objective()
def cca_loss(
    x: Tensor,
    y: Tensor,
    *,
    top_k: Count | None = None,
    reg: NotNegative = 1e-4,
    objective: Literal["sum", "sum_of_squares"] = "sum",
    gather: bool = False,
) -> Any:
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
    counts as zero and has no gradient. A second derivative is refused on the CPU; where the
    singular values are differentiated themselves (on a GPU, or without the engine) it is theirs,
    which does not exist where two of them are equal.

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
        NotImplementedError: a second derivative on the CPU.

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
    most = min(x.shape[1], y.shape[1])
    if top_k is not None and top_k > most:
        raise ValueError(
            f"top_k: expected None or a whole number from 1 to {most}, the smaller dimension, got "
            f"{top_k}"
        )
    _check_batch(len(x), max(x.shape[1], y.shape[1]))
    loss = correlations(x, y, top_k, reg, objective == "sum_of_squares")
    if reg < NO_RIDGE and x.device.type == "cpu" and not torch.compiler.is_compiling():
        _check_variance(loss, x, y, reg)
    return loss


@fast("correlations")
def correlations(x: Tensor, y: Tensor, top_k: int | None, reg: float, squares: bool) -> Tensor:
    r"""Return :math:`-\sum_j \rho_j`, or :math:`-\sum_j \rho_j^2` for ``squares``.

    What cannot be computed, a singular covariance without a ridge included, comes out as NaN: to
    look for it would make the host wait.
    """
    hx, hy = _centred(x), _centred(y)
    (lx, bad_x), (ly, bad_y) = _root(hx.mT @ hx, reg), _root(hy.mT @ hy, reg)  # L Lᵀ = Ŝ
    t = torch.linalg.solve_triangular(lx, hx.mT @ hy, upper=False)
    t = torch.linalg.solve_triangular(ly.mT, t, upper=True, left=False)  # (p, q)
    # Decompositions may refuse NaN; zeros go through them, and NaN is put back afterwards.
    bad = bad_x | bad_y | ~t.isfinite().all()
    rho = torch.linalg.svdvals(torch.where(bad, 0.0, t))[:top_k]
    rho = rho.square() if squares else torch.where(rho > FAINT, rho, 0.0)
    poison = torch.where(bad, torch.nan, 0.0) * (hx.sum() + hy.sum() + 1)
    return (poison - rho.sum()).to(x.dtype)


def _centred(view: Tensor) -> Tensor:
    h = view.double()
    h = h - h[0].detach()  # a unit that is constant becomes 0, where its mean would leave rounding
    return h - h.mean(dim=0)


def _root(c: Tensor, reg: float) -> tuple[Tensor, Tensor]:
    """Return the lower Cholesky factor of c + reg · mean variance · I, and whether it is none."""
    ridge = reg * c.diagonal().mean()
    c = c + torch.where(c.diagonal().any(), ridge, 1.0) * torch.eye(len(c)).to(c)
    root, info = torch.linalg.cholesky_ex(c)
    smallest = 8 * len(c) * torch.finfo(c.dtype).eps * c.diagonal()
    return root, (info != 0) | (root.diagonal().square() <= smallest).any()


class CCALoss(FunctionModule, function=cca_loss, inputs=("x", "y")):
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
            stacklevel=4,
        )


def _check_variance(loss: Tensor, x: Tensor, y: Tensor, reg: float) -> None:
    """Raise a ValueError where a covariance of finite numbers cannot be inverted."""
    for view, name in ((x, "x"), (y, "y")) if bool(loss.isnan()) else ():
        h = _centred(view.detach())
        if bool(h.isfinite().all()) and bool(_root(h.mT @ h, reg)[1]):
            raise ValueError(
                f"reg={reg:g}: {name} has no variance in some direction (a unit that is dead, or "
                "a combination of others), so that its covariance cannot be inverted; use a "
                "ridge, reg=1e-4 say"
            )
