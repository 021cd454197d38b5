import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlalign_lib.linear import CFA, correlation


def zscore(x):
    return (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)


@pytest.mark.parametrize(("n", "p", "q"), [(50, 6, 9), (20, 40, 30), (700, 400, 300)])
def test_agrees_with_the_definition(n, p, q, paired_views, same_up_to_sign, agrees):
    x, y = paired_views(n, p, q, shared=6)
    cfa = CFA(n_components=4).fit(x, y)
    u, s, vt = np.linalg.svd(zscore(x).T @ zscore(y) / (n - 1))
    agrees(
        "linear.CFA", cfa.singular_values_, s[:4], "derivation", "the whole decomposition", 1e-10
    )
    assert same_up_to_sign(cfa.image_weights_, u[:, :4]) < 1e-8
    assert same_up_to_sign(cfa.text_weights_, vt[:4].T) < 1e-8
    covariances = cfa.embed_images(x).T @ cfa.embed_texts(y) / (n - 1)
    np.testing.assert_allclose(covariances, np.diag(s[:4]), atol=1e-9 * s[0])
    np.testing.assert_allclose(
        cfa.correlations_, correlation(cfa.embed_images(x), cfa.embed_texts(y)), atol=1e-12
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 3))
def test_no_other_orthonormal_axes_covary_more(seed, k):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 4))
    cfa = CFA(n_components=k).fit(x, y)
    best = np.trace(cfa.embed_images(x).T @ cfa.embed_texts(y))
    for _ in range(20):
        a, _ = np.linalg.qr(rng.normal(size=(5, k)))
        b, _ = np.linalg.qr(rng.normal(size=(4, k)))
        assert np.trace(a.T @ zscore(x).T @ zscore(y) @ b) <= best
    for w in (cfa.image_weights_, cfa.text_weights_):
        np.testing.assert_allclose(w.T @ w, np.eye(k), atol=1e-10)


def test_turning_white_columns_changes_nothing(paired_views, same_up_to_sign):
    x, y = paired_views(60, 5, 4)
    white, _ = np.linalg.qr(x - x.mean(axis=0))  # stays standardised when turned
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    straight, turned = CFA(3).fit(white, y), CFA(3).fit(white @ turn, y)
    np.testing.assert_allclose(turned.singular_values_, straight.singular_values_, atol=1e-10)
    u, v = straight.embed_images(white), turned.embed_images(white @ turn)
    assert same_up_to_sign(u, v) < 1e-8


def test_column_scale_shift_row_order_and_copies_change_nothing(paired_views, same_up_to_sign):
    x, y = paired_views(60, 8, 6)
    cfa = CFA(3).fit(x, y)
    order = np.random.default_rng(1).permutation(60)
    for images, texts in (
        (x * np.geomspace(1e-6, 1e6, 8) + 3.0, y - 1e3),
        (x[order], y[order]),
        (np.repeat(x, 3, axis=0), np.repeat(y, 3, axis=0)),
    ):
        other = CFA(3).fit(images, texts)
        np.testing.assert_allclose(other.singular_values_, cfa.singular_values_, atol=1e-9)
        assert same_up_to_sign(other.image_weights_, cfa.image_weights_) < 1e-7


def test_a_single_column_each_is_their_correlation(paired_views, agrees):
    x, y = paired_views(40, 1, 1)
    cfa = CFA(n_components=1).fit(x, y)
    pearson = np.corrcoef(x[:, 0], y[:, 0])[0, 1]
    assert cfa.singular_values_[0] == pytest.approx(abs(pearson), abs=1e-12)
    assert cfa.image_weights_[0, 0] == 1
    assert cfa.text_weights_[0, 0] == np.sign(pearson)


def test_more_components_than_directions_warns_and_keeps_what_there_is(paired_views):
    x, y = paired_views(100, 12, 5)
    y[:, 4] = -y[:, :4].sum(axis=1)
    with pytest.warns(UserWarning, match="n_components=10, but only 4"):
        cfa = CFA().fit(x, y)
    assert cfa.n_components_ == 4
    assert CFA.from_paper().fit(x, y).n_components_ == 4


def test_views_that_do_not_covary_leave_one_component_without_meaning():
    x = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    y = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    cfa = CFA(n_components=1).fit(x, y)
    assert cfa.singular_values_[0] == 0
    assert cfa.correlations_[0] == 0


def test_constant_columns_count_for_nothing(paired_views):
    x, y = paired_views(40, 3, 3)
    cfa = CFA(2).fit(np.insert(x, 1, 0.1, axis=1), y)
    assert (cfa.image_weights_[1] == 0).all()
    np.testing.assert_allclose(cfa.singular_values_, CFA(2).fit(x, y).singular_values_, atol=1e-12)


def test_parameters_out_of_range_are_explained(paired_views):
    with pytest.raises(ValueError, match="n_components: expected a whole number"):
        CFA(n_components=0).fit(*paired_views(20, 3, 3))
