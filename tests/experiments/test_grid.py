"""A choice at the edge of its grid is told."""

import dataclasses

import pytest

from vlalign_lib.experiments import Record
from vlalign_lib.experiments._grid import at_edge, edges

GRID = {"reg": [0.1, 1.0, 10.0], "smoothness": [0.0, 1.0], "k": [5, 10], "fixed": [7]}


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"reg": 0.1, "smoothness": 0.0, "k": 9, "fixed": 7}, ["reg"]),
        ({"reg": 1.0, "smoothness": 1.0, "k": 10, "fixed": 7}, ["smoothness", "k"]),
        ({"reg": 10.0, "smoothness": 0.0, "k": 8, "fixed": 7}, ["reg"]),
        ({"reg": 1.0, "smoothness": 0.0, "k": 8, "fixed": 7}, []),
    ],
)
def test_the_least_and_the_largest_are_edges_and_nothing_lies_below_zero(chosen, expected):
    assert at_edge(GRID, chosen) == expected


def chose(*values, **changes):
    return dataclasses.replace(
        Record.example(),
        config={"grid": {"reg": [0.1, 1.0]}},
        details={str(seed): {"chosen": {"reg": value}} for seed, value in enumerate(values)},
        **changes,
    )


def test_a_table_tells_what_was_chosen_at_an_edge_in_most_splits():
    records = [chose(1.0, 1.0, 0.1), chose(1.0, 0.1, method="cfa"), Record.example()]
    assert edges(records, {"cca": "CCA"}).endswith("do better: CCA reg=1.0 (example).")
    assert edges(records[1:], {}) == ""
