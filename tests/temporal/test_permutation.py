"""Permutations in time: their number, their odds, and what stays where it is."""

import itertools
import math

import pytest
import torch

from vlalign_lib.temporal import permute_in_time
from vlalign_lib.temporal.permutation import near_permutations


@pytest.mark.parametrize("shift", [0, 1, 2, 3, 9])
@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_near_permutations_are_those_among_all(n, shift):
    expected = [
        list(order)
        for order in itertools.permutations(range(n))
        if all(abs(item - place) <= shift for place, item in enumerate(order))
    ]
    assert near_permutations(n, shift) == sorted(expected)
    assert near_permutations(n, shift)[0] == list(range(n))


def test_their_number():
    assert len(near_permutations(4, 2)) == 14
    assert len(near_permutations(8, 2)) == 400
    assert len(near_permutations(12, 2)) == 11_854


def probabilities(x, temperature, shift=2):
    """By definition, one permutation at a time."""
    units = x / x.norm(dim=1, keepdim=True)
    similar = units @ units.T
    weights = {}
    for order in near_permutations(len(x), shift):
        turned = similar[order][:, order]
        weights[tuple(order)] = math.exp(-float((similar - turned).norm()) / temperature)
    total = sum(weights.values())
    return {order: weight / total for order, weight in weights.items()}


def test_odds_are_those_of_the_weights(agrees):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    draws = 20_000
    _, order = permute_in_time(x.expand(draws, 4, 3), temperature=0.8, generator=generator)
    expected = probabilities(x, 0.8)
    seen = torch.unique(order, dim=0, return_counts=True)
    counts = {tuple(o): int(c) for o, c in zip(seen[0].tolist(), seen[1], strict=True)}
    assert set(counts) <= set(expected)
    statistic = sum((counts.get(o, 0) - draws * p) ** 2 / (draws * p) for o, p in expected.items())
    assert statistic < 34.5  # the 99.9 % quantile of chi-squared with 13 degrees of freedom
    assert max(expected, key=expected.get) == (0, 1, 2, 3)
    assert statistic > 0
    agrees(
        "temporal.permute_in_time",
        [counts.get(order, 0) / draws for order in expected],
        [*expected.values()],
        kind="loop",
        against="odds of every order, by frequency in 20,000 draws",
        tolerance=0.02,
        absolute=True,
    )


def test_the_order_as_it_is_is_the_likeliest_and_alone_when_cold(costs):
    x = costs(200, 8, 16)
    _, order = permute_in_time(x, temperature=1e-4)
    assert torch.equal(order, torch.arange(8).expand(200, 8))
    _, order = permute_in_time(x, temperature=1e6, generator=torch.Generator().manual_seed(0))
    assert len(torch.unique(order, dim=0)) > 100
    assert (order.sort(1).values == torch.arange(8)).all()
    assert ((order - torch.arange(8)).abs() <= 2).all()


def test_twins_change_places(costs):
    x = costs(500, 5, 8)
    x[:, 3] = x[:, 2]
    permuted, order = permute_in_time(x, generator=torch.Generator().manual_seed(0))
    swapped = (order == torch.tensor([0, 1, 3, 2, 4])).all(1).double().mean()
    assert 0.4 < swapped < 0.6
    torch.testing.assert_close(permuted, x.gather(1, order[:, :, None].expand(-1, -1, 8)))


def test_beyond_the_lengths_everything_stays(costs):
    x = costs(300, 6, 4)
    lengths = torch.arange(300) % 6 + 1
    for sequence, end in zip(x, lengths.tolist(), strict=True):
        sequence[end:] = math.nan
    permuted, order = permute_in_time(x, temperature=1e6, lengths=lengths)
    for new, places, end in zip(permuted, order.tolist(), lengths.tolist(), strict=True):
        assert places[end:] == list(range(end, 6))
        assert sorted(places[:end]) == list(range(end))
        assert new[:end].isfinite().all()
    assert (order != torch.arange(6)).any()


def test_one_seed_one_order(costs):
    x = costs(20, 6, 4)
    orders = [
        permute_in_time(x, temperature=1.0, generator=torch.Generator().manual_seed(seed))[1]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    state = torch.get_rng_state()
    permute_in_time(x, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_items_get_their_gradient(costs):
    x = costs(3, 5, 2).requires_grad_()
    permuted, order = permute_in_time(x, temperature=1.0)
    scale = costs(3, 5, 2, seed=1)
    (gradient,) = torch.autograd.grad((permuted * scale).sum(), x)
    expected = torch.zeros_like(x).scatter(1, order[:, :, None].expand(-1, -1, 2), scale)
    assert torch.equal(gradient, expected)


def test_nan_leaves_the_order_and_other_sequences_alone(costs):
    x = costs(2, 4, 3)
    x[0, 1, 1] = math.nan
    _, order = permute_in_time(x, temperature=1e6, generator=torch.Generator().manual_seed(3))
    assert order[0].tolist() == [0, 1, 2, 3]
    assert order[1].tolist() != [0, 1, 2, 3]


def test_no_sequences_and_single_items():
    permuted, order = permute_in_time(torch.zeros(0, 4, 3))
    assert permuted.shape == (0, 4, 3)
    assert order.shape == (0, 4)
    assert permute_in_time(torch.ones(2, 1, 3))[1].tolist() == [[0], [0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(4, 3)}, "x: expected shape"),
        ({"x": torch.ones(1, 40, 3)}, "cut the sequences into windows"),
        ({"temperature": 0.0}, "temperature: expected a number greater than 0"),
        ({"max_shift": -1}, "max_shift: expected a whole number"),
        ({"max_shift": True}, "max_shift: expected a whole number"),
        ({"lengths": [5, 1]}, "lengths: expected 1 to 4"),
    ],
)
def test_what_cannot_be_permuted(change, message):
    with pytest.raises(ValueError, match=message):
        permute_in_time(**{"x": torch.ones(2, 4, 3), **change})
