"""One line of the ledger: what was run, what came out, and on what."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1
"""Version of the record's layout; a record of another layout is refused by name."""


class LedgerError(ValueError):
    """A record that cannot be read: the text names the file and the way out.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> issubclass(LedgerError, ValueError)
        True
    """


@dataclass(frozen=True)
class Estimate:
    r"""A mean over runs (or queries) with its 95 % interval.

    For values :math:`z_1, \dots, z_n` of :math:`n` seeds the interval is Student's,

    .. math:: \bar z \pm t_{0.975,\,n-1}\, \frac{s}{\sqrt n},

    with :math:`s` the sample standard deviation; on a fixed split it is a bootstrap over
    the queries. ``interval`` says which.

    Args:
        mean: the mean, in the metric's own unit.
        low: lower end of the interval, None where there is none (one seed).
        high: upper end, None where there is none.
        n: how many values the mean is taken over.
        interval: how the interval was made, in words.

    Chapter:
        01, where intervals are introduced; 08, where they decide between neighbours.

    Example:
        >>> one = Estimate.from_values([0.21, 0.22, 0.23])
        >>> format(one, ".3f")
        '0.220 ± 0.025'
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    interval: str

    @classmethod
    def from_values(
        cls, values: Sequence[float], *, over: str = "seeds", test_to_train: float = 0.0
    ) -> Estimate:
        r"""Return the mean of ``values`` with Student's 95 % interval.

        Args:
            values: one number a seed, all finite.
            over: what the values differ by, for the wording ("seeds", "resplits").
            test_to_train: r in :math:`s \sqrt{1/n + r}`, test pairs for each training pair, for
                values that come from overlapping splits; 0 for independent ones.

        Returns:
            The estimate; with a single value the interval is None at both ends.

        Raises:
            ValueError: no values, one that is not finite, or a ratio that is negative.
        """
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 1 or array.size == 0:
            raise ValueError(f"expected one number a seed, got shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"expected finite numbers, got {array.tolist()}")
        if not (math.isfinite(test_to_train) and test_to_train >= 0):
            raise ValueError(f"test_to_train: expected a number of at least 0, got {test_to_train}")
        n, mean = int(array.size), float(array.mean())
        if n == 1:
            return cls(mean, None, None, 1, f"none: one of the {over} only")
        from scipy.special import stdtrit

        half = float(stdtrit(n - 1, 0.975) * array.std(ddof=1) / math.sqrt(n))
        half *= math.sqrt(1 + n * test_to_train)
        words = f"Student's t over {n} {over}"
        if test_to_train:
            words += f", widened for overlapping splits (r = {test_to_train:.3g})"
        return cls(mean, mean - half, mean + half, n, words)

    @property
    def half_width(self) -> float | None:
        """Half the length of the interval, None where there is none."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2

    def __format__(self, spec: str) -> str:
        """Return ``mean ± half width``, each number formatted by ``spec``; a sign is the mean's."""
        spec = spec or ".3f"
        if self.half_width is None:
            return format(self.mean, spec)
        return f"{self.mean:{spec}} ± {self.half_width:{spec.lstrip('+')}}"

    def __str__(self) -> str:
        """Return ``mean ± half width`` to three decimals."""
        return format(self, ".3f")


@dataclass(frozen=True)
class Record:
    """One method on one data set, over all its seeds, with what is needed to repeat it.

    Args:
        experiment: the experiment's name, ``"linear"``; also the folder's.
        key: the file's stem, ``"wikipedia-cca"``.
        method: the method's short name.
        dataset: the data set's name.
        tier: ``"cpu"``, ``"colab"`` or ``"full"``.
        config: everything that decides the numbers, as plain JSON values.
        config_hash: the first 16 hexadecimal digits of the SHA-256 of ``config``.
        method_version: the version that the method declared when it ran.
        data_hashes: SHA-256 of the arrays, ``{part: {array: digest}}``, a part being a seed
            or ``"official"``.
        seeds: the seeds, in the order of the values in ``per_seed``.
        per_seed: ``{metric: (value for each seed)}``.
        metrics: ``{metric: Estimate}`` over the seeds.
        official: ``{metric: Estimate}`` on the data set's official split, with a bootstrap
            over queries; empty where there is no official split.
        details: what else is worth keeping, as JSON: chosen hyper-parameters, spectra.
        notes: sentences that belong beside the numbers.
        settings: what was set by hand, ``{}`` for the tier's own configuration.
        commit: the repository's commit, with ``+changes`` where the tree was not clean;
            ``"unknown"`` outside a checkout.
        versions: package versions that the numbers may depend on.
        device: the processor, and the number of threads.
        wall_time_s: seconds of wall-clock time, summed over the parts.
        peak_memory_mb: largest resident memory in MiB, None where it cannot be read.
        energy: ``{"joules": …, "method": …}``, an estimate; the method is spelled out.
        date: day on which the record was completed (UTC), ISO 8601.
        schema: version of this layout.

    Chapter:
        00, where the budget box and the ledger are introduced.

    Example:
        >>> Record.from_json(Record.example().to_json()) == Record.example()
        True
    """

    experiment: str
    key: str
    method: str
    dataset: str
    tier: str
    config: Mapping[str, Any]
    config_hash: str
    method_version: str
    data_hashes: Mapping[str, Mapping[str, str]]
    seeds: tuple[int, ...]
    per_seed: Mapping[str, tuple[float, ...]]
    metrics: Mapping[str, Estimate]
    official: Mapping[str, Estimate] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    commit: str = "unknown"
    versions: Mapping[str, str] = field(default_factory=dict)
    device: str = "unknown"
    wall_time_s: float = 0.0
    peak_memory_mb: float | None = None
    energy: Mapping[str, Any] = field(default_factory=dict)
    date: str = ""
    schema: int = SCHEMA

    @classmethod
    def example(cls) -> Record:
        """Return a small record of invented numbers, for documentation and tests."""
        config = {"reg": 0.1, "n_components": 5}
        values = (0.2, 0.3)
        return cls(
            experiment="linear",
            key="example-cca",
            method="cca",
            dataset="example",
            tier="cpu",
            config=config,
            config_hash=config_hash(config),
            method_version="1",
            data_hashes={"0": {"images": "0" * 64}, "1": {"images": "0" * 64}},
            seeds=(0, 1),
            per_seed={"map_mean": values},
            metrics={"map_mean": Estimate.from_values(values)},
            date="2000-01-01",
        )

    def series(self, prefix: str) -> list[tuple[float, Estimate]]:
        """Return the metrics named ``prefix`` plus a number, as a curve.

        Args:
            prefix: the common beginning, ``"accuracy_missing_"``.

        Returns:
            Pairs (number, estimate), by increasing number.

        Raises:
            KeyError: no metric of that name.
        """
        points = []
        for name, estimate in self.metrics.items():
            tail = name.removeprefix(prefix)
            if tail != name and tail.replace(".", "", 1).isdigit():
                points.append((float(tail), estimate))
        if not points:
            raise KeyError(f"{self.key}: no metric {prefix}<number>; there are {[*self.metrics]}")
        return sorted(points, key=lambda point: point[0])

    def to_json(self) -> str:
        """Return the record as JSON text: readable, one list of numbers a line, no NaN.

        Raises:
            ValueError: a value is NaN or infinite, or is no plain JSON value.
        """
        content: dict[str, Any] = {"schema": self.schema}
        for item in fields(self):
            if item.name in ("metrics", "official"):
                content[item.name] = {
                    name: {
                        "mean": estimate.mean,
                        "low": estimate.low,
                        "high": estimate.high,
                        "n": estimate.n,
                        "interval": estimate.interval,
                    }
                    for name, estimate in getattr(self, item.name).items()
                }
            elif item.name != "schema":
                content[item.name] = getattr(self, item.name)
        return _pretty(json.loads(canonical_json(content, sort=False))) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str = "the record") -> Record:
        """Return the record that :meth:`to_json` wrote.

        Args:
            text: JSON text.
            source: what to call it in an error, usually the file's path.

        Raises:
            LedgerError: not JSON, another layout, or a field missing.
        """
        way_out = "delete it, or bring it back with git, and run the experiment again"
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise LedgerError(f"{source}: not valid JSON ({error}); {way_out}") from None
        if not isinstance(content, dict) or "schema" not in content:
            raise LedgerError(f"{source}: no ledger record (no field 'schema'); {way_out}")
        if content["schema"] != SCHEMA:
            raise LedgerError(
                f"{source}: layout {content['schema']}, this library reads layout {SCHEMA}; "
                "use the library's version that wrote it, or run the experiment again"
            )
        try:
            for name in ("metrics", "official"):
                content[name] = {key: Estimate(**value) for key, value in content[name].items()}
            content["per_seed"] = {k: tuple(v) for k, v in content["per_seed"].items()}
            content["seeds"] = tuple(content["seeds"])
            content["notes"] = tuple(content["notes"])
            return cls(**content)
        except (KeyError, TypeError, AttributeError) as error:
            why = f"a field is missing or unknown ({error})"
            raise LedgerError(f"{source}: {why}; {way_out}") from None


def canonical_json(value: Any, *, sort: bool = True) -> str:
    """Return ``value`` as JSON text that is the same for equal values.

    Tuples become lists, numpy's numbers Python's.

    Raises:
        ValueError: NaN, infinity, or something that JSON has no word for.
    """

    def plain(item: Any) -> Any:
        if isinstance(item, np.generic):
            return item.item()
        if isinstance(item, np.ndarray):
            return item.tolist()
        if isinstance(item, Mapping):
            return dict(item)
        raise ValueError(f"{type(item).__name__} has no place in a record: {item!r}")

    try:
        return json.dumps(
            value, default=plain, sort_keys=sort, allow_nan=False, separators=(",", ":")
        )
    except ValueError as error:
        raise ValueError(f"a record holds finite numbers and plain values only: {error}") from None


def is_plain(value: Any) -> bool:
    """Tell whether a record can hold a value."""
    try:
        canonical_json(value)
    except ValueError:
        return False
    return True


def config_hash(config: Mapping[str, Any]) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a configuration.

    Args:
        config: plain JSON values; the order of the keys has no influence.

    Returns:
        Sixteen characters.

    Raises:
        ValueError: NaN, infinity, or something that JSON has no word for.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> config_hash({"a": 1, "b": 2}) == config_hash({"b": 2, "a": 1})
        True
    """
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()[:16]


def array_hash(array: Any) -> str:
    """Return the SHA-256 of an array: its type, its shape and its bytes.

    Args:
        array: any numeric array; made contiguous and little-endian first, so that the
            digest does not depend on the layout in memory.

    Returns:
        Sixty-four hexadecimal digits.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> array_hash(np.eye(2)) == array_hash(np.asfortranarray(np.eye(2)))
        True
    """
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def _pretty(value: Any, indent: int = 0) -> str:
    """JSON with one entry a line, but lists of plain values on a single line."""
    pad, inner = " " * indent, " " * (indent + 1)
    if isinstance(value, dict) and value:
        items = [f"{inner}{json.dumps(k)}: {_pretty(v, indent + 1)}" for k, v in value.items()]
        if all(not isinstance(v, dict | list) for v in value.values()) and len(value) <= 5:
            flat = ", ".join(item.strip() for item in items)
            if len(flat) <= 200:
                return "{" + flat + "}"
        return "{\n" + ",\n".join(items) + f"\n{pad}}}"
    if isinstance(value, list) and any(isinstance(v, dict | list) for v in value):
        return "[\n" + ",\n".join(inner + _pretty(v, indent + 1) for v in value) + f"\n{pad}]"
    return json.dumps(value, ensure_ascii=False)


def read_record(path: Path) -> Record:
    """Return the record in one file.

    Raises:
        LedgerError: the file cannot be read as a record; the text names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerError(f"{path}: cannot be read ({error})") from None
    return Record.from_json(text, source=str(path))
