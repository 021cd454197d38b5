"""How one method of the experiment ``linear`` is chosen, fitted and tested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vlalign_lib.experiments._experiment import OFFICIAL, Measurement
from vlalign_lib.experiments._retrieval import data_hashes, fit_part
from vlalign_lib.experiments._scores import class_scores, query_intervals
from vlalign_lib.experiments.linear import METHODS
from vlalign_lib.linear import correlation


def measure_method(config: Mapping[str, Any], part: str) -> Measurement:
    """Return one method's numbers on one split: a seed's, or the official one."""
    wanted = {"task": "classes", "fixed": {}, **config, "method": METHODS[config["method"]].method}
    pairs, both, method, details = fit_part(wanted, part)
    test = pairs.split("test")
    u, v = method.embed_images(test.images), method.embed_texts(test.texts)
    at_train = correlation(method.embed_images(both.images), method.embed_texts(both.texts))
    at_test = correlation(u, v)
    metrics = class_scores(u, v, test.labels)
    metrics["correlation_train"] = float(at_train.mean())
    metrics["correlation_test"] = float(at_test.mean())
    return Measurement(
        metrics=metrics,
        data_hashes=data_hashes(pairs),
        estimates=query_intervals(u, v, test.labels) if part == OFFICIAL else {},
        details={
            **details,
            "correlations_train": np.round(at_train, 6),
            "correlations_test": np.round(at_test, 6),
        },
    )
