"""What a kept run has on the disk: ``last.pt``, whole or not at all, and ``log.jsonl``.

Checkpoints are loaded without trusting them, and only by the run that they are of. What a run is,
is told in plain words: its settings, the model's layers and shapes, the optimiser's and the
sampler's settings, the shares that a schedule gives, the names of the functions, the data.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vlalign_lib._files import remove_leftovers, replacing
from vlalign_lib._validate import check_choice

FORMAT = 3
LAST = "last.pt"

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_ASKED = 16  # steps at which a schedule is asked
_TOLD = 6  # differences in an error
_WAY_OUT = "start anew with resume=False, or give another folder"


def found(folder: Path, resume: bool) -> dict[str, Any] | ValueError | None:
    """Return the checkpoint in a folder, or the error, which is for all processes to raise."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return ValueError(
            f"folder: {folder} cannot be a folder for checkpoints "
            f"({error.strerror}: {error.filename}); give another one"
        )
    last = folder / LAST
    remove_leftovers(last)
    try:
        if resume:
            return read(last) if last.exists() else None
        last.unlink(missing_ok=True)
    except ValueError as error:
        return error
    return None


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Turn what goes wrong with the content of a checkpoint into an error that says so."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise no_checkpoint(folder / LAST, "what it holds does not fit this run") from error


def write(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint in place of the one before."""
    with replacing(folder / LAST) as temporary:
        torch.save({"format": FORMAT, **state}, temporary)


def read(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds, on the CPU.

    Raises:
        ValueError: a file that is damaged, not of this library or of another format.
    """
    try:
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); {_WAY_OUT}") from error
    try:
        state: Any = torch.load(content, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception:
        # torch's own words stay out of sight, since they advise weights_only=False, which would
        # run code that the file brings along.
        raise no_checkpoint(path, "torch cannot read it as weights and numbers alone") from None
    written = state.get("format") if isinstance(state, dict) else None
    if not isinstance(written, int):
        raise no_checkpoint(path, "it tells no format")
    if written < FORMAT:
        raise ValueError(
            f"{path}: written in format {written} by an earlier vlalign_lib; this version reads "
            f"format {FORMAT}. Finish the run with that version, or {_WAY_OUT}"
        )
    if written > FORMAT:
        raise ValueError(
            f"{path}: written in format {written}, this version reads up to {FORMAT}; install a "
            "newer vlalign_lib"
        )
    return dict(state)


def no_checkpoint(path: Path, why: str) -> ValueError:
    """Return the error for a file that is no checkpoint, or none any more."""
    return ValueError(
        f"{path}: no checkpoint of this library, or a damaged one ({why}); {_WAY_OUT}"
    )


def load_weights(folder: str | os.PathLike[str], which: str = "best") -> dict[str, Any]:
    """Return the weights that training has left in a folder, on the CPU.

    Args:
        folder: what was given to :class:`vlalign_lib.training.FitConfig` as ``folder``.
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
    check_choice(which, "which", ("best", "last"))
    path = Path(folder) / LAST
    if not path.exists():
        raise FileNotFoundError(
            f"{folder}: holds no checkpoint; was it given to FitConfig(folder=…)?"
        )
    state = read(path)
    with whole(Path(folder)):
        best: dict[str, Any] | None = state["state"]["best"]
        last: dict[str, Any] = state["model"]
    return last if which == "last" or best is None else best


def plain(value: Any) -> Any:
    """Return a thing with numbers of numpy as those of Python, which a checkpoint can hold."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if type(value) in (list, tuple) else value


def check_readable(things: Mapping[str, Any]) -> None:
    """Raise a ValueError unless a checkpoint with these things could be read again."""
    for name, thing in things.items():
        buffer = io.BytesIO()
        try:
            torch.save(thing, buffer)
            buffer.seek(0)
            torch.load(buffer, weights_only=True)
        except Exception:
            raise ValueError(
                f"folder: {name} holds something that no checkpoint can, which is read back as "
                "tensors, numbers, texts, and lists and dictionaries of them alone; keep it in "
                "such a form (values.tolist(), torch.as_tensor(values)), or leave folder=None"
            ) from None


def identity(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    sampler: Any,
    functions: Mapping[str, Callable[..., Any] | None],
    columns: Mapping[str, list[Tensor | None] | None],
    **settings: Any,
) -> dict[str, Any]:
    """Return what a run is, in texts and lists of texts: a checkpoint of another is refused."""
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    groups = [{**group, "params": len(group["params"])} for group in optimiser.param_groups]
    curve = functions["schedule"]
    total = settings["epochs"] * len(sampler)
    asked = np.unique(np.linspace(0, total - 1, _ASKED).round().astype(int)).tolist()
    told: dict[str, Any] = {
        **settings,
        "model": f"{type(model).__name__} of {sum(w.numel() for w in model.parameters())} weights",
        "layers": repr(model).splitlines(),
        "weights": [
            f"{name} {value.dtype} {tuple(value.shape)}{' trained' * (name in trained)}"
            for name, value in model.state_dict().items()
            if isinstance(value, Tensor)  # a module may keep other things of its own
        ],
        "optimiser": type(optimiser).__name__,
        "optimiser's settings": [
            f"{key}={value} in group {i}" for i, g in enumerate(groups) for key, value in g.items()
        ],
        "sampler": f"{type(sampler).__name__} of {len(sampler)} batches of {sampler.sizes}",
        "sampler's settings": [f"{key}={value}" for key, value in sampler.settings().items()],
        **{f"function {n}": getattr(f, "__qualname__", repr(f)) for n, f in functions.items()},
        "schedule's shares": curve and [f"{curve(t, total):.12g} at step {t + 1}" for t in asked],
        **{
            name: found and [_digest(column) for column in found] for name, found in columns.items()
        },
    }
    return {
        name: [_ADDRESS.sub("", entry) for entry in value]
        if isinstance(value, list)
        else _ADDRESS.sub("", str(value))
        for name, value in plain(told).items()
    }


def check_identity(there: dict[str, Any], here: dict[str, Any], folder: Path) -> None:
    """Raise a ValueError that names what differs, unless a checkpoint is of this very run."""
    with whole(folder):
        changed = list(_differences(there["identity"], here))
    if changed:
        more = len(changed) - _TOLD
        told = "; ".join([*changed[:_TOLD], *([f"and {more} more"] if more > 0 else [])])
        raise ValueError(
            f"{folder}: holds a checkpoint of another run: {told}. Going on would "
            "give numbers of neither; use the former settings, another folder, or resume=False, "
            "which starts anew and overwrites it"
        )


def _differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """Yield each entry that differs; of a list the first one, since the others follow from it."""
    for name in dict.fromkeys((*there, *here)):
        was, now = there.get(name, "not set"), here.get(name, "not set")
        if was == now:
            continue
        if isinstance(was, list) and isinstance(now, list):
            was, now = next(p for p in zip_longest(was, now, fillvalue="not set") if p[0] != p[1])
        yield f"{name} was {was} and is {now}"


def _digest(column: Tensor | None) -> str:
    """Return type, shape and a digest of the content of a column."""
    if column is None:
        return "None"
    content: Any = column.cpu().contiguous().flatten().view(torch.uint8).numpy()
    digest = hashlib.blake2b(content, digest_size=8).hexdigest()
    return f"{column.dtype} {tuple(column.shape)} {digest}"


class RunLog:
    """Appends lines to ``log.jsonl``; a continued run goes on where its checkpoint stands.

    Lines that were written after the checkpoint are cut off first, since their steps are taken
    again: none is there twice, none is missing.
    """

    def __init__(self, path: Path, *, keep: int = 0, step: int = 0, tensorboard: bool = False):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._board = _board(path.parent / "tensorboard", step) if tensorboard else None
        self._file = open(path, "ab")  # noqa: SIM115
        self._file.truncate(min(keep, path.stat().st_size))
        self._file.seek(0, os.SEEK_END)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; numbers go to TensorBoard under their names."""
        self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        self._file.flush()
        if self._board is not None:
            for name, value in line.items():
                if name != "step":
                    self._board.add_scalar(name, value, line["step"])

    @property
    def size(self) -> int:
        """Bytes that were written."""
        return self._file.tell()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "tensorboard=True needs TensorBoard: pip install 'tensorboard>=2.17,<3', or leave "
            "tensorboard=False; log.jsonl holds the same numbers"
        ) from error
    return SummaryWriter(str(folder), purge_step=step + 1)
