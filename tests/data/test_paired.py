"""The frozen pairs."""

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from vlalign_lib.data import PairedDataset
from vlalign_lib.data._tfidf import TfIdf


def build(**changes):
    captions = ("RED DOT", "BLUE DOT", "RED LINE", "BLUE LINE", "RED STAR", "<b>")
    values = {
        "name": "toy",
        "images": np.arange(24.0).reshape(6, 2, 2),
        "texts": np.arange(12.0).reshape(6, 2),
        "labels": [0, 1, 0, 1, 0, -1],
        "label_names": ("red", "blue"),
        "captions": captions,
        "ids": tuple("abcdef"),
        "splits": {"train": [0, 2, 5], "val": [1], "test": [3, 4]},
        "encoder": TfIdf.fit(captions[:3]),
    }
    return PairedDataset(**{**values, **changes})


def test_types_are_those_of_the_contract():
    ds = build()
    assert ds.images.dtype == ds.texts.dtype == np.float32
    assert ds.labels.dtype == np.int64
    assert len(ds) == 6


def test_nothing_can_be_written_to():
    ds = build()
    for array in (ds.images, ds.texts, ds.labels, ds.splits["train"], ds.split("test").images):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(TypeError):
        ds.splits["train"] = [1]
    with pytest.raises(FrozenInstanceError):
        ds.name = "other"


def test_the_callers_arrays_stay_the_callers():
    mine = np.ones((6, 2), dtype=np.float32)
    ds = build(texts=mine)
    mine[:] = 7
    assert (ds.texts == 1).all()
    assert mine.flags.writeable


def test_split_takes_matching_rows_of_everything():
    ds = build()
    test = ds.split("test")
    np.testing.assert_array_equal(test.images, ds.images[[3, 4]])
    np.testing.assert_array_equal(test.texts, ds.texts[[3, 4]])
    assert test.labels.tolist() == [1, 0]
    assert test.captions == ("BLUE LINE", "RED STAR")
    assert test.ids == ("d", "e")
    assert list(test.splits) == ["test"]
    assert len(test.split("test")) == 2


@pytest.mark.parametrize(
    "indices", [[4, 0, 0], np.array([4, 0, 0]), np.array([4, 0, 0], dtype=np.uint8)]
)
def test_subset_keeps_order_and_repetitions(indices):
    taken = build().subset(indices)
    assert taken.ids == ("e", "a", "a")
    assert {name: rows.tolist() for name, rows in taken.splits.items()} == {
        "train": [1, 2],
        "test": [0],
    }


def test_subset_by_truth_values_and_of_nothing():
    ds = build()
    assert ds.subset(ds.labels == 1).ids == ("b", "d")
    assert len(ds.subset([])) == 0


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([6], "0 … 5, got 6"),
        ([-1], "0 … 5, got -1"),
        ([0.5], "row numbers"),
        ([True, False], "6 truth values"),
        ([[0]], "row numbers"),
        ("train", "row numbers"),
    ],
)
def test_subset_refuses_what_are_not_rows(indices, message):
    with pytest.raises(ValueError, match=message):
        build().subset(indices)


def test_unknown_part_lists_the_parts():
    with pytest.raises(ValueError, match="'train', 'val', 'test'"):
        build().split("dev")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"texts": np.ones((5, 2))}, "texts: 5 rows for 6 images"),
        ({"captions": ("A",)}, "captions: 1 rows"),
        ({"ids": ("a",)}, "ids: 1 rows"),
        ({"labels": [0, 1, 2, 0, 0, 0]}, "expected −1 … 1"),
        ({"labels": [0.0] * 6}, "labels: expected numbers"),
        ({"images": np.ones(6)}, "expected images"),
        ({"images": np.array([["a"]] * 6)}, "images: expected numbers"),
        ({"splits": {"train": [0, 1], "test": [1]}}, "only one of train, val and test"),
        ({"splits": {"train": [1, 0]}}, "rising"),
        ({"splits": {"train": [0, 6]}}, "0 … 5"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


def test_encode_captions_gives_rows_like_texts():
    ds = build()
    encoded = ds.encode_captions(["red dot", "RED  UNKNOWN"])
    assert encoded.shape == (2, 4)
    assert encoded.dtype == np.float32
    # The words of the first three captions: BLUE, DOT, LINE, RED.
    assert encoded[0, [0, 2]].tolist() == [0, 0]
    assert encoded[0, 1] == encoded[0, 3] > 0
    assert encoded[1].tolist() == [0, 0, 0, 1]


def test_encode_captions_warns_where_no_word_is_known():
    with pytest.warns(UserWarning, match="no known word in 'GREEN'"):
        assert not build().encode_captions(["GREEN", "RED"])[0].any()


@pytest.mark.parametrize("captions", ["RED", [1], [None]])
def test_encode_captions_wants_a_list_of_strings(captions):
    with pytest.raises(ValueError, match="list of strings"):
        build().encode_captions(captions)


def test_encode_captions_without_words():
    with pytest.raises(ValueError, match="toy has no captions"):
        build(encoder=None, captions=None).encode_captions(["RED"])


@pytest.mark.parametrize("again", [copy.deepcopy, lambda ds: pickle.loads(pickle.dumps(ds))])
def test_survives_copying_between_processes(again):
    ds, other = build(), again(build())
    np.testing.assert_array_equal(ds.images, other.images)
    assert other.split("val").ids == ("b",)
    assert other == ds
    assert hash(other) == hash(ds)
    assert other != build(texts=np.ones((6, 2)))
    assert other.split("test") == ds.split("test") != ds.split("train")
    assert not other.images.flags.writeable
    with pytest.raises(TypeError, match="cannot be changed"):
        other.splits["val"] = other.splits["test"]
    values = dataclasses.asdict(other)
    np.testing.assert_array_equal(values["splits"]["val"], [1])
    np.testing.assert_array_equal(ds.encode_captions(["RED"]), other.encode_captions(["RED"]))


def test_prints_what_it_is():
    ds = build()
    assert repr(ds).splitlines()[0] == "PairedDataset 'toy'"
    assert "train 3, val 1, test 2" in repr(ds)
    assert "(n, 2, 2) float32" in repr(ds)
    assert "1 pairs without one" in repr(ds)
    page = build(name="<i>")._repr_html_()
    assert "<i>" not in page
    assert "<th scope" in page
