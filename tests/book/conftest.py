"""The built book, made once; every test that needs it runs in one worker."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    for item in items:
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("site"))


@pytest.fixture(scope="session")
def site():
    """The folder of the built pages; built with warnings as errors."""
    command = [str(Path(sys.executable).parent / "jupyter-book"), "build", "book/"]
    environment = dict(
        os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [*command, "-W", "--keep-going"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    return ROOT / "_build" / "html"


@pytest.fixture(scope="session")
def chromium():
    """The path of a Chromium; Debian's is installed where that is possible."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=True)
        path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium or Chrome on this machine: install one to test the pages in it")
    return path
