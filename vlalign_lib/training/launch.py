"""Start several processes from a notebook or a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any

from vlalign_lib._validate import check_mapping
from vlalign_lib.training._checks import check_whole, is_real

_RANK = re.compile(r"^\[rank\d+\]: ?")  # which torch writes before each line of a traceback
# torchrun's own exception, and those of processes whose partner has gone.
_FOLLOWS = ("ChildFailedError", "Connection closed by peer", "Connection reset by peer")


def launch(
    module: str,
    *arguments: str,
    processes: int = 2,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> None:
    """Run a module in several processes on this machine, and show what they print as it comes.

    It is ``python -m torch.distributed.run --standalone --nproc-per-node N -m MODULE …`` in a
    process of its own, so that a notebook can start what must not run inside it. In each of
    them :func:`fit` finds the others by itself.

    Args:
        module: name of a module that can be run with ``python -m``, or path of a ``.py`` file.
        arguments: what the module finds in ``sys.argv[1:]``.
        processes: how many; with GPUs one for each.
        environment: variables to set in addition to those of this process.
        timeout: seconds after which all of them are stopped; None waits for ever.

    Raises:
        ValueError: no module, no whole number of processes, variables that are no texts, or a
            timeout that is no number above 0; nothing was started.
        RuntimeError: one of the processes failed; the text begins with the exception that it
            raised, where it printed one, and ends with the last lines they printed.
        TimeoutError: the time is up.

    Chapter:
        17, where a contrastive loss is spread over GPUs.

    Example:
        >>> launch("platform", processes=2)  # doctest: +SKIP
        Linux-6.1-x86_64-with-glibc2.36
        Linux-6.1-x86_64-with-glibc2.36
    """
    _check(module, environment, timeout)
    check_whole("processes", processes)
    threads = max(1, (os.cpu_count() or 1) // processes)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes)]
    command += [module] if module.endswith(".py") else ["-m", module]
    started = subprocess.Popen(
        [*command, *map(str, arguments)],
        env={"OMP_NUM_THREADS": str(threads), **os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    last: deque[str] = deque(maxlen=100)  # the launcher's own words take half of them
    exceptions = _Exceptions()
    clock = _Clock(started, timeout)
    try:
        assert started.stdout is not None
        for line in started.stdout:
            last.append(line)
            exceptions.hear(line)
            print(line, end="", flush=True)
        code = started.wait()
    finally:
        clock.stop()
        _stop(started)
    if clock.rang:
        raise TimeoutError(f"{module}: stopped after {timeout:g} s, before it had finished")
    if code != 0:
        raise RuntimeError(
            f"{module}: one of {processes} processes failed (exit code {code})"
            f"{exceptions.cause}; they ended with\n" + "".join(last)
        )


def _check(module: Any, environment: Any, timeout: Any) -> None:
    if not isinstance(module, str) or not module.strip():
        raise ValueError(
            f"module: expected the name of a module or the path of a .py file, got {module!r}"
        )
    if environment is not None:
        check_mapping(environment, "environment", "a dictionary of texts")
        for name, value in environment.items():
            if not (isinstance(name, str) and isinstance(value, str)):
                raise ValueError(
                    f"environment: expected texts, got {name!r}: {value!r}; write {str(value)!r}"
                )
    if timeout is not None and not (is_real(timeout) and timeout > 0):
        raise ValueError(
            f"timeout: expected seconds above 0, or None to wait for ever, got {timeout!r}"
        )


class _Exceptions:
    """Finds, in what processes print, the exceptions that end their tracebacks."""

    def __init__(self) -> None:
        self._found: list[str] = []
        self._inside = False

    def hear(self, line: str) -> None:
        """Read the next line."""
        text = _RANK.sub("", line.rstrip())
        if text.startswith("Traceback (most recent call last)"):
            self._inside = True
        elif self._inside and text and not text[0].isspace():
            self._inside = False
            self._found.append(text)

    @property
    def cause(self) -> str:
        """The last one, unless it only tells that something else has failed."""
        causes = [text for text in self._found if not any(word in text for word in _FOLLOWS)]
        return "".join(f": {text}" for text in (causes or self._found)[-1:])


class _Clock:
    """Stops a process after some seconds, unless it is stopped itself before."""

    def __init__(self, process: subprocess.Popen[str], seconds: float | None) -> None:
        import threading

        self.rang = False
        self._process = process
        self._timer = None if seconds is None else threading.Timer(seconds, self._ring)
        if self._timer is not None:
            self._timer.start()

    def _ring(self) -> None:
        self.rang = True
        _stop(self._process)

    def stop(self) -> None:
        """Do not ring any more."""
        if self._timer is not None:
            self._timer.cancel()


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process; torchrun ends its workers when it is asked to."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
