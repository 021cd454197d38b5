"""Mixed precision for modules, and for modules alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def mixed_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the narrow type of ``precision`` on ``device``, None for plain float32."""
    if precision == "auto":
        native = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else None
    return {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


@contextmanager
def mixed_precision(model: nn.Module, dtype: torch.dtype | None) -> Iterator[None]:
    """Run the model's modules under autocast inside a ``with`` block.

    Only from the call of the outermost module to its return: what a loss computes between such
    calls is in full precision, and so is what they hand to it. Methods of a model other than
    ``forward`` are free to be called; the modules that they call run under autocast.
    """
    if dtype is None:
        yield
        return
    device = next(model.parameters()).device.type
    open_calls: list[Any] = []

    def enter(module: nn.Module, inputs: Any) -> None:
        autocast = torch.autocast(device, dtype=dtype)
        autocast.__enter__()
        open_calls.append(autocast)

    def leave(module: nn.Module, inputs: Any, output: Any) -> Any:
        open_calls.pop().__exit__(None, None, None)
        return output if open_calls else _widened(output)

    hooks = []
    for module in model.modules():
        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _widened(output: Any) -> Any:
    """Return half-precision tensors as float32 ones, in tuples, lists and dictionaries too."""
    if isinstance(output, Tensor):
        narrow = output.is_floating_point() and output.element_size() < 4
        return output.float() if narrow else output
    if isinstance(output, dict):
        return {key: _widened(value) for key, value in output.items()}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return type(output)(*map(_widened, output))
    if isinstance(output, list | tuple):
        return type(output)(map(_widened, output))
    return output
