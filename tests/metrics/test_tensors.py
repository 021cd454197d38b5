"""Torch tensors, on the CPU and on a device: the numbers of numpy, of the caller's kind."""

import numpy as np
import pytest
import torch

from vlalign_lib.metrics import (
    _scores,
    average_precision,
    average_precisions,
    bootstrap_interval,
    mean_average_precision,
    mean_reciprocal_rank,
    median_rank,
    nearest,
    precision_recall_curve,
    ranks,
    ranks_from_scores,
    recall_at_k,
    retrieval_report,
)

SIMILARITIES = ("cosine", "dot", "euclidean")
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


@pytest.mark.usefixtures("device_code")
class TestDeviceCode:
    """The code for CUDA is plain torch: run it on the CPU, where it has to agree as well."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("similarity", SIMILARITIES)
    @pytest.mark.parametrize(("top_k", "normalise"), [(None, "relevant"), (9, "hits")])
    def test_it_agrees_with_numpy(self, similarity, dtype, top_k, normalise, monkeypatch):
        queries, gallery, q_labels, g_labels = views(n=300, dtype=dtype)
        targets = np.arange(300) % 140
        options = {"similarity": similarity, "top_k": top_k, "normalise": normalise}

        def both(*pair):
            found = ranks(*pair, targets=targets, similarity=similarity)
            return average_precisions(*pair, q_labels, g_labels, **options), found

        got = both(torch.from_numpy(queries), gallery)
        monkeypatch.setitem(_scores.BLOCK_BYTES, "cuda", 1)  # in many small blocks
        in_blocks = both(queries, torch.from_numpy(gallery))
        monkeypatch.undo()
        expected = both(queries, gallery)
        for one, other, wanted in zip(got, in_blocks, expected, strict=True):
            np.testing.assert_allclose(one, wanted, rtol=1e-12 if dtype == np.float64 else 1e-6)
            np.testing.assert_allclose(other, wanted, rtol=1e-12)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_collapse(self, dtype):
        point = torch.rand(33, generator=torch.Generator().manual_seed(0)) + 0.1
        gallery = point.expand(700, 33).to(dtype)
        assert (ranks(gallery, gallery) == (700 + 1) / 2).all()

    def test_a_function_of_tensors(self, monkeypatch):
        queries, gallery, q_labels, g_labels = views()
        scores = np.round(queries @ gallery.T, 1)
        tensors = torch.from_numpy(queries), torch.from_numpy(gallery)

        def coarse(q, g):
            return torch.round(q @ g.T, decimals=1)

        got = average_precisions(*tensors, q_labels, g_labels, similarity=coarse)
        targets = np.arange(90)
        found = ranks_from_scores(torch.from_numpy(scores), targets=targets)
        monkeypatch.undo()
        expected = average_precisions(
            queries, gallery, q_labels, g_labels, similarity=lambda q, g: np.round(q @ g.T, 1)
        )
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        np.testing.assert_array_equal(found, ranks_from_scores(scores, targets=targets))

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
        with pytest.raises(ValueError, match=message):
            ranks(**(case | change))

    def test_matmul_settings_are_put_back(self):
        seen = []

        def product(q, g):
            seen.append(torch.get_float32_matmul_precision())
            assert not torch.is_autocast_enabled("cpu")
            return q @ g.T

        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            with torch.autocast("cpu"):
                ranks(torch.eye(4), torch.eye(4), similarity=product)
            assert seen == ["highest"]
            assert torch.get_float32_matmul_precision() == "high"
        finally:
            torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("setting", ["dtype", "device"])
def test_what_torch_makes_by_default_changes_nothing(setting):
    queries, gallery, q_labels, g_labels = views(n=140, dtype=np.float32)
    tensors = torch.from_numpy(queries), torch.from_numpy(gallery)

    def everything():
        found = average_precisions(*tensors, q_labels, g_labels), ranks(*tensors)
        return [*found, nearest(*tensors, 3), torch.tensor(recall_at_k(queries, gallery)[5])]

    expected = everything()
    try:
        if setting == "dtype":
            torch.set_default_dtype(torch.float64)
        else:
            torch.set_default_device("meta")
        got = everything()[:3]
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    for one, other in zip(got, expected, strict=False):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


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
