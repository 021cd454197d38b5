"""The deep-feature sets: layout on disk, loaders, twins, what is here and what is not."""

import json
import os
import shutil

import numpy as np
import pytest

import vlalign_lib.data as data
from vlalign_lib.data import DataUnavailable, available, card, fetch, synthetic_twin, verify
from vlalign_lib.data._registry import SETS

SIZES = {
    "wikipedia_deep": ((2173, 231, 462), 3000, 10),
    "pascal_sentences": ((800, 100, 100), 1000, 20),
    "nus_wide_10k": ((8000, 1000, 1000), 1000, 10),
}
FILES = ["images.npy", "labels.npy", "meta.json", "texts.npy"]


def load(name, **arguments):
    return getattr(data, f"load_{name}")(**arguments)


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLALIGN_MIRROR", raising=False)


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return synthetic_twin("pascal_sentences", tmp_path_factory.mktemp("twin"))


@pytest.fixture
def sound(twin, tmp_path):
    """Files as somebody might have made them, in the cache: a twin that does not say so."""
    return as_if_made(twin, tmp_path / "cache" / "pascal_sentences")


def as_if_made(twin, folder):
    shutil.copytree(twin, folder)
    change(folder, twin=False)
    return folder


def change(folder, **entries):
    path = folder / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize("name", SIZES)
def test_twin_has_the_official_shapes(name, tmp_path):
    sizes, width, classes = SIZES[name]
    n = sum(sizes)
    folder = synthetic_twin(name, tmp_path / "twin")
    assert sorted(path.name for path in folder.iterdir()) == FILES
    ds = load(name, root=folder)
    assert ds.name == f"{name} (synthetic twin)"
    assert (ds.images.shape, ds.images.dtype) == ((n, 4096), np.float32)
    assert (ds.texts.shape, ds.texts.dtype) == ((n, width), np.float32)
    assert tuple(len(rows) for rows in ds.splits.values()) == sizes
    assert np.concatenate(list(ds.splits.values())).tolist() == list(range(n))
    for part in ("train", "val", "test"):
        counts = np.bincount(ds.labels[ds.splits[part]], minlength=classes)
        assert counts.max() - counts.min() <= 1
    assert ds.captions is None
    assert len(set(ds.ids)) == n
    assert ds.images.min() == 0  # after a ReLU
    assert (ds.texts >= 0).all()
    assert (ds.texts % 1 == 0).all()
    megabytes = sum(path.stat().st_size for path in folder.glob("*.npy")) / 1e6
    assert f"| Size | {megabytes:.0f} MB" in card(name).text


def test_twins_have_something_to_find_and_depend_on_the_seed(twin, tmp_path):
    ds = load("pascal_sentences", root=twin)
    train, test = ds.split("train"), ds.split("test")
    for view in ("images", "texts"):
        rows, new = getattr(train, view), getattr(test, view)
        means = np.stack([rows[train.labels == c].mean(axis=0) for c in range(20)])
        distances = ((new[:, None] - means) ** 2).sum(axis=2)
        assert (distances.argmin(axis=1) == test.labels).mean() > 0.9
    other = synthetic_twin("pascal_sentences", tmp_path / "other", seed=1)
    assert (other / "images.npy").read_bytes() != (twin / "images.npy").read_bytes()
    again = synthetic_twin("pascal_sentences", tmp_path / "again")
    for file in FILES:
        assert (again / file).read_bytes() == (twin / file).read_bytes()


def test_a_method_runs_on_a_twin(twin):
    linear = pytest.importorskip("vlalign_lib.linear")
    metrics = pytest.importorskip("vlalign_lib.metrics")
    ds = load("pascal_sentences", root=twin)
    train, test = ds.split("train"), ds.split("test")
    cfa = linear.CFA().fit(train.images, train.texts)
    u, v = cfa.embed_images(test.images), cfa.embed_texts(test.texts)
    assert metrics.mean_average_precision(u, v, test.labels, test.labels) > 0.3


def test_seed_cuts_anew_in_the_same_sizes(twin):
    official = load("pascal_sentences", root=twin)
    ds, again, other = (load("pascal_sentences", root=twin, seed=s) for s in (0, 0, 1))
    assert {part: len(rows) for part, rows in ds.splits.items()} == {
        "train": 800, "val": 100, "test": 100
    }  # fmt: skip
    for part, each in (("train", 40), ("val", 5), ("test", 5)):
        assert (np.bincount(ds.split(part).labels) == each).all()
        np.testing.assert_array_equal(ds.splits[part], again.splits[part])
        assert ds.splits[part].tolist() != other.splits[part].tolist()
        assert ds.splits[part].tolist() != official.splits[part].tolist()
    np.testing.assert_array_equal(ds.images, official.images)
    with pytest.raises(ValueError, match="seed: expected None"):
        load("pascal_sentences", root=twin, seed=-1)


@pytest.mark.parametrize("name", SIZES)
def test_what_is_not_here_says_how_to_make_it(name):
    assert not available(name)
    assert {state.state for state in verify(name)} == {"missing"}
    assert len(verify(name)) == 4
    for call in (lambda: load(name), lambda: fetch(name)):
        with pytest.raises(DataUnavailable, match=f"vlalign data features {name} --images") as told:
            call()
        assert "nothing to download" in str(told.value)
        assert "VLALIGN_MIRROR" in str(told.value)


def test_what_is_in_the_cache_is_here(sound):
    assert available("pascal_sentences")
    assert [state.state for state in verify("pascal_sentences")] == ["ok"] * 4
    assert sorted(path.name for path in fetch("pascal_sentences")) == FILES
    ds = load("pascal_sentences")
    assert ds.name == "pascal_sentences"
    assert not ds.images.flags.writeable


def test_what_is_in_a_mirror_folder_is_here(twin, tmp_path, monkeypatch):
    as_if_made(twin, tmp_path / "mirror" / "pascal_sentences")
    monkeypatch.setenv("VLALIGN_MIRROR", str(tmp_path / "mirror"))
    assert available("pascal_sentences")
    assert load("pascal_sentences").images.shape == (1000, 4096)
    assert fetch("pascal_sentences")[0].parent == tmp_path / "mirror" / "pascal_sentences"
    monkeypatch.setenv("VLALIGN_MIRROR", "https://localhost/mirror")
    assert not available("pascal_sentences")


def test_a_twin_in_the_cache_is_not_the_data(twin, tmp_path):
    shutil.copytree(twin, tmp_path / "cache" / "pascal_sentences")
    assert not available("pascal_sentences")
    assert "synthetic twin" in verify("pascal_sentences")[0].detail
    for call in (load, lambda name: fetch(name)):
        with pytest.raises(DataUnavailable, match="belongs to a synthetic twin"):
            call("pascal_sentences")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: change(f, format=2), "is of format 2; install a newer"),
        (lambda f: change(f, name="nus_wide_10k"), "belongs to nus_wide_10k"),
        (lambda f: change(f, splits={"train": 1000}), "has splits"),
        (lambda f: change(f, label_names=["cat"]), "names other classes"),
        (lambda f: change(f, sha256={}), "lacks check sums"),
        (lambda f: change(f, ids=["a"]), "names 1 pairs, expected 1000"),
        (lambda f: change(f, vocabulary=["A"]), "has 1 words for 1000"),
        (lambda f: change(f, made=3), "is damaged"),
        (lambda f: (f / "meta.json").write_text("[]"), "is damaged"),
        (lambda f: (f / "meta.json").write_text('{"format"'), "is damaged"),
        (lambda f: (f / "meta.json").write_bytes(b"\xff\xfe"), "not the file it should be"),
    ],
)
def test_a_damaged_description_is_seen(damage, message, sound):
    damage(sound)
    assert not available("pascal_sentences")
    assert verify("pascal_sentences")[0].state == "damaged"
    with pytest.raises(DataUnavailable, match=message):
        load("pascal_sentences")


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("images.npy", np.zeros((1000, 4095), np.float32), r"is float32 \(1000, 4095\), expected"),
        ("texts.npy", np.zeros((1000, 1000)), "is float64"),
        ("labels.npy", np.full(1000, 20), r"expected classes 0 … 19"),
        ("labels.npy", np.zeros(1000, np.int32), "is int32"),
        ("texts.npy", np.full((1000, 1000), np.nan, np.float32), "holds NaN or infinity"),
        ("images.npy", np.array([{}, []], dtype=object), "not the file it should be"),
    ],
)
def test_arrays_that_are_not_what_they_should_be_are_seen(file, values, message, sound):
    np.save(sound / file, values, allow_pickle=True)
    assert not available("pascal_sentences")
    with pytest.raises(DataUnavailable, match=message) as told:
        load("pascal_sentences")
    assert str(sound / file) in str(told.value)


def test_files_that_are_cut_or_gone_are_seen(sound):
    path = sound / "images.npy"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataUnavailable, match="not the file it should be"):
        load("pascal_sentences")
    assert [s.state for s in verify("pascal_sentences")] == ["ok", "damaged", "ok", "ok"]
    path.unlink()
    assert [s.state for s in verify("pascal_sentences")] == ["ok", "missing", "ok", "ok"]
    with pytest.raises(DataUnavailable, match=r"images\.npy is not there"):
        load("pascal_sentences")
    change(sound, format=2)
    states = [s.state for s in verify("pascal_sentences")]
    assert states == ["damaged", "missing", "damaged", "damaged"]


def test_an_archive_in_place_of_an_array_is_seen(sound):
    with open(sound / "texts.npy", "wb") as file:
        np.savez(file, texts=np.zeros(3))
    with pytest.raises(DataUnavailable, match="is an archive"):
        load("pascal_sentences")


def test_one_changed_number_is_seen(sound):
    path = sound / "texts.npy"
    texts = np.load(path)
    texts[3, 5] += 1
    np.save(path, texts)
    assert not available("pascal_sentences")
    state = verify("pascal_sentences")[2]
    assert (state.path, state.state) == (path, "damaged")
    assert "altered" in state.detail
    with pytest.raises(DataUnavailable, match="altered"):
        fetch("pascal_sentences")


@pytest.mark.parametrize("name", SIZES)
def test_card_has_the_registered_facts(name):
    text, features = card(name).text, SETS[name].features
    sizes, width, classes = SIZES[name]
    assert (features.sizes, features.text_width) == (sizes, width)
    parts = f"{sizes[0]:,} train, {sizes[1]:,} val, {sizes[2]:,} test"
    assert f"| Pairs | {sum(sizes):,}: {parts} |" in text
    assert f"(n, {width}) float32" in text
    assert f"`images.npy` ({sum(sizes)}×4096 float32)" in text
    assert f"`texts.npy` ({sum(sizes)}×{width} float32)" in text
    assert ", ".join(features.label_names) in text
    assert f"vlalign data features {name} --images" in text
    assert len(features.label_names) == classes
    assert f"load_{name}(seed=None, root=None)" in text
    assert "could not be checked" in text
