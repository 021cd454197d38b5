"""What is no tensor, or another kind of tensor than the modules were built with."""

import numpy as np
import pytest
import torch

from vlalign_lib.models.autoencoders import hide_views
from vlalign_lib.models.fusion import (
    BlockStandardiser,
    CoordinatedFusion,
    DecisionFusion,
    EarlyFusion,
    LateFusion,
    SingleView,
    coordination_loss,
    modality_dropout,
)

X, Y = torch.arange(18.0).reshape(6, 3).cos(), torch.arange(12.0).reshape(6, 2).sin()
MODULES = (EarlyFusion, LateFusion, CoordinatedFusion, DecisionFusion)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("bad", [X.numpy(), X.tolist(), "words", 3.0, np.float64(3)])
def test_arrays_and_lists_are_refused_by_name(module, bad):
    model = module(3, 2, 4)
    kind = type(bad).__name__
    for call in (
        lambda: model(bad, Y),
        lambda: model(bad, None),
        lambda: model.fit_inputs(bad, Y),
    ):
        with pytest.raises(ValueError, match=f"x: expected a tensor, got {kind}"):
            call()
    with pytest.raises(ValueError, match=f"y: expected a tensor, got {kind}"):
        model(None, bad)
    with pytest.raises(ValueError, match=f"has_y: expected booleans .* got {kind}"):
        model(X, Y, None, bad)
    with pytest.raises(ValueError, match=f"has_y: expected booleans .* got {kind}"):
        model(X, None, None, bad)


@pytest.mark.parametrize("module", MODULES)
def test_no_view_at_all_and_sparse_ones(module):
    with pytest.raises(ValueError, match="x: expected a tensor, got NoneType"):
        module(3, 2, 4).fit_inputs(None, Y)
    with pytest.raises(ValueError, match="x: expected a dense tensor"):
        module(3, 2, 4)(X.to_sparse(), Y)


@pytest.mark.parametrize("module", MODULES)
def test_any_floating_point_type_comes_in(module):
    torch.manual_seed(0)
    model = module(3, 2, 4).fit_inputs(X, Y)
    expected = model(X, Y)
    assert model(X.double(), Y).dtype == torch.float32
    torch.testing.assert_close(model(X.double(), Y.double()), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model(X.half(), Y), expected, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("hidden", [7, 2.5, None, "ab", torch.tensor(2)])
def test_hidden_is_a_sequence(hidden):
    with pytest.raises(ValueError, match="hidden: expected a sequence of widths"):
        SingleView(3, 2, hidden=hidden)


@pytest.mark.parametrize("weight", [None, "2", 0.0, -1.0, float("inf"), float("nan"), [1.0]])
def test_weight_of_a_block(weight):
    with pytest.raises(ValueError, match=r"weight: expected a (finite )?number greater than 0"):
        BlockStandardiser(3).fit(X, weight=weight)


@pytest.mark.parametrize("number", [np.float32, np.float64, np.int64])
def test_numbers_of_numpy_are_numbers(number):
    one, other = (BlockStandardiser(3).fit(X, weight=w).scale for w in (number(2), 2))
    assert torch.equal(one, other)
    one, other = (
        modality_dropout(X, Y, p, torch.Generator().manual_seed(0)) for p in (number(1), 1)
    )
    assert all(map(torch.equal, one, other))
    one, other = (hide_views(6, 2, s, torch.Generator().manual_seed(0)) for s in (number(1), 1))
    assert torch.equal(one, other)


def test_a_block_checks_what_it_is_given():
    block = BlockStandardiser(3)
    with pytest.raises(ValueError, match=r"x: expected \(B, 3\)"):
        block(Y)
    with pytest.raises(ValueError, match="x: expected a tensor"):
        block(X.numpy())
    with pytest.raises(ValueError, match="present: expected booleans"):
        block(X, torch.ones(6))


@pytest.mark.parametrize("p", [None, "a", [0.5], float("nan"), -0.1, 1.1])
def test_share_of_dropped_views(p):
    with pytest.raises(ValueError, match=r"p: expected a (finite )?number of at least 0"):
        modality_dropout(X, Y, p)


def test_functions_name_what_is_no_tensor():
    with pytest.raises(ValueError, match="y: expected a tensor, got ndarray"):
        modality_dropout(X, Y.numpy(), 0.5)
    with pytest.raises(ValueError, match=r"generator: expected a torch\.Generator"):
        modality_dropout(X, Y, 0.5, 3)
    with pytest.raises(ValueError, match="u: expected a tensor, got NoneType"):
        coordination_loss(None, X)
    with pytest.raises(ValueError, match="v: expected floating-point numbers"):
        coordination_loss(X, X > 0)
