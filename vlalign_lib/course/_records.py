"""The ledger, as chapters read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlalign_lib.experiments import Record


def ledger(experiment: str, *, tier: str = "cpu", **where: Any) -> Record:
    """Return the one record of an experiment that fits, for a number in the text.

    Args:
        experiment: ``"linear"`` or ``"fusion"``.
        tier: "cpu", "colab" or "full"; the book shows the first, whatever else was run.
        **where: fields of the record, such as ``dataset="glyphs"`` and ``method="cca"``;
            anything else is looked up in its configuration. Words are compared without case.

    Returns:
        The record; ``ledger(...).metrics["map_mean"].mean`` is a number to glue.

    Raises:
        ValueError: no such experiment, no record that fits, or several; the message lists
            what there is.

    Chapter:
        Chapter 00 introduces the ledger.

    Example:
        >>> ledger("linear", dataset="no such set")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        ValueError: ledger: no record of 'linear' with dataset='no such set'; there are: ...
    """
    fitting = ledger_all(experiment, tier=tier, **where)
    asked = ", ".join(f"{name}={value!r}" for name, value in where.items()) or "anything"
    if not fitting:
        known = ", ".join(record.key for record in ledger_all(experiment)) or "none yet"
        raise ValueError(
            f"ledger: no record of {experiment!r} with {asked}; there are: {known}. "
            f"`vlalign run {experiment}` makes them"
        )
    if len(fitting) > 1:
        raise ValueError(
            f"ledger: {len(fitting)} records of {experiment!r} with {asked}: "
            f"{', '.join(record.key for record in fitting)}; name more fields"
        )
    return fitting[0]


def ledger_all(experiment: str, **where: Any) -> list[Record]:
    """Return every record of an experiment that fits, sorted by key.

    Args:
        experiment: ``"linear"`` or ``"fusion"``.
        **where: as in :func:`ledger`.

    Returns:
        The records, an empty list where none fits.

    Raises:
        ValueError: no such experiment.

    Chapter:
        Chapter 00 introduces the ledger.

    Example:
        >>> ledger_all("linear", dataset="no such set")
        []
    """
    from vlalign_lib.experiments import load_records

    return [
        record
        for record in load_records(experiment)
        if all(_fits(record, name, value) for name, value in where.items())
    ]


def _fits(record: Record, name: str, value: Any) -> bool:
    if hasattr(record, name):
        found = getattr(record, name)
    elif name in record.config:
        found = record.config[name]
    else:
        return False
    if isinstance(found, str) and isinstance(value, str):
        return found.casefold() == value.casefold()
    return bool(found == value)
