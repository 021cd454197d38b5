import numpy as np
import pytest
from scipy.sparse import issparse
from sklearn.linear_model import Ridge
from sklearn.neighbors import kneighbors_graph

from vlalign_lib.linear import JRL, LGCFL
from vlalign_lib.linear.jrl import knn_graph, knn_laplacian, released_laplacian
from vlalign_lib.metrics import mean_average_precision

EPSILON = 1e-6
EXACT = {"max_iter": 1500, "tol": 0.0}


@pytest.fixture
def labelled_views(paired_views):
    x, y = paired_views(90, 6, 4, shared=3, noise=0.5)
    return x, y, np.digitize(x[:, 0] + x[:, 1], np.quantile(x[:, 0] + x[:, 1], [0.3, 0.7])) * 2 + 3


def zscore(x, like=None):
    like = x if like is None else like
    return (x - like.mean(axis=0)) / like.std(axis=0, ddof=1)


def indicators(labels):
    """Class indicators minus the shares of the classes, zeros for rows without a label."""
    classes = np.unique(labels[labels >= 0])
    hits = np.array([[float(label == c) for c in classes] for label in labels])
    return (hits - hits[labels >= 0].mean(axis=0)) * (labels >= 0)[:, None]


def graph_by_loops(z, k):
    m = len(z)
    joined = np.zeros((m, m))
    for i in range(m):
        others = [j for j in range(m) if j != i]
        others.sort(key=lambda j: ((z[i] - z[j]) ** 2).sum())
        for j in others[:k]:
            joined[i, j] = joined[j, i] = 1.0
    return joined


def laplacian_by_loops(z, k, released=False):
    m = len(z)
    joined = graph_by_loops(z, k)
    result = np.zeros((m, m))
    for i in range(m):
        for j in range(m):
            w = joined[i, j]
            if released:
                w = 1 / (1 + np.exp(np.sqrt(((z[i] - z[j]) ** 2).sum())))
            result[i, j] = (i == j) - w / np.sqrt(joined[i].sum() * joined[j].sum())
    return result


def problem(x, y, labels, more=(None, None), k=8, released=False):
    """Standardised views with the graph rows below, targets, and dense Laplacians."""
    views, laplacians = [], []
    for view, extra in ((x, more[0]), (y, more[1])):
        rows = view if extra is None else np.vstack([view, extra])
        views.append(zscore(rows, like=view))
        laplacians.append(laplacian_by_loops(views[-1], k, released))
    return views, indicators(labels), laplacians


def objective_by_hand(views, targets, laplacians, labels, weights, penalties):
    sparsity, smoothness, coupling, supervision = penalties
    n, known = len(targets), labels >= 0
    total = 0.0
    for z, laplacian, w in zip(views, laplacians, weights, strict=True):
        u = z @ w
        total += supervision * ((u[:n] - targets)[known] ** 2).sum()
        total += smoothness * np.trace(u.T @ laplacian @ u)
        total += sparsity * sum(np.sqrt(row @ row + EPSILON**2) for row in w)
    gap = views[0][:n] @ weights[0] - views[1][:n] @ weights[1]
    return total + coupling * (gap**2).sum()


def dense_alternation(views, targets, laplacians, labels, penalties, rounds):
    """The published update, with explicit inverses; the views take turns."""
    sparsity, smoothness, coupling, supervision = penalties
    n, known = len(targets), labels >= 0
    weights = [np.zeros((z.shape[1], targets.shape[1])) for z in views]
    for round_ in range(rounds):
        for m in (0, 1):
            z, own = views[m], views[m][:n]
            d = np.ones(z.shape[1])
            if round_ > 0:
                d = np.array([1 / (2 * np.sqrt(row @ row + EPSILON**2)) for row in weights[m]])
            other = views[1 - m][:n] @ weights[1 - m] if round_ or m else targets
            inverse = np.linalg.inv(
                sparsity * np.diag(d)
                + smoothness * z.T @ laplacians[m] @ z
                + coupling * own.T @ own
                + supervision * own[known].T @ own[known]
            )
            weights[m] = inverse @ (coupling * own.T @ other + supervision * own.T @ targets)
    return weights


SETTINGS = [(2.0, 0.3, 0.7, 1.5), (1000.0, 1000.0, 1.0, 1.0), (5.0, 0.0, 1.0, 1.0)]


@pytest.mark.parametrize("penalties", SETTINGS)
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("unlabelled", [False, True])
@pytest.mark.parametrize("transductive", [False, True])
def test_agrees_with_the_published_update_written_out(
    penalties, released, unlabelled, transductive, labelled_views, agrees
):
    x, y, labels = labelled_views
    if unlabelled:
        labels = np.where(np.arange(90) % 3 == 0, -1, labels)
    more = (x[70:], y[65:]) if transductive else (None, None)
    if transductive:
        x, y, labels = x[:60], y[:60], labels[:60]
    graph = "released" if released else "knn"
    model = JRL(*penalties, neighbours=8, graph=graph, max_iter=5, tol=0.0)
    model.fit(x, y, labels, graph_images=more[0], graph_texts=more[1])
    views, targets, laplacians = problem(x, y, labels, more, 8, released)
    wx, wy = dense_alternation(views, targets, laplacians, labels, penalties, 5)
    for ours, theirs in ((model.image_weights_, wx), (model.text_weights_, wy)):
        agrees("linear.JRL", ours, theirs, "loop", "the published update written out", 1e-11)
    expected = objective_by_hand(views, targets, laplacians, labels, (wx, wy), penalties)
    assert model.objective_[-1] == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("shape", [(20, 30, 7), (12, 5, 40), (15, 40, 50)])
@pytest.mark.parametrize("released", [False, True])
def test_views_with_more_columns_than_rows_are_solved_alike(shape, released, paired_views):
    x, y = paired_views(*shape, noise=1.0)
    labels = np.where(np.arange(shape[0]) % 5 == 4, -1, np.arange(shape[0]) % 3)
    penalties = (2.0, 0.3, 0.7, 1.5)
    graph = "released" if released else "knn"
    model = JRL(*penalties, neighbours=4, graph=graph, max_iter=5, tol=0.0).fit(x, y, labels)
    views, targets, laplacians = problem(x, y, labels, k=4, released=released)
    wx, wy = dense_alternation(views, targets, laplacians, labels, penalties, 5)
    np.testing.assert_allclose(model.image_weights_, wx, rtol=0, atol=1e-11)
    np.testing.assert_allclose(model.text_weights_, wy, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(60, 6, 4), (20, 30, 7), (15, 40, 50)])
@pytest.mark.parametrize("penalties", SETTINGS[::2])
def test_the_objective_falls_to_where_its_gradient_vanishes(shape, penalties, paired_views):
    x, y = paired_views(*shape, noise=0.5)
    labels = np.where(np.arange(shape[0]) % 5 == 4, -1, np.arange(shape[0]) % 3)
    model = JRL(*penalties, neighbours=4, **EXACT).fit(x, y, labels)
    falls = -np.diff(model.objective_)
    assert (falls >= -1e-12 * model.objective_[0]).all()
    assert falls[0] > 0
    sparsity, smoothness, coupling, supervision = penalties
    views, targets, laplacians = problem(x, y, labels, k=4)
    weights = model.image_weights_, model.text_weights_
    for m in (0, 1):
        z, w = views[m], weights[m]
        norms = np.sqrt((w**2).sum(axis=1, keepdims=True) + EPSILON**2)
        fit = (z @ w - targets) * (labels >= 0)[:, None]
        gap = z @ w - views[1 - m] @ weights[1 - m]
        gradient = 2 * supervision * z.T @ fit + 2 * coupling * z.T @ gap
        gradient += 2 * smoothness * z.T @ laplacians[m] @ z @ w + sparsity * w / norms
        assert np.abs(gradient).max() < 1e-5 * np.abs(z.T @ targets).max()


def test_no_other_weights_are_better(labelled_views):
    x, y, labels = labelled_views
    penalties = (2.0, 0.3, 0.7, 1.5)
    model = JRL(*penalties, neighbours=8, **EXACT).fit(x, y, labels)
    views, targets, laplacians = problem(x, y, labels)
    rng = np.random.default_rng(0)
    for size in (1e-3, 0.1):
        moved = [
            w + size * rng.normal(size=w.shape) for w in (model.image_weights_, model.text_weights_)
        ]
        there = objective_by_hand(views, targets, laplacians, labels, moved, penalties)
        assert there > model.objective_[-1]


def test_one_round_without_coupling_and_graph_is_a_ridge_regression(labelled_views, agrees):
    x, y, labels = labelled_views
    model = JRL(3.0, 0.0, 0.0, 1.0, max_iter=1).fit(x, y, labels)
    for z, w in ((zscore(x), model.image_weights_), (zscore(y), model.text_weights_)):
        ridge = Ridge(alpha=3.0, solver="cholesky").fit(z, indicators(labels))
        agrees("linear.JRL", w, ridge.coef_.T, "peer", "scikit-learn's Ridge, one round", 1e-12)


def test_without_any_penalty_it_is_least_squares_on_the_labels(labelled_views):
    x, y, labels = labelled_views
    model = JRL(0.0, 0.0, 0.0, 2.0).fit(x, y, labels)
    for z, w in ((zscore(x), model.image_weights_), (zscore(y), model.text_weights_)):
        expected = np.linalg.lstsq(z, indicators(labels), rcond=None)[0]
        np.testing.assert_allclose(w, expected, atol=1e-12)


def test_without_supervision_nothing_is_learned(labelled_views):
    model = JRL(5.0, 0.1, 1.0, 0.0, **EXACT).fit(*labelled_views)
    assert np.abs(model.image_weights_).max() < EPSILON


def test_without_the_graph_it_is_lgcfl_with_a_block_a_column(labelled_views, agrees):
    x, y, labels = labelled_views
    labels = np.where(np.arange(90) % 4 == 0, -1, labels)
    jrl = JRL(4.0, 0.0, 0.7, 1.0, max_iter=9, tol=0.0).fit(x, y, labels)
    lgcfl = LGCFL(4.0, 0.7, max_iter=9, tol=0.0).fit(x, y, labels)
    agrees(
        "linear.JRL",
        jrl.image_weights_,
        lgcfl.image_weights_,
        "derivation",
        "LGCFL, without the graph",
        1e-14,
    )
    np.testing.assert_allclose(jrl.objective_, lgcfl.objective_, rtol=1e-14)


@pytest.mark.parametrize(("m", "k"), [(2, 1), (12, 3), (50, 100), (1205, 7)])
def test_graph(m, k, paired_views):
    z = zscore(paired_views(m, 5, 3)[0])
    graph = knn_graph(z, k)
    assert issparse(graph)
    k = min(k, m - 1)
    peer = kneighbors_graph(z, k, include_self=False)
    np.testing.assert_array_equal(graph.toarray(), peer.maximum(peer.T).toarray())
    if m < 100:
        np.testing.assert_array_equal(graph.toarray(), graph_by_loops(z, k))


def test_laplacians(paired_views):
    z = zscore(paired_views(40, 5, 3)[0])
    laplacian = knn_laplacian(z, 4).toarray()
    np.testing.assert_allclose(laplacian, laplacian_by_loops(z, 4), atol=1e-14)
    values = np.linalg.eigvalsh(laplacian)
    assert -1e-12 < values[0] < 1e-12
    assert values[-1] <= 2
    root = np.sqrt(knn_graph(z, 4).sum(axis=1))
    np.testing.assert_allclose(laplacian @ root, 0.0, atol=1e-13)
    dense = released_laplacian(z, 4)
    np.testing.assert_allclose(dense, laplacian_by_loops(z, 4, released=True), atol=1e-14)
    apart = released_laplacian(100 * z, 4)  # thousands of features: hardly more than a ridge
    np.testing.assert_allclose(apart, np.diag(np.diag(apart)), atol=1e-12)


def test_repeated_rows_have_neighbours(labelled_views):
    model = JRL(neighbours=3).fit(*(np.repeat(part[:10], 6, axis=0) for part in labelled_views))
    assert np.isfinite(model.embed_images(labelled_views[0])).all()


def test_graph_rows_pull_the_projection_and_nothing_else(labelled_views):
    x, y, labels = labelled_views
    alone = JRL(neighbours=8).fit(x[:60], y[:60], labels[:60])
    smooth = JRL(neighbours=8).fit(
        x[:60], y[:60], labels[:60], graph_images=x[60:], graph_texts=y[60:]
    )
    np.testing.assert_array_equal(smooth.image_mean_, alone.image_mean_)
    np.testing.assert_array_equal(smooth.image_scale_, alone.image_scale_)
    assert np.abs(smooth.image_weights_ - alone.image_weights_).max() > 1e-4
    without = [
        JRL(smoothness=0.0).fit(x[:60], y[:60], labels[:60], graph_images=more).image_weights_
        for more in (None, x[60:])
    ]
    np.testing.assert_allclose(*without, atol=1e-13)
    one_sided = JRL(neighbours=8).fit(x[:60], y[:60], labels[:60], graph_images=x[60:])
    assert np.abs(one_sided.image_weights_ - alone.image_weights_).max() > 1e-4


def test_more_smoothness_makes_neighbours_alike(labelled_views):
    x, y, labels = labelled_views
    laplacian = laplacian_by_loops(zscore(x), 8)
    rough = []
    for smoothness in (0.0, 1.0, 10.0):
        u = JRL(1.0, smoothness, neighbours=8).fit(x, y, labels).embed_images(x)
        rough.append(np.trace(u.T @ laplacian @ u) / (u**2).sum())
    assert rough[0] > rough[1] > rough[2]


def votes_by_loops(projected, voters, classes, k, n_classes):
    shares = np.zeros((len(projected), n_classes))
    for i, u in enumerate(projected):
        distances = [np.sqrt(((u - v) ** 2).sum()) for v in voters]
        for j in sorted(range(len(voters)), key=lambda j: distances[j])[:k]:
            shares[i, classes[j]] += 1 / (1 + np.exp(distances[j]))
        shares[i] /= shares[i].sum()
    return shares


@pytest.mark.parametrize("unlabelled", [False, True])
def test_votes_are_those_of_the_nearest_labelled_rows_of_both_views(
    unlabelled, labelled_views, agrees
):
    x, y, labels = labelled_views
    if unlabelled:
        labels = np.where(np.arange(90) % 3 == 0, -1, labels)
    train, test = slice(0, 60), slice(60, 90)
    parts = x[train], y[train], labels[train]
    plain = JRL(neighbours=7).fit(*parts)
    voting = JRL(neighbours=7).fit(*parts).set_params(space="votes")
    known = labels[train] >= 0
    voters = np.vstack([plain.embed_images(x[train])[known], plain.embed_texts(y[train])[known]])
    classes = np.tile(np.searchsorted(plain.classes_, labels[train][known]), 2)
    u, v = voting.embed_images(x[test]), voting.embed_texts(y[test])
    by_hand = votes_by_loops(plain.embed_images(x[test]), voters, classes, 7, 3)
    agrees("linear.JRL", u, by_hand, "loop", "votes counted in loops", 1e-12)
    by_hand = votes_by_loops(plain.embed_texts(y[test]), voters, classes, 7, 3)
    np.testing.assert_allclose(v, by_hand, atol=1e-12)
    # The released similarity: how probably two rows are of one class, voter by voter.
    same = classes[:, None] == classes
    share_u = np.zeros((30, len(voters)))
    share_v = np.zeros((30, len(voters)))
    for share, rows in (
        (share_u, plain.embed_images(x[test])),
        (share_v, plain.embed_texts(y[test])),
    ):
        for i, row in enumerate(rows):
            distance = np.sqrt(((row - voters) ** 2).sum(axis=1))
            nearest = np.argsort(distance)[:7]
            share[i, nearest] = 1 / (1 + np.exp(distance[nearest]))
            share[i] /= share[i].sum()
    np.testing.assert_allclose(u @ v.T, share_u @ same @ share_v.T, atol=1e-12)


def test_voters_are_saved(labelled_views, tmp_path):
    x, y, labels = labelled_views
    model = JRL.from_paper().fit(x, y, labels)
    model.save(tmp_path / "jrl")
    loaded = JRL.load(tmp_path / "jrl")
    np.testing.assert_array_equal(loaded.embed_texts(y), model.embed_texts(y))
    assert loaded.votes_.dtype == np.int64


def test_many_rows_vote_in_blocks(labelled_views):
    x, y, labels = labelled_views
    model = JRL(space="votes").fit(x, y, labels)
    many = np.tile(x, (13, 1))
    np.testing.assert_allclose(
        model.embed_images(many), np.tile(model.embed_images(x), (13, 1)), atol=1e-12
    )


def test_from_paper_and_as_released(labelled_views):
    x, y, labels = labelled_views
    paper, released = JRL.from_paper(), JRL.as_released()
    for model in (paper, released):
        shown = model.get_params()
        assert [shown[name] for name in ("sparsity", "smoothness", "coupling")] == [1000, 1000, 1]
        assert (shown["supervision"], shown["neighbours"], shown["space"]) == (1, 100, "votes")
        model.fit(x, y, labels, graph_images=x, graph_texts=y)
        assert len(model.objective_) <= 5
        u, v = model.embed_images(x), model.embed_texts(y)
        np.testing.assert_allclose(u.sum(axis=1), 1.0, atol=1e-12)
        found = mean_average_precision(u, v, labels, labels, similarity="dot")
        assert found > 1.5 / 3
    assert (paper.graph, released.graph) == ("knn", "released")
    assert np.abs(paper.image_weights_ - released.image_weights_).max() > 1e-6


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "labels: JRL needs one class index a pair"),
        (np.zeros(90, int), "two classes or more"),
        (np.full(90, -1), "-1 means no label"),
        (np.zeros(89, int), r"labels: expected shape \(90,\)"),
        (np.linspace(0, 1, 90), "labels: expected whole numbers"),
    ],
)
def test_labels_that_cannot_be_are_explained(labels, message, labelled_views):
    x, y, _ = labelled_views
    with pytest.raises(ValueError, match=message):
        JRL().fit(x, y, labels)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sparsity": -1.0}, "sparsity: expected a number of at least 0"),
        ({"smoothness": np.nan}, "smoothness: expected a finite number of at least 0"),
        ({"coupling": None}, "coupling: expected a finite number of at least 0"),
        ({"supervision": True}, "supervision: expected a finite number of at least 0"),
        ({"neighbours": 0}, "neighbours: expected a whole number"),
        ({"neighbours": 2.0}, "neighbours: expected a whole number"),
        ({"graph": "dense"}, 'graph: expected one of "knn", "released"'),
        ({"space": np.ones(2)}, 'space: expected one of "projection", "votes"'),
        ({"max_iter": 0}, "max_iter: expected a whole number"),
        ({"tol": -1e-3}, "tol: expected a number of at least 0"),
    ],
)
def test_parameters_out_of_range_are_explained(parameters, message, labelled_views):
    with pytest.raises(ValueError, match=message):
        JRL(**parameters).fit(*labelled_views)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (np.zeros((5, 4)), "graph_images: expected 6 numbers a row, as in fit, got 4"),
        (np.zeros(6), r"graph_images: expected \(n, d\)"),
        (np.full((5, 6), np.nan), "graph_images: 5 row"),
    ],
)
def test_graph_rows_that_cannot_be_are_explained(more, message, labelled_views):
    with pytest.raises(ValueError, match=message):
        JRL().fit(*labelled_views, graph_images=more)
