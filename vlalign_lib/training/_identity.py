"""What a run is, so that no checkpoint of another one is taken for its own.

Compared are the settings, the model's layers and shapes, the optimiser's settings, the sampler's
settings, the shares that a schedule gives, the code of the functions, and the data. What cannot be
told apart: functions with the same code that read something else (variables around them, other
functions that they call), modules that do not show a setting in their ``repr``. Initial weights
are not compared: those of the checkpoint take their place.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlalign_lib.training._data import Columns
from vlalign_lib.training._engine import Engine
from vlalign_lib.training.config import FitConfig
from vlalign_lib.training.samplers import Sampler

# What a repr tells of the process and the device, not of the thing.
_PASSING = re.compile(r" at 0x[0-9a-fA-F]+| \(GPU \d+\)")
_ASKED = 16  # steps at which a schedule is asked
_TOLD = 6  # differences in an error
_READABLE = 200  # letters of arguments; of longer ones a digest is kept
_ABSENT = "not set"


def identity_of(
    config: FitConfig,
    engine: Engine,
    sampler: Sampler,
    schedule: Callable[[int, int], float] | None,
    monitor: Callable[..., Any] | None,
    train: Columns,
    held_out: Columns | None,
) -> dict[str, Any]:
    """Return what a run is, in plain values: a checkpoint of another one is refused."""
    model = engine.model
    return {
        **config.settings(),
        "precision": str(engine.narrow or torch.float32)[6:],  # "auto" depends on the device
        "world_size": engine.world.size,
        "model": f"{type(model).__name__} of {sum(w.numel() for w in model.parameters())} weights",
        "layers": _shown(model).splitlines(),
        "weights": _weights(model),
        "loss_fn": _function(engine.loss_fn),
        "optimiser": type(engine.optimiser).__name__,
        "optimiser settings": [_settings(group) for group in engine.optimiser.param_groups],
        "sampler": f"{type(sampler).__name__} of {len(sampler)} batches of {sampler.sizes}",
        "sampler settings": _plain(sampler.settings()),
        "scheduler": None if schedule is None else _function(schedule),
        "scheduler's shares": None if schedule is None else _shares(schedule, engine.total),
        "monitor": None if monitor is None else _function(monitor),
        "data": fingerprint(train),
        "validation data": None if held_out is None else fingerprint(held_out),
    }


def identity_hash(identity: dict[str, Any]) -> str:
    """Return a digest of what a run is."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def check_identity(there: dict[str, Any], here: dict[str, Any], folder: Path) -> None:
    """Raise a ValueError that names what differs, unless a checkpoint is of this very run."""
    changed = list(_differences("", there, here))
    if changed:
        more = len(changed) - _TOLD
        told = "; ".join([*changed[:_TOLD], *([f"and {more} more"] if more > 0 else [])])
        raise ValueError(
            f"{folder}: holds a checkpoint of another run: {told}. Going on would "
            "give numbers of neither; use the former settings, another folder, or resume=False, "
            "which starts anew and overwrites it"
        )


def fingerprint(columns: Columns) -> list[str]:
    """Return type, shape and a digest of the content of each column."""
    found = []
    for column in columns:
        if column is None:
            found.append("None")
            continue
        content: Any = column.cpu().contiguous().flatten().view(torch.uint8).numpy()
        digest = hashlib.blake2b(content, digest_size=8).hexdigest()
        found.append(f"{str(column.dtype)[6:]} {tuple(column.shape)} {digest}")
    return found


def _differences(name: str, there: Any, here: Any) -> Iterator[str]:
    """Yield each entry that differs; of a list the first one, since the others follow from it."""
    if there == here:
        return
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys((*there, *here)):
            entry = f"{name} {key}".lstrip()
            yield from _differences(entry, there.get(key, _ABSENT), here.get(key, _ABSENT))
    elif isinstance(there, list) and isinstance(here, list):
        pairs = enumerate(zip_longest(there, here, fillvalue=_ABSENT))
        place, (was, now) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
        yield from _differences(f"{name}[{place}]", was, now)
    else:
        yield f"{name} was {there!r} and is {here!r}"


def _shown(thing: Any) -> str:
    """Return how a thing shows itself, without what changes from process to process."""
    return _PASSING.sub("", repr(thing))


def _plain(value: Any) -> Any:
    """Return a setting in types that JSON and ``torch.load`` know."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, bool | int | float | str | None) else _shown(value)


def _weights(model: nn.Module) -> list[str]:
    """Return name, type and shape of each tensor that a checkpoint holds of the model."""
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    return [
        f"{name} {str(value.dtype)[6:]} {tuple(value.shape)}{', frozen' * (name in frozen)}"
        for name, value in model.state_dict().items()
        if isinstance(value, Tensor)  # a module may keep other things of its own
    ]


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of an optimiser's group, with the rate that schedules start from."""
    kept = {k: _plain(v) for k, v in group.items() if k not in ("params", "initial_lr")}
    return {**kept, "lr": _plain(group["initial_lr"]), "weights": len(group["params"])}


def _shares(schedule: Callable[[int, int], float], total: int) -> list[str]:
    """Return the shares of the learning rate that a schedule gives at some of the steps."""
    steps = np.unique(np.linspace(0, total - 1, _ASKED).round().astype(int)).tolist()
    return [f"{float(schedule(step, total)):.12g} at step {step + 1}" for step in steps]


def _function(function: Any) -> str:
    """Return a function's name and a digest of its code, and the arguments that partial fixes."""
    if isinstance(function, partial):
        fixed = f"{_plain(function.args)} {_plain(function.keywords)}"
        told = fixed if len(fixed) < _READABLE else f"arguments {_digest(fixed)}"
        return f"{_function(function.func)} with {told}"
    if isinstance(function, nn.Module):
        return _shown(function)
    function = inspect.unwrap(function)  # what is below torch.no_grad(), say
    owner = function if hasattr(function, "__qualname__") else type(function)
    code = getattr(owner, "__code__", None) or getattr(owner.__call__, "__code__", None)
    if not isinstance(code, CodeType):  # built in
        return str(owner.__qualname__)
    defaults = [_plain(getattr(owner, name, None)) for name in ("__defaults__", "__kwdefaults__")]
    digest = _digest(f"{_code(code)} {defaults}")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return f"{owner.__qualname__} (code {digest} of Python {version})"


def _code(code: CodeType) -> str:
    """Return what a function does, whichever lines of whichever file it is written in."""
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return f"{code.co_code.hex()} {_constant(code.co_consts)} {names}"


def _constant(value: Any) -> str:
    if isinstance(value, CodeType):
        return _code(value)
    if isinstance(value, tuple):
        return str([_constant(entry) for entry in value])
    # The order of a set of words is another one in each process.
    return str(sorted(map(_constant, value))) if isinstance(value, frozenset) else repr(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
