"""Taking the engine away changes speed and safety, never a result."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUMERICS = ("linear", "losses", "metrics", "similarity", "temporal", "training")


def python(*arguments):
    here = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    environment = dict(os.environ, PYTHONPATH=here, OMP_NUM_THREADS="1")
    for name in [name for name in environment if name.startswith("PYTEST_XDIST")]:
        del environment[name]
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_the_engine_is_really_gone():
    code = "import no_engine\ntry:\n import vlalign_lib.engine\nexcept ImportError:\n print('gone')"
    assert python("-c", code).stdout == "gone\n"


@pytest.mark.parametrize("part", NUMERICS)
def test_a_part_holds_on_the_plain_forms(part):
    done = python(
        "-m", "pytest", "-q", "-p", "no_engine", "-p", "no:cacheprovider", f"tests/{part}"
    )
    assert done.returncode == 0, done.stdout[-3000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    left_out = int((re.search(r"(\d+) deselected", done.stdout) or [0, 0])[1])
    assert passed > left_out, "most of what is tested does not speak of the engine"
