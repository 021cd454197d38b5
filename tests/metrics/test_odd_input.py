"""What people hand over by mistake, and numbers of extreme size: a clear error or the answer."""

import numpy as np
import pytest
from scipy import sparse

from vlalign_lib.metrics import (
    average_precisions,
    mean_average_precision,
    ranks,
    ranks_from_scores,
    recall_at_k,
)

pd = pytest.importorskip("pandas")
torch = pytest.importorskip("torch")
POINTS = np.random.default_rng(0).normal(size=(6, 4))
LABELS = np.array([0, 0, 1, 1, 2, 2])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [3.0]], "queries: the rows make no array"),
        (sparse.csr_array(POINTS), "queries: expected a dense array, got a sparse one"),
        (np.ma.masked_array(POINTS, POINTS > 1), "queries: 3 values are masked"),
        (np.zeros((6, 4), "timedelta64[s]"), "queries: expected numbers, got timedelta64"),
        (torch.tensor(POINTS).to_sparse(), "queries: expected a dense tensor, got a sparse one"),
        (torch.empty(6, 4, device="meta"), "queries: is a tensor on the meta device"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rows_that_cannot_be_read(rows, message):
    with pytest.raises(ValueError, match=message):
        ranks(rows, POINTS)


def test_a_mask_that_hides_nothing_is_no_mask():
    masked = np.ma.masked_array(POINTS, mask=False)
    np.testing.assert_array_equal(ranks(masked, POINTS[::-1]), ranks(POINTS, POINTS[::-1]))


def test_tensors_in_every_state():
    negated = torch.complex(torch.zeros(6, 4).double(), torch.tensor(-POINTS)).conj().imag
    assert negated.is_neg()
    expected = ranks(POINTS, POINTS[::-1].copy())
    for tensor in (negated, torch.tensor(POINTS).requires_grad_(), torch.tensor(POINTS.T).T):
        np.testing.assert_array_equal(ranks(tensor, POINTS[::-1]).numpy(), expected)


FRAMES = {
    "float and bool": lambda frame: frame.assign(d=frame["d"] > 0),
    "nullable": lambda frame: frame.astype("Float64"),
    "convert_dtypes": lambda frame: frame.convert_dtypes(),
    "objects": lambda frame: frame.astype(object),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_data_frames_of_all_kinds_of_columns(kind):
    frame = FRAMES[kind](pd.DataFrame(POINTS, columns=list("abcd")))
    numbers = frame.to_numpy(dtype=float)
    np.testing.assert_array_equal(ranks(frame, frame[::-1]), ranks(numbers, numbers[::-1]))
    labels = pd.Series(LABELS, dtype="Int64")
    assert mean_average_precision(frame, frame, labels, labels) == mean_average_precision(
        numbers, numbers, LABELS, LABELS
    )
    assert recall_at_k(frame, frame, np.int64(2)) == recall_at_k(numbers, numbers, 2)
    missing = frame.astype(object)
    missing.iloc[2, 1] = pd.NA
    with pytest.raises(ValueError, match=r"queries: 1 row.s. hold NaN or infinity, .* row 2"):
        ranks(missing, frame)


@pytest.mark.parametrize("k", [np.array(2.5), np.array(2), torch.tensor(2), 2.0, True, "2"])
def test_what_is_no_list_length(k):
    with pytest.raises(ValueError, match="k: expected a whole number"):
        recall_at_k(POINTS, POINTS, k=k)


def test_ragged_scores():
    with pytest.raises(ValueError, match="scores: the rows make no array"):
        ranks_from_scores([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("similarity", ["dot", "euclidean"])
@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
@pytest.mark.parametrize(
    ("dtype", "exponents"),
    [(np.float64, (-1000, -600, 500, 1000)), (np.float32, (-110, -70, 60, 110))],
)
def test_powers_of_two_change_nothing_however_extreme(similarity, kind, dtype, exponents):
    # Products of these numbers overflow, or vanish, unless their size is taken out first.
    rng = np.random.default_rng(1)
    queries = rng.integers(-9, 10, size=(40, 5)).astype(dtype)
    gallery = queries + rng.integers(-9, 10, size=(40, 5)).astype(dtype)
    labels = np.arange(40) % 4
    expected = ranks(queries, gallery, similarity=similarity)
    precisions = average_precisions(queries, gallery, labels, labels, similarity=similarity)
    assert len(np.unique(expected)) > 3
    for exponent in exponents:
        q, g = kind(np.ldexp(queries, exponent)), kind(np.ldexp(gallery, exponent))
        found = np.asarray(ranks(q, g, similarity=similarity))
        np.testing.assert_array_equal(found, expected)
        found = average_precisions(q, g, labels, labels, similarity=similarity)
        np.testing.assert_allclose(np.asarray(found), precisions, rtol=1e-6)


def test_huge_against_tiny():
    # The order of dot products does not depend on the size of either side.
    gallery = POINTS[::-1]
    expected = mean_average_precision(POINTS, gallery, LABELS, LABELS, similarity="dot")
    for scale in (1e-300, 1e300):
        got = mean_average_precision(
            POINTS * scale, gallery / scale, LABELS, LABELS, similarity="dot"
        )
        assert got == pytest.approx(expected, rel=1e-12)
