"""The experiments by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from vlalign_lib.experiments._experiment import OWN, Experiment, choose
from vlalign_lib.experiments._record import Record, config_hash
from vlalign_lib.experiments.fusion import FusionExperiment
from vlalign_lib.experiments.linear import LinearExperiment
from vlalign_lib.experiments.retrieval import RetrievalExperiment

EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        "fusion": FusionExperiment(),
        "linear": LinearExperiment(),
        "retrieval": RetrievalExperiment(),
    }
)
"""``{name: experiment}``: what ``vlalign run`` knows."""


def get_experiment(name: str) -> Experiment:
    """Return an experiment by its name.

    Args:
        name: ``"fusion"``, ``"linear"`` or ``"retrieval"``.

    Returns:
        The experiment.

    Raises:
        SettingError: no such experiment; the text suggests the nearest name.

    Chapter:
        00, where the command line is introduced.

    Example:
        >>> get_experiment("linear").chapter
        '03'
    """
    return EXPERIMENTS[choose("experiment", name, EXPERIMENTS)]


def stale_reason(record: Record) -> str | None:
    """Return why a record is stale, in words, or None where it is not.

    Args:
        record: a record of the ledger.

    Returns:
        The end of a sentence that begins with the record's name.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> stale_reason(Record.example())
        'its case example-cca is no longer defined'
    """
    if config_hash(record.config) != record.config_hash:
        return "its configuration was edited by hand: the hash does not match"
    if record.method_version == OWN:
        return None  # no experiment defines it, so none can have changed it
    experiment = EXPERIMENTS.get(record.experiment)
    if experiment is None:
        return f"its experiment {record.experiment} is no longer defined"
    try:
        cases = (
            experiment.cases(experiment.configured(record.tier, record.settings))
            if record.settings
            else experiment.ledger_cases(record.tier)
        )
    except ValueError:
        return "its settings are no longer defined"
    case = next(
        (c for c in cases if (c.method, c.dataset) == (record.method, record.dataset)), None
    )
    if case is None:
        return f"its case {record.key} is no longer defined"
    if case.version != record.method_version:
        return (
            f"{case.method} is now version {case.version}, the record is of {record.method_version}"
        )
    if config_hash(case.config) != record.config_hash:
        return "its configuration has changed since"
    return None


def is_stale(record: Record) -> bool:
    """Return whether a record's configuration or its method's version has changed since.

    A stale record is still a measurement, of something that is no longer the library's own:
    tables mark it, ``vlalign doctor`` lists it, and nothing fails.

    Args:
        record: a record of the ledger.

    Returns:
        True where :func:`stale_reason` knows a reason.

    Chapter:
        00, where the ledger is introduced.

    Example:
        >>> is_stale(Record.example())
        True
    """
    return stale_reason(record) is not None
