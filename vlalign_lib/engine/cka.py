"""HSIC of two views and of each with itself, in numpy, with the gradient in closed form.

P(K) is an orthogonal projection of the Gram matrix, so that the derivative of ⟨P(K), P(L)⟩ by K
is P(L). For a batch of 16 that is fewer steps than autograd takes for three lines of plain torch;
for large ones numpy knows AᵀA when it sees one and computes half of it, and nothing is kept that
is not used. Masks, other devices and transforms are left to the plain form, and so are second
derivatives.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlalign_lib._fast import plain_of
from vlalign_lib._tensors import is_transformed

Matrix = NDArray[Any]
ROUNDING, FAR, NARROWEST = 16.0, 30.0, 1e-18  # as in the plain form


def hsic_terms(
    x: Tensor, y: Tensor, settings: Any, mask: Tensor | None = None, own: bool = True
) -> Any:
    """Return the terms of two views (8,), as the plain form of the same name."""
    if mask is not None or x.device.type != "cpu" or is_transformed(x, y):
        return NotImplemented
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        return _Terms.apply(x, y, settings, own)
    return x.new_tensor(_Pair(x, y, settings, own).values)


def median_squares(x: Tensor, n: Any, mask: Tensor | None = None) -> Any:
    """Return the two middle squared distances of different rows, and the middle squared length."""
    if mask is not None or x.device.type != "cpu" or is_transformed(x):
        return NotImplemented
    distances, norms = _squared_distances(x.detach().numpy())
    return x.new_tensor(_middle(distances, norms))


class _Terms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, settings: Any, own: bool) -> Tensor:
        ctx.save_for_backward(x, y)
        ctx.rest = settings, None, own
        ctx.pair = _Pair(x, y, settings, own)
        return x.new_tensor(ctx.pair.values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        views, wanted = ctx.saved_tensors, ctx.needs_input_grad[:2]
        if torch.is_grad_enabled() or is_transformed(grad):  # derivatives of this gradient
            with torch.enable_grad(), torch.autocast("cpu", enabled=False):
                terms = plain_of("hsic_terms")(*views, *ctx.rest)
                inputs = [view for view, want in zip(views, wanted, strict=True) if want]
                found = iter(torch.autograd.grad(terms, inputs, grad, create_graph=True))
            return *(next(found) if want else None for want in wanted), None, None
        slopes = grad.tolist()
        return *(ctx.pair.pull(i, slopes) if wanted[i] else None for i in (0, 1)), None, None


class _Pair:
    """Two views, their terms, and the way back from the terms to the views."""

    def __init__(self, x: Tensor, y: Tensor, settings: Any, own: bool) -> None:
        self.n, self.unbiased, self.rbf = len(x), settings.unbiased, settings.kernel == "rbf"
        self.divisor = self.n * (self.n - 3) if self.unbiased else (self.n - 1) ** 2
        self.eps = torch.finfo(x.dtype).eps
        self.own = own
        with np.errstate(all="ignore"):
            (a, scale_x), (b, scale_y) = _centred(x), _centred(y)
            self.views, self.scales, self.sigmas = (a, b), (scale_x, scale_y), [math.inf] * 2
            self.by_columns = not self.rbf and self.n > max(a.shape[1], b.shape[1])
            terms = self._from_columns() if self.by_columns else self._from_rows(settings)
        xy, xx, yy = (term / self.divisor for term in terms)
        # Infinitely long is a view without variation: CKA and its gradient are 0.
        self.lengths = [math.sqrt(own) if own > 0 else own or math.inf for own in (xx, yy)]
        self.cka = xy / self.lengths[0] / self.lengths[1]
        sigmas = (sigma * scale for sigma, scale in zip(self.sigmas, self.scales, strict=True))
        self.values = [xy, xx, yy, self.cka, *self.scales, *sigmas]

    def _from_columns(self) -> list[float]:
        a, b = self.views
        self.norms = [np.einsum("ij,ij->i", v, v) for v in self.views] if self.unbiased else []
        self.cross = _product(a.T, b)
        terms = [_inner(self.cross, self.cross) + self._diagonal(0, 1), 0.0, 0.0]
        self.squares = [_product(v.T, v) for v in self.views] if self.own else []
        for i, square in enumerate(self.squares):
            whole = _inner(square, square)
            noise = ROUNDING * self.eps * whole if self.unbiased else 0.0
            terms[1 + i] = self._varying(whole + self._diagonal(i, i), noise)
        return terms

    def _from_rows(self, settings: Any) -> list[float]:
        self.kernels, self.grams, sizes = [], [], []
        for i, view in enumerate(self.views):
            if not self.rbf:
                gram = _product(view, view.T)
                sizes.append(float(gram.trace()))
            else:
                gram, norms = _squared_distances(view)
                spread = float(norms.sum())
                if settings.sigma is not None:
                    sigma = max(settings.sigma[i] / self.scales[i], NARROWEST)
                else:
                    low, high, length = _middle(gram, norms)
                    noise = 2 * ROUNDING * self.eps * length
                    low, high = (0.0 if m <= noise else math.sqrt(m) for m in (low, high))
                    sigma = settings.bandwidth * (low + high) / 2
                flat = spread <= self.eps**2 / 16 or sigma == 0
                rate = 0.0 if flat else 0.5 / sigma / sigma
                typical = min(2 * rate * spread / self.n, FAR)
                level = math.exp(-typical)
                gram *= -rate
                gram += typical
                np.expm1(gram, out=gram)
                gram *= level
                self.kernels.append((gram, level))
                self.sigmas[i] = sigma
                sizes.append(typical * level * self.n)
            centred = self.rbf or self.unbiased
            self.grams.append(_project(gram, self.unbiased) if centred else gram)
        k, m = self.grams
        if not self.own:
            return [_inner(k, m), 0.0, 0.0]
        noises = [(ROUNDING * self.eps * size) ** 2 for size in sizes]
        own = [self._varying(_inner(g, g), e) for g, e in zip(self.grams, noises, strict=True)]
        return [_inner(k, m), *own]

    def _diagonal(self, i: int, j: int) -> float:
        """Return what the unbiased form adds to the inner product of two Gram matrices."""
        if not self.unbiased:
            return 0.0
        n, a, b = self.n, self.norms[i], self.norms[j]
        whole = float(a.sum()) * float(b.sum()) / ((n - 1) * (n - 2))
        return whole - n / (n - 2) * float(a @ b)

    def _varying(self, value: float, noise: float) -> float:
        """Return a term of one view, 0 where it is no more than its rounding."""
        return 0.0 if value <= max(noise, self.eps**4 / 64) else value

    def pull(self, i: int, slopes: list[float]) -> Tensor:
        """Return the gradient of view ``i`` from those of xy, xx, yy and CKA."""
        cross, own = slopes[0] / self.divisor, 0.0
        if self.own:
            slope = slopes[3] / self.divisor
            cross += slope / self.lengths[0] / self.lengths[1]
            share = self.cka * slope / 2 / self.lengths[i] / self.lengths[i]
            own = slopes[1 + i] / self.divisor - share
        with np.errstate(all="ignore"):
            cross, own = 2 * cross / self.scales[i], 4 * own / self.scales[i]
            pull = self._pull_columns if self.by_columns else self._pull_rows
            return torch.from_numpy(pull(i, cross, own))

    def _pull_columns(self, i: int, cross: float, own: float) -> Matrix:
        view, other = self.views[i], self.views[1 - i]
        grad = _product(other, cross * (self.cross.T if i == 0 else self.cross))
        if self.own:
            grad += _product(view, own * self.squares[i])
        if self.unbiased:
            n, slope = self.n, np.zeros_like(self.norms[i])
            for weight, norm in ((cross, self.norms[1 - i]), (own, self.norms[i])):
                slope += weight * (norm.sum() / ((n - 1) * (n - 2)) - n / (n - 2) * norm)
            grad += slope[:, None] * view
            grad -= grad.mean(axis=0)  # centred last, as the view was first
        return grad

    def _pull_rows(self, i: int, cross: float, own: float) -> Matrix:
        """By K first, then from K to the rows; those of P add up to 0, and nothing is to centre."""
        view = self.views[i]
        if self.rbf:
            rate = 1 / self.sigmas[i] / self.sigmas[i] if self.sigmas[i] else 0.0
            cross, own = cross * rate, own * rate
        slope = cross * self.grams[1 - i]
        if self.own:
            slope += own * self.grams[i]
        if not self.rbf:
            return _product(slope, view)
        kernel, level = self.kernels[i]
        slope *= kernel + level  # from which the level was taken off
        return _product(slope, view) - slope.sum(axis=1, keepdims=True) * view


def _centred(x: Tensor) -> tuple[Matrix, float]:
    """Return the view centred and divided by a power of two, and that power."""
    values = x.detach().numpy()
    low, high = x.detach().aminmax()
    largest = max(-float(low), float(high))
    most = 126 if x.dtype == torch.float32 else 1022
    exponent = math.frexp(largest)[1]
    scale = math.ldexp(1.0, min(max(exponent, -most), most))
    values = values * (1 / scale)
    for _ in range(2):
        values -= np.add.reduce(values, axis=0) / len(values)
    return values, scale


def _project(gram: Matrix, unbiased: bool) -> Matrix:
    """Return P(K)."""
    n = len(gram)
    if unbiased:
        np.fill_diagonal(gram, 0)  # before it can drown the others in the sums
    means = gram.sum(axis=1) / (n - 2 if unbiased else n)
    means -= means.sum() / (2 * (n - 1 if unbiased else n))
    gram = gram - means[:, None]
    gram -= means
    if unbiased:
        np.fill_diagonal(gram, 0)
    return gram


def _squared_distances(x: Matrix) -> tuple[Matrix, Matrix]:
    """Return the squared distances of all rows (n, n), and the squared lengths of the rows."""
    distances = _product(x, x.T)
    norms = distances.diagonal().copy()
    distances *= -2
    distances += norms[:, None]
    distances += norms
    return np.maximum(distances, 0, out=distances), norms


def _middle(distances: Matrix, norms: Matrix) -> tuple[float, float, float]:
    """Return the two middle distances of different rows, by partition, and the middle length."""
    below = distances[np.tri(len(distances), k=-1, dtype=bool)]
    half = len(below) // 2
    below.partition(half)
    lower = below[half] if len(below) % 2 else below[:half].max()
    middle = (len(norms) - 1) // 2
    return float(lower), float(below[half]), float(np.partition(norms, middle)[middle])


def _product(a: Matrix, b: Matrix) -> Matrix:
    """Return a @ b: by numpy where half of AᵀA saves more than waking its threads costs."""
    if a.size > 2**16:
        return np.asarray(a @ b)
    return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()


def _inner(a: Matrix, b: Matrix) -> float:
    """Return ⟨A, B⟩, row by row without a temporary."""
    return float(np.einsum("ij,ij->i", a, b).sum())
