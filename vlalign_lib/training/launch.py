"""Start several processes from a notebook or a script."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping

from vlalign_lib.training._checks import check_whole


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
        RuntimeError: one of the processes failed; the text ends with the last lines they printed.
        TimeoutError: the time is up.

    Chapter:
        17, where a contrastive loss is spread over GPUs.

    Example:
        >>> launch("platform", processes=2)  # doctest: +SKIP
        Linux-6.1-x86_64-with-glibc2.36
        Linux-6.1-x86_64-with-glibc2.36
    """
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
    clock = _Clock(started, timeout)
    try:
        assert started.stdout is not None
        for line in started.stdout:
            last.append(line)
            print(line, end="", flush=True)
        code = started.wait()
    finally:
        clock.stop()
        _stop(started)
    if clock.rang:
        raise TimeoutError(f"{module}: stopped after {timeout:g} s, before it had finished")
    if code != 0:
        raise RuntimeError(
            f"{module}: one of {processes} processes failed (exit code {code}); they ended with\n"
            + "".join(last)
        )


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
