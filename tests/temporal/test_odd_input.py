"""What people hand over by mistake: an error that says what to do."""

import copy
import math
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from vlalign_lib.temporal import (
    S2DTW,
    SoftDTW,
    dtw,
    pairwise_s2dtw,
    permute_in_time,
    s2dtw,
    sequence_cost,
    soft_alignment,
    soft_dtw,
    soft_min,
)

GOOD = torch.zeros(2, 3, 4)


@pytest.fixture(params=[soft_dtw, soft_alignment, s2dtw, dtw], ids=lambda f: f.__name__)
def function(request):
    return request.param


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (np.zeros((2, 3, 4)), "cost: expected a torch tensor"),
        ([[[0.0]]], "cost: expected a torch tensor"),
        (None, "cost: expected a torch tensor"),
        (torch.zeros(3, 4), r"cost: expected shape \(B, n, m\), got \(3, 4\)"),
        (torch.zeros(2, 3, 4, 5), r"cost: expected shape \(B, n, m\)"),
        (torch.zeros(2, 3, 4).long(), "cost: expected real numbers in floating point"),
        (torch.zeros(2, 3, 4).bool(), "cost: expected real numbers in floating point"),
        (torch.zeros(2, 3, 4, dtype=torch.complex64), "cost: expected real numbers"),
        (torch.zeros(2, 3, 4).to_sparse(), "cost: expected a dense tensor"),
        (torch.zeros(2, 0, 4), "cost: expected sequences of at least one item"),
        (torch.zeros(0, 3, 0), "cost: expected sequences of at least one item"),
        (torch.zeros(2, 3, 4, device="meta"), "cost: is a tensor on the meta device"),
    ],
)
def test_what_is_no_cost_matrix(function, cost, message):
    with pytest.raises(ValueError, match=message):
        function(cost)


@pytest.mark.parametrize("gamma", [-0.1, math.nan, math.inf, "0.1", None, True, [0.1]])
def test_what_is_no_gamma(gamma):
    for call in (soft_dtw, soft_alignment, s2dtw, soft_min):
        with pytest.raises(ValueError, match="gamma: expected a"):
            call(GOOD, gamma)
    for module in (SoftDTW, S2DTW):
        with pytest.raises(ValueError, match="gamma: expected a"):
            module(gamma)


def test_gamma_in_other_clothes():
    cost = torch.randn(2, 3, 4)
    expected = soft_dtw(cost, 0.5)
    for gamma in (np.float32(0.5), np.array(0.5), torch.tensor(0.5)):
        assert torch.equal(soft_dtw(cost, gamma), expected)
    with pytest.raises(ValueError, match="gamma: is a fixed number here and gets no gradient"):
        soft_dtw(cost, torch.tensor(0.5, requires_grad=True))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([[3, 4]], r"lengths: expected shape \(2, 2\), .* got \(1, 2\)"),
        ([3, 4], r"lengths: expected shape \(2, 2\)"),
        (torch.tensor([[3, 4], [0, 4]]), "lengths: expected 1 to 3, .* got values from 0 to 3"),
        (torch.tensor([[3, 4], [-1, 4]]), "lengths: expected 1 to 3"),
        (torch.tensor([[3, 4], [4, 4]]), "lengths: expected 1 to 3"),
        (torch.tensor([[3, 4], [3, 5]]), "lengths: expected 1 to 4"),
        (torch.tensor([[3.0, 4.0], [3.0, 4.0]]), "lengths: expected whole numbers, got"),
        (torch.tensor([[3.0, 4.0]] * 2, requires_grad=True), "lengths: expected whole numbers"),
        (torch.ones(2, 2, dtype=torch.bool), "lengths: expected whole numbers"),
        ([["a", "b"]], "lengths: expected whole numbers"),
        ([[3, 4], [3]], "lengths: expected whole numbers"),
        (torch.ones(2, 2, device="meta").long(), "lengths: is a tensor on the meta device"),
    ],
)
def test_what_are_no_lengths(function, lengths, message):
    with pytest.raises(ValueError, match=message):
        function(GOOD, lengths=lengths)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64, torch.uint8])
def test_lengths_of_any_whole_type(dtype):
    cost = torch.randn(2, 3, 4)
    lengths = torch.tensor([[3, 2], [1, 4]])
    expected = soft_dtw(cost, lengths=lengths)
    assert torch.equal(soft_dtw(cost, lengths=lengths.to(dtype)), expected)
    assert torch.equal(soft_dtw(cost, lengths=lengths.numpy()), expected)
    backwards = lengths.numpy()[::-1].copy()[::-1]
    backwards.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(soft_dtw(cost, lengths=backwards), expected)
    assert torch.equal(soft_dtw(cost, lengths=lengths.tolist()), expected)
    assert torch.equal(soft_dtw(cost, lengths=lengths.T.contiguous().T), expected)


def test_dummy():
    for dummy in (math.nan, math.inf, "0.5", None):
        with pytest.raises(ValueError, match="dummy: expected a finite number"):
            s2dtw(GOOD, dummy=dummy)


def test_soft_min_of_nothing():
    for values, message in (
        (torch.zeros(3, 0), "no minimum along an empty axis"),
        (torch.tensor(1.0), "at least one axis"),
        ([1.0], "values: expected a torch tensor"),
        (torch.arange(3), "values: expected real numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            soft_min(values)
    with pytest.raises(ValueError, match="dim: expected an axis"):
        soft_min(GOOD, dim=3)


@pytest.mark.parametrize("module", [SoftDTW(0.3), S2DTW(0.3, dummy=0.2, weak=False)])
def test_modules_can_be_copied_and_sent(module):
    cost = torch.randn(2, 3, 4)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(cost), module(cost))
        assert repr(twin) == repr(module)
    assert not list(module.parameters())


def test_nothing_is_kept_where_no_gradient_is_wanted(backend):
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape), lambda t: t):
        wanting = torch.randn(2, 3, 4, requires_grad=True)
        x = torch.randn(2, 3, 4, requires_grad=True)
        soft_dtw(wanting.detach()), s2dtw(wanting.detach())
        with torch.no_grad():
            soft_dtw(wanting), s2dtw(wanting)
            pairwise_s2dtw(x, x)
        assert not kept
        soft_dtw(wanting)
        assert kept


@pytest.mark.engine  # the plain form keeps nothing of the costs: its gradient stays right
def test_changing_the_costs_before_the_gradient_is_an_error():
    cost = torch.randn(2, 3, 4, requires_grad=True)
    doubled = cost * 2
    values = soft_dtw(doubled)
    doubled.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        values.sum().backward()


def test_gradient_twice_without_keeping_the_graph_is_an_error():
    cost = torch.randn(2, 3, 4, requires_grad=True)
    values = soft_dtw(cost).sum()
    values.backward()
    with pytest.raises(RuntimeError, match="second time"):
        values.backward()


@pytest.mark.engine
@pytest.mark.parametrize("stage", ["forward", "alignment", "hessian_product"])
def test_where_a_kernel_fails_the_plain_form_runs_and_says_so_once(stage, monkeypatch):
    from vlalign_lib import _fast
    from vlalign_lib.engine.soft_dtw import loops

    def broken(*_, **__):
        raise SystemError("initialization of _internal failed")

    def second(cost):
        (slope,) = torch.autograd.grad(soft_dtw(cost).sum(), cost, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), cost)[0]

    cost = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    expected = second(cost)
    monkeypatch.setattr(_fast, "_FAILED", set())
    monkeypatch.setattr(loops, stage, broken)
    with pytest.warns(UserWarning, match="fast form of soft_.* cannot be used .SystemError"):
        first = second(cost)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = second(cost)
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(again, expected)


@pytest.mark.engine
@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_cut_off_file_of_compiled_code_is_made_again(kind, tmp_path):
    code = "from vlalign_lib.temporal import soft_dtw; import torch as t; "
    code += "soft_dtw(t.ones(1, 3, 3, requires_grad=True)).sum().backward()"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}

    def run():
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    run()
    files = list(tmp_path.rglob(f"*.{kind}"))
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[: 0 if kind == "nbi" else 100])
    assert "damaged" in run().stderr
    assert run().stderr == ""


def test_costs_that_broadcasting_made():
    x, y = torch.randn(1, 5, 8), torch.randn(3, 1, 4, 8)
    cost = sequence_cost(x, y)[:, 0].requires_grad_()
    soft_dtw(cost).sum().backward()
    assert cost.grad.shape == (3, 5, 4)


def test_numbers_of_numpy_are_numbers():
    cost, x = torch.rand(2, 3, 4), torch.rand(2, 5, 3)
    for call in (
        lambda number: soft_dtw(cost, number(1)),
        lambda number: s2dtw(cost, number(1), dummy=number(2)),
        lambda number: soft_min(cost, number(1)),
        lambda number: pairwise_s2dtw(x, x, number(1)),
    ):
        for number in (np.float32, np.float64, np.int64):
            assert torch.equal(call(number), call(int))
    for whole in (np.int64, np.uint8):
        assert torch.equal(soft_min(cost, dim=whole(1)), soft_min(cost, dim=1))
        assert torch.equal(
            pairwise_s2dtw(x, x, max_cells=whole(9)), pairwise_s2dtw(x, x, max_cells=9)
        )
        one, other = (
            permute_in_time(x, max_shift=shift, generator=torch.Generator().manual_seed(0))
            for shift in (whole(1), 1)
        )
        assert all(map(torch.equal, one, other))
