"""A method of your own, measured as every row of the retrieval table is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from vlalign_lib._progress import progress_bar
from vlalign_lib._validate import check_mapping
from vlalign_lib.experiments._environment import commit
from vlalign_lib.experiments._experiment import OFFICIAL, OWN, Case, check_seeds, choose
from vlalign_lib.experiments._part import measured
from vlalign_lib.experiments._record import Record, is_plain
from vlalign_lib.experiments._scores import embed_independently
from vlalign_lib.experiments.retrieval import (
    DATASETS,
    METHODS,
    RetrievalExperiment,
    case_config,
)

_CONTRACT = ("fit", "embed_images", "embed_texts", "get_params", "set_params")


def score_method(
    method: Any,
    dataset: str = "digits",
    *,
    name: str,
    seeds: int = 5,
    grid: Mapping[str, Sequence[Any]] | None = None,
    progress: bool = False,
) -> Record:
    """Measure a method of your own on the splits, and by the protocol, of the retrieval table.

    Seed by seed the data are split as they were for every method of the table, so that
    ``paired_difference`` with a record of the ledger is a paired one. Where ``grid`` is given,
    each seed chooses from it on its validation pairs; then the method is fitted again on
    training and validation pairs and tested once.

    Args:
        method: an estimator that is not fitted: ``fit(images, texts, labels)``, which uses
            every row it is given, ``embed_images(images)`` and ``embed_texts(texts)``, each
            usable alone and returning (n, k), where the place of an item depends on that item
            alone. They are asked by copies of the fitted method that know nothing of each other,
            texts first, each view in an order of its own. Views come as the loaders give them;
            pictures are (n, height, width). And, from ``sklearn.base.BaseEstimator`` or in the
            same manner, ``get_params`` and ``set_params``. It is cloned for every fit, and a
            parameter ``random_state`` is set to the seed.
        dataset: a key of the table's data sets, such as ``"digits"``, ``"glyphs"``,
            ``"wikipedia"`` or ``"names"``.
        name: what the table calls it; not one of the names that it has already.
        seeds: how many, from 0 on, at most 1000.
        grid: ``{parameter: values}`` to choose from, None for the method as it is.
        progress: whether to show a bar with the time left.

    Returns:
        A record like those of the ledger. It is not written anywhere:
        ``table("retrieval", records=[*load_records("retrieval"), record])`` shows it in its
        place, and ``record.to_json()`` is the text to keep.

    Raises:
        TypeError: the method lacks a part of the contract; the text names it.
        ValueError: a data set that does not exist, a name that is taken or empty, a number of
            seeds below one or above 1000, a grid over a parameter that the method does not have,
            or places that depend on the order of the items, on which others are embedded with
            them, or on what was embedded before.
        DataUnavailable: the data set cannot be had.

    Chapter:
        08, The retrieval table, whose last exercise is a method of your own.

    Example:
        >>> from vlalign_lib.linear import CFA
        >>> mine = score_method(CFA(5), "digits", name="my CFA", seeds=2)
        >>> mine.seeds, "map_mean" in mine.metrics
        ((0, 1), True)
    """
    choose("data set", dataset, DATASETS)
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"name: expected what the table shall call the method, got {name!r}")
    taken = {key.casefold() for key in METHODS} | {m.label.casefold() for m in METHODS.values()}
    if name.casefold() in taken:
        raise ValueError(f"name: the table has a row {name!r} already; call yours something else")
    seeds = check_seeds(seeds)
    _check_method(method)
    wanted = {key: list(values) for key, values in _as_grid(grid, method).items()}
    experiment = RetrievalExperiment()
    config = case_config(name, dataset, _plain(method.get_params()), wanted)
    case = Case(f"{dataset}-{name}", name, dataset, OWN, config, DATASETS[dataset].official)
    experiment.prepare()
    from vlalign_lib.experiments._retrieval import measure_method

    to_measure = {**config, "grid": wanted, "fixed": {}}
    results = {}
    parts = case.parts(seeds)
    with progress_bar(len(parts), name, shown=progress, unit="part") as bar:
        for part in parts:
            bar.set_postfix_str(part if part == OFFICIAL else f"seed {part}")
            results[part] = measured(
                partial(measure_method, to_measure, part, method, embed_independently)
            )
            bar.update(1)
    return experiment.record("cpu", case, case.key, results, {}, commit())


def _check_method(method: Any) -> None:
    missing = [part for part in _CONTRACT if not callable(getattr(method, part, None))]
    if isinstance(method, type):
        raise TypeError(f"method: expected an estimator, got the class itself: {method.__name__}()")
    if missing:
        way_out = (
            "; derive the class from sklearn.base.BaseEstimator and take every parameter in "
            "__init__"
            if "get_params" in missing
            else ""
        )
        raise TypeError(
            f"method: {type(method).__name__} has no {', '.join(missing)}; a row of the table "
            f"needs fit(images, texts, labels), embed_images and embed_texts{way_out}"
        )


def _as_grid(grid: Mapping[str, Sequence[Any]] | None, method: Any) -> Mapping[str, Sequence[Any]]:
    if grid is None:
        return {}
    check_mapping(grid, "grid", "{parameter: values}")
    known = method.get_params()
    for key, values in grid.items():
        if key not in known:
            raise ValueError(
                f"grid: {type(method).__name__} has no parameter {key!r}; it has {sorted(known)}"
            )
        if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
            raise ValueError(f"grid[{key!r}]: expected a list of values, got {values!r}")
    return grid


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as a record can hold them: what is no plain value by its text."""
    return {n: value if is_plain(value) else repr(value) for n, value in parameters.items()}
