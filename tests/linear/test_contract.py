"""What every method promises alike."""

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import sklearn
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold

import vlalign_lib.linear
from vlalign_lib.linear import CCA, CFA, JRL, LGCFL, KernelCCA, SemanticMatching
from vlalign_lib.metrics import mean_reciprocal_rank

ESTIMATORS = {
    "cca": CCA(n_components=3),
    "cca-pca": CCA(n_components=3, pca=(6, 0.9)),
    "kernel": KernelCCA(n_components=3),
    "kernel-linear": KernelCCA(n_components=3, kernel=("rbf", "linear"), gamma=(0.1, None)),
    "kernel-landmarks": KernelCCA(n_components=3, landmarks=20, random_state=0),
    "cfa": CFA(n_components=3),
    "sm": SemanticMatching(),
    "scm": SemanticMatching(on=CCA(n_components=3), space="log"),
    "scm-kernel": SemanticMatching(on=KernelCCA(n_components=3)),
    "lgcfl": LGCFL(),
    "lgcfl-groups": LGCFL(sparsity=2.0, groups=(3, (0, 0, 1, 1, 2))),
    "jrl": JRL(neighbours=10),
    "jrl-votes": JRL(neighbours=10, graph="released", space="votes"),
}


@pytest.fixture(params=ESTIMATORS)
def estimator(request):
    return clone(ESTIMATORS[request.param])


@pytest.fixture
def pairs(paired_views):
    x, y = paired_views(60, 8, 5, noise=0.3)
    return x, y, (x[:, 0] > np.median(x[:, 0])) + 2 * (x[:, 1] > np.median(x[:, 1]))


def test_every_public_estimator_is_tested_here():
    public = {
        thing
        for name in vlalign_lib.linear.__all__
        if inspect.isclass(thing := getattr(vlalign_lib.linear, name))
    }
    assert {type(e) for e in ESTIMATORS.values()} == public
    assert all(issubclass(thing, BaseEstimator) for thing in public)


def test_scikit_learns_habits(estimator, pairs):
    before = estimator.get_params()
    with pytest.raises(NotFittedError):
        estimator.embed_images(pairs[0])
    with pytest.raises(NotFittedError):
        estimator.embed_texts(pairs[1])
    with pytest.raises(NotFittedError):
        estimator.score(pairs[0], pairs[1])
    assert estimator.fit(*pairs, validation=pairs) is estimator
    after = estimator.get_params()
    assert {n: repr(v) for n, v in after.items()} == {n: repr(v) for n, v in before.items()}
    assert "random_state" in after
    fresh = clone(estimator)
    with pytest.raises(NotFittedError):
        fresh.embed_images(pairs[0])
    assert type(estimator).__name__ in repr(estimator)
    assert estimator.n_features_in_ == 8
    assert estimator.set_params(random_state=5).random_state == 5
    with pytest.raises(ValueError, match="Invalid parameter"):
        estimator.set_params(nonsense=1)


def test_same_data_same_answer_and_the_data_stay_as_they_were(estimator, pairs):
    x, y, labels = (part.copy() for part in pairs)
    for part in (x, y, labels):
        part.flags.writeable = False
    first = clone(estimator).fit(x, y, labels)
    second = clone(estimator).fit(x, y, labels)
    np.testing.assert_array_equal(first.embed_images(x), second.embed_images(x))
    np.testing.assert_array_equal(first.embed_texts(y), second.embed_texts(y))
    np.testing.assert_array_equal(x, pairs[0])


def test_either_view_embeds_alone_into_one_space(estimator, pairs):
    x, y, _ = pairs
    estimator.fit(*pairs)
    u, v = estimator.embed_images(x), estimator.embed_texts(y[:7])
    assert u.shape == (60, estimator.n_components_)
    assert v.shape == (7, estimator.n_components_)
    assert u.dtype == v.dtype == np.float64
    assert np.isfinite(u).all()
    np.testing.assert_allclose(estimator.embed_images(x[:1]), u[:1], atol=1e-10)


def test_score_is_the_mean_reciprocal_rank_of_both_directions(estimator, pairs):
    x, y, _ = pairs
    estimator.fit(*pairs)
    u, v = estimator.embed_images(x), estimator.embed_texts(y)
    expected = (mean_reciprocal_rank(u, v) + mean_reciprocal_rank(v, u)) / 2
    assert estimator.score(x, y) == pytest.approx(expected, abs=1e-15)
    chance = (1 / np.arange(1, 61)).mean()
    assert estimator.score(x, y) > 2 * chance


def test_pictures_lists_integers_and_fortran_order_are_fine(estimator, pairs):
    x, y, labels = pairs
    x, y = np.round(x * 4), np.round(y * 4)
    expected = clone(estimator).fit(x, y, labels).embed_images(x)
    pictures = x.reshape(60, 2, 4)
    for images, texts in (
        (pictures, y),
        (x.tolist(), y.tolist()),
        (x.astype(int), y.astype(np.int16)),
        (np.asfortranarray(x), y[:, ::-1][:, ::-1]),
    ):
        model = clone(estimator).fit(images, texts, labels)
        np.testing.assert_allclose(model.embed_images(pictures), expected, atol=1e-8)


def test_tensors_are_fine(estimator, pairs):
    torch = pytest.importorskip("torch")
    x, y, labels = pairs
    expected = clone(estimator).fit(x, y, labels).embed_images(x)
    model = clone(estimator).fit(*(torch.from_numpy(part) for part in pairs))
    np.testing.assert_allclose(model.embed_images(torch.from_numpy(x)), expected, atol=1e-12)


def bad_rows(pairs):
    x, y, labels = pairs
    hole = x.copy()
    hole[7, 2] = np.nan
    return {
        "unpaired": ((x, y[:-1], labels), "images has 60 rows and texts has 59"),
        "one row": ((x[:1], y[:1], labels[:1]), "images: needs at least 2 rows, got 1"),
        "one axis": ((x[:, 0], y, labels), r"images: expected \(n, d\)"),
        "not a number": ((hole, y, labels), r"images: 1 row\(s\) hold NaN or infinity.* row 7"),
        "infinite": ((x, np.where(y == y[3, 1], np.inf, y), labels), "texts: 1 row"),
        "constant": ((np.ones_like(x), y, labels), "images: all 8 columns are constant"),
        "constant texts": ((x, np.zeros_like(y), labels), "texts: all 5 columns are constant"),
        "words": ((x, np.array([["a"]] * 60), labels), "texts: expected numbers"),
        "complex": ((x * 1j, y, labels), "images: expected real numbers"),
        "empty": ((x[:, :0], y, labels), "images: is empty"),
        "huge": ((x * 1e200, y, labels), "images: values too large"),
    }


CASES = ["unpaired", "one row", "one axis", "not a number", "infinite", "constant"]
CASES += ["constant texts", "words", "complex", "empty", "huge"]


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_explained(case, estimator, pairs):
    rows, message = bad_rows(pairs)[case]
    with pytest.raises(ValueError, match=message):
        estimator.fit(*rows)


def test_rows_of_another_width_are_explained(estimator, pairs):
    x, y, _ = pairs
    estimator.fit(*pairs)
    with pytest.raises(ValueError, match=r"images: expected 8 numbers a row.*got 5.*swapped"):
        estimator.embed_images(y)
    with pytest.raises(ValueError, match=r"texts: expected 5 numbers a row, as in fit, got 8"):
        estimator.score(x, x)
    with pytest.raises(ValueError, match="images has 60 rows and texts has 59"):
        estimator.score(x, y[1:])
    with pytest.raises(ValueError, match="NaN"):
        estimator.embed_images(np.full((1, 8), np.nan))


@pytest.mark.filterwarnings("ignore:n_components=3")
def test_two_pairs_are_enough_to_answer(estimator, pairs):
    x, y, _ = pairs
    estimator.fit(x[:2], y[:2], [0, 1])
    assert np.isfinite(estimator.embed_images(x)).all()
    assert np.isfinite(estimator.embed_texts(y)).all()


@pytest.mark.filterwarnings("ignore:n_components=3")
@pytest.mark.parametrize("n", [6, 7, 8, 9, 10])
def test_fewer_pairs_than_dimensions(n, estimator, pairs):
    x, y, _ = pairs
    estimator.fit(x[:n], y[:n], np.arange(n) % 2)
    assert np.isfinite(estimator.embed_images(x)).all()
    assert np.isfinite(estimator.score(x, y))


@pytest.mark.parametrize(
    ("estimator", "grid", "best"),
    [
        (CCA(3), {"reg": [1e-4, 1e9]}, {"reg": 1e-4}),
        (CCA(), {"n_components": [1, 3]}, {"n_components": 3}),
        (KernelCCA(3), {"gamma": [1e-6, 1e3]}, {"gamma": 1e-6}),
        (CFA(), {"n_components": [1, 3]}, {"n_components": 3}),
    ],
)
def test_grid_search(estimator, grid, best, pairs):
    x, y, _ = pairs
    search = GridSearchCV(estimator, grid, cv=KFold(3)).fit(x.reshape(60, 2, 4), y)
    assert search.best_params_ == best
    assert 0 < search.best_score_ <= 1
    assert search.best_estimator_.embed_images(x).shape[0] == 60


def test_grid_search_hands_labels_through(pairs):
    x, y, labels = pairs
    labels = np.where(np.arange(60) < 20, labels, labels % 3)  # class 3 is in the first fold only
    scm = SemanticMatching(on=CCA(3))
    grid = {"on__n_components": [1, 3], "reg": [1e-3, 1e6]}
    search = GridSearchCV(scm, grid, cv=KFold(3)).fit(x, y, labels=labels)
    assert search.best_params_ == {"on__n_components": 3, "reg": 1e-3}
    for method in (LGCFL(), JRL(neighbours=10)):
        search = GridSearchCV(method, {"sparsity": [1.0, 1e5]}, cv=KFold(3))
        assert search.fit(x, y, labels=labels).best_params_ == {"sparsity": 1.0}
    with sklearn.config_context(enable_metadata_routing=True):
        routed = SemanticMatching().set_fit_request(labels=True)
        search = GridSearchCV(routed, {"reg": [1e-3, 1.0]}, cv=3).fit(x, y, labels=labels)
    assert search.best_score_ > 0


def test_what_is_saved_comes_back(estimator, pairs, tmp_path):
    x, y, _ = pairs
    estimator.fit(*pairs)
    path = tmp_path / "model.safetensors"
    estimator.save(path)
    loaded = type(estimator).load(path)
    assert repr(loaded) == repr(estimator)
    np.testing.assert_array_equal(loaded.embed_images(x), estimator.embed_images(x))
    np.testing.assert_array_equal(loaded.embed_texts(y), estimator.embed_texts(y))
    learned = {name for name in vars(estimator) if name.endswith("_")}
    assert {name for name in vars(loaded) if name.endswith("_")} == learned
    assert loaded.n_components_ == estimator.n_components_
    assert clone(loaded).fit(*pairs).score(x, y) == estimator.score(x, y)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_file_is_tensors_and_json(pairs, tmp_path):
    path = tmp_path / "scm.safetensors"
    SemanticMatching(on=CCA(n_components=np.int64(3), reg=np.float64(0.5))).fit(*pairs).save(path)
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["vlalign_lib.linear"])
        names = set(file.keys())
    assert header["class"] == "SemanticMatching"
    assert header["params"]["on"]["params"]["reg"] == 0.5
    assert header["learned"]["on_"]["class"] == "CCA"
    assert header["versions"]["vlalign_lib"] == vlalign_lib.__version__
    assert {"image_weights_", "on_.image_weights_"} <= names


def test_load_refuses_what_it_should(pairs, tmp_path):
    path = tmp_path / "cca.safetensors"
    CCA(3).fit(*pairs).save(path)
    with pytest.raises(ValueError, match=r"holds a CCA, not a CFA; use CCA\.load"):
        CFA.load(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        CCA.load(path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(ValueError, match="not a safetensors file"):
        CCA.load(path)
    save_file({"weight": np.ones(3)}, path)
    with pytest.raises(ValueError, match="not an estimator saved by vlalign_lib"):
        CCA.load(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        CCA.load(tmp_path / "nothing")
    with pytest.raises(NotFittedError):
        CCA().save(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "written in format 2"),
        ({"format": "new"}, "header is damaged"),
        ({"params": {"colour": "red"}}, "header is damaged"),
        ({"learned": {"fit": 3}}, "header is damaged"),
        ({"learned": {"__class__": 3}}, "header is damaged"),
        ({"learned": {"on_": {"class": "os.system", "params": {}, "learned": {}}}}, "damaged"),
        ({"class": None}, "header is damaged"),
        ("{", "header is damaged"),
        ("[]", "header is damaged"),
    ],
)
def test_load_refuses_an_altered_header(change, message, pairs, tmp_path):
    path = tmp_path / "sm.safetensors"
    SemanticMatching().fit(*pairs).save(path)
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["vlalign_lib.linear"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = change if isinstance(change, str) else json.dumps(header | change)
    save_file(arrays, path, metadata={"vlalign_lib.linear": text})
    with pytest.raises(ValueError, match=message):
        SemanticMatching.load(path)


def test_a_write_that_fails_leaves_the_old_file(pairs, tmp_path, monkeypatch):
    path = tmp_path / "cca.safetensors"
    CCA(3).fit(*pairs).save(path)
    before = path.read_bytes()

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        CCA(2).fit(*pairs).save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["cca.safetensors"]


def test_a_random_state_that_cannot_be_written_is_left_out(pairs, tmp_path):
    path = tmp_path / "kernel.safetensors"
    model = KernelCCA(2, landmarks=20, random_state=np.random.default_rng(0)).fit(*pairs)
    model.save(path)
    loaded = KernelCCA.load(path)
    assert loaded.random_state is None
    np.testing.assert_array_equal(loaded.embed_images(pairs[0]), model.embed_images(pairs[0]))


def test_importing_and_fitting_leave_torch_alone():
    program = (
        "import sys, numpy as np, vlalign_lib.linear as linear\n"
        "rng = np.random.default_rng(0)\n"
        "x = rng.normal(size=(20, 3))\n"
        "linear.SemanticMatching(on=linear.CCA(2)).fit(x, x, np.arange(20) % 2)\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
