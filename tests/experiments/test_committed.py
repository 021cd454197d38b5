"""The records that the repository holds: whole, recomputable, and what the book says of them."""

import re
from pathlib import Path

import pytest

import vlalign_lib
from vlalign_lib.data import load_glyphs
from vlalign_lib.experiments import (
    EXPERIMENTS,
    Estimate,
    config_hash,
    is_stale,
    load_records,
    paired_difference,
)
from vlalign_lib.experiments.retrieval import ANSWERS, METHODS, PHRASES

RESULTS = Path(vlalign_lib.__file__).parent.parent / "results"


def committed(experiment):
    return {r.key: r for r in load_records(experiment, folder=RESULTS) if r.tier == "cpu"}


LINEAR, FUSION = committed("linear"), committed("fusion")
RETRIEVAL = committed("retrieval")
EVERY = [*LINEAR.values(), *FUSION.values(), *RETRIEVAL.values()]


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_every_case_of_the_cpu_tier_has_its_record(name):
    experiment = EXPERIMENTS[name]
    expected = {case.key for case in experiment.cases(experiment.settings("cpu"))}
    assert expected <= set(committed(name)) <= {c.key for c in experiment.ledger_cases("cpu")}


@pytest.mark.parametrize("record", EVERY, ids=lambda record: record.key)
def test_a_committed_record_holds_together(record):
    assert config_hash(record.config) == record.config_hash
    assert record.seeds == tuple(range(5))
    assert record.settings == {}
    assert set(record.metrics) == set(record.per_seed)
    for name, values in record.per_seed.items():
        again = Estimate.from_values(values)
        found = record.metrics[name]
        assert (found.mean, found.low, found.high) == (again.mean, again.low, again.high)
    assert set(map(str, record.seeds)) <= set(record.data_hashes)
    # every seed has a split of its own: other test rows, or other pictures in these rows
    splits = [record.data_hashes[str(seed)] for seed in record.seeds]
    assert len({(of["test"], of["images"]) for of in splits}) == 5
    assert re.fullmatch("[0-9a-f]{40}", record.commit)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", record.date)
    assert record.wall_time_s > 0
    assert record.energy["joules"] > 0
    assert "/" not in record.device


@pytest.mark.parametrize("key", ["digits-cfa", "digits-cca", "digits-sm"])
def test_the_ledger_can_be_made_again(key):
    record, experiment = LINEAR[key], EXPERIMENTS["linear"]
    if is_stale(record):
        pytest.skip("the record is stale, which is no error")
    case = next(c for c in experiment.ledger_cases("cpu") if c.key == key)
    found = experiment.measure(case, "0")
    assert found.data_hashes == record.data_hashes["0"]
    assert found.metrics["map_mean"] == pytest.approx(record.per_seed["map_mean"][0], abs=2e-3)


def test_cca_finds_glyphs_by_their_names():
    metrics = LINEAR["glyphs-cca"].metrics
    assert metrics["map_i2t"].mean >= 0.29
    assert metrics["map_t2i"].mean >= 0.29
    assert metrics["map_i2t"].mean > 1.5 * metrics["map_chance"].mean


def test_wikipedia_lies_where_others_have_measured_it():
    cca, scm = LINEAR["wikipedia-bare_cca"], LINEAR["wikipedia-scm"]
    for metrics in (cca.official, cca.metrics):
        assert 0.213 <= metrics["map_mean"].mean <= 0.226
    assert 0.246 <= scm.official["map_mean"].mean <= 0.264
    assert scm.metrics["map_mean"].low <= 0.255 + 0.009
    assert scm.metrics["map_mean"].high >= 0.255 - 0.009
    assert paired_difference(scm, cca, "map_mean").low > 0
    for record in (cca, scm):
        assert record.official["map_mean"].n == 693
        assert "bootstrap over 693 queries" in record.official["map_mean"].interval
        assert "Student's t over 5 resplits" in record.metrics["map_mean"].interval
        assert any("0.298/0.273" in note for note in record.notes)


def test_kernels_and_labels_help_on_digits():
    cca, kcca, sm = (LINEAR[f"digits-{m}"] for m in ("cca", "kcca", "sm"))
    assert paired_difference(kcca, cca, "map_mean").low > 0.1
    assert paired_difference(sm, kcca, "map_mean").low > 0.05


def test_a_missing_half_breaks_early_fusion_below_the_single_view():
    early, dropout, left = (FUSION[f"digits-{m}"] for m in ("early", "early-dropout", "left"))
    assert early.metrics["accuracy_missing_0"].mean > 0.94
    assert paired_difference(early, left, "accuracy_missing_100").high < -0.05
    assert early.metrics["drop"].low > 0.2
    assert paired_difference(dropout, early, "accuracy_missing_100").low > 0.05
    assert 0.81 <= left.metrics["accuracy_missing_0"].mean <= 0.87


def test_coordinated_and_decision_fusion_fall_back_on_the_single_view():
    for method, control in (("decision", "left"), ("coordinated", "left-network")):
        pair = FUSION[f"digits-{method}"], FUSION[f"digits-{control}"]
        difference = paired_difference(*pair, "accuracy_missing_100")
        assert abs(difference.mean) < 0.02
        assert paired_difference(*pair, "accuracy_missing_0").low > 0.03


def test_in_other_units_early_fusion_listens_to_one_half_only():
    volts, raw = FUSION["digits-early-volts"], FUSION["digits-early-raw"]
    assert paired_difference(raw, volts, "accuracy_missing_0").low > 0.05
    assert abs(volts.metrics["drop"].mean) < 0.02
    assert volts.metrics["accuracy_left_missing_100"].mean < 0.2


def test_accuracy_falls_steadily_with_the_share_that_is_missing():
    curve = FUSION["digits-early"].series("accuracy_missing_")
    assert [share for share, _ in curve] == [*range(0, 101, 10)]
    means = [estimate.mean for _, estimate in curve]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize(
    ("method", "least"),
    [
        ("cca", 0.42),
        ("kcca", 0.65),
        ("dcca", 0.63),
        ("corr_full_ae", 0.55),
        ("acmr", 0.78),
        ("triplet", 0.80),
        ("deep_sm", 0.84),
    ],
)
def test_the_methods_are_as_good_on_digits_as_they_have_to_be(method, least):
    assert RETRIEVAL[f"digits-{method}"].metrics["map_mean"].mean >= least


def test_semantic_correlation_matching_is_as_good_on_wikipedia_as_printed():
    assert RETRIEVAL["wikipedia-scm"].official["map_mean"].mean >= 0.25


def test_the_partner_is_found_among_a_thousand_characters():
    found = {
        method: RETRIEVAL[f"names-{method}"].metrics["recall10_t2i"].mean for method in METHODS
    }
    best = max(found, key=found.get)
    assert best in ("info_nce", "triplet"), "trained on pairs alone"
    assert found[best] >= 0.65
    assert found[best] > found["cca"] > 0.5
    assert max(found[name] for name in ("sm", "deep_sm", "acmr", "cmdn")) < 0.3


@pytest.mark.parametrize("split", ["names", "names_compositional", "names_typeface"])
def test_every_method_is_measured_on_every_split_of_the_names(split):
    for method in METHODS:
        record = RETRIEVAL[f"{split}-{method}"]
        assert not is_stale(record)
        assert record.metrics["recall10_t2i"].low is not None


def test_every_method_has_answered_every_phrase():
    gallery = set(load_glyphs(seed=0).split("test").ids)
    for method in METHODS:
        answers = RETRIEVAL[f"names-{method}"].details["0"]["answers"]
        assert tuple(answers) == PHRASES
        assert all(len(set(found)) == ANSWERS for found in answers.values())
        assert all(set(found) <= gallery for found in answers.values())


def test_what_was_chosen_is_kept_so_that_a_model_can_be_fitted_again():
    for record in RETRIEVAL.values():
        for part in record.data_hashes:
            assert set(record.details[part]["chosen"]) == set(record.config["grid"])


def test_the_table_takes_three_quarters_of_an_hour_on_two_cores_at_most():
    """By the CPU time of its records, ten watts a second of it: parts run side by side."""
    experiment = EXPERIMENTS["retrieval"]
    keys = [case.key for case in experiment.cases(experiment.settings("cpu"))]
    assert "10 W for each second of CPU time" in RETRIEVAL[keys[0]].energy["method"]
    seconds = sum(RETRIEVAL[key].energy["joules"] / 10 for key in keys)
    assert seconds / 2 < 45 * 60
