import warnings

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cross_decomposition import CCA as SklearnCCA

from vlalign_lib.linear import CCA, CFA, canonical_correlations, correlation


def covariance_by_loops(x, y):
    n = len(x)
    s = np.zeros((x.shape[1], y.shape[1]))
    for i in range(x.shape[1]):
        for j in range(y.shape[1]):
            mi, mj = sum(x[:, i]) / n, sum(y[:, j]) / n
            s[i, j] = sum((x[t, i] - mi) * (y[t, j] - mj) for t in range(n)) / (n - 1)
    return s


def zscore(x):
    return (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)


def generalised_eigenproblem(x, y, reg, k, covariance=lambda a, b: np.cov(a.T, b.T)):
    """The definition, as one symmetric pencil: [0 S_xy; S_yx 0] w = ρ [S_x+rI 0; 0 S_y+rI] w."""
    x, y = zscore(x), zscore(y)
    p, q = x.shape[1], y.shape[1]
    joint = covariance(x, y)
    sx, sy, sxy = joint[:p, :p], joint[p:, p:], joint[:p, p:]
    rx, ry = reg * np.trace(sx) / p, reg * np.trace(sy) / q
    left = np.block([[np.zeros((p, p)), sxy], [sxy.T, np.zeros((q, q))]])
    right = scipy.linalg.block_diag(sx + rx * np.eye(p), sy + ry * np.eye(q))
    rho, w = scipy.linalg.eigh(left, right)
    rho, w = rho[::-1][:k], w[:, ::-1][:, :k] * np.sqrt(2)  # each half has norm 1/√2
    return rho, w[:p], w[p:]


def test_agrees_with_covariances_by_loops(paired_views, same_up_to_sign, agrees):
    x, y = paired_views(25, 4, 3)

    def covariance(a, b):
        both = np.hstack([a, b])
        return covariance_by_loops(both, both)

    cca = CCA(n_components=3, reg=0.01).fit(x, y)
    rho, a, b = generalised_eigenproblem(x, y, 0.01, 3, covariance)
    agrees("linear.CCA", cca.correlations_, rho, "loop", "covariances in loops", 1e-12)
    assert same_up_to_sign(cca.image_weights_, a) < 1e-10
    assert same_up_to_sign(cca.text_weights_, b) < 1e-10


@pytest.mark.parametrize("reg", [1e-6, 1e-4, 0.1, 3.0])
@pytest.mark.parametrize(
    ("n", "p", "q"),
    [
        (120, 12, 7),
        (60, 90, 7),
        (60, 7, 90),
        (60, 80, 90),
        (40, 39, 39),
        (40, 40, 39),
        (40, 41, 40),
    ],
)
def test_agrees_with_the_generalised_eigenproblem(
    n, p, q, reg, paired_views, same_up_to_sign, agrees
):
    x, y = paired_views(n, p, q, shared=6)
    cca = CCA(n_components=4, reg=reg).fit(x, y)
    rho, a, b = generalised_eigenproblem(x, y, reg, 4)
    agrees("linear.CCA", cca.correlations_, rho, "derivation", "the generalised eigenproblem", 1e-8)
    if reg >= 1e-4 or n > p + q:  # below, correlations crowd at 1 and axes are not unique
        assert same_up_to_sign(cca.image_weights_, a) < 1e-6
        assert same_up_to_sign(cca.text_weights_, b) < 1e-6


def test_new_rows_embed_as_the_eigenproblem_says_when_dimensions_outnumber_pairs(
    paired_views, same_up_to_sign
):
    x, y = paired_views(80, 70, 60, shared=5)
    train, new = slice(0, 50), slice(50, None)
    cca = CCA(n_components=3, reg=0.05).fit(x[train], y[train])
    _, a, b = generalised_eigenproblem(x[train], y[train], 0.05, 3)

    def placed(view, weights):
        return (view[new] - view[train].mean(axis=0)) / view[train].std(axis=0, ddof=1) @ weights

    assert same_up_to_sign(cca.embed_images(x[new]), placed(x, a)) < 1e-9
    assert same_up_to_sign(cca.embed_texts(y[new]), placed(y, b)) < 1e-9


@pytest.mark.parametrize(
    ("n", "p", "q", "reg"),
    [(200, 5, 8, 0.0), (200, 5, 8, 0.5), (40, 70, 5, 1e-4), (40, 70, 60, 1e-4), (40, 70, 60, 0.5)],
)
def test_constraints_hold(n, p, q, reg, paired_views):
    x, y = paired_views(n, p, q)
    cca = CCA(n_components=5, reg=reg).fit(x, y)
    identity = np.eye(5)
    for z, w in ((zscore(x), cca.image_weights_), (zscore(y), cca.text_weights_)):
        s = np.cov(z.T)
        ridge = reg * np.trace(s) / len(s)
        np.testing.assert_allclose(w.T @ (s + ridge * np.eye(len(s))) @ w, identity, atol=1e-8)
    u, v = cca.embed_images(x), cca.embed_texts(y)
    cross = u.T @ v / (n - 1)
    np.testing.assert_allclose(cross, np.diag(cca.correlations_), atol=1e-8)


@pytest.mark.parametrize(("n", "p", "q"), [(80, 9, 6), (30, 60, 40), (30, 60, 6)])
def test_an_enormous_ridge_leaves_cfa(n, p, q, paired_views, same_up_to_sign):
    x, y = paired_views(n, p, q)
    cca, cfa = CCA(n_components=3, reg=1e9).fit(x, y), CFA(n_components=3).fit(x, y)
    assert cca.correlations_.max() < 1e-6
    for ours, limit in (
        (cca.image_weights_, cfa.image_weights_),
        (cca.text_weights_, cfa.text_weights_),
    ):
        assert same_up_to_sign(ours / np.linalg.norm(ours, axis=0), limit) < 1e-6


def test_given_correlations_come_back(exact_views, agrees):
    rho = [0.99, 0.7, 0.4, 0.05]
    x, y = exact_views(rho, n=60, p=4, q=6)
    cca = CCA(n_components=4, reg=0).fit(x, y)
    agrees("linear.CCA", cca.correlations_, rho, "closed form", "given correlations", 1e-12)
    measured = correlation(cca.embed_images(x), cca.embed_texts(y))
    np.testing.assert_allclose(measured, rho, atol=1e-12)


def test_population_correlations_are_reached_with_many_pairs():
    rng = np.random.default_rng(0)
    rho, n = np.array([0.9, 0.5]), 40_000
    u = rng.normal(size=(n, 2))
    v = rho * u + np.sqrt(1 - rho**2) * rng.normal(size=(n, 2))
    x = np.hstack([u, rng.normal(size=(n, 2))]) @ rng.normal(size=(4, 4))
    y = v @ rng.normal(size=(2, 2))
    found = CCA(n_components=2, reg=0).fit(x, y).correlations_
    assert (np.abs(found - rho) < 4 * (1 - rho**2) / np.sqrt(n)).all()


def test_two_columns_give_pearson_and_one_text_column_multiple_correlation(paired_views):
    x, y = paired_views(50, 4, 1)
    one = CCA(n_components=1, reg=0).fit(x[:, :1], y)
    assert one.correlations_[0] == pytest.approx(
        abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]), abs=1e-12
    )
    many = CCA(n_components=1, reg=0).fit(x, y)
    fitted = np.column_stack([x, np.ones(50)])
    fitted = fitted @ np.linalg.lstsq(fitted, y[:, 0], rcond=None)[0]
    assert many.correlations_[0] == pytest.approx(np.std(fitted) / np.std(y), abs=1e-10)


def test_agrees_with_scikit_learn_on_one_component(paired_views, agrees):
    x, y = paired_views(300, 6, 5)
    ours = CCA(n_components=1, reg=0).fit(x, y)
    theirs = SklearnCCA(n_components=1, max_iter=5000, tol=1e-14).fit(x, y)
    u, v = theirs.transform(x, y)
    assert abs(np.corrcoef(ours.embed_images(x)[:, 0], u[:, 0])[0, 1]) > 1 - 1e-10
    theirs = np.corrcoef(u[:, 0], v[:, 0])[0, 1]
    agrees("linear.CCA", ours.correlations_[0], theirs, "peer", "scikit-learn, one component", 1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), p=st.integers(1, 5), q=st.integers(1, 5))
def test_without_ridge_invertible_maps_change_nothing(seed, p, q):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(40, p)), rng.normal(size=(40, q))
    y[:, 0] += x[:, 0]
    cca = CCA(n_components=1, reg=0).fit(x, y)
    spread = np.linalg.qr(rng.normal(size=(p, p)))[0] * rng.uniform(0.1, 10, p)
    moved = CCA(n_components=1, reg=0).fit(x @ spread + 5.0, -2.0 * y)
    np.testing.assert_allclose(moved.correlations_, cca.correlations_, atol=1e-10)
    agreement = np.corrcoef(cca.embed_images(x)[:, 0], moved.embed_images(x @ spread + 5.0)[:, 0])
    assert abs(agreement[0, 1]) > 1 - 1e-6


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(4, 30),
    p=st.integers(1, 30),
    q=st.integers(1, 30),
    reg=st.sampled_from([1e-4, 0.1, 1.0]),
)
def test_any_shape_gives_ordered_correlations_symmetric_in_the_views(seed, n, p, q, reg):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    cca = CCA(n_components=None, reg=reg).fit(x, y)
    rho = cca.correlations_
    assert len(rho) == min(p, q, n - 1)
    assert (np.diff(rho) <= 1e-12).all()
    assert rho[0] < 1
    assert rho[-1] >= 0
    np.testing.assert_allclose(CCA(None, reg).fit(y, x).correlations_, rho, atol=1e-8)


def test_column_scale_shift_row_order_and_copies_change_nothing(paired_views, same_up_to_sign):
    x, y = paired_views(60, 8, 6)
    cca = CCA(n_components=3, reg=0.1).fit(x, y)
    order = np.random.default_rng(1).permutation(60)
    for images, texts in (
        (x * np.geomspace(1e-6, 1e6, 8) + 3.0, y - 1e3),
        (x[order], y[order]),
        (np.repeat(x, 3, axis=0), np.repeat(y, 3, axis=0)),
    ):
        other = CCA(n_components=3, reg=0.1).fit(images, texts)
        np.testing.assert_allclose(other.correlations_, cca.correlations_, atol=1e-9)
        assert same_up_to_sign(other.image_weights_, cca.image_weights_) < 1e-7


def test_signs_follow_the_largest_weight(paired_views):
    x, y = paired_views(60, 8, 6)
    cca, flipped = CCA(4).fit(x, y), CCA(4).fit(-x, y)
    largest = np.abs(cca.image_weights_).argmax(axis=0)
    assert (cca.image_weights_[largest, range(4)] > 0).all()
    np.testing.assert_allclose(flipped.image_weights_, cca.image_weights_, atol=1e-10)
    np.testing.assert_allclose(flipped.text_weights_, -cca.text_weights_, atol=1e-10)
    assert (correlation(cca.embed_images(x), cca.embed_texts(y)) > 0).all()


def test_single_precision_inputs_give_the_same_answer(paired_views, same_up_to_sign, agrees):
    x, y = paired_views(100, 12, 9)
    double = CCA(n_components=3).fit(x, y)
    single = CCA(n_components=3).fit(x.astype(np.float32), y.astype(np.float32))
    agrees(
        "linear.CCA",
        single.correlations_,
        double.correlations_,
        "float32",
        "itself in float64",
        1e-6,
    )
    assert same_up_to_sign(single.image_weights_, double.image_weights_) < 1e-5
    assert single.embed_images(x.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize("reg", [1e-3, 0.1])
def test_all_routes_to_a_view_agree(reg, paired_views):
    """Columns said five times: more than the pairs (Gram matrix), or singular (singular values)."""
    x, y = paired_views(50, 20, 8)
    cca = CCA(3, reg).fit(x, y)
    gram = CCA(3, 5 * reg).fit(np.hstack([x] * 5), np.hstack([y] * 5))
    np.testing.assert_allclose(gram.correlations_, cca.correlations_, atol=1e-10)
    u, v = gram.embed_images(np.hstack([x] * 5)), gram.embed_texts(np.hstack([y] * 5))
    np.testing.assert_allclose(u, cca.embed_images(x), atol=1e-7)
    np.testing.assert_allclose(v, cca.embed_texts(y), atol=1e-7)
    plain = CCA(3, 0).fit(x, y)
    singular = CCA(3, 0).fit(np.hstack([x] * 2), np.hstack([y] * 2))
    np.testing.assert_allclose(singular.correlations_, plain.correlations_, atol=1e-10)
    twice = singular.embed_images(np.hstack([x] * 2))
    np.testing.assert_allclose(twice, plain.embed_images(x), atol=1e-7)


@pytest.mark.parametrize("blank", [1, 6, 50])
def test_columns_that_never_change_change_nothing(blank, paired_views):
    """Whether there are fewer than the pairs with them, or more (the Gram matrix)."""
    x, y = paired_views(40, 6, 6)
    wide = [np.hstack([view, np.full((40, blank), 3.0)]) for view in (x, y)]
    cca, padded = CCA(3, 0.3).fit(x, y), CCA(3, 0.3).fit(*wide)
    np.testing.assert_allclose(padded.correlations_, cca.correlations_, rtol=1e-10)
    np.testing.assert_allclose(padded.embed_images(wide[0]), cca.embed_images(x), atol=1e-8)
    assert not padded.image_weights_[6:].any()


def test_weights_survive_a_correlation_of_zero():
    hadamard = scipy.linalg.hadamard(16).astype(float)
    x, y = hadamard[:, 1:5], hadamard[:, 5:9].copy()
    y[:, 0] = x[:, 0]
    wide = np.hstack([x] * 5)  # more columns than pairs: the Gram route
    cca = CCA(n_components=4, reg=0.1).fit(wide, y)
    np.testing.assert_allclose(cca.correlations_[1:], 0, atol=1e-9)
    s = np.cov(zscore(wide).T)
    inner = cca.image_weights_.T @ (s + 0.1 * np.eye(20)) @ cca.image_weights_
    np.testing.assert_allclose(inner, np.eye(4), atol=1e-6)


def test_singular_views_without_ridge_use_the_directions_there_are(exact_views):
    x, y = exact_views([0.8, 0.3], n=50, p=3, q=2)
    repeated = np.hstack([x, x @ np.ones((3, 1)), x[:, :1], np.full((50, 1), 7.0)])
    cca = CCA(n_components=2, reg=0).fit(repeated, y)
    np.testing.assert_allclose(cca.correlations_, [0.8, 0.3], atol=1e-8)
    np.testing.assert_allclose(
        correlation(cca.embed_images(repeated), cca.embed_texts(y)), [0.8, 0.3], atol=1e-8
    )


def test_nearly_singular_views_keep_their_digits(exact_views):
    x, y = exact_views([0.8, 0.3], n=80, p=3, q=2, seed=3)
    x = x @ np.array([[1, 1, 1], [0, 1e-5, 1e-5], [0, 0, 1e-9]])  # condition number about 1e9
    found = CCA(n_components=2, reg=0).fit(x, y).correlations_
    np.testing.assert_allclose(found, [0.8, 0.3], atol=1e-5)


@pytest.mark.parametrize(("n", "p"), [(80, 30), (30, 80)])
def test_a_tiny_ridge_counts_where_variances_are_tiny_too(n, p, paired_views):
    x, y = paired_views(n, p, 5)
    u, s, vt = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    x = (u * np.geomspace(1, 1e-7, len(s))) @ vt  # variances down to 1e-14 of the largest
    reg = 1e-10
    cca = CCA(n_components=4, reg=reg).fit(x, y)
    u, s, _ = np.linalg.svd(zscore(x), full_matrices=False)
    shrunk = u * (s / np.sqrt(s**2 + reg * (s @ s) / p))
    v, t, _ = np.linalg.svd(zscore(y), full_matrices=False)
    m = shrunk.T @ (v * (t / np.sqrt(t**2 + reg * (t @ t) / 5)))
    np.testing.assert_allclose(cca.correlations_, np.linalg.svd(m)[1][:4], atol=1e-7)


def test_constant_columns_count_for_nothing(paired_views):
    x, y = paired_views(40, 3, 3)
    with_constant = np.insert(x, 1, 0.1, axis=1)
    cca = CCA(2, reg=0).fit(with_constant, y)
    assert cca.image_scale_[1] == 1
    assert (cca.image_weights_[1] == 0).all()
    np.testing.assert_allclose(cca.correlations_, CCA(2, reg=0).fit(x, y).correlations_, atol=1e-12)
    regularised = CCA(2, reg=0.1).fit(with_constant, y)
    assert (regularised.image_weights_[1] == 0).all()


def test_more_components_than_directions_warns_and_keeps_what_there_is(paired_views):
    x, y = paired_views(100, 12, 5)
    y[:, 4] = -y[:, :4].sum(axis=1)  # a simplex: five columns, four directions
    with pytest.warns(UserWarning, match=r"n_components=10, but only 4.*texts in 4.*keeping 4"):
        cca = CCA(n_components=10).fit(x, y)
    assert cca.n_components_ == 4
    assert cca.embed_texts(y).shape == (100, 4)
    with pytest.warns(UserWarning, match="only 4"):
        CCA(n_components=5).fit(x.astype(np.float32), y.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert CCA(n_components=None).fit(x, y).n_components_ == 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_makes_no_directions_when_dimensions_outnumber_pairs(dtype):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(40, 4)) @ rng.normal(size=(4, 90)) + 10).astype(dtype)
    y = rng.normal(size=(40, 70)).astype(dtype)
    with pytest.warns(UserWarning, match="images vary in 4 independent directions"):
        assert CCA(n_components=10).fit(x, y).n_components_ == 4


def test_perfect_on_training_nothing_on_test():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 120)), rng.normal(size=(400, 90))
    with pytest.warns(UserWarning, match=r"90 of the correlations are 1 whatever the data"):
        cca = CCA(n_components=20, reg=0).fit(x[:100], y[:100])
    np.testing.assert_allclose(cca.correlations_, 1.0, atol=1e-8)
    train = correlation(cca.embed_images(x[:100]), cca.embed_texts(y[:100]))
    test = correlation(cca.embed_images(x[100:]), cca.embed_texts(y[100:]))
    np.testing.assert_allclose(train, 1.0, atol=1e-8)
    assert np.abs(test).mean() < 2 / np.sqrt(300)


@pytest.mark.parametrize(
    ("n", "p", "q", "perfect"), [(30, 20, 15, 6), (30, 29, 2, 2), (30, 14, 15, 0)]
)
def test_warns_of_exactly_as_many_perfect_correlations_as_there_are(n, p, q, perfect):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, p)), rng.normal(size=(n, q))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rho = canonical_correlations(x, y)
        CCA(n_components=1, reg=0).fit(x, y)
    assert (rho > 1 - 1e-9).sum() == perfect
    assert len(caught) == 2 * (perfect > 0)
    for warning in caught:
        assert f"{perfect} of the correlations are 1" in str(warning.message)
        assert warning.filename == __file__  # points at the caller's line


def test_a_ridge_finds_the_signal_where_dimensions_use_up_the_pairs():
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(600, 2))
    x = signal @ rng.normal(size=(2, 50)) + 4 * rng.normal(size=(600, 50))
    y = signal @ rng.normal(size=(2, 50)) + 4 * rng.normal(size=(600, 50))
    held_out = []
    for reg in (1e-8, 1.0):
        cca = CCA(n_components=2, reg=reg).fit(x[:100], y[:100])
        held_out.append(correlation(cca.embed_images(x[100:]), cca.embed_texts(y[100:])).mean())
    assert held_out[0] < 0.3
    assert held_out[1] > 0.6


def test_linear_maps_do_not_see_the_circle():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 4000)
    once = np.column_stack([np.cos(angle), np.sin(angle)]) @ rng.normal(size=(2, 6))
    twice = np.column_stack([np.cos(2 * angle), np.sin(2 * angle)]) @ rng.normal(size=(2, 6))
    cca = CCA(n_components=2).fit(once[:2000], twice[:2000])
    found = correlation(cca.embed_images(once[2000:]), cca.embed_texts(twice[2000:]))
    assert (np.abs(found) < 4 / np.sqrt(2000)).all()


@pytest.mark.parametrize(("n", "p", "q"), [(100, 30, 20), (40, 90, 60)])
def test_pca_first_is_cca_on_principal_components(n, p, q, paired_views, same_up_to_sign):
    x, y = paired_views(n, p, q, shared=5)
    cca = CCA(n_components=3, reg=0.01, pca=8).fit(x, y)
    projected = []
    for view in (x, y):
        u, s, _ = np.linalg.svd(zscore(view), full_matrices=False)
        projected.append(u[:, :8] * s[:8])
    a, b = projected
    sa, sb = np.cov(a.T), np.cov(b.T)
    la = np.linalg.cholesky(sa + 0.01 * np.trace(sa) / 8 * np.eye(8))
    lb = np.linalg.cholesky(sb + 0.01 * np.trace(sb) / 8 * np.eye(8))
    m = np.linalg.inv(la) @ (a.T @ b / (n - 1)) @ np.linalg.inv(lb).T
    u, s, _ = np.linalg.svd(m)
    np.testing.assert_allclose(cca.correlations_, s[:3], atol=1e-9)
    assert same_up_to_sign(cca.embed_images(x), a @ np.linalg.inv(la).T @ u[:, :3]) < 1e-7


def test_pca_takes_a_number_a_share_or_a_pair(paired_views):
    x, y = paired_views(100, 30, 20, shared=5)
    shares = np.linalg.svd(zscore(x), compute_uv=False) ** 2
    shares = np.cumsum(shares) / shares.sum()
    needed = int((shares < 0.9).sum()) + 1
    cca = CCA(n_components=None, pca=(0.9, None)).fit(x, y)
    assert cca.n_components_ == min(needed, 20)
    assert CCA(n_components=None, pca=(7, 0.999999)).fit(x, y).n_components_ == 7
    everything = CCA(n_components=3, reg=0, pca=1000).fit(x, y)
    np.testing.assert_allclose(
        everything.correlations_, CCA(3, reg=0).fit(x, y).correlations_, atol=1e-9
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_components": 0}, "n_components: expected a whole number"),
        ({"n_components": 2.5}, "n_components: expected a whole number"),
        ({"n_components": True}, "n_components: expected a whole number"),
        ({"reg": -1}, "reg: expected a number of at least 0"),
        ({"reg": float("nan")}, "reg: expected a finite number of at least 0"),
        ({"reg": "big"}, "reg: expected a finite number of at least 0"),
        ({"pca": 0}, "pca: expected None"),
        ({"pca": 1.5}, "pca: expected None"),
        ({"pca": (3, 4, 5)}, "pca: expected None"),
        ({"pca": True}, "pca: expected None"),
    ],
)
def test_parameters_out_of_range_are_explained(parameters, message, paired_views):
    with pytest.raises(ValueError, match=message):
        CCA(**parameters).fit(*paired_views(20, 3, 3))


def test_from_paper_is_plain_cca(exact_views):
    x, y = exact_views([0.9, 0.2], n=40, p=2, q=3)
    np.testing.assert_allclose(CCA.from_paper().fit(x, y).correlations_, [0.9, 0.2], atol=1e-10)
