"""What an experiment is: settings, cases, and one measurement for each case and seed."""

from __future__ import annotations

import datetime
import difflib
import json
import math
import operator
import re
import sys
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple

from vlalign_lib._cost import ENERGY_METHOD, Cost
from vlalign_lib.experiments._environment import versions
from vlalign_lib.experiments._record import Estimate, Record, canonical_json, config_hash, is_plain

TIERS = ("cpu", "colab", "full")
OFFICIAL = "official"
MOST_SEEDS = 1000
OWN = "own"
"""The version of a method that no experiment defines: see :func:`score_method`."""


class SettingError(ValueError):
    """A setting, tier or experiment that does not exist: the text suggests the nearest.

    Chapter:
        00, where the command line is introduced.

    Example:
        >>> issubclass(SettingError, ValueError)
        True
    """


@dataclass(frozen=True)
class Case:
    """One line of the ledger before it is run: a method on a data set.

    Args:
        key: stem of the record's file.
        method: the method's short name.
        dataset: the data set's name.
        version: the version that the method declares; raise it when the numbers change.
        config: everything that decides the numbers, as plain JSON values.
        official: whether the data set has an official split that is measured as well.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> Case("wikipedia-cca", "cca", "wikipedia", "1", {}, official=True).parts(2)
        ('official', '0', '1')
    """

    key: str
    method: str
    dataset: str
    version: str
    config: Mapping[str, Any]
    official: bool = False

    def parts(self, seeds: int) -> tuple[str, ...]:
        """Return the names of the parts that are run one by one: seeds, and ``official``."""
        numbers = tuple(str(seed) for seed in range(seeds))
        return (OFFICIAL, *numbers) if self.official else numbers


@dataclass(frozen=True)
class Measurement:
    """What one part of a case gave.

    Args:
        metrics: ``{metric: value}``, all finite.
        data_hashes: ``{array: SHA-256}`` of what was read.
        estimates: intervals that a single part has of its own (bootstrap over queries).
        details: chosen hyper-parameters, spectra: plain JSON values.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> Measurement({"map_mean": 0.4}, {"images": "0" * 64}).details
        {}
    """

    metrics: Mapping[str, float]
    data_hashes: Mapping[str, str]
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A frozen class sets its fields in this way only. Arrays cannot be compared as a whole.
        plain = json.loads(canonical_json(self.details, sort=False))
        object.__setattr__(self, "details", plain)


class Part(NamedTuple):
    """A finished part of a case: what was measured, its cost, and the processor in words."""

    measurement: Measurement
    cost: Cost
    device: str


class Experiment(ABC):
    """A named run: its settings for each tier, its cases, and how one of them is measured.

    A new experiment is a subclass in a module of its own, with a line in ``EXPERIMENTS``. What
    decides a number stands in its case's configuration, and a method whose numbers change under
    an unchanged configuration declares a higher version.

    Chapter:
        00, where the three tiers are introduced.

    Example:
        >>> from vlalign_lib.experiments import EXPERIMENTS
        >>> all(isinstance(one, Experiment) for one in EXPERIMENTS.values())
        True
    """

    name: ClassVar[str]
    title: ClassVar[str]
    chapter: ClassVar[str]
    seeds_are: ClassVar[str] = "seeds"
    """What a seed draws, for the wording of intervals: ``"seeds"`` or ``"resplits"``."""

    @abstractmethod
    def settings(self, tier: str) -> Any:
        """Return the frozen dataclass of settings of a tier."""

    @abstractmethod
    def cases(self, settings: Any) -> tuple[Case, ...]:
        """Return the cases that these settings ask for."""

    @abstractmethod
    def prepare(self) -> None:
        """Import what a measurement needs: only what is loaded can be held to one thread."""

    @abstractmethod
    def measure(self, case: Case, part: str) -> Measurement:
        """Run one part (a seed, or ``"official"``) of a case."""

    @abstractmethod
    def table(self, records: list[Record]) -> Table:
        """Return the printed rows beside ours."""

    @abstractmethod
    def notes(self, case: Case) -> tuple[str, ...]:
        """Return the sentences that belong beside the numbers of a case."""

    def seeds(self, tier: str) -> int:
        """Return how many seeds a tier runs."""
        return {"cpu": 5, "colab": 10, "full": 20}[choose("tier", tier, TIERS)]

    def ledger_cases(self, tier: str) -> tuple[Case, ...]:
        """Return all cases that have a line in the ledger, also those that are run on demand."""
        return self.cases(self.settings(choose("tier", tier, TIERS)))

    def labels(self, kind: str) -> Mapping[str, str]:
        """Return ``{name: its label in tables}`` of the experiment's METHODS or DATASETS."""
        known = vars(sys.modules[type(self).__module__]).get(kind, {})
        return {name: getattr(about, "label", about) for name, about in known.items()}

    def lists(self, tier: str, digest: str) -> bool:
        """Tell whether a configuration, by its hash, is one of the ledger's own."""
        return digest in {config_hash(case.config) for case in self.ledger_cases(tier)}

    def configured(self, tier: str, changes: Mapping[str, Any]) -> Any:
        """Return the settings of a tier with some of them changed.

        Args:
            tier: ``"cpu"``, ``"colab"`` or ``"full"``.
            changes: ``{setting: value}``; a text is read as the setting's type.

        Raises:
            SettingError: a tier or a setting that does not exist, or a value of another type.
        """
        base = self.settings(choose("tier", tier, TIERS))
        hints = typing.get_type_hints(type(base))
        names = [item.name for item in fields(base)]
        parsed = {}
        for name, value in changes.items():
            if name not in names:
                raise SettingError(_unknown(f"setting of {self.name}", name, names))
            parsed[name] = _parse(name, value, hints[name])
        try:
            return replace(base, **parsed)
        except SettingError:
            raise
        except ValueError as error:
            raise SettingError(str(error)) from None

    def as_given(self, configured: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the changes as they were given, or as read where a record cannot hold that.

        They are read again in the record's life, and what can be read only once must not be lost.
        """
        return {n: v if is_plain(v) else getattr(configured, n) for n, v in changes.items()}

    def planned(self, tier: str, changes: Mapping[str, Any]) -> list[tuple[Case, str]]:
        """Return the cases of a run, each with the key its record is filed under.

        The key is the case's own at the ``cpu`` tier; another tier adds its name, and a
        configuration that was changed by hand a piece of its hash, so that a trial never
        overwrites the ledger's own line.
        """
        own = {case.key: config_hash(case.config) for case in self.ledger_cases(tier)}
        plan = []
        for case in self.cases(self.configured(tier, changes)):
            key = case.key if tier == "cpu" else f"{case.key}-{tier}"
            digest = config_hash(case.config)
            if digest != own.get(case.key):
                key += f"-{digest[:8]}"
            plan.append((case, key))
        return plan

    def record(
        self,
        tier: str,
        case: Case,
        key: str,
        parts: Mapping[str, Part],
        changes: Mapping[str, Any],
        code: str,
    ) -> Record:
        """Return the record of a case.

        Args:
            tier: the tier it was run at.
            case: the case.
            key: the stem of the record's file.
            parts: ``{part: what it gave}``, in the order of ``case.parts``.
            changes: the settings that differ from the tier's.
            code: the commit of the library.
        """
        numbered = [done.measurement for part, done in parts.items() if part != OFFICIAL]
        per_seed = {
            name: tuple(float(m.metrics[name]) for m in numbered) for name in numbered[0].metrics
        }
        official: dict[str, Estimate] = {}
        if OFFICIAL in parts:
            own = parts[OFFICIAL].measurement
            official = {
                name: own.estimates.get(
                    name, Estimate(value, None, None, 1, "none: one fixed split")
                )
                for name, value in own.metrics.items()
            }
        # Which cases were run is no setting of any of them.
        listed = self.lists(tier, config_hash(case.config))
        costs = [done.cost for done in parts.values()]
        return Record(
            experiment=self.name,
            key=key,
            method=case.method,
            dataset=case.dataset,
            tier=tier,
            config=json.loads(canonical_json(case.config)),
            config_hash=config_hash(case.config),
            method_version=case.version,
            data_hashes={part: dict(m.data_hashes) for part, (m, *_) in parts.items()},
            seeds=tuple(range(len(numbered))),
            per_seed=per_seed,
            metrics={
                name: Estimate.from_values(values, over=self.seeds_are)
                for name, values in per_seed.items()
            },
            official=official,
            details={part: dict(m.details) for part, (m, *_) in parts.items() if m.details},
            notes=self.notes(case),
            settings={} if listed else json.loads(canonical_json(changes)),
            commit=code,
            versions=versions(),
            device=" and ".join(dict.fromkeys(done.device for done in parts.values())),
            wall_time_s=round(sum(cost.wall_s for cost in costs), 3),
            peak_memory_mb=max((c.peak_mb for c in costs if c.peak_mb is not None), default=None),
            energy={"joules": round(sum(c.joules for c in costs), 1), "method": ENERGY_METHOD},
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        )


@dataclass(frozen=True)
class Table:
    """Rows of text with a heading, and sentences beneath.

    Args:
        title: what the table shows.
        columns: the heading of each column.
        rows: one tuple of texts a row.
        notes: sentences below the table.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> Table("Numbers", ("name", "value"), (("one", "1"),)).notes
        ()
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def choose(kind: str, value: str, known: Iterable[str]) -> str:
    """Return ``value`` where it is one of ``known``, else raise with the nearest name."""
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise SettingError(_unknown(kind, value, known))
    return value


def choose_several(kind: str, values: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the values, each once; ``all`` by itself is every one.

    A value is a name of ``known`` or, where that maps names to what has a ``label``, a label of
    the table or its part before a comma. Case, blanks and punctuation do not matter; a label
    with commas may come in pieces, as a list that was split there.
    """
    names, values = tuple(known), tuple(values)
    labels = {}
    for name in names:
        about = known[name] if isinstance(known, Mapping) else name
        labels[name] = str(getattr(about, "label", about))
    heads = [_letters(label.partition(",")[0]) for label in labels.values()]
    meant = {h: n for h, n in zip(heads, names, strict=True) if heads.count(h) == 1}
    meant |= {_letters(label): name for name, label in labels.items()}
    meant |= {_letters(name): name for name in names}
    chosen, place = [], 0
    while place < len(values):
        pieces = [str(value) for value in values[place:]]
        ends = range(len(pieces), 0, -1)
        end = next((n for n in ends if _letters("".join(pieces[:n])) in meant), 1)
        first = pieces[0]
        chosen.append(meant.get(_letters("".join(pieces[:end])), first))
        place += end
    once = tuple(dict.fromkeys(chosen))
    if [_letters(name) for name in once] == ["all"]:
        return names
    if "all" in once:
        others = ",".join(name for name in once if name != "all")
        raise SettingError(
            f"{kind} 'all' already means every one of them: give it alone, or only {others}"
        )
    return tuple(choose(kind, name, names) for name in once)


def _letters(text: str) -> str:
    """Return what two spellings of a name have in common."""
    return re.sub(r"[\W_]+", "", text.casefold())


def check_least(name: str, values: Iterable[float], least: float) -> None:
    """Raise a SettingError unless each of the values is finite and at least ``least``."""
    for value in values:
        if not least <= value < math.inf:  # NaN is not either
            raise SettingError(f"setting {name!r}: a number of at least {least}, got {value}")


def check_device(name: str) -> None:
    """Raise a SettingError unless a device may be called so, be it there or not."""
    if not isinstance(name, str) or not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise SettingError(
            "setting 'device': expected 'cpu', 'cuda' (or one of several, counted from 0: "
            f"'cuda:1'), 'mps', or 'auto' for a GPU where there is one; got {name!r}"
        )


def check_device_is_there(name: str) -> None:
    """Raise a SettingError where a GPU is asked for by name and is not there."""
    if name.startswith("cuda") and int(name.partition(":")[2] or 0) >= gpus_here():
        raise SettingError(
            f"setting 'device': {name!r} asked for, but there are {gpus_here()} CUDA devices "
            "here, counted from 0; use 'cpu', or 'auto' for what there is"
        )


def gpus_here() -> int:
    """Return how many GPUs this process sees."""
    import torch

    return torch.cuda.device_count()


def check_whole(name: str, value: Any, most: float = math.inf) -> int:
    """Return a whole number of at least 1, Python's or numpy's, or raise a SettingError."""
    try:
        whole = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        whole = 0
    if not 1 <= whole <= most:
        limit = "" if most == math.inf else f" and at most {most}"
        raise SettingError(f"{name}: expected a whole number of at least 1{limit}, got {value!r}")
    return whole


def check_seeds(seeds: int) -> int:
    """Return a number of seeds, or raise a SettingError."""
    return check_whole("seeds", seeds, MOST_SEEDS)


def _unknown(kind: str, value: str, known: Iterable[str]) -> str:
    known = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(str(value).casefold(), known, n=1, cutoff=0.5)
    guess = f" Did you mean {known[near[0]]!r}?" if near else ""
    return f"unknown {kind} {value!r}.{guess} There are: {', '.join(known.values())}"


def _parse(name: str, value: Any, hint: Any) -> Any:
    """Return ``value`` as the annotated type, reading texts such as ``"1e-3,0.1"``."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType or origin is typing.Union:
        inner = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _parse(name, value, inner[0])
    if origin is tuple:
        kind = typing.get_args(hint)[0]
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, Iterable):
            items = (items,)
        parsed = tuple(_parse(name, i.strip() if isinstance(i, str) else i, kind) for i in items)
        if not parsed:
            raise SettingError(f"setting {name!r}: needs at least one value")
        return parsed
    try:
        if hint is bool:
            words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
            return value if isinstance(value, bool) else words[str(value).lower()]
        if hint is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        return hint(value)
    except (ValueError, TypeError, KeyError):
        word = {int: "a whole number", float: "a number", bool: "true or false"}.get(hint, "a word")
        raise SettingError(f"setting {name!r}: expected {word}, got {value!r}") from None
