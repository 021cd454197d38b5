r"""The Hilbert-Schmidt independence criterion, and the terms that HSIC and CKA are made of.

With P(K) the centred Gram matrix, :math:`HKH` in the biased form and Székely and Rizzo's
U-centred matrix in the unbiased one, both forms are an inner product,

.. math::

    \mathrm{HSIC}(K, L) = \langle P(K), P(L) \rangle / c, \qquad
    c_b = (n-1)^2, \quad c_u = n(n-3).

Linear kernels of more rows than columns never see an n×n matrix: on centred columns

.. math::

    \langle P_b(K), P_b(L) \rangle = \|X^\top Y\|_F^2, \qquad
    \langle P_u(K), P_u(L) \rangle = \|X^\top Y\|_F^2 - \frac{n}{n-2} \sum_i a_i b_i
        + \frac{\sum_i a_i \sum_i b_i}{(n-1)(n-2)}, \quad a_i = \|x_i\|^2, b_i = \|y_i\|^2 .

Two things keep narrow floats safe. Views are divided by a power of two near their largest
magnitude, so that no fourth power overflows, and centred twice before any product: the second
mean is what rounding left of a large first one. The rbf kernel enters as its difference from its
level at the mean squared distance, which centring cannot tell from itself, so that the digits
are those of what varies: neither a wide kernel near 1 nor a narrow one near 0 loses any.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vlalign_lib._fast import fast
from vlalign_lib._tensors import in_full_precision
from vlalign_lib.similarity._views import (
    Kernel,
    Settings,
    as_rows,
    check_terms,
)

_ROUNDING = 16.0  # what is smaller than so many units of rounding is no variation
_FAR = 30.0  # exponents beyond it do not count as the level of an rbf kernel
_NARROWEST = 1e-18  # of a kernel, beside a view of size 1; its square is a number in float32 too


def hsic(
    x: Any,
    y: Any,
    *,
    kernel: Kernel = "linear",
    unbiased: bool = False,
    bandwidth: float = 0.5,
    sigma: float | tuple[float, float] | None = None,
    mask: Any = None,
) -> Any:
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
    settings = Settings(kernel, unbiased, bandwidth, sigma)
    x, y, arrays = as_rows(x, y, mask, settings)
    terms = terms_of(x, y, settings, own=False)
    value = terms.xy
    if settings.kernel == "linear":
        for scale in (terms.scale_x, terms.scale_y) * 2:
            value = value * scale
    check_terms(terms, x, y)
    return float(value) if arrays else value


class Terms(NamedTuple):
    """HSIC of the views divided by their scales; xx, yy are exactly 0 where a view does not vary.

    ``cka`` is then 0, without a gradient. The sigmas are the widths of the rbf kernels in the
    units of the data, infinite for linear ones.
    """

    xy: Tensor
    xx: Tensor
    yy: Tensor
    cka: Tensor
    scale_x: Tensor
    scale_y: Tensor
    sigma_x: Tensor
    sigma_y: Tensor


def terms_of(x: Tensor, y: Tensor, settings: Settings, *, own: bool = True) -> Terms:
    """Return the terms of two views, without mixed precision."""
    terms = partial(hsic_terms, settings=settings, own=own)
    return Terms(*in_full_precision(terms, x, y).unbind())


@fast("hsic_terms")
def hsic_terms(
    x: Tensor, y: Tensor, settings: Settings, mask: Tensor | None = None, own: bool = True
) -> Tensor:
    """Return the fields of ``Terms`` in one tensor (8,), of the rows in ``mask`` alone.

    Nothing waits for a device, and NaN goes through. Without ``own`` only xy is computed, and
    xx, yy and cka are 0.
    """
    n = _count(x, mask, settings.least)
    (x, scale_x), (y, scale_y) = _centred(x, n, mask), _centred(y, n, mask)
    sigmas = [torch.full_like(scale_x, torch.inf)] * 2
    floor = torch.finfo(x.dtype).eps ** 4 / 64  # magnitudes are 1/2, and one differs by eps/2
    if settings.kernel == "linear" and len(x) > max(x.shape[1], y.shape[1]):
        views: list[Any] = [x, y]
        inner: Callable[..., tuple[Tensor, Tensor]] = partial(
            _inner_of_columns, n=n, unbiased=settings.unbiased
        )
    else:
        if settings.kernel == "linear":
            grams = [_linear_gram(x), _linear_gram(y)]
        else:
            widths: Any = settings.sigma or (None, None)
            sigmas = [
                _width(view, scale, n, mask, width, settings.bandwidth)
                for view, scale, width in zip((x, y), (scale_x, scale_y), widths, strict=True)
            ]
            grams = [_rbf_gram(x, n, sigmas[0]), _rbf_gram(y, n, sigmas[1])]
        views = [(_project(gram, n, mask, settings.unbiased), size) for gram, size in grams]
        inner = _inner_of_rows
    divisor = n * (n - 3) if settings.unbiased else (n - 1) ** 2
    xy = inner(*views)[0] / divisor
    xx = yy = cka = torch.zeros_like(xy)
    if own:
        values = [inner(view, view) for view in views]
        xx, yy = (v.masked_fill(v <= noise.clamp(min=floor), 0.0) / divisor for v, noise in values)
        # Infinitely long is a view without variation: CKA and its gradient are 0.
        length_x, length_y = (own.masked_fill(own == 0, torch.inf).sqrt() for own in (xx, yy))
        cka = xy / length_x / length_y
    sigmas = [sigmas[0] * scale_x, sigmas[1] * scale_y]
    return torch.stack([xy, xx, yy, cka, scale_x, scale_y, *sigmas])


def _count(x: Tensor, mask: Tensor | None, least: int) -> Any:
    """Return the number of rows that count, NaN where they are too few."""
    if mask is None:
        return len(x)
    n = mask.sum().to(x.dtype)
    return n.masked_fill(n < least, torch.nan)


def _centred(x: Tensor, n: Any, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the view centred and divided by a power of two, and that power.

    Rows that do not count are 0 afterwards, which in every product is the same as not there.
    """
    gone = torch.zeros_like(x[:, :1], dtype=torch.bool) if mask is None else ~mask[:, None]
    x = x.masked_fill(gone, 0.0)
    most = 126 if x.dtype == torch.float32 else 1022  # what divides without loss
    scale = x.detach().abs().amax().log2().ceil().clamp(-most, most).exp2()
    x = x / scale
    for _ in range(2):
        x = (x - x.sum(dim=0) / n).masked_fill(gone, 0.0)
    return x, scale


def _project(gram: Tensor, n: Any, mask: Tensor | None, unbiased: bool) -> Tensor:
    """Return P(K): centred by rows and columns, the diagonal left out in the unbiased form."""
    keep = torch.ones_like(gram) if mask is None else (mask[:, None] & mask).to(gram)
    if unbiased:
        keep = keep - torch.diag_embed(keep.diagonal())
    gram = gram * keep  # before the diagonal can drown the others in the sums
    rows, pairs = (n - 2, n - 1) if unbiased else (n, n)
    means = gram.sum(dim=1) / rows
    means = means - means.sum() / (2 * pairs)
    return (gram - means[:, None] - means) * keep


def _linear_gram(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Gram matrix, and its size: noise in all entries is one rounding of the trace."""
    gram = x @ x.T
    return gram, gram.detach().trace()


def _rbf_gram(x: Tensor, n: Any, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Return exp(−d²/2σ²) less its level at the mean squared distance, and its size."""
    spread = x.detach().square().sum()
    # A view without variation has a kernel without any; of width 0 there is none.
    flat = (spread <= torch.finfo(x.dtype).eps ** 2 / 16) | (sigma == 0)
    rate = (0.5 / sigma**2).masked_fill(flat, 0.0)
    typical = (2 * rate * spread / n).clamp(max=_FAR)
    level = (-typical).exp()
    return (typical - rate * _squared_distances(x)).expm1() * level, typical * level * n


def _width(
    x: Tensor, scale: Tensor, n: Any, mask: Tensor | None, sigma: float | None, bandwidth: float
) -> Tensor:
    """Return σ of a scaled view: as given, or by its median distance; 0 where that is rounding."""
    if sigma is not None:
        return (sigma / scale).clamp(min=_NARROWEST)
    squared = median_squares(x.detach(), n, mask)
    # Equal rows may differ by rounding, the more the longer they are.
    rounding = 2 * _ROUNDING * torch.finfo(x.dtype).eps * squared[2]
    return bandwidth * squared[:2].masked_fill(squared[:2] <= rounding, 0.0).sqrt().mean()


@fast("median_squares")
def median_squares(x: Tensor, n: Any, mask: Tensor | None = None) -> Tensor:
    """Return the two middle squared distances of different rows, and the middle squared length."""
    distances, norms = _squared_distances(x), x.square().sum(dim=1)
    if mask is not None:
        distances = distances.masked_fill(~(mask[:, None] & mask), torch.inf)
        norms = norms.masked_fill(~mask, torch.inf)
    pairs = n * (n - 1) / 2
    # Sorted, the n zeros of the diagonal come first, and then every distance twice.
    places = ((distances, n + pairs - 1), (distances, n + pairs), (norms, (n - 1) / 2))
    return torch.stack([_sorted_at(values.flatten(), place) for values, place in places])


def _sorted_at(values: Tensor, place: Any) -> Tensor:
    """Return what stands at a place, rounded down, once sorted; the host is not waited for."""
    index = torch.zeros_like(values[:1], dtype=torch.long) + torch.as_tensor(place).long()
    return values.sort().values.gather(0, index.clamp(0, len(values) - 1))[0]


def _squared_distances(x: Tensor) -> Tensor:
    """Return the squared distances of all rows (n, n)."""
    products = x @ x.T
    norms = products.diagonal()
    return (norms[:, None] + norms - 2 * products).clamp(min=0)


def _inner_of_rows(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return ⟨P(K), P(L)⟩, and how much of it may be noise, from P and size of both."""
    (k, size_k), (m, size_m) = a, b
    return (k * m).sum(), (_ROUNDING * torch.finfo(k.dtype).eps) ** 2 * size_k * size_m


def _inner_of_columns(x: Tensor, y: Tensor, n: Any, unbiased: bool) -> tuple[Tensor, Tensor]:
    """Return ⟨P(K), P(L)⟩ of linear kernels, and how much of it may be noise, from the views."""
    whole = (x.T @ y).square().sum()
    if not unbiased:
        return whole, torch.zeros_like(whole)
    a, b = x.square().sum(dim=1), y.square().sum(dim=1)
    diagonal = a.sum() * b.sum() / ((n - 1) * (n - 2)) - n / (n - 2) * (a @ b)
    return whole + diagonal, _ROUNDING * torch.finfo(x.dtype).eps * whole.detach()
