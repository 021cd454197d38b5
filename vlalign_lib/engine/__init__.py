"""Speed and safety, out of the reader's sight: compiled kernels, and the keeper of runs.

Kernels know tensors and arrays only; the keeper knows what ``training.fit`` hands it. Nothing
here imports the library above, and nothing above knows what is inside: it asks for a form by
name through ``vlalign_lib._fast``. Without this package every result is the same, more slowly,
and runs are not kept.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, cast

FORMS: dict[str, str] = {
    "average_precisions": "ranks:average_precisions",
    "count_above": "ranks:count_above",
    "expected_cut": "ranks:expected_cut",
    "expected_precisions": "ranks:expected_precisions",
    "tie_blocks": "ranks:tie_blocks",
    "soft_dtw": "soft_dtw.forms:soft_dtw",
    "soft_alignment": "soft_dtw.forms:soft_alignment",
    "hsic_terms": "cka:hsic_terms",
    "median_squares": "cka:median_squares",
    "euclidean_cost": "soft_dtw.distances:euclidean",
    "correlations": "cca_lapack:correlations",
    "log_partitions": "scores:log_partitions",
    "mined_hinges": "mining:mined_hinges",
    "pair_sums": "scores:pair_sums",
    "sigmoid_sums": "scores:sigmoid_sums",
    "s2dtw_smoothing": "soft_dtw.smoothing:smoothed",
    "keeper": "keeper.keeper:Keeper",
    "training.World": "keeper.processes:World",
    "training.average_gradients": "keeper.processes:average_gradients",
    "training.launch": "keeper.launch:launch",
    "training.load_weights": "keeper.checkpoints:load_weights",
    "training.world": "keeper.processes:world",
    "kernel_view": "canonical:kernel_view",
    "leading_svd": "canonical:leading_svd",
    "linear_view": "canonical:linear_view",
}
"""``{name: "module:function"}`` of every fast form; a module is imported at its first use."""


@cache
def form(name: str) -> Callable[..., Any] | None:
    """Return the fast form of that name, None where there is none."""
    if name not in FORMS:
        return None
    module, function = FORMS[name].split(":")
    found = getattr(importlib.import_module(f"vlalign_lib.engine.{module}"), function)
    return cast("Callable[..., Any]", found)
