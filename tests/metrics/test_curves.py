"""One ranked list, place by place."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve as peer_curve

from vlalign_lib.metrics import average_precision, precision_recall_curve


def test_five_items_by_hand():
    curve = precision_recall_curve([0.2, 0.9, 0.5, 0.7, 0.1], [1, 1, 0, 0, 1])
    np.testing.assert_array_equal(curve.place, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(curve.item, [1, 3, 2, 0, 4])
    np.testing.assert_array_equal(curve.relevance, [1, 0, 0, 1, 1])
    np.testing.assert_array_equal(curve.hits, [1, 1, 1, 2, 3])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 1 / 3, 2 / 4, 3 / 5])
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(curve.gain, [1, 0, 0, 2 / 4, 3 / 5])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda m: st.tuples(
            st.lists(st.integers(0, 2), min_size=m, max_size=m),
            st.lists(st.integers(0, 1), min_size=m, max_size=m),
        )
    )
)
def test_expectations_over_all_orders(agrees, case):
    scores, relevant = np.array(case[0]), np.array(case[1])
    hits, gains, truths = [], [], []
    for order in permutations(range(len(scores))):
        if (np.diff(scores[list(order)]) > 0).any():
            continue
        truth = relevant[list(order)]
        truths.append(truth)
        hits.append(np.cumsum(truth))
        gains.append(truth * np.cumsum(truth) / np.arange(1, len(scores) + 1))
    curve = precision_recall_curve(scores, relevant)
    np.testing.assert_allclose(curve.relevance, np.mean(truths, axis=0), atol=1e-14)
    hits = np.mean(hits, axis=0)
    agrees("metrics.precision_recall_curve", curve.hits, hits, "loop", "every order of ties", 1e-14)
    np.testing.assert_allclose(curve.gain, np.mean(gains, axis=0), atol=1e-14)
    total = relevant.sum()
    if total:
        assert curve.recall[-1] == pytest.approx(1)
        assert curve.gain.sum() / total == pytest.approx(
            average_precision(scores, relevant), rel=1e-13
        )


def test_scikit_learn_without_ties(agrees):
    rng = np.random.default_rng(0)
    scores, relevant = rng.standard_normal(40), rng.integers(0, 2, 40)
    precision, recall, _ = peer_curve(relevant, scores)
    curve = precision_recall_curve(scores, relevant)
    agrees(
        "metrics.precision_recall_curve",
        curve.precision,
        precision[:-1][::-1],
        "peer",
        "scikit-learn",
        1e-14,
    )
    np.testing.assert_allclose(curve.recall, recall[:-1][::-1], rtol=1e-14)


def test_prints_as_a_table_without_colours():
    curve = precision_recall_curve([3, 2, 1], [1, 0, 1])
    lines = str(curve).splitlines()
    assert lines[0].split() == [
        "place",
        "item",
        "score",
        "relevant",
        "hits",
        "precision",
        "recall",
        "gain",
    ]
    assert lines[3].split() == ["3", "2", "1", "1", "2", "0.667", "1.000", "0.667"]
    assert lines[-1].endswith("1.667 / 2 = 0.833")
    page = curve._repr_html_()
    assert page.count("<tr>") == 4
    assert "color" not in page
    assert "#" not in page
    assert "average precision 0" in str(precision_recall_curve([1, 2], [0, 0]))
