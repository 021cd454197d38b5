"""The Hilbert-Schmidt independence criterion."""

from __future__ import annotations

from typing import Any, overload

from numpy.typing import ArrayLike
from torch import Tensor

from vlalign_lib.similarity._terms import hsic_terms
from vlalign_lib.similarity._views import (
    Kernel,
    as_settings,
    as_two_views,
    check_answer,
    check_widths,
    kept_rows,
)


@overload
def hsic(
    x: Tensor,
    y: Tensor,
    *,
    kernel: Kernel = ...,
    unbiased: bool = ...,
    bandwidth: float = ...,
    sigma: float | tuple[float, float] | None = ...,
    mask: Any = ...,
) -> Tensor: ...


@overload
def hsic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel = ...,
    unbiased: bool = ...,
    bandwidth: float = ...,
    sigma: float | tuple[float, float] | None = ...,
    mask: Any = ...,
) -> float: ...


def hsic(
    x: Any,
    y: Any,
    *,
    kernel: Kernel = "linear",
    unbiased: bool = False,
    bandwidth: float = 0.5,
    sigma: float | tuple[float, float] | None = None,
    mask: Any = None,
) -> Tensor | float:
    r"""Measure how strongly two views of the same items depend on each other.

    With the Gram matrices K and L of the two views, centred as
    :math:`K_c = HKH`, :math:`H = I - \mathbf{1}\mathbf{1}^\top / n`, the biased form is

    .. math::

        \mathrm{HSIC}_b = \frac{\langle K_c, L_c \rangle}{(n-1)^2},

    and the unbiased one, with :math:`\tilde K, \tilde L` the Gram matrices with zeros on the
    diagonal,

    .. math::

        \mathrm{HSIC}_u = \frac{1}{n(n-3)} \Bigl( \langle \tilde K, \tilde L \rangle
            + \frac{\mathbf{1}^\top \tilde K \mathbf{1} \; \mathbf{1}^\top \tilde L \mathbf{1}}
                {(n-1)(n-2)}
            - \frac{2}{n-2} \, \mathbf{1}^\top \tilde K \tilde L \mathbf{1} \Bigr) .

    Of independent views the unbiased form is 0 on average, and so is now and then negative; the
    biased one is well above 0, the more the fewer rows and the more columns there are. With a
    linear kernel the biased form is the squared Frobenius norm of the cross-covariance. Linear
    kernels of more rows than columns are computed from the columns, without an n×n matrix.

    Args:
        x: (n, p) one view; a tensor, or an array (whole numbers become float64).
        y: (n, q) the other view, row i the partner of row i; of the same kind as ``x``.
        kernel: ``"linear"``, :math:`x^\top x'`, or ``"rbf"``,
            :math:`\exp(-\|x - x'\|^2 / 2\sigma^2)`.
        unbiased: Which of the two forms.
        bandwidth: :math:`\sigma` of the rbf kernel as a multiple of the median distance between
            two different rows, in each view its own; the median counts as a constant in the
            gradient.
        sigma: :math:`\sigma` itself in the units of the data, one for both views or a pair for
            (x, y); None for ``bandwidth``.
        mask: (n,) booleans, True for the rows that count; what the others hold does not matter.

    Returns:
        For tensors a scalar tensor on their device, with a gradient of any order; for arrays a
        float. float32 and float64 keep their width, half precision is computed in float32.

    Raises:
        ValueError: different numbers of rows, fewer than 2 rows (4 in the unbiased form), NaN or
            infinity, a tensor of whole numbers, a tensor beside an array, a mask that is not
            boolean, a median distance of 0.

    Source:
        Gretton et al., "Measuring statistical dependence with Hilbert-Schmidt norms", ALT 2005;
        the unbiased form: Song et al., "Feature selection via dependence maximization", JMLR 13,
        2012.

    Chapter:
        9, Measuring alignment.

    Example:
        >>> x = [[1.0], [2.0], [3.0]]
        >>> hsic(x, x)  # the squared variance
        1.0
        >>> hsic(x, [[0.0], [1.0], [0.0]])
        0.0
    """
    settings = as_settings(kernel, unbiased, bandwidth, sigma)
    x, y, arrays = as_two_views(x, y)
    rows = kept_rows(x, y, mask, settings)
    terms = hsic_terms(*rows, settings, own=False)
    value = terms.xy
    if settings.kernel == "linear":
        for scale in (*terms.scales, *terms.scales):
            value = value * scale
    check_answer(value, *rows)
    check_widths(terms.sigmas, settings)
    return float(value) if arrays else value
