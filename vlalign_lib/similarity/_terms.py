r"""The three numbers behind every similarity: HSIC of the two views, and of each with itself.

With P(K) the centred Gram matrix, :math:`HKH` in the biased form and Székely and Rizzo's
U-centred matrix in the unbiased one, both forms are an inner product,

.. math::

    \mathrm{HSIC}(K, L) = \langle P(K), P(L) \rangle / c, \qquad
    c_b = (n-1)^2, \quad c_u = n(n-3),

and since P is an orthogonal projection, the derivative by K is :math:`P(L)/c`. Linear kernels of
more rows than columns never see an n×n matrix: on centred columns

.. math::

    \langle P_b(K), P_b(L) \rangle = \|X^\top Y\|_F^2, \qquad
    \langle P_u(K), P_u(L) \rangle = \|X^\top Y\|_F^2 - \frac{n}{n-2} \sum_i a_i b_i
        + \frac{\sum_i a_i \sum_i b_i}{(n-1)(n-2)}, \quad a_i = \|x_i\|^2, b_i = \|y_i\|^2 .

Two things keep narrow floats safe. Views are divided by a power of two near their largest
magnitude, so that no fourth power overflows, and centred twice before any product: the second
mean is what rounding left of a large first one. The rbf kernel enters as k − 1, which centring
cannot tell from k, so that a wide one loses no digits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlalign_lib._tensors import without_autocast
from vlalign_lib.similarity._views import Settings

Parts = list[Tensor]
_ROUNDING = 16.0  # what is smaller than so many units of rounding is no variation


class Terms(NamedTuple):
    """HSIC of the views divided by ``scales``; xx, yy are exactly 0 where a view does not vary.

    ``sigmas`` are the widths of the rbf kernels in the units of the data, 0 for linear ones.
    """

    xy: Tensor
    xx: Tensor
    yy: Tensor
    scales: Tensor
    sigmas: Tensor


def hsic_terms(
    x: Tensor, y: Tensor, settings: Settings, mask: Tensor | None = None, *, own: bool = True
) -> Terms:
    """Return the three terms of two views (n, p), (n, q), of which only rows in ``mask`` count.

    Nothing waits for a device, and NaN goes through. Without ``own``, xx and yy are left at 0.
    """
    with without_autocast(x.device):
        return Terms(*_Terms.apply(x, y, mask, settings, own))


def alignment(terms: Terms) -> Tensor:
    """Return CKA; 0, without a gradient, where a view does not vary."""
    flat = (terms.xx == 0) | (terms.yy == 0)
    length_x, length_y = (own.masked_fill(flat, 1.0).sqrt() for own in (terms.xx, terms.yy))
    return (terms.xy / length_x / length_y).masked_fill(flat, 0.0)


class _Terms(torch.autograd.Function):
    """The terms with their gradient in closed form; higher orders go through autograd."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, mask: Tensor | None, settings: Settings, own: bool
    ) -> tuple[Tensor, ...]:
        terms, parts = _evaluate(x.detach(), y.detach(), mask, settings, own)
        ctx.save_for_backward(x, y, mask, *parts)
        ctx.settings, ctx.own = settings, own
        ctx.mark_non_differentiable(*terms[3:])
        return terms

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, y, mask, *parts = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        with without_autocast(x.device):
            if not torch.is_grad_enabled():
                pulled = _pull(parts, mask, ctx.settings, grads, wanted)
            else:  # somebody wants derivatives of this gradient
                terms, _ = _evaluate(x, y, mask, ctx.settings, ctx.own)
                used = 3 if ctx.own else 1
                views = [view for view, want in zip((x, y), wanted, strict=True) if want]
                found = iter(
                    torch.autograd.grad(terms[:used], views, grads[:used], create_graph=True)
                )
                pulled = tuple(next(found) if want else None for want in wanted)
        return *pulled, None, None, None


def _evaluate(
    x: Tensor, y: Tensor, mask: Tensor | None, settings: Settings, own: bool
) -> tuple[tuple[Tensor, ...], Parts]:
    """Return the fields of ``Terms``, and what ``_pull`` needs of the way there."""
    n, divisor = _count(x, mask, settings)
    (x, scale_x), (y, scale_y) = _centred(x, n, mask), _centred(y, n, mask)
    scales = torch.stack([scale_x, scale_y])
    sigmas = torch.zeros_like(scales)
    if _by_columns(x, y, settings):
        values, parts = _columns(x, y, n, settings.unbiased, own)
    elif settings.kernel == "linear":
        grams = [_product(view, view.mT) for view in (x, y)]
        values, parts = _rows(grams, n, mask, settings, own)
    else:
        distances = [_squared_distances(view) for view in (x, y)]
        if settings.sigma is None:
            sigmas = torch.stack([_median(d.detach(), n, mask) for d in distances])
            sigmas = sigmas * settings.bandwidth
        else:
            sigmas = torch.tensor(settings.sigma, dtype=x.dtype, device=x.device) / scales
            sigmas = sigmas.clamp(min=torch.finfo(x.dtype).tiny)
        grams = [_rbf(d, sigma) for d, sigma in zip(distances, sigmas, strict=True)]
        values, parts = _rows(grams, n, mask, settings, own)
        parts += grams
    terms = (*(value / divisor for value in values), scales, sigmas * scales)
    return terms, [x, y, scales, sigmas, *parts]


def _pull(
    parts: Parts,
    mask: Tensor | None,
    settings: Settings,
    grads: tuple[Tensor, ...],
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the views."""
    x, y, scales, sigmas, *parts = parts
    n, divisor = _count(x, mask, settings)
    cross, *own = (grad / divisor for grad in grads[:3])
    pulled: list[Tensor | None] = [None, None]
    for i, view in enumerate((x, y)):
        if not wanted[i]:
            continue
        if _by_columns(x, y, settings):
            grad = _pull_columns((x, y), i, parts, cross, own[i], n, settings.unbiased)
        else:
            # By K first, then from K to the rows. The rows of P add up to 0, so that shifting
            # a view changes nothing, and nothing is left to centre.
            slope = cross * parts[1 - i] + 2 * own[i] * parts[i]
            if settings.kernel == "linear":
                grad = 2 * (slope @ view)
            else:
                sigma = sigmas[i].masked_fill(sigmas[i] == 0, torch.inf)
                weight = slope * (parts[2 + i] + 1) / sigma / sigma
                grad = 2 * (weight @ view - weight.sum(dim=1, keepdim=True) * view)
        grad = grad / scales[i]
        pulled[i] = grad if mask is None else grad.masked_fill(~mask[:, None], 0.0)
    return tuple(pulled)


def _columns(x: Tensor, y: Tensor, n: Any, unbiased: bool, own: bool) -> tuple[list[Tensor], Parts]:
    """Return the terms of linear kernels from products of columns, and these products."""
    norms = [(view * view).sum(dim=1) for view in (x, y)] if unbiased else []
    xy = _product(x.mT, y)
    cross = _inner(xy, xy)
    if unbiased:
        cross = cross + _without_diagonal(norms[0], norms[1], n)
    if not own:
        return [cross, torch.zeros_like(cross), torch.zeros_like(cross)], [xy, *norms]
    squares = [_product(view.mT, view) for view in (x, y)]
    values = [cross]
    for i, square in enumerate(squares):
        whole = value = _inner(square, square)
        if unbiased:
            value = whole + _without_diagonal(norms[i], norms[i], n)
            value = value.masked_fill(value <= _ROUNDING * _eps(x) * whole, 0.0)
        values.append(value.masked_fill(whole <= _smallest(x), 0.0))
    return values, [xy, *norms, *squares]


def _without_diagonal(a: Tensor, b: Tensor, n: Any) -> Tensor:
    """Return what the unbiased form adds to the inner product of two Gram matrices."""
    return a.sum() * b.sum() / ((n - 1) * (n - 2)) - n / (n - 2) * (a @ b)


def _pull_columns(
    views: tuple[Tensor, Tensor],
    i: int,
    parts: Parts,
    cross: Tensor,
    own: Tensor,
    n: Any,
    unbiased: bool,
) -> Tensor:
    """Return the gradient of view ``i`` in the form of ``_columns``."""
    view, other = views[i], views[1 - i]
    xy, norms, squares = parts[0], parts[1:3] if unbiased else [], parts[3 if unbiased else 1 :]
    grad = other @ (2 * cross * (xy.mT if i == 0 else xy))
    if squares:
        grad = torch.addmm(grad, view, 4 * own * squares[i])
    if unbiased:
        slope = torch.zeros_like(norms[i])
        for weight, norm in ((2 * cross, norms[1 - i]), (4 * own, norms[i])):
            slope = slope + weight * (norm.sum() / ((n - 1) * (n - 2)) - n / (n - 2) * norm)
        grad = torch.addcmul(grad, slope[:, None], view)
        grad = grad - grad.sum(dim=0) / n  # centred last, as the view was first
    return grad


def _rows(
    grams: list[Tensor], n: Any, mask: Tensor | None, settings: Settings, own: bool
) -> tuple[list[Tensor], Parts]:
    """Return the terms from Gram matrices of centred rows, and P of these matrices."""
    linear = settings.kernel == "linear"
    parts = [
        gram if linear and not settings.unbiased else _project(gram, n, mask, settings.unbiased)
        for gram in grams
    ]
    cross = _inner(parts[0], parts[1])
    if not own:
        return [cross, torch.zeros_like(cross), torch.zeros_like(cross)], parts
    values = [cross]
    for gram, part in zip(grams, parts, strict=True):
        value = _inner(part, part)
        flat = value <= (_ROUNDING * _eps(gram)) ** 2 * _inner(gram, gram)
        if linear:
            flat = flat | (value <= _smallest(gram))
        values.append(value.masked_fill(flat, 0.0))
    return values, parts


def _project(gram: Tensor, n: Any, mask: Tensor | None, unbiased: bool) -> Tensor:
    """Return P(K): centred by rows and columns, the diagonal left out in the unbiased form."""
    if mask is not None:
        gram = gram.masked_fill(~(mask[:, None] & mask), 0.0)
    if unbiased:
        gram = gram - torch.diag(gram.diagonal())
        means = gram.sum(dim=1) / (n - 2)
        means = means - means.sum() / (2 * (n - 1))
    else:
        means = gram.sum(dim=1) / n
        means = means - means.sum() / (2 * n)
    gram = gram - means[:, None] - means
    if unbiased:
        gram = gram - torch.diag(gram.diagonal())
    return gram if mask is None else gram.masked_fill(~(mask[:, None] & mask), 0.0)


def _rbf(distances: Tensor, sigma: Tensor) -> Tensor:
    """Return exp(−d²/2σ²) − 1; no variation at all where the width is 0."""
    sigma = sigma.masked_fill(sigma == 0, torch.inf)
    return torch.expm1(distances / sigma / sigma / -2)


def _squared_distances(x: Tensor) -> Tensor:
    """Return the squared distances of all rows (n, n), those that are mere rounding exactly 0."""
    products = _product(x, x.mT)
    norms = products.diagonal()
    both = norms[:, None] + norms
    distances = both - 2 * products
    return distances.masked_fill(distances <= _ROUNDING * _eps(x) * both, 0.0)


def _median(distances: Tensor, n: Any, mask: Tensor | None) -> Tensor:
    """Return the median distance between two different rows from squared distances (n, n).

    Sorted, the n zeros of the diagonal come first, and then every distance twice.
    """
    if mask is None and distances.device.type == "cpu":
        last = n + n * (n - 1) // 2
        found = np.partition(distances.numpy(), (last - 1, last), axis=None)[last - 1 : last + 1]
        return torch.from_numpy(found).sqrt().mean()
    if mask is not None:
        distances = distances.masked_fill(~(mask[:, None] & mask), torch.inf)
    upper = torch.as_tensor(n + n * (n - 1) / 2, device=distances.device).long()
    ascending = distances.flatten().sort().values
    middle = torch.stack([upper - 1, upper]).clamp(0, ascending.numel() - 1)
    return ascending[middle].sqrt().mean()


def _centred(x: Tensor, n: Any, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the view centred and divided by a power of two, and that power.

    Rows that do not count are 0 afterwards, which in every product is the same as not there.
    """
    gone = None if mask is None else ~mask[:, None]
    if gone is not None:
        x = x.masked_fill(gone, 0.0)
    low, high = x.detach().aminmax()
    exponent = torch.frexp(torch.maximum(-low, high)).exponent.clamp(-100, 100)
    scale = torch.ldexp(torch.ones_like(low), exponent)
    x = x / scale
    for _ in range(2):
        x = x - x.sum(dim=0) / n
        if gone is not None:
            x = x.masked_fill(gone, 0.0)
    return x, scale


def _count(x: Tensor, mask: Tensor | None, settings: Settings) -> tuple[Any, Any]:
    """Return the number of rows that count, and the divisor; NaN where they are too few."""
    if mask is None:
        n: Any = len(x)
    else:
        n = mask.sum().to(x.dtype)
        n = n.masked_fill(n < settings.least, torch.nan)
    return n, n * (n - 3) if settings.unbiased else (n - 1) ** 2


def _by_columns(x: Tensor, y: Tensor, settings: Settings) -> bool:
    return settings.kernel == "linear" and len(x) > max(x.shape[1], y.shape[1])


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b. On the CPU numpy knows AᵀA when it sees one and computes half of it."""
    if a.device.type != "cpu" or a.requires_grad or b.requires_grad:
        return a @ b
    with np.errstate(all="ignore"):
        return torch.from_numpy(a.numpy() @ b.numpy())


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()


def _eps(x: Tensor) -> float:
    return torch.finfo(x.dtype).eps


def _smallest(x: Tensor) -> float:
    """Return what no view reaches in which one number differs from the others at all.

    Magnitudes are at least 1/2 by now, so numbers that differ do so by half of eps; the Gram
    matrix then has a square of that in it, and its squared norm the fourth power.
    """
    return _eps(x) ** 4 / 64
