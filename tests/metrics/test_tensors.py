"""Torch tensors, on the CPU and on a device: the numbers of numpy, of the caller's kind."""

import numpy as np
import pytest
import torch

from vlalign_lib.metrics import (
    _device,
    average_precision,
    average_precisions,
    bootstrap_interval,
    mean_average_precision,
    mean_reciprocal_rank,
    median_rank,
    precision_recall_curve,
    ranks,
    ranks_from_scores,
    recall_at_k,
    retrieval_report,
)
from vlalign_lib.metrics._harmonic import harmonic_numbers
from vlalign_lib.metrics._similarity import prepare
from vlalign_lib.metrics.classes import _by_class

SIMILARITIES = ("cosine", "dot", "euclidean")
CPU = torch.device("cpu")
DEVICES = [
    pytest.param(
        device,
        marks=pytest.mark.skipif(
            device == "cuda" and not torch.cuda.is_available(), reason="no GPU"
        ),
    )
    for device in ("cpu", "cuda")
]


def views(n=90, m=140, d=6, classes=5, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    queries, gallery = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    gallery[:20] = gallery[20:40]  # true ties
    return (
        queries.astype(dtype),
        gallery.astype(dtype),
        rng.integers(0, classes + 1, n),
        rng.integers(0, classes, m),
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_tensors_give_the_numbers_of_numpy(similarity, dtype, device):
    queries, gallery, q_labels, g_labels = views(dtype=dtype)
    arrays = (queries, gallery, q_labels, g_labels)
    tensors = [torch.as_tensor(array, device=device) for array in arrays]
    for options in ({}, {"top_k": 20}, {"top_k": 20, "normalise": "hits"}):
        expected = average_precisions(*arrays, similarity=similarity, **options)
        got = average_precisions(*tensors, similarity=similarity, **options)
        assert isinstance(got, torch.Tensor)
        assert got.device.type == device
        assert got.dtype == tensors[0].dtype
        np.testing.assert_allclose(got.cpu(), expected, rtol=1e-6 if dtype == np.float32 else 1e-12)
        mean = mean_average_precision(*tensors, similarity=similarity, **options)
        assert isinstance(mean, float)
        assert mean == pytest.approx(expected.mean(), rel=1e-6)
    pair, pair_t = (queries, gallery[:90]), (tensors[0], tensors[1][:90])
    got = ranks(*pair_t, similarity=similarity)
    assert got.device.type == device
    assert got.dtype == tensors[0].dtype
    np.testing.assert_array_equal(got.cpu(), ranks(*pair, similarity=similarity))
    assert recall_at_k(*pair_t, similarity=similarity) == recall_at_k(*pair, similarity=similarity)
    assert median_rank(*pair_t, similarity=similarity) == median_rank(*pair, similarity=similarity)
    assert mean_reciprocal_rank(*pair_t, similarity=similarity) == mean_reciprocal_rank(
        *pair, similarity=similarity
    )


class TestDeviceCode:
    """The code for CUDA is plain torch: run it on the CPU, where it has to agree as well."""

    @staticmethod
    def precisions(queries, gallery, q_labels, g_labels, similarity, top_k, by_hits):
        order, starts, stops = _by_class(q_labels, g_labels, len(q_labels), len(g_labels))
        return _device.average_precisions(
            queries,
            gallery,
            similarity,
            order,
            starts,
            stops,
            top_k or len(g_labels),
            by_hits,
            harmonic_numbers(len(g_labels)),
            CPU,
        )

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("similarity", SIMILARITIES)
    @pytest.mark.parametrize(("top_k", "normalise"), [(None, "relevant"), (9, "hits")])
    def test_average_precisions(self, similarity, dtype, top_k, normalise):
        queries, gallery, q_labels, g_labels = views(dtype=dtype)
        expected = average_precisions(
            queries,
            gallery,
            q_labels,
            g_labels,
            similarity=similarity,
            top_k=top_k,
            normalise=normalise,
        )
        got = self.precisions(
            torch.from_numpy(queries),
            torch.from_numpy(gallery),
            q_labels,
            g_labels,
            similarity,
            top_k,
            normalise == "hits",
        )
        np.testing.assert_allclose(got, expected, rtol=1e-12)

    def test_in_blocks(self, monkeypatch):
        queries, gallery, q_labels, g_labels = views(n=300)
        expected = average_precisions(queries, gallery, q_labels, g_labels)
        monkeypatch.setattr(_device, "BLOCK_BYTES", 1)
        got = self.precisions(queries, gallery, q_labels, g_labels, "cosine", None, False)
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        targets = np.arange(300) % 140
        greater, tied = _device.rank_counts(queries, gallery, "cosine", targets, CPU)
        np.testing.assert_array_equal(
            1 + greater + tied / 2, ranks(queries, gallery, targets=targets)
        )

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_collapse(self, dtype):
        point = torch.rand(33, generator=torch.Generator().manual_seed(0)) + 0.1
        gallery = point.expand(700, 33).to(dtype)
        greater, tied = _device.rank_counts(gallery, gallery, "cosine", np.arange(700), CPU)
        assert (greater == 0).all()
        assert (tied == 699).all()

    @pytest.mark.parametrize("similarity", SIMILARITIES)
    def test_prepared_alike(self, similarity):
        queries, gallery, _, _ = views()
        array = prepare(queries, gallery, similarity, np)
        tensor = prepare(torch.from_numpy(queries), torch.from_numpy(gallery), similarity, torch)
        for name in ("queries", "gallery", "penalty", "tolerance"):
            one, other = getattr(array, name), getattr(tensor, name)
            if one is None:
                assert other is None
            else:
                np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15)

    def test_a_function_of_tensors(self):
        queries, gallery, q_labels, g_labels = views()
        scores = np.round(queries @ gallery.T, 1)
        expected = average_precisions(
            queries, gallery, q_labels, g_labels, similarity=lambda q, g: np.round(q @ g.T, 1)
        )
        got = self.precisions(
            torch.from_numpy(queries),
            torch.from_numpy(gallery),
            q_labels,
            g_labels,
            lambda q, g: torch.round(q @ g.T, decimals=1),
            None,
            False,
        )
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        targets = np.arange(90)
        greater, tied = _device.count_above(torch.from_numpy(scores), targets)
        np.testing.assert_array_equal(
            1 + greater + tied / 2, ranks_from_scores(scores, targets=targets)
        )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"queries": torch.ones(4)}, "expected \\(n, d\\)"),
            ({"queries": torch.full((4, 2), torch.nan)}, "queries: 4 row\\(s\\) hold NaN"),
            ({"gallery": torch.ones(4, 2, dtype=torch.complex64)}, "expected real numbers"),
            ({"gallery": torch.ones(4, 3)}, "2 dimensions and the gallery has 3"),
            ({"similarity": lambda q, g: torch.ones(2, 2)}, "returned shape \\(2, 2\\)"),
            ({"similarity": lambda q, g: torch.full((4, 4), torch.nan)}, "scores hold NaN"),
            ({"similarity": "l2"}, "similarity: expected one of"),
        ],
    )
    def test_errors_teach(self, change, message):
        case = {"queries": torch.ones(4, 2), "gallery": torch.ones(4, 2), "similarity": "dot"}
        case |= change
        with pytest.raises(ValueError, match=message):
            _device.rank_counts(**case, targets=np.arange(4), device=CPU)

    def test_matmul_settings_are_put_back(self):
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            with _device._full_precision(CPU), torch.enable_grad():
                assert torch.get_float32_matmul_precision() == "highest"
                assert not torch.is_autocast_enabled("cpu")
            assert torch.get_float32_matmul_precision() == "high"
        finally:
            torch.set_float32_matmul_precision(before)


def test_gradients_and_half_precision_are_no_obstacle():
    queries, gallery, q_labels, g_labels = views(dtype=np.float32)
    q, g = torch.from_numpy(queries).requires_grad_(), torch.from_numpy(gallery)
    assert not average_precisions(q, g, q_labels, g_labels).requires_grad
    for dtype in (torch.float16, torch.bfloat16):
        narrow = q.detach().to(dtype), g.to(dtype)
        wide = [tensor.float() for tensor in narrow]
        got = average_precisions(*narrow, q_labels, g_labels)
        assert got.dtype == torch.float32
        np.testing.assert_array_equal(got, average_precisions(*wide, q_labels, g_labels))


def test_ranks_of_half_precision_stay_exact():
    scores = torch.zeros(1, 5001, dtype=torch.float16)
    scores[0, 1:2503] = 1
    assert ranks_from_scores(scores, targets=[0]).item() == 1 + 2502 + 2498 / 2


def test_tensor_beside_array():
    queries, gallery, q_labels, g_labels = views()
    expected = mean_average_precision(queries, gallery, q_labels, g_labels)
    got = mean_average_precision(
        torch.from_numpy(queries), gallery, q_labels, torch.from_numpy(g_labels)
    )
    assert got == expected


def test_small_functions_take_tensors():
    scores, relevant = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([True, False, True])
    assert average_precision(scores, relevant) == pytest.approx((1 + 2 / 3) / 2)
    assert precision_recall_curve(scores, relevant).hits[-1] == 2
    assert bootstrap_interval(torch.tensor([1.0, 2.0, 3.0])).estimate == 2.0


def test_report_of_tensors():
    queries, _, labels, _ = views()
    gallery = queries + 1.0
    expected = retrieval_report(queries, gallery, labels)
    got = retrieval_report(
        torch.from_numpy(queries), torch.from_numpy(gallery), torch.from_numpy(labels)
    )
    assert str(got) == str(expected)
