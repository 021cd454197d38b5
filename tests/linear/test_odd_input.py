"""Odd containers, odd parameters and extreme sizes: a clear error or the right answer."""

import numpy as np
import pytest
import torch
from scipy import sparse

from vlalign_lib.linear import (
    CCA,
    CFA,
    JRL,
    LGCFL,
    KernelCCA,
    SemanticMatching,
    canonical_correlations,
    correlation,
)

LABELS = np.arange(12) % 3


def related_views():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 4))
    return x, x @ rng.normal(size=(4, 3)) + 0.5 * rng.normal(size=(12, 3))


@pytest.mark.parametrize(
    "method", [CCA(2), KernelCCA(2), CFA(2), SemanticMatching(), LGCFL(), JRL()]
)
def test_tensors_are_rows_whatever_their_state(method):
    x, y = related_views()
    expected = method.fit(x, y, LABELS).embed_images(x)
    graph = torch.tensor(x).requires_grad_()
    labels = torch.tensor(LABELS)
    np.testing.assert_array_equal(method.fit(graph, y, labels).embed_images(graph), expected)
    assert np.isfinite(method.embed_texts(torch.tensor(y).bfloat16())).all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [3.0]], "images: the rows make no array"),
        (sparse.csr_array(np.eye(12, 4)), "images: expected a dense array"),
        (np.ma.masked_less(np.eye(12, 4), 1), "images: 44 values are masked"),
    ],
    ids=["ragged", "sparse", "masked"],
)
def test_rows_that_cannot_be_read(rows, message):
    with pytest.raises(ValueError, match=message):
        CCA(2).fit(rows, related_views()[1])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (KernelCCA(2, kernel=np.array(["rbf", "linear"])), "kernel: expected"),
        (SemanticMatching(space=np.ones(2)), "space: expected"),
        (SemanticMatching(temperature=1e-320), "temperature: expected a number of at least 1e-09"),
        (CCA(2, reg=10**400), "reg: expected"),
        (KernelCCA(2, gamma=10**400), "gamma: expected"),
        (KernelCCA(2, landmarks=5, random_state="x"), "random_state: expected"),
        (KernelCCA(2, landmarks=5, random_state=-1), "random_state: expected"),
    ],
)
def test_odd_parameters_are_explained(method, message):
    with pytest.raises(ValueError, match=message):
        method.fit(*related_views(), LABELS)


def test_more_components_than_numbers_can_count():
    x, y = related_views()
    with pytest.warns(UserWarning, match="only 3 can be learned"):
        assert CCA(10**400).fit(x, y).n_components_ == 3


@pytest.mark.parametrize("reg", [5e-324, 1e308])
def test_any_ridge_gives_classifiers(reg):
    x, y = related_views()
    posterior = SemanticMatching(reg).fit(x, y, LABELS).embed_images(x)
    np.testing.assert_allclose(posterior.sum(axis=1), 1.0, rtol=1e-12)
    if reg > 1:
        np.testing.assert_allclose(posterior, 1 / 3, rtol=1e-9)


@pytest.mark.parametrize("exponent", [-900, -560, 500])
def test_units_of_extreme_size_change_nothing(exponent):
    x, y = related_views()
    scaled = np.ldexp(x, exponent)
    np.testing.assert_allclose(
        canonical_correlations(scaled, y), canonical_correlations(x, y), rtol=1e-12
    )
    np.testing.assert_allclose(correlation(scaled[:, :3], y), correlation(x[:, :3], y), rtol=1e-12)


def test_correlation_of_numbers_near_the_largest():
    x, y = related_views()
    x, y = x[:, :3], np.abs(y)
    expected = correlation(x, y)
    np.testing.assert_allclose(correlation(x * 5e307 / np.abs(x).max(), y), expected, rtol=1e-12)
    np.testing.assert_allclose(correlation(x, y / y.max() * 1.7e308), expected, rtol=1e-12)
