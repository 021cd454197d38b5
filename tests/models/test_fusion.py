"""The fusion modules against explicit loops, with views missing in every way."""

import math

import numpy as np
import pytest
import torch
from torch import nn

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

P, Q, C, B = 5, 3, 4, 6


def two_views(seed=0, n=B):
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(3.0, 2.0, size=(n, P)))
    y = torch.tensor(rng.normal(-1.0, 0.5, size=(n, Q)))
    return x, y


def fused_models():
    torch.manual_seed(0)
    models = [
        EarlyFusion(P, Q, C),
        EarlyFusion(P, Q, C, hidden=(7,)),
        LateFusion(P, Q, C, dim_code=6, hidden=(7,)),
        DecisionFusion(P, Q, C),
        CoordinatedFusion(P, Q, C, dim_shared=6, hidden=(7,)),
    ]
    for model in models:
        model.double().fit_inputs(*two_views(1, 40))
        if isinstance(model, LateFusion):
            nn.init.normal_(model.token_x)
            nn.init.normal_(model.token_y)
    return models


IDS = ["early-linear", "early", "late", "decision", "coordinated"]


@pytest.fixture(params=range(5), ids=IDS)
def model(request):
    return fused_models()[request.param]


# --- slow oracles: one item, one number at a time --------------------------------------------


def slow_standardise(block, row):
    mean, scale = block.mean.tolist(), block.scale.tolist()
    return [(row[j] - mean[j]) / scale[j] for j in range(len(row))]


def slow_linear(layer, row):
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return [sum(weight[i][j] * row[j] for j in range(len(row))) + bias[i] for i in range(len(bias))]


def slow_network(network, row):
    for layer in network:
        if isinstance(layer, nn.Sequential):
            row = slow_network(layer, row)
        elif isinstance(layer, nn.Linear):
            row = slow_linear(layer, row)
        else:
            row = [max(0.0, value) for value in row]
    return row


def slow_softmax(row):
    powers = [math.exp(value) for value in row]
    return [power / sum(powers) for power in powers]


def slow_forward(model, x, y):
    """Logits of one item; x or y may be None."""
    if isinstance(model, EarlyFusion):
        left = [0.0] * P if x is None else slow_standardise(model.block_x, x)
        right = [0.0] * Q if y is None else slow_standardise(model.block_y, y)
        return slow_network(model.head, left + right)
    if isinstance(model, LateFusion):
        code = []
        for view, block, encoder, token in (
            (x, model.block_x, model.encoder_x, model.token_x),
            (y, model.block_y, model.encoder_y, model.token_y),
        ):
            if view is None:
                code += token.tolist()
            else:
                code += slow_network(encoder, slow_standardise(block, view))
        return slow_linear(model.head, code)
    if isinstance(model, DecisionFusion):
        posteriors = []
        for view, single in ((x, model.view_x), (y, model.view_y)):
            if view is not None:
                logits = slow_network(single.head, slow_standardise(single.block, view))
                posteriors.append(slow_softmax(logits))
        return [math.log(sum(p[c] for p in posteriors) / len(posteriors)) for c in range(C)]
    embeddings = []
    for view, block, encoder in (
        (x, model.block_x, model.encoder_x),
        (y, model.block_y, model.encoder_y),
    ):
        if view is not None:
            embeddings.append(slow_network(encoder, slow_standardise(block, view)))
    mean = [sum(values) / len(embeddings) for values in zip(*embeddings, strict=True)]
    return slow_linear(model.head, mean)


HAS_X = torch.tensor([True, True, False, True, False, True])
HAS_Y = torch.tensor([True, False, True, True, True, False])


def test_forward_is_the_equation_item_by_item(model):
    x, y = two_views()
    expected = [
        slow_forward(
            model,
            x[i].tolist() if HAS_X[i] else None,
            y[i].tolist() if HAS_Y[i] else None,
        )
        for i in range(B)
    ]
    found = model(x, y, HAS_X, HAS_Y)
    assert found.shape == (B, C)
    torch.testing.assert_close(
        found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=0
    )


def test_none_is_the_same_as_missing_for_all(model):
    x, y = two_views()
    nobody = torch.zeros(B, dtype=torch.bool)
    assert torch.equal(model(x, None), model(x, y, None, nobody))
    assert torch.equal(model(None, y), model(x, y, nobody, None))
    everybody = torch.ones(B, dtype=torch.bool)
    assert torch.equal(model(x, y), model(x, y, everybody, everybody))


def test_what_a_missing_row_holds_reaches_neither_output_nor_gradient(model):
    x, y = two_views()
    clean = model(x, y, HAS_X, HAS_Y)
    x[~HAS_X], y[~HAS_Y] = torch.nan, torch.inf
    x.requires_grad_()
    y.requires_grad_()
    spoilt = model(x, y, HAS_X, HAS_Y)
    assert torch.equal(clean, spoilt)
    spoilt.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad[~HAS_X] == 0).all()
    assert (y.grad[~HAS_Y] == 0).all()
    assert (x.grad[HAS_X] != 0).any()
    assert all(torch.isfinite(w.grad).all() for w in model.parameters() if w.grad is not None)


def test_items_do_not_see_each_other(model):
    x, y = two_views()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    together = model(x, y, HAS_X, HAS_Y)
    torch.testing.assert_close(
        model(x[order], y[order], HAS_X[order], HAS_Y[order]), together[order], rtol=1e-12, atol=0
    )


def test_units_do_not_matter_once_the_blocks_are_standardised(model):
    x, y = two_views()
    before = model(x, y)
    training = two_views(1, 40)
    model.fit_inputs(training[0], 1000 * training[1] + 7)
    torch.testing.assert_close(model(x, 1000 * y + 7), before, rtol=1e-9, atol=1e-12)


def test_an_item_with_neither_view_is_refused(model):
    x, y = two_views()
    lost = torch.tensor([True, True, False, True, True, True])
    with pytest.raises(ValueError, match=r"1 item\(s\) have neither view, the first is item 2"):
        model(x, y, lost, lost)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, x, y: m(None, None), "both views are None"),
        (lambda m, x, y: m(x[:, :2], y), r"x: expected \(B, 5\)"),
        (lambda m, x, y: m(x, y[:, :2]), r"y: expected \(B, 3\)"),
        (lambda m, x, y: m(x, y[:4]), "x has 6 rows and y has 4"),
        (lambda m, x, y: m(x.long(), y), "floating-point"),
        (lambda m, x, y: m(x, y, torch.ones(B)), "has_x: expected booleans"),
        (lambda m, x, y: m(x, y, None, HAS_Y[:2]), r"has_y: expected booleans of shape \(6,\)"),
        (lambda m, x, y: m(x, None, None, HAS_Y), "has_y says that some items have y"),
    ],
)
def test_bad_calls_are_refused_with_a_reason(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, *two_views())


@pytest.mark.parametrize("module", [EarlyFusion, LateFusion, DecisionFusion, CoordinatedFusion])
@pytest.mark.parametrize("dims", [(0, 2, 3), (2, -1, 3), (2, 2, 1.5), (2, 2, True)])
def test_widths_must_be_whole_and_positive(module, dims):
    with pytest.raises(ValueError, match="whole number of at least 1"):
        module(*dims)


def test_hidden_widths_must_be_whole_and_positive():
    with pytest.raises(ValueError, match=r"hidden\[1\]"):
        EarlyFusion(2, 2, 3, hidden=(4, 0))


# --- what is particular to each -----------------------------------------------------------------


def test_early_fusion_fills_with_the_training_mean():
    model = fused_models()[0]
    x, _ = two_views()
    mean = two_views(1, 40)[1].mean(dim=0).expand(B, Q)
    torch.testing.assert_close(model(x, None), model(x, mean), rtol=1e-6, atol=1e-6)


def test_early_fusion_gives_both_blocks_the_same_total_variance():
    model = EarlyFusion(P, Q, C).double().fit_inputs(*two_views(1, 40))
    x, y = two_views(1, 40)
    for block, view in ((model.block_x, x), (model.block_y, y)):
        total = block(view).var(dim=0, correction=0).sum()
        assert float(total) == pytest.approx((P + Q) / 2, rel=1e-6)


def test_early_fusion_without_scales_keeps_the_units():
    model = EarlyFusion(P, Q, C).double().fit_inputs(*two_views(1, 40), scale=False)
    assert (model.block_x.scale == 1).all()
    assert (model.block_y.scale == 1).all()
    assert (model.block_x.mean != 0).all()


def test_late_fusion_trains_a_token_only_by_items_that_miss_the_view():
    model = LateFusion(P, Q, C, dim_code=6).double()
    x, y = two_views()
    model(x, y).sum().backward()
    assert (model.token_x.grad == 0).all()
    assert (model.token_y.grad == 0).all()
    model.zero_grad()
    model(x, y, None, HAS_Y).sum().backward()
    assert (model.token_x.grad == 0).all()
    assert (model.token_y.grad != 0).all()


def test_decision_fusion_returns_a_log_posterior_that_confidence_does_not_break():
    model = fused_models()[3]
    x, y = two_views()
    posterior = model(x, y, HAS_X, HAS_Y).exp().sum(dim=1)
    torch.testing.assert_close(posterior, torch.ones(B, dtype=torch.float64), rtol=1e-12, atol=0)
    with torch.no_grad():
        model.view_x.head[0].weight.mul_(1e4)
    assert torch.isfinite(model(x, None)).all()


def test_decision_fusion_with_one_view_is_the_single_view():
    model = fused_models()[3]
    x, y = two_views()
    torch.testing.assert_close(model(x, None), model.view_x(x).log_softmax(1), rtol=1e-12, atol=0)
    torch.testing.assert_close(model(None, y), model.view_y(y).log_softmax(1), rtol=1e-12, atol=0)


def test_coordinated_encoders_are_usable_alone():
    model = fused_models()[4]
    x, y = two_views()
    assert torch.equal(model.embed(x, None), model.embed_x(x))
    assert torch.equal(model.embed(None, y), model.embed_y(y))
    half = (model.embed_x(x) + model.embed_y(y)) / 2
    torch.testing.assert_close(model.embed(x, y), half, rtol=1e-12, atol=0)


def test_single_view_is_the_equation():
    torch.manual_seed(0)
    model = SingleView(P, C, hidden=(7,)).double()
    x, _ = two_views()
    model.fit_inputs(two_views(1, 40)[0])
    expected = [slow_network(model.head, slow_standardise(model.block, r)) for r in x.tolist()]
    torch.testing.assert_close(
        model(x), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=0
    )
    with pytest.raises(ValueError, match=r"x: expected \(B, 5\)"):
        model(x[0])


# --- standardisation ----------------------------------------------------------------------------


def test_standardiser_is_the_column_formula_and_keeps_constant_columns_finite():
    x = torch.tensor([[1.0, 4.0, 0.1], [3.0, 4.0, 0.1], [8.0, 4.0, 0.1]], dtype=torch.float64)
    block = BlockStandardiser(3).double().fit(x, weight=2.0)
    mean, sigma = 4.0, math.sqrt((9 + 1 + 16) / 3)
    expected = torch.tensor(
        [[2 * (v - mean) / sigma, 0.0, 0.0] for v in (1.0, 3.0, 8.0)], dtype=torch.float64
    )
    torch.testing.assert_close(block(x), expected, rtol=1e-6, atol=1e-15)
    there = torch.tensor([True, False, True])
    assert (block(x, there)[1] == 0).all()


def test_standardiser_does_not_lose_digits_of_a_large_offset():
    x = torch.tensor([[1e4], [1e4 + 1], [1e4 + 2]])
    z = BlockStandardiser(1).fit(x)(x)
    expected = torch.tensor([-math.sqrt(1.5), 0.0, math.sqrt(1.5)])
    torch.testing.assert_close(z[:, 0], expected)


@pytest.mark.parametrize(
    ("x", "weight", "message"),
    [
        (torch.zeros(0, 2), 1.0, "at least one row"),
        (torch.tensor([[0.0, torch.nan]]), 1.0, "only finite values"),
        (torch.zeros(3, 1), 1.0, r"expected \(B, 2\)"),
        (torch.zeros(3, 2), 0.0, "weight"),
        (torch.zeros(3, 2), math.nan, "weight"),
    ],
)
def test_standardiser_refuses(x, weight, message):
    with pytest.raises(ValueError, match=message):
        BlockStandardiser(2).fit(x, weight=weight)


def test_standardisation_travels_with_the_weights():
    first = EarlyFusion(P, Q, C).fit_inputs(*(v.float() for v in two_views(1, 40)))
    second = EarlyFusion(P, Q, C)
    second.load_state_dict(first.state_dict())
    x, y = (v.float() for v in two_views())
    assert torch.equal(first(x, y), second(x, y))


# --- coordination loss --------------------------------------------------------------------------


def test_coordination_loss_is_the_mean_squared_distance_of_partners():
    torch.manual_seed(0)
    u, v = torch.randn(7, 3, dtype=torch.float64), torch.randn(7, 3, dtype=torch.float64)
    slow = sum(sum((u[i][j] - v[i][j]) ** 2 for j in range(3)) for i in range(7)) / 7
    assert float(coordination_loss(u, v)) == pytest.approx(float(slow), rel=1e-12)
    assert float(coordination_loss(u, v)) == pytest.approx(
        float(coordination_loss(v, u)), rel=1e-12
    )
    assert float(coordination_loss(u, u)) == 0.0
    inputs = (u.requires_grad_(), v.requires_grad_())
    assert torch.autograd.gradcheck(coordination_loss, inputs)


@pytest.mark.parametrize(
    ("u", "v"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 3)),
        (torch.zeros(2, 3), torch.zeros(2, 2)),
        (torch.zeros(3), torch.zeros(3)),
        (torch.zeros(0, 3), torch.zeros(0, 3)),
    ],
)
def test_coordination_loss_refuses(u, v):
    with pytest.raises(ValueError, match="same shape"):
        coordination_loss(u, v)


# --- modality dropout ---------------------------------------------------------------------------


def draw(p, n=20_000, seed=0):
    x, y = torch.ones(n, 2), torch.ones(n, 3)
    return modality_dropout(x, y, p, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 2 / 3, 1.0])
def test_modality_dropout_takes_each_view_from_half_of_the_share_and_never_both(p):
    x, y, has_x, has_y = draw(p)
    n = len(has_x)
    assert bool((has_x | has_y).all())
    # Three standard deviations of a binomial count; the seed is fixed.
    slack = 3 * math.sqrt(n * (p / 2) * (1 - p / 2))
    assert abs(int((~has_x).sum()) - n * p / 2) <= slack
    assert abs(int((~has_y).sum()) - n * p / 2) <= slack
    assert torch.equal(x, has_x[:, None].float().expand(-1, 2))
    assert torch.equal(y, has_y[:, None].float().expand(-1, 3))


def test_modality_dropout_is_the_same_for_the_same_seed_only():
    first, again, other = draw(0.5, seed=1), draw(0.5, seed=1), draw(0.5, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[2], other[2])


def test_modality_dropout_takes_whole_pictures_and_spoilt_rows():
    x, y = torch.full((8, 4, 5), torch.nan), torch.ones(8, 3)
    kept, _, has_x, _ = modality_dropout(x, y, 1.0, torch.Generator().manual_seed(0))
    assert kept.shape == (8, 4, 5)
    assert (kept[~has_x] == 0).all()
    assert torch.isnan(kept[has_x]).all()


def test_modality_dropout_fits_forward(model):
    x, y = two_views()
    dropped = modality_dropout(x, y, 0.7, torch.Generator().manual_seed(3))
    assert torch.equal(model(*dropped), model(x, y, dropped[2], dropped[3]))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_modality_dropout_refuses_shares_outside_zero_and_one(p):
    with pytest.raises(ValueError, match="p: expected a"):
        modality_dropout(torch.ones(2, 2), torch.ones(2, 2), p)


def test_modality_dropout_refuses_views_of_different_length():
    with pytest.raises(ValueError, match="one row an item"):
        modality_dropout(torch.ones(2, 2), torch.ones(3, 2), 0.5)
