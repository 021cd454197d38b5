"""Ranks, recall at k, median and mean reciprocal rank: enumeration, peers, collapse, bad input."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata

from vlalign_lib.metrics import (
    mean_average_precision,
    mean_reciprocal_rank,
    median_rank,
    ranks,
    ranks_from_scores,
    recall_at_k,
)


def places_in_every_order(scores, target):
    """The place of ``target`` in each sorted order that the scores allow."""
    places = []
    for order in permutations(range(len(scores))):
        if all(scores[a] >= scores[b] for a, b in pairwise(order)):
            places.append(order.index(target) + 1)
    return np.array(places)


def similarity_of(scores):
    scores = np.asarray(scores)
    return lambda queries, gallery: scores[np.asarray(queries)[:, 0].astype(int)]


def numbered(n):
    return np.arange(n, dtype=float)[:, None]


class TestTies:
    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(1, 6).flatmap(
            lambda m: st.tuples(
                st.lists(st.integers(0, 2), min_size=m, max_size=m), st.integers(0, m - 1)
            )
        )
    )
    def test_expectations_over_all_orders(self, agrees, case):
        scores, target = case
        places = places_in_every_order(scores, target)
        options = {"similarity": similarity_of([scores]), "targets": [target]}
        gallery = numbered(len(scores))
        found = ranks([[0.0]], gallery, **options)[0]
        agrees("metrics.ranks", found, places.mean(), "loop", "every order of ties", 1e-14)
        found = mean_reciprocal_rank([[0.0]], gallery, **options)
        agrees(
            "metrics.mean_reciprocal_rank",
            found,
            (1 / places).mean(),
            "loop",
            "every order of ties",
            1e-14,
        )
        recall = recall_at_k([[0.0]], gallery, range(1, len(scores) + 1), **options)
        for k, value in recall.items():
            inside = (places <= k).mean()
            agrees("metrics.recall_at_k", value, inside, "loop", "every order of ties", 1e-14)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
    @pytest.mark.parametrize("size", [7, 300, 1400])
    def test_collapsed_space_scores_chance(self, dtype, similarity, size, agrees):
        rng = np.random.default_rng(size)
        point = rng.random(77) + 0.1
        gallery = np.tile(point, (size, 1)).astype(dtype)
        queries = (point + rng.standard_normal((size, 77))).astype(dtype)
        options = {"similarity": similarity}
        np.testing.assert_array_equal(ranks(queries, gallery, **options), (size + 1) / 2)
        found = median_rank(gallery, gallery, **options)
        agrees(
            "metrics.median_rank",
            found,
            (size + 1) / 2,
            "closed form",
            "items that all coincide",
            0.0,
        )
        recall = recall_at_k(queries, gallery, (1, 5), **options)
        assert recall == pytest.approx({1: 1 / size, 5: 5 / size}, rel=1e-12)
        harmonic = sum(1 / i for i in range(1, size + 1))
        assert mean_reciprocal_rank(queries, gallery, **options) == pytest.approx(
            harmonic / size, rel=1e-12
        )

    def test_copies_of_the_partner_share_its_place(self):
        rng = np.random.default_rng(1)
        points = rng.standard_normal((300, 64)).astype(np.float32)
        gallery = np.repeat(points, 4, axis=0)
        targets = 4 * np.arange(300) + rng.integers(0, 4, 300)
        np.testing.assert_array_equal(ranks(points, gallery, targets=targets), 2.5)
        assert recall_at_k(points, gallery, (1, 2, 4), targets=targets) == {1: 0.25, 2: 0.5, 4: 1.0}


class TestAgainstPeers:
    @pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
    def test_scipy_rankdata(self, similarity, agrees):
        rng = np.random.default_rng(2)
        queries, gallery = rng.standard_normal((700, 9)), rng.standard_normal((700, 9))
        if similarity == "euclidean":
            scores = -((queries[:, None] - gallery) ** 2).sum(-1)
        else:
            scores = queries @ gallery.T
            if similarity == "cosine":
                scores /= np.linalg.norm(gallery, axis=1)
        expected = np.diagonal(rankdata(-scores, method="average", axis=1))
        found = ranks(queries, gallery, similarity=similarity)
        agrees("metrics.ranks", found, expected, "peer", "SciPy's rankdata", 0.0)
        np.testing.assert_array_equal(ranks_from_scores(scores), expected)
        found = median_rank(queries, gallery, similarity=similarity)
        agrees("metrics.median_rank", found, np.median(expected), "peer", "SciPy's rankdata", 0.0)
        assert mean_reciprocal_rank(queries, gallery, similarity=similarity) == pytest.approx(
            (1 / expected).mean(), rel=1e-12
        )
        recall = recall_at_k(queries, gallery, similarity=similarity)
        assert recall == pytest.approx({k: (expected <= k).mean() for k in (1, 5, 10)}, abs=1e-15)

    def test_scipy_rankdata_with_many_ties(self, agrees):
        scores = np.random.default_rng(3).integers(0, 5, (60, 60))
        expected = np.diagonal(rankdata(-scores, method="average", axis=1))
        found = ranks_from_scores(scores)
        agrees("metrics.ranks_from_scores", found, expected, "peer", "SciPy's rankdata", 0.0)
        counted = [
            (row > row[i]).sum() + ((row == row[i]).sum() + 1) / 2 for i, row in enumerate(scores)
        ]
        agrees(
            "metrics.ranks_from_scores",
            found,
            counted,
            "loop",
            "greater scores and ties, counted",
            0.0,
        )

    def test_one_relevant_item_makes_map_the_mean_reciprocal_rank(self):
        rng = np.random.default_rng(4)
        queries, gallery = rng.integers(-2, 3, (50, 3)), rng.integers(-2, 3, (50, 3))
        labels = np.arange(50)
        assert mean_reciprocal_rank(queries, gallery) == pytest.approx(
            mean_average_precision(queries, gallery, labels, labels), rel=1e-13
        )


class TestClosedForms:
    def test_perfect(self):
        points = np.random.default_rng(5).standard_normal((50, 8))
        assert set(ranks(points, points).tolist()) == {1.0}
        assert recall_at_k(points, points) == {1: 1.0, 5: 1.0, 10: 1.0}
        assert median_rank(points, points) == 1.0
        assert mean_reciprocal_rank(points, points) == 1.0

    def test_one_step_off_on_a_line(self):
        gallery = np.arange(10.0)[:, None]
        got = ranks(gallery + 1.1, gallery, similarity="euclidean")
        np.testing.assert_array_equal(got, [3] * 8 + [2, 1])

    def test_the_two_directions_differ(self):
        scores = np.array([[0.9, 0.8], [0.7, 0.1]])
        np.testing.assert_array_equal(ranks_from_scores(scores), [1, 2])
        np.testing.assert_array_equal(ranks_from_scores(scores.T), [1, 2])
        scores = np.array([[0.9, 0.8], [1.0, 0.85]])
        np.testing.assert_array_equal(ranks_from_scores(scores), [1, 2])
        np.testing.assert_array_equal(ranks_from_scores(scores.T), [2, 1])

    def test_several_queries_may_share_an_answer_and_distractors_count(self):
        gallery = np.eye(5)
        captions = np.array([[1.0, 0.2, 0, 0, 0], [0.5, 0.9, 0, 0, 0], [0, 0, 1, 0.9, 0]])
        got = ranks(captions, gallery, targets=[0, 0, 3])
        np.testing.assert_array_equal(got, [1, 2, 2])

    def test_one_pair(self):
        assert ranks([[1.0]], [[-2.0]]).tolist() == [1.0]
        assert recall_at_k([[1.0]], [[-2.0]], 1) == {1: 1.0}


class TestInvariances:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10_000))
    def test_length_of_rows_order_of_pairs_and_orthogonal_maps(self, seed):
        rng = np.random.default_rng(seed)
        queries, gallery = rng.integers(-2, 3, (25, 3)), rng.integers(-2, 3, (25, 3))
        before = ranks(queries, gallery)
        scaled = ranks(
            queries * np.exp(3 * rng.standard_normal((25, 1))),
            gallery * np.exp(3 * rng.standard_normal((25, 1))),
        )
        np.testing.assert_array_equal(scaled, before)
        order = rng.permutation(25)
        np.testing.assert_array_equal(ranks(queries[order], gallery[order]), before[order])
        shuffled = ranks(queries, gallery[order], targets=np.argsort(order))
        np.testing.assert_array_equal(shuffled, before)
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        np.testing.assert_array_equal(ranks(queries @ turn, gallery @ turn), before)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10_000))
    def test_reversed_scores_reverse_ranks(self, seed):
        scores = np.random.default_rng(seed).integers(0, 6, (12, 12))
        np.testing.assert_array_equal(ranks_from_scores(-scores), 13 - ranks_from_scores(scores))
        np.testing.assert_array_equal(
            ranks_from_scores(np.exp(scores / 2.0)), ranks_from_scores(scores)
        )

    def test_one_giant_does_not_blur_the_rest(self):
        rng = np.random.default_rng(6)
        queries, gallery = rng.standard_normal((2, 200, 16))
        gallery[0] *= 1e15
        expected = np.diagonal(rankdata(-(queries @ gallery.T), axis=1))
        np.testing.assert_array_equal(ranks(queries, gallery, similarity="dot")[1:], expected[1:])


class TestInput:
    def test_arrays_that_may_not_be_written_and_views(self):
        scores = np.random.default_rng(7).random((20, 40))
        scores.flags.writeable = False
        expected = ranks_from_scores(scores[:, ::2].copy())
        np.testing.assert_array_equal(ranks_from_scores(scores[:, ::2]), expected)
        points = np.random.default_rng(8).random((20, 40))
        before = ranks(points[:, :20].copy(), points[:, 20:].copy())
        points.flags.writeable = False
        np.testing.assert_array_equal(ranks(points[:, :20], points[:, 20:]), before)

    def test_one_k_or_several(self):
        points = np.eye(6)
        assert recall_at_k(points, points, 3) == {3: 1.0}
        assert list(recall_at_k(points, points, np.array([5, 2]))) == [5, 2]
        assert recall_at_k(points, points, 6) == {6: 1.0}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"gallery": np.ones((5, 2))}, "4 queries and a gallery of 5.*say in targets"),
            ({"gallery": np.ones((4, 3))}, "2 dimensions and the gallery has 3"),
            ({"queries": [[np.nan, 0.0]] * 4}, "NaN or infinity"),
            ({"queries": 3.0}, "expected"),
            ({"gallery": np.ones((0, 2))}, "gallery: expected at least one row"),
            ({"k": 5}, "k=5, but the gallery has 4 items"),
            ({"k": (1, 0)}, "k: expected at least 1"),
            ({"k": True}, "k: expected a whole number"),
            ({"k": (1.5,)}, "k: expected a whole number"),
            ({"similarity": "l2"}, "similarity: expected one of"),
            ({"targets": [0, 1, 2]}, r"targets: expected shape \(4,\)"),
            ({"targets": [0, 1, 2, 4]}, "targets: expected rows of the gallery, 0 to 3"),
            ({"targets": [0, 1, 2, -1]}, "targets: expected rows of the gallery"),
            ({"similarity": lambda q, g: np.full((4, 4), np.inf)}, "scores hold NaN or infinity"),
        ],
    )
    def test_errors_teach(self, change, message):
        case = {"queries": np.ones((4, 2)), "gallery": np.ones((4, 2)), "k": 1} | change
        with pytest.raises(ValueError, match=message):
            recall_at_k(**case)

    @pytest.mark.parametrize(
        ("scores", "options", "message"),
        [
            (np.ones(3), {}, r"scores: expected \(n, m\)"),
            (np.ones((2, 3)), {}, "2 queries and a gallery of 3"),
            (np.array([["a"]]), {}, "scores: expected real numbers"),
            (np.array([[1.0, np.nan], [0.0, 0.0]]), {}, "scores hold NaN or infinity"),
            (np.array([[1.0, 0.0], [-np.inf, 0.0]]), {}, "scores hold NaN or infinity"),
            (np.ones((2, 3)), {"targets": [0, 3]}, "targets: expected rows of the gallery"),
        ],
    )
    def test_errors_of_given_scores_teach(self, scores, options, message):
        with pytest.raises(ValueError, match=message):
            ranks_from_scores(scores, **options)
