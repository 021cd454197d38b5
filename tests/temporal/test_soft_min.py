"""The soft minimum: definition, bounds, limits."""

import math

import pytest
import torch

from vlalign_lib.temporal import soft_min


def test_definition(costs, agrees):
    values = costs(4, 6)
    for gamma in (0.1, 1.0, 10.0):
        agrees(
            "temporal.soft_min",
            soft_min(values, gamma),
            -gamma * (-values / gamma).exp().sum(1).log(),
            kind="closed form",
            against="definition",
            tolerance=1e-14,
        )


def test_gradient_is_a_softmax(costs, agrees):
    values = costs(3, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(soft_min(values, 0.4).sum(), values)
    torch.testing.assert_close(gradient, torch.softmax(-values / 0.4, 1), rtol=1e-13, atol=0)
    agrees.gradcheck("temporal.soft_min", lambda v: soft_min(v, 0.4), values)
    agrees.gradcheck("temporal.soft_min", lambda v: soft_min(v, 0.4), values, second=True)


def test_bounds_and_limits(costs):
    values = costs(50, 7)
    hard = values.amin(1)
    for gamma in (1e-6, 0.1, 5.0):
        soft = soft_min(values, gamma)
        assert (soft <= hard + 1e-13).all()
        assert (soft >= hard - gamma * math.log(7) - 1e-13).all()
    for gamma in (0.0, 1e-300):
        assert torch.equal(soft_min(values, gamma), hard)
        assert torch.equal(soft_min(values.float(), gamma), hard.float())


def test_infinity_and_nan():
    values = torch.tensor(
        [[1.0, math.inf, 1.0], [math.inf] * 3, [1.0, math.nan, 2.0]], requires_grad=True
    )
    soft = soft_min(values, 1.0)
    assert soft[0].item() == pytest.approx(1 - math.log(2))
    assert soft[1] == math.inf
    assert soft[2].isnan()
    (gradient,) = torch.autograd.grad(soft[:2].sum(), values)
    assert gradient[0].tolist() == [0.5, 0.0, 0.5]
    assert gradient[1].tolist() == [0.0, 0.0, 0.0]


def test_axes(costs):
    values = costs(2, 3, 4)
    for dim in (0, 1, 2, -1, -3):
        expected = soft_min(values.movedim(dim, -1), 0.3)
        torch.testing.assert_close(soft_min(values, 0.3, dim=dim), expected, rtol=1e-15, atol=0)


def test_huge_values_and_the_first_of_equals():
    values = torch.tensor([1e30, 1e30, 2e30], requires_grad=True)
    assert soft_min(values, 1e-3).item() == pytest.approx(1e30)
    (gradient,) = torch.autograd.grad(soft_min(values, 0.0), values)
    assert gradient.tolist() == [1.0, 0.0, 0.0]


def test_half_precision_and_autocast():
    values = torch.tensor([1.0, 2.0, 3.0]).half()
    soft = soft_min(values)
    assert soft.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(soft_min(values.float()), soft)
