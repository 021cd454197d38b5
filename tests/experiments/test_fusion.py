"""The experiment of chapter 02: who misses what, and what is counted."""

import numpy as np
import pytest
import torch
from torch import nn

from vlalign_lib.data import load_digit_halves
from vlalign_lib.experiments import EXPERIMENTS, SettingError, _fusion
from vlalign_lib.experiments.fusion import METHODS, FusionSettings
from vlalign_lib.models.fusion import CoordinatedFusion, coordination_loss, modality_dropout

EXPERIMENT = EXPERIMENTS["fusion"]
BRIEF = {"epochs": "3", "patience": "3"}


def fusion_case(method, **settings):
    changes = {**BRIEF, "methods": method, **settings}
    (case,) = EXPERIMENT.cases(EXPERIMENT.configured("cpu", changes))
    return case


def test_every_method_has_a_module_and_a_control_of_the_same_capacity():
    for method, wiring in METHODS.items():
        config = fusion_case(method).config
        assert config["module"] == wiring.module
        assert bool(config["hidden"]) == wiring.network
        assert (config["modality_dropout"] > 0) == method.endswith("dropout") == wiring.dropout
        if wiring.module != "SingleView":
            control = fusion_case(wiring.control).config
            assert control["train"] == "left half"
            assert control["hidden"] == config["hidden"]


@pytest.mark.parametrize("method", ["early", "late-dropout", "decision", "coordinated"])
def test_accuracies_are_counts_over_the_test_items_with_nested_misses(method, monkeypatch):
    kept = {}
    build = _fusion._build

    def remembered(config, classes):
        kept["model"] = build(config, classes)
        return kept["model"]

    monkeypatch.setattr(_fusion, "_build", remembered)
    case = fusion_case(method, shares="0,25,50,100")
    found = EXPERIMENT.measure(case, "1").metrics
    test = load_digit_halves(seed=1).split("test")
    n = len(test)
    order = np.random.default_rng((1, 2)).permutation(n)
    right = {}
    with torch.no_grad():
        for share in (0, 25, 50, 100):
            missing = set(order[: round(n * share / 100)].tolist())
            right[share] = 0
            for i in range(n):
                x = torch.tensor(test.images[i]).reshape(1, -1)
                y = None if i in missing else torch.tensor(test.texts[i]).reshape(1, -1)
                right[share] += int(kept["model"](x, y).argmax()) == int(test.labels[i])
            assert found[f"accuracy_missing_{share}"] == right[share] / n
    assert found["drop"] == found["accuracy_missing_0"] - found["accuracy_missing_100"]
    assert set(found) == {
        *(f"accuracy_missing_{share}" for share in (0, 25, 50, 100)),
        "accuracy_left_missing_100",
        "drop",
    }


def test_single_views_do_not_know_the_other_half():
    left = EXPERIMENT.measure(fusion_case("left"), "0").metrics
    right = EXPERIMENT.measure(fusion_case("right"), "0").metrics
    assert len({value for name, value in left.items()}) == 1
    assert "accuracy_left_missing_100" not in left
    assert set(right) == {"accuracy_missing_0", "accuracy_left_missing_100"}
    assert right["accuracy_missing_0"] != left["accuracy_missing_0"]


def test_a_seed_decides_everything():
    case = fusion_case("early-network-dropout")
    torch.manual_seed(1)
    first = EXPERIMENT.measure(case, "0")
    torch.manual_seed(2)
    assert EXPERIMENT.measure(case, "0") == first
    other = EXPERIMENT.measure(case, "1")
    assert other.metrics != first.metrics
    assert other.data_hashes["test"] != first.data_hashes["test"]
    assert other.data_hashes["images"] == first.data_hashes["images"]


def test_volts_are_the_right_half_divided_by_a_thousand(monkeypatch):
    seen = {}

    def spy(model, loss, data, *rest, **more):
        seen[len(seen)] = [torch.as_tensor(array).clone() for array in data]
        return fit(model, loss, data, *rest, **more)

    fit = _fusion.fit
    monkeypatch.setattr(_fusion, "fit", spy)
    EXPERIMENT.measure(fusion_case("early-raw"), "0")
    EXPERIMENT.measure(fusion_case("early-volts"), "0")
    assert torch.equal(seen[0][0], seen[1][0])
    torch.testing.assert_close(seen[1][1], seen[0][1] / 1000)


class Echo(nn.Module):
    """Logits that are linear in what forward is given; counts the rows it was shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, x, y, has_x=None, has_y=None):
        self.shown.append((has_x, has_y))
        return torch.cat([x, y], dim=1)


def test_modality_dropout_is_for_training_only():
    loss = _fusion._loss(fusion_case("early-dropout").config)
    model, x, y = Echo(), torch.ones(50, 1), torch.ones(50, 1)
    labels = torch.zeros(50, dtype=torch.long)
    model.train()
    torch.manual_seed(0)
    loss(model, x, y, labels)
    torch.manual_seed(0)
    expected = modality_dropout(x, y, 0.5)
    assert torch.equal(model.shown[0][0], expected[2])
    assert torch.equal(model.shown[0][1], expected[3])


@pytest.mark.parametrize("method", ["early-dropout", "late-dropout", "coordinated-dropout"])
def test_rehearsed_wirings_stop_on_the_mixture_they_are_trained_for(method):
    """What many draws of modality dropout give, in their mean; the others on whole digits."""
    config = fusion_case(method, dropout="0.4").config
    torch.manual_seed(0)
    model = _fusion._build(config, 10).eval()
    x, y, labels = 10 * torch.randn(30, 32), 10 * torch.randn(30, 32), torch.arange(30) % 10
    found = _fusion._loss(config)(model, x, y, labels)
    draws = []
    for _ in range(400):
        drawn = modality_dropout(x, y, 0.4)
        draws.append(nn.functional.cross_entropy(model(*drawn), labels).item())
    expected = np.mean(draws)
    if method == "coordinated-dropout":
        apart = coordination_loss(model.embed_x(x), model.embed_y(y)).item()
        expected += config["coordination"] * apart
    assert found.item() == pytest.approx(expected, abs=4 * np.std(draws) / 400**0.5)
    whole = nn.functional.cross_entropy(model(x, y), labels).item()
    assert abs(found.item() - whole) > 4 * np.std(draws) / 400**0.5


def test_the_coordinated_loss_is_the_classifier_plus_the_weighted_distance():
    config = fusion_case("coordinated", coordination="0.3").config
    torch.manual_seed(0)
    model = CoordinatedFusion(32, 32, 10)
    x, y, labels = torch.randn(9, 32), torch.randn(9, 32), torch.arange(9)
    expected = nn.functional.cross_entropy(model(x, y), labels)
    expected = expected + 0.3 * coordination_loss(model.embed_x(x), model.embed_y(y))
    torch.testing.assert_close(_fusion._loss(config)(model, x, y, labels), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0},
        {"shared": -1},
        {"epochs": 0},
        {"patience": 0},
        {"batch_size": -3},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1.0},
        {"coordination": float("inf")},
    ],
    ids=str,
)
def test_settings_that_cannot_be_trained_with(changes):
    (name,) = changes
    with pytest.raises(SettingError, match=f"setting '{name}'"):
        FusionSettings(**changes)
