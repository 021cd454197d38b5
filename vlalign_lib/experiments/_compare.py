"""Every method against every other, with what follows from asking so often."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlalign_lib.experiments._paired import paired_difference
from vlalign_lib.experiments._record import Estimate, Record

PAIRS = {
    "digits": (1000, 797),
    "glyphs": (3043, 800),
    "wikipedia": (2173, 693),
    "names": (4573, 1000),
    "names_compositional": (4613, 800),
    "names_typeface": (5573, 4878),
    "pascal_sentences": (900, 100),
    "nus_wide_10k": (9000, 1000),
    "wikipedia_deep": (2404, 462),
}
"""``{data set: (pairs to learn from, validation included; pairs to test on)}`` of a split."""


@dataclass(frozen=True)
class Comparison:
    """Two methods on one data set, seed by seed.

    Args:
        first: short name of the one method.
        second: short name of the other.
        difference: first − second with its 95 % interval, as if nothing else had been asked.
        p_value: how often chance alone gives a difference as large, two-sided, by the same t.
        adjusted: that number after Holm's correction for all pairs that were compared.
        test_to_train: r, which decides the question that they answer; see :attr:`question`.

    Chapter:
        08, The retrieval table.

    Example:
        >>> one = Comparison("cca", "cfa", Estimate.from_values([0.1, 0.2, 0.3]), 0.07, 0.2)
        >>> one.decided
        False
    """

    first: str
    second: str
    difference: Estimate
    p_value: float
    adjusted: float
    test_to_train: float = 0.0

    @property
    def question(self) -> str:
        """What the p values answer: about other data like these, or about these data only."""
        if self.test_to_train:
            return (
                f"is one better on other data like these? (r = {self.test_to_train:.3g}: the "
                "splits share most of their pairs)"
            )
        return "is one better on average over all splits of these very data? (r = 0)"

    @property
    def decided(self) -> bool:
        """Whether the difference holds at the 5 % level after the correction."""
        return self.adjusted <= 0.05


def compare_methods(
    records: Sequence[Record], metric: str = "map_mean", *, test_to_train: float | None = None
) -> tuple[Comparison, ...]:
    r"""Compare every method with every other on the seeds that they share.

    For two methods with the differences :math:`d_1, \dots, d_S` over S seeds

    .. math::

        t = \frac{\bar d}{s_d \sqrt{\tfrac1S + r}}, \qquad
        p = 2\, P(T_{S-1} > |t|), \qquad
        \tilde p_{(i)} = \max_{j \le i}\, \min\bigl(1,\, (Q - j + 1)\, p_{(j)}\bigr),

    where r says which question is asked. The seeds are random splits of one data set, which share
    most of their rows. *Is one method better on other data like these?* Then S splits tell less
    than S data sets would, and :math:`r = n_\text{test} / n_\text{train}` allows for that: the
    default. *Is it better on average over all splits of these very data?* Then the splits are
    independent draws, r = 0, and with enough of them there is always some difference. The p values
    of all Q pairs are put in order, :math:`p_{(1)} \le \dots \le p_{(Q)}`, and corrected by
    Holm's method: then the chance that any of the decided differences is none at all is 5 % at
    most.

    Args:
        records: one record a method, all of one data set.
        metric: a metric that all of them hold.
        test_to_train: r, test pairs for each training pair; None for that of the data set, whose
            training pairs include those for validation; 0 for the second question.

    Returns:
        One comparison for each of the Q = k(k − 1)/2 pairs of k methods, in the order of the
        records: first with second, first with third, …

    Raises:
        ValueError: fewer than two records, a method twice, several data sets, fewer than two
            common seeds, a metric that one of them lacks, a negative r, or none for a data set
            whose own is not known.

    Source:
        Nadeau, Bengio, "Inference for the generalization error", Machine Learning 52, 2003 (r);
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
        Statistics 6, 1979; Demšar, "Statistical comparisons of classifiers over multiple data
        sets", JMLR 7, 2006, for why the correction is needed.

    Chapter:
        08, The retrieval table.

    Example:
        >>> from dataclasses import replace
        >>> one = Record.example()
        >>> other = replace(one, method="cfa", per_seed={"map_mean": (0.1, 0.21)})
        >>> (found,) = compare_methods([one, other], test_to_train=0.8)
        >>> found.first, found.second, round(found.difference.mean, 3)
        ('cca', 'cfa', 0.095)
        >>> found.question
        'is one better on other data like these? (r = 0.8: the splits share most of their pairs)'
    """
    records = tuple(records)
    methods = [record.method for record in records]
    if len(records) < 2:
        raise ValueError(f"records: needs two methods or more to compare, got {methods}")
    twice = sorted({name for name in methods if methods.count(name) > 1})
    if twice:
        raise ValueError(
            f"records: {', '.join(twice)} stands there twice; give one record a method, of one "
            "data set and tier"
        )
    sets = sorted({record.dataset for record in records})
    if len(sets) > 1:
        raise ValueError(f"records: differences are taken within one data set, got {sets}")
    r = _ratio(sets[0]) if test_to_train is None else test_to_train
    pairs = list(itertools.combinations(records, 2))
    differences = [paired_difference(*pair, metric, test_to_train=r) for pair in pairs]
    p_values = [_p_value(difference) for difference in differences]
    return tuple(
        Comparison(one.method, other.method, difference, p, adjusted, r)
        for (one, other), difference, p, adjusted in zip(
            pairs, differences, p_values, holm(p_values), strict=True
        )
    )


def _ratio(dataset: str) -> float:
    if dataset not in PAIRS:
        raise ValueError(
            f"test_to_train: the split of {dataset!r} is not known here; give test pairs for each "
            "training pair, or 0 to ask about splits of these very data alone"
        )
    learned, tested = PAIRS[dataset]
    return tested / learned


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Return p values corrected for their number by Holm's method, in the order given.

    .. math::

        \tilde p_{(i)} = \max_{j \le i}\, \min\bigl(1,\, (Q - j + 1)\, p_{(j)}\bigr)

    Args:
        p_values: Q numbers from 0 to 1.

    Returns:
        Q numbers; those of at most 0.05 are decided, with a chance of 5 % at most that any of
        them is wrong.

    Raises:
        ValueError: no number, or one that is not between 0 and 1.

    Source:
        Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
        Statistics 6, 1979.

    Chapter:
        08, The retrieval table.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or p.size == 0 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p_values: expected numbers from 0 to 1, got {p_values!r}")
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(steps)
    return [float(value) for value in adjusted]


def _p_value(difference: Estimate) -> float:
    """Return the two-sided p value that belongs to an interval of Student's t."""
    from scipy.special import stdtr, stdtrit

    if difference.half_width is None:
        raise ValueError("one common seed has no spread: compare methods over two seeds or more")
    freedom = difference.n - 1
    error = difference.half_width / float(stdtrit(freedom, 0.975))
    if error == 0:
        return 1.0 if difference.mean == 0 else 0.0
    return float(2 * stdtr(freedom, -math.fabs(difference.mean / error)))
