"""Checkpoints on disk: whole or not at all, and loaded without trusting them."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vlalign_lib._files import remove_leftovers, replacing
from vlalign_lib._validate import is_one_of

FORMAT = 2

# After torch's bytes, in the same file: whatever moment a process is killed at, no file is there
# without its own digest. torch itself checks nothing, and a flipped bit would go on as a weight.
_SEAL = b"vlalign sha256 "
_SEAL_LENGTH = len(_SEAL) + hashlib.sha256().digest_size
_BEST_FILE = re.compile(r"best-[1-9][0-9]*\.pt")
_LAST_HOLDS: dict[str, type | tuple[type, ...]] = {
    "identity": dict,
    "model": dict,
    "optimiser": dict,
    "scaler": dict,
    "sampler": dict,
    "randomness": list,
    "standing": dict,
    "best": (str, type(None)),
    "spent": dict,
    "log_bytes": int,
}
_BEST_HOLDS: dict[str, type | tuple[type, ...]] = {"epoch": int, "model": dict}
_WAY_OUT = "start anew with resume=False, or give another folder"


class CheckpointFolder:
    """``last.pt``, where training stands, and the best weights, ``best-EPOCH.pt``.

    ``last.pt`` names the file of the best weights that it belongs to. That one is written
    before, and older ones go after, so that at any moment ``last.pt`` and what it names are there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder)
        self.last = self.path / "last.pt"
        self.log = self.path / "log.jsonl"

    def make(self) -> None:
        """Make the folder where there is none.

        Raises:
            ValueError: a file of that name is there, or the system does not let us.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"folder: {self.path} cannot be a folder for checkpoints "
                f"({error.strerror}: {error.filename}); give another one"
            ) from error

    def load(self) -> dict[str, Any] | None:
        """Return where training stands, with the best weights under ``"best_weights"``.

        None where the folder holds no checkpoint.

        Raises:
            ValueError: a file that is missing, damaged, not of this library or of another format.
        """
        remove_leftovers(self.last)
        if not self.last.exists():
            return None
        state = _read(self.last, _LAST_HOLDS)
        state["best_weights"] = self._best(state)
        return state

    def weights(self, which: str) -> dict[str, Tensor]:
        """Return the ``"best"`` weights, or the ``"last"`` ones."""
        state = _read(self.last, _LAST_HOLDS)
        last: dict[str, Tensor] = state["model"]
        return last if which == "last" else self._best(state) or last

    def _best(self, state: dict[str, Any]) -> dict[str, Tensor] | None:
        """Return the best weights that a checkpoint names, None where it names none."""
        name = state["best"]
        if name is None:
            return None
        # A name from a file is not to be trusted: "../../x" would be read as well.
        if not _BEST_FILE.fullmatch(name):
            raise no_checkpoint(self.last, f"it names {name!r} as the file of the best weights")
        weights: dict[str, Tensor] = _read(self.path / name, _BEST_HOLDS)["model"]
        return weights

    def clear(self) -> None:
        """Remove the checkpoints of an earlier run."""
        self.last.unlink(missing_ok=True)
        self.keep_best(None)

    def save_best(self, epoch: int, weights: dict[str, Tensor]) -> str:
        """Write the best weights, and return the name of their file."""
        name = f"best-{epoch}.pt"
        with replacing(self.path / name) as temporary:
            _write({"epoch": epoch, "model": weights}, temporary)
        return name

    def save(self, state: dict[str, Any]) -> None:
        """Write where training stands, then drop best weights that it does not name."""
        with replacing(self.last) as temporary:
            _write(state, temporary)
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
        ValueError: another word, or a file that is damaged or of another format.

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
    return found.weights(which)


def _write(state: dict[str, Any], path: Path) -> None:
    torch.save({"format": FORMAT, **state}, path)
    with open(path, "rb+") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        file.write(_SEAL + digest)


def _read(path: Path, holds: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    """Return what a file holds, checked: its digest, its format, and the kind of each entry."""
    body, sealed = _opened(path)
    try:
        state: Any = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception:
        # Whatever a foreign file leads the reader to. torch's own words stay out of sight, since
        # they advise weights_only=False, which would run code that the file brings along.
        raise no_checkpoint(path, "torch cannot read it as weights and numbers alone") from None
    written = state.get("format") if isinstance(state, dict) else None
    if isinstance(written, bool) or not isinstance(written, int):
        raise no_checkpoint(path, "it tells no format")
    if written < FORMAT:
        raise ValueError(
            f"{path}: written in format {written} by an earlier vlalign_lib, which kept less of "
            f"what a run is; this version reads format {FORMAT}. Finish the run with that version, "
            f"or {_WAY_OUT}"
        )
    if written > FORMAT:
        raise ValueError(
            f"{path}: written in format {written}, this version reads up to {FORMAT}; install a "
            "newer vlalign_lib"
        )
    if not sealed:
        raise no_checkpoint(path, "the digest at its end is missing")
    for name, kind in holds.items():
        if not isinstance(state.get(name, ...), kind):
            raise no_checkpoint(path, f"its entry {name!r} is missing or of another kind")
    return state


def _opened(path: Path) -> tuple[bytes, bool]:
    """Return the bytes that torch wrote, and whether there was a digest, which then fits them."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(
            f"{path}: is missing, though last.pt names it; start anew with resume=False"
        ) from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); {_WAY_OUT}") from error
    body, seal = content[:-_SEAL_LENGTH], content[-_SEAL_LENGTH:]
    if not seal.startswith(_SEAL):
        return content, False
    if seal != _SEAL + hashlib.sha256(body).digest():
        raise no_checkpoint(path, "its content does not fit its digest: it changed on the disk")
    return body, True


def no_checkpoint(path: Path, why: str) -> ValueError:
    """Return the error for a file that is no checkpoint, or none any more."""
    return ValueError(
        f"{path}: no checkpoint of this library, or a damaged one ({why}); {_WAY_OUT}"
    )
