"""``vlalign data list|card|fetch|verify``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from vlalign_lib.data._cache import DataUnavailable, cache_dir
from vlalign_lib.data._registry import DATASETS, SETS
from vlalign_lib.data.access import available, card, fetch, verify


def add_parser(subparsers: Any) -> None:
    """Add ``data`` and its four commands to the command line.

    Each sets ``run``, a function of the parsed arguments that returns the exit status.

    Args:
        subparsers: what ``argparse.ArgumentParser.add_subparsers`` returned.
    """
    parser = subparsers.add_parser("data", help="list, describe, download and check data sets")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    listing = commands.add_parser("list", help="which data sets there are, and which are here")
    listing.set_defaults(run=_list)
    for word, run, text in (
        ("card", _card, "what a data set is: makers, licence, files, splits, known problems"),
        ("fetch", _fetch, "bring data sets into the cache"),
        ("verify", _verify, "compare the files of data sets with their check sums"),
    ):
        command = commands.add_parser(word, help=text)
        command.add_argument(
            "names", nargs="+", metavar="NAME", choices=DATASETS, help=", ".join(DATASETS)
        )
        command.set_defaults(run=run)


def _list(_: argparse.Namespace) -> int:
    width = max(map(len, DATASETS))
    for entry in SETS.values():
        here = "here" if available(entry.name) else "away"
        size = f"{entry.size / 1e6:.1f} MB" if entry.files else "no download"
        print(f"{entry.name:<{width}}  {here}  {size:>11}  {entry.title}")
    print(f"cache: {cache_dir()}")
    return 0


def _card(arguments: argparse.Namespace) -> int:
    print("\n".join(card(name).text for name in arguments.names), end="")
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    status = 0
    for name in arguments.names:
        try:
            paths = fetch(name)
        except DataUnavailable as error:
            print(error, file=sys.stderr)
            status = 1
            continue
        for path in paths:
            print(path)
        if not paths:
            print(f"{name}: nothing to download, it comes with the library's dependencies")
    return status


def _verify(arguments: argparse.Namespace) -> int:
    status = 0
    for name in arguments.names:
        for file in verify(name):
            print(f"{file.state:<8} {file.path}" + (f"  ({file.detail})" if file.detail else ""))
            if file.state != "ok":
                status = 1
    return status
