"""Deep CCA: the fit after the training, the batches it refuses, and what changes nothing."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.data import load_digit_halves
from vlalign_lib.linear import CCA, correlation
from vlalign_lib.losses import cca_loss
from vlalign_lib.methods import DCCA
from vlalign_lib.metrics import mean_average_precision
from vlalign_lib.training import seeded


def small(**settings):
    given = {"n_components": 4, "hidden": (32,), "epochs": 8, "batch_size": 60, "device": "cpu"}
    return DCCA(**given | {"dropout": 0.0, "random_state": 0} | settings)


def both_ways(method, pairs):
    u, v = method.embed_images(pairs.images), method.embed_texts(pairs.texts)
    labels = pairs.labels
    found = mean_average_precision(u, v, labels, labels)
    return (found + mean_average_precision(v, u, labels, labels)) / 2


def standardised(method, images, texts):
    return (
        (images - method.image_mean_) / method.image_scale_,
        (texts - method.text_mean_) / method.text_scale_,
    )


@pytest.fixture(scope="module")
def views():
    """240 pairs, four shared numbers behind a bend, six and seven columns."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(240, 4))
    images = np.tanh(shared @ rng.normal(size=(4, 6))) + 0.1 * rng.normal(size=(240, 6))
    texts = np.tanh(shared @ rng.normal(size=(4, 7))) + 0.1 * rng.normal(size=(240, 7))
    return images, texts


@pytest.fixture(scope="module")
def circle():
    """A point on a circle and one that runs around twice as fast, in ten dimensions each."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 1800)

    def mixed(angle):
        points = np.column_stack([np.cos(angle), np.sin(angle)])
        return points @ rng.normal(size=(2, 10)) + 0.1 * rng.normal(size=(len(angle), 10))

    return mixed(angle), mixed(2 * angle)


@pytest.fixture(scope="module")
def digits():
    return load_digit_halves()


class TestRefit:
    def test_everything_hangs_on_it(self, digits):
        train, test = digits.split("train"), digits.split("test")
        found = {}
        for refit in (True, False):
            method = DCCA(refit=refit, epochs=30, random_state=0, device="cpu")
            found[refit] = both_ways(method.fit(train.images, train.texts), test)
        assert found[True] > 0.57
        assert found[False] < 0.25

    @pytest.mark.parametrize("refit_reg", [0.0, 1e-3, 0.1])
    def test_it_is_cca_on_what_the_networks_say_of_the_training_pairs(self, views, refit_reg):
        raw = small(refit=False).fit(*views)
        method = small(refit_reg=refit_reg).fit(*views)
        by_hand = CCA(4, refit_reg).fit(raw.embed_images(views[0]), raw.embed_texts(views[1]))
        u, v = raw.embed_images(views[0][:9]), raw.embed_texts(views[1][:9])
        np.testing.assert_array_equal(by_hand.embed_images(u), method.embed_images(views[0][:9]))
        np.testing.assert_array_equal(by_hand.embed_texts(v), method.embed_texts(views[1][:9]))
        np.testing.assert_array_equal(by_hand.correlations_, method.correlations_)

    def test_its_correlations_are_those_of_the_training_variates(self, views):
        method = small(refit_reg=0.0).fit(*views)
        u, v = method.embed_images(views[0]), method.embed_texts(views[1])
        across = np.corrcoef(u.T, v.T)
        np.testing.assert_allclose(across[:4, :4], np.eye(4), atol=1e-8)
        np.testing.assert_allclose(across[:4, 4:], np.diag(method.correlations_), atol=1e-8)

    def test_separate_invertible_maps_of_the_outputs_change_nothing_after_it(self, views):
        method = small(refit_reg=0.0).fit(*views)
        raw = small(refit=False).fit(*views)
        before = method.embed_images(views[0]), method.embed_texts(views[1])
        outputs = raw.embed_images(views[0]), raw.embed_texts(views[1])
        for each in (method, raw):
            rng = np.random.default_rng(5)
            for view in ("images", "texts"):
                turn = nn.Linear(4, 4)
                turn.weight.data = torch.tensor(rng.normal(size=(4, 4)) + 2 * np.eye(4)).float()
                encoder = getattr(each.network_, view)
                setattr(each.network_, view, nn.Sequential(encoder, turn).eval())
        mapped = raw.embed_images(views[0]), raw.embed_texts(views[1])
        zx, zy = standardised(method, *views)
        codes = torch.tensor(method._codes(zx, "images")), torch.tensor(method._codes(zy, "texts"))
        assert cca_loss(*codes, reg=0).item() == pytest.approx(
            -method.correlations_.sum(), abs=1e-4
        )
        method._finish(zx, zy, torch.full((240,), -1))
        after = method.embed_images(views[0]), method.embed_texts(views[1])
        for was, now in zip(before, after, strict=True):
            np.testing.assert_allclose(now, was, atol=1e-3)
        own = [np.diag(np.corrcoef(*(c.T for c in pair))[:4, 4:]) for pair in (outputs, mapped)]
        assert abs(own[0] - own[1]).max() > 0.2, "the outputs themselves do change"

    def test_without_it_there_are_no_correlations_to_tell(self, views, tmp_path):
        raw = small(refit=False, epochs=1).fit(*views)
        with pytest.raises(AttributeError, match="refit=False"):
            _ = raw.correlations_
        raw.save(tmp_path / "raw")
        loaded = DCCA.load(tmp_path / "raw")
        assert loaded.refit_ is None
        np.testing.assert_array_equal(loaded.embed_texts(views[1]), raw.embed_texts(views[1]))

    def test_dead_units_leave_it_finite(self, views):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            method = small(hidden=(2,)).fit(*views)
        assert np.isfinite(method.loss_curve_).all()
        assert np.isfinite(method.embed_images(views[0])).all()
        assert (method.correlations_[2:] < 0.05).all(), "two units cannot fill four dimensions"


class TestBatches:
    @pytest.mark.parametrize("batch_size", [2, 4, 5])
    def test_up_to_k_plus_one_pairs_are_refused(self, views, batch_size):
        message = f"batch of {batch_size} pairs with 4 dimensions: the correlation is perfect"
        with pytest.raises(ValueError, match=message):
            small(batch_size=batch_size).fit(*views)

    def test_so_are_as_few_pairs_altogether(self, views):
        with pytest.raises(ValueError, match="batch of 5 pairs with 4 dimensions"):
            small(batch_size=None).fit(views[0][:5], views[1][:5])

    @pytest.mark.parametrize("batch_size", [6, 9])
    def test_few_pairs_a_dimension_are_warned_of(self, views, batch_size):
        with pytest.warns(UserWarning, match="mostly chance"):
            small(batch_size=batch_size, epochs=1).fit(*views)

    def test_enough_are_not(self, views):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            small(batch_size=10, epochs=1).fit(*views)

    def test_a_remainder_that_would_be_refused_is_left_out(self, views):
        method = small(batch_size=79, epochs=2).fit(*views)
        assert np.isfinite(method.loss_curve_).all()

    def test_small_batches_report_more_and_find_less(self, digits):
        train, test = digits.split("train"), digits.split("test")
        reported, found = {}, {}
        for size in (12, 100):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                method = DCCA(batch_size=size, epochs=10, random_state=0, device="cpu")
                method.fit(train.images, train.texts)
            reported[size], found[size] = -method.loss_curve_[-1], both_ways(method, test)
        assert reported[12] > 8.5 > reported[100]
        assert found[12] < found[100] - 0.1


class TestObjective:
    def test_a_full_batch_starts_at_the_loss_of_the_untrained_networks(self, views):
        method = small(batch_size=None, epochs=1).fit(*views)
        with seeded(0):
            network = method._network()
        zx, zy = (torch.tensor(z).float() for z in standardised(method, *views))
        with torch.no_grad():
            expected = cca_loss(*network(zx, zy), reg=1e-3)
        assert method.loss_curve_[0] == pytest.approx(expected.item(), abs=1e-5)

    def test_labels_are_not_read(self, views):
        labels = np.random.default_rng(0).integers(3, size=240)
        with_labels = small(epochs=2).fit(*views, labels)
        without = small(epochs=2).fit(*views)
        np.testing.assert_array_equal(
            with_labels.embed_images(views[0]), without.embed_images(views[0])
        )

    def test_it_sees_the_circle_on_which_every_linear_map_is_blind(self, circle):
        once, twice = circle
        linear = CCA(2).fit(once[:1000], twice[:1000])
        deep = small(n_components=2, hidden=(128,), epochs=25).fit(once[:1000], twice[:1000])
        blind = correlation(linear.embed_images(once[1000:]), linear.embed_texts(twice[1000:]))
        seen = correlation(deep.embed_images(once[1000:]), deep.embed_texts(twice[1000:]))
        assert abs(blind).max() < 0.15
        assert seen.min() > 0.98

    def test_it_beats_its_linear_ancestor_on_digits(self, digits):
        train, test = digits.split("train"), digits.split("test")
        deep = DCCA(epochs=30, random_state=0, device="cpu").fit(train.images, train.texts)
        linear = CCA(10, 0.1).fit(train.images, train.texts)
        assert both_ways(deep, test) > both_ways(linear, test) + 0.1


class TestValidation:
    def test_the_epoch_with_the_largest_held_out_correlation_is_kept(self, views):
        x, y = views
        method = small(epochs=12, learning_rate=0.02)
        method.fit(x[:160], y[:160], validation=(x[160:], y[160:]))
        assert len(method.validation_curve_) == 12
        assert method.best_epoch_ == 1 + int(np.argmin(method.validation_curve_))
        codes = [
            torch.tensor(method._codes(z, view))
            for z, view in zip(
                standardised(method, x[160:], y[160:]), ("images", "texts"), strict=True
            )
        ]
        kept = cca_loss(*codes, reg=method.reg).item()
        assert kept == pytest.approx(min(method.validation_curve_), abs=1e-4)

    def test_nothing_is_fitted_to_held_out_pairs(self, views):
        x, y = views
        method = small(epochs=3).fit(x[:160], y[:160], validation=(x[160:], y[160:]))
        zx, zy = standardised(method, x[:160], y[:160])
        refit = CCA(4, method.refit_reg).fit(
            method._codes(zx, "images"), method._codes(zy, "texts")
        )
        np.testing.assert_array_equal(refit.correlations_, method.correlations_)
        np.testing.assert_array_equal(method.image_mean_, x[:160].mean(axis=0))

    def test_too_few_held_out_pairs_are_refused_before_anything_is_trained(self, views):
        x, y = views
        with pytest.raises(ValueError, match="validation: 5 pairs with 4 dimensions"):
            small().fit(x[:200], y[:200], validation=(x[235:], y[235:]))


def test_the_paper_takes_all_pairs_at_once_and_refits(views):
    paper = DCCA.from_paper()
    assert paper.batch_size is None
    assert paper.refit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paper.set_params(epochs=2, n_components=4, device="cpu").fit(*views)
    assert paper.correlations_.shape == (4,)
