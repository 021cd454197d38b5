"""Wikipedia's features: from a synthetic twin everywhere, from the real files where they are."""

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from vlalign_lib.data import (
    DataUnavailable,
    available,
    cache_dir,
    fetch,
    load_wikipedia,
    synthetic_twin,
    verify,
)

SIZES = {"train": 1942, "val": 231, "test": 693}
FILES = [
    "categories.list",
    "raw_features.mat",
    "testset_txt_img_cat.list",
    "trainset_txt_img_cat.list",
]


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return synthetic_twin("wikipedia", tmp_path_factory.mktemp("twin"))


@pytest.fixture
def own_twin(tmp_path):
    return synthetic_twin("wikipedia", tmp_path / "twin")


@pytest.fixture(params=["twin", "real"])
def ds(request, twin):
    if request.param == "real":
        if not available("wikipedia"):
            pytest.skip("the files are neither in the cache nor in a mirror that is a folder")
        return load_wikipedia()
    return load_wikipedia(root=twin)


def test_shapes_splits_and_classes(ds):
    assert ds.images.shape == (2866, 128)
    assert ds.texts.shape == (2866, 10)
    assert ds.images.dtype == ds.texts.dtype == np.float32
    assert len(ds.label_names) == 10
    assert set(ds.labels.tolist()) == set(range(10))
    assert ds.captions is None
    assert len(set(ds.ids)) == 2866
    assert {name: len(rows) for name, rows in ds.splits.items()} == SIZES
    np.testing.assert_allclose(ds.images.sum(axis=1), 1, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ds.texts.sum(axis=1), 1, rtol=0, atol=1e-5)


def test_official_test_rows_are_the_published_ones(ds):
    assert ds.splits["test"].tolist() == list(range(2173, 2866))
    together = np.concatenate([ds.splits["train"], ds.splits["val"]])
    assert sorted(together.tolist()) == list(range(2173))
    counts = np.bincount(ds.labels[:2173])
    exact = counts * 231 / 2173
    assert (np.abs(np.bincount(ds.split("val").labels) - exact) < 1).all()


def test_real_rows_are_those_of_the_files():
    if not available("wikipedia"):
        pytest.skip("the files are neither in the cache nor in a mirror that is a folder")
    ds = load_wikipedia()
    assert ds.name == "wikipedia"
    path = fetch("wikipedia", progress=False)[0]
    arrays = loadmat(path)
    np.testing.assert_array_equal(ds.split("test").images, arrays["I_te"].astype(np.float32))
    np.testing.assert_array_equal(ds.split("test").texts, arrays["T_te"].astype(np.float32))
    line = (path.parent / "testset_txt_img_cat.list").read_text().splitlines()[5].split("\t")
    row = 2173 + 5
    assert ds.ids[row] == line[1]
    assert ds.labels[row] == int(line[2]) - 1
    assert ds.label_names[0] == "art"
    assert ds.label_names[9] == "warfare"
    copy = load_wikipedia(root=path.parent)
    assert copy.name == "wikipedia"  # the check sums are right
    assert [state.state for state in verify("wikipedia")] == ["ok"] * 4


def test_seeds_cut_all_pairs_anew(twin):
    parts = [load_wikipedia(root=twin, seed=seed) for seed in (0, 1, 0)]
    tests = [tuple(ds.splits["test"]) for ds in parts]
    assert tests[0] == tests[2] != tests[1]
    for ds in parts:
        assert {name: len(rows) for name, rows in ds.splits.items()} == SIZES
        exact = np.bincount(ds.labels) * 693 / 2866
        assert (np.abs(np.bincount(ds.split("test").labels) - exact) < 2).all()
        assert ds.splits["test"].min() < 2173
    np.testing.assert_array_equal(parts[0].images, parts[1].images)


def test_a_twin_does_not_pass_for_the_data(twin):
    ds = load_wikipedia(root=twin)
    assert ds.name.startswith("wikipedia (unchecked")
    assert ds.label_names[0] == "class0"


def test_the_twin_depends_on_its_seed_alone(tmp_path, twin):
    again = load_wikipedia(root=synthetic_twin("wikipedia", tmp_path / "a"))
    other = load_wikipedia(root=synthetic_twin("wikipedia", tmp_path / "b", seed=1))
    first = load_wikipedia(root=twin)
    np.testing.assert_array_equal(first.images, again.images)
    assert first.ids == again.ids
    assert not np.array_equal(first.images, other.images)
    assert sorted(path.name for path in twin.iterdir()) == FILES


def test_the_twin_has_something_to_find(twin):
    train = load_wikipedia(root=twin).split("train")
    for view in (train.images, train.texts):
        means = np.stack([view[train.labels == c].mean(axis=0) for c in range(10)])
        nearest = ((view[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
        assert (nearest == train.labels).mean() > 0.5  # ten classes: chance is a tenth


@pytest.mark.parametrize("name", ["digits", "glyphs"])
def test_sets_inside_dependencies_need_no_twin(name, tmp_path):
    with pytest.raises(ValueError, match="needs no twin"):
        synthetic_twin(name, tmp_path)


def write_features(folder, **changes):
    arrays = loadmat(folder / "raw_features.mat")
    arrays = {name: arrays[name] for name in ("I_tr", "T_tr", "I_te", "T_te")}
    for name, value in changes.items():
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value(arrays[name])
    savemat(folder / "raw_features.mat", arrays)


def with_nan(matrix):
    matrix[3, 4] = np.nan
    return matrix


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"I_tr": None}, "expected I_tr"),
        ({"I_te": lambda m: m[:-1]}, r"expected I_te \(693, 128\)"),
        ({"T_tr": lambda m: m.astype(np.float32)}, "of doubles"),
        ({"T_te": lambda m: m.astype(object)}, "expected T_te"),
        ({"T_te": lambda m: m + 1j}, "T_te"),
        ({"I_tr": with_nan}, "NaN or infinity"),
    ],
)
def test_matrices_that_are_not_what_they_should_be(own_twin, changes, message):
    write_features(own_twin, **changes)
    with pytest.raises(DataUnavailable, match=message) as caught:
        load_wikipedia(root=own_twin)
    assert "raw_features.mat" in str(caught.value)
    assert "vlalign data fetch wikipedia" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a matrix", b"MATLAB 7.3 MAT-file" + b"\0" * 600])
def test_a_matrix_file_that_is_none(own_twin, content):
    (own_twin / "raw_features.mat").write_bytes(content)
    with pytest.raises(DataUnavailable, match=r"raw_features\.mat: not the file it should be"):
        load_wikipedia(root=own_twin)


def test_a_truncated_matrix_file(own_twin):
    path = own_twin / "raw_features.mat"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataUnavailable, match=r"raw_features\.mat: not the file it should be"):
        load_wikipedia(root=own_twin)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(own_twin, name):
    (own_twin / name).unlink()
    with pytest.raises(DataUnavailable, match=name.replace(".", r"\.")):
        load_wikipedia(root=own_twin)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("trainset_txt_img_cat.list", lambda t: t[: len(t) // 2], "expected 2173 lines"),
        ("testset_txt_img_cat.list", lambda t: t.replace("\t", " "), "between tabs"),
        ("testset_txt_img_cat.list", lambda t: t.replace("\t10\n", "\t11\n"), "categories 1 … 10"),
        ("testset_txt_img_cat.list", lambda t: t.replace("\t10\n", "\tten\n"), "ten"),
        ("testset_txt_img_cat.list", lambda t: "é" + t, "testset"),
        ("categories.list", lambda t: t + "eleventh\n", "found 11"),
    ],
)
def test_lists_that_are_not_what_they_should_be(own_twin, name, change, message):
    path = own_twin / name
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(DataUnavailable, match=message):
        load_wikipedia(root=own_twin)


def test_without_files_and_network(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path))
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    monkeypatch.delenv("VLALIGN_MIRROR", raising=False)
    assert cache_dir() == tmp_path
    assert not available("wikipedia")
    with pytest.raises(DataUnavailable, match=r"wikipedia/raw_features\.mat cannot be had"):
        load_wikipedia()


def test_bad_seed(twin):
    with pytest.raises(ValueError, match="seed"):
        load_wikipedia(root=twin, seed="first")
