"""Processes started from here, by torchrun itself."""

import os
import subprocess
import sys

import pytest

from vlalign_lib.training import launch

SCRIPT = """
import sys
import torch
from vlalign_lib.training import FitConfig, fit, seeded, world


rank = world(device="cpu").rank
print(f"rank {rank} of {world().size} heard {sys.argv[1:]}")
if sys.argv[1] == "fail" and rank == 1:
    sys.exit("rank 1 gives up")
if sys.argv[1] == "raise" and rank == 1:
    raise ValueError("margin: expected a number")
with seeded(rank):
    line = torch.nn.Linear(2, 1)
x = torch.arange(16.0).reshape(8, 2) / 10
config = FitConfig(2, 4, device="cpu", progress=False, folder=sys.argv[2], timeout=30.0)
history = fit(line, lambda m, x: m(x).square().mean(), (x,), config)
fit(line, lambda m, x: m(x).square().mean(), (x,), FitConfig(1, 4, device="cpu", progress=False))
print(f"rank {rank} loss {history.train_loss[-1]:.12f}")
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "lines.py"
    path.write_text(SCRIPT)
    return str(path)


def test_output_comes_as_it_is_printed_and_the_processes_find_each_other(script, tmp_path, capsys):
    launch(script, "learn", str(tmp_path / "run"), environment={"OMP_NUM_THREADS": "1"})
    shown = capsys.readouterr().out
    for rank in range(2):
        assert f"rank {rank} of 2 heard ['learn'" in shown
    losses = {line.split()[-1] for line in shown.splitlines() if " loss " in line}
    assert len(losses) == 1
    assert (tmp_path / "run" / "last.pt").exists()


def test_a_failure_is_told_with_the_last_lines(script, tmp_path):
    with pytest.raises(RuntimeError, match="one of 2 processes failed") as caught:
        launch(script, "fail", str(tmp_path / "run"))
    assert "rank 1 gives up" in str(caught.value)


def test_the_exception_that_was_raised_comes_first(script, tmp_path, capsys):
    with pytest.raises(RuntimeError) as caught:
        launch(script, "raise", str(tmp_path / "run"))
    first, *rest = str(caught.value).splitlines()
    assert first == (
        f"{script}: one of 2 processes failed (exit code 1): ValueError: margin: expected a number"
        "; they ended with"
    )
    assert "Traceback (most recent call last):" in "\n".join(rest)


def test_what_only_follows_from_a_failure_is_no_cause(tmp_path):
    """As rank 0 prints when its partner has gone; torchrun itself ends with one more."""
    words = """a line: of no traceback
[rank1]: Traceback (most recent call last):
[rank1]:   File "x.py", line 3, in <module>
[rank1]:     raise pkg.Odd(3)
[rank1]: pkg.Odd: 3
Traceback (most recent call last):
  File "y.py", line 1, in f
RuntimeError: [gloo/tcp/pair.cc:552] Connection closed by peer [127.0.0.1]:1"""
    script = tmp_path / "words.py"
    script.write_text(f"import sys\nprint({words!r}, flush=True)\nsys.exit(3)\n")
    with pytest.raises(RuntimeError, match=r"failed \(exit code 1\): pkg\.Odd: 3; they ended with"):
        launch(str(script), processes=1)


@pytest.mark.parametrize(
    ("module", "settings", "message"),
    [
        (None, {}, "module: expected the name of a module or the path .* got None"),
        ("", {}, "module: expected"),
        (["a"], {}, "module: expected"),
        ("platform", {"environment": {"A": 1}}, "environment: expected texts, got 'A': 1; write"),
        ("platform", {"environment": {1: "A"}}, "environment: expected texts"),
        ("platform", {"environment": "A=1"}, "environment: expected a dictionary"),
        ("platform", {"timeout": "x"}, "timeout: expected a finite number greater than 0, got 'x'"),
        ("platform", {"timeout": 0}, "timeout: expected"),
        ("platform", {"timeout": -1}, "timeout: expected"),
        ("platform", {"timeout": float("nan")}, "timeout: expected"),
    ],
)
def test_arguments_are_checked_before_anything_starts(module, settings, message, monkeypatch):
    def started(*arguments, **others):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    with pytest.raises(ValueError, match=message):
        launch(module, **settings)


def test_modules_are_run_by_name_and_stopped_when_the_time_is_up(tmp_path):
    (tmp_path / "sleepy.py").write_text("import time\ntime.sleep(60)\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.raises(TimeoutError, match="sleepy: stopped after 4 s"):
        launch("sleepy", processes=1, environment={"PYTHONPATH": path}, timeout=4.0)


def test_the_number_of_processes_is_checked():
    with pytest.raises(ValueError, match="processes: expected a whole number of at least 1, got 0"):
        launch(sys.executable, processes=0)
