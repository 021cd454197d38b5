"""Runs with several jobs that are stopped, killed or fail: nothing is computed on, none is left."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from vlalign_lib.experiments import run
from vlalign_lib.experiments._processes import _undisturbed, orderly_end, side_by_side

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


@linux
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9), (signal.SIGINT, 130)]
)
def test_all_processes_end_with_a_run_that_is_stopped(number, code, long_run):
    # two workers with torch in their memory
    wait_until(lambda: sum(mib > 150 for mib in in_group(long_run.pid).values()) >= 2, 300)
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
    # the run itself, multiprocessing's tracker, and a first worker that still imports
    wait_until(lambda: len(in_group(long_run.pid)) >= 3, 300)
    (os.killpg if number == signal.SIGINT else os.kill)(long_run.pid, number)
    assert long_run.wait(timeout=60) == code
    wait_until(lambda: not in_group(long_run.pid), 30)
    assert "Traceback" not in long_run.stderr.read()


def test_an_error_is_shown_at_once_and_the_other_tasks_are_dropped():
    start = time.monotonic()
    with pytest.raises(TypeError):
        list(side_by_side(time.sleep, ["no number", *[100.0] * 4], 2))
    assert time.monotonic() - start < 60


def test_a_loop_that_is_left_early_drops_the_other_tasks():
    start = time.monotonic()
    answers = side_by_side(time.sleep, [0.0, *[100.0] * 4], 2)
    assert next(answers) == (0.0, None)
    answers.close()
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_while_processes_are_started_is_kept_for_afterwards(number, error):
    steps = []

    def start():
        with _undisturbed():
            # `kill` of another process may end in any thread, of numpy's say; so does this
            signal.raise_signal(number)
            thread = threading.Thread(target=os.kill, args=(os.getpid(), number))
            thread.start()
            thread.join()
            steps.append("started")
        time.sleep(5)
        steps.append("went on")

    def wait(*_):
        raise error

    before = signal.signal(number, wait)
    try:
        with pytest.raises(error):
            start()
        assert signal.getsignal(number) is wait
    finally:
        signal.signal(number, before)
    assert steps == ["started"]


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_that_another_thread_receives_ends_the_wait(number, error):
    def stop(*_):
        raise error

    def received():
        signal.pthread_kill(threading.get_ident(), number)

    before = signal.signal(number, stop)
    try:
        answers = side_by_side(time.sleep, [0.0, *[100.0] * 4], 2)
        next(answers)
        start = time.monotonic()
        # by then the main thread waits for the second answer
        threading.Timer(1.0, received).start()
        with pytest.raises(error):
            next(answers)
        assert time.monotonic() - start < 60
    finally:
        signal.signal(number, before)


def test_tasks_come_with_their_answers():
    assert sorted(side_by_side(abs, [-1, -2, 3], 2)) == [(-2, 2), (-1, 1), (3, 3)]


def test_a_process_that_is_killed_is_told_with_a_way_out():
    with pytest.raises(ChildProcessError, match=r"memory runs out.*use fewer jobs"):
        list(side_by_side(os._exit, [1], 1))


def test_sigterm_unwinds_and_the_old_ways_are_restored():
    steps = []

    def stopped():
        with orderly_end():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            finally:
                steps.append("unwound")

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as caught:
            stopped()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143
    assert steps == ["unwound"]


def test_whoever_handles_sigterm_already_is_left_alone():
    def mine(*_):
        pass

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with orderly_end():
            assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_run_outside_the_main_thread_changes_no_handler():
    reports, before = [], signal.getsignal(signal.SIGTERM)
    settings = {"datasets": "digits", "methods": "cfa"}

    def measure():
        reports.append(run("linear", seeds=1, settings=settings, progress=False))
        reports.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    assert reports[0].measured == 1
    assert reports[1] is before
