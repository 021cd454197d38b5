"""Two gloo processes that compute a loss together, beside one that holds the whole batch."""

import importlib.util
import pickle
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

WORKER = Path(__file__).with_name("_gloo_worker.py")
sys.path.append(str(WORKER.parent))  # as it is in the two processes: the tests share modules


class TwoProcesses:
    """Compare a loss with ``gather=True`` in two processes with the loss of the whole batch.

    ``two_processes("vlalign_lib.losses:info_nce_loss", x, y, temperature=0.1)``: tensors given by
    position are cut in two by rows (None goes to both); floating-point ones get gradients.
    ``shared`` holds by keyword what all processes have alike and what is learnt: tensors, modules.
    Everything else goes on as it is; ``gather=True`` is added. A target that is a module's class
    is built from the keyword arguments and called with the rows and ``shared``.

    Value, gradients of the rows and gradients of what is shared have to agree within
    ``tolerance``, relative to the largest entry. What is no public function of the library
    is compared and not written down.
    """

    def __init__(self, folder, agrees):
        self.folder, self.agrees, self.processes = folder, agrees, []
        spec = importlib.util.spec_from_file_location("gloo_worker", WORKER)
        self.worker = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.worker)

    def __call__(self, target, *rows, shared=None, tolerance=1e-12, **kwargs):
        job = {"target": target, "rows": list(rows), "shared": shared or {}, "kwargs": kwargs}
        value, row_gradients, shared_gradients = self.worker.evaluate(job)
        outcomes = self.run(target, *rows, shared=shared, **kwargs)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        pairs = [(outcome[0], value) for outcome in outcomes]
        # What averages to the gradient of one process is twice as large in each of the two.
        for i, whole in enumerate(row_gradients):
            pairs.append((torch.cat([outcome[1][i] for outcome in outcomes]) / 2, whole))
        for i, whole in enumerate(shared_gradients):
            pairs.append((sum(outcome[2][i] for outcome in outcomes) / 2, whole))
        assert all(whole.dtype == torch.float64 for _, whole in pairs), "use float64"
        library, name = target.split(":")
        for ours, whole in pairs:
            if library == "vlalign_lib.losses" and name.islower():
                self.agrees(
                    f"losses.{name}",
                    ours,
                    whole,
                    kind="derivation",
                    against="one process with the whole batch, beside two",
                    tolerance=tolerance,
                )
            else:
                torch.testing.assert_close(
                    ours, whole, rtol=0, atol=tolerance * float(whole.abs().max())
                )

    def run(self, target, *rows, sizes=None, shared=None, **kwargs):
        """Return for both processes (value, gradients of rows, of shared), or the exception.

        ``sizes`` are the rows of either process; half each without it.
        """
        self.start()
        shared, kwargs = shared or {}, {"gather": True, **kwargs}
        for rank, process in enumerate(self.processes):
            mine = [part(row, rank, sizes) for row in rows]
            job = {"target": target, "rows": mine, "shared": shared, "kwargs": kwargs}
            pickle.dump(job, process.stdin)
            process.stdin.flush()
        return [pickle.load(process.stdout) for process in self.processes]

    def start(self):
        if not self.processes:
            self.processes = [
                subprocess.Popen(
                    [sys.executable, WORKER, str(rank), "2", self.folder / "rendezvous"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                for rank in range(2)
            ]

    def stop(self):
        for process in self.processes:
            process.stdin.close()
        for process in self.processes:
            process.wait(timeout=60)
            process.stdout.close()


def part(row, rank, sizes):
    if not isinstance(row, torch.Tensor):
        return row
    if sizes is None:
        assert len(row) % 2 == 0, "an even number of rows can be halved"
        sizes = (len(row) // 2, len(row) // 2)
    return row.split(list(sizes))[rank].clone()


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory, agrees):
    pair = TwoProcesses(tmp_path_factory.mktemp("gloo"), agrees)
    yield pair
    pair.stop()


class NoHostReads(TorchDispatchMode):
    """Fail where a real or truth value is read off a tensor: on a GPU the host would wait."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name()
        if name in ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select"):
            assert not args[0].is_floating_point(), f"{name} makes the host wait"
            assert args[0].dtype != torch.bool, f"{name} makes the host wait"
        return function(*args, **(kwargs or {}))


@pytest.fixture
def no_host_reads():
    """``with no_host_reads:`` runs a loss for CUDA on the CPU, where waiting is an error."""
    return NoHostReads()


@pytest.fixture(scope="session")
def in_blocks():
    """``with in_blocks(block=30, keep=0):`` the engine scores in blocks, however small the batch.

    For tests that are marked ``engine``.
    """

    @contextmanager
    def patched(block=2**19, keep=2**23):
        with pytest.MonkeyPatch.context() as patch:
            scores = "vlalign_lib.engine.scores"
            patch.setattr(f"{scores}.BLOCK", {"cpu": block, "cuda": 1})
            patch.setattr(f"{scores}.KEEP", keep)
            patch.setattr(f"{scores}.SMALL", 0)
            yield

    return patched


@pytest.fixture(params=[pytest.param("blocks", marks=pytest.mark.engine), "at once"])
def both_ways(request, in_blocks):
    """Score in blocks, and all at once."""
    with in_blocks() if request.param == "blocks" else nullcontext():
        yield


@pytest.fixture(params=["by itself", "plain"])
def backend(request, monkeypatch):
    """The engine where it wants to, and the plain form."""
    if request.param == "plain":
        monkeypatch.setenv("VLALIGN_ENGINE", "0")
