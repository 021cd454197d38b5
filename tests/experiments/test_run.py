"""Runs: killed and continued, two at once, the same numbers every time."""

import copy
import dataclasses
import errno
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from vlalign_lib._cost import WATTS_PER_CORE, Cost, CostMeter, peak_memory_mb
from vlalign_lib.data import DataUnavailable
from vlalign_lib.experiments import (
    EXPERIMENTS,
    Record,
    RunInProgress,
    SettingError,
    compare_methods,
    config_hash,
    load_records,
    results_dir,
    run,
)
from vlalign_lib.experiments.fusion import FusionExperiment
from vlalign_lib.experiments.linear import LinearExperiment

PLAIN = {"datasets": "digits", "methods": "cfa"}
QUICK = {"datasets": "digits", "methods": "cca,cfa", "components": "5,10", "cca_regs": "0.1"}
SLOW = {"methods": "left,early,late", "epochs": "12", "patience": "12"}


def quick(experiment="linear", **changes):
    return run(experiment, **{"seeds": 2, "settings": QUICK, "progress": False, **changes})


def without_times(record):
    return dataclasses.replace(
        record,
        **dict.fromkeys(("wall_time_s", "peak_memory_mb"), 0.0),
        energy={},
        date="",
        commit="",
    )


def words_of(settings):
    return [f"{name}={value}" for name, value in settings.items()]


def files_of(folder, pattern):
    return sorted(Path(folder).rglob(pattern))


def test_a_run_writes_one_record_a_case_with_everything_needed_to_repeat_it(own_folders):
    report = quick()
    assert [record.key for record in report.records] == [
        f"digits-{m}-{config_hash(r.config)[:8]}"
        for m, r in zip(("cca", "cfa"), report.records, strict=True)
    ]
    assert report.measured == 4
    assert report.resumed == 0
    assert report.skipped == {}
    for path, record in zip(report.paths, report.records, strict=True):
        assert Record.from_json(path.read_text()) == record
        assert config_hash(record.config) == record.config_hash
        assert record.seeds == (0, 1)
        assert set(record.data_hashes) == {"0", "1"}
        assert all(
            len(digest) == 64 for part in record.data_hashes.values() for digest in part.values()
        )
        assert set(record.per_seed) == set(record.metrics)
        for name, values in record.per_seed.items():
            assert record.metrics[name].mean == pytest.approx(sum(values) / 2, rel=1e-12)
            assert record.metrics[name].n == 2
        assert record.settings == QUICK
        assert record.tier == "cpu"
        assert {"python", "numpy", "scipy", "scikit-learn", "torch"} <= set(record.versions)
        assert "1 of" in record.device
        assert record.wall_time_s > 0
        assert record.peak_memory_mb > 10
        assert record.energy["joules"] >= 0
        assert "estimate" in record.energy["method"]
        assert len(record.date) == 10
    # nothing but the records and the lock is left; trials stay out of the ledger
    trials = own_folders / "ledger" / "linear" / "trials"
    assert [*report.paths] == files_of(own_folders / "ledger", "*.json") == files_of(trials, "*")
    assert load_records("linear", folder=results_dir()) == []
    left = [path.name for path in files_of(own_folders / "cache" / "runs", "*")]
    assert left == ["linear", "lock"]
    again = quick()
    assert again.measured == 4
    assert [*map(without_times, again.records)] == [*map(without_times, report.records)]


def test_the_tiers_own_configuration_is_filed_under_the_plain_key(own_folders):
    report = quick(seeds=1, settings=PLAIN)
    assert report.paths == (own_folders / "ledger" / "linear" / "digits-cfa.json",)
    assert load_records("linear", folder=results_dir()) == list(report.records)
    larger = quick(tier="colab", seeds=1, settings=PLAIN)
    assert larger.paths[0].name == "digits-cfa-colab.json"
    assert larger.records[0].tier == "colab"


def test_the_numbers_do_not_depend_on_how_many_threads_there_are(own_folders, vlalign):
    settings = words_of({"datasets": "digits", "methods": "kcca,scm"})
    texts = []
    for threads in ("1", "2"):
        folder = str(own_folders / threads)
        process = vlalign(
            *("run", "linear", "--quiet", "--seeds", "1", "--set", *settings),
            OMP_NUM_THREADS=threads,
            OPENBLAS_NUM_THREADS=threads,
            VLALIGN_RESULTS=folder,
            VLALIGN_CACHE=folder,
        )
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        records = [Record.from_json(p.read_text()) for p in files_of(folder, "digits-*.json")]
        texts.append([without_times(record).to_json() for record in records])
    assert len(texts[0]) == 2
    assert texts[0] == texts[1]


def test_a_killed_run_continues_and_ends_as_if_nothing_had_happened(own_folders, vlalign):
    whole = run("fusion", seeds=3, settings=SLOW, progress=False)
    assert whole.measured == 9

    folders = {
        "VLALIGN_RESULTS": str(own_folders / "killed"),
        "VLALIGN_CACHE": str(own_folders / "killed-cache"),
    }
    process = vlalign("run", "fusion", "--seeds", "3", "--set", *words_of(SLOW), **folders)
    deadline = time.monotonic() + 120
    while len(parts := files_of(own_folders / "killed-cache", "[0-9].json")) < 4:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    parts = files_of(own_folders / "killed-cache", "[0-9].json")
    assert 4 <= len(parts) < 9
    before = {path: (path.read_text(), path.stat().st_mtime_ns) for path in parts}
    # the record of a method that was finished is there already, the others are not
    assert 1 <= len(files_of(own_folders / "killed", "*.json")) < 3

    sentences, seen = [], {}

    def note(sentence):
        sentences.append(sentence)
        seen.update({p: (p.read_text(), p.stat().st_mtime_ns) for p in before if p.exists()})

    with pytest.MonkeyPatch.context() as patch:
        for name, value in folders.items():
            patch.setenv(name, value)
        again = run("fusion", seeds=3, settings=SLOW, progress=False, log=note)
    assert again.resumed == len(parts)
    assert again.measured == 9 - len(parts)
    assert sentences[0] == f"continuing: {len(parts)} of 9 parts were finished before"
    assert seen == before
    assert [*map(without_times, again.records)] == [*map(without_times, whole.records)]
    assert not files_of(own_folders / "killed-cache", "[0-9].json")


def test_parts_side_by_side_are_the_parts_one_by_one(own_folders):
    """Also where the program is read from standard input and has no main guard."""
    settings = {"methods": "left,early", "epochs": "2"}
    one = run("fusion", seeds=2, settings=settings, progress=False)
    folders = {
        "VLALIGN_RESULTS": str(own_folders / "two"),
        "VLALIGN_CACHE": str(own_folders / "two-cache"),
    }
    subprocess.run(
        [sys.executable, "-"],
        input="from vlalign_lib.experiments import run\n"
        f"report = run('fusion', seeds=2, settings={settings}, jobs=2, progress=False)\n"
        "assert report.measured == 4\n",
        env={**os.environ, **folders},
        text=True,
        check=True,
    )
    two = [Record.from_json(path.read_text()) for path in files_of(own_folders / "two", "*.json")]
    assert sorted(map(repr, map(without_times, two))) == sorted(
        map(repr, map(without_times, one.records))
    )
    with pytest.raises(SettingError, match="jobs: expected a whole number of at least 1, got 0"):
        run("fusion", jobs=0)


def interrupted(monkeypatch, after):
    """Run until ``after`` parts are done, then stop as Ctrl-C does."""
    measure, done = LinearExperiment.measure, []

    def stopping(*arguments):
        if len(done) == after:
            raise KeyboardInterrupt
        done.append(1)
        return measure(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(LinearExperiment, "measure", stopping)
        with pytest.raises(KeyboardInterrupt):
            quick()


def test_finished_parts_are_taken_over_by_the_same_command_alone(monkeypatch):
    interrupted(monkeypatch, after=3)
    assert quick(settings={**QUICK, "components": "5"}).resumed == 0
    for name, value in (
        ("vlalign_lib.experiments._part.source_hash", lambda: "0" * 16),
        ("vlalign_lib.__version__", "0"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, value)
            assert quick().resumed == 0
    report = quick(seeds=3)  # the stopped run's own parts are still there, of whatever seeds
    assert (report.resumed, report.measured) == (3, 3)
    interrupted(monkeypatch, after=3)
    assert quick(fresh=True).resumed == 0


def test_a_damaged_part_is_computed_again(monkeypatch, own_folders):
    whole = quick()
    interrupted(monkeypatch, after=3)
    paths = files_of(own_folders / "cache", "[0-9].json")
    paths[0].write_text(paths[0].read_text()[:100])
    paths[1].write_text("{}")
    report = quick()
    assert (report.resumed, report.measured) == (1, 3)
    assert [*map(without_times, report.records)] == [*map(without_times, whole.records)]


def test_a_second_run_at_the_same_time_is_refused_and_harms_nothing(own_folders):
    lock = own_folders / "cache" / "runs" / "linear" / "lock"
    refused = pytest.raises(RunInProgress, match="running the experiment linear")
    lock.parent.mkdir(parents=True)
    with FileLock(lock), refused:
        quick()
    assert quick().measured == 4


def test_two_processes_at_once_leave_whole_records(own_folders, vlalign):
    settings = words_of({"datasets": "digits", "methods": "cca,bare_cca,cfa,sm"})
    words = ("run", "linear", "--quiet", "--seeds", "2", "--set", *settings)
    processes = [vlalign(*words) for _ in range(3)]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    codes = sorted(process.returncode for process in processes)
    assert set(codes) <= {0, 3}, errors
    assert codes[0] == 0
    for process, text in zip(processes, errors, strict=True):
        if process.returncode == 3:
            assert "another process is running the experiment linear" in text
    assert len(load_records("linear", folder=results_dir())) == 4
    assert not files_of(own_folders, ".*.json.*")


def test_a_fuller_record_is_not_replaced_by_one_of_fewer_seeds(own_folders):
    full = quick(seeds=3, settings=PLAIN)
    sentences = []
    short = quick(settings=PLAIN, log=sentences.append)
    assert short.paths == (None,)
    assert short.records[0].seeds == (0, 1)
    assert "holds 3 seeds of the same configuration: kept" in sentences[0]
    assert load_records("linear", folder=results_dir()) == list(full.records)
    # a stale one is replaced, however many seeds it has
    path = full.paths[0]
    old = dataclasses.replace(full.records[0], method_version="0")
    path.write_text(old.to_json())
    assert quick(settings=PLAIN).paths == (path,)


def failing(monkeypatch, error, which="cca", seed="1"):
    """Let one seed of a method or of a data set fail."""
    measure = LinearExperiment.measure

    def sometimes(self, case, part):
        if which in (case.method, case.dataset) and part == seed:
            raise error
        return measure(self, case, part)

    monkeypatch.setattr(LinearExperiment, "measure", sometimes)


def test_a_data_set_that_cannot_be_had_is_skipped_and_named(monkeypatch):
    failing(monkeypatch, DataUnavailable("set VLALIGN_MIRROR"), "wikipedia", "0")
    sentences = []
    settings = {**PLAIN, "datasets": "digits,wikipedia"}
    report = quick(seeds=1, settings=settings, log=sentences.append)
    assert [record.key for record in report.records] == ["digits-cfa"]
    assert set(report.skipped) == {"wikipedia-cfa"}
    assert "VLALIGN_MIRROR" in sentences[-1]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), r"MemoryError: \(test_run.py, line \d+\)"),
        (RuntimeError("two\n  lines"), r"RuntimeError: two lines \(test_run.py, line \d+\)"),
        (FloatingPointError("loss is NaN"), r"FloatingPointError: loss is NaN \(test_run.*"),
        (ValueError("use fewer dimensions"), "use fewer dimensions"),
        (OSError("a file is torn"), r"OSError: a file is torn \(.*"),
    ],
)
def test_a_part_that_fails_is_told_and_the_other_cases_are_filed(
    error, message, monkeypatch, own_folders
):
    settings = {"datasets": "digits", "methods": "cca,cfa"}
    sentences = []
    with monkeypatch.context() as patch:
        failing(patch, error)
        report = quick(seeds=3, settings=settings, log=sentences.append)
    assert [record.key for record in report.records] == ["digits-cfa"]
    assert report.paths[0].exists()
    assert [*report.failed] == ["digits-cca"]
    assert re.fullmatch(f"seed 1: {message}", report.failed["digits-cca"])
    assert sentences == [f"digits-cca, {report.failed['digits-cca']}"]
    assert report.skipped == {}
    assert report.measured == 4, "seed 2 of a case without a record is not begun"
    # what was finished is kept, and the mended run goes on from there
    again = quick(seeds=3, settings=settings)
    assert (again.resumed, again.measured, again.failed) == (1, 5, {})


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SettingError("no such thing")])
def test_what_concerns_the_whole_run_is_not_taken_for_a_part_that_fails(error, monkeypatch):
    failing(monkeypatch, error)
    with pytest.raises(type(error)):
        quick()


def test_absurd_settings_fail_where_they_are_used_side_by_side_too():
    """In fresh processes; the closed form has no layers, so that it is measured."""
    settings = {"datasets": "digits", "methods": ["cfa", "deep_sm"], "hidden": [10**15]}
    report = run("retrieval", seeds=2, settings=settings, jobs=2, progress=False)
    assert [record.key for record in report.records] == ["digits-cfa"]
    ((key, why),) = report.failed.items()
    assert key.startswith("digits-deep_sm-")
    assert re.match(r"seed [01]: \w*Error: ", why)


def test_settings_may_be_any_values_that_can_be_read(monkeypatch):
    """Also such as can be read once, or have no place in a record."""
    settings = {
        "datasets": iter(["digits", "digits"]),
        "methods": {"cfa": 1}.keys(),
        "components": np.arange(5, 11, 5),
        "cca_regs": 1,
    }
    report = run("linear", seeds=1, settings=settings, jobs=2, progress=False)
    (record,) = report.records
    assert record.config["grid"] == {"n_components": [5, 10]}
    assert record.settings == {
        "datasets": ["digits"],
        "methods": ["cfa"],
        "components": [5, 10],
        "cca_regs": 1,
    }


def test_a_record_names_the_processors_of_its_parts(monkeypatch):
    measure, threads = LinearExperiment.measure, []

    def elsewhere(self, case, part):
        threads.append(5 if part == "1" else 4)
        return measure(self, case, part)

    monkeypatch.setattr(LinearExperiment, "measure", elsewhere)
    monkeypatch.setattr(os, "cpu_count", lambda: threads[-1] if threads else 1)
    (record,) = quick(seeds=3, settings={**QUICK, "methods": "cfa"}).records
    first, second = record.device.split(" and ")
    assert "1 of 4 threads" in first
    assert "1 of 5 threads" in second


@pytest.mark.parametrize("variable", ["VLALIGN_CACHE", "VLALIGN_RESULTS"])
def test_a_folder_that_cannot_be_written_is_named_before_anything_is_computed(
    variable, monkeypatch, own_folders
):
    (own_folders / "file").write_text("")
    monkeypatch.setenv(variable, str(own_folders / "file" / "folder"))
    monkeypatch.setattr(LinearExperiment, "measure", lambda *_: pytest.fail("computed"))
    with pytest.raises(OSError, match=f"cannot write .*{variable}"):
        quick()


def test_a_disk_that_fills_up_is_named_and_nothing_finished_is_lost(monkeypatch, own_folders):
    write = Path.write_text

    def full_at_the_second_part(path, *arguments, **more):
        if path.name.startswith(".1.json"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full_at_the_second_part)
        with pytest.raises(OSError, match=r"1\.json \(No space left.*VLALIGN_CACHE") as caught:
            quick()
    assert caught.value.errno == errno.ENOSPC
    assert [path.name for path in files_of(own_folders / "cache", "*.json*")] == ["0.json"]
    report = quick()
    assert (report.resumed, report.measured) == (1, 3)


def test_a_disk_that_knows_no_rights_and_no_locks_is_written_all_the_same(monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    def unknown(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "chmod", refused)
    monkeypatch.setattr("fcntl.flock", unknown)
    monkeypatch.setattr(os, "fsync", unknown)
    assert all(path.exists() for path in quick().paths)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tier": "gpu"}, "unknown tier 'gpu'"),
        ({"seeds": 0}, "at least 1"),
        ({"seeds": True}, "whole number"),
        ({"seeds": 1001}, "at most 1000, got 1001"),
        ({"seeds": 10**400}, "at most 1000"),
        ({"settings": {"method": "cca"}}, "Did you mean 'methods'"),
        ({"settings": {"methods": "ccca"}}, "Did you mean 'cca'"),
        ({"settings": {"methods": ""}}, "unknown method ''"),
        ({"settings": {"datasets": "glyph"}}, "Did you mean 'glyphs'"),
        ({"settings": {"components": "5,x"}}, "expected a whole number, got 'x'"),
        ({"settings": {"components": "0"}}, "at least 1"),
        ({"settings": {"cca_regs": "-1"}}, "at least 0"),
        ({"settings": {"cca_regs": "nan"}}, "at least 0"),
        ({"settings": {"cca_regs": "0.1,nan"}}, "at least 0, got nan"),
        ({"settings": {"cca_regs": "inf"}}, "at least 0, got inf"),
        ({"settings": {"methods": "all,cca"}}, "method 'all' already means every one.*only cca"),
        ({"settings": {"components": [5.5]}}, "expected a whole number, got 5.5"),
        ({"settings": {"components": []}}, "at least one value"),
        (
            {"experiment": "fusion", "settings": {"learning_rate": "fast"}},
            "expected a number, got 'fast'",
        ),
        (
            {"experiment": "fusion", "settings": {"epochs": "0"}},
            "'epochs': a number of at least 1, got 0",
        ),
        (
            {"experiment": "fusion", "settings": {"device": "gpu"}},
            "'device': expected 'cpu', 'cuda'.*got 'gpu'",
        ),
        (
            {"experiment": "fusion", "settings": {"device": "cuda:99"}},
            "'cuda:99' asked for, but there are",
        ),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest_name(changes, message):
    with pytest.raises(SettingError, match=message):
        quick(**changes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": "0,50"}, "with both ends"),
        ({"shares": "0,100,101"}, "percentages"),
        ({"dropout": "0"}, r"share in \(0, 1\]"),
        ({"learning_rate": "0"}, "above 0"),
        ({"weight_decay": "inf"}, "at least 0, got inf"),
    ],
)
def test_fusion_settings_are_checked_too(settings, message):
    with pytest.raises(SettingError, match=message):
        quick("fusion", settings=settings)


def test_settings_are_read_as_their_types():
    configured = EXPERIMENTS["fusion"].configured(
        "cpu", {"methods": "early, late", "shares": "0,100", "epochs": "5", "dropout": "1"}
    )
    assert configured.methods == ("early", "late")
    assert configured.shares == (0, 100)
    assert configured.epochs == 5
    assert configured.dropout == 1.0
    assert EXPERIMENTS["linear"].configured("cpu", {"cca_regs": 0.5}).cca_regs == (0.5,)


def test_only_settings_that_reach_a_case_change_its_configuration():
    experiment = EXPERIMENTS["linear"]
    plain = {case.key: case.config for case in experiment.cases(experiment.settings("cpu"))}
    changed = experiment.planned("cpu", {"kcca_regs": "0.5", "methods": "cca,kcca"})
    for case, key in changed:
        assert (key == case.key) == (case.config == plain[case.key])
        assert (case.method == "kcca") == (key != case.key)


def test_every_configuration_is_plain_json_and_every_key_is_its_own():
    for experiment in EXPERIMENTS.values():
        for tier in ("cpu", "colab", "full"):
            cases = experiment.cases(experiment.settings(tier))
            assert len({case.key for case in cases}) == len(cases)
            for case in cases:
                assert json.loads(json.dumps(case.config)) == case.config
                assert case.parts(2)[-2:] == ("0", "1")
            assert experiment.seeds(tier) >= 5


def test_energy_is_the_estimate_that_the_record_describes():
    assert Cost(wall_s=9.0, cpu_s=2.0).joules == 2.0 * WATTS_PER_CORE
    assert Cost(wall_s=9.0, cpu_s=0.0, gpu_s=4.0).joules > 4.0 * WATTS_PER_CORE


def test_the_meter_counts_time_and_memory():
    meter = CostMeter()
    block = np.ones(40_000_000)  # 305 MiB
    total = float(block.sum())
    cost = meter.read()
    assert total == 40_000_000
    assert cost.cpu_s > 0
    assert cost.wall_s >= cost.cpu_s / 2
    assert cost.peak_mb > 300
    assert peak_memory_mb() >= cost.peak_mb - 1


def test_meters_run_inside_one_another():
    """The inner one starts the count of the memory anew, and the outer one does not forget."""
    outer = CostMeter()
    block = np.ones(40_000_000)
    total = float(block.sum())
    del block
    inner = CostMeter().read()
    assert total == 40_000_000
    assert outer.read().peak_mb > inner.peak_mb + 200


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fusion", {"methods": "left"}),
        ("linear", {"methods": "scm", "datasets": "digits"}),
        ("retrieval", {"methods": "scm", "datasets": "digits"}),
    ],
)
def test_all_numerical_libraries_are_loaded_before_they_are_held_to_one_thread(name, settings):
    """In a fresh process: what is loaded later would keep all its threads."""
    code = (
        "from threadpoolctl import threadpool_info\n"
        "from vlalign_lib.experiments import EXPERIMENTS, run\n"
        f"kind = type(EXPERIMENTS[{name!r}])\n"
        "measure = kind.measure\n"
        "def watched(self, case, part):\n"
        "    found = measure(self, case, part)\n"
        "    print({pool['num_threads'] for pool in threadpool_info()})\n"
        "    return found\n"
        "kind.measure = watched\n"
        f"run({name!r}, seeds=1, settings={settings!r}, progress=False)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{1}\n"


def test_the_threads_are_given_back():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        quick(seeds=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_numbers_of_numpy_are_whole_numbers_too():
    report = quick(seeds=np.int64(1), jobs=np.int32(1))
    assert report.measured == 2
    assert Record.from_json(report.records[0].to_json()).seeds == (0,)
    for wrong in (np.bool_(True), np.float64(1.0), 1.5, "2", None):
        with pytest.raises(SettingError, match="jobs: expected a whole number"):
            quick(jobs=wrong)


def test_reports_can_be_copied_sent_and_compared():
    report = quick()
    measurement = LinearExperiment().measure(LinearExperiment().planned("cpu", QUICK)[0][0], "0")
    compared = compare_methods(report.records, metric="map_mean")
    for thing in (report, report.records[0], measurement, *compared):
        assert pickle.loads(pickle.dumps(thing)) == copy.deepcopy(thing) == thing
        assert set(dataclasses.asdict(thing)) == set(vars(thing))


def test_the_full_tier_says_first_that_there_is_no_gpu(monkeypatch):
    import torch

    said = []
    monkeypatch.setattr(FusionExperiment, "measure", lambda *_: pytest.fail(said[0]))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(pytest.fail.Exception, match="sized for a GPU and there is none here"):
        run("fusion", "full", seeds=1, progress=False, log=said.append)
