"""A ledger and a cache of its own for every test here."""

import os
import subprocess
import sys

import pytest


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_RESULTS", str(tmp_path / "ledger"))
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLALIGN_OFFLINE", raising=False)
    return tmp_path


@pytest.fixture
def vlalign():
    """Start ``python -m vlalign_lib …`` as a process of its own."""

    def start(*words, **environment):
        return subprocess.Popen(
            [sys.executable, "-m", "vlalign_lib", *words],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
