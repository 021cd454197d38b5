"""What a learner waits for, the import and the first call; and the memory of all pairs."""

import os
import subprocess
import sys

import pytest

CALL = """
import time, torch, numba
from vlalign_lib.temporal import soft_dtw

cost = torch.zeros(4, 8, 8, requires_grad=True)
start = time.process_time()
values = soft_dtw(cost, 0.1)
forward = time.process_time() - start
values.sum().backward()
print(forward, time.process_time() - start)
"""
IMPORT = """
import time, torch
start = time.process_time()
import vlalign_lib.temporal
print(time.process_time() - start)
"""


def run(code, **environment):
    """The numbers that a fresh process prints: seconds of processor time."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return [float(word) for word in done.stdout.split()]


def skip_if_busy():
    if os.getloadavg()[0] > os.cpu_count():
        pytest.skip("others compute on this machine, which slows everything down")


def test_import_takes_half_a_second_above_torch():
    skip_if_busy()
    assert min(run(IMPORT)[0] for _ in range(3)) < 0.5


def test_import_leaves_numba_and_triton_alone():
    code = "import sys, vlalign_lib.temporal; print(len({'numba', 'triton'} & set(sys.modules)))"
    assert run(code) == [0]


def test_first_call_takes_three_seconds_and_a_third_of_one_when_compiled(tmp_path):
    # Above the import of numba, which takes its time whatever is compiled.
    skip_if_busy()
    folders = {"NUMBA_CACHE_DIR": str(tmp_path), "VLALIGN_CACHE": str(tmp_path)}
    forward, _ = run(CALL, **folders)
    assert forward < 3
    _, both = min((run(CALL, **folders) for _ in range(3)), key=lambda pair: pair[1])
    assert both < 0.3


def test_memory_of_all_pairs_does_not_grow_with_their_number():
    # 4,096 alignments of 32 × 32: all of them at once hold more than a gigabyte.
    code = """
import resource, torch
from vlalign_lib.temporal import pairwise_s2dtw

x = torch.randn(64, 32, 64, requires_grad=True)
peaks = []
for size in (2, 64):
    pairwise_s2dtw(x[:size], x).sum().backward()
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
print(peaks[1] - peaks[0])
"""
    assert run(code)[0] < 100
