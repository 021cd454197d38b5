"""The command line: ``vlalign run|table|data|doctor``, the same as ``python -m vlalign_lib``."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NoReturn

import vlalign_lib
from vlalign_lib._output import any_encoding

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BUSY = 3
EXIT_INCOMPLETE = 4
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

_EXIT_CODES = """\
exit codes:
  0    done
  1    failed: a part of a run (the other cases are measured and filed), a file or a folder,
       or a problem that `doctor` found
  2    a name, a setting or an option that does not exist
  3    another process is running the same experiment
  4    finished, but some data sets could not be had
  130  stopped with Ctrl-C; the same command continues
  143  stopped with SIGTERM (`kill`); the same command continues
"""

_SHORT = {"data": "datasets", "method": "methods"}

_SEVERAL = """\
on several processors:
  --jobs N            N parts (a seed of a case) side by side on this machine, each on a GPU of its
                      own where the device is cuda or auto, as far as there are any
  --scheduler ADDRESS the parts on the workers of a Dask cluster that is there, one GPU a worker
  torchrun --standalone --nproc_per_node N -m vlalign_lib run EXPERIMENT …
                      one part after the other, its model trained by N GPUs together; torchrun
                      itself ends with 1 wherever rank 0 does not end with 0
"""


class _Parser(argparse.ArgumentParser):
    """A parser that names the nearest of the words it knows where it does not know one."""

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.*?)'|unrecognized arguments: (\S+)", message)
        word = "" if wrong is None else wrong[1] or wrong[2].partition("=")[0]
        near = [known for known in self._words() if known.startswith("-") == word.startswith("-")]
        for guess in difflib.get_close_matches(word, near, n=1):
            message = f"{message}. Did you mean {guess!r}?"
        super().error(message)

    def _words(self) -> Iterator[str]:
        for action in self._actions:
            yield from action.option_strings
            for name in action.choices or ():
                yield str(name)
                if isinstance(action.choices, dict):
                    yield from action.choices[name]._words()


@any_encoding()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after ``vlalign``; None takes the process's own.

    Returns:
        0 where all went well; the other codes are listed by ``vlalign --help``.

    Chapter:
        00, where the command line is introduced.

    Example:
        >>> main(["table", "linear", "--format", "pdf"])
        2
    """
    from vlalign_lib.experiments import LedgerError, RunInProgress, SettingError

    parser = _parser()
    try:
        options = parser.parse_args(arguments)
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except SystemExit as stopped:  # argparse has printed why
        if stopped.code == EXIT_TERMINATED:
            print("\nstopped; the same command continues where it was", file=sys.stderr)
        return stopped.code if isinstance(stopped.code, int) else EXIT_USAGE
    except KeyboardInterrupt:
        print("\nstopped; the same command continues where it was", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader, `head` say, has gone; so does what is left to print
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except (SettingError, LedgerError, RunInProgress, OSError) as error:
        print(f"vlalign: {error}", file=sys.stderr)
        if isinstance(error, RunInProgress):
            return EXIT_BUSY
        return EXIT_USAGE if isinstance(error, SettingError) else EXIT_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="vlalign",
        description="Aligning vision and language: experiments, their tables, data, checks.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"vlalign-lib {vlalign_lib.__version__}"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    _add_table(commands)
    _add_data(commands)
    doctor = commands.add_parser(
        "doctor",
        help="what this installation can do, and what is wrong with it",
        description="Check versions, device, folders, data sets and the ledger. "
        "Exit code 1 where something must be mended; warnings alone are 0.",
    )
    doctor.set_defaults(run=_doctor)
    return parser


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "run",
        help="run an experiment and write its records",
        description="Run an experiment. It can be stopped at any moment; the same command "
        "continues where it was. Records go to results/EXPERIMENT/ (or VLALIGN_RESULTS).",
        epilog=f"{_SEVERAL}\n{_experiments_help()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("experiment", metavar="EXPERIMENT", help="which one; see below")
    command.add_argument("--tier", default="cpu", help="cpu (default), colab or full")
    command.add_argument("--seeds", type=int, metavar="N", help="how many, from 0 on; at most 1000")
    _add_names(command, "short for --set {}=NAMES; all is every one")
    command.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="how many parts run side by side (1)"
    )
    command.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, host:port")
    command.add_argument(
        "--set",
        dest="settings",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change settings of the tier; lists with commas: --set methods=cca,cfa",
    )
    command.add_argument("--fresh", action="store_true", help="forget what a stopped run had done")
    command.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    command.set_defaults(run=_run)


def _add_table(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("table", help="the paper says, we measure: from the records")
    command.add_argument("experiment", metavar="EXPERIMENT")
    command.add_argument("--tier", default="cpu", help="cpu (default), colab or full")
    _add_names(command, "which {} to show, by name or label; all is every one (default)")
    formats = "text (default), markdown, html, csv or latex"
    command.add_argument("--format", default="text", help=formats)
    for word in ("csv", "latex"):
        what = f"short for --format {word}"
        command.add_argument(
            f"--{word}", dest="format", action="store_const", const=word, help=what
        )
    command.set_defaults(run=_table)


def _add_names(command: argparse.ArgumentParser, what: str) -> None:
    for word, name in _SHORT.items():
        command.add_argument(
            f"--{word}", action="append", default=[], metavar="NAMES", help=what.format(name)
        )


def _add_data(commands: argparse._SubParsersAction[_Parser]) -> None:
    from vlalign_lib.experiments._data import add_parser

    add_parser(commands)


def _experiments_help() -> str:
    from dataclasses import fields

    from vlalign_lib.experiments import EXPERIMENTS

    lines = ["experiments, and their settings at the cpu tier:"]
    for name, experiment in EXPERIMENTS.items():
        lines.append(f"  {name}: {experiment.title} (chapter {experiment.chapter})")
        settings = experiment.settings("cpu")
        for item in fields(settings):
            value = getattr(settings, item.name)
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            lines.append(f"    {item.name}={shown}")
    return "\n".join(lines)


def _settings(options: argparse.Namespace) -> dict[str, str]:
    """Return ``{setting: value}`` as the options say it, each setting once."""
    from vlalign_lib.experiments import SettingError

    given: dict[str, list[str]] = {}
    for word in options.settings:
        name, equals, value = word.partition("=")
        if not equals:
            raise SettingError(f"--set: expected KEY=VALUE, got {word!r}")
        given.setdefault(name.strip(), []).append(value.strip())
    for word, name in _SHORT.items():
        short = getattr(options, word)
        if short and name in given:
            raise SettingError(f"--{word} is short for --set {name}=…: give one of them, not both")
        if short:
            given[name] = short
    for name, values in given.items():
        if len(set(values)) > 1:
            raise SettingError(
                f"setting {name!r}: given more than once, as {' and as '.join(values)}; several "
                "values go into one list, with commas"
            )
    return {name: values[0] for name, values in given.items()}


def _run(options: argparse.Namespace) -> int:
    from vlalign_lib.experiments import run, table

    report = run(
        options.experiment,
        options.tier,
        seeds=options.seeds,
        settings=_settings(options),
        fresh=options.fresh,
        jobs=options.jobs,
        scheduler=options.scheduler,
        progress=not options.quiet,
        log=lambda sentence: print(sentence, file=sys.stderr),
    )
    for path in report.paths:
        if path is not None:
            print(path)
    if not options.quiet and report.records:
        print()
        print(table(options.experiment, tier=options.tier, records=report.records, width=_width()))
    if report.failed:
        return EXIT_FAILED
    return EXIT_INCOMPLETE if report.skipped else EXIT_OK


def _table(options: argparse.Namespace) -> int:
    from vlalign_lib.experiments import table

    datasets, methods = (",".join(w or ["all"]).split(",") for w in (options.data, options.method))
    shown = {"tier": options.tier, "datasets": datasets, "methods": methods}
    print(table(options.experiment, options.format, width=_width(), **shown))
    return EXIT_OK


def _width() -> int | None:
    """Return the columns of the terminal, None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _doctor(options: argparse.Namespace) -> int:
    from vlalign_lib.experiments.doctor import diagnose

    findings = diagnose()
    marks = {"ok": "✓", "warning": "!", "problem": "✗"}
    for section, lines in groupby(findings, key=lambda finding: finding.section):
        print(section)
        for finding in lines:
            print(f"  {marks[finding.state]} {finding.text}")
        print()
    problems = sum(finding.state == "problem" for finding in findings)
    warned = sum(finding.state == "warning" for finding in findings)
    print(f"{problems} problem(s), {warned} warning(s)")
    return EXIT_FAILED if problems else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
