"""Names, rows and parts of a kind that no data set has."""

import numpy as np
import pytest
import torch

from vlalign_lib.data import PairedDataset, available, card, load_glyphs, synthetic_twin


def toy(**changes):
    given = {
        "name": "toy",
        "images": np.eye(3),
        "texts": np.eye(3),
        "labels": [0, 1, -1],
        "label_names": ("cat", "dog"),
        "captions": ["a", "b", "c"],
        "splits": {"train": [0, 1]},
    }
    return PairedDataset(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 3.0}, r"expected images \(n, …\)"),
        ({"images": [[1.0], [1.0, 2.0]]}, "images: the rows make no array"),
        ({"label_names": None}, "label_names: expected a list of strings"),
        ({"label_names": [1, 2]}, "label_names: expected a list of strings"),
        ({"label_names": "ab"}, "label_names: expected a list of strings"),
        ({"captions": 3}, "captions: expected a list of strings"),
        ({"ids": None}, "ids: expected a list of strings"),
        ({"splits": [0, 1]}, "splits: expected"),
        ({"splits": {"train": [[0], [1, 2]]}}, "the rows make no array"),
    ],
)
def test_parts_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        toy(**changes)


def test_tensors_and_arrays_of_names_are_taken():
    graph = torch.eye(3).requires_grad_()
    ds = toy(images=graph, texts=graph, label_names=np.array(["cat", "dog"]))
    np.testing.assert_array_equal(ds.images, np.eye(3))
    assert ds.label_names == ("cat", "dog")
    assert [type(name) for name in ds.label_names] == [str, str]
    assert len(ds.subset(torch.tensor([2, 0]))) == 2


@pytest.mark.parametrize("name", [None, ["train"], np.zeros((2, 2)), {"a": 1}])
def test_names_that_are_no_words(name):
    assert not available(name)
    with pytest.raises(ValueError, match="data set: expected one of"):
        card(name)
    with pytest.raises(ValueError, match="toy has 'train'"):
        toy().split(name)
    with pytest.raises(ValueError, match="split: expected one of"):
        load_glyphs(name)


@pytest.mark.parametrize("captions", [None, 3.0, "BLACK", ["BLACK", 1], {"BLACK"}])
def test_captions_that_are_no_list_of_strings(captions):
    with pytest.raises(ValueError, match="captions: expected a list of strings"):
        load_glyphs().encode_captions(captions)


def test_seed_of_a_twin(tmp_path):
    with pytest.raises(ValueError, match="seed: expected a whole number"):
        synthetic_twin("wikipedia", tmp_path, seed=-1)
