"""Checkpoints on disk: whole or not at all, and loaded without trusting them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlalign_lib._files import remove_leftovers, replacing
from vlalign_lib._validate import is_one_of

FORMAT = 1


class CheckpointFolder:
    """``last.pt``, where training stands, and the best weights, ``best-EPOCH.pt``.

    ``last.pt`` names the file of the best weights that it belongs to. That one is written
    before, and older ones go after, so that at any moment ``last.pt`` and what it names are there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder)
        self.last = self.path / "last.pt"
        self.log = self.path / "log.jsonl"

    def load(self) -> dict[str, Any] | None:
        """Return where training stands, with the best weights under ``"best_weights"``.

        None where the folder holds no checkpoint.
        """
        remove_leftovers(self.last)
        if not self.last.exists():
            return None
        state = _read(self.last)
        best = state["best"]
        state["best_weights"] = None if best is None else _read(self.path / best)["model"]
        return state

    def clear(self) -> None:
        """Remove the checkpoints of an earlier run."""
        self.last.unlink(missing_ok=True)
        self.keep_best(None)

    def save_best(self, epoch: int, weights: dict[str, Tensor]) -> str:
        """Write the best weights, and return the name of their file."""
        name = f"best-{epoch}.pt"
        with replacing(self.path / name) as temporary:
            torch.save({"format": FORMAT, "epoch": epoch, "model": weights}, temporary)
        return name

    def save(self, state: dict[str, Any]) -> None:
        """Write where training stands, then drop best weights that it does not name."""
        with replacing(self.last) as temporary:
            torch.save({"format": FORMAT, **state}, temporary)
        self.keep_best(state["best"])

    def keep_best(self, name: str | None) -> None:
        """Remove all files of best weights but ``name``, and what killed processes left."""
        for path in (*self.path.glob("best-*.pt"), *self.path.glob(".best-*.pt.*")):
            if path.name != name:
                path.unlink(missing_ok=True)


def load_weights(folder: str | os.PathLike[str], which: str = "best") -> dict[str, Tensor]:
    """Return the weights that training has left in a folder, on the CPU.

    Args:
        folder: what was given to :class:`FitConfig` as ``folder``.
        which: ``"best"`` for those of the lowest validation loss so far (the last ones where
            there is no validation), or ``"last"``.

    Returns:
        What ``model.load_state_dict`` takes.

    Raises:
        FileNotFoundError: the folder holds no checkpoint.
        ValueError: another word, or a file that is damaged or of a later format.

    Chapter:
        04, where the first long training begins.

    Example:
        >>> load_weights("nowhere")
        Traceback (most recent call last):
        FileNotFoundError: nowhere: holds no checkpoint; was it given to FitConfig(folder=…)?
    """
    if not is_one_of(which, ("best", "last")):
        raise ValueError(f'which: expected "best" or "last", got {which!r}')
    found = CheckpointFolder(folder)
    if not found.last.exists():
        raise FileNotFoundError(
            f"{folder}: holds no checkpoint; was it given to FitConfig(folder=…)?"
        )
    state = _read(found.last)
    if which == "best" and state["best"] is not None:
        state = _read(found.path / state["best"])
    weights: dict[str, Tensor] = state["model"]
    return weights


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        written = state["format"]
    except FileNotFoundError:
        raise ValueError(
            f"{path}: is missing, though last.pt names it; start anew with resume=False"
        ) from None
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, OSError) as error:
        raise ValueError(
            f"{path}: no checkpoint of this library, or a damaged one "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); start anew "
            "with resume=False"
        ) from error
    if written > FORMAT:
        raise ValueError(
            f"{path}: written in format {written}, this version reads up to {FORMAT}; install a "
            "newer vlalign_lib"
        )
    return state
