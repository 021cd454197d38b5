"""Runs on several processors that are stopped or killed: nothing is lost, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from vlalign_lib.experiments import run
from vlalign_lib.experiments.linear import LinearExperiment

# Every part takes minutes.
LONG = ("--seeds", "3", "--set", "methods=late,early-network", "epochs=100000", "patience=100000")
linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@pytest.fixture
def long_run(own_folders):
    """A run with two jobs in a process group of its own, as a terminal starts it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vlalign_lib", "run", "fusion", "--quiet", "--jobs", "2", *LONG],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and so would this one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def in_group(group):
    """``{process: MiB of memory}`` of those in a process group that are not dead."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == group:
                words = dict(
                    line.split(":", 1) for line in (entry / "status").read_text().splitlines()
                )
                if "VmRSS" in words:
                    found[int(entry.name)] = int(words["VmRSS"].split()[0]) / 1024
        except OSError:
            continue
    return found


def wait_until(what, seconds):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.05)


def workers(process):
    """The processes that compute: those with torch in their memory, but for the run itself."""
    return [p for p, mib in in_group(process.pid).items() if mib > 150 and p != process.pid]


@linux
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9), (signal.SIGINT, 130)]
)
def test_all_processes_end_with_a_run_that_is_stopped(number, code, long_run):
    wait_until(lambda: len(workers(long_run)) >= 2, 300)
    assert long_run.poll() is None
    start = time.monotonic()
    # Ctrl-C reaches all processes of the terminal, `kill` the one that it names.
    (os.killpg if number == signal.SIGINT else os.kill)(long_run.pid, number)
    assert long_run.wait(timeout=60) == code
    wait_until(lambda: not in_group(long_run.pid), 30)
    assert time.monotonic() - start < 30, "a part takes minutes"
    errors = long_run.stderr.read()
    assert "Traceback" not in errors
    assert ("the same command continues" in errors) == (number != signal.SIGKILL)


@linux
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_stopped_while_it_starts_its_processes_ends_them_too(number, code, long_run):
    # the run itself, two trackers of resources, and a first worker that still imports
    wait_until(lambda: len(in_group(long_run.pid)) >= 4, 300)
    (os.killpg if number == signal.SIGINT else os.kill)(long_run.pid, number)
    assert long_run.wait(timeout=60) == code
    wait_until(lambda: not in_group(long_run.pid), 30)
    assert "Traceback" not in long_run.stderr.read()


@linux
def test_a_process_that_is_killed_is_told_with_a_way_out(long_run):
    wait_until(lambda: len(workers(long_run)) >= 2, 300)
    os.kill(workers(long_run)[0], signal.SIGKILL)
    assert long_run.wait(timeout=60) == 1
    wait_until(lambda: not in_group(long_run.pid), 30)
    errors = long_run.stderr.read()
    assert "memory runs out; the same command continues with the parts that are finished" in errors
    assert "use fewer jobs" in errors
    assert "Traceback" not in errors


@pytest.fixture
def watched_run(monkeypatch):
    """A quick run that returns who handles SIGTERM while it measures."""
    measure, seen = LinearExperiment.measure, []

    def watched(*arguments):
        seen.append(signal.getsignal(signal.SIGTERM))
        return measure(*arguments)

    monkeypatch.setattr(LinearExperiment, "measure", watched)
    settings = {"datasets": "digits", "methods": "cfa"}
    return lambda: run("linear", seeds=1, settings=settings, progress=False) and seen


def test_whoever_handles_sigterm_already_is_left_alone(watched_run):
    def mine(*_):
        pass

    before = signal.signal(signal.SIGTERM, mine)
    try:
        assert watched_run() == [mine]
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_outside_the_main_thread_changes_no_handler(watched_run):
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(watched_run).result() == [before]
    assert signal.getsignal(signal.SIGTERM) is before
