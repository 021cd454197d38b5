"""Differences between two records, seed by seed."""

from __future__ import annotations

from vlalign_lib.experiments._record import Estimate, Record


def paired_difference(
    first: Record, second: Record, metric: str, *, test_to_train: float = 0.0
) -> Estimate:
    r"""Return the mean of ``first`` − ``second`` over seeds, with its 95 % interval.

    Seed by seed both records saw the same split. What it does to both of them falls out of the
    differences :math:`d_s = a_s - b_s`:

    .. math:: \bar d \pm t_{0.975,\,S-1}\, s_d \sqrt{\tfrac1S + r}

    over S seeds. r says which question is asked. With r = 0 it is about the mean over all splits
    of these very data, of which S were drawn. Other data would differ more than these splits do,
    which share most of their training pairs: :math:`r = n_\text{test} / n_\text{train}` allows
    for that, and is what :func:`compare_methods` takes by itself.

    Args:
        first: a record.
        second: a record of the same data set and seeds.
        metric: a metric that both hold.
        test_to_train: r, test pairs for each training pair.

    Returns:
        The estimate over the seeds that both records share.

    Raises:
        ValueError: different data, no common seed, a metric that one of them lacks, or an r that
            is negative or not finite.

    Source:
        Nadeau, Bengio, "Inference for the generalization error", Machine Learning 52, 2003, for r.

    Chapter:
        02, where every fusion is compared with the single view; 08, for r.

    Example:
        >>> paired_difference(Record.example(), Record.example(), "map_mean").mean
        0.0
    """
    for record in (first, second):
        if metric not in record.per_seed:
            raise ValueError(f"{record.key} has no metric {metric!r}; it has {[*record.per_seed]}")
    common = [seed for seed in first.seeds if seed in second.seeds]
    if not common:
        raise ValueError(f"{first.key} and {second.key} share no seed: nothing to pair")
    for seed in common:
        if first.data_hashes.get(str(seed)) != second.data_hashes.get(str(seed)):
            raise ValueError(
                f"{first.key} and {second.key} saw different data at seed {seed}: their "
                "difference is not a paired one; run both again on the same data"
            )
    a = dict(zip(first.seeds, first.per_seed[metric], strict=True))
    b = dict(zip(second.seeds, second.per_seed[metric], strict=True))
    return Estimate.from_values(
        [a[seed] - b[seed] for seed in common], over="paired seeds", test_to_train=test_to_train
    )
