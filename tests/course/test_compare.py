"""What differs, in words: for every kind of value that a learner may hand over."""

import numpy as np
import pytest

from vlalign_lib.course._compare import difference, show

SAME = [
    (1, 1.0), (0.5, 0.5 + 1e-9), (True, np.True_), ("a", "a"), (None, None), ({1, 2}, {2, 1}),
    ([1, 2], (1, 2)), ((1, 2), np.array([1.0, 2.0])), (np.eye(2), [[1, 0], [0, 1]]),
    ({1: 0.5}, {1: np.float32(0.5)}), (np.array([np.nan, 1]), np.array([np.nan, 1])),
    (np.array(3), 3), ([[1], [2, 3]], [[1], [2, 3]]), (np.arange(3), np.arange(3.0)),
]  # fmt: skip

DIFFERENT = [
    (0.5, 0.6, "expected 0.5, got 0.6"),
    (0.5, "0.5", "expected one number, got '0.5'"),
    (0.5, None, "expected one number, got None"),
    (0.5, [0.5], "expected one number, got shape (1,)"),
    (0.5, np.nan, "got NaN (a division by zero, perhaps)"),
    (0.5, True, "expected numbers, got True"),
    (True, 1, "expected True or False, got 1"),
    (True, "yes", "expected True or False, got 'yes'"),
    (np.zeros(3), 0.0, "expected an array of shape (3,), got one number"),
    (np.zeros(3), np.zeros((3, 1)), "expected an array of shape (3,), got shape (3, 1)"),
    (np.zeros(3), np.array([0, np.nan, 0]), "1 of 3 entries are NaN"),
    (np.zeros(2), np.array([0, 1.0]), "expected [0., 0.], got [0., 1.]"),
    (
        np.zeros((4, 4)),
        np.eye(4) * 2,
        "4 of 16 entries differ, the first at [0, 0]: expected 0, got 2",
    ),
    ({1: 0.5}, [0.5], "expected a dict, got [0.5]"),
    ({1: 0.5}, {2: 0.5}, "expected the keys [1], got [2]"),
    ({1: 0.5}, {1: 0.7}, "under 1: expected 0.5, got 0.7"),
    ([1, 2], [1], "expected 2 entries, got 1"),
    ([1, 2], 3, "expected a list of 2, got 3"),
    ([1, 2], "12", "expected a list of 2, got '12'"),
    ((1, 2), (1, 3), "entry 1: expected 2, got 3"),
    ("a", "b", "expected 'a', got 'b'"),
    ("a", 1, "expected 'a', got 1"),
    ({1}, [1], "expected {1}, got [1]"),
    (None, 0, "expected None, got 0"),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "got"), SAME)
def test_the_same(expected, got):
    assert difference(expected, got, 1e-6) is None
    assert difference(expected, got, 1e-6, reveal=False) is None


@pytest.mark.parametrize(("expected", "got", "words"), DIFFERENT)
def test_different(expected, got, words):
    assert difference(expected, got, 1e-6) == words


def test_tolerance_is_relative_and_absolute():
    assert difference(1000.0, 1000.9, 1e-3) is None
    assert difference(1000.0, 1002.1, 1e-3) is not None
    assert difference(0.0, 9e-4, 1e-3) is None
    assert difference(0.0, 2e-3, 1e-3) is not None


@pytest.mark.parametrize(
    ("expected", "got", "secret"),
    [(0.625, 0.5, "0.625"), ([0.625, 1], [0.5, 1], "0.625"), ("CCA", "PCA", "CCA'"),
     (np.full(20, 0.625), np.zeros(20), "0.625"), ({"a": 0.625}, {"a": 0}, "0.625")],
)  # fmt: skip
def test_without_reveal_the_answer_is_kept(expected, got, secret):
    assert secret in difference(expected, got, 1e-6)
    assert secret not in difference(expected, got, 1e-6, reveal=False)


def test_tensors_count_as_arrays():
    torch = pytest.importorskip("torch")
    assert difference(np.ones(2), torch.ones(2, requires_grad=True), 1e-6) is None
    assert difference(torch.ones(2), np.ones(2), 1e-6) is None
    assert difference(np.ones(2), torch.ones(2, dtype=torch.bfloat16), 1e-6) is None
    assert difference(0.5, torch.tensor(0.6), 1e-6) == "expected 0.5, got 0.6"


class Rude:
    def __repr__(self):
        raise RuntimeError("no")

    def __len__(self):
        raise RuntimeError("no")


LOOP = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.123456, "0.1235"),
        (np.float32(2), "2"),
        (np.int64(7), "7"),
        ([np.float64(0.5), np.eye(1)], "[0.5, [[1.]]]"),
        ((1, ("a", None)), "(1, ('a', None))"),
        ([["x" * 90] * 3] * 3, None),
        (np.eye(2), "[[1., 0.], [0., 1.]]"),
        (np.zeros((50, 3)), "an array of shape (50, 3)"),
        (len, "the function len"),
        ("x" * 200, None),
        (list(range(1000)), None),
        (Rude(), None),
        (LOOP, None),
        (np.array([object()]), "an array of shape (1,)"),
    ],
)
def test_show_is_short_and_never_fails(value, words):
    shown = show(value)
    assert len(shown) <= 120
    assert words is None or shown == words
