"""Every notebook runs in an empty folder with the wheel alone, as it does on Colab."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# Stands for Colab's own package: its being imported is how notebooks know where they are.
STUB = (
    "import sys, types\nsys.modules.setdefault('google.colab', types.ModuleType('google.colab'))\n"
)


@pytest.fixture(scope="session")
def wheel_only(tmp_path_factory):
    """A folder with the library installed from its wheel."""
    folder = tmp_path_factory.mktemp("wheel_alone")
    pip = [sys.executable, "-m", "pip"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "site"
    install = [*pip, "install", "--no-deps", "-q", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True)
    return target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs_with_the_wheel_alone(path, wheel_only, tmp_path, monkeypatch):
    shutil.copy(path, tmp_path / path.name)
    monkeypatch.setenv("PYTHONPATH", str(wheel_only))
    monkeypatch.setenv("VLALIGN_LIVE", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(tmp_path / path.name, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STUB))
    probe = "import vlalign_lib; print(vlalign_lib.__file__)"
    notebook.cells.append(nbformat.v4.new_code_cell(probe))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute(
        env=dict(os.environ)
    )
    assert notebook.cells[-1].outputs[0]["text"].startswith(str(wheel_only))
    assert os.listdir(tmp_path) == [path.name], "a notebook leaves no files behind"
