"""Random orders and cuts that stay the same on every machine and in every release of numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import is_whole


def check_seed(seed: int | None) -> int | None:
    """Return ``seed`` as an int, or None; raise a ValueError for anything else."""
    if seed is None:
        return None
    if not is_whole(seed) or seed < 0:
        raise ValueError(
            f"seed: expected None (the official split) or a whole number from 0 on, got {seed!r}"
        )
    return int(seed)


def permutation(n: int, *key: int) -> NDArray[np.int64]:
    """Return the numbers 0 … n−1 in the random order that ``key`` stands for.

    numpy promises that the raw numbers of a bit generator never change, and promises no such
    thing of ``Generator.permutation``; so the raw numbers are drawn and sorted here. Zeros at
    the end of a key do not count.
    """
    raw = np.random.PCG64(np.random.SeedSequence(key)).random_raw(n)
    return np.argsort(raw, kind="stable").astype(np.int64)


def shares(total: int, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Divide ``total`` over classes in proportion to their ``sizes``, by largest remainder."""
    exact = total * sizes / sizes.sum()
    result = np.floor(exact).astype(np.int64)
    missing = total - int(result.sum())
    result[np.argsort(-(exact - result), kind="stable")[:missing]] += 1
    return result


def stratified_cut(
    strata: NDArray[np.int64], sizes: Sequence[int], *key: int
) -> list[NDArray[np.int64]]:
    """Cut all items into parts of exactly ``sizes``, each class shared out in proportion.

    Args:
        strata: (n,) class of each item.
        sizes: items in each part; they add up to n.
        *key: what the random order depends on.

    Returns:
        One rising array of item numbers for each part.
    """
    order = permutation(len(strata), *key)
    parts: list[NDArray[np.int64]] = []
    for size in sizes[:-1]:
        classes, counts = np.unique(strata[order], return_counts=True)
        wanted = dict(zip(classes.tolist(), shares(size, counts).tolist(), strict=True))
        place = np.zeros(len(order), dtype=np.int64)  # how many of its class came before
        for value in classes:
            here = strata[order] == value
            place[here] = np.arange(here.sum())
        taken = place < np.array([wanted[value] for value in strata[order].tolist()])
        parts.append(np.sort(order[taken]))
        order = order[~taken]
    return [*parts, np.sort(order)]


def grouped_cut(
    groups: NDArray[np.int64], sizes: Sequence[int], *key: int
) -> list[NDArray[np.int64]]:
    """Cut all items into parts of exactly ``sizes`` and never cut through a group.

    Groups come in random order; each goes into the first part that still has room for all of
    it. The last part takes what is left.

    Args:
        groups: (n,) group of each item.
        sizes: items in each part; they add up to n.
        *key: what the random order depends on.

    Returns:
        One rising array of item numbers for each part.
    """
    _, member = np.unique(groups, return_inverse=True)
    member = member.ravel()
    counts = np.bincount(member)
    room = list(sizes[:-1])
    part_of = np.full(len(counts), len(sizes) - 1)
    for group in permutation(len(counts), *key).tolist():
        for part, left in enumerate(room):
            if counts[group] <= left:
                part_of[group] = part
                room[part] -= int(counts[group])
                break
    return [np.flatnonzero(part_of[member] == part) for part in range(len(sizes))]
