"""Batches: what is in them, how often, and that they can be taken up where they were put down."""

from itertools import chain, islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, TensorDataset

from vlalign_lib.training import ClassBalancedSampler, PairedSampler


def listed(sampler):
    return [rows.tolist() for rows in sampler]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 30), size=st.integers(1, 30), drop=st.booleans(), seed=st.integers(0, 9))
def test_every_pair_once_an_epoch(n, size, drop, seed):
    size = min(n, size)
    sampler = PairedSampler(n, size, drop_last=drop, seed=seed)
    batches = listed(sampler)
    assert len(batches) == len(sampler)
    assert {len(rows) for rows in batches} == set(sampler.sizes)
    kept = n // size * size if drop else n
    seen = list(chain.from_iterable(batches))
    assert len(seen) == len(set(seen)) == kept
    assert set(seen) <= set(range(n))


def test_each_epoch_has_its_order_and_the_seed_decides_it():
    sampler = PairedSampler(50, 8, seed=1)
    first, second = listed(sampler), listed(sampler)
    assert first != second
    again = PairedSampler(50, 8, seed=1)
    assert [listed(again), listed(again)] == [first, second]
    assert listed(PairedSampler(50, 8, seed=2)) != first


def test_the_order_is_uniform():
    """Every pair is in the first half of the order about as often as not."""
    sampler = PairedSampler(6, 3, seed=0)
    counts = torch.zeros(6)
    for _ in range(2000):
        counts[next(iter(sampler))] += 1
    assert (counts - 1000).abs().max() < 5 * (2000 * 0.25) ** 0.5


@pytest.mark.parametrize("taken", range(13))
@pytest.mark.parametrize(
    "make",
    [
        lambda: PairedSampler(21, 5, seed=3),
        lambda: ClassBalancedSampler(np.arange(24) % 4, 3, 2, seed=3),
    ],
    ids=["paired", "balanced"],
)
def test_put_down_and_taken_up(make, taken):
    """After any number of batches, over several epochs: the rest is the same."""

    def endless(sampler):
        while True:
            yield from sampler

    whole = [rows.tolist() for rows in islice(endless(make()), 20)]
    sampler = make()
    stream = endless(sampler)
    assert [rows.tolist() for rows in islice(stream, taken)] == whole[:taken]
    state = sampler.state_dict()
    next(stream)  # what happens after must not matter
    other = make()
    other.load_state_dict(state)
    found = [rows.tolist() for rows in islice(endless(other), 20 - taken)]
    assert found == whole[taken:]


def test_an_epoch_that_was_left_is_over():
    """Breaking off and iterating again begins the next epoch, as with any iterable."""
    sampler = PairedSampler(20, 4)
    next(iter(sampler))
    assert sorted(chain.from_iterable(listed(sampler))) == list(range(20))


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=6),
    p=st.integers(1, 6),
    k=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_p_classes_of_k_items(sizes, p, k, seed):
    labels = np.repeat(np.arange(len(sizes)) * 3, sizes)
    np.random.default_rng(seed).shuffle(labels)
    p = min(p, len(sizes))
    sampler = ClassBalancedSampler(labels, p, k, batches=7, seed=seed)
    assert (len(sampler), sampler.sizes) == (7, (p * k,))
    turns = dict.fromkeys(np.unique(labels).tolist(), 0)
    for rows in sampler:
        classes, counts = np.unique(labels[rows], return_counts=True)
        assert len(classes) == p
        assert set(counts) == {k}
        for c in classes:
            turns[int(c)] += 1
            mine = [int(row) for row in rows if labels[row] == c]
            assert len(set(mine)) == min(k, int((labels == c).sum()))
    assert max(turns.values()) - min(turns.values()) <= 1, "classes take turns"


def test_items_of_a_class_take_turns():
    labels = np.repeat([0, 1], [10, 40])
    sampler = ClassBalancedSampler(labels, 2, 4, batches=10)
    seen = np.bincount(np.concatenate([rows.numpy() for rows in sampler]), minlength=50)
    assert set(seen[:10]) == {4}, "10 items, 40 places"
    assert set(seen[10:]) == {1}, "40 items, 40 places"


def test_items_without_a_class_are_never_drawn():
    labels = np.array([-1, 0, 0, -1, 1, 1, -1])
    for rows in ClassBalancedSampler(labels, 2, 2, batches=20):
        assert (labels[rows] >= 0).all()


def test_an_epoch_is_as_long_as_the_items_fill():
    assert len(ClassBalancedSampler(np.arange(100) % 5, 5, 4)) == 5
    assert len(ClassBalancedSampler(np.arange(6) % 3, 3, 4)) == 1


def test_a_data_loader_takes_them_too():
    data = TensorDataset(torch.arange(10))
    batches = [rows.tolist() for (rows,) in DataLoader(data, batch_sampler=PairedSampler(10, 4))]
    assert batches == listed(PairedSampler(10, 4))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PairedSampler(0), "n: expected a whole number of at least 1, got 0"),
        (lambda: PairedSampler(4, 8), "8 items a step, but the data has 4; use at most 4"),
        (lambda: PairedSampler(4, True), "batch_size: expected a whole number"),
        (lambda: PairedSampler(4, 2, seed=-1), "seed: expected"),
        (lambda: PairedSampler(4, 2, seed=2**64), r"seed: expected a whole number below 2\*\*64"),
        (lambda: ClassBalancedSampler([0, 0, 1], 3, 1), "3 a batch, but the labels hold 2"),
        (lambda: ClassBalancedSampler([0, 1], 2, 0), "items: expected"),
        (lambda: ClassBalancedSampler([0.5, 1], 2, 1), "labels: expected whole numbers"),
        (lambda: ClassBalancedSampler([[0, 1]], 2, 1), "labels: expected shape"),
        (lambda: ClassBalancedSampler(None, 2, 1), "labels: needed here"),
        (lambda: ClassBalancedSampler(7, 2, 1), "labels: expected"),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
