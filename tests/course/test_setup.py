"""The first cell: seeds, style, what it says, and how little it loads."""

# ruff: noqa: NPY002  the global generator is what is tested

import random
import subprocess
import sys
import time
import types

import matplotlib as mpl
import numpy as np
import pytest

from vlalign_lib.course import setup
from vlalign_lib.course._setup import _device


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch, tmp_path):
    monkeypatch.setenv("VLALIGN_RESULTS", str(tmp_path))
    monkeypatch.delenv("VLALIGN_OFFLINE", raising=False)
    state = np.random.get_state()
    with mpl.rc_context():
        yield
    np.random.set_state(state)


def test_the_same_seed_gives_the_same_draws():
    setup("ch01", seed=3)
    first = (random.random(), np.random.rand())
    setup("ch01", seed=3)
    assert (random.random(), np.random.rand()) == first
    setup("ch01", seed=4)
    assert (random.random(), np.random.rand()) != first


def test_torch_is_seeded_where_it_is_loaded():
    torch = pytest.importorskip("torch")
    setup("ch02", seed=5)
    first = torch.rand(3)
    setup("ch02", seed=5, torch=True)
    assert torch.equal(torch.rand(3), first)


def test_it_says_chapter_versions_device_and_seed(capsys):
    found = setup("ch03_cca.ipynb", seed=7)
    said = capsys.readouterr().out
    assert said.startswith("ch03 · vlalign_lib ")
    for part in (f"numpy {np.__version__}", "Python 3.", "scikit-learn", "torch", "Seed 7."):
        assert part in said
    assert (found.chapter, found.seed, found.colab, found.offline) == ("ch03", 7, False, False)
    assert found.versions["numpy"] == np.__version__
    assert found.device in ("cpu", "cuda", "mps")


def test_it_sets_the_style():
    with mpl.rc_context({"axes.spines.top": True}):
        setup("ch00")
        assert mpl.rcParams["axes.spines.top"] is False


@pytest.mark.parametrize(("value", "warned"), [("1", True), ("0", False), ("", False)])
def test_offline_is_announced(monkeypatch, capsys, value, warned):
    monkeypatch.setenv("VLALIGN_OFFLINE", value)
    assert setup("ch01").offline is warned
    assert ("nothing is downloaded" in capsys.readouterr().out) is warned


def test_on_colab_it_says_where_the_gpu_is(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr("vlalign_lib.course._setup._device", lambda: "cpu")
    assert setup("ch01").colab
    assert "Change runtime type" in capsys.readouterr().out
    monkeypatch.setattr("vlalign_lib.course._setup._device", lambda: "cuda")
    setup("ch01")
    assert "Change runtime type" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cuda", "mps", "device"), [(True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_torch_decides_about_the_device(monkeypatch, cuda, mps, device):
    stub = types.SimpleNamespace(
        cuda=types.SimpleNamespace(is_available=lambda: cuda),
        backends=types.SimpleNamespace(mps=types.SimpleNamespace(is_available=lambda: mps)),
    )
    monkeypatch.setitem(sys.modules, "torch", stub)
    assert _device() == device


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "1", None, True])
def test_impossible_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="whole number"):
        setup("ch01", seed=seed)


def test_other_chapters_are_refused():
    with pytest.raises(ValueError, match="such as 'ch03'"):
        setup("introduction")


def modules_after(code):
    names = "('torch', 'matplotlib', 'IPython', 'pandas', 'seaborn', 'ipywidgets')"
    tail = f"; import sys; print([m for m in {names} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_importing_course_and_viz_loads_nothing_heavy():
    assert modules_after("import vlalign_lib.course, vlalign_lib.viz") == "[]"


def test_setup_loads_matplotlib_alone():
    assert modules_after("from vlalign_lib import course; course.setup('ch00')") == "['matplotlib']"


def test_importing_course_is_quick():
    def seconds():
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import vlalign_lib.course"], check=True)
        whole = time.perf_counter() - began
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        return whole - (time.perf_counter() - began)

    assert min(seconds() for _ in range(3)) < 0.5
