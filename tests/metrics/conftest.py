"""With the engine and without it, and the code for devices where there is none."""

import sys

import pytest
import torch


@pytest.fixture(params=["plain", pytest.param("engine", marks=pytest.mark.engine)])
def engine(request, monkeypatch):
    """Run a test with the compiled forms, and once more with the engine away."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "vlalign_lib.engine", None)
    return request.param


@pytest.fixture
def device_code(monkeypatch):
    """Send everything the way of tensors on a CUDA device, on the CPU: it is plain torch."""
    for module in ("metrics._scores", "metrics.pairs"):
        monkeypatch.setattr(f"vlalign_lib.{module}.cuda_device", lambda *_: torch.device("cpu"))
