import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge

from vlalign_lib.linear import LGCFL

EPSILON = 1e-6
EXACT = {"max_iter": 1500, "tol": 0.0}


@pytest.fixture
def labelled_views(paired_views):
    x, y = paired_views(90, 6, 4, shared=3, noise=0.5)
    return x, y, np.digitize(x[:, 0] + x[:, 1], np.quantile(x[:, 0] + x[:, 1], [0.3, 0.7])) * 2 + 3


def zscore(x):
    return (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)


def indicators(labels):
    classes = np.unique(labels[labels >= 0])
    return np.array([[float(label == c) for c in classes] for label in labels])


def objective_by_loops(x, y, labels, wx, wy, groups, sparsity, coupling):
    """The documented objective, smoothed, one number at a time; x and y standardised."""
    targets = indicators(labels)
    targets -= targets[labels >= 0].mean(axis=0)
    total = 0.0
    for i in range(len(x)):
        for c in range(targets.shape[1]):
            u = sum(x[i, j] * wx[j, c] for j in range(x.shape[1]))
            v = sum(y[i, j] * wy[j, c] for j in range(y.shape[1]))
            if labels[i] >= 0:
                total += (u - targets[i, c]) ** 2 + (v - targets[i, c]) ** 2
            total += coupling * (u - v) ** 2
    for w, blocks in zip((wx, wy), groups, strict=True):
        for b in set(blocks):
            squares = sum(
                w[j, c] ** 2
                for j in range(len(w))
                if blocks[j] == b
                for c in range(targets.shape[1])
            )
            total += sparsity * np.sqrt(squares + EPSILON**2)
    return total


def dense_alternation(x, y, labels, groups, sparsity, coupling, rounds):
    """The same rounds written out with explicit inverses, class by class."""
    targets = indicators(labels)
    views = [x, y]
    weights = [np.zeros((view.shape[1], targets.shape[1])) for view in views]
    for round_ in range(rounds):
        for m in (0, 1):
            z, blocks = views[m], np.asarray(groups[m])
            ridge = np.zeros((z.shape[1], z.shape[1]))
            for j in range(z.shape[1]):
                norm = 0.5
                if round_ > 0:
                    norm = np.sqrt((weights[m][blocks == blocks[j]] ** 2).sum() + EPSILON**2)
                ridge[j, j] = sparsity / (2 * norm)
            partner = views[1 - m] @ weights[1 - m] if round_ or m else targets
            inverse = np.linalg.inv(z.T @ z * (1 + coupling) + ridge)
            weights[m] = np.column_stack(
                [
                    inverse @ (z.T @ targets[:, c] + coupling * z.T @ partner[:, c])
                    for c in range(targets.shape[1])
                ]
            )
    return weights


GROUPS = [None, 2, 100, ((0, 0, 7, 7, 7, 2), (1, 0, 1, 0)), (3, None)]
BLOCKS = [
    (range(6), range(4)),
    ((0, 0, 1, 1, 2, 2), (0, 0, 1, 1)),
    ((0,) * 6, (0,) * 4),
    ((0, 0, 2, 2, 2, 1), (1, 0, 1, 0)),
    ((0, 0, 0, 1, 1, 1), range(4)),
]


@pytest.mark.parametrize(("groups", "blocks"), list(zip(GROUPS, BLOCKS, strict=True)))
def test_agrees_with_the_rounds_written_out(groups, blocks, labelled_views, agrees):
    x, y, labels = labelled_views
    model = LGCFL(5.0, 0.7, groups=groups, max_iter=6, tol=0.0).fit(x, y, labels)
    wx, wy = dense_alternation(zscore(x), zscore(y), labels, blocks, 5.0, 0.7, 6)
    for ours, theirs in ((model.image_weights_, wx), (model.text_weights_, wy)):
        agrees("linear.LGCFL", ours, theirs, "loop", "its rounds written out", 1e-12)
    expected = objective_by_loops(zscore(x), zscore(y), labels, wx, wy, blocks, 5.0, 0.7)
    assert model.objective_[-1] == pytest.approx(expected, rel=1e-12)
    for norms, w, groups_ in (
        (model.image_block_norms_, wx, blocks[0]),
        (model.text_block_norms_, wy, blocks[1]),
    ):
        by_hand = [np.sqrt((w[np.asarray(groups_) == b] ** 2).sum()) for b in sorted(set(groups_))]
        np.testing.assert_allclose(norms, by_hand, atol=1e-12)


@pytest.mark.parametrize("shape", [(90, 6, 4), (20, 30, 7), (12, 5, 40), (15, 40, 50)])
@pytest.mark.parametrize("sparsity", [0.5, 20.0])
def test_the_objective_falls_to_where_its_gradient_vanishes(shape, sparsity, paired_views):
    x, y = paired_views(*shape, noise=0.5)
    labels = np.arange(shape[0]) % 3
    model = LGCFL(sparsity, 0.7, groups=2, **EXACT).fit(x, y, labels)
    falls = -np.diff(model.objective_)
    assert (falls >= -1e-12 * model.objective_[0]).all()
    assert len(falls) > 3
    targets = indicators(labels) - indicators(labels).mean(axis=0)
    zx, zy = zscore(x), zscore(y)
    u, v = zx @ model.image_weights_, zy @ model.text_weights_
    for z, w, own, other in (
        (zx, model.image_weights_, u, v),
        (zy, model.text_weights_, v, u),
    ):
        blocks = np.arange(z.shape[1]) // 2
        norms = np.array([np.sqrt((w[blocks == b] ** 2).sum() + EPSILON**2) for b in blocks])
        gradient = 2 * z.T @ (own - targets) + 1.4 * z.T @ (own - other)
        gradient += sparsity * w / norms[:, None]
        assert np.abs(gradient).max() < 1e-5 * np.abs(z.T @ targets).max()


def test_no_other_weights_are_better(labelled_views):
    x, y, labels = labelled_views
    model = LGCFL(5.0, 0.7, groups=2, **EXACT).fit(x, y, labels)
    blocks = BLOCKS[1]
    rng = np.random.default_rng(0)
    for size in (1e-3, 0.1):
        moved = [
            w + size * rng.normal(size=w.shape) for w in (model.image_weights_, model.text_weights_)
        ]
        there = objective_by_loops(zscore(x), zscore(y), labels, *moved, blocks, 5.0, 0.7)
        assert there > model.objective_[-1]


def test_without_sparsity_and_coupling_it_is_least_squares_on_the_labels(labelled_views, agrees):
    x, y, labels = labelled_views
    model = LGCFL(0.0, 0.0).fit(x, y, labels)
    for z, w in ((zscore(x), model.image_weights_), (zscore(y), model.text_weights_)):
        expected = np.linalg.lstsq(z, indicators(labels), rcond=None)[0]
        agrees("linear.LGCFL", w, expected, "closed form", "least squares on the labels", 1e-12)


def test_without_sparsity_wide_views_get_the_least_weights(paired_views):
    x, y = paired_views(20, 30, 25, noise=1.0)
    labels = np.arange(20) % 3
    model = LGCFL(0.0, 0.0).fit(x, y, labels)
    centred = indicators(labels) - indicators(labels).mean(axis=0)
    np.testing.assert_allclose(
        model.image_weights_, np.linalg.pinv(zscore(x)) @ centred, atol=1e-10
    )
    np.testing.assert_allclose(model.embed_texts(y), centred, atol=1e-10)


def test_one_round_is_a_ridge_regression_on_the_labels(labelled_views, agrees):
    x, y, labels = labelled_views
    model = LGCFL(3.0, 0.0, max_iter=1).fit(x, y, labels)
    for z, w in ((zscore(x), model.image_weights_), (zscore(y), model.text_weights_)):
        ridge = Ridge(alpha=3.0, solver="cholesky").fit(z, indicators(labels))
        agrees("linear.LGCFL", w, ridge.coef_.T, "peer", "scikit-learn's Ridge, one round", 1e-12)


def test_a_single_block_is_a_ridge_of_a_strength_that_fits_itself(labelled_views):
    x, y, labels = labelled_views
    model = LGCFL(3.0, 0.0, groups=100, **EXACT).fit(x, y, labels)
    for z, w in ((zscore(x), model.image_weights_), (zscore(y), model.text_weights_)):
        alpha = 3.0 / (2 * np.linalg.norm(w))
        ridge = Ridge(alpha=alpha, solver="cholesky").fit(z, indicators(labels))
        np.testing.assert_allclose(w, ridge.coef_.T, atol=1e-9)


def test_much_coupling_makes_partners_one(labelled_views):
    x, y, labels = labelled_views
    apart = [
        np.abs(m.embed_images(x) - m.embed_texts(y)).mean() / np.abs(m.embed_images(x)).mean()
        for m in (LGCFL(1.0, c, **EXACT).fit(x, y, labels) for c in (0.0, 1.0, 100.0))
    ]
    assert apart[0] > 1.05 * apart[1] > 1.05 * 1.05 * apart[2]


def test_useless_blocks_are_left_out(labelled_views):
    x, y, labels = labelled_views
    noise = np.random.default_rng(5).normal(size=(90, 4))
    long = {"max_iter": 300, "tol": 0.0}
    model = LGCFL(50.0, groups=((0,) * 6 + (1,) * 4, None), **long)
    used, useless = model.fit(np.hstack([x, noise]), y, labels).image_block_norms_
    assert useless < EPSILON < 0.1 < used
    alone = LGCFL(50.0, groups=(6, None), **long).fit(x, y, labels)
    np.testing.assert_allclose(model.image_weights_[:6], alone.image_weights_, atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 30, 7), (12, 5, 40), (15, 40, 50)])
def test_views_with_more_columns_than_rows_are_solved_alike(shape, paired_views):
    x, y = paired_views(*shape, noise=1.0)
    labels = np.arange(shape[0]) % 3
    model = LGCFL(5.0, 0.7, groups=3, max_iter=6, tol=0.0).fit(x, y, labels)
    blocks = np.arange(shape[1]) // 3, np.arange(shape[2]) // 3
    wx, wy = dense_alternation(zscore(x), zscore(y), labels, blocks, 5.0, 0.7, 6)
    np.testing.assert_allclose(model.image_weights_, wx, rtol=0, atol=1e-11)
    np.testing.assert_allclose(model.text_weights_, wy, rtol=0, atol=1e-11)


def test_the_order_of_pairs_and_the_scale_of_columns_do_not_matter(labelled_views):
    x, y, labels = labelled_views
    expected = LGCFL().fit(x, y, labels).embed_images(x)
    order = np.random.default_rng(0).permutation(90)
    other = LGCFL().fit(x[order], y[order], labels[order])
    np.testing.assert_allclose(other.embed_images(x), expected, atol=1e-10)
    scaled = LGCFL().fit(x * 1000 - 7, y, labels).embed_images(x * 1000 - 7)
    np.testing.assert_allclose(scaled, expected, atol=1e-10)


def test_pairs_without_a_label_are_coupled_only(labelled_views):
    x, y, labels = labelled_views
    partly = np.where(np.arange(90) % 3 == 0, -1, labels)
    model = LGCFL(5.0, 0.7, **EXACT).fit(x, y, partly)
    blocks = BLOCKS[0]
    expected = objective_by_loops(
        zscore(x), zscore(y), partly, model.image_weights_, model.text_weights_, blocks, 5.0, 0.7
    )
    assert model.objective_[-1] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(model.classes_, [3, 5, 7])
    without = LGCFL(5.0, 0.0, **EXACT).fit(x, y, partly)
    assert np.abs(model.image_weights_ - without.image_weights_).max() > 1e-3


def test_rows_without_a_partner_count_for_their_own_view(labelled_views):
    x, y, labels = labelled_views
    model = LGCFL(5.0, 0.7, **EXACT).fit(
        x[:60], y[:60], labels[:60],
        unpaired_images=(x[60:], labels[60:]), unpaired_texts=(y[60:80], labels[60:80]),
    )  # fmt: skip
    assert model.image_mean_ == pytest.approx(x.mean(axis=0))
    assert model.text_mean_ == pytest.approx(y[:80].mean(axis=0))
    assert model.n_features_in_ == 6
    targets = indicators(labels)
    shares = np.concatenate([targets[:60], targets[60:], targets[60:80]]).mean(axis=0)
    targets -= shares
    u, v = model.embed_images(x), model.embed_texts(y[:80])
    gap = np.zeros((90, 3))
    gap[:60] = u[:60] - v[:60]
    zx, zy = zscore(x), zscore(y[:80])
    for z, w, residual in (
        (zx, model.image_weights_, u - targets + 0.7 * gap),
        (zy, model.text_weights_, v - targets[:80] - 0.7 * gap[:80]),
    ):
        norms = np.sqrt((w**2).sum(axis=1, keepdims=True) + EPSILON**2)
        gradient = 2 * z.T @ residual + 5.0 * w / norms
        assert np.abs(gradient).max() < 1e-6
    with_none = LGCFL().fit(x, y, labels, unpaired_images=None)
    np.testing.assert_array_equal(
        with_none.embed_images(x), LGCFL().fit(x, y, labels).embed_images(x)
    )


def test_a_class_may_be_known_from_unpaired_rows_alone(labelled_views):
    x, y, labels = labelled_views
    here = labels != 7
    model = LGCFL().fit(
        x[here], y[here], labels[here],
        unpaired_images=(x[~here], labels[~here]), unpaired_texts=(y[~here], labels[~here]),
    )  # fmt: skip
    np.testing.assert_array_equal(model.classes_, [3, 5, 7])
    assert (model.classes_[model.embed_images(x[~here]).argmax(axis=1)] == 7).mean() > 0.7


def test_rounds_end_where_the_objective_hardly_falls(labelled_views):
    short, long = (LGCFL(tol=tol, max_iter=500).fit(*labelled_views) for tol in (1e-2, 1e-8))
    assert 1 < len(short.objective_) < len(long.objective_) < 500
    last = long.objective_[-2] - long.objective_[-1]
    assert last <= 1e-8 * long.objective_[-2]
    assert len(LGCFL(max_iter=3, tol=0.0).fit(*labelled_views).objective_) == 3


def test_blocks_are_saved_and_loaded(labelled_views, tmp_path):
    x, y, labels = labelled_views
    model = LGCFL(groups=(np.array([0, 0, 1, 1, 2, 2]), [0, 1, 1, 0])).fit(x, y, labels)
    model.save(tmp_path / "lgcfl")
    loaded = LGCFL.load(tmp_path / "lgcfl")
    assert loaded.groups == ((0, 0, 1, 1, 2, 2), (0, 1, 1, 0))
    np.testing.assert_array_equal(
        clone(loaded).fit(x, y, labels).embed_images(x), model.embed_images(x)
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "labels: LGCFL needs one class index a pair"),
        (np.zeros(90, int), "two classes or more"),
        (np.full(90, -1), "-1 means no label"),
        (np.zeros(89, int), r"labels: expected shape \(90,\)"),
        (np.linspace(0, 1, 90), "labels: expected whole numbers"),
    ],
)
def test_labels_that_cannot_be_are_explained(labels, message, labelled_views):
    x, y, _ = labelled_views
    with pytest.raises(ValueError, match=message):
        LGCFL().fit(x, y, labels)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sparsity": -1.0}, "sparsity: expected a number of at least 0"),
        ({"sparsity": np.inf}, "sparsity: expected a finite number of at least 0"),
        ({"coupling": "much"}, "coupling: expected a finite number of at least 0"),
        ({"max_iter": 0}, "max_iter: expected a whole number"),
        ({"max_iter": 2.5}, "max_iter: expected a whole number"),
        ({"tol": -1e-3}, "tol: expected a number of at least 0"),
        ({"groups": 0}, "groups of images: expected None"),
        ({"groups": "all"}, "groups of images: expected None"),
        ({"groups": (None, 1.5)}, "groups of texts: expected None"),
        ({"groups": (1, 2, 3)}, "got 3 entries"),
        ({"groups": ((0, 1), None)}, "groups of images: .* 6 block indices"),
        ({"groups": ((0, 1, 2, 3, 4, 0.5), None)}, "groups of images: expected indices"),
        ({"groups": (None, (0, 1, -2, 3))}, "groups of texts: expected indices"),
    ],
)
def test_parameters_out_of_range_are_explained(parameters, message, labelled_views):
    with pytest.raises(ValueError, match=message):
        LGCFL(**parameters).fit(*labelled_views)


@pytest.mark.parametrize(
    ("unpaired", "message"),
    [
        (np.zeros((5, 6)), r"unpaired_images: expected \(rows, labels\)"),
        ((np.zeros((5, 4)), np.zeros(5, int)), "unpaired_images: expected 6 numbers a row"),
        ((np.zeros((5, 6)), np.zeros(4, int)), r"unpaired_images labels: expected shape \(5,\)"),
        ((np.full((5, 6), np.nan), np.zeros(5, int)), "unpaired_images: 5 row"),
    ],
)
def test_unpaired_rows_that_cannot_be_are_explained(unpaired, message, labelled_views):
    with pytest.raises(ValueError, match=message):
        LGCFL().fit(*labelled_views, unpaired_images=unpaired)


def test_from_paper(labelled_views):
    x, y, labels = labelled_views
    model = LGCFL.from_paper().fit(x, y, labels)
    assert (model.classes_[model.embed_images(x).argmax(axis=1)] == labels).mean() > 0.7
