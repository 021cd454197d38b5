"""Reading the ledger for a number in the text."""

import dataclasses

import pytest

from vlalign_lib.course import ledger, ledger_all
from vlalign_lib.experiments import Record


@pytest.fixture
def two_records(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_RESULTS", str(tmp_path))
    folder = tmp_path / "linear"
    folder.mkdir()
    example = Record.example()
    for dataset, reg in (("one", 0.1), ("two", 0.2)):
        key = f"{dataset}-cca"
        record = dataclasses.replace(example, key=key, dataset=dataset, config={"reg": reg})
        (folder / f"{key}.json").write_text(record.to_json(), encoding="utf-8")


def keys(**where):
    return [r.key for r in ledger_all("linear", **where) if r.dataset in ("one", "two")]


@pytest.mark.usefixtures("two_records")
def test_a_field_or_a_setting_picks_the_record():
    assert ledger("linear", dataset="one").key == "one-cca"
    assert ledger("linear", dataset="TWO", method="CCA").key == "two-cca"
    assert ledger("linear", dataset="two", reg=0.2).metrics["map_mean"].mean == 0.25
    assert keys() == ["one-cca", "two-cca"]
    assert keys(reg=0.1) == ["one-cca"]
    assert keys(reg=0.3) == keys(no_such_field=None) == []


def test_the_book_keeps_to_the_cpu_tier_whatever_else_was_run(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_RESULTS", str(tmp_path))
    (tmp_path / "linear").mkdir()
    for tier in ("cpu", "full"):
        record = dataclasses.replace(
            Record.example(), key=f"four-{tier}", dataset="four", tier=tier
        )
        (tmp_path / "linear" / f"four-{tier}.json").write_text(record.to_json(), encoding="utf-8")
    assert ledger("linear", dataset="four").key == "four-cpu"
    assert ledger("linear", dataset="four", tier="full").key == "four-full"


@pytest.mark.usefixtures("two_records")
def test_none_and_several_list_what_there_is():
    with pytest.raises(ValueError, match="no record of 'linear' with dataset='three'; there are"):
        ledger("linear", dataset="three")
    with pytest.raises(ValueError, match=r"records of 'linear'.*one-cca.*name more fields"):
        ledger("linear", method="cca", seeds=(0, 1))


def test_an_unknown_experiment_is_refused():
    with pytest.raises(ValueError, match="no_such"):
        ledger("no_such")
