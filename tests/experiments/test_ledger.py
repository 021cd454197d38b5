"""Where records are read and written, which are stale, and paired differences."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from scipy import stats

import vlalign_lib
from vlalign_lib.experiments import (
    EXPERIMENTS,
    LedgerError,
    Record,
    config_hash,
    is_stale,
    ledger_dirs,
    load_records,
    paired_difference,
    results_dir,
    stale_reason,
)
from vlalign_lib.experiments import fusion as fusion_experiment

PACKAGE = Path(vlalign_lib.__file__).parent


def a_record(**changes):
    """The record that the fusion experiment would write of its first method."""
    experiment = EXPERIMENTS["fusion"]
    case = experiment.cases(experiment.settings("cpu"))[0]
    base = dataclasses.replace(
        Record.example(),
        experiment="fusion",
        key=case.key,
        method=case.method,
        dataset=case.dataset,
        config=dict(case.config),
        config_hash=config_hash(case.config),
        method_version=case.version,
    )
    return dataclasses.replace(base, **changes)


def put(folder, record):
    path = Path(folder) / record.experiment / f"{record.key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.to_json(), encoding="utf-8")
    return path


def test_results_go_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_RESULTS", str(tmp_path / "mine"))
    assert results_dir() == tmp_path / "mine"
    monkeypatch.setenv("VLALIGN_RESULTS", "~/mine")
    assert results_dir() == Path.home() / "mine"


def test_results_of_a_checkout_lie_beside_the_package(monkeypatch, tmp_path):
    monkeypatch.delenv("VLALIGN_RESULTS")
    monkeypatch.chdir(tmp_path)
    assert results_dir() == PACKAGE.parent / "results"


def test_records_are_read_sorted_and_only_json_files_of_the_experiment(tmp_path):
    second, first = a_record(key="b"), a_record(key="a")
    put(tmp_path, second)
    put(tmp_path, first)
    put(tmp_path / "fusion" / "trials", a_record(key="trial"))
    (tmp_path / "fusion" / "readme.txt").write_text("no record")
    assert load_records("fusion", folder=tmp_path) == [first, second]
    assert load_records("linear", folder=tmp_path) == []


def test_a_broken_record_is_named(tmp_path):
    path = put(tmp_path, a_record())
    path.write_text(path.read_text()[:200])
    with pytest.raises(LedgerError, match=r"digits-left\.json"):
        load_records("fusion", folder=tmp_path)


def test_an_experiment_that_does_not_exist_gets_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean 'linear'"):
        load_records("liner")


def test_a_wheel_reads_its_own_records_and_writes_to_the_current_folder(tmp_path):
    """The package copied away from the checkout, as an installed wheel lies."""
    site, work = tmp_path / "site", tmp_path / "work"
    work.mkdir()
    shutil.copytree(
        PACKAGE, site / "vlalign_lib", ignore=shutil.ignore_patterns("__pycache__", "_records")
    )
    put(site / "vlalign_lib" / "_records", a_record(key="a", date="packaged"))
    put(site / "vlalign_lib" / "_records", a_record(key="b", date="packaged"))
    put(work / "results", a_record(key="b", date="own"))
    put(work / "results", a_record(key="c", date="own"))
    code = (
        "import vlalign_lib, json\n"
        "from vlalign_lib.experiments import load_records, results_dir\n"
        "print(vlalign_lib.__file__)\n"
        "print(results_dir())\n"
        "print(json.dumps([(r.key, r.date) for r in load_records('fusion')]))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "VLALIGN_RESULTS"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=work,
        env={**environment, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    where, results, records = done.stdout.splitlines()
    assert Path(where).parent == site / "vlalign_lib"
    assert Path(results) == work / "results"
    assert json.loads(records) == [["a", "packaged"], ["b", "own"], ["c", "own"]]


def test_a_folder_of_ones_own_adds_to_the_committed_ledger(tmp_path):
    committed = PACKAGE.parent / "results"
    assert ledger_dirs() == [committed]
    before = load_records("fusion")
    assert "digits-left" in {record.key for record in before}
    mine = a_record(key="digits-left", date="own")
    put(tmp_path / "ledger", mine)
    assert ledger_dirs() == [tmp_path / "ledger", committed]
    assert load_records("fusion") == [mine if r.key == mine.key else r for r in before]


def test_a_record_of_the_present_configuration_is_fresh():
    assert stale_reason(a_record()) is None
    assert not is_stale(a_record())


def test_a_record_is_stale_when_its_configuration_has_changed():
    config = {**a_record().config, "epochs": 7}
    record = a_record(config=config, config_hash=config_hash(config))
    assert stale_reason(record) == "its configuration has changed since"
    assert is_stale(record)


def test_a_record_that_was_set_by_hand_is_compared_with_the_same_settings():
    experiment = EXPERIMENTS["fusion"]
    settings = {"epochs": "7"}
    case = experiment.cases(experiment.configured("cpu", settings))[0]
    record = a_record(
        config=dict(case.config), config_hash=config_hash(case.config), settings=settings
    )
    assert not is_stale(record)
    assert is_stale(dataclasses.replace(record, settings={"epochs": "8"}))
    assert is_stale(dataclasses.replace(record, settings={"no_longer": "1"}))


def test_a_record_is_stale_when_its_method_declares_another_version(monkeypatch):
    newer = dataclasses.replace(fusion_experiment.METHODS["left"], version="2")
    changed = MappingProxyType({**fusion_experiment.METHODS, "left": newer})
    record = a_record()
    monkeypatch.setattr(fusion_experiment, "METHODS", changed)
    assert stale_reason(record) == "left is now version 2, the record is of 1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"experiment": "gone"}, "experiment gone is no longer defined"),
        ({"method": "gone"}, "case digits-left is no longer defined"),
        ({"config_hash": "0" * 16}, "edited by hand"),
        ({"tier": "gone"}, "settings are no longer defined"),
    ],
)
def test_other_reasons_to_be_stale(changes, reason):
    assert reason in stale_reason(a_record(**changes))


def test_the_larger_tiers_have_records_of_their_own():
    experiment = EXPERIMENTS["fusion"]
    case = experiment.cases(experiment.settings("colab"))[0]
    assert is_stale(a_record(tier="colab"))
    config = dict(case.config)
    assert not is_stale(a_record(tier="colab", config=config, config_hash=config_hash(config)))


def test_paired_differences_are_taken_seed_by_seed():
    rng = np.random.default_rng(0)
    hashes = {str(seed): {"images": str(seed)} for seed in range(7)}
    a, b = rng.normal(size=6), rng.normal(size=6)
    first = a_record(
        seeds=tuple(range(6)), per_seed={"m": tuple(a)}, metrics={}, data_hashes=hashes
    )
    second = a_record(
        seeds=(6, 5, 3, 1), per_seed={"m": (9.0, b[5], b[3], b[1])}, data_hashes=hashes
    )
    found = paired_difference(first, second, "m")
    differences = (a - b)[[1, 3, 5]]
    low, high = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert found.mean == pytest.approx(differences.mean(), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
    back = paired_difference(second, first, "m")
    assert back.mean == pytest.approx(-found.mean, rel=1e-12)


def test_what_is_not_paired_is_refused():
    record = a_record()
    with pytest.raises(ValueError, match="has no metric 'nothing'"):
        paired_difference(record, record, "nothing")
    with pytest.raises(ValueError, match="share no seed"):
        paired_difference(record, dataclasses.replace(record, seeds=(8, 9)), "map_mean")
    other = {**record.data_hashes, "1": {"images": "f" * 64}}
    with pytest.raises(ValueError, match="different data at seed 1"):
        paired_difference(record, dataclasses.replace(record, data_hashes=other), "map_mean")
