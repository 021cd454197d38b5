import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.linear import CCA, KernelCCA, correlation


def standardised(view, train):
    return (view - train.mean(axis=0)) / train.std(axis=0, ddof=1)


def rbf_by_loops(a, b, gamma):
    return np.array([[np.exp(-gamma * sum((r - s) ** 2)) for s in b] for r in a])


def centred_by_loops(between, train):
    """k(x, x_i) minus the mean over the training row, the training column, plus the grand mean."""
    n = len(train)
    out = np.empty_like(between)
    for i in range(len(between)):
        for j in range(n):
            row = sum(between[i]) / n
            column = sum(train[:, j]) / n
            out[i, j] = between[i, j] - row - column + train.mean()
    return out


def sheet_eigenproblem(kx, ky, reg, k):
    """(K_x+cI)⁻¹ K_y (K_y+cI)⁻¹ K_x α = ρ² α, by a solver that knows nothing of symmetry."""
    n = len(kx)
    cx, cy = reg * np.trace(kx) / n, reg * np.trace(ky) / n
    product = np.linalg.solve(kx + cx * np.eye(n), ky) @ np.linalg.solve(ky + cy * np.eye(n), kx)
    values, vectors = np.linalg.eig(product)
    order = np.argsort(-values.real)[:k]
    alpha = vectors[:, order].real
    norms = np.einsum("ik,ij,jk->k", alpha, kx @ kx + cx * kx, alpha)
    return np.sqrt(values[order].real), alpha * np.sqrt((n - 1) / norms)


@pytest.mark.parametrize("reg", [1e-2, 0.1, 2.0])
def test_agrees_with_the_eigenproblem_by_loops(reg, paired_views, same_up_to_sign, agrees):
    x, y = paired_views(70, 4, 3)
    train, new = slice(0, 50), slice(50, None)
    kcca = KernelCCA(n_components=3, gamma=(0.1, 0.2), reg=reg).fit(x[train], y[train])
    zx, zy = standardised(x, x[train]), standardised(y, y[train])
    raw_x, raw_y = rbf_by_loops(zx[train], zx[train], 0.1), rbf_by_loops(zy[train], zy[train], 0.2)
    kx, ky = centred_by_loops(raw_x, raw_x), centred_by_loops(raw_y, raw_y)
    rho, alpha = sheet_eigenproblem(kx, ky, reg, 3)
    agrees("linear.KernelCCA", kcca.correlations_, rho, "loop", "kernels in loops", 1e-9)
    assert same_up_to_sign(kcca.embed_images(x[train]), kx @ alpha) < 1e-6
    seen = centred_by_loops(rbf_by_loops(zx[new], zx[train], 0.1), raw_x)
    assert same_up_to_sign(kcca.embed_images(x[new]), seen @ alpha) < 1e-6
    _, beta = sheet_eigenproblem(ky, kx, reg, 3)
    seen = centred_by_loops(rbf_by_loops(zy[new], zy[train], 0.2), raw_y)
    assert same_up_to_sign(kcca.embed_texts(y[new]), seen @ beta) < 1e-6


@pytest.mark.parametrize(("n", "p", "q"), [(120, 9, 6), (40, 60, 50), (40, 60, 5)])
def test_a_linear_kernel_is_cca(n, p, q, paired_views, same_up_to_sign, agrees):
    x, y = paired_views(n + 20, p, q, shared=5)
    # CCA's ridge is relative to the columns, the kernel's to the rows. Columns said again make
    # both views equally wide, so that one factor n/p translates for both.
    y = y[:, np.arange(p) % q]
    train, new = slice(0, n), slice(n, None)
    linear = CCA(n_components=4, reg=0.05).fit(x[train], y[train])
    kernel = KernelCCA(4, kernel="linear", reg=0.05 * n / p).fit(x[train], y[train])
    agrees(
        "linear.KernelCCA",
        kernel.correlations_,
        linear.correlations_,
        "derivation",
        "CCA, for a linear kernel",
        1e-9,
    )
    assert same_up_to_sign(kernel.embed_images(x[new]), linear.embed_images(x[new])) < 1e-7
    assert same_up_to_sign(kernel.embed_texts(y[new]), linear.embed_texts(y[new])) < 1e-7
    assert kernel.image_gamma_ is None


def test_constraints_hold(paired_views):
    x, y = paired_views(60, 5, 4)
    kcca = KernelCCA(n_components=4, gamma=0.1, reg=0.2).fit(x, y)
    z = standardised(x, x)
    raw = rbf_by_loops(z, z, 0.1)
    k = centred_by_loops(raw, raw)
    c = 0.2 * np.trace(k) / 60
    inner = kcca.image_coefs_.T @ (k @ k + c * k) @ kcca.image_coefs_
    np.testing.assert_allclose(inner, 59 * np.eye(4), atol=1e-7)
    cross = kcca.embed_images(x).T @ kcca.embed_texts(y) / 59
    np.testing.assert_allclose(cross, np.diag(kcca.correlations_), atol=1e-9)


def test_a_very_wide_rbf_is_the_linear_kernel(paired_views, same_up_to_sign):
    x, y = paired_views(80, 6, 5)
    wide = KernelCCA(3, gamma=1e-7).fit(x, y)  # 1 − γ‖x − x'‖², and centring leaves 2γ xᵀx'
    linear = KernelCCA(3, kernel="linear").fit(x, y)
    np.testing.assert_allclose(wide.correlations_, linear.correlations_, atol=1e-4)
    assert same_up_to_sign(wide.embed_images(x), linear.embed_images(x)) < 1e-3


@pytest.mark.parametrize("landmarks", [None, 20])
def test_a_kernel_too_wide_for_rounding_is_refused(landmarks, paired_views):
    kcca = KernelCCA(3, gamma=1e-17, landmarks=landmarks, random_state=0)
    with pytest.raises(ValueError, match=r"gamma=1e-17: so wide a kernel finds all items alike"):
        kcca.fit(*paired_views(80, 6, 5))


def test_a_very_narrow_rbf_remembers_pairs_and_knows_nothing_else(paired_views, agrees):
    x, y = paired_views(60, 6, 5)
    kcca = KernelCCA(3, gamma=1e4, reg=1e-3).fit(x[:50], y[:50])
    expected = np.full_like(kcca.correlations_, 1 / (1 + 0.001 * 49 / 50))
    agrees(
        "linear.KernelCCA",
        kcca.correlations_,
        expected,
        "closed form",
        "items that are all alone",
        1e-12,
    )
    new = kcca.embed_images(x[50:])
    np.testing.assert_allclose(new, np.broadcast_to(new[:1], new.shape), atol=1e-9)


def test_median_heuristic_by_loops(paired_views):
    x, y = paired_views(31, 4, 3)
    kcca = KernelCCA(2).fit(x, y)
    for view, gamma in ((x, kcca.image_gamma_), (y, kcca.text_gamma_)):
        z = standardised(view, view)
        squares = [sum((z[i] - z[j]) ** 2) for i in range(31) for j in range(i)]
        assert gamma == pytest.approx(1 / (2 * np.median(squares)), rel=1e-10)


def test_median_heuristic_where_most_rows_coincide():
    x = np.zeros((40, 2))
    x[:3] = np.arange(6).reshape(3, 2)
    y = x + np.random.default_rng(0).normal(size=x.shape)
    kcca = KernelCCA(1).fit(x, y)
    z = standardised(x, x)
    squares = [sum((z[i] - z[j]) ** 2) for i in range(40) for j in range(i)]
    assert kcca.image_gamma_ == pytest.approx(1 / (2 * np.mean(squares)), rel=1e-10)


@pytest.mark.parametrize("landmarks", [None, 200])
def test_sees_the_circle(landmarks):
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 800)
    once = np.column_stack([np.cos(angle), np.sin(angle)]) @ rng.normal(size=(2, 10))
    twice = np.column_stack([np.cos(2 * angle), np.sin(2 * angle)]) @ rng.normal(size=(2, 10))
    once += 0.1 * rng.normal(size=once.shape)
    twice += 0.1 * rng.normal(size=twice.shape)
    kcca = KernelCCA(2, landmarks=landmarks, random_state=0).fit(once[:400], twice[:400])
    found = correlation(kcca.embed_images(once[400:]), kcca.embed_texts(twice[400:]))
    assert (found > 0.95).all()


def test_landmarks_are_exact_where_the_kernel_has_low_rank(paired_views, same_up_to_sign):
    x, y = paired_views(90, 6, 5)
    full = KernelCCA(3, kernel="linear").fit(x, y)
    some = KernelCCA(3, kernel="linear", landmarks=20, random_state=0).fit(x, y)
    assert len(some.image_anchors_) == 6
    np.testing.assert_allclose(some.correlations_, full.correlations_, atol=1e-9)
    assert same_up_to_sign(some.embed_texts(y[:5]), full.embed_texts(y[:5])) < 1e-7


def test_landmarks_reproduce_the_nystrom_kernel(paired_views, same_up_to_sign, agrees):
    x, y = paired_views(50, 4, 3)
    seed = 3
    kcca = KernelCCA(2, gamma=0.1, reg=0.1, landmarks=15, random_state=seed).fit(x, y)
    drawn = np.sort(np.random.default_rng(seed).choice(50, 15, replace=False))
    kernels = []
    for view in (x, y):
        z = standardised(view, view)
        seen = rbf_by_loops(z, z[drawn], 0.1)
        approximate = seen @ np.linalg.inv(rbf_by_loops(z[drawn], z[drawn], 0.1)) @ seen.T
        kernels.append(centred_by_loops(approximate, approximate))
    rho, alpha = sheet_eigenproblem(*kernels, 0.1, 2)
    agrees("linear.KernelCCA", kcca.correlations_, rho, "loop", "the Nyström kernel in loops", 1e-7)
    assert same_up_to_sign(kcca.embed_images(x), kernels[0] @ alpha) < 1e-4


def test_landmarks_are_drawn_by_the_random_state(paired_views):
    x, y = paired_views(60, 4, 3)

    def coefs(landmarks, random_state):
        return KernelCCA(2, landmarks=landmarks, random_state=random_state).fit(x, y).image_coefs_

    np.testing.assert_array_equal(coefs(20, 1), coefs(20, 1))
    assert not np.array_equal(coefs(20, 1), coefs(20, 2))
    np.testing.assert_array_equal(coefs(60, 1), coefs(None, None))
    np.testing.assert_array_equal(coefs(20, 5), coefs(20, np.random.default_rng(5)))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), kernel=st.sampled_from(["rbf", "linear"]))
def test_row_order_column_scale_and_turning_change_nothing(seed, kernel):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
    y[:, 0] = x[:, 0] ** 2
    rho = KernelCCA(3, kernel, reg=0.5).fit(x, y).correlations_
    order = rng.permutation(30)
    scaled = KernelCCA(3, kernel, reg=0.5).fit(5 - x[order] * [1, 10, 100, 1e3], y[order])
    np.testing.assert_allclose(scaled.correlations_, rho, atol=1e-9)
    white, _ = np.linalg.qr(x - x.mean(axis=0))  # turning keeps these columns standardised
    turn, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    straight = KernelCCA(3, kernel, reg=0.5).fit(white, y).correlations_
    turned = KernelCCA(3, kernel, reg=0.5).fit(white @ turn, y).correlations_
    np.testing.assert_allclose(turned, straight, atol=1e-9)
    assert (np.diff(rho) <= 0).all()
    assert 0 <= rho[-1] <= rho[0] < 1


def test_copies_of_the_rows_halve_the_ridge_and_change_nothing_else(paired_views, same_up_to_sign):
    x, y = paired_views(30, 2, 1, shared=1)
    kcca = KernelCCA(2, gamma=0.5, reg=0.1).fit(x, y)
    twice = np.repeat(x, 2, axis=0), np.repeat(y, 2, axis=0)
    copies = KernelCCA(2, gamma=0.5 * 58 / 59, reg=0.2).fit(*twice)  # columns have n − 1 inside
    np.testing.assert_allclose(copies.correlations_, kcca.correlations_, atol=1e-9)
    assert (np.abs(correlation(copies.embed_images(x), kcca.embed_images(x))) > 1 - 1e-9).all()


def test_single_precision_inputs_give_the_same_answer(paired_views, agrees):
    x, y = paired_views(30, 2, 1, shared=1)
    single = KernelCCA(1, gamma=0.5).fit(x.astype(np.float32), y.astype(np.float32))
    double = KernelCCA(1, gamma=0.5).fit(x, y)
    agrees(
        "linear.KernelCCA",
        single.correlations_,
        double.correlations_,
        "float32",
        "itself in float64",
        1e-5,
    )


def test_without_ridge_every_correlation_is_one_and_fit_says_so(paired_views):
    x, y = paired_views(40, 3, 3, shared=1)
    with pytest.warns(UserWarning, match="of the correlations are 1 whatever the data"):
        kcca = KernelCCA(5, gamma=1.0, reg=0).fit(x, y[::-1])
    np.testing.assert_allclose(kcca.correlations_, 1, atol=1e-6)


def test_without_ridge_a_linear_kernel_is_plain_cca(exact_views):
    x, y = exact_views([0.9, 0.4], n=50, p=3, q=2)
    kcca = KernelCCA(2, kernel="linear", reg=0).fit(x, y)
    np.testing.assert_allclose(kcca.correlations_, [0.9, 0.4], atol=1e-7)
    found = correlation(kcca.embed_images(x), kcca.embed_texts(y))
    np.testing.assert_allclose(found, [0.9, 0.4], atol=1e-7)


def test_a_tiny_ridge_takes_the_spectral_route_to_the_same_answer():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 1))
    y = x + rng.normal(size=(40, 1))
    reg = 3e-9
    kcca = KernelCCA(6, gamma=0.1, reg=reg).fit(x, y)
    whitened = []
    for view in (x, y):
        z = standardised(view, view)
        raw = rbf_by_loops(z, z, 0.1)
        values, vectors = np.linalg.eigh(centred_by_loops(raw, raw))
        values = np.clip(values, 0, None)
        whitened.append(vectors * np.sqrt(values / (values + reg * values.sum() / 40)))
    expected = np.linalg.svd(whitened[0].T @ whitened[1])[1][:6]
    assert expected[5] < 0.9, "the ridge must show"
    np.testing.assert_allclose(kcca.correlations_, expected, atol=1e-5)


def test_independent_by_design_correlates_nowhere_and_stays_centred():
    x, y = (axis.reshape(-1, 1).astype(float) for axis in np.meshgrid(range(6), range(5)))
    kcca = KernelCCA(2, gamma=0.5).fit(x, y)
    np.testing.assert_allclose(kcca.correlations_, 0, atol=1e-12)
    np.testing.assert_allclose(kcca.image_coefs_.sum(axis=0), 0, atol=1e-9)
    z = standardised(x, x)
    raw = rbf_by_loops(z, z, 0.5)
    new = np.array([[0.5], [7.0]])
    seen = centred_by_loops(rbf_by_loops(standardised(new, x), z, 0.5), raw)
    np.testing.assert_allclose(kcca.embed_images(new), seen @ kcca.image_coefs_, atol=1e-9)


def test_mixed_kernels_and_widths_go_to_their_views(paired_views):
    x, y = paired_views(50, 4, 3)
    kcca = KernelCCA(2, kernel=("rbf", "linear"), gamma=(0.25, None)).fit(x, y)
    assert kcca.image_gamma_ == 0.25
    assert kcca.text_gamma_ is None
    assert KernelCCA.from_paper().kernel == ("rbf", "linear")


def test_blocks_of_new_rows_embed_as_single_rows(paired_views):
    x, y = paired_views(20, 3, 2)
    kcca = KernelCCA(2).fit(x, y)
    many = np.random.default_rng(0).normal(size=(4100, 3))
    picked = [0, 1999, 2000, 4099]
    one_by_one = np.vstack([kcca.embed_images(many[[i]]) for i in picked])
    np.testing.assert_allclose(kcca.embed_images(many)[picked], one_by_one, atol=1e-12)


def test_warns_of_fewer_components_than_asked(paired_views):
    x, y = paired_views(50, 4, 2)
    with pytest.warns(UserWarning, match="n_components=10, but only 2"):
        kcca = KernelCCA(10, kernel="linear").fit(x, y)
    assert kcca.embed_images(x).shape == (50, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kernel": "poly"}, 'kernel: expected "rbf", "linear"'),
        ({"kernel": ("rbf",)}, "kernel: expected"),
        ({"kernel": 3}, "kernel: expected"),
        ({"gamma": 0.0}, "gamma: expected None"),
        ({"gamma": "auto"}, "gamma: expected None"),
        ({"gamma": True}, "gamma: expected None"),
        ({"gamma": (1.0, -1.0)}, "gamma: expected None"),
        ({"reg": -0.1}, "reg: expected a number of at least 0"),
        ({"landmarks": 1}, "landmarks: expected a whole number of at least 2"),
        ({"landmarks": 10.0}, "landmarks: expected a whole number of at least 2"),
        ({"n_components": -1}, "n_components: expected a whole number"),
    ],
)
def test_parameters_out_of_range_are_explained(parameters, message, paired_views):
    with pytest.raises(ValueError, match=message):
        KernelCCA(**parameters).fit(*paired_views(20, 3, 3))
