"""Average precision against enumeration, slow loops, exact fractions and scikit-learn."""

from fractions import Fraction
from itertools import combinations, groupby, permutations, product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from vlalign_lib.metrics import (
    average_precision,
    average_precisions,
    chance_average_precision,
    mean_average_precision,
)

MODES = ("relevant", "hits")


def ap_of_order(relevance, depth, normalise):
    """Average precision of a list of 0 and 1, in exact fractions."""
    hits, gain = 0, Fraction(0)
    for place, hit in enumerate(relevance[:depth], start=1):
        hits += hit
        gain += Fraction(hit * hits, place)
    divisor = hits if normalise == "hits" else min(sum(relevance), depth)
    return gain / divisor if divisor else Fraction(0)


def ap_by_permutations(scores, relevant, depth, normalise):
    """Mean over every order of every block of ties, one item at a time."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    blocks = [[relevant[i] for i in same] for _, same in groupby(order, key=lambda i: scores[i])]
    orders = [
        ap_of_order([hit for block in choice for hit in block], depth, normalise)
        for choice in product(*(list(permutations(block)) for block in blocks))
    ]
    return float(sum(orders) / len(orders))


def ap_by_placements(scores, relevant, depth, normalise):
    """The same mean over the distinct placements of the relevant items, which are equally many."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    choices = []
    for _, same in groupby(order, key=lambda i: scores[i]):
        block = [relevant[i] for i in same]
        choices.append(
            [
                [int(place in chosen) for place in range(len(block))]
                for chosen in combinations(range(len(block)), sum(block))
            ]
        )
    orders = [
        ap_of_order([hit for block in choice for hit in block], depth, normalise)
        for choice in product(*choices)
    ]
    return float(sum(orders) / len(orders))


def map_by_loops(scores, query_labels, gallery_labels, depth, normalise):
    """One average precision a query, from a matrix of scores without ties."""
    values = []
    for row, label in zip(scores, query_labels, strict=True):
        order = sorted(range(len(row)), key=lambda j: -row[j])
        relevance = [int(gallery_labels[j] == label) for j in order]
        values.append(float(ap_of_order(relevance, depth, normalise)))
    return np.array(values)


def given_scores(scores):
    """A similarity that looks scores up: queries are row numbers."""
    scores = np.asarray(scores)
    return lambda queries, gallery: scores[np.asarray(queries)[:, 0].astype(int)]


def rows(n):
    return np.arange(n, dtype=float)[:, None]


def named_scores(queries, gallery, similarity):
    q, g = np.asarray(queries, dtype=np.float64), np.asarray(gallery, dtype=np.float64)
    if similarity == "dot":
        return q @ g.T
    if similarity == "euclidean":
        return -np.sqrt(((q[:, None] - g[None]) ** 2).sum(-1))
    lengths = np.linalg.norm(q, axis=1)[:, None] * np.linalg.norm(g, axis=1)
    return q @ g.T / lengths


ranking = st.integers(1, 6).flatmap(
    lambda m: st.tuples(
        st.lists(st.integers(0, 2), min_size=m, max_size=m),
        st.lists(st.integers(0, 1), min_size=m, max_size=m),
        st.integers(1, m),
        st.sampled_from(MODES),
    )
)
long_ranking = st.integers(5, 11).flatmap(
    lambda m: st.tuples(
        st.lists(st.integers(0, 3), min_size=m, max_size=m),
        st.lists(st.integers(0, 1), min_size=m, max_size=m),
        st.integers(1, m),
        st.sampled_from(MODES),
    )
)


class TestTies:
    @settings(max_examples=80, deadline=None)
    @given(ranking)
    def test_enumeration_of_all_permutations(self, agrees, case):
        scores, relevant, depth, normalise = case
        expected = ap_by_permutations(scores, relevant, depth, normalise)
        got = average_precision(scores, relevant, top_k=depth, normalise=normalise)
        agrees("metrics.average_precision", got, expected, "loop", "every order of ties", 1e-12)

    @settings(max_examples=80, deadline=None)
    @given(long_ranking)
    def test_compiled_path_against_enumeration(self, case):
        scores, relevant, depth, normalise = case
        expected = ap_by_placements(scores, relevant, depth, normalise)
        gallery = np.array(scores, dtype=float)[:, None]
        labels = [1, 0] if 0 in relevant and 1 in relevant else [relevant[0]]
        got = average_precisions(
            np.ones((len(labels), 1)),
            gallery,
            labels,
            relevant,
            top_k=depth,
            normalise=normalise,
            similarity="dot",
        )
        if 1 in relevant:
            assert got[0] == pytest.approx(expected, rel=1e-12, abs=1e-14)
        if 0 in relevant:
            others = [1 - hit for hit in relevant]
            expected = ap_by_placements(scores, others, depth, normalise)
            assert got[-1] == pytest.approx(expected, rel=1e-12, abs=1e-14)

    @pytest.mark.parametrize(
        ("tied", "relevant", "depth"), [(40, 13, 21), (300, 7, 100), (1500, 700, 40), (60, 60, 59)]
    )
    def test_a_big_tie_cut_by_top_k_in_exact_fractions(self, tied, relevant, depth):
        # 3 items with 2 hits above the tie, 4 misses below it.
        before, hits = 3, 2
        head = Fraction(1, 1) + Fraction(2, 3)  # hit, miss, hit
        drawn = depth - before
        expected = Fraction(0)
        for found in range(max(0, drawn - (tied - relevant)), min(relevant, drawn) + 1):
            ways = Fraction(
                comb(relevant, found) * comb(tied - relevant, drawn - found), comb(tied, drawn)
            )
            inside = sum(
                Fraction(found, drawn)
                * (hits + 1 + (Fraction((p - 1) * (found - 1), drawn - 1) if drawn > 1 else 0))
                / (before + p)
                for p in range(1, drawn + 1)
            )
            expected += ways * (head + inside) / (hits + found)
        scores = [9, 8, 7] + [5] * tied + [1] * 4
        truth = [1, 0, 1] + [1] * relevant + [0] * (tied - relevant) + [0] * 4
        got = average_precision(scores, truth, top_k=depth, normalise="hits")
        assert got == pytest.approx(float(expected), rel=1e-12)
        many = mean_average_precision(
            [[1.0]],
            np.array(scores, dtype=float)[:, None],
            [1],
            truth,
            top_k=depth,
            normalise="hits",
            similarity="dot",
        )
        assert many == pytest.approx(float(expected), rel=1e-12)

    def test_a_long_tie_far_down_the_list(self):
        # The closed form takes the difference of two harmonic numbers near 14.
        before, tied, relevant = 400_000, 1_000, 300
        scores = np.concatenate([np.full(1, 3.0), np.full(before - 1, 2.0), np.full(tied, 1.0)])
        labels = np.zeros(len(scores), dtype=int)
        labels[before : before + relevant] = 1
        slope = Fraction(relevant - 1, tied - 1)
        expected = sum((1 + p * slope) / (before + 1 + p) for p in range(tied)) / tied
        got = mean_average_precision([[1.0]], scores[:, None], [1], labels, similarity="dot")
        assert got == pytest.approx(float(expected), rel=1e-10)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 40), st.integers(0, 40), st.data())
    def test_modes_agree_over_the_whole_list(self, relevant, others, data):
        truth = np.array([1] * relevant + [0] * others)
        scores = np.array(
            data.draw(st.lists(st.integers(0, 9), min_size=len(truth), max_size=len(truth)))
        )
        by_relevant = average_precision(scores, truth)
        by_hits = average_precision(scores, truth, normalise="hits", top_k=len(truth))
        assert by_relevant == pytest.approx(by_hits, rel=1e-14)
        assert 0 < by_relevant <= 1


class TestAgainstSlowLoops:
    @pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
    @pytest.mark.parametrize("normalise", MODES)
    @pytest.mark.parametrize("top_k", [None, 1, 7, 150])
    def test_every_protocol(self, similarity, normalise, top_k, agrees):
        rng = np.random.default_rng(3)
        queries, gallery = rng.standard_normal((90, 6)) + 0.3, rng.standard_normal((150, 6))
        query_labels, gallery_labels = rng.integers(0, 5, 90), rng.integers(0, 4, 150)
        scores = named_scores(queries, gallery, similarity)
        expected = map_by_loops(scores, query_labels, gallery_labels, top_k or 150, normalise)
        got = average_precisions(
            queries,
            gallery,
            query_labels,
            gallery_labels,
            top_k=top_k,
            similarity=similarity,
            normalise=normalise,
        )
        agrees(
            "metrics.average_precisions", got, expected, "loop", "the definition, in loops", 1e-12
        )
        mean = mean_average_precision(
            queries,
            gallery,
            query_labels,
            gallery_labels,
            top_k=top_k,
            similarity=similarity,
            normalise=normalise,
        )
        agrees(
            "metrics.mean_average_precision",
            mean,
            expected.mean(),
            "loop",
            "the definition, in loops",
            1e-12,
        )

    def test_more_queries_than_a_block_holds_and_many_small_classes(self):
        rng = np.random.default_rng(4)
        queries, gallery = rng.standard_normal((1100, 4)), rng.standard_normal((400, 4))
        query_labels, gallery_labels = rng.integers(0, 150, 1100), rng.integers(0, 150, 400)
        expected = map_by_loops(
            named_scores(queries, gallery, "cosine"), query_labels, gallery_labels, 400, "relevant"
        )
        got = average_precisions(queries, gallery, query_labels, gallery_labels)
        np.testing.assert_allclose(got, expected, rtol=1e-12)

    def test_one_query_one_item(self):
        assert mean_average_precision([[1.0, 2.0]], [[0.0, 1.0]], [3], [3]) == 1.0

    @pytest.mark.parametrize("spread", [1e3, 1e12])
    def test_crowded_scores_beside_outliers(self, spread):
        # Almost all scores share one step of the lookup table.
        rng = np.random.default_rng(5)
        values = rng.standard_normal(500)
        values[:4] = [spread, -spread, spread / 2, -spread / 3]
        labels = rng.integers(0, 2, 500)
        labels[:4] = 1
        scores = np.stack([values, -values])
        expected = map_by_loops(scores, [1, 1], labels, 500, "relevant")
        got = average_precisions(
            rows(2), rows(500), [1, 1], labels, similarity=given_scores(scores)
        )
        np.testing.assert_allclose(got, expected, rtol=1e-12)

    def test_scores_next_to_zero(self):
        tiny = np.array([[0.0, 5e-324, 1e-323, 0.0, 2e-320]])
        expected = ap_by_permutations(tiny[0].tolist(), [1, 0, 1, 0, 0], 5, "relevant")
        got = mean_average_precision(
            rows(1), rows(5), [1], [1, 0, 1, 0, 0], similarity=given_scores(tiny)
        )
        assert got == pytest.approx(expected, rel=1e-12)


class TestAgainstScikitLearn:
    def test_average_precision_score(self, agrees):
        rng = np.random.default_rng(6)
        for size in (2, 10, 200):
            scores, relevant = rng.standard_normal(size), rng.integers(0, 2, size)
            relevant[0] = 1
            ours = average_precision(scores, relevant)
            theirs = average_precision_score(relevant, scores)
            agrees("metrics.average_precision", ours, theirs, "peer", "scikit-learn", 1e-12)

    def test_label_ranking_average_precision(self, agrees):
        rng = np.random.default_rng(7)
        queries, gallery = rng.standard_normal((60, 5)), rng.standard_normal((80, 5))
        query_labels, gallery_labels = rng.integers(0, 4, 60), rng.integers(0, 4, 80)
        truth = query_labels[:, None] == gallery_labels
        expected = label_ranking_average_precision_score(truth, queries @ gallery.T)
        got = mean_average_precision(
            queries, gallery, query_labels, gallery_labels, similarity="dot"
        )
        agrees("metrics.mean_average_precision", got, expected, "peer", "scikit-learn", 1e-12)


class TestClosedForms:
    @pytest.mark.parametrize("normalise", MODES)
    @pytest.mark.parametrize("top_k", [None, 3, 30])
    def test_perfect_is_one(self, normalise, top_k):
        labels = np.repeat(np.arange(6), 5)
        points = np.eye(6)[labels] + 1e-3 * np.random.default_rng(0).standard_normal((30, 6))
        got = mean_average_precision(
            points, points, labels, labels, top_k=top_k, normalise=normalise
        )
        assert got == 1.0

    def test_worst_puts_every_relevant_item_last(self):
        scores, relevant = np.arange(10.0, 0, -1), np.array([0] * 7 + [1] * 3)
        assert average_precision(scores, relevant) == pytest.approx(
            (1 / 8 + 2 / 9 + 3 / 10) / 3, rel=1e-14
        )

    def test_relevant_or_hits_divide_by_different_numbers(self):
        # Two of three relevant items, at places 1 and 4 of a list of four.
        scores, relevant = [6, 5, 4, 3, 2, 1], [1, 0, 0, 1, 0, 1]
        assert average_precision(scores, relevant, top_k=4) == pytest.approx((1 + 2 / 4) / 3)
        assert average_precision(scores, relevant, top_k=4, normalise="hits") == pytest.approx(
            (1 + 2 / 4) / 2
        )
        assert average_precision(scores, relevant, top_k=2) == pytest.approx(1 / 2)

    @pytest.mark.parametrize("normalise", MODES)
    @pytest.mark.parametrize("top_k", [None, 1, 4])
    def test_chance_is_the_mean_over_all_orders(self, normalise, top_k):
        labels = [0, 0, 1, 1, 1, 2]
        expected = np.mean(
            [
                ap_by_placements([0] * 6, [int(x == label) for x in labels], top_k or 6, normalise)
                for label in labels
            ]
        )
        got = chance_average_precision(labels, labels, top_k=top_k, normalise=normalise)
        assert got == pytest.approx(expected, rel=1e-13)

    def test_chance_lies_above_the_share_of_the_class(self):
        # A small gallery flatters: digits halves have .108 instead of .100.
        labels = np.arange(797) % 10
        assert 0.107 < chance_average_precision(labels, labels) < 0.109

    def test_random_scores_come_to_chance(self):
        rng = np.random.default_rng(8)
        labels = rng.integers(0, 6, 60)
        values = [
            mean_average_precision(
                rows(60), rows(60), labels, labels, similarity=given_scores(rng.random((60, 60)))
            )
            for _ in range(60)
        ]
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - chance_average_precision(labels, labels)) < 4 * error
        assert error < 1e-3

    def test_one_relevant_item_is_the_reciprocal_rank(self):
        for place in range(1, 8):
            relevant = np.zeros(7, dtype=int)
            relevant[place - 1] = 1
            assert average_precision(np.arange(7, 0, -1), relevant) == pytest.approx(1 / place)

    def test_a_query_without_an_answer_counts_zero(self):
        views = np.eye(4)
        got = average_precisions(views, views, [0, 1, 9, 9], [0, 1, 2, 2])
        np.testing.assert_array_equal(got, [1, 1, 0, 0])
        assert average_precision([1, 2, 3], [0, 0, 0]) == 0.0
        assert average_precision([3, 2, 1], [0, 0, 1], top_k=2, normalise="hits") == 0.0


class TestCollapse:
    """Everything on one point scores chance, whatever the matrix product's last bits say."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
    @pytest.mark.parametrize("width", [3, 33, 300])
    @pytest.mark.parametrize("size", [61, 1301])
    def test_collapsed_gallery(self, dtype, similarity, width, size, agrees):
        rng = np.random.default_rng(width)
        labels = rng.integers(0, 7, size)
        point = rng.random(width) + 0.1
        gallery = np.tile(point, (size, 1)).astype(dtype)
        queries = (point + 0.3 * rng.standard_normal((size, width))).astype(dtype)
        chance = chance_average_precision(labels, labels)
        for asked in (queries, gallery):
            got = mean_average_precision(asked, gallery, labels, labels, similarity=similarity)
            agrees(
                "metrics.chance_average_precision",
                chance,
                got,
                "derivation",
                "mAP where all items coincide",
                1e-12,
            )
            cut = mean_average_precision(
                asked, gallery, labels, labels, similarity=similarity, top_k=50, normalise="hits"
            )
            assert cut == pytest.approx(
                chance_average_precision(labels, labels, top_k=50, normalise="hits"), rel=1e-12
            )

    def test_collapsed_and_sorted_by_class_is_not_perfect(self):
        labels = np.repeat([0, 1], 50)
        got = mean_average_precision(np.ones((100, 8)), np.ones((100, 8)), labels, labels)
        assert got == pytest.approx(chance_average_precision(labels, labels), rel=1e-12)
        assert got < 0.53

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_copies_of_few_points_tie_exactly(self, dtype):
        rng = np.random.default_rng(9)
        points = rng.standard_normal((12, 200)).astype(dtype)
        copy = rng.integers(0, 12, 1500)
        labels = rng.integers(0, 4, 1500)
        queries = rng.standard_normal((5, 200)).astype(dtype)
        got = average_precisions(queries, points[copy], [0, 1, 2, 3, 0], labels)
        levels = named_scores(queries, points, "cosine")
        expected = [
            average_precision(row[copy], labels == label)
            for row, label in zip(levels, [0, 1, 2, 3, 0], strict=True)
        ]
        np.testing.assert_allclose(got, expected, rtol=1e-12)

    def test_ties_that_mathematics_makes_and_rounding_breaks(self):
        # All nine have cosine 3/√10 with (1, 1), but not in floating point.
        gallery = np.array([[k, 2 * k] for k in range(1, 6)] + [[2 * k, k] for k in range(1, 5)])
        assert len(set(named_scores([[1, 1]], gallery, "cosine")[0].tolist())) > 1
        labels = [1, 0, 0, 1, 0, 0, 0, 1, 0]
        got = mean_average_precision([[1, 1]], gallery, [1], labels)
        assert got == pytest.approx(average_precision(np.zeros(9), labels), rel=1e-12)

    def test_distinct_scores_are_no_tie(self):
        # 1e-4 apart in float32: far above rounding.
        angle = 0.7 + 1e-4 * np.arange(200)
        gallery = np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)
        labels = np.array([1] * 100 + [0] * 100)
        query = np.array([[1.0, 0.0]], dtype=np.float32)
        assert mean_average_precision(query, gallery, [1], labels) == 1.0
        assert mean_average_precision(query, gallery, [0], labels) < 0.32

    def test_a_crowd_of_distinct_scores_is_no_tie(self):
        # 4,000 relevant scores nearer to each other than ties may be, 2,000 others among the
        # lower half of them: one chain, and yet an order.
        cosines = 0.5 + 8e-7 * np.arange(8000)
        labels = np.tile([1, 0], 4000)
        keep = (labels == 1) | (np.arange(8000) < 4000)
        cosines, labels = cosines[keep], labels[keep]
        gallery = np.stack([cosines, np.sqrt(1 - cosines**2)], 1).astype(np.float32)
        query = np.array([[1.0, 0.0]], dtype=np.float32)
        got = mean_average_precision(query, gallery, [1], labels)
        one_tie = average_precision(np.zeros(6000), labels)
        assert one_tie < 0.67
        assert got == pytest.approx(average_precision(cosines, labels), abs=1e-3)
        assert got > 0.88


class TestInvariances:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10_000))
    def test_length_of_rows_under_cosine(self, seed):
        rng = np.random.default_rng(seed)
        # Whole numbers: many exact ties, which scaling must not break.
        queries, gallery = rng.integers(-2, 3, (9, 3)), rng.integers(-2, 3, (30, 3))
        query_labels, gallery_labels = rng.integers(0, 3, 9), rng.integers(0, 3, 30)
        gallery_labels[:3] = [0, 1, 2]
        before = average_precisions(queries, gallery, query_labels, gallery_labels)
        after = average_precisions(
            queries * np.exp(3 * rng.standard_normal((9, 1))),
            gallery * np.exp(3 * rng.standard_normal((30, 1))),
            query_labels,
            gallery_labels,
        )
        np.testing.assert_allclose(after, before, rtol=1e-12)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10_000), st.sampled_from(MODES))
    def test_order_of_gallery_and_names_of_classes(self, seed, normalise):
        rng = np.random.default_rng(seed)
        queries, gallery = rng.integers(-2, 3, (9, 3)), rng.integers(-2, 3, (30, 3))
        query_labels, gallery_labels = rng.integers(0, 3, 9), rng.integers(0, 3, 30)
        gallery_labels[:3] = [0, 1, 2]
        shuffle, names = rng.permutation(30), rng.permutation(50)[:3]
        for top_k in (None, 8):
            before = average_precisions(
                queries, gallery, query_labels, gallery_labels, top_k=top_k, normalise=normalise
            )
            after = average_precisions(
                queries,
                gallery[shuffle],
                names[query_labels],
                names[gallery_labels[shuffle]],
                top_k=top_k,
                normalise=normalise,
            )
            np.testing.assert_allclose(after, before, rtol=1e-12)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10_000))
    def test_increasing_functions_of_the_score(self, seed):
        rng = np.random.default_rng(seed)
        scores = rng.integers(-3, 4, (6, 25)).astype(float)
        labels, wanted = rng.integers(0, 2, 25), rng.integers(0, 2, 6)
        labels[:2] = [0, 1]
        before, after = (
            average_precisions(rows(6), rows(25), wanted, labels, similarity=given_scores(values))
            for values in (scores, np.exp(scores) - 7)
        )
        np.testing.assert_allclose(after, before, rtol=1e-13)

    def test_rotation_and_shift(self):
        rng = np.random.default_rng(10)
        queries, gallery = rng.standard_normal((40, 5)), rng.standard_normal((50, 5))
        q_labels, g_labels = rng.integers(0, 3, 40), rng.integers(0, 3, 50)
        turn, _ = np.linalg.qr(rng.standard_normal((5, 5)))
        for similarity, shift in (("cosine", 0.0), ("dot", 0.0), ("euclidean", 1e3)):
            before = average_precisions(queries, gallery, q_labels, g_labels, similarity=similarity)
            after = average_precisions(
                queries @ turn + shift,
                gallery @ turn + shift,
                q_labels,
                g_labels,
                similarity=similarity,
            )
            np.testing.assert_allclose(after, before, rtol=1e-12)

    def test_euclidean_on_unit_vectors_is_cosine(self):
        rng = np.random.default_rng(11)
        points = rng.standard_normal((80, 4))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        labels = rng.integers(0, 4, 80)
        assert mean_average_precision(
            points, points, labels, labels, similarity="euclidean"
        ) == pytest.approx(mean_average_precision(points, points, labels, labels), rel=1e-12)


class TestInput:
    def test_a_row_of_zeros_is_similar_to_nothing(self):
        gallery = np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
        got = average_precisions([[1.0, 0.0]] * 3, gallery, [0, 1, 2], [0, 1, 2])
        np.testing.assert_allclose(got, [1, 1 / 2, 1 / 3])
        blank = mean_average_precision([[0.0, 0.0]], gallery, [1], [0, 1, 2])
        assert blank == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)

    def test_huge_and_tiny_rows(self):
        rng = np.random.default_rng(12)
        queries, gallery = rng.standard_normal((20, 3)), rng.standard_normal((30, 3))
        q_labels, g_labels = rng.integers(0, 2, 20), rng.integers(0, 2, 30)
        expected = mean_average_precision(queries, gallery, q_labels, g_labels)
        for size in (1e-200, 1e200):
            got = mean_average_precision(size * queries, size * gallery, q_labels, g_labels)
            assert got == pytest.approx(expected, rel=1e-12)

    def test_pictures_are_flattened(self):
        rng = np.random.default_rng(13)
        pictures, labels = rng.random((10, 4, 4)), rng.integers(0, 2, 10)
        assert mean_average_precision(pictures, pictures, labels, labels) == mean_average_precision(
            pictures.reshape(10, -1), pictures.reshape(10, -1), labels, labels
        )

    def test_float32_and_float64_agree(self):
        rng = np.random.default_rng(14)
        points, labels = rng.standard_normal((300, 32)), rng.integers(0, 5, 300)
        narrow = points.astype(np.float32)
        wide = mean_average_precision(narrow.astype(np.float64), narrow, labels, labels)
        assert mean_average_precision(narrow, narrow, labels, labels) == pytest.approx(
            wide, rel=1e-5
        )

    def test_inputs_are_left_alone(self):
        rng = np.random.default_rng(15)
        scores, labels = rng.random((6, 9)), rng.integers(0, 2, 9)
        labels[:2] = [0, 1]
        points = rng.random((9, 3))
        before = scores.copy(), points.copy()
        mean_average_precision(
            rows(6), rows(9), labels[:6], labels, similarity=given_scores(scores)
        )
        for similarity in ("cosine", "dot", "euclidean"):
            mean_average_precision(points, points, labels, labels, similarity=similarity)
        np.testing.assert_array_equal(scores, before[0])
        np.testing.assert_array_equal(points, before[1])

    def test_a_function_gets_blocks_of_queries_in_order_and_the_gallery_as_it_is(self):
        seen = []

        def similarity(block, gallery):
            seen.append((block[:, 0, 0].tolist(), gallery))
            return np.ones((len(block), len(gallery)), dtype=int)

        queries = np.arange(2500.0)[:, None, None] * np.ones((1, 2, 2))
        gallery = np.arange(5)[:, None]
        labels = np.arange(2500)[::-1] % 5
        got = mean_average_precision(
            queries, gallery, labels, [4, 3, 2, 1, 0], similarity=similarity
        )
        assert [x for block, _ in seen for x in block] == list(range(2500))
        assert len(seen) > 1
        assert all(items is gallery for _, items in seen)
        assert got == pytest.approx(chance_average_precision(labels, [0, 1, 2, 3, 4]), rel=1e-12)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"gallery": np.ones((4, 3))}, "queries have 2 dimensions and the gallery has 3"),
            ({"queries": np.ones(4)}, r"expected \(n, d\), one row an item"),
            ({"queries": [[np.nan, 1.0]] * 4}, "4 row\\(s\\) hold NaN or infinity"),
            ({"gallery": [[np.inf, 1.0]] * 4}, "NaN or infinity"),
            ({"queries": [["a", "b"]] * 4}, "expected numbers"),
            ({"query_labels": [0, 1]}, r"query_labels: expected shape \(4,\)"),
            ({"gallery_labels": [0, 1, -1, -1]}, "2 of 4 labels are negative.*keep = labels >= 0"),
            ({"gallery_labels": None}, "gallery_labels: needed here"),
            ({"query_labels": [0.5, 1, 1, 1]}, "whole numbers"),
            ({"query_labels": [7, 8, 9, 9]}, "no query has its class in the gallery.*7, 8, 9"),
            ({"top_k": 5}, "top_k=5, but the gallery has 4 items"),
            ({"top_k": 0}, "top_k: expected at least 1"),
            ({"top_k": 2.0}, "top_k: expected a whole number"),
            ({"similarity": "cos"}, "similarity: expected one of 'cosine', 'dot', 'euclidean'"),
            ({"normalise": "found"}, "normalise: expected 'relevant'"),
            ({"similarity": lambda q, g: np.ones((2, 2))}, r"returned shape \(2, 2\) for 4"),
            ({"similarity": lambda q, g: np.full((4, 4), np.nan)}, "scores hold NaN or infinity"),
            ({"similarity": lambda q, g: np.full((4, 4), -np.inf)}, "scores hold NaN or infinity"),
            ({"similarity": lambda q, g: np.full((4, 4), "x")}, "scores: expected real numbers"),
            ({"similarity": np.ones(2)}, "similarity: expected one of 'cosine'"),
            ({"normalise": np.ones(2)}, "normalise: expected 'relevant'"),
            ({"query_labels": [0, 0, 1, 1e30]}, "query_labels: .* beyond any whole number"),
            ({"gallery_labels": np.full(4, 2**63, np.uint64)}, "beyond any whole number"),
            ({"gallery_labels": [[0], [0, 1]]}, "gallery_labels: the rows make no array"),
        ],
    )
    def test_errors_teach(self, change, message):
        case = {
            "queries": np.ones((4, 2)),
            "gallery": np.ones((4, 2)),
            "query_labels": [0, 0, 1, 1],
            "gallery_labels": [0, 0, 1, 1],
        }
        case |= change
        with pytest.raises(ValueError, match=message):
            mean_average_precision(**case)

    @pytest.mark.parametrize(
        ("scores", "relevant", "options", "message"),
        [
            ([[1.0]], [[1]], {}, r"scores: expected numbers \(m,\)"),
            ([], [], {}, r"scores: expected numbers \(m,\)"),
            (["a"], [1], {}, "scores: expected numbers"),
            ([1.0, 2.0], [1], {}, "relevant: expected shape"),
            ([1.0, 2.0], [1, 2], {}, "relevant: expected truth values"),
            ([1.0, np.nan], [1, 0], {}, "1 of 2 are NaN or infinite"),
            ([1.0, 2.0], [1, 0], {"top_k": 3}, "top_k=3, but the gallery has 2"),
            ([1.0, 2.0], [1, 0], {"normalise": "all"}, "normalise: expected"),
        ],
    )
    def test_errors_of_one_list_teach(self, scores, relevant, options, message):
        with pytest.raises(ValueError, match=message):
            average_precision(scores, relevant, **options)
