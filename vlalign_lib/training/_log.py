"""The log of a run: a line of JSON an epoch, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


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

    def settle(self) -> int:
        """Put what was written on the disk, and return how many bytes there are."""
        os.fsync(self._file.fileno())
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
