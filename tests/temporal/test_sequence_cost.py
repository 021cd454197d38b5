"""Costs of sequences: definitions, invariances, gradients at equal points and zeros."""

import math

import pytest
import torch

from vlalign_lib.temporal import sequence_cost, soft_dtw

METRICS = ["shifted_cosine", "cosine", "euclidean"]


def by_definition(x, y, metric):
    out = torch.empty(len(x), len(y), dtype=torch.float64)
    for i, a in enumerate(x.double()):
        for j, b in enumerate(y.double()):
            if metric == "euclidean":
                out[i, j] = math.sqrt(
                    sum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True))
                )
            else:
                lengths = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
                out[i, j] = (metric == "cosine") - float(a @ b) / lengths
    return out


@pytest.mark.parametrize("metric", METRICS)
def test_item_by_item(metric, costs, agrees):
    x, y = costs(3, 5, 4), costs(3, 6, 4, seed=1)
    expected = torch.stack([by_definition(a, b, metric) for a, b in zip(x, y, strict=True)])
    for cast, kind, against, tolerance in (
        (torch.Tensor.double, "loop", "item by item", 1e-14),
        (torch.Tensor.float, "float32", "float64", 1e-6),
    ):
        agrees(
            "temporal.sequence_cost",
            sequence_cost(cast(x), cast(y), metric),
            expected,
            kind=kind,
            against=against,
            tolerance=tolerance,
        )


@pytest.mark.parametrize("metric", METRICS)
def test_gradients(metric, costs, agrees):
    x, y = costs(2, 3, 4).requires_grad_(), costs(2, 5, 4, seed=1).requires_grad_()

    def cost(x, y):
        return sequence_cost(x, y, metric)

    agrees.gradcheck("temporal.sequence_cost", cost, (x, y))
    agrees.gradcheck("temporal.sequence_cost", cost, (x, y), second=True)


def test_cosines_know_neither_length_nor_units(costs):
    x, y = costs(2, 5, 4), costs(2, 3, 4, seed=1)
    expected = sequence_cost(x, y)
    for scale in (1e-200, 1e-30, 1e30, 1e200):
        torch.testing.assert_close(sequence_cost(x * scale, y), expected, rtol=1e-13, atol=1e-15)
    for scale in (1e-30, 1e30):
        mixed = sequence_cost((x * scale).float(), y.float())
        torch.testing.assert_close(mixed.double(), expected, rtol=0, atol=1e-6)


def test_shift_and_symmetry(costs):
    x, y = costs(2, 5, 4), costs(2, 3, 4, seed=1)
    shifted, plain = sequence_cost(x, y), sequence_cost(x, y, "cosine")
    torch.testing.assert_close(plain, shifted + 1, rtol=0, atol=1e-15)
    for metric in METRICS:
        there, back = sequence_cost(x, y, metric), sequence_cost(y, x, metric)
        torch.testing.assert_close(there, back.transpose(1, 2), rtol=0, atol=1e-15)
    moved = sequence_cost(x + 3, y + 3, "euclidean")
    torch.testing.assert_close(moved, sequence_cost(x, y, "euclidean"), rtol=1e-13, atol=0)


def test_leading_axes(costs):
    x, y = costs(5, 4), costs(2, 3, 6, 4, seed=1)
    for metric in METRICS:
        together = sequence_cost(x, y, metric)
        assert together.shape == (2, 3, 5, 6)
        for a in range(2):
            for b in range(3):
                alone = sequence_cost(x, y[a, b], metric)
                torch.testing.assert_close(together[a, b], alone, rtol=0, atol=1e-15)


def test_a_vector_of_zeros_is_unrelated_to_everything(costs):
    x = costs(1, 3, 4)
    x[0, 1] = 0
    x.requires_grad_()
    y = costs(1, 2, 4, seed=1)
    cost = sequence_cost(x, y)
    assert (cost[0, 1] == 0).all()
    (gradient,) = torch.autograd.grad(cost.sum(), x)
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 100


def test_equal_points_have_a_finite_gradient(costs):
    x = costs(1, 4, 3).requires_grad_()
    cost = sequence_cost(x, x.detach().clone(), "euclidean")
    assert (cost.diagonal(dim1=1, dim2=2) == 0).all()
    (gradient,) = torch.autograd.grad(cost.diagonal(dim1=1, dim2=2).sum(), x, create_graph=True)
    assert (gradient == 0).all()
    (second,) = torch.autograd.grad(gradient.sum(), x)
    assert second.isfinite().all()


def test_near_points_keep_their_digits():
    x = torch.full((1, 1, 64), 1000.0)
    y = x + 2.0**-10
    assert sequence_cost(x, y, "euclidean").item() == 8 * 2.0**-10


def test_nan_stays_in_its_row(costs):
    x, y = costs(2, 4, 3), costs(2, 5, 3, seed=1)
    x[1, 2, 0] = math.nan
    for metric in METRICS:
        cost = sequence_cost(x, y, metric)
        assert cost[1, 2].isnan().all()
        assert cost.isnan().sum() == 5


def test_inputs_are_left_alone_and_autocast_changes_nothing(costs):
    x, y = costs(2, 4, 3).float(), costs(2, 5, 3, seed=1).float()
    kept = x.clone(), y.clone()
    for metric in METRICS:
        plain = sequence_cost(x, y, metric)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = sequence_cost(x, y, metric)
        assert torch.equal(plain, mixed)
        assert plain.dtype == mixed.dtype == torch.float32
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])


def test_precisions_meet_in_the_wider_one(costs):
    x, y = costs(2, 4, 3), costs(2, 5, 3, seed=1)
    assert sequence_cost(x.float(), y).dtype == torch.float64
    assert sequence_cost(x.half(), y.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("metric", METRICS)
def test_transforms(metric, costs):
    x, y = costs(4, 3), costs(6, 5, 3, seed=1)
    each = torch.func.vmap(lambda y: sequence_cost(x, y, metric))(y)
    torch.testing.assert_close(each, sequence_cost(x, y, metric), rtol=1e-13, atol=1e-15)
    forward = torch.func.jacfwd(lambda x: sequence_cost(x, y[0], metric))(x)
    backward = torch.autograd.functional.jacobian(lambda x: sequence_cost(x, y[0], metric), x)
    torch.testing.assert_close(forward, backward, rtol=1e-12, atol=1e-14)


def test_the_whole_way_from_embeddings_to_an_alignment(costs):
    x = costs(1, 6, 8)
    y = x.repeat_interleave(2, dim=1)
    values = soft_dtw(sequence_cost(x, y, "euclidean"), 0.0)
    assert values.item() == 0


@pytest.mark.parametrize(
    ("x", "y", "metric", "message"),
    [
        ([1.0], torch.ones(2, 3), "cosine", "x: expected a torch tensor"),
        (torch.ones(3), torch.ones(2, 3), "cosine", "x: expected shape"),
        (torch.ones(2, 3).long(), torch.ones(2, 3), "cosine", "x: expected real numbers"),
        (torch.ones(2, 3), torch.ones(2, 4), "cosine", "embed both into the same space"),
        (torch.ones(2, 0), torch.ones(2, 0), "cosine", "vectors without dimensions"),
        (torch.ones(2, 4, 3), torch.ones(5, 4, 3), "cosine", "they must be equal, or 1"),
        (torch.ones(4, 3), torch.ones(4, 3), "manhattan", "metric: expected one of"),
    ],
)
def test_what_cannot_be_compared(x, y, metric, message):
    with pytest.raises(ValueError, match=message):
        sequence_cost(x, y, metric)
