"""What a GPU does with a mask, where rows cannot be dropped without waiting for their number.

And what the engine does with neither, beside the plain form.
"""

import itertools

import numpy as np
import pytest
import torch

from vlalign_lib.similarity.hsic import Settings, Terms, hsic_terms

FORMS = list(itertools.product(("linear", "rbf"), (False, True)))
REAL = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0], dtype=torch.bool)


def outcome(x, y, settings, mask=None, function=hsic_terms):
    """The terms, and the gradients of CKA and of HSIC."""
    leaves = x.clone().requires_grad_(), y.clone().requires_grad_()
    terms = function(*leaves, settings, mask)
    return terms.detach(), *torch.autograd.grad(terms[0] + terms[3], leaves)


@pytest.mark.parametrize("p", [3, 15])
@pytest.mark.parametrize("sigma", [None, (5.0, 1.0)])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_weighing_rows_is_dropping_them(views, p, sigma, kernel, unbiased):
    settings = Settings(kernel, unbiased, 0.4, sigma)
    x, y = views(12, p, p)
    x[~REAL], y[~REAL] = torch.nan, 1e9
    terms, *grads = outcome(x, y, settings, REAL)
    assert not any(grad[~REAL].any() for grad in grads)
    weighed = terms, *(grad[REAL] for grad in grads)
    for form in (hsic_terms, hsic_terms.plain):
        for found, dropped in zip(
            weighed, outcome(x[REAL], y[REAL], settings, function=form), strict=True
        ):
            torch.testing.assert_close(found, dropped, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("p", [3, 15])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_gradients_with_weights(agrees, views, p, kernel, unbiased):
    settings = Settings(kernel, unbiased, 0.4, 4.0)
    inputs = tuple(view.requires_grad_() for view in views(12, p, p))

    def value(x, y):
        return hsic_terms(x, y, settings, REAL)[3]

    agrees.gradcheck("similarity.cka", value, inputs)


@pytest.mark.parametrize("kept", [0, 1, 3])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_too_few_rows_are_not_a_number(views, kernel, kept):
    settings = Settings(kernel, True, 0.5, None)
    for p in (3, 15):
        assert hsic_terms(*views(12, p, p), settings, torch.arange(12) < kept)[3].isnan()


@pytest.mark.parametrize("n", [2, 3, 4, 7, 20])
def test_the_median_in_every_form(n):
    """By partition in the engine, by sorting elsewhere."""
    points = torch.randn(n, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    expected = np.median(torch.pdist(points).numpy())
    settings = Settings("rbf", False, 1.0, None)
    everything = torch.ones(n, dtype=torch.bool)
    for form, mask in ((hsic_terms, None), (hsic_terms.plain, None), (hsic_terms, everything)):
        found = Terms(*form(points, points, settings, mask))
        assert float(found.sigma_x) == pytest.approx(expected, rel=1e-12)


def test_nan_goes_through(views):
    """The similarities look for it afterwards; the losses leave it."""
    for p, (kernel, unbiased), mask in itertools.product((3, 15), FORMS, (None, REAL)):
        x, y = views(12, p, p)
        x[4, 1] = torch.nan
        terms, grad, _ = outcome(x, y, Settings(kernel, unbiased, 0.5, None), mask)
        assert terms[:4].isnan()[[0, 1, 3]].all()
        assert grad.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiny_and_huge_views_stay_usable(dtype):
    """Whatever one number is, the power of two above it divides without loss."""
    settings = Settings("linear", False, 0.5, None)
    largest = torch.finfo(dtype).max
    everything = torch.ones(5, dtype=torch.bool)
    for value in (1.0, 0.99, 1.01, 2.0, 0.5, 1e-30, 3e30, 1e-37, largest):
        x = torch.tensor([[0.0], [1.0], [0.5], [0.25], [-0.75]], dtype=dtype) * value
        for mask in (None, everything):
            terms = Terms(*hsic_terms(x, x, settings, mask))
            assert float(terms.cka) == pytest.approx(1, abs=1e-6)
            assert np.log2(float(terms.scale_x)) % 1 == 0
            assert float(terms.scale_x) / 2 <= value <= 4 * float(terms.scale_x)


@pytest.mark.parametrize("p", [3, 15])
@pytest.mark.parametrize("sigma", [None, 2.0])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_nothing_waits_for_a_device(p, sigma, masked, kernel, unbiased):
    """On the meta device there are no numbers to wait for: looking at one is an error."""
    x, y = (torch.empty(12, p, device="meta", requires_grad=True) for _ in range(2))
    mask = torch.empty(12, dtype=torch.bool, device="meta") if masked else None
    cka = hsic_terms(x, y, Settings(kernel, unbiased, 0.5, sigma), mask)[3]
    grads = torch.autograd.grad(cka, (x, y))
    assert [grad.shape for grad in grads] == [x.shape, y.shape]
    with pytest.raises(RuntimeError, match="meta"):
        bool(cka > 0)
