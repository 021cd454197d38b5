"""Start several processes from a notebook or a script."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from vlalign_lib._output import say
from vlalign_lib._validate import as_number, as_whole, check_mapping

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
    them :func:`vlalign_lib.training.fit` finds the others by itself.

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
    processes = as_whole(processes, "processes")
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
    rang = threading.Event()

    def ring() -> None:
        rang.set()
        _stop(started)

    clock = threading.Timer(threading.TIMEOUT_MAX if timeout is None else float(timeout), ring)
    clock.start()
    try:
        assert started.stdout is not None
        for line in started.stdout:
            last.append(line)
            say(line, end="")
        code = started.wait()
    finally:
        clock.cancel()
        _stop(started)
    if rang.is_set():
        raise TimeoutError(f"{module}: stopped after {timeout:g} s, before it had finished")
    if code != 0:
        raise RuntimeError(
            f"{module}: one of {processes} processes failed (exit code {code})"
            f"{_cause(last)}; they ended with\n" + "".join(last)
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
    if timeout is not None:
        as_number(timeout, "timeout", above=0)


def _cause(lines: Iterable[str]) -> str:
    """Return the last exception that ends a traceback, one that others follow from if possible."""
    found, inside = [], False
    for line in lines:
        text = _RANK.sub("", line.rstrip())
        if text.startswith("Traceback (most recent call last)"):
            inside = True
        elif inside and text and not text[0].isspace():
            inside = False
            found.append(text)
    causes = [text for text in found if not any(word in text for word in _FOLLOWS)]
    return "".join(f": {text}" for text in (causes or found)[-1:])


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process; torchrun ends its workers when it is asked to."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
