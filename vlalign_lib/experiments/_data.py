"""``vlalign data list|card|fetch|verify|features``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from vlalign_lib.data._cache import DataUnavailable, cache_dir
from vlalign_lib.data._registry import DATASETS, SETS
from vlalign_lib.data.access import available, card, fetch, verify
from vlalign_lib.experiments.features import make_features


def add_parser(subparsers: Any) -> None:
    """Add ``data`` and its five commands to the command line.

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
    _add_features(commands)


def _add_features(commands: Any) -> None:
    command = commands.add_parser(
        "features",
        help="make deep features from original pictures and texts",
        description="Make the features of a data set of the printed table: VGG-19 fc7 of the "
        "pictures, counts of the most frequent words of the texts. It can be stopped at any "
        "moment; the same command continues where it was. `vlalign data card NAME` says where the "
        "originals come from and how the files look.",
    )
    made = [entry.name for entry in SETS.values() if entry.features is not None]
    command.add_argument("name", metavar="NAME", choices=made, help=", ".join(made))
    command.add_argument("--images", metavar="DIR", required=True, help="folder of the pictures")
    command.add_argument(
        "--texts",
        metavar="FILE",
        required=True,
        help="lines of picture, class and text between tabs, or a .json file of captions; for "
        "wikipedia_deep also the folder of the .xml files",
    )
    command.add_argument(
        "--split",
        metavar="FILE",
        help="lines of picture and part (train, val, test); without it the rule of the card",
    )
    command.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
    command.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="pictures at once (32)"
    )
    command.add_argument(
        "--output", metavar="DIR", help="where to write (default: in the cache, for the loader)"
    )
    command.set_defaults(run=_features)


def _list(_: argparse.Namespace) -> int:
    width = max(map(len, DATASETS))
    for entry in SETS.values():
        here = "here" if available(entry.name) else "away"
        size = f"{entry.size / 1e6:.1f} MB" if entry.files else "no download"
        size = size if entry.features is None else "to be made"
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


def _features(arguments: argparse.Namespace) -> int:
    try:
        folder = make_features(
            arguments.name,
            arguments.images,
            arguments.texts,
            split=arguments.split,
            output=arguments.output,
            device=arguments.device,
            batch_size=arguments.batch_size,
        )
    except (DataUnavailable, ValueError) as error:
        print(error, file=sys.stderr)
        return 1 if isinstance(error, DataUnavailable) else 2
    print(folder)
    return 0
