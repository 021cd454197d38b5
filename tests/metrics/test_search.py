"""The best answers in order: a full sort as oracle, ties, tensors, the device's code, bad input."""

import numpy as np
import pytest
import torch

from vlalign_lib.metrics import nearest, recall_at_k

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


def score(query, item, similarity):
    if similarity == "euclidean":
        return -sum((a - b) ** 2 for a, b in zip(query, item, strict=True))
    dot = sum(a * b for a, b in zip(query, item, strict=True))
    if similarity == "dot":
        return dot
    lengths = sum(a * a for a in query) * sum(b * b for b in item)
    return dot / lengths**0.5 if lengths else 0.0


def slowly(queries, gallery, k, similarity):
    """Sort everything: higher scores first, earlier rows first among equal ones."""
    rows = []
    for query in queries.tolist():
        scores = [score(query, item, similarity) for item in gallery.tolist()]
        rows.append(sorted(range(len(scores)), key=lambda j: (-scores[j], j))[:k])
    return rows


def views(n=40, m=90, d=6, dtype=np.float64):
    rng = np.random.default_rng(n + m)
    queries, gallery = rng.standard_normal((n, d)), rng.standard_normal((m, d))
    return queries.astype(dtype), gallery.astype(dtype)


def whole():
    """Items on corners of a cube around 0, so that scores are exact and most of them tie."""
    rng = np.random.default_rng(7)
    corners = rng.choice([-1.0, 1.0], (40, 4))
    return rng.choice([-1.0, 1.0], (30, 4)), rng.permutation(np.concatenate([corners, -corners]))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("k", [1, 5, 22, 23, 89, 90])
def test_a_full_sort(k, similarity, dtype, agrees):
    queries, gallery = views(dtype=dtype)
    found = nearest(queries, gallery, k, similarity=similarity)
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.int64
    expected = slowly(queries, gallery, k, similarity)
    agrees("metrics.nearest", found, expected, "loop", "a full sort of the scores", 0.0)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("k", [1, 7, 19, 20, 80])
def test_of_equal_scores_the_earlier_row_is_first(k, similarity):
    queries, gallery = whole()
    found = nearest(queries, gallery, k, similarity=similarity)
    assert found.tolist() == slowly(queries, gallery, k, similarity)


def test_one_point_gives_the_rows_in_their_order():
    for m, k in ((100, 10), (100, 100), (12, 10)):
        assert nearest(np.ones((2, 4)), np.ones((m, 4)), k).tolist() == [list(range(k))] * 2


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_both_ways_to_the_best_agree(dtype):
    scores = np.random.default_rng(0).integers(-4, 5, (50, 41)).astype(dtype)
    scores[scores == 0] *= -1  # a negative zero is a zero
    order = np.argsort(-scores, axis=1, kind="stable")
    for k in (1, 2, 10, 11, 40, 41):  # up to 10 by a partition, above by a sort
        found = nearest(np.eye(50), np.eye(41), k, similarity=lambda q, g: scores)
        np.testing.assert_array_equal(found, order[:, :k])


def test_more_queries_than_fit_one_block():
    queries, gallery = views(n=2500, m=30)
    found = nearest(queries, gallery, 3)
    for start in (0, 1020, 2495):
        assert found[start : start + 5].tolist() == slowly(
            queries[start : start + 5], gallery, 3, "cosine"
        )


def test_ten_are_the_default_and_agree_with_recall():
    queries, gallery = views(n=90)
    found = nearest(queries, gallery)
    assert found.shape == (90, 10)
    inside = (found == np.arange(90)[:, None]).any(axis=1).mean()
    assert recall_at_k(queries, gallery)[10] == pytest.approx(inside, rel=1e-12)


def test_a_function_scores():
    queries, gallery = views()
    shapes = []

    def taxicab(block, items):
        shapes.append((block.shape, items.shape))
        return -np.abs(block[:, None] - items).sum(-1)

    found = nearest(queries, gallery, 4, similarity=taxicab)
    for query, rows in zip(queries, found, strict=True):
        distances = np.abs(query - gallery).sum(-1)
        assert rows.tolist() == np.argsort(distances)[:4].tolist()
    assert shapes == [((40, 6), (90, 6))]


def test_whole_numbers_truths_and_half_precision_of_a_function():
    table = np.array([[3, 9, 9, 1], [0, 0, 1, 0]])
    for scores in (table, table.astype(np.uint8), table.astype(np.float16)):
        found = nearest(np.eye(2), np.eye(4), 3, similarity=lambda q, g, s=scores: s)
        assert found.tolist() == [[1, 2, 0], [2, 0, 1]]
    found = nearest(np.eye(2), np.eye(4), 2, similarity=lambda q, g: table > 2)
    assert found.tolist() == [[0, 1], [0, 1]]


def test_a_row_of_zeros():
    gallery = np.array([[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    queries = np.array([[2.0, 0.0], [0.0, 0.0]])
    assert nearest(queries, gallery, 4).tolist() == [[2, 1, 3, 0], [0, 1, 2, 3]]
    assert nearest(queries, gallery, 4, similarity="euclidean").tolist() == [
        [2, 1, 3, 0],
        [1, 3, 0, 2],
    ]


def test_lengths_matter_to_a_product_only():
    queries, gallery = views()
    scale = np.linspace(1, 9, 90)[:, None]
    np.testing.assert_array_equal(nearest(queries, gallery * scale), nearest(queries, gallery))
    assert (
        nearest(queries, gallery * scale, similarity="dot")
        != nearest(queries, gallery, similarity="dot")
    ).any()
    turned = np.linalg.qr(np.random.default_rng(1).standard_normal((6, 6)))[0]
    for similarity in SIMILARITIES:
        np.testing.assert_array_equal(
            nearest(queries @ turned, gallery @ turned, similarity=similarity),
            nearest(queries, gallery, similarity=similarity),
        )


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_numbers_of_extreme_size(size):
    queries, gallery = views(dtype=np.float32)
    for similarity in SIMILARITIES:
        np.testing.assert_array_equal(
            nearest(queries * np.float32(size), gallery * np.float32(size), similarity=similarity),
            nearest(queries, gallery, similarity=similarity),
        )


def test_pictures_lists_and_a_gallery_of_one():
    rng = np.random.default_rng(2)
    pictures, asked = rng.random((30, 4, 4)), rng.random((5, 16))
    np.testing.assert_array_equal(
        nearest(asked, pictures), nearest(asked.tolist(), pictures.reshape(30, 16).tolist())
    )
    assert nearest(asked, pictures[:1], k=1).tolist() == [[0]] * 5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_tensors_get_a_tensor_beside_them(similarity, dtype, device):
    for queries, gallery in (views(), whole()):
        asked = torch.tensor(queries, dtype=dtype, device=device, requires_grad=True)
        items = torch.tensor(gallery, dtype=dtype, device=device)
        for k in (3, 40):
            expected = slowly(asked.detach().cpu().numpy(), items.cpu().numpy(), k, similarity)
            found = nearest(asked, items, k, similarity=similarity)
            assert isinstance(found, torch.Tensor)
            assert found.dtype == torch.int64
            assert found.device == items.device
            assert not found.requires_grad
            assert found.tolist() == expected


@pytest.mark.parametrize("device", DEVICES)
def test_the_queries_decide_on_the_kind(device):
    queries, gallery = views()
    expected = nearest(queries, gallery, 5)
    here, there = torch.from_numpy(queries), torch.from_numpy(gallery).to(device)
    array = nearest(queries, there, 5)
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, expected)
    found = nearest(here, there, 5)
    assert found.device.type == "cpu"
    np.testing.assert_array_equal(found.numpy(), expected)
    np.testing.assert_array_equal(nearest(here.to(device), gallery, 5).cpu(), expected)


@pytest.mark.parametrize("device", DEVICES)
def test_a_function_of_tensors(device):
    queries, gallery = views()
    asked, items = (torch.tensor(rows, device=device) for rows in (queries, gallery))
    found = nearest(asked, items, 6, similarity=lambda q, g: -torch.cdist(q, g))
    np.testing.assert_array_equal(found.cpu(), nearest(queries, gallery, 6, similarity="euclidean"))


def test_half_precision_is_read_as_single():
    queries, gallery = (torch.tensor(rows).half() for rows in views())
    assert nearest(queries, gallery, 4).tolist() == slowly(queries, gallery, 4, "cosine")


@pytest.mark.usefixtures("device_code")
class TestDeviceCode:
    """The code for CUDA is plain torch: run it on the CPU, where it has to agree as well."""

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("similarity", SIMILARITIES)
    @pytest.mark.parametrize("k", [1, 20, 80])
    def test_named(self, k, similarity, dtype):
        for queries, gallery in (views(dtype=dtype), whole()):
            found = nearest(torch.tensor(queries), gallery, k, similarity=similarity)
            assert isinstance(found, torch.Tensor)
            assert found.tolist() == slowly(queries, gallery, k, similarity)

    def test_several_blocks(self):
        queries, gallery = views(n=2500, m=30)
        found = nearest(queries, torch.tensor(gallery), 3, similarity="dot")
        assert isinstance(found, np.ndarray)
        assert found[1000:1100].tolist() == slowly(queries[1000:1100], gallery, 3, "dot")

    def test_a_function_and_negative_zeros(self):
        scores = torch.tensor([[-0.0, 0.0, 1.0, -0.0, 0.0]])
        found = nearest(torch.ones(1, 1), torch.ones(5, 1), 4, similarity=lambda q, g: scores)
        assert found.tolist() == [[2, 0, 1, 3]]

    def test_bad_scores(self):
        with pytest.raises(ValueError, match="NaN or infinity"):
            nearest(
                torch.ones(1, 1), torch.ones(2, 1), 1, similarity=lambda q, g: q @ g.T * torch.nan
            )


@pytest.mark.parametrize("k", [2.5, True, "2", None, 2.0, [1, 2]])
def test_a_k_that_is_no_whole_number(k):
    with pytest.raises(ValueError, match="k: expected a whole number"):
        nearest(*views(), k)


def test_a_k_out_of_range():
    queries, gallery = views()
    for k in (0, -1):
        with pytest.raises(ValueError, match=f"k: expected at least 1, got {k}"):
            nearest(queries, gallery, k)
    with pytest.raises(ValueError, match="k=91, but the gallery has 90 items"):
        nearest(queries, gallery, 91)
    assert nearest(queries, gallery, np.int32(90)).shape == (40, 90)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"queries": np.ones((3, 5))}, "queries have 5 dimensions and the gallery has 4"),
        ({"queries": np.ones(4)}, "queries: expected .n, d., one row an item"),
        ({"gallery": np.ones(4)}, "gallery: expected .n, d., one row an item"),
        ({"queries": np.ones((0, 4))}, "queries: expected at least one row"),
        ({"gallery": np.ones((0, 4))}, "gallery: expected at least one row"),
        ({"queries": np.full((3, 4), np.nan)}, "queries: 3 row.s. hold NaN or infinity"),
        ({"gallery": np.diag([1, np.inf, 1, 1])}, "gallery: 1 row.s. hold NaN .* row 1"),
        ({"gallery": np.array([["a"] * 4] * 3)}, "gallery: expected numbers"),
        ({"similarity": "cosinus"}, "similarity: expected one of 'cosine'"),
        ({"similarity": "cosinus", "gallery": np.ones((1, 4))}, "similarity: expected one of"),
        ({"similarity": lambda q, g: np.ones((3, 3))}, "similarity returned shape .3, 3."),
        ({"similarity": lambda q, g: np.full((3, 6), np.nan)}, "scores hold NaN or infinity"),
        ({"similarity": lambda q, g: np.full((3, 6), -np.inf)}, "scores hold NaN or infinity"),
    ],
)
def test_bad_input_is_explained(change, message):
    given = {"queries": np.ones((3, 4)), "gallery": np.ones((6, 4)), "k": 2, **change}
    with pytest.raises(ValueError, match=message):
        nearest(**given)
