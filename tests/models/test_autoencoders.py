"""One code for any number of views: what hides, what comes back, what is refused."""

import numpy as np
import pytest
import torch

from vlalign_lib.models.autoencoders import MultimodalAE, hide_views, reconstruction_loss
from vlalign_lib.training import seeded

DIMS = (4, 3, 5)


@pytest.fixture(scope="module")
def model():
    with seeded(0):
        return MultimodalAE(DIMS, dim_code=6, hidden=(7,)).double()


@pytest.fixture(scope="module")
def views():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(8, dim, generator=generator, dtype=torch.float64) for dim in DIMS]


def test_the_code_by_hand(model, views):
    for i in range(8):
        parts = []
        for inlet, view in zip(model.inlets, views, strict=True):
            first, last = inlet[0], inlet[-1]
            inner = (first.weight.detach() @ view[i] + first.bias.detach()).clamp(min=0)
            parts.append((last.weight.detach() @ inner + last.bias.detach()).clamp(min=0))
        code = model.joint.weight.detach() @ torch.cat(parts) + model.joint.bias.detach()
        torch.testing.assert_close(model.code(views)[i].detach(), code)


def test_reconstructions_are_decoded_codes(model, views):
    code = model.code(views)
    for guess, decoder, dim in zip(model(views), model.decoders, DIMS, strict=True):
        torch.testing.assert_close(guess, decoder(code))
        assert guess.shape == (8, dim)


def test_a_missing_view_is_none_zeros_or_masked(model, views):
    shown = torch.ones(8, 3, dtype=torch.bool)
    shown[:, 1] = False
    masked = model.code(views, shown)
    torch.testing.assert_close(masked, model.code([views[0], None, views[2]]))
    zeros = torch.zeros_like(views[1])
    torch.testing.assert_close(masked, model.code([views[0], zeros, views[2]]))
    assert not torch.allclose(masked, model.code(views))


def test_what_a_hidden_row_holds_reaches_nothing(model, views):
    broken = [view.clone() for view in views]
    broken[1][3] = float("nan")
    shown = torch.ones(8, 3, dtype=torch.bool)
    shown[3, 1] = False
    model.zero_grad()
    loss = reconstruction_loss(model(broken, shown), views)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_gradients(model, views):
    small = [view[:3].clone().requires_grad_() for view in views]

    def loss(*given):
        return reconstruction_loss(model(list(given)), [view[:3] for view in views])

    assert torch.autograd.gradcheck(loss, small)


def test_the_loss_is_a_mean_over_dimensions_and_a_sum_over_views():
    views = [torch.zeros(2, 2), torch.zeros(2, 1)]
    guesses = [torch.tensor([[1.0, 0.0], [2.0, 1.0]]), torch.tensor([[3.0], [0.0]])]
    assert reconstruction_loss(guesses, views).item() == pytest.approx(6 / 4 + 9 / 2)
    wide = [torch.cat([part, part], dim=1) for part in guesses]
    same = reconstruction_loss(wide, [torch.zeros_like(part) for part in wide])
    assert same.item() == pytest.approx(6.0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_views_are_hidden_as_often_as_it_says(share):
    n, v = 40_000, 3
    shown = hide_views(n, v, share, torch.Generator().manual_seed(0))
    assert shown.any(dim=1).all()
    expected = (1 - share) + share**v / v
    error = 4.5 * np.sqrt(expected * (1 - expected) / n)
    assert (shown.double().mean(dim=0) - expected).abs().max() <= error


def test_hiding_is_seeded_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    one = hide_views(50, 2, 0.5, torch.Generator().manual_seed(3))
    assert torch.equal(one, hide_views(50, 2, 0.5, torch.Generator().manual_seed(3)))
    assert not torch.equal(one, hide_views(50, 2, 0.5, torch.Generator().manual_seed(4)))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dims", [[], "345", 3, [4, 0], [4, True], [4, 2.0]])
def test_impossible_views_are_refused(dims):
    with pytest.raises(ValueError, match="dims"):
        MultimodalAE(dims)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda v: (v[:2], None), "expected 3, one for each of dims, got 2"),
        (lambda v: ([None] * 3, None), "all are None"),
        (lambda v: ([v[0], v[1][:, :2], v[2]], None), r"views\[1\]: expected \(8, 3\)"),
        (lambda v: ([v[0], v[1][:5], v[2]], None), r"views\[1\]: expected \(8, 3\)"),
        (lambda v: (v, torch.ones(8, 3)), "shown: expected booleans"),
        (lambda v: (v, torch.ones(8, 2, dtype=torch.bool)), "shown: expected booleans"),
        (lambda v: (v, torch.eye(8, 3).bool()), r"5 item.s. show no view, the first is item 3"),
    ],
)
def test_odd_views_are_refused(model, views, change, says):
    with pytest.raises(ValueError, match=says):
        model.code(*change(views))


def test_a_mask_cannot_show_a_view_that_was_not_given(model, views):
    shown = torch.zeros(8, 3, dtype=torch.bool)
    shown[:, 1] = True
    with pytest.raises(ValueError, match=r"8 item.s. show no view"):
        model.code([views[0], None, views[2]], shown)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((0, 2), "n_items"),
        ((3, 0), "n_views"),
        ((3, 2, 1.5), "share"),
        ((3, 2, True), "share"),
        ((3, 2, 0.5, 7), "generator"),
    ],
)
def test_odd_hiding_is_refused(arguments, says):
    with pytest.raises(ValueError, match=says):
        hide_views(*arguments)


def test_odd_reconstructions_are_refused():
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="at least one"):
        reconstruction_loss([], [])
    with pytest.raises(ValueError, match="got 1 of 2"):
        reconstruction_loss([x], [x, x])
    with pytest.raises(ValueError, match="view 1: expected a reconstruction of shape"):
        reconstruction_loss([x, x[:, :2]], [x, x])


@pytest.mark.parametrize("hidden", [5, "ab", (0,)])
def test_widths_are_a_sequence_of_whole_numbers(hidden):
    with pytest.raises(ValueError, match=r"hidden(\[0\])?: expected"):
        MultimodalAE(DIMS, dim_code=6, hidden=hidden)
