"""What a run is, so that no checkpoint of another one is taken for its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from vlalign_lib.training._data import Columns
from vlalign_lib.training._engine import Engine
from vlalign_lib.training.config import FitConfig
from vlalign_lib.training.samplers import Sampler


def identity_of(
    config: FitConfig,
    engine: Engine,
    sampler: Sampler,
    optimiser: Any,
    schedule: Any,
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
        "optimiser": type(engine.optimiser).__name__ if optimiser is None else _name(optimiser),
        "sampler": f"{type(sampler).__name__} of {len(sampler)} batches of {sampler.sizes}",
        "scheduler": None if schedule is None else _name(schedule),
        "data": fingerprint(train),
        "validation data": None if held_out is None else fingerprint(held_out),
    }


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def identity_hash(identity: dict[str, Any]) -> str:
    """Return a digest of what a run is."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def check_identity(there: dict[str, Any], here: dict[str, Any], folder: Path) -> None:
    """Raise a ValueError that names what differs, unless a checkpoint is of this very run."""
    changed = [
        f"{name} was {there.get(name, 'not set')!r} and is {here.get(name, 'not set')!r}"
        for name in dict.fromkeys((*there, *here))
        if there.get(name) != here.get(name)
    ]
    if changed:
        raise ValueError(
            f"{folder}: holds a checkpoint of another run: {'; '.join(changed)}. Going on would "
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
