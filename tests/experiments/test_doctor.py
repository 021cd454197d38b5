"""The doctor: finds what is broken, and does not cry over what is not."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from vlalign_lib.experiments import Record
from vlalign_lib.experiments import doctor as doctor_module
from vlalign_lib.experiments.doctor import diagnose


def of(section):
    return [finding for finding in diagnose() if finding.section == section]


def texts(findings, state):
    return " | ".join(finding.text for finding in findings if finding.state == state)


def test_a_sound_installation_has_no_problem():
    assert texts(diagnose(), "problem") == ""
    assert {f.section for f in diagnose()} == {
        "versions", "device", "folders", "data", "ledger", "checkout"
    }  # fmt: skip


def test_every_requirement_is_looked_at():
    shown = texts(of("versions"), "ok")
    for name in ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "pooch", "numba"):
        assert f"{name} " in shown


def test_versions_out_of_range_and_missing_packages_are_problems(monkeypatch):
    found = doctor_module.version

    def other(name):
        if name == "scipy":
            raise doctor_module.PackageNotFoundError(name)
        return "0.1" if name == "numpy" else found(name)

    monkeypatch.setattr(doctor_module, "version", other)
    problems = texts(of("versions"), "problem")
    assert "numpy 0.1, outside" in problems
    assert "scipy is missing: pip install" in problems


@pytest.mark.parametrize("variable", ["VLALIGN_CACHE", "VLALIGN_RESULTS"])
def test_a_folder_that_cannot_be_written_is_a_problem(variable, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    assert f"name another one with {variable}" in texts(of("folders"), "problem")


def test_a_full_disk_is_a_problem(monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10 * 2**20)
    monkeypatch.setattr(doctor_module.shutil, "disk_usage", lambda _: usage)
    assert "10 MiB free: make room" in texts(of("folders"), "problem")


def test_a_mirror_that_is_not_there_is_a_problem_and_flags_are_shown(monkeypatch, tmp_path):
    monkeypatch.setenv("VLALIGN_MIRROR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    findings = of("folders")
    assert "there is no folder" in texts(findings, "problem")
    assert "VLALIGN_OFFLINE" in texts(findings, "ok")
    monkeypatch.setenv("VLALIGN_MIRROR", "https://example.org/mirror")
    assert texts(of("folders"), "problem") == ""


def test_a_data_set_that_is_not_here_is_a_warning(monkeypatch):
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    monkeypatch.delenv("VLALIGN_MIRROR", raising=False)
    findings = of("data")
    assert "digits: here" in texts(findings, "ok")
    assert "wikipedia: not here; vlalign data fetch wikipedia" in texts(findings, "warning")


def test_stale_records_are_warnings_and_broken_ones_problems(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor_module, "ledger_dirs", lambda: [tmp_path / "ledger"])
    folder = tmp_path / "ledger" / "linear"
    folder.mkdir(parents=True)
    record = dataclasses.replace(Record.example(), key="old")
    (folder / "old.json").write_text(record.to_json())
    (folder / "broken.json").write_text("{")
    findings = of("ledger")
    assert "linear/old.json is stale" in texts(findings, "warning")
    assert "fusion: no record" in texts(findings, "warning")
    assert "broken.json: not valid JSON" in texts(findings, "problem")
    assert "linear: 2 records, 1 of them stale" in texts(findings, "ok")


def test_links_that_a_zip_has_lost_are_problems(monkeypatch, tmp_path):
    book = tmp_path / "book"
    book.mkdir()
    (book / "_toc.yml").write_text("../_toc.yml")
    monkeypatch.setattr(doctor_module, "checkout", lambda: tmp_path)
    problems = texts(of("checkout"), "problem")
    assert "book/_toc.yml is no symbolic link" in problems
    assert "book/notebooks is missing" in problems
    assert "tools/tasks.py links" in problems
    (book / "_toc.yml").unlink()
    (tmp_path / "_toc.yml").write_text("")
    (tmp_path / "notebooks").mkdir()
    (book / "_toc.yml").symlink_to(Path("../_toc.yml"))
    (book / "notebooks").symlink_to(Path("../notebooks"))
    assert texts(of("checkout"), "problem") == ""


def test_a_wheel_has_no_links_to_look_at(monkeypatch):
    monkeypatch.setattr(doctor_module, "checkout", lambda: None)
    assert texts(of("checkout"), "ok") == "installed from a wheel"


def test_nothing_is_left_behind(tmp_path):
    diagnose()
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_looking_makes_no_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path / "a" / "cache"))
    monkeypatch.setenv("VLALIGN_RESULTS", str(tmp_path / "b" / "results"))
    assert texts(of("folders"), "problem") == ""
    assert list(tmp_path.iterdir()) == []
