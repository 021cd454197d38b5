"""Parts computed by a Dask cluster, and one model trained by the processes of torchrun."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest

from vlalign_lib.experiments import SettingError, run
from vlalign_lib.experiments.fusion import FusionExperiment
from vlalign_lib.training import launch

SETTINGS = {"methods": "left,late", "epochs": "2"}


def without_cost(record):
    free = ("wall_time_s", "peak_memory_mb", "energy", "date", "commit")
    return {name: value for name, value in vars(record).items() if name not in free}


@pytest.fixture
def cluster(tmp_path):
    """The address of a scheduler, and its two workers: processes of this machine."""
    file = tmp_path / "scheduler.json"
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    one = ["--nworkers", "1", "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path)]
    processes = []

    def start(kind, *words):
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *common, *words]
        processes.append(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL))

    start("scheduler", "--port", "0", "--protocol", "tcp")
    for _ in range(2):
        start("worker", *one)
    try:
        from distributed import Client

        with Client(scheduler_file=str(file), timeout=120, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
            yield client.scheduler.address, processes[1:], client
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_cluster_gives_the_numbers_of_one_process_though_a_worker_is_killed(
    cluster, own_folders, monkeypatch
):
    address, (first, _), client = cluster
    settings = {"methods": "left,late", "epochs": "100", "patience": "100"}
    computed = []

    def kill_the_first(part):
        computed.append(part)
        if len(computed) == 2:
            assert client.processing()[worker_of(client, first)], "it computes a part"
            os.kill(first.pid, signal.SIGKILL)

    watch(monkeypatch, kill_the_first)
    many = run("fusion", seeds=3, settings=settings, scheduler=address, progress=False)
    assert first.wait(timeout=60) == -signal.SIGKILL
    assert (many.measured, many.failed, many.skipped) == (6, {}, {})
    monkeypatch.undo()
    monkeypatch.setenv("VLALIGN_RESULTS", str(own_folders / "one"))
    monkeypatch.setenv("VLALIGN_CACHE", str(own_folders / "one-cache"))
    one = run("fusion", seeds=3, settings=settings, progress=False)
    assert [*map(without_cost, many.records)] == [*map(without_cost, one.records)]


def worker_of(client, process):
    """The address of the worker that is a process of this machine."""
    numbers = client.run(os.getpid)
    return next(address for address, number in numbers.items() if number == process.pid)


def watch(monkeypatch, told):
    """Call ``told`` with every part that is put on disk."""
    replace = os.replace

    def watched(source, target):
        replace(source, target)
        if str(target).endswith(".json") and "runs" in str(target):
            told(target)

    monkeypatch.setattr(os, "replace", watched)


def test_a_part_that_fails_on_a_worker_is_told_and_other_code_is_refused(cluster, monkeypatch):
    address, _, _ = cluster
    settings = {"datasets": "digits", "methods": "deep_sm,cca", "hidden": "1000000000000000"}
    report = run("retrieval", seeds=1, settings=settings, scheduler=address, progress=False)
    assert [record.method for record in report.records] == ["cca"]
    assert "seed 0: " in next(iter(report.failed.values()))
    monkeypatch.setattr("vlalign_lib.__version__", "0")
    with pytest.raises(SettingError, match="other code or other packages than the one that asks"):
        run("linear", seeds=1, settings={"datasets": "digits"}, scheduler=address, progress=False)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("vlalign_lib.experiments._processes.CONNECT_S", 1.0)
    start = time.monotonic()
    with pytest.raises(OSError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 "):
        run("linear", seeds=1, scheduler="tcp://127.0.0.1:9", progress=False)
    assert time.monotonic() - start < 60
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingError, match=r"pip install 'vlalign-lib\[cluster\]'"):
        run("linear", seeds=1, scheduler="tcp://127.0.0.1:9", progress=False)


def test_under_torchrun_all_processes_train_one_model_and_rank_0_alone_writes(
    own_folders, monkeypatch, capsys
):
    words = ("run", "fusion", "--quiet", "--seeds", "1", "--set", "methods=left,late", "epochs=2")
    launch("vlalign_lib", *words, processes=2, timeout=300.0)
    shown = capsys.readouterr().out
    assert shown.count("digits-left-") == shown.count("digits-late-") == 1, "rank 0 alone reports"
    trials = own_folders / "ledger" / "fusion" / "trials"
    shared = {path.name: path.read_text() for path in sorted(trials.iterdir())}
    monkeypatch.setenv("VLALIGN_RESULTS", str(own_folders / "one"))
    one = run("fusion", seeds=1, settings=SETTINGS, progress=False)
    assert [path.name for path in sorted(one.paths)] == [*shared]
    for path, record in zip(one.paths, one.records, strict=True):
        found = dataclasses.replace(record).from_json(shared[path.name])
        assert found.data_hashes == record.data_hashes
        for name, values in record.per_seed.items():
            assert found.per_seed[name] == pytest.approx(values, abs=0.01), name


def test_a_rank_that_fails_ends_the_job_with_its_message(tmp_path):
    script = tmp_path / "failing.py"
    script.write_text(
        "import os\n"
        "from vlalign_lib.experiments import run\n"
        "from vlalign_lib.experiments.fusion import FusionExperiment\n"
        "def full(self, case, part):\n"
        "    raise MemoryError(f'no room for {part}')\n"
        "if os.environ['RANK'] == '1':\n"
        "    FusionExperiment.measure = full\n"
        f"run('fusion', seeds=2, settings={SETTINGS}, progress=False)\n"
    )
    with pytest.raises(RuntimeError, match="no room for 0"):
        launch(str(script), processes=2, timeout=300.0)


def test_one_way_to_use_several_processors_at_a_time(monkeypatch):
    with pytest.raises(SettingError, match="three ways to use several processors"):
        run("linear", jobs=2, scheduler="tcp://127.0.0.1:9")
    for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match="three ways"):
        run("linear", jobs=2)
    with pytest.raises(SettingError, match=r"MASTER_ADDR, MASTER_PORT is not set.*torchrun"):
        run("linear")


def test_each_job_has_a_gpu_of_its_own_where_one_is_asked_for(monkeypatch):
    import multiprocessing

    import torch

    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(FusionExperiment, "measure", lambda *_: 1 / 0)
    settings = {"methods": "left", "device": "cuda"}
    run("fusion", seeds=1, settings=settings, progress=False)
    assert taken == [], "there is one process only"
    for number in (3, 4):
        monkeypatch.setattr(multiprocessing.current_process(), "name", f"LokyProcess-{number}")
        run("fusion", seeds=1, settings=settings, progress=False)
        run("fusion", seeds=1, settings={"methods": "left"}, progress=False)
    assert taken == [1, 0]
