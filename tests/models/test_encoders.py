"""Encoders of one view: what they compute, and what they refuse."""

import numpy as np
import pytest
import torch

from vlalign_lib.models.encoders import PictureEncoder, VectorEncoder, encoder_for, random_shift


def test_a_vector_encoder_without_hidden_layers_is_linear():
    encoder = VectorEncoder(3, 2, ()).double()
    x, y = torch.randn(2, 5, 3, dtype=torch.float64)
    offset = encoder(torch.zeros(1, 3, dtype=torch.float64))
    np.testing.assert_allclose(
        (encoder(x + 2 * y) - offset).detach(),
        (encoder(x) - offset + 2 * (encoder(y) - offset)).detach(),
        atol=1e-12,
    )


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "sigmoid"])
def test_hidden_layers_are_what_the_formula_says(activation):
    encoder = VectorEncoder(3, 2, (4,), activation=activation)
    x = torch.randn(5, 3)
    first, last = encoder.layers[0], encoder.layers[-1]
    by_hand = getattr(torch.nn.functional, activation)(x @ first.weight.T + first.bias)
    torch.testing.assert_close(encoder(x), by_hand @ last.weight.T + last.bias)


@pytest.mark.parametrize("shape", [(8, 8), (32, 32), (9, 17)])
def test_a_picture_encoder_takes_any_size_and_looks_at_each_picture_alone(shape):
    encoder = PictureEncoder(shape, 7, channels=2)
    x = torch.rand(4, *shape)
    together = encoder(x)
    assert together.shape == (4, 7)
    torch.testing.assert_close(together[1:2], encoder(x[1:2]))


def test_dropout_works_in_training_only():
    for encoder, x in (
        (VectorEncoder(3, 2, (50,), dropout=0.5), torch.randn(4, 3)),
        (PictureEncoder((8, 8), 2, dropout=0.5), torch.rand(4, 8, 8)),
    ):
        assert not torch.equal(encoder(x), encoder(x))
        encoder.eval()
        assert torch.equal(encoder(x), encoder(x))


def test_a_shift_moves_whole_pictures_and_repeats_their_edge():
    x = torch.arange(1.0, 1 + 60 * 25).reshape(60, 5, 5)
    moved = random_shift(x, 2, torch.Generator().manual_seed(0))
    steps = set()
    for before, after in zip(x.numpy(), moved.numpy(), strict=True):
        padded = np.pad(before, 2, mode="edge")
        fits = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(padded[i : i + 5, j : j + 5], after)
        ]
        assert len(fits) == 1
        steps.add(fits[0])
    assert {i for i, _ in steps} == {j for _, j in steps} == set(range(5)), "every step occurs"
    assert random_shift(x, 0) is x


def test_the_view_decides_the_encoder():
    assert isinstance(encoder_for((16, 16), 3), PictureEncoder)
    assert isinstance(encoder_for((16,), 3), VectorEncoder)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: VectorEncoder(0, 2), "dim: expected a whole number of at least 1"),
        (lambda: VectorEncoder(3, 2, activation="swish"), "activation: expected one of relu"),
        (lambda: VectorEncoder(3, 2, dropout=1.0), "dropout: expected a number from 0 to below 1"),
        (lambda: VectorEncoder(3, 2)(torch.zeros(5, 4)), r"x: expected \(B, 3\)"),
        (lambda: PictureEncoder((4, 8), 2), "at least 8 by 8"),
        (lambda: PictureEncoder((8, 8), 2, channels=0), "channels: expected a whole number"),
        (lambda: PictureEncoder((8, 8), 2)(torch.zeros(5, 64)), r"expected pictures \(B, 8, 8\)"),
        (lambda: encoder_for((3, 8, 8), 2), r"\(p,\) for vectors or \(height, width\)"),
        (lambda: random_shift(torch.zeros(2, 4), 1), "expected pictures"),
        (lambda: random_shift(torch.zeros(2, 4, 4), 4), "from 0 to below 4"),
        (lambda: random_shift(torch.zeros(2, 4, 4), True), "whole pixels"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
