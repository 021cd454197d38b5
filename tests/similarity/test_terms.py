"""What a GPU does with a mask, where rows cannot be dropped without waiting for their number."""

import itertools
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from vlalign_lib.similarity import _terms
from vlalign_lib.similarity._terms import _median, _power_of_two, _power_on_device, hsic_terms
from vlalign_lib.similarity._views import as_settings

FORMS = list(itertools.product(("linear", "rbf"), (False, True)))
REAL = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 1, 0], dtype=torch.bool)


@pytest.mark.parametrize("p", [3, 15])
@pytest.mark.parametrize("sigma", [None, (5.0, 1.0)])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_weighing_rows_is_dropping_them(views, p, sigma, kernel, unbiased):
    settings = as_settings(kernel, unbiased, 0.4, sigma)
    x, y = views(12, p, p)
    x[~REAL], y[~REAL] = torch.nan, 1e9
    outcomes = []
    for first, second, mask in ((x, y, REAL), (x[REAL], y[REAL], None)):
        leaves = first.clone().requires_grad_(), second.clone().requires_grad_()
        terms = hsic_terms(*leaves, settings, mask)
        grads = torch.autograd.grad(terms.cka + terms.xy, leaves)
        if mask is not None:
            assert not any(grad[~REAL].any() for grad in grads)
            grads = [grad[REAL] for grad in grads]
        outcomes.append([*(term.detach() for term in terms), *grads])
    for weighed, dropped in zip(*outcomes, strict=True):
        torch.testing.assert_close(weighed, dropped, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("p", [3, 15])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_gradients_with_weights(agrees, views, p, kernel, unbiased):
    settings = as_settings(kernel, unbiased, 0.4, 4.0)
    inputs = tuple(view.requires_grad_() for view in views(12, p, p))

    def value(x, y):
        return hsic_terms(x, y, settings, REAL).cka

    agrees.gradcheck("similarity.cka", value, inputs)


@pytest.mark.parametrize("kept", [0, 1, 3])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_too_few_rows_are_not_a_number(views, kernel, kept):
    settings = as_settings(kernel, True, 0.5, None)
    for p in (3, 15):
        x, y = views(12, p, p)
        assert hsic_terms(x, y, settings, torch.arange(12) < kept).cka.isnan()


@pytest.mark.parametrize("n", [2, 3, 4, 7, 20])
def test_both_ways_to_the_median(n):
    """By partition on the CPU, by sorting elsewhere."""
    points = torch.randn(n, 3, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    squared = torch.cdist(points, points) ** 2
    squared.fill_diagonal_(0)
    expected = np.median(torch.pdist(points).numpy())
    everything = torch.ones(n, dtype=torch.bool)
    for mask in (None, everything):
        count = n if mask is None else mask.sum().double()
        found = _median(squared, (points**2).sum(dim=1), count, mask)
        assert float(found) == pytest.approx(expected, rel=1e-12)


def test_nan_goes_through(views):
    """The similarities look for it afterwards; the losses leave it."""
    for p, (kernel, unbiased) in itertools.product((3, 15), FORMS):
        x, y = views(12, p, p)
        x[4, 1] = torch.nan
        x.requires_grad_()
        value = hsic_terms(x, y, as_settings(kernel, unbiased, 0.5, None)).cka
        value.backward()
        assert value.isnan()
        assert x.grad.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_ways_to_a_power_of_two(dtype):
    """By Python's frexp on the CPU, from the bits elsewhere; a tiny or huge one stays usable."""
    largest = torch.finfo(dtype).max
    for value in (1.0, 0.99, 1.01, 2.0, 0.5, 1e-30, 3e30, 1e-40, largest):
        number = torch.tensor([value], dtype=dtype)
        power = float(_power_on_device(number[0]))
        assert power == float(_power_of_two(number[:, None]))
        if 1e-37 < value < largest:
            assert power / 2 <= float(number) < power


@pytest.mark.parametrize("p", [3, 15])
@pytest.mark.parametrize("sigma", [None, 2.0])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("kernel", "unbiased"), FORMS)
def test_nothing_waits_for_a_device(monkeypatch, p, sigma, masked, kernel, unbiased):
    """On the meta device there are no numbers to wait for: looking at one is an error."""
    monkeypatch.setattr(_terms, "without_autocast", nullcontext)  # which knows no meta device
    x, y = (torch.empty(12, p, device="meta", requires_grad=True) for _ in range(2))
    mask = torch.empty(12, dtype=torch.bool, device="meta") if masked else None
    terms = hsic_terms(x, y, as_settings(kernel, unbiased, 0.5, sigma), mask)
    grads = torch.autograd.grad(terms.cka, (x, y))
    assert [grad.shape for grad in grads] == [x.shape, y.shape]
    with pytest.raises(RuntimeError, match="meta"):
        bool(terms.cka > 0)
