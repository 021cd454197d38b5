"""Gathering rows: the value of the whole batch, and the gradient of a single process."""

import pytest
import torch

from vlalign_lib._tensors import gather_rows


def views(rows=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, rows, 3, dtype=torch.float64, generator=generator)
    return x, y


def test_one_process_gets_the_very_tensors_back():
    x, y = views()
    labels = torch.arange(6)
    ours = gather_rows(x, y, labels)
    assert all(a is b for a, b in zip(ours, (x, y, labels), strict=True))


def test_value_and_gradient_are_those_of_one_process(two_processes):
    x, y = views()
    two_processes("gathered:entangled", x, y, torch.tensor([0, 1, 0, 2, 1, 0]))


def test_reductions_that_keep_rows_and_learnt_parameters(two_processes):
    x, y = views()
    slope = torch.tensor(0.7, dtype=torch.float64)
    head = torch.nn.Linear(3, 2, dtype=torch.float64)
    two_processes(
        "gathered:per_row",
        x,
        y,
        shared={"slope": slope, "head": head},
    )


def test_second_derivatives_pass_through(two_processes):
    x, y = views()
    two_processes("gathered:gradient_penalty", x, y)


@pytest.mark.parametrize("name", ["wrong_without_sum", "wrong_without_return"])
def test_wrong_gradients_with_the_right_value_are_caught(two_processes, name):
    x, y = views()
    with pytest.raises(AssertionError, match="not close"):
        two_processes(f"gathered:{name}", x, y)


def test_batches_of_unequal_size_are_refused_everywhere(two_processes):
    x, y = views()
    for outcome in two_processes.run("gathered:entangled", x, y, sizes=(4, 2)):
        assert isinstance(outcome, ValueError)
        assert "batches of 4, 2 rows" in str(outcome)
        assert "drop_last=True" in str(outcome)


def test_rows_of_unequal_shape_or_precision_are_refused_everywhere(two_processes):
    x, y = views()
    for name in ("wider_on_rank_1", "half_on_rank_1"):
        for outcome in two_processes.run(f"gathered:{name}", x, y):
            assert isinstance(outcome, ValueError)
            assert "another process has other ones" in str(outcome)
    two_processes("gathered:entangled", x, y)  # and all goes on


def test_rows_that_are_not_contiguous_and_of_more_axes(two_processes):
    x = torch.randn(3, 6, 2, dtype=torch.float64).transpose(0, 1)
    y = torch.randn(1, 6, dtype=torch.float64).T.expand(6, 4)
    two_processes("gathered:entangled", x, y)


def test_truth_values_are_gathered(two_processes):
    x, y = views()
    keep = torch.tensor([True, False, True, True, False, False])
    two_processes("gathered:entangled", x, y, keep)
