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
mean is what rounding left of a large first one. The rbf kernel enters as its difference from its
level at the mean squared distance, which centring cannot tell from itself, so that the digits
are those of what varies: neither a wide kernel near 1 nor a narrow one near 0 loses any.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlalign_lib._tensors import without_autocast
from vlalign_lib.similarity._views import Settings

Parts = list[Tensor]
_ROUNDING = 16.0  # what is smaller than so many units of rounding is no variation
_FAR = 30.0  # exponents beyond it do not count as the level of an rbf kernel
_NARROWEST = 1e-18  # of a kernel, beside a view of size 1; its square is a number in float32 too


class Terms(NamedTuple):
    """HSIC of the views divided by ``scales``; xx, yy are exactly 0 where a view does not vary.

    ``cka`` is then 0, without a gradient. ``sigmas`` are the widths of the rbf kernels in the
    units of the data, 0 for linear ones.
    """

    xy: Tensor
    xx: Tensor
    yy: Tensor
    cka: Tensor
    scales: Tensor
    sigmas: Tensor


def hsic_terms(
    x: Tensor, y: Tensor, settings: Settings, mask: Tensor | None = None, *, own: bool = True
) -> Terms:
    """Return the terms of two views (n, p), (n, q), of which only the rows in ``mask`` count.

    Nothing waits for a device, and NaN goes through. Without ``own`` only xy is computed, and
    xx, yy and cka are 0.
    """
    with without_autocast(x.device):
        return Terms(*_Terms.apply(x, y, mask, settings, own))


class _Terms(torch.autograd.Function):
    """The terms with their gradient in closed form; higher orders go through autograd."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, y: Tensor, mask: Tensor | None, settings: Settings, own: bool
    ) -> tuple[Tensor, ...]:
        terms, parts = _evaluate(x.detach(), y.detach(), mask, settings, own)
        ctx.save_for_backward(x, y, mask, *parts)
        ctx.settings, ctx.own = settings, own
        ctx.mark_non_differentiable(*terms[4:])
        return terms

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x, y, mask, *parts = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        with without_autocast(x.device):
            if not torch.is_grad_enabled():
                pulled = _pull(parts, mask, ctx.settings, grads[:4], wanted)
            else:  # somebody wants derivatives of this gradient
                terms, _ = _evaluate(x, y, mask, ctx.settings, ctx.own)
                used = 4 if ctx.own else 1
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
        # Noise in an entry is a rounding of the two lengths, in all of them one of the trace.
        sizes = [gram.diagonal().sum() for gram in grams]
        parts = [_project(gram, n, mask, settings) for gram in grams]
        values = _inner_products(parts, sizes, own)
    else:
        grams, levels, sizes = [], [], []
        for i, view in enumerate((x, y)):
            distances, spread = _squared_distances(view)
            if settings.sigma is None:
                sigmas[i] = settings.bandwidth * _median(distances.detach(), spread, n, mask)
            else:
                sigmas[i] = (settings.sigma[i] / scales[i]).clamp(min=_NARROWEST)
            # A view without variation has a kernel without any; of width 0 there is none.
            flat = (spread.sum() <= _eps(x) ** 2 / 16) | (sigmas[i] == 0)
            rate = (0.5 / sigmas[i] ** 2).masked_fill(flat, 0.0)
            typical = (2 * rate * spread.sum() / n).clamp(max=_FAR)
            grams.append(_rbf(distances, rate, typical))
            levels.append((-typical).exp())
            sizes.append(typical * levels[i] * n)
        parts = [_project(gram, n, mask, settings) for gram in grams]
        values = _inner_products(parts, sizes, own)
        parts += [*grams, *levels]
    xy, xx, yy = (value / divisor for value in values)
    # Infinitely long is a view without variation: CKA and its gradient are 0.
    length_x, length_y = (own.masked_fill(own == 0, torch.inf).sqrt() for own in (xx, yy))
    cka = xy / length_x / length_y
    parts = [x, y, scales, sigmas, cka, length_x, length_y, *parts]
    return (xy, xx, yy, cka, scales, sigmas * scales), parts


def _pull(
    parts: Parts,
    mask: Tensor | None,
    settings: Settings,
    grads: tuple[Tensor, ...],
    wanted: tuple[bool, ...],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of the views."""
    x, y, scales, sigmas, cka, length_x, length_y, *parts = parts
    n, divisor = _count(x, mask, settings)
    grad_xy, grad_xx, grad_yy, grad_cka = (grad / divisor for grad in grads)
    cross = grad_xy + grad_cka / length_x / length_y
    share = cka * grad_cka / 2
    own = grad_xx - share / length_x / length_x, grad_yy - share / length_y / length_y
    pulled: list[Tensor | None] = [None, None]
    for i, view in enumerate((x, y)):
        if not wanted[i]:
            continue
        if _by_columns(x, y, settings):
            grad = _pull_columns((x, y), i, parts, cross, own[i], n, settings.unbiased)
            grad /= scales[i]
        else:
            # By K first, then from K to the rows. The rows of P add up to 0, so that shifting
            # a view changes nothing, and nothing is left to centre.
            factor = 2 / scales[i]
            if settings.kernel == "rbf":
                factor = (factor / sigmas[i] ** 2).masked_fill(sigmas[i] == 0, 0.0)
            slope = parts[1 - i] * (factor * cross)
            slope.addcmul_(parts[i], 2 * factor * own[i])
            if settings.kernel == "linear":
                grad = slope @ view
            else:
                # Times the kernel, from which its level was taken off.
                slope = (slope * parts[4 + i]).addcmul_(slope, parts[2 + i])
                grad = slope @ view
                grad.addcmul_(slope.sum(dim=1, keepdim=True), view, value=-1)
        pulled[i] = grad if mask is None else grad.masked_fill_(~mask[:, None], 0.0)
    return tuple(pulled)


def _columns(x: Tensor, y: Tensor, n: Any, unbiased: bool, own: bool) -> tuple[list[Tensor], Parts]:
    """Return the terms of linear kernels from products of columns, and these products."""
    norms = [_inner_rows(view, view) for view in (x, y)] if unbiased else []
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
        flat = whole <= _smallest(x)
        if unbiased:
            value = whole + _without_diagonal(norms[i], norms[i], n)
            flat = flat | (value <= _ROUNDING * _eps(x) * whole)
        values.append(value.masked_fill(flat, 0.0))
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
        grad.addmm_(view, 4 * own * squares[i])
    if unbiased:
        slope = torch.zeros_like(norms[i])
        for weight, norm in ((2 * cross, norms[1 - i]), (4 * own, norms[i])):
            slope += weight * (norm.sum() / ((n - 1) * (n - 2)) - n / (n - 2) * norm)
        grad.addcmul_(slope[:, None], view)
        grad -= grad.sum(dim=0) / n  # centred last, as the view was first
    return grad


def _inner_products(parts: Parts, sizes: list[Tensor], own: bool) -> list[Tensor]:
    """Return the terms from P of both Gram matrices, 0 where one is no more than its rounding."""
    cross = _inner(parts[0], parts[1])
    if not own:
        return [cross, torch.zeros_like(cross), torch.zeros_like(cross)]
    values = [cross]
    for part, size in zip(parts, sizes, strict=True):
        value = _inner(part, part)
        noise = (_ROUNDING * _eps(part) * size) ** 2
        values.append(value.masked_fill((value <= noise) | (value <= _smallest(part)), 0.0))
    return values


def _project(gram: Tensor, n: Any, mask: Tensor | None, settings: Settings) -> Tensor:
    """Return P(K): centred by rows and columns, the diagonal left out in the unbiased form."""
    if settings.kernel == "linear" and not settings.unbiased:
        return gram  # the rows are centred
    gone = None if mask is None else ~(mask[:, None] & mask)
    if gone is not None:
        gram = gram.masked_fill(gone, 0.0)
    if settings.unbiased:
        gram.diagonal().zero_()  # before it can drown the others in the sums
        means = gram.sum(dim=1) / (n - 2)
        means = means - means.sum() / (2 * (n - 1))
    else:
        means = gram.sum(dim=1) / n
        means = means - means.sum() / (2 * n)
    gram = gram - means[:, None]
    gram -= means
    if settings.unbiased:
        gram.diagonal().zero_()
    return gram if gone is None else gram.masked_fill(gone, 0.0)


def _rbf(distances: Tensor, rate: Tensor, typical: Tensor) -> Tensor:
    """Return exp(−rate d²) − exp(−typical) in place of the squared distances."""
    kernel = distances.mul_(-rate).add_(typical).expm1_()
    level = (-typical).exp()
    return kernel * level if kernel.requires_grad else kernel.mul_(level)


def _squared_distances(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared distances of all rows (n, n), and the squared lengths of the rows."""
    products = _product(x, x.mT)
    norms = products.diagonal().clone()
    distances = products.mul_(-2).add_(norms[:, None]).add_(norms)
    return distances.clamp_(min=0), norms.detach()


def _median(distances: Tensor, norms: Tensor, n: Any, mask: Tensor | None) -> Tensor:
    """Return the median distance between two different rows; 0 where it is mere rounding.

    By partition on the CPU; by sorting elsewhere, where the n zeros of the diagonal come first,
    and then every distance twice.
    """
    if mask is None and distances.device.type == "cpu":
        below = distances.numpy()[np.tri(n, k=-1, dtype=bool)]
        half = len(below) // 2
        below.partition(half)
        lower = below[half] if len(below) % 2 else below[:half].max()
        middle = distances.new_tensor([lower, below[half]])
        typical = norms.median()
    else:
        if mask is not None:
            distances = distances.masked_fill(~(mask[:, None] & mask), torch.inf)
            norms = norms.masked_fill(~mask, torch.inf)
        upper = n + n * (n - 1) / 2
        middle = _sorted_at(distances.flatten(), upper - 1, upper)
        typical = _sorted_at(norms, (n - 1) / 2)
    # Equal rows may differ by rounding, the more the longer they are.
    middle = middle.masked_fill(middle <= 2 * _ROUNDING * _eps(distances) * typical, 0.0)
    return middle.sqrt().mean()


def _sorted_at(values: Tensor, *places: Any) -> Tensor:
    """Return what stands at some places, rounded down, once sorted; the host is not waited for."""
    found = values.sort().values
    indices = torch.stack([torch.zeros_like(found[0]) + place for place in places])
    return found[indices.long().clamp(0, found.numel() - 1)]


def _centred(x: Tensor, n: Any, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the view centred and divided by a power of two, and that power.

    Rows that do not count are 0 afterwards, which in every product is the same as not there.
    """
    gone = None if mask is None else ~mask[:, None]
    if gone is not None:
        x = x.masked_fill(gone, 0.0)
    scale = _power_of_two(x.detach())
    x = x / scale
    for _ in range(2):
        x -= x.mean(dim=0) if mask is None else x.sum(dim=0) / n
        if gone is not None:
            x = x.masked_fill(gone, 0.0)
    return x, scale


def _power_of_two(x: Tensor) -> Tensor:
    """Return the power of two above the largest magnitude, within what divides without loss."""
    low, high = x.aminmax()
    if x.device.type == "cpu":  # where nothing has to be waited for, Python is quicker
        largest = 126 if x.dtype == torch.float32 else 1022
        exponent = math.frexp(max(-float(low), float(high)))[1]
        return x.new_tensor(math.ldexp(1.0, min(max(exponent, -largest), largest)))
    return _power_on_device(torch.maximum(-low, high))


def _power_on_device(largest: Tensor) -> Tensor:
    """Return the power of two above a number from the bits of its exponent: exactly, anywhere."""
    whole, bits = (torch.int32, 23) if largest.dtype == torch.float32 else (torch.int64, 52)
    bias = 127 if bits == 23 else 1023
    exponent = (largest.view(whole) >> bits) - (bias - 1)  # of a number that is not negative
    exponent = exponent.clamp(1 - bias, bias - 1)
    return ((exponent + bias) << bits).view(largest.dtype)


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


def _on_paper(*tensors: Tensor) -> bool:
    """Tell whether numpy may do it: on the CPU, and autograd does not have to follow."""
    return all(t.device.type == "cpu" and not t.requires_grad for t in tensors)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b. Numpy knows AᵀA when it sees one and computes half of it."""
    if not _on_paper(a, b):
        return a @ b
    with np.errstate(all="ignore"):
        return torch.from_numpy(a.numpy() @ b.numpy())


def _inner_rows(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each row with its partner, by numpy without a temporary."""
    if not _on_paper(a, b):
        return (a * b).sum(dim=1)
    with np.errstate(all="ignore"):
        return torch.from_numpy(np.einsum("ij,ij->i", a.numpy(), b.numpy()))


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return _inner_rows(a, b).sum()


def _eps(x: Tensor) -> float:
    return torch.finfo(x.dtype).eps


def _smallest(x: Tensor) -> float:
    """Return what no linear term reaches in which one number differs from the others at all.

    Magnitudes are at least 1/2 by now, so numbers that differ do so by half of eps; the Gram
    matrix then has a square of that in it, and its squared norm the fourth power.
    """
    return _eps(x) ** 4 / 64
