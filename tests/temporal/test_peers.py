"""Beside tslearn and pysdtw."""

import numpy as np
import pytest
import torch

from vlalign_lib.temporal import dtw, sequence_cost, soft_alignment, soft_dtw

pytestmark = pytest.mark.usefixtures("backend")


@pytest.mark.parametrize("gamma", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(8, 8), (17, 30), (1, 6)])
def test_tslearn(shape, gamma, costs, agrees, peer):
    fast = peer("tslearn.metrics.softdtw_variants")
    cost = costs(5, *shape)
    values, expected = [], []
    for matrix in cost:
        solver = fast.SoftDTW(matrix.numpy().copy(), gamma=gamma)  # it writes into what it gets
        values.append(solver.compute())
        expected.append(solver.grad())
    agrees(
        "temporal.soft_dtw",
        soft_dtw(cost, gamma),
        np.array(values),
        kind="peer",
        against="tslearn",
        tolerance=1e-13,
    )
    agrees(
        "temporal.soft_alignment",
        soft_alignment(cost, gamma),
        np.array(expected),
        kind="peer",
        against="tslearn",
        tolerance=1e-11,
    )


def test_tslearn_dtw(costs, agrees, peer):
    metrics = peer("tslearn.metrics")
    x, y = costs(4, 12, 3), costs(4, 9, 3, seed=1)
    values, paths = dtw(sequence_cost(x, y, "euclidean"))
    for a, b, value, path in zip(x, y, values, paths, strict=True):
        theirs, total = metrics.dtw_path_from_metric(a.numpy().copy(), b.numpy().copy())
        assert [tuple(cell) for cell in path.tolist()] == theirs
        agrees("temporal.dtw", value, total, kind="peer", against="tslearn", tolerance=1e-13)


@pytest.mark.parametrize("lengths", [False, True])
def test_pysdtw(lengths, costs, agrees, peer):
    # It computes in single precision, with squared distances.
    peers = peer("pysdtw")
    x, y = costs(3, 10, 4).float(), costs(3, 7, 4, seed=1).float()
    ends = torch.tensor([[10, 7], [6, 7], [3, 2]]) if lengths else None
    packed = x, y
    if lengths:
        packed = tuple(
            torch.nn.utils.rnn.pack_padded_sequence(
                v, ends[:, side], batch_first=True, enforce_sorted=False
            )
            for side, v in enumerate((x, y))
        )
    theirs = peers.SoftDTW(gamma=0.5, use_cuda=False)(*packed)
    cost = (x.double()[:, :, None] - y.double()[:, None]).square().sum(3)
    agrees(
        "temporal.soft_dtw",
        soft_dtw(cost, 0.5, lengths=ends),
        theirs,
        kind="peer",
        against="pysdtw",
        tolerance=2e-6,
    )
