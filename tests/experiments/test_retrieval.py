"""The experiment of the retrieval table: what is chosen, on what, and what is printed beside it."""

import numpy as np
import pytest

from vlalign_lib.data import load_glyphs, load_pascal_sentences, load_wikipedia_deep, synthetic_twin
from vlalign_lib.data._paired import PairedDataset
from vlalign_lib.experiments import EXPERIMENTS, _retrieval, run, table
from vlalign_lib.experiments._experiment import SettingError
from vlalign_lib.experiments.paper_tables import RETRIEVAL_ROWS
from vlalign_lib.experiments.retrieval import (
    ANSWERS,
    DATASETS,
    METHODS,
    PHRASES,
    RetrievalSettings,
)
from vlalign_lib.methods import METHODS as CLASSES
from vlalign_lib.metrics import mean_average_precision, mean_reciprocal_rank

RETRIEVAL = EXPERIMENTS["retrieval"]
QUICK = {"epochs": "2", "hidden": "8"}


def little(seed=None, n=240):
    rng = np.random.default_rng(0 if seed is None else seed + 1)
    labels = np.arange(n) % 3
    latent = rng.normal(size=(n, 3)) + 2 * np.eye(3)[labels]
    cut = [np.sort(part) for part in np.split(rng.permutation(n), [n // 2, 3 * n // 4])]
    return PairedDataset(
        name="digits",
        images=(latent @ rng.normal(size=(3, 8))).astype(np.float32),
        texts=(latent @ rng.normal(size=(3, 6))).astype(np.float32),
        labels=labels.astype(np.int64),
        label_names=("a", "b", "c"),
        captions=None,
        ids=tuple(map(str, range(n))),
        splits={"train": cut[0], "val": cut[1], "test": cut[2]},
    )


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(_retrieval._LOADERS, "digits", little)


def case(method, dataset="digits", **settings):
    (found,) = RETRIEVAL.cases(
        RETRIEVAL.configured("cpu", {"datasets": dataset, "methods": method, **QUICK, **settings})
    )
    return found


def test_the_rows_are_the_methods():
    assert set(METHODS) == set(CLASSES)


def test_the_printed_table_is_whole_and_its_averages_are_its_own():
    assert len(RETRIEVAL_ROWS) == 12 * 3
    assert {row.method for row in RETRIEVAL_ROWS} <= set(METHODS)
    for row in RETRIEVAL_ROWS:
        assert abs((row.i2t + row.t2i) / 2 - row.mean) <= 0.001


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_measured_by_every_protocol(method, small):
    found = RETRIEVAL.measure(case(method), "0")
    assert {"map_mean", "map50_hits_i2t", "map_znorm_t2i", "recall10_t2i", "medr_i2t"} <= set(
        found.metrics
    )
    assert all(np.isfinite(value) for value in found.metrics.values())
    again = RETRIEVAL.measure(case(method), "0")
    assert found.metrics == again.metrics
    assert set(found.details["chosen"]) == set(METHODS[method].grid)


@pytest.mark.parametrize("dataset", ["glyphs", "names", "names_compositional", "names_typeface"])
@pytest.mark.parametrize("method", METHODS)
def test_networks_on_characters_choose_from_a_grid_of_their_own(method, dataset):
    config = RETRIEVAL.cases(RetrievalSettings(datasets=(dataset,), methods=(method,)))[0].config
    row = METHODS[method]
    if row.trained:
        assert {k: tuple(v) for k, v in config["grid"].items()} == dict(row.picture_grid)
    elif dataset == "glyphs":
        assert set(config["grid"]) == set(row.grid)
    else:
        assert set(config["grid"]) <= set(row.grid)
    assert not set(config["grid"]) & set(config["fixed"])


def test_the_test_part_takes_no_part_in_the_choice(small, monkeypatch):
    before = RETRIEVAL.measure(case("triplet"), "0").details
    whole = little(0)
    scrambled = whole.images.copy()
    scrambled[whole.splits["test"]] = 7.0
    other = PairedDataset(**{**vars(whole), "images": scrambled})
    monkeypatch.setitem(_retrieval._LOADERS, "digits", lambda seed=None: other)
    assert RETRIEVAL.measure(case("triplet"), "0").details == before


def test_what_is_chosen_is_best_on_validation(small):
    config = case("cca").config
    train, val = little(0).split("train"), little(0).split("val")
    chosen, value = _retrieval._choose(config, CLASSES["cca"](), train, val, 0)
    worse = []
    for k in config["grid"]["n_components"]:
        for reg in config["grid"]["reg"]:
            u, v = (
                embed(rows)
                for method in [
                    CLASSES["cca"](n_components=min(k, 6), reg=reg).fit(train.images, train.texts)
                ]
                for embed, rows in (
                    (method.embed_images, val.images),
                    (method.embed_texts, val.texts),
                )
            )
            both = (
                mean_average_precision(u, v, val.labels, val.labels),
                mean_average_precision(v, u, val.labels, val.labels),
            )
            worse.append(sum(both) / 2)
    assert value == pytest.approx(max(worse), abs=1e-9)
    assert set(chosen) == {"n_components", "reg"}


def test_names_are_scored_by_the_partner_and_typefaces_apart(monkeypatch):
    pairs = little(3)
    splits = dict(pairs.splits) | {"serif": pairs.splits["test"][:10], "mono": pairs.splits["test"]}
    pairs = PairedDataset(**{**vars(pairs), "splits": splits})
    monkeypatch.setattr(_retrieval, "load_glyphs", lambda *_, **__: pairs)
    found = RETRIEVAL.measure(case("cfa", "names_typeface"), "0").metrics
    assert not {name for name in found if name.startswith("map")}
    assert found["mrr_mean"] == pytest.approx(
        (found["mrr_mean_serif"] + found["mrr_mean_mono"]) / 2
    )
    assert "mrr_mean_serif" not in RETRIEVAL.measure(case("cfa", "names"), "1").metrics


def test_the_first_seed_keeps_its_answers_to_phrases():
    gallery = load_glyphs(seed=0).split("test")
    found = RETRIEVAL.measure(case("cfa", "names"), "0").details
    assert tuple(found["answers"]) == PHRASES
    caption = dict(zip(gallery.ids, gallery.captions, strict=True))
    named = [caption[each] for each in found["answers"]["arabic letter"]]
    assert len(named) == ANSWERS
    assert sum("ARABIC LETTER" in name for name in named) >= ANSWERS - 2


def test_the_partner_is_what_validation_looks_for_among_names(monkeypatch):
    pairs = little(3)
    monkeypatch.setattr(_retrieval, "load_glyphs", lambda *_, **__: pairs)
    config = case("lgcfl", "names").config
    train, val = pairs.split("train"), pairs.split("val")
    _, value = _retrieval._choose(config, CLASSES["lgcfl"](), train, val, 0)
    scores = []
    for sparsity in config["grid"]["sparsity"]:
        method = CLASSES["lgcfl"](sparsity=sparsity).fit(train.images, train.texts, train.labels)
        u, v = method.embed_images(val.images), method.embed_texts(val.texts)
        scores.append((mean_reciprocal_rank(u, v) + mean_reciprocal_rank(v, u)) / 2)
    assert value == pytest.approx(max(scores))


@pytest.mark.parametrize(
    ("name", "loader"),
    [("wikipedia_deep", load_wikipedia_deep), ("pascal_sentences", load_pascal_sentences)],
)
def test_a_deep_feature_set_runs_whole_on_its_twin(name, loader, tmp_path, monkeypatch):
    root = synthetic_twin(name, tmp_path)
    monkeypatch.setitem(_retrieval._LOADERS, name, lambda seed=None: loader(seed=seed, root=root))
    found = RETRIEVAL.measure(case("deep_sm", name, epochs="1"), "official")
    assert 0 < found.metrics["map_mean"] <= 1
    assert found.estimates["map_mean"].low < found.estimates["map_mean"].high


def test_what_cannot_be_had_is_said_and_the_rest_is_run(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VLALIGN_MIRROR", raising=False)
    monkeypatch.setattr(_retrieval, "load_digit_halves", little)
    monkeypatch.setitem(_retrieval._LOADERS, "digits", little)
    settings = {"datasets": "digits,pascal_sentences", "methods": "cca"}
    report = run("retrieval", seeds=1, settings=settings, progress=False)
    assert [record.key for record in report.records] == ["digits-cca"]
    assert "vlalign data features pascal_sentences" in report.skipped["pascal_sentences-cca"]


def test_the_table_never_fills_in_what_was_not_measured():
    text = table("retrieval", records=[])
    assert text.count("not measured") == len(METHODS) * len(DATASETS)
    assert "0.640" in text, "SAM on Pascal Sentences, as printed"
    assert "CMDN-style" in text


def test_each_name_counts_once_and_all_is_every_one():
    settings = {"datasets": "names,digits,names", "methods": "sm,cca,sm,sm"}
    configured = RETRIEVAL.configured("cpu", settings)
    assert configured.datasets == ("names", "digits")
    assert configured.methods == ("sm", "cca")
    every = RETRIEVAL.configured("cpu", {"datasets": "all", "methods": ["all"]})
    assert every.datasets == tuple(DATASETS)
    assert every.methods == tuple(METHODS)
    for name in ("datasets", "methods"):
        with pytest.raises(SettingError, match=r"'all' already means.*alone, or only names,sm"):
            RETRIEVAL.configured("cpu", {name: "names,all,sm"})


@pytest.mark.parametrize("name", ["epochs", "picture_epochs", "hidden", "channels", "n_components"])
@pytest.mark.parametrize("value", ["0", "-5", 0])
def test_numbers_that_make_no_network_are_refused(name, value):
    with pytest.raises(SettingError, match=f"'{name}': a number of at least 1, got {value}"):
        RETRIEVAL.configured("cpu", {name: value})


def test_every_layer_is_checked_and_a_number_that_is_none_is_refused():
    with pytest.raises(SettingError, match="'hidden': a number of at least 1, got -8"):
        RETRIEVAL.configured("cpu", {"hidden": "64,-8"})
    with pytest.raises(SettingError, match="'epochs': a number of at least 1, got nan"):
        RetrievalSettings(epochs=float("nan"))


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cpu:0", "CPU"])
def test_a_device_has_one_of_a_few_names(name):
    with pytest.raises(SettingError, match=f"'device': expected 'cpu'.*got '{name}'"):
        RETRIEVAL.configured("cpu", {"device": name})


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:1", "mps", "auto"])
def test_a_device_may_be_named_that_is_not_here(name):
    assert RETRIEVAL.configured("cpu", {"device": name}).device == name


def test_unknown_names_are_refused():
    with pytest.raises(SettingError, match=r"unknown method 'ccaa'.*'cca'"):
        RETRIEVAL.configured("cpu", {"methods": "ccaa"})
    with pytest.raises(SettingError, match="unknown data set"):
        RETRIEVAL.configured("cpu", {"datasets": "imagenet"})
