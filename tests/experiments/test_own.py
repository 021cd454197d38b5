"""A method of one's own, on the splits and by the protocol of the table."""

from typing import ClassVar

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from vlalign_lib.experiments import (
    EXPERIMENTS,
    Record,
    _retrieval,
    is_stale,
    paired_difference,
    score_method,
    table,
)
from vlalign_lib.linear import CCA, CFA
from vlalign_lib.methods import METHODS


class Ridge(BaseEstimator):
    """Predict the texts from the images; texts stay where they are."""

    def __init__(self, ridge=1.0, seen=None):
        self.ridge = ridge
        self.seen = seen

    def fit(self, images, texts, labels=None):
        if self.seen is not None:
            self.seen.append(len(images))
        images = images.reshape(len(images), -1)
        gram = images.T @ images + self.ridge * len(images) * np.eye(images.shape[1])
        self.weights_ = np.linalg.solve(gram, images.T @ texts.reshape(len(texts), -1))
        return self

    def embed_images(self, images):
        return images.reshape(len(images), -1) @ self.weights_

    def embed_texts(self, texts):
        return texts.reshape(len(texts), -1)


class Counts(Ridge):
    """Every item lies where its row number says."""

    def embed_images(self, images):
        return np.eye(len(images))

    embed_texts = embed_images


class Remembers(Ridge):
    """The second view lies where the first was put, kept in the object itself."""

    def kept(self):
        return self.__dict__

    def embed_images(self, images):
        return self.kept().setdefault(len(images), super().embed_images(images))

    def embed_texts(self, texts):
        return self.kept().setdefault(len(texts), super().embed_texts(texts))


class RemembersInTheClass(Remembers):
    memory: ClassVar = {}

    def kept(self):
        return self.memory


class RemembersTheLast(Ridge):
    """Texts lie where the pictures embedded last were put, in their order, kept in the class."""

    last: ClassVar = []

    def embed_images(self, images):
        self.last[:] = [super().embed_images(images)]
        return self.last[0]

    def embed_texts(self, texts):
        return self.last[0][: len(texts)] if self.last else super().embed_texts(texts)


class RemembersByContent(Ridge):
    """The first text goes where the first picture was, whatever it is, and stays there."""

    known: ClassVar = {}

    def place(self, rows, kind):
        numbers = [
            self.known.setdefault((kind, len(rows), row.tobytes()), (kind, i))[1]
            for i, row in enumerate(rows)
        ]
        return np.eye(3000)[numbers]

    def embed_images(self, images):
        return self.place(images, "image")

    def embed_texts(self, texts):
        return self.place(texts, "text")


class OfTheRowsAtHand(Ridge):
    """Standardised with the very rows that are embedded."""

    def embed_texts(self, texts):
        return (texts - texts.mean(axis=0)) / (texts.std(axis=0) + 1e-9)


@pytest.mark.parametrize(
    "method",
    [Counts, Remembers, RemembersInTheClass, RemembersTheLast, RemembersByContent, OfTheRowsAtHand],
)
@pytest.mark.parametrize("dataset", ["digits"])
def test_who_remembers_the_other_view_or_counts_rows_is_refused(method, dataset):
    with pytest.raises(ValueError, match="where an item is put depends on more than the item"):
        score_method(method(), dataset, name="too good", seeds=1)


def test_a_method_that_cannot_be_copied_is_asked_in_other_orders_all_the_same():
    class Uncopied(Ridge):
        def __deepcopy__(self, memo):
            raise TypeError("holds a handle")

    assert score_method(Uncopied(), "digits", name="mine", seeds=1).seeds == (0,)


@pytest.mark.parametrize("seeds", [np.int64(1), np.uint8(1)])
def test_numpys_whole_numbers_are_numbers_of_seeds(seeds):
    assert score_method(Ridge(), "digits", name="mine", seeds=seeds).seeds == (0,)


def of_the_table(method, part):
    (case,) = EXPERIMENTS["retrieval"].cases(
        EXPERIMENTS["retrieval"].configured("cpu", {"datasets": "digits", "methods": method})
    )
    return EXPERIMENTS["retrieval"].measure(case, part)


def test_a_row_of_the_table_measured_as_ones_own_is_that_row():
    grid = {"reg": [1e-4, 1e-1], "n_components": [10, 20]}
    mine = score_method(CCA(), "digits", name="mine", seeds=2, grid=grid)
    official = of_the_table("cfa", "1")
    assert mine.data_hashes["1"] == official.data_hashes
    own = score_method(CFA(20), "digits", name="mine too", seeds=2)
    if official.details["chosen"] == {"n_components": 20}:
        assert own.per_seed["map_mean"][1] == official.metrics["map_mean"]
    assert set(official.metrics) == set(own.metrics)
    assert set(mine.details["0"]["chosen"]) == {"reg", "n_components"}
    difference = paired_difference(mine, own, "map_mean")
    assert difference.n == 2


def test_it_learns_from_train_and_validation_after_the_choice():
    pairs = _retrieval._load({"name": "digits"}, 0)
    train, val = len(pairs.splits["train"]), len(pairs.splits["val"])
    seen = _Shared()
    score_method(Ridge(seen=seen), "digits", name="mine", seeds=1, grid={"ridge": [0.1, 1.0]})
    assert seen.sizes == [train, train, train + val]


class _Shared:
    """A list that cloning does not copy."""

    def __init__(self):
        self.sizes = []

    def append(self, size):
        self.sizes.append(size)

    def __deepcopy__(self, memo):
        return self


def test_the_seed_reaches_a_method_that_takes_one():
    method = METHODS["dcca"](epochs=1, hidden=(8,), device="cpu")
    one = score_method(method, "digits", name="mine", seeds=2)
    assert method.random_state is None
    assert len(set(one.per_seed["map_mean"])) == 2
    again = score_method(method, "digits", name="mine", seeds=2)
    assert one.per_seed == again.per_seed


def test_it_stands_in_the_table_and_is_never_stale():
    mine = score_method(Ridge(), "digits", name="ridge of mine", seeds=2)
    assert not is_stale(mine)
    text = table("retrieval", records=[mine])
    (row,) = (line for line in text.splitlines() if line.startswith("ridge of mine"))
    assert format(mine.metrics["map_mean"], ".3f") in row
    assert "Stale" not in text
    assert Record.from_json(mine.to_json()).config_hash == mine.config_hash
    assert mine.config["fixed"]["ridge"] == 1.0


class NoParameters:
    def fit(self, images, texts, labels):
        return self

    embed_images = embed_texts = fit


class NoTexts(BaseEstimator):
    def fit(self, images, texts, labels):
        return self

    embed_images = fit


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (NoParameters(), "no get_params, set_params.*derive the class from sklearn"),
        (NoTexts(), "NoTexts has no embed_texts"),
        (Ridge, r"got the class itself: Ridge\(\)"),
        (None, "NoneType has no fit"),
    ],
)
def test_what_is_no_method(method, message):
    with pytest.raises(TypeError, match=message):
        score_method(method, "digits", name="mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "imagenet"}, "unknown data set 'imagenet'"),
        ({"name": "cca"}, "has a row 'cca' already"),
        ({"name": "Deep-SM"}, "has a row 'Deep-SM' already"),
        ({"name": " "}, "expected what the table shall call the method"),
        ({"seeds": 0}, "seeds: expected a whole number of at least 1"),
        ({"seeds": True}, "seeds: expected a whole number"),
        ({"grid": {"rigde": [1.0]}}, "Ridge has no parameter 'rigde'; it has"),
        ({"grid": {"ridge": 1.0}}, "expected a list of values, got 1.0"),
        ({"grid": {"ridge": []}}, "expected a list of values"),
        ({"grid": {"ridge": "12"}}, "expected a list of values"),
    ],
)
def test_settings_of_no_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        score_method(Ridge(), **{"dataset": "digits", "name": "mine", **changes})
