"""Children that may be killed."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from vlalign_lib._fast import form

if form("keeper") is None:  # these speak of what only the engine's keeper does
    names = ("checkpoint", "distributed", "keeper", "launch", "precision", "resume")
    collect_ignore = [f"test_{name}.py" for name in names]


class Nursery:
    """Run jobs of ``_nursery.py`` in processes of their own."""

    def __init__(self, folder):
        self.log = folder / "output.txt"
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("_nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def output(self):
        return self.log.read_text()

    def run(self, *jobs):
        """Run (name, arguments, extras) at once and return their exit codes."""
        self.log.write_text("")
        lines = [
            {"name": name, "args": args, "log": str(self.log), **dict(*extras)}
            for name, args, *extras in jobs
        ]
        self.process.stdin.write(json.dumps(lines, default=str) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def pair(self, name, **args):
        """Run one job in two processes that find each other, as torchrun would start them."""
        port = free_port()
        both = [
            {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }
            for rank in range(2)
        ]
        return self.run(*((name, args, {"env": env}) for env in both))

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    if not hasattr(os, "fork"):
        pytest.skip("this system cannot fork processes")
    made = Nursery(tmp_path_factory.mktemp("nursery"))
    yield made
    made.stop()
