"""What every method of the table promises alike."""

import copy
import inspect
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold

import vlalign_lib.methods
from vlalign_lib.methods import METHODS
from vlalign_lib.metrics import mean_reciprocal_rank

DEEP = [name for name, method in METHODS.items() if "epochs" in method().get_params()]


def quick(name, **settings):
    """The method, small and short where it is trained."""
    method = METHODS[name](random_state=0)
    if name in DEEP:
        method.set_params(epochs=40, batch_size=40, hidden=(32,), channels=4, device="cpu")
    if name in DEEP and "n_components" in method.get_params():
        method.set_params(n_components=4)
    return method.set_params(**settings)


@pytest.fixture(scope="module")
def pairs():
    """240 pairs of three classes, nonlinear in a shared latent; pictures and vectors."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    latent = rng.normal(size=(240, 3)) + 3 * np.eye(3)[labels]
    images = np.tanh(latent @ rng.normal(size=(3, 64))) + 0.1 * rng.normal(size=(240, 64))
    texts = np.tanh(latent @ rng.normal(size=(3, 12))) + 0.1 * rng.normal(size=(240, 12))
    return images.reshape(240, 8, 8).astype(np.float32), texts, labels


@pytest.fixture(scope="module")
def fitted(pairs):
    return {name: quick(name).fit(*pairs) for name in METHODS}


def brief(name, **settings):
    """The method after two epochs, which is enough where bits are compared."""
    return quick(name, **({"epochs": 2} if name in DEEP else {}), **settings)


@pytest.fixture(scope="module")
def codes(pairs):
    """What each method says of both views after two epochs."""
    images, texts, labels = pairs
    methods = {name: brief(name).fit(images, texts, labels) for name in METHODS}
    return {name: (m.embed_images(images), m.embed_texts(texts)) for name, m in methods.items()}


def test_every_public_class_is_a_method_of_the_table():
    public = {
        thing
        for name in vlalign_lib.methods.__all__
        if inspect.isclass(thing := getattr(vlalign_lib.methods, name))
    }
    assert public <= set(METHODS.values())


@pytest.mark.parametrize("name", METHODS)
def test_scikit_learns_habits(name, pairs, fitted):
    method = quick(name)
    before = {key: repr(value) for key, value in method.get_params().items()}
    with pytest.raises(NotFittedError):
        method.embed_images(pairs[0])
    assert {key: repr(v) for key, v in fitted[name].get_params().items()} == before
    fresh = clone(fitted[name])
    with pytest.raises(NotFittedError):
        fresh.embed_texts(pairs[1])
    with pytest.raises(ValueError, match="Invalid parameter"):
        fresh.set_params(nonsense=1)


@pytest.mark.parametrize("name", METHODS)
def test_either_view_embeds_alone(name, pairs, fitted):
    images, texts, _ = pairs
    u, v = fitted[name].embed_images(images), fitted[name].embed_texts(texts[:7])
    assert u.shape == (240, fitted[name].n_components_)
    assert v.shape == (7, fitted[name].n_components_)
    assert u.dtype == v.dtype == np.float64
    np.testing.assert_allclose(fitted[name].embed_images(images[:2]), u[:2], atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_it_learns_something(name, pairs, fitted):
    images, texts, _ = pairs
    u, v = fitted[name].embed_images(images), fitted[name].embed_texts(texts)
    expected = (mean_reciprocal_rank(u, v) + mean_reciprocal_rank(v, u)) / 2
    assert fitted[name].score(images, texts) == pytest.approx(expected, abs=1e-12)
    assert expected > 1.5 * (1 / np.arange(1, 241)).mean()


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_bits_and_leaves_the_data_alone(name, pairs, codes):
    frozen = [part.copy() for part in pairs]
    for part in frozen:
        part.flags.writeable = False
    again = brief(name).fit(*frozen)
    np.testing.assert_array_equal(again.embed_images(pairs[0]), codes[name][0])


@pytest.mark.parametrize("name", DEEP)
def test_another_seed_gives_another_network(name, pairs, fitted):
    other = quick(name, random_state=1, epochs=1).fit(*pairs)
    one = quick(name, epochs=1).fit(*pairs)
    assert not np.allclose(other.embed_images(pairs[0]), one.embed_images(pairs[0]))


@pytest.mark.parametrize("name", METHODS)
def test_saved_and_loaded_it_says_the_same(name, pairs, fitted, tmp_path):
    path = tmp_path / "method.safetensors"
    fitted[name].save(path)
    loaded = METHODS[name].load(path)
    assert loaded.get_params(deep=False).keys() == fitted[name].get_params(deep=False).keys()
    for embed, rows in (("embed_images", pairs[0]), ("embed_texts", pairs[1])):
        np.testing.assert_array_equal(
            getattr(loaded, embed)(rows), getattr(fitted[name], embed)(rows)
        )


class Frame:
    """Rows whose columns have names, as those of pandas and polars have."""

    def __init__(self, values, columns):
        self.values, self.columns = np.asarray(values), columns

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)

    def __getitem__(self, columns):
        return Frame(self.values[:, [self.columns.index(c) for c in columns]], columns)


@pytest.fixture(scope="module")
def frames(pairs):
    images, texts, labels = pairs
    names = [f"pixel {i}" for i in range(64)], [f"word {i}" for i in range(12)]
    return Frame(images.reshape(240, 64), names[0]), Frame(texts, names[1]), labels


@pytest.mark.parametrize("name", METHODS)
def test_columns_are_known_by_their_names(name, pairs, frames, tmp_path):
    x, y, labels = frames
    method = brief(name).fit(x, y, labels)
    assert method.feature_names_in_.tolist() == x.columns
    assert method.text_feature_names_in_.tolist() == y.columns
    plain = clone(method).fit(x.values, y.values, labels)
    assert not hasattr(plain, "feature_names_in_")
    np.testing.assert_array_equal(method.embed_images(x), plain.embed_images(x.values))
    method.save(tmp_path / "method")
    for fitted in (method, METHODS[name].load(tmp_path / "method")):
        for embed, rows in ((fitted.embed_images, x), (fitted.embed_texts, y)):
            embed(rows[rows.columns])
            with pytest.raises(ValueError, match=r"columns of fit.* got them in another order"):
                embed(rows[rows.columns[::-1]])
            other = Frame(rows.values, ["new", *rows.columns[1:]])
            with pytest.raises(ValueError, match=r" 0 missing and new not there in fit"):
                embed(other)
            with pytest.raises(ValueError, match="numbers a row, as in fit"):
                embed(rows[rows.columns[1:]])
            with pytest.warns(UserWarning, match="columns have no names, those of fit had names"):
                embed(rows.values)
        with pytest.raises(ValueError, match="another order"):
            fitted.score(x[x.columns[::-1]], y)
    with pytest.warns(UserWarning, match="columns have names, those of fit had no names"):
        plain.embed_texts(y)
    assert not hasattr(method.fit(x.values, y, labels), "feature_names_in_"), "of an earlier fit"


@pytest.mark.parametrize("name", DEEP)
def test_held_out_columns_are_known_too(name, frames):
    x, y, labels = frames
    held_out = (x, y[y.columns[::-1]], labels)
    with pytest.raises(ValueError, match=r"validation texts: .* got them in another order"):
        quick(name).fit(x, y, labels, validation=held_out)


def test_numbers_are_no_names_and_a_few_words_are_not_enough(frames):
    x, y, labels = frames
    counted = Frame(x.values, list(range(64)))
    method = quick("cca").fit(counted, y, labels)
    assert not hasattr(method, "feature_names_in_")
    with pytest.raises(ValueError, match="images: 1 of 64 column names are words"):
        method.fit(Frame(x.values, ["a", *range(1, 64)]), y)


@pytest.mark.parametrize("name", METHODS)
def test_data_frames_are_read_whatever_their_columns(name, pairs, peer):
    pandas = peer("pandas")
    labels = pairs[2][:60]
    numbers = pandas.DataFrame(np.round(pairs[1][:60] * 8), columns=list("abcdefghijkl"))
    some = numbers.assign(a=numbers.a > 0)
    kinds = {
        "columns of several kinds": some,
        "nullable": some.convert_dtypes(),
        "objects": some.astype(object),
        "classes of numbers": some.astype("category"),
    }
    method = brief(name)
    plain = np.ascontiguousarray(some.to_numpy(float))
    method.fit(plain, np.ascontiguousarray(numbers.to_numpy()), labels)
    wanted = method.embed_images(plain)
    for kind, frame in kinds.items():
        series = pandas.Series(labels, dtype="Int64")
        found = method.fit(frame, numbers.astype("Float64"), series).embed_images(frame)
        np.testing.assert_array_equal(found, wanted, err_msg=kind)
    hole = kinds["nullable"].copy()
    hole.loc[7, "b"] = pandas.NA
    for bad, message in (
        (hole, r"images: 1 row\(s\) hold NaN or infinity, the first is row 7"),
        (some.astype(str), "images: expected numbers, got"),
        (some.assign(b=pandas.Timestamp("2000-01-01")), "images: expected numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            method.fit(bad, numbers, labels)


def of_numpy(value):
    """The same parameter as numpy says it."""
    if isinstance(value, tuple):
        return np.array(value)
    kinds = {bool: np.bool_, int: np.int32, float: np.float64, str: np.str_}
    return kinds[type(value)](value) if type(value) in kinds else value


@pytest.mark.parametrize("name", METHODS)
def test_parameters_may_be_of_numpy_and_copies_say_the_same(name, pairs, codes, tmp_path):
    method = brief(name)
    method.set_params(**{key: of_numpy(v) for key, v in method.get_params(deep=False).items()})
    method = clone(method).fit(*pairs)
    method.save(tmp_path / "method")
    loaded = METHODS[name].load(tmp_path / "method")
    for same in (method, loaded, copy.deepcopy(method), pickle.loads(pickle.dumps(method))):
        np.testing.assert_array_equal(same.embed_images(pairs[0]), codes[name][0])


@pytest.fixture(params=["float64", "meta"])
def odd_default(request):
    """A default of torch that no method expects; it must be there afterwards too."""
    if request.param == "float64":
        torch.set_default_dtype(torch.float64)
        yield
        kept = torch.get_default_dtype() == torch.float64
        torch.set_default_dtype(torch.float32)
    else:
        torch.set_default_device("meta")
        yield
        kept = torch.get_default_device().type == "meta"
        torch.set_default_device(None)
    assert kept


@pytest.mark.parametrize("name", METHODS)
def test_defaults_of_torch_change_nothing(name, pairs, codes, tmp_path, odd_default):
    method = brief(name).fit(*pairs)
    method.save(tmp_path / "method")
    for same in (method, METHODS[name].load(tmp_path / "method")):
        np.testing.assert_array_equal(same.embed_images(pairs[0]), codes[name][0])
        np.testing.assert_array_equal(same.embed_texts(pairs[1]), codes[name][1])
        if hasattr(same, "reconstruct_from_texts"):
            assert np.isfinite(same.reconstruct_from_texts(pairs[1])[0]).all()


@pytest.mark.parametrize("name", METHODS)
def test_a_file_of_one_method_is_refused_by_another(name, fitted, tmp_path):
    fitted[name].save(tmp_path / "method")
    other = METHODS["cca" if name != "cca" else "cfa"]
    with pytest.raises(ValueError, match="holds a"):
        other.load(tmp_path / "method")


@pytest.mark.parametrize("name", METHODS)
def test_settings_of_the_paper_make_a_method(name):
    paper = METHODS[name].from_paper()
    assert isinstance(paper, METHODS[name])
    assert "ertain" in inspect.getdoc(METHODS[name].from_paper), "what is certain is said"


@pytest.mark.parametrize("name", METHODS)
def test_vectors_are_as_welcome_as_pictures(name, pairs):
    images, texts, labels = pairs
    flat = quick(name).fit(images.reshape(240, 64), texts, labels)
    assert flat.score(images.reshape(240, 64), texts) > 1.5 * (1 / np.arange(1, 241)).mean()


@pytest.mark.parametrize("name", METHODS)
def test_units_of_a_view_do_not_matter(name, pairs, fitted):
    images, texts, labels = pairs
    other = quick(name).fit(1000.0 * images.astype(np.float64) + 50, 1e-3 * texts - 2, labels)
    score = other.score(1000.0 * images.astype(np.float64) + 50, 1e-3 * texts - 2)
    assert score == pytest.approx(fitted[name].score(images, texts), abs=0.05)


@pytest.mark.parametrize("name", DEEP)
def test_held_out_pairs_choose_the_epoch(name, pairs):
    images, texts, labels = pairs
    method = quick(name, epochs=4)
    method.fit(images[:160], texts[:160], labels[:160],
               validation=(images[160:], texts[160:], labels[160:]))  # fmt: skip
    assert len(method.validation_curve_) == 4
    assert method.best_epoch_ == 1 + int(np.argmin(method.validation_curve_))


@pytest.mark.parametrize("name", METHODS)
def test_labels_are_read_where_they_are_needed_only(name, pairs):
    images, texts, _ = pairs
    method = quick(name)
    if name in DEEP:
        method.set_params(epochs=1)
    needs = getattr(method, "needs_labels", name in ("sm", "scm", "lgcfl", "jrl"))
    if needs:
        with pytest.raises(ValueError, match="labels"):
            method.fit(images, texts)
    else:
        method.fit(images, texts)


@pytest.mark.parametrize("name", METHODS)
def test_pairs_without_a_class_are_no_obstacle(name, pairs):
    images, texts, labels = pairs
    some = np.where(np.arange(240) % 4 == 0, -1, 5 + 2 * labels)
    method = quick(name).fit(images, texts, some)
    assert np.isfinite(method.embed_images(images)).all()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:-1], y), "images has 239 rows and texts has 240"),
        (lambda x, y: (x * np.nan, y), "NaN"),
        (lambda x, y: (x, np.ones_like(y)), "constant"),
        (lambda x, y: (x[:, 0, 0], y), "expected"),
    ],
)
def test_bad_input_is_explained(name, change, message, pairs):
    images, texts = change(*pairs[:2])
    with pytest.raises(ValueError, match=message):
        quick(name).fit(images, texts, pairs[2])


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", -1.0),
        ("dropout", 1.0),
        ("scaling", "rows"),
        ("hidden", (0,)),
        ("channels", 0),
        ("random_state", -1),
        ("device", "abacus"),
        ("hidden", 5),
        ("hidden", "ab"),
        ("batch_size", "all"),
        ("shift", -1),
        ("shift", 8),
        ("n_components", 0),
        ("n_components", 2.0),
    ],
)
def test_settings_without_sense_are_named(name, setting, value, pairs):
    if setting == "n_components" and name == "deep_sm":
        assert quick(name, epochs=1, n_components=value).fit(*pairs).n_components_ == 3
        return
    with pytest.raises(ValueError, match=rf"^{setting}(\[0\])?: "):
        quick(name, **{setting: value}).fit(*pairs)


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("shift", [2, -1, 0.5])
def test_vectors_cannot_be_moved(name, shift, pairs):
    images, texts, labels = pairs
    images = images.reshape(240, 64)
    with pytest.raises(ValueError, match=r"^shift: "):
        quick(name, shift=shift).fit(images, texts, labels)
    quick(name, shift=0, epochs=1).fit(images, texts, labels)


@pytest.mark.parametrize("name", ["triplet", "sam", "info_nce"])
def test_a_batch_of_one_pair_teaches_nothing(name, pairs):
    with pytest.raises(ValueError, match="batch_size: a batch of one pair has no strangers"):
        quick(name, batch_size=1).fit(*pairs)
    quick(name, epochs=1, batch_size=2).fit(*(part[:12] for part in pairs))


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("validation", [5, "pairs", (), (1,), (1, 2, 3, 4), np.zeros((3, 2))])
def test_held_out_pairs_that_are_none(name, validation, pairs):
    with pytest.raises(ValueError, match=r"validation: expected \(images, texts, labels\)"):
        quick(name).fit(*pairs, validation=validation)


@pytest.mark.parametrize("name", DEEP)
def test_rows_far_from_those_of_training_have_no_place(name, pairs):
    images, texts, labels = (part[:20].copy() for part in pairs)
    method = quick(name, epochs=1).fit(*pairs)
    assert np.isfinite(method.embed_images(1e6 * images)).all(), "far, but not too far"
    for size in (1e150, 1e307):
        far_images, far_texts = images.astype(np.float64), texts.copy()
        far_images[3] *= size
        far_texts[3] *= size
        with pytest.raises(ValueError, match=r"^images: row 3 is so far .*; check its units"):
            method.embed_images(far_images)
        with pytest.raises(ValueError, match=r"^texts: row 3 is so far .*; check its units"):
            method.embed_texts(far_texts)
        with pytest.raises(ValueError, match=r"^validation images: row 3 is so far"):
            quick(name).fit(*pairs, validation=(far_images, texts, labels))
        with pytest.raises(ValueError, match=r"^validation texts: row 3 is so far"):
            quick(name).fit(*pairs, validation=(images, far_texts, labels))


def test_codes_that_overflow_in_the_network_are_told(pairs):
    """What float32 holds at the inlet and no longer at the outlet."""
    method = quick("info_nce", epochs=1).fit(*pairs)
    texts = pairs[1][:5].copy()
    texts[2] = 1e30
    for weight in method.network_.parameters():
        weight.data *= 1e6
    with pytest.raises(ValueError, match=r"^texts: row 2 is so far"):
        method.embed_texts(texts)


@pytest.mark.parametrize("name", DEEP)
def test_values_whose_squares_vanish_are_a_matter_of_units(name, pairs):
    images, texts, labels = pairs
    faint = images.astype(np.float64) * 1e-200
    with pytest.raises(ValueError, match=r"images: values so close together .* check their units"):
        quick(name).fit(faint, texts, labels)
    with pytest.raises(ValueError, match="images: values so close together"):
        quick(name).fit(faint.reshape(240, 64), texts, labels)
    with pytest.raises(ValueError, match="texts: values so close together"):
        quick(name).fit(images, texts * 1e-200, labels)
    of_columns = quick(name, epochs=1, scaling="columns").fit(
        faint.reshape(240, 64), texts * 1e-200, labels
    )
    assert np.isfinite(of_columns.embed_texts(texts * 1e-200)).all()


@pytest.mark.parametrize("name", DEEP)
def test_rows_of_another_shape_are_explained(name, pairs, fitted):
    with pytest.raises(ValueError, match="expected 64 numbers a row"):
        fitted[name].embed_images(np.zeros((2, 9, 9)))
    with pytest.raises(ValueError, match="validation: expected items like those of training"):
        quick(name).fit(*pairs, validation=(np.zeros((5, 3)), pairs[1][:5], pairs[2][:5]))


@pytest.mark.parametrize("name", DEEP)
def test_a_few_pairs_are_enough_to_answer(name, pairs):
    images, texts, labels = pairs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        method = quick(name, epochs=2).fit(images[:12], texts[:12], labels[:12])
    assert np.isfinite(method.embed_images(images)).all()


@pytest.mark.parametrize("name", DEEP)
def test_a_grid_search_finds_its_way(name, pairs):
    images, texts, labels = pairs
    search = GridSearchCV(
        quick(name, epochs=12), {"learning_rate": [1e-9, 1e-2]}, cv=KFold(2), error_score="raise"
    )
    search.fit(images, texts, labels=labels)
    assert search.best_params_ == {"learning_rate": 1e-2}


def test_importing_the_methods_draws_nothing():
    code = "import vlalign_lib.methods, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
