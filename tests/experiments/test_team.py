"""Parts shared out among the processes that torchrun starts, and what goes wrong there."""

import json
import os
import threading

import pytest

from vlalign_lib.experiments import SettingError, _team, run
from vlalign_lib.experiments import _run as run_module
from vlalign_lib.experiments._registry import get_experiment
from vlalign_lib.experiments._team import (
    Follower,
    Leader,
    Team,
    alone,
    check_not_joined,
    find_team,
    use_own_gpu,
)
from vlalign_lib.training import launch

SETTINGS = {"methods": "left,late", "epochs": "2"}
QUICK = [f"{name}={value}" for name, value in SETTINGS.items()]


def of_rank(monkeypatch, rank, size=2):
    for name, value in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", size)):
        monkeypatch.setenv(name, str(value))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(_team, "START_S", 0.5)
    monkeypatch.setattr(_team, "BEAT_S", 0.05)
    monkeypatch.setattr(_team, "POLL_S", 0.01)


def without_cost(record):
    return {
        name: value
        for name, value in vars(record).items()
        if name not in ("wall_time_s", "peak_memory_mb", "energy", "date", "commit")
    }


def test_torchrun_shares_out_the_parts_and_gives_the_numbers_of_one_process(
    own_folders, monkeypatch, capsys
):
    """The wirings are trained: a process that took part in another's training would differ."""
    words = ("run", "fusion", "--quiet", "--seeds", "2", "--set", *QUICK)
    launch("vlalign_lib", *words, processes=2, timeout=300.0)
    shown = capsys.readouterr().out
    assert shown.count("digits-left-") == shown.count("digits-late-") == 1, "rank 0 alone reports"
    trials = own_folders / "ledger" / "fusion" / "trials"
    shared = {path.name: path.read_text() for path in sorted(trials.iterdir())}
    work = own_folders / "cache" / "runs" / "fusion"
    assert [path.name for path in work.iterdir()] == ["lock"]

    monkeypatch.setenv("VLALIGN_RESULTS", str(own_folders / "one"))
    one = run("fusion", seeds=2, settings=SETTINGS, progress=False)
    assert [path.name for path in sorted(one.paths)] == [*shared]
    for path, record in zip(one.paths, one.records, strict=True):
        assert without_cost(type(record).from_json(shared[path.name])) == without_cost(record)


def test_a_rank_that_fails_ends_the_job_with_its_message(tmp_path):
    script = tmp_path / "failing.py"
    script.write_text(
        "import os\n"
        "from vlalign_lib.experiments import _run\n"
        "def full(task):\n"
        "    raise OSError(f'no room for {task.part}')\n"
        "if os.environ['RANK'] == '1':\n"
        "    _run._compute = full\n"
        f"_run.run('fusion', seeds=2, settings={SETTINGS}, progress=False)\n"
    )
    with pytest.raises(RuntimeError, match="no room for 1"):
        launch(str(script), processes=2, timeout=300.0)


def test_each_rank_computes_its_share_and_nothing_twice(own_folders, monkeypatch):
    """Both ranks in this process: rank 1 first, against an order that was written by hand."""
    settings = {"datasets": "digits", "methods": "cca,cfa", "components": "5", "cca_regs": "0.1"}
    work = own_folders / "cache" / "runs" / "linear"
    experiment = get_experiment("linear")
    tasks = run_module._tasks(experiment, experiment.planned("cpu", settings), 2, work)
    missing = [run_module._name(task) for task in tasks]
    of_rank(monkeypatch, 1)
    team = find_team(work)
    with Leader(team) as leader:
        thread = threading.Thread(target=leader.give, args=({"missing": missing},))
        thread.start()
        report = run("linear", seeds=2, settings=settings)
        thread.join()
        assert (report.records, report.measured) == ((), 2)
        assert [*leader.news()] == [(1, None), (3, None)]
        assert not leader.waits()
    assert [task.path.exists() for task in tasks] == [False, True, False, True]


def test_words_of_a_killed_job_are_not_believed(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(_team, "START_S", 60.0)
    folder = tmp_path / "a" / "b" / "team-x"
    folder.mkdir(parents=True)
    (folder.parent / "team-old").mkdir()
    old = {"word": "w", "order": "o", "beat": 7, "finished": [[1, None]], "ended": True}
    (folder / "rank-1.json").write_text(json.dumps({**old, "error": "old"}))
    (folder / "order.json").write_text(json.dumps({"word": "o", "to": {"1": "w"}, "missing": [1]}))
    heard = []

    def follow():
        with Follower(Team(1, 2, folder)) as follower:
            heard.append(follower.order()["missing"])
            follower.finish(5, ("failed", "why"))

    with Leader(Team(0, 2, folder)) as leader:
        thread = threading.Timer(0.3, follow)
        thread.start()
        leader.give({"missing": [5, 6]})
        news = [*leader.news()]
        while leader.waits():
            news += leader.news()
        thread.join()
    assert heard == [[5, 6]]
    assert news == [(5, ("failed", "why"))]
    assert not [*folder.parent.iterdir()]


def test_processes_that_do_not_find_each_other_say_so(tmp_path, quick):
    folder = tmp_path / "runs" / "linear" / "team-x"
    with Leader(Team(0, 3, folder)) as leader, pytest.raises(TimeoutError) as caught:
        leader.give({})
    assert "rank 1, 2 of 3 processes did not answer" in str(caught.value)
    assert f"VLALIGN_CACHE name a folder that all of them share (here {tmp_path})" in str(
        caught.value
    )
    lonely = pytest.raises(TimeoutError, match=r"rank 1 has heard nothing from rank 0.*same comm")
    with lonely, Follower(Team(1, 2, folder)) as follower:
        follower.order()


def together(folder, work):
    """Start rank 1, which does ``work`` once it has the order; return rank 0, which gave it."""

    def follow():
        try:
            with Follower(Team(1, 2, folder)) as follower:
                follower.order()
                work(follower)
        except RuntimeError:
            pass

    threading.Thread(target=follow).start()
    leader = Leader(Team(0, 2, folder))
    leader.give({})
    return leader


def hear(leader, beats=None):
    """Listen until the others have ended; note the signs of life of rank 1."""
    while leader.waits():
        if beats is not None:
            beats.append(leader._beats.get(1, (0, 0))[0])
        list(leader.news())


def test_the_failure_of_another_rank_reaches_rank_0(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(_team, "START_S", 60.0)

    def broken(follower):
        raise RuntimeError("no more paper")

    leader = together(tmp_path / "a" / "b" / "team-x", broken)
    with pytest.raises(ChildProcessError, match="rank 1 failed: RuntimeError: no more paper"):
        hear(leader)


def test_a_rank_that_falls_silent_is_missed_and_one_that_is_slow_is_not(
    tmp_path, quick, monkeypatch
):
    monkeypatch.setattr(_team, "START_S", 60.0)
    monkeypatch.setattr(_team, "SILENCE_S", 2.0)
    slow, over = threading.Event(), threading.Event()

    def silent(follower):
        slow.wait(3.0)  # it lives, and takes longer than anyone is silent
        follower._over.set()
        over.wait(60.0)

    leader = together(tmp_path / "a" / "b" / "team-x", silent)
    beats = []
    with pytest.raises(TimeoutError, match="rank 1 of 2 processes has given no sign of life"):
        hear(leader, beats)
    over.set()
    assert max(beats) > 10


def test_a_rank_of_another_command_is_refused(own_folders, monkeypatch):
    of_rank(monkeypatch, 1)
    team = find_team(own_folders / "cache" / "runs" / "linear")
    leader = Leader(team)
    thread = threading.Thread(target=leader.give, args=({"missing": ["another-case/0"]},))
    thread.start()
    with pytest.raises(SettingError, match=r"rank 1 of 2 would measure other things than rank 0"):
        run("linear", seeds=1, settings={"datasets": "digits"})
    thread.join()


def test_training_does_not_hear_of_the_other_processes(monkeypatch):
    from vlalign_lib.training import world

    of_rank(monkeypatch, 1)
    with alone():
        assert world().size == 1
        assert "RANK" not in os.environ
    assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("1", "2")


def test_only_several_processes_are_a_team(tmp_path, monkeypatch):
    assert find_team(tmp_path) is None
    of_rank(monkeypatch, 0, size=1)
    assert find_team(tmp_path) is None
    of_rank(monkeypatch, 1)
    team = find_team(tmp_path)
    assert (team.rank, team.size) == (1, 2)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "another job")
    assert find_team(tmp_path).folder != team.folder
    for rank in ("2", "-1", "x"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SettingError, match=f"RANK={rank} and WORLD_SIZE=2"):
            find_team(tmp_path)


def test_each_process_takes_its_own_gpu_where_one_is_asked_for(monkeypatch):
    import torch

    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    use_own_gpu("auto")
    assert taken == [], "there is one process only"
    of_rank(monkeypatch, 1)
    use_own_gpu("cpu")
    use_own_gpu("cuda:0")
    assert taken == []
    use_own_gpu("auto")
    use_own_gpu("cuda")
    assert taken == [1, 1]
    of_rank(monkeypatch, 2, size=3)
    with pytest.raises(SettingError, match=r"has no GPU of its own: there are 2.*device=cpu"):
        use_own_gpu("auto")


def test_a_trained_part_asks_for_the_gpu_of_its_case(monkeypatch):
    asked = []
    monkeypatch.setattr(run_module, "use_own_gpu", asked.append)
    run(
        "fusion",
        seeds=1,
        settings={"methods": "left", "epochs": 1, "device": "auto"},
        progress=False,
    )
    run("linear", seeds=1, settings={"datasets": "digits", "methods": "cfa"}, progress=False)
    retrieval = {"datasets": "digits", "methods": "deep_sm", "device": "auto", "epochs": 1}
    run("retrieval", seeds=1, settings={**retrieval, "hidden": 4}, progress=False)
    assert asked == ["auto", "cpu", "auto"]


def test_jobs_inside_a_process_of_torchrun_are_refused(monkeypatch):
    of_rank(monkeypatch, 0)
    with pytest.raises(SettingError, match=r"under torchrun each process computes one part"):
        run("linear", jobs=2)


def test_processes_that_train_together_cannot_share_out_parts(monkeypatch):
    import torch.distributed

    check_not_joined()
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match="gives each process parts of its own"):
        run("linear")
