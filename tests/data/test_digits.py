"""Halves of digits."""

import hashlib

import numpy as np
import pytest
from sklearn.datasets import load_digits

from vlalign_lib.data import load_digit_halves


def test_halves_put_together_are_the_digits():
    ds = load_digit_halves()
    right = ds.texts.reshape(-1, 8, 4)
    bunch = load_digits()
    np.testing.assert_array_equal(np.concatenate([ds.images, right], axis=2) * 16, bunch.images)
    np.testing.assert_array_equal(ds.labels, bunch.target)
    assert ds.label_names == tuple("0123456789")
    assert ds.captions is None
    assert ds.ids[1796] == "1796"
    assert ds.images.min() == 0
    assert ds.images.max() == 1


@pytest.mark.parametrize("seed", [None, 0, 12])
def test_split_has_its_sizes_and_every_digit_its_share(seed):
    ds = load_digit_halves(seed=seed)
    assert {name: len(rows) for name, rows in ds.splits.items()} == {
        "train": 800,
        "val": 200,
        "test": 797,
    }
    assert sorted(np.concatenate(list(ds.splits.values())).tolist()) == list(range(1797))
    counts = np.bincount(ds.labels)
    for part in ds.splits:
        exact = counts * len(ds.splits[part]) / 1797
        assert (np.abs(np.bincount(ds.split(part).labels) - exact) < 2).all()


def test_official_split_is_the_recorded_one():
    rows = np.concatenate(list(load_digit_halves().splits.values()))
    assert (
        hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
        == "ef045a48ba1027db00c8ae06ce8e7dd59039ca4a7f2b77386f9a4f3a5a55e981"
    )


def test_no_half_is_in_two_parts():
    ds = load_digit_halves()
    for view in (ds.images, ds.texts):
        assert len(np.unique(view.reshape(1797, -1), axis=0)) == 1797


def test_seeds_give_other_splits_and_the_same_one_again():
    tests = [tuple(load_digit_halves(seed=seed).splits["test"]) for seed in (None, 0, 1, 0)]
    assert len(set(tests)) == 3
    assert tests[1] == tests[3]


def test_bad_seed():
    with pytest.raises(ValueError, match="seed"):
        load_digit_halves(seed=-1)
