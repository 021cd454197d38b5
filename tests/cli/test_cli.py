"""The command line: exit codes, help that is quick, errors that help."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock

import vlalign_lib
from vlalign_lib.__main__ import main
from vlalign_lib.experiments import EXPERIMENTS, load_records, results_dir, retrieval
from vlalign_lib.experiments.linear import LinearExperiment

QUICK = ["--seeds", "1", "--set", "datasets=digits", "methods=cfa,cca"]


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_RESULTS", str(tmp_path / "ledger"))
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLALIGN_OFFLINE", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["run", "--help"], ["table", "--help"], ["data", "--help"]]
)
def test_help_is_quick_and_does_not_import_torch(words):
    code = (
        "import sys\n"
        "from vlalign_lib.__main__ import main\n"
        "status = main(sys.argv[1:])\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'matplotlib', 'numba'} & set(sys.modules)\n"
        "sys.exit(status or (f'imported {heavy}' if heavy else 0))\n"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert time.perf_counter() - start < 10


def test_help_lists_commands_exit_codes_experiments_and_settings(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for word in (
        "run",
        "table",
        "data",
        "doctor",
        "130",
        "143",
        "another process",
        "part of a run",
    ):
        assert word in shown
    assert main(["run", "--help"]) == 0
    shown = capsys.readouterr().out
    for name, experiment in EXPERIMENTS.items():
        assert f"{name}: {experiment.title}" in shown
    assert "kcca_regs=0.1,1.0,10.0" in shown
    for way in ("--jobs", "--scheduler", "torchrun --standalone"):
        assert way in shown


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vlalign-lib {vlalign_lib.__version__}\n"


def test_a_run_prints_its_files_and_its_table_and_writes_records(capsys, own_places):
    assert main(["run", "linear", *QUICK]) == 0
    out, err = capsys.readouterr()
    for name in ("digits-cfa", "digits-cca"):
        assert str(own_places / "ledger" / "linear" / f"{name}.json") in out
    assert "paper I→T" in out
    assert "2/2" in err  # the bar, on stderr, so that the table can be piped
    assert [record.key for record in load_records("linear", folder=results_dir())] == [
        "digits-cca",
        "digits-cfa",
    ]
    assert main(["table", "linear"]) == 0
    assert "digits (halves)" in capsys.readouterr().out


def test_quiet_prints_only_the_files(capsys):
    assert main(["run", "linear", "--quiet", *QUICK]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert err == ""


def test_set_may_be_given_once_or_often(capsys):
    words = ["run", "linear", "--quiet", "--seeds", "1"]
    assert main([*words, "--set", "datasets=digits", "--set", "methods = cfa"]) == 0
    assert capsys.readouterr().out.count("digits-cfa.json") == 1


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["--format", "markdown"], "**Digits"),
        (["--format", "html"], "<table"),
        (["--csv"], "wiring,"),
        (["--latex"], "% Digits"),
    ],
)
def test_tables_in_other_formats(words, begins, capsys):
    assert main(["table", "fusion", *words]) == 0
    assert capsys.readouterr().out.startswith(begins)


def test_labels_of_the_table_are_names_of_methods_and_data_sets(capsys):
    for word in ("KernelCCA", "kcca", "kernel cca"):
        assert main(["table", "linear", "--csv", "--method", word, "--data", "digits"]) == 0
        head, row = capsys.readouterr().out.splitlines()
        assert head.startswith("method,data")
        assert row.startswith("KernelCCA,digits (halves)")
    words = ["--method", "SAM, reconstructed,cca", "--data", "Wikipedia, classic"]
    assert main(["table", "retrieval", "--csv", *words]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head == 'method,"Wikipedia, classic, paper","Wikipedia, classic, ours"'
    assert [row.split(",")[0] for row in rows] == ["CCA", '"SAM']


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
@pytest.mark.parametrize(
    "words",
    [
        ["-m", "vlalign_lib", "doctor"],
        ["-m", "vlalign_lib", "table", "linear"],
        ["-m", "vlalign_lib", "data", "card", "glyphs"],
        ["-m", "vlalign_lib", "run", "--help"],
        ["-m", "vlalign_lib", "run", "fusion", *QUICK[:3], "methods=left", "epochs=1"],
        ["-c", "from vlalign_lib.course import claim; claim('it is {x:.1f}', True, x=1.0)"],
    ],
)
def test_a_terminal_or_pipe_of_another_encoding_shows_all_the_same(words, encoding, own_places):
    done = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert b"Error" not in done.stderr, done.stderr.decode(encoding)
    assert done.returncode == 0
    shown = done.stdout.decode(encoding)
    if "table" in words:
        assert "paper I>T" in shown
        assert re.search(r"0\.\d{3} (±|\+-) 0\.\d{3}", shown)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "COMMAND"),
        (["rnu", "linear"], "Did you mean 'run'?"),
        (["run", "linear", "--sedes", "2"], "Did you mean '--seeds'?"),
        (["run", "linear", "--jbos=2"], "Did you mean '--jobs'?"),
        (["data", "crad", "digits"], "Did you mean 'card'?"),
        (["data", "card", "wikpedia"], "Did you mean 'wikipedia'?"),
        (["run", "linear", "--jobs", "2", "--scheduler", "here:1"], "three ways"),
        (["table", "linear", "--method", "kca"], "Did you mean 'kcca'"),
        (["table", "fusion", "--data", "digits"], "has one data set only"),
        (["run"], "EXPERIMENT"),
        (["run", "lineal"], "Did you mean 'linear'"),
        (["run", "something else entirely"], "There are: fusion, linear"),
        (["run", "linear", "--tier", "cpuu"], "Did you mean 'cpu'"),
        (["run", "linear", "--seeds", "none"], "invalid int value"),
        (["run", "linear", "--seeds", "0"], "at least 1"),
        (["run", "linear", "--set", "dataset=digits"], "Did you mean 'datasets'"),
        (["run", "linear", "--set", "datasets"], "expected KEY=VALUE, got 'datasets'"),
        (["run", "linear", "--set", "datasets=digit"], "Did you mean 'digits'"),
        (["run", "fusion", "--set", "epochs=many"], "expected a whole number"),
        (["run", "linear", "--seeds", "100000000"], "at most 1000"),
        (["run", "fusion", "--set", "device=gpu"], "got 'gpu'"),
        (["run", "retrieval", "--set", "device=gpu"], "got 'gpu'"),
        (["run", "retrieval", "--set", "hidden=-5"], "'hidden': a number of at least 1, got -5"),
        (["run", "retrieval", "--data", "all,digits"], "only digits"),
        (["run", "retrieval", "--method", "cca,all"], "only cca"),
        (["run", "fusion", "--data", "all"], "unknown setting of fusion 'datasets'"),
        (
            ["run", "linear", "--data", "digits", "--set", "datasets=digits"],
            "--data is short for --set datasets=…: give one of them",
        ),
        (
            ["run", "linear", "--method", "cca", "--set", "methods=cfa"],
            "--method is short for --set methods=…: give one of them",
        ),
        (
            ["run", "linear", "--set", "methods=cca", "--set", "methods=cfa"],
            "'methods': given more than once, as cca and as cfa",
        ),
        (["run", "linear", "--data", "digits", "--data", "glyphs"], "as digits and as glyphs"),
        (["table", "fusoin"], "Did you mean 'fusion'"),
        (["table", "fusion", "--format", "htm"], "Did you mean 'html'"),
        (["table", "fusion", "--tier", "ful"], "Did you mean 'full'"),
        (["data", "card", "nothing"], "nothing"),
    ],
)
def test_a_wrong_word_is_exit_code_2_with_help(words, message, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_a_folder_that_cannot_be_written_is_exit_code_1(monkeypatch, own_places, capsys):
    (own_places / "file").write_text("")
    monkeypatch.setenv("VLALIGN_CACHE", str(own_places / "file"))
    assert main(["run", "linear", *QUICK]) == 1
    assert "VLALIGN_CACHE" in capsys.readouterr().err


def test_a_broken_record_is_exit_code_1_and_named(own_places, capsys):
    folder = own_places / "ledger" / "linear"
    folder.mkdir(parents=True)
    (folder / "digits-cca.json").write_text("{")
    assert main(["table", "linear"]) == 1
    assert "digits-cca.json: not valid JSON" in capsys.readouterr().err
    assert main(["doctor"]) == 1
    assert "digits-cca.json: not valid JSON" in capsys.readouterr().out


def test_another_run_is_exit_code_3(own_places, capsys):
    lock = own_places / "cache" / "runs" / "linear" / "lock"
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        assert main(["run", "linear", *QUICK]) == 3
    assert "another process" in capsys.readouterr().err


def test_data_that_cannot_be_had_is_exit_code_4_and_the_rest_is_done(monkeypatch, capsys):
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    monkeypatch.delenv("VLALIGN_MIRROR", raising=False)
    words = ["run", "linear", "--seeds", "1", "--set", "datasets=digits,wikipedia", "methods=cfa"]
    assert main(words) == 4
    out, err = capsys.readouterr()
    assert "digits-cfa.json" in out
    assert "wikipedia-cfa: not run" in err
    assert "VLALIGN_OFFLINE" in err or "VLALIGN_MIRROR" in err


def test_a_part_that_fails_is_exit_code_1_and_the_rest_is_done(capsys):
    words = ["run", "retrieval", "--quiet", "--seeds", "1", "--data", "digits"]
    words += ["--method", "deep_sm,cca", "--set", "hidden=1000000000000000"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out.count("digits-") == 1
    assert "digits-cca.json" in out
    assert re.fullmatch(r"digits-deep_sm-\w{8}, seed 0: \w*Error: .*\n", err)


def test_all_is_every_data_set_and_every_method(monkeypatch):
    asked = []

    def note(name, tier, *, settings, **others):
        asked.append(EXPERIMENTS[name].configured(tier, settings))
        raise KeyboardInterrupt

    monkeypatch.setattr("vlalign_lib.experiments.run", note)
    main(["run", "retrieval", "--data", "all", "--method", "all"])
    main(["run", "retrieval", "--data", "names,names", "--set", "epochs=3", "--set", "epochs=3"])
    assert asked[0].datasets == tuple(retrieval.DATASETS)
    assert asked[0].methods == tuple(retrieval.METHODS)
    assert asked[1].datasets == ("names",)
    assert asked[1].epochs == 3


def test_ctrl_c_is_exit_code_130_and_says_how_to_go_on(monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(LinearExperiment, "measure", stopped)
    assert main(["run", "linear", *QUICK]) == 130
    assert "the same command continues" in capsys.readouterr().err


def test_kill_is_exit_code_143_and_says_how_to_go_on(monkeypatch, capsys):
    def stopped(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(LinearExperiment, "measure", stopped)
    try:
        assert main(["run", "linear", *QUICK]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "the same command continues" in capsys.readouterr().err


def test_doctor_of_a_sound_installation_is_exit_code_0(capsys):
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for section in ("versions", "device", "folders", "data", "ledger"):
        assert f"\n{section}\n" in f"\n{shown}"
    assert "0 problem(s)" in shown


def test_data_commands_are_there(capsys):
    assert main(["data", "list"]) == 0
    assert "wikipedia" in capsys.readouterr().out


def test_module_and_script_are_the_same_program():
    done = subprocess.run(
        [sys.executable, "-m", "vlalign_lib", "table", "linear", "--format", "nonsense"],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("vlalign: unknown format 'nonsense'")


def test_a_reader_that_goes_away_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m vlalign_lib run --help | head -1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("usage:")
    assert "Traceback" not in done.stderr
