"""Agreements with oracles and peers: asserted, and written down for the page that shows them."""

import importlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

CHECKS = Path(__file__).resolve().parents[1] / "results" / "checks"
KINDS = ("loop", "closed form", "peer", "derivation", "gradient", "second gradient", "float32")


@dataclass(frozen=True)
class Agreement:
    """One function beside one other way to its answer."""

    function: str
    kind: str
    against: str
    tolerance: float
    error: float


class Agrees:
    """Assert that an answer agrees with another, and write the error down when asked to.

    ``function`` is ``"losses.cca_loss"``; ``kind`` is one of ``KINDS``; ``against`` names the
    other way in a few words, as the page will show them. With ``VLALIGN_RECORD_CHECKS`` (a
    folder, which ``make checks`` sets) the measured errors are kept; without it the agreement
    has to be among the committed ones, so that the page cannot fall behind the tests.
    """

    def __init__(self):
        self.folder = os.environ.get("VLALIGN_RECORD_CHECKS")

    def __call__(self, function, ours, theirs, kind, against, tolerance, *, absolute=False):
        """Compare two arrays: largest difference over the largest magnitude of ``theirs``."""
        ours, theirs = as_array(ours), as_array(theirs)
        assert ours.shape == theirs.shape, f"{ours.shape} beside {theirs.shape}"
        assert np.array_equal(np.isfinite(ours), np.isfinite(theirs))
        keep = np.isfinite(theirs)
        error = float(np.abs(ours[keep] - theirs[keep]).max(initial=0.0))
        largest = float(np.abs(theirs[keep]).max(initial=0.0))
        if not absolute and largest > 0:
            error /= largest
        assert error <= tolerance, f"{function} and {against} differ by {error:.3g} ({tolerance:g})"
        self.write(Agreement(function, kind, against, tolerance, error))

    def gradcheck(self, function, call, inputs, *, second=False, tolerance=1e-6):
        """Compare the gradient (or the second one) of ``call`` with finite differences, float64.

        ``tolerance`` is both the absolute and the relative one of ``torch.autograd.gradcheck``,
        which looks at every output by itself. The error that is written down is the largest
        difference in the slope of a random sum of the outputs, relative to the largest slope.
        """
        import torch

        check = torch.autograd.gradgradcheck if second else torch.autograd.gradcheck
        assert check(call, inputs, eps=1e-6, atol=tolerance, rtol=tolerance)
        slopes, differences = slopes_both_ways(random_sum(call, inputs, second), inputs)
        kind = "second gradient" if second else "gradient"
        self(function, slopes, differences, kind, "finite differences", tolerance)

    def write(self, agreement):
        assert agreement.kind in KINDS
        if self.folder:
            worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
            with open(Path(self.folder) / f"{worker}.jsonl", "a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(agreement), ensure_ascii=False) + "\n")
            return
        part = agreement.function.split(".")[0]
        path = CHECKS / f"{part}.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        entry = (agreement.function, agreement.kind, agreement.against)
        assert entry in {(e["function"], e["kind"], e["against"]) for e in known}, (
            f"{entry} is not in {path.name}: run `make checks` and commit what it writes"
        )


def random_sum(call, inputs, second):
    """Return ``call``, summed up with random weights; or its gradient, summed up likewise."""
    import torch

    source = torch.Generator().manual_seed(0)
    weights = {}

    def summed(name, outputs):
        outputs = [o for o in outputs if o is not None and o.is_floating_point()]
        for place, o in enumerate(outputs):
            if (name, place) not in weights:
                drawn = torch.rand(o.shape, generator=source, dtype=torch.float64)
                weights[name, place] = (drawn + 0.5).to(o.device)
        return sum((o * weights[name, place]).sum() for place, o in enumerate(outputs))

    def value(*values):
        outputs = call(*values)
        return summed("value", outputs if isinstance(outputs, tuple) else (outputs,))

    def slope(*values):
        wanted = [v for v in values if torch.is_tensor(v) and v.requires_grad]
        found = torch.autograd.grad(value(*values), wanted, create_graph=True, allow_unused=True)
        return summed("slope", found)

    return slope if second else value


def slopes_both_ways(function, inputs, step=1e-6):
    """Return the slopes of a number in all its inputs: by autograd, and by central differences."""
    import torch

    inputs = inputs if isinstance(inputs, tuple | list) else (inputs,)
    values = [
        v.detach().clone().requires_grad_(v.requires_grad) if torch.is_tensor(v) else v
        for v in inputs
    ]
    wanted = [v for v in values if torch.is_tensor(v) and v.requires_grad]
    found = torch.autograd.grad(function(*values), wanted, allow_unused=True)
    slopes, differences = [], []
    for value, gradient in zip(wanted, found, strict=True):
        slopes.append(torch.zeros_like(value) if gradient is None else gradient)
        numeric = torch.empty_like(value)
        flat, entries = value.detach().view(-1), numeric.view(-1)
        for i in range(flat.numel()):
            middle = flat[i].item()
            ends = []
            for moved in (middle + step, middle - step):
                flat[i] = moved
                ends.append(function(*values).item())
            flat[i] = middle
            entries[i] = (ends[0] - ends[1]) / (2 * step)
        differences.append(numeric)
    return tuple(
        torch.cat([part.detach().reshape(-1) for part in parts]) for parts in (slopes, differences)
    )


def as_array(values):
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


@pytest.fixture(scope="session")
def agrees():
    return Agrees()


@pytest.fixture(scope="session")
def peer():
    """Import another library to compare with; where it is missing, the test is skipped.

    With ``VLALIGN_PEERS=1``, as in continuous integration, a missing one is an error.
    """

    def bring(name):
        if os.environ.get("VLALIGN_PEERS") == "1":
            return importlib.import_module(name)
        return pytest.importorskip(name, reason=f"{name} is one of requirements-bench.txt")

    return bring
