"""CKA over a data set that does not fit into one batch."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
import torch.distributed as dist

from vlalign_lib.similarity._views import Kernel, Settings, as_rows, check_terms
from vlalign_lib.similarity.hsic import terms_of


class MinibatchCKA:
    r"""Accumulate CKA over batches: the three unbiased HSIC terms apart, and one ratio at the end.

    .. math::

        \mathrm{CKA} = \frac{\sum_b \mathrm{HSIC}_u(K_b, L_b)}
            {\sqrt{\sum_b \mathrm{HSIC}_u(K_b, K_b) \; \sum_b \mathrm{HSIC}_u(L_b, L_b)}}

    Each term is unbiased whatever the size of the batches, so the ratio comes near the unbiased
    CKA of the whole set; a mean of the batches' ratios does not. Every batch counts once; leave
    out a last one that is much smaller than the others, which would add as much noise as they.

    With an rbf kernel give ``sigma``: the median distance differs from batch to batch, and with
    it what is averaged.

    Args:
        kernel: ``"linear"`` or ``"rbf"``, as for ``cka``.
        bandwidth: Width of the rbf kernel as a multiple of the batch's median distance.
        sigma: Width in the units of the data, one for both views or a pair for (x, y).

    Attributes:
        n_batches: How many batches are in it.
        n_rows: How many rows.

    Raises:
        ValueError: another kernel, a width that is not greater than 0.

    Source:
        Nguyen, Raghu and Kornblith, "Do wide and deep networks learn the same things?", ICLR
        2021.

    Chapter:
        9, Measuring alignment.

    Example:
        >>> import numpy as np
        >>> from vlalign_lib.similarity import cka
        >>> x = np.random.default_rng(0).normal(size=(400, 5))
        >>> y = np.tanh(x) + np.random.default_rng(1).normal(size=(400, 5))
        >>> whole = MinibatchCKA()
        >>> for start in range(0, 400, 40):
        ...     whole.update(x[start : start + 40], y[start : start + 40])
        >>> abs(whole.compute() - cka(x, y, unbiased=True)) < 0.05
        True
    """

    def __init__(
        self,
        *,
        kernel: Kernel = "linear",
        bandwidth: float = 0.5,
        sigma: float | tuple[float, float] | None = None,
    ) -> None:
        self._settings = Settings(kernel, True, bandwidth, sigma)
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self._terms = [0.0, 0.0, 0.0]  # xy, xx, yy; Python's floats have 64 bits
        self.n_batches = 0
        self.n_rows = 0

    def update(self, x: Any, y: Any, *, mask: Any = None) -> None:
        """Add a batch, without a gradient.

        Args:
            x: (n, p) one view, tensor or array, at least 4 rows.
            y: (n, q) the other, row i the partner of row i.
            mask: (n,) booleans, True for the rows that count.

        Raises:
            ValueError: as ``cka``; a view that does not vary within the batch is no error here,
                and adds nothing.
        """
        x, y, _ = as_rows(x, y, mask, self._settings)
        terms = terms_of(x.detach(), y.detach(), self._settings)
        check_terms(terms, x, y)
        a, b = 1.0, 1.0
        if self._settings.kernel == "linear":
            a, b = float(terms.scale_x), float(terms.scale_y)
        sums = [
            self._terms[0] + float(terms.xy) * a * b * a * b,
            self._terms[1] + float(terms.xx) * a * a * a * a,
            self._terms[2] + float(terms.yy) * b * b * b * b,
        ]
        if not all(map(math.isfinite, sums)):
            raise ValueError(
                "x, y: the fourth powers of such large numbers add up to infinity; "
                "divide the views by a number, the same one in every batch"
            )
        self._terms = sums
        self.n_batches += 1
        self.n_rows += len(x)

    def merge(self, other: MinibatchCKA) -> Self:
        """Add the batches of another one, and return this one.

        Args:
            other: Of the same kernel and width; it stays as it is.

        Raises:
            ValueError: another thing, kernel or width.
        """
        if not isinstance(other, MinibatchCKA):
            raise ValueError(f"other: expected a MinibatchCKA, got {type(other).__name__}")
        if other._settings != self._settings:
            raise ValueError(
                f"{other!r} measures something else than {self!r}; use the same kernel"
            )
        self._terms = [
            mine + theirs for mine, theirs in zip(self._terms, other._terms, strict=True)
        ]
        self.n_batches += other.n_batches
        self.n_rows += other.n_rows
        return self

    def compute(self, *, gather: bool = False) -> float:
        """Return the CKA of all batches so far, in [−1, 1].

        Args:
            gather: Over all processes of ``torch.distributed``, which then all have to call it;
                what this one holds stays its own.

        Raises:
            ValueError: no batches, or a view that varied in none of them.
        """
        state = [*self._terms, float(self.n_batches)]
        if gather and dist.is_available() and dist.is_initialized():
            state = _summed(state)
        xy, xx, yy, batches = state
        if batches == 0:
            raise ValueError("no batches so far; call update(x, y) first")
        for own, name in ((xx, "x"), (yy, "y")):
            if own == 0:
                raise ValueError(
                    f"{name}: did not vary within any of the {batches:g} batches, and CKA with a "
                    "constant view is 0/0; the representation has collapsed, or the batches are "
                    "sorted: shuffle them"
                )
        return xy / math.sqrt(xx) / math.sqrt(yy)

    def __repr__(self) -> str:
        shown = f"kernel={self._settings.kernel!r}"
        if self._settings.kernel == "rbf":
            width = "bandwidth" if self._settings.sigma is None else "sigma"
            shown += f", {width}={getattr(self._settings, width)!r}"
        return f"MinibatchCKA({shown})"


def _summed(numbers: list[float]) -> list[float]:
    """Return the sums over all processes."""
    on_cpu = "cpu:" in dist.get_backend_config()
    accelerator = None if on_cpu else torch.accelerator.current_accelerator()
    total = torch.tensor(numbers, dtype=torch.float64, device=accelerator or "cpu")
    dist.all_reduce(total)
    found: list[float] = total.tolist()
    return found
