"""The model behind a record, fitted again."""

from __future__ import annotations

from typing import Any

from vlalign_lib.experiments._environment import one_thread
from vlalign_lib.experiments._experiment import OWN
from vlalign_lib.experiments._record import Record


def refit(record: Record, part: str | int = "0") -> Any:
    """Return the fitted method behind a record of the retrieval table.

    It is fitted to the training and validation pairs of that part, with the hyper-parameters that
    were chosen there, on one CPU thread as when it was measured: the numbers of its test pairs
    are the record's, up to what other versions of the packages change.

    Args:
        record: a record of the experiment ``retrieval``.
        part: a seed, ``"0"``, or ``"official"`` where there is an official split.

    Returns:
        The method, ready for ``embed_images`` and ``embed_texts``.

    Raises:
        ValueError: a record of another experiment, of a method of your own (nobody else has its
            code), or without that part.
        DataUnavailable: the data set cannot be had.

    Chapter:
        08, The retrieval table, where methods answer words of your own.

    Example:
        >>> from vlalign_lib.experiments import load_records
        >>> (record,) = [r for r in load_records("retrieval") if r.key == "digits-cfa"]
        >>> refit(record).n_components
        20
    """
    if record.experiment != "retrieval":
        raise ValueError(
            f"{record.key} is a record of {record.experiment!r}; refit knows those of 'retrieval'"
        )
    if record.method_version == OWN:
        raise ValueError(f"{record.key} is of a method of somebody's own: fit it yourself")
    part = str(part)
    if part not in record.details:
        raise ValueError(f"{record.key} has no part {part!r}; it has {[*record.details]}")
    from vlalign_lib.experiments.retrieval import RetrievalExperiment

    RetrievalExperiment().prepare()
    from vlalign_lib.experiments._retrieval import fit_chosen

    with one_thread():
        return fit_chosen(record.config, record.details[part]["chosen"], part)
