"""torch.func, forward mode, batched gradients and torch.compile: right, or a clear error."""

import pytest
import torch

from vlalign_lib.losses import s2dtw_contrastive_loss
from vlalign_lib.temporal import dtw, pairwise_s2dtw, s2dtw, soft_alignment, soft_dtw

FUNCTIONS = [
    pytest.param(lambda c: soft_dtw(c, 0.3), id="soft_dtw"),
    pytest.param(lambda c: soft_alignment(c, 0.3), id="soft_alignment"),
    pytest.param(lambda c: s2dtw(c, 0.3), id="s2dtw"),
    pytest.param(lambda c: soft_dtw(c, 0.0), id="dtw"),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_vmap(function, costs):
    cost = costs(3, 2, 4, 5)
    expected = torch.stack([function(batch) for batch in cost])
    each = torch.func.vmap(function)(cost)
    torch.testing.assert_close(each, expected, rtol=1e-12, atol=1e-13)
    nested = torch.func.vmap(torch.func.vmap(lambda c: function(c[None])[0]))(cost)
    torch.testing.assert_close(nested, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_jacobians(function, costs):
    cost = costs(1, 3, 4)
    expected = torch.autograd.functional.jacobian(function, cost)
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(transform(function)(cost), expected, rtol=1e-11, atol=1e-13)


def test_hessian(costs):
    cost = costs(1, 3, 4)

    def value(c):
        return soft_dtw(c, 0.3).sum()

    expected = torch.autograd.functional.hessian(value, cost)
    torch.testing.assert_close(torch.func.hessian(value)(cost), expected, rtol=1e-11, atol=1e-13)


def test_forward_mode(costs):
    cost, direction = costs(2, 3, 4), costs(2, 3, 4, seed=1)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(cost, direction)
        tangent = torch.autograd.forward_ad.unpack_dual(soft_dtw(dual, 0.3)).tangent
    expected = (soft_alignment(cost, 0.3) * direction).sum((1, 2))
    torch.testing.assert_close(tangent, expected, rtol=1e-12, atol=1e-13)


def test_lengths_under_vmap(costs):
    cost = costs(3, 2, 4, 5)
    lengths = torch.tensor([[[4, 5], [1, 3]], [[2, 2], [4, 1]], [[3, 5], [4, 4]]])
    each = torch.func.vmap(lambda c, e: soft_dtw(c, 0.3, lengths=e))(cost, lengths)
    expected = [soft_dtw(c, 0.3, lengths=e) for c, e in zip(cost, lengths, strict=True)]
    torch.testing.assert_close(each, torch.stack(expected), rtol=1e-12, atol=1e-13)


def test_batched_gradients(costs):
    cost = costs(3, 4, 5).requires_grad_()
    values = soft_dtw(cost, 0.3)
    (rows,) = torch.autograd.grad(values, cost, torch.eye(3).double(), is_grads_batched=True)
    expected = torch.einsum("ab,bij->abij", torch.eye(3).double(), soft_alignment(cost, 0.3))
    torch.testing.assert_close(rows, expected.detach(), rtol=1e-13, atol=0)


@pytest.mark.engine
def test_batched_second_gradients_say_what_to_do(costs):
    cost = costs(3, 4, 5).requires_grad_()
    expected = soft_alignment(cost, 0.3).sum((1, 2))
    with pytest.raises(RuntimeError, match="one gradient at a time"):
        torch.autograd.grad(expected, cost, torch.eye(3).double(), is_grads_batched=True)


def test_paths_have_no_transform(costs):
    with pytest.raises(RuntimeError, match=r"soft_dtw\(cost, 0.0\) has the same values"):
        torch.func.vmap(lambda c: dtw(c)[0])(costs(2, 3, 4, 5))


@pytest.mark.parametrize("lengths", [None, torch.tensor([[4, 5], [2, 3]])])
@pytest.mark.parametrize("function", [soft_dtw, soft_alignment, s2dtw])
def test_compiled(function, lengths, costs):
    torch.compiler.reset()
    cost = costs(2, 4, 5).requires_grad_()
    scale = costs(2, 4, 5, seed=1)

    def loss(c):
        out = function(c * 2, 0.3, lengths=lengths)
        return (out * scale).sum() if out.ndim == 3 else (out * scale[:, 0, 0]).sum()

    plain, compiled = loss(cost), torch.compile(loss, backend="aot_eager", fullgraph=True)(cost)
    torch.testing.assert_close(compiled, plain, rtol=1e-13, atol=1e-13)
    expected, got = (torch.autograd.grad(value, cost)[0] for value in (plain, compiled))
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("metric", ["shifted_cosine", "euclidean"])
def test_compiled_loss(metric, costs):
    torch.compiler.reset()
    x, y = costs(3, 4, 5).requires_grad_(), costs(3, 2, 5, seed=1)

    def loss(x):
        return s2dtw_contrastive_loss(x, y, cost=metric) + pairwise_s2dtw(x, y).sum()

    plain, compiled = loss(x), torch.compile(loss, backend="aot_eager")(x)
    torch.testing.assert_close(compiled, plain, rtol=1e-12, atol=1e-12)
    expected, got = (torch.autograd.grad(value, x)[0] for value in (plain, compiled))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_compiled_paths(costs):
    torch.compiler.reset()
    cost = costs(2, 4, 5)
    values, paths = torch.compile(dtw, backend="aot_eager")(cost)
    expected, expected_paths = dtw(cost)
    assert torch.equal(values, expected)
    assert all(map(torch.equal, paths, expected_paths))


@pytest.mark.engine
def test_operators_keep_their_promises(costs):
    from vlalign_lib.engine.soft_dtw import operators as _ops

    cost = costs(2, 3, 4).requires_grad_()
    lengths = torch.tensor([[3, 4], [2, 1]])
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    for operator in (_ops.values, _ops.alignments):
        for ends in (None, lengths):
            torch.library.opcheck(operator, (cost, ends, 0.3), test_utils=checks)
    arguments = (cost.detach(), costs(2, 3, 4, seed=1), lengths, 0.3)
    torch.library.opcheck(_ops.products, arguments, test_utils=checks)
