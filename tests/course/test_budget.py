"""Budgets: what was measured is shown, what was not is not made up."""

import json

import pytest

from vlalign_lib.course import Budget, TierCost, budget, load_budget, setup

COST = TierCost(38.4, 410, 1.3, "2 cores, no GPU", "2026-01-02", {"Exercises": 12.0, "Quiz": 3.0})


@pytest.fixture(autouse=True)
def _ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_RESULTS", str(tmp_path))


def test_saved_and_loaded_it_is_the_same(tmp_path):
    whole = Budget("ch98", {"full": TierCost(9000.0, None, 0.0), "cpu": COST})
    assert whole.save() == tmp_path / "budgets" / "ch98.json"
    assert load_budget("ch98_some_words.ipynb") == whole
    assert list(json.loads((tmp_path / "budgets/ch98.json").read_text())["tiers"]) == [
        "cpu",
        "full",
    ]


def test_nothing_measured_says_so_for_every_tier():
    box = budget("ch99")
    assert box._repr_html_().count("not measured yet") == 3
    assert repr(box).count("not measured yet") == 3


def test_the_box_shows_what_was_measured():
    Budget("ch98", {"cpu": COST, "full": TierCost(9000.0, None, 0.0)}).save()
    lines = repr(budget("ch98")).splitlines()
    assert lines[2].split("  ")[0] == "cpu"
    for part in ("38 s", "410 MB", "1.3 MB", "2 cores, no GPU, 2026-01-02"):
        assert part in lines[2]
        assert part in budget("ch98")._repr_html_()
    assert "not measured yet" in lines[3]
    assert lines[3].startswith("colab")
    assert "2 h 30 min" in lines[4]
    assert "none" in lines[4]


def test_setup_names_what_is_slow_and_leaves_out_what_is_not(capsys):
    Budget("ch98", {"cpu": COST}).save()
    setup("ch98")
    said = capsys.readouterr().out
    assert "took 38 s on 2 cores, no GPU" in said
    assert "Slow here: Exercises (12 s)." in said
    assert "Quiz" not in said


def test_setup_says_that_nothing_was_measured(capsys):
    setup("ch99")
    assert "has not been measured yet" in capsys.readouterr().out


def test_what_a_device_is_called_is_escaped():
    Budget("ch98", {"cpu": TierCost(1.0, device="<b>fast</b>")}).save()
    assert "<b>fast" not in budget("ch98")._repr_html_()


@pytest.mark.parametrize("name", ["chapter 3", "3", "", None, 3])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="such as 'ch03'"):
        budget(name)


def test_another_tier_is_refused():
    with pytest.raises(ValueError, match="unknown tier 'tpu'"):
        Budget("ch98", {"tpu": COST})


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"schema": 2, "chapter": "ch98", "tiers": {}}',
     '{"schema": 1, "chapter": "ch97", "tiers": {}}',
     '{"schema": 1, "chapter": "ch98", "tiers": {"cpu": {"hours": 1}}}'],
)  # fmt: skip
def test_a_broken_file_is_named(tmp_path, text):
    (tmp_path / "budgets").mkdir()
    (tmp_path / "budgets" / "ch98.json").write_text(text)
    with pytest.raises(ValueError, match=r"budgets.ch98\.json: not a budget"):
        load_budget("ch98")
