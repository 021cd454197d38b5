"""How far a number may be trusted: bootstrap intervals over queries."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vlalign_lib._validate import as_array, as_seed, is_one_of

Statistic = Literal["mean", "median"] | Callable[[NDArray[np.float64]], float]
DRAWS_AT_ONCE = 2_000_000
MOST_RESAMPLES = 1_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval around it.

    Attributes:
        estimate: the statistic of all values.
        low: lower end.
        high: upper end.
        level: the share of such intervals that should cover the truth.

    Chapter:
        1, A multimodal world.

    Example:
        >>> interval = Interval(0.31, low=0.29, high=0.34)
        >>> print(f"{interval:.2f}")
        0.31 [0.29, 0.34]
        >>> round(interval.half_width, 3)
        0.025
    """

    estimate: float
    low: float
    high: float
    level: float = 0.95

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return f"{self:.3f}"

    def __format__(self, spec: str) -> str:
        """Format the three numbers with ``spec``: ``f"{interval:.2f}"`` is 0.31 [0.29, 0.33]."""
        spec = spec or ".3f"
        return f"{self.estimate:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def bootstrap_interval(
    values: ArrayLike,
    *,
    statistic: Statistic = "mean",
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    r"""Return a percentile bootstrap interval over queries.

    .. math::

        \bigl[\hat F^{-1}\bigl(\tfrac{1 - \gamma}{2}\bigr),\;
              \hat F^{-1}\bigl(\tfrac{1 + \gamma}{2}\bigr)\bigr], \qquad
        \hat F \text{ the distribution of } T(x^*_1, \dots, x^*_n)

    over samples :math:`x^*` of n values drawn with replacement, γ the level, T the statistic. It
    says how much the number would move with other queries of the same kind; it knows nothing of
    other training seeds or splits. To compare two methods on the same queries, pass the
    differences of their values: two overlapping intervals do not mean that the methods are equal.
    Where all values are equal the interval has no width, however few they are.

    Args:
        values: (n,) one number a query, from :func:`average_precisions` or :func:`ranks`.
        statistic: ``"mean"``, ``"median"``, or a function of an array (n,).
        level: between 0 and 1.
        n_resamples: bootstrap samples, 100 to a million.
        seed: a whole number for ``np.random.default_rng``; the same seed and number of queries
            draw the same queries, so that intervals of several metrics belong together.

    Returns:
        The statistic of all values and its interval.

    Raises:
        ValueError: fewer than two values, NaN or infinity, a level, a number of samples or a seed
            that makes no sense, or a statistic that returns no finite number.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Chapter:
        1, A multimodal world.

    Example:
        >>> import numpy as np
        >>> interval = bootstrap_interval(np.arange(100) % 2)
        >>> print(f"{interval:.2f}")
        0.50 [0.40, 0.60]
    """
    array = as_array(values, "values")
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise ValueError(
            f"values: expected (n,), one number a query, got {array.dtype} {array.shape}; "
            "average_precisions and ranks give them"
        )
    check_bootstrap(len(array), level, n_resamples, seed)
    check_statistic(statistic)
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError("values: hold NaN or infinity; every query needs a number")
    samples = resample(array[:, None], statistic, n_resamples, seed)[:, 0]
    return percentile_interval(_apply(statistic, array[None, :, None])[0, 0], samples, level)


def check_bootstrap(n: int, level: float, n_resamples: int, seed: int) -> None:
    """Raise a ValueError where no interval can be drawn."""
    if n < 2:
        raise ValueError(f"an interval needs at least 2 queries, got {n}")
    if not (isinstance(level, float | np.floating) and 0 < level < 1):
        raise ValueError(f"level: expected a share between 0 and 1 such as 0.95, got {level!r}")
    whole = isinstance(n_resamples, int | np.integer) and not isinstance(n_resamples, bool)
    if not (whole and 100 <= n_resamples <= MOST_RESAMPLES):
        raise ValueError(
            f"n_resamples: expected at least 100, at most {MOST_RESAMPLES:,} and a whole number, "
            f"got {n_resamples!r}; with fewer the ends of the interval are noise, with more they "
            "stay where they are"
        )
    as_seed(seed)


def check_statistic(statistic: Any) -> None:
    """Raise a ValueError unless ``statistic`` is a known name or can be called."""
    if not callable(statistic) and not is_one_of(statistic, ("mean", "median")):
        raise ValueError(
            f"statistic: expected 'mean', 'median' or a function of an array, got {statistic!r}"
        )


def resample(
    values: NDArray[np.float64], statistic: Statistic, n_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return the statistic of every column of ``values`` (n, c) in every sample: (samples, c).

    All columns share their draws.
    """
    n = len(values)
    rng = np.random.default_rng(seed)
    step = max(1, DRAWS_AT_ONCE // n)
    parts = []
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        drawn = rng.integers(0, n, size=(size, n))
        if statistic == "mean":
            cells = drawn + n * np.arange(size)[:, None]
            times = np.bincount(cells.ravel(), minlength=size * n).reshape(size, n)
            parts.append(times @ values / n)
        else:
            parts.append(_apply(statistic, values[drawn]))
    return np.concatenate(parts)


def percentile_interval(estimate: float, samples: NDArray[np.float64], level: float) -> Interval:
    """Return the interval between two percentiles of the samples of a statistic."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high), level)


def _apply(statistic: Statistic, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply the statistic along axis 1 of (samples, n, c)."""
    if statistic == "mean":
        return values.mean(axis=1)
    if statistic == "median":
        return np.asarray(np.median(values, axis=1))
    results = np.empty((values.shape[0], values.shape[2]))
    for row, sample in zip(results, values, strict=True):
        row[:] = [_number(statistic(column)) for column in sample.T]
    return results


def _number(value: Any) -> float:
    """Return what a statistic gave as a float, or say that it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"statistic: expected one finite number for an array (n,), got {value!r}")
    return number
