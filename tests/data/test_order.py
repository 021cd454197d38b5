"""Random orders and cuts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlalign_lib.data._order import (
    check_seed,
    grouped_cut,
    permutation,
    shares,
    stratified_cut,
)


def test_permutation_is_the_same_everywhere_and_for_ever():
    assert permutation(10, 1, 0).tolist() == [9, 2, 4, 7, 5, 0, 8, 6, 3, 1]
    assert sorted(permutation(1000, 3, 4).tolist()) == list(range(1000))


def test_permutation_depends_on_every_part_of_its_key():
    keys = [(0,), (1,), (1, 1), (1, 2), (1, 1, 1), (0, 1, 1), (1, 1, 2**40)]
    assert len({tuple(permutation(50, *key)) for key in keys}) == len(keys)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.integers(0, 100),
)
def test_shares_are_within_one_of_the_exact_proportion(sizes, percent):
    counts = np.array(sizes)
    total = int(counts.sum()) * percent // 100
    result = shares(total, counts)
    assert result.sum() == total
    assert (np.abs(result - total * counts / counts.sum()) < 1).all()
    assert (result <= counts).all()


@given(st.lists(st.integers(0, 4), min_size=3, max_size=60), st.integers(0, 5), st.data())
def test_stratified_cut_partitions_and_shares_out_each_class(labels, key, data):
    strata = np.array(labels)
    first = data.draw(st.integers(0, len(labels)))
    second = data.draw(st.integers(0, len(labels) - first))
    sizes = (first, second, len(labels) - first - second)
    parts = stratified_cut(strata, sizes, key)
    assert tuple(map(len, parts)) == sizes
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    for part in parts:
        assert (np.diff(part) > 0).all()
    for value in np.unique(strata):
        exact = first * (strata == value).mean()
        assert abs((strata[parts[0]] == value).sum() - exact) < 1


@given(st.lists(st.integers(0, 30), min_size=4, max_size=80), st.integers(0, 5))
def test_grouped_cut_never_cuts_through_a_group(values, key):
    groups = np.array(values)
    singles = np.arange(1000, 1010)  # so that every part can be filled exactly
    groups = np.concatenate([groups, singles])
    parts = grouped_cut(groups, (5, 3, len(groups) - 8), key)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(groups)))
    assert len(parts[0]) <= 5
    assert len(parts[1]) <= 3
    for i, one in enumerate(parts):
        for other in parts[i + 1 :]:
            assert not set(groups[one]) & set(groups[other])


def test_grouped_cut_fills_parts_exactly_where_single_items_allow_it():
    groups = np.array([0, 0, 0, 1, 1, *range(10, 25)])
    parts = grouped_cut(groups, (6, 4, 10), 7)
    assert [len(part) for part in parts] == [6, 4, 10]


@pytest.mark.parametrize("seed", [-1, 1.0, "0", True, [1]])
def test_a_seed_that_is_no_whole_number_is_refused(seed):
    with pytest.raises(ValueError, match="whole number from 0 on"):
        check_seed(seed)


def test_numpy_integers_are_seeds():
    assert check_seed(np.int64(3)) == 3
    assert check_seed(None) is None
