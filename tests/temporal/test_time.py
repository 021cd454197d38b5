"""What a learner waits for, the import and the first call; and the memory of all pairs."""

import os
import subprocess
import sys

CALL = "import torch; from vlalign_lib.temporal import soft_dtw"
RUN = "soft_dtw(torch.zeros(4, 8, 8, requires_grad=True), 0.1).sum().backward()"


def seconds(before, timed, **environment):
    """Processor time that ``timed`` takes after ``before``, in a fresh process."""
    code = (
        f"import time; {before}; start = time.process_time(); {timed}; "
        "print(time.process_time() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    return float(done.stdout)


def test_import_takes_half_a_second_above_torch():
    assert min(seconds("import torch", "import vlalign_lib.temporal") for _ in range(3)) < 0.5


def test_import_leaves_numba_and_triton_alone():
    code = "import sys, vlalign_lib.temporal; print({'numba', 'triton'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_first_call_takes_three_seconds_and_a_third_of_one_when_compiled(tmp_path):
    folders = {"NUMBA_CACHE_DIR": str(tmp_path), "VLALIGN_CACHE": str(tmp_path)}
    forward = RUN.replace(".sum().backward()", "")
    assert seconds(CALL, forward, **folders) < 3
    seconds(CALL, RUN, **folders)
    # numba itself takes its time to be imported, compiled code or not. Others that compute on
    # the same machine slow this down: one quick run in ten will do.
    quick = (seconds(f"{CALL}; import numba", RUN, **folders) < 0.3 for _ in range(10))
    assert any(quick)


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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 100
