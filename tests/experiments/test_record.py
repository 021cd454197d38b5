"""Records: what they hold, how they are written, and what they refuse."""

import dataclasses
import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vlalign_lib.experiments import Estimate, LedgerError, Record, array_hash, config_hash

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


def full_record(**changes):
    return dataclasses.replace(
        Record.example(),
        official={"map_mean": Estimate(0.25, 0.24, 0.26, 693, "bootstrap")},
        details={"0": {"chosen": {"reg": 0.1}, "spectrum": [0.5, 0.25]}},
        notes=("A sentence – with a dash.",),
        settings={"methods": ["cca"]},
        versions={"numpy": "2.0"},
        peak_memory_mb=123.5,
        energy={"joules": 12.5, "method": "an estimate"},
        **changes,
    )


@given(st.lists(FINITE, min_size=2, max_size=9))
def test_the_interval_is_students(values):
    estimate = Estimate.from_values(values)
    n, mean = len(values), math.fsum(values) / len(values)
    assert estimate.n == n
    assert estimate.mean == pytest.approx(mean, rel=1e-9, abs=1e-9)
    spread = np.std(np.asarray(values, dtype=np.float64), ddof=1)
    half = stats.t.ppf(0.975, n - 1) * spread / math.sqrt(n)
    scale = max(1.0, max(map(abs, values)))
    assert estimate.half_width == pytest.approx(half, rel=1e-9, abs=1e-9 * scale)
    assert estimate.low <= estimate.mean <= estimate.high


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = rng.normal(3.0, 2.0, size=(4000, 5))
    covered = sum(e.low <= 3.0 <= e.high for e in map(Estimate.from_values, samples)) / 4000
    assert abs(covered - 0.95) < 3 * math.sqrt(0.95 * 0.05 / 4000)


def test_one_value_has_no_interval():
    estimate = Estimate.from_values([0.5])
    assert (estimate.mean, estimate.low, estimate.high, estimate.n) == (0.5, None, None, 1)
    assert estimate.half_width is None
    assert f"{estimate:.2f}" == "0.50"


def test_estimates_print_as_numbers_with_half_widths():
    estimate = Estimate(0.25, 0.2, 0.3, 5, "t")
    assert f"{estimate:.2f}" == "0.25 ± 0.05"
    assert str(estimate) == "0.250 ± 0.050"
    assert f"{estimate:+.2f}" == "+0.25 ± 0.05"


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], [1.0, math.nan], [math.inf]])
def test_estimates_refuse(values):
    with pytest.raises(ValueError, match="expected"):
        Estimate.from_values(values)


def test_a_record_comes_back_as_it_was():
    record = full_record()
    assert Record.from_json(record.to_json()) == record


def test_a_record_is_plain_json_with_one_list_a_line():
    text = full_record().to_json()
    content = json.loads(text)
    assert list(content)[:3] == ["schema", "experiment", "key"]
    assert set(content) == {item.name for item in dataclasses.fields(Record)}
    assert '"map_mean": [0.2, 0.3]' in text
    assert "dash." in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float64("nan")])
def test_a_record_never_holds_nan(bad):
    for record in (
        full_record(per_seed={"map_mean": (bad, 0.1)}),
        full_record(wall_time_s=bad),
        full_record(config={"deep": [{"x": bad}]}),
        full_record(metrics={"map_mean": Estimate(bad, 0.0, 1.0, 2, "t")}),
    ):
        with pytest.raises(ValueError, match="finite numbers"):
            record.to_json()


def test_a_record_refuses_what_json_has_no_word_for():
    with pytest.raises(ValueError, match="set has no place in a record"):
        full_record(config={"x": {1, 2}}).to_json()


def test_numpy_numbers_are_written_as_numbers():
    record = full_record(config={"a": np.float32(0.5), "b": np.int64(3), "c": np.arange(2)})
    assert json.loads(record.to_json())["config"] == {"a": 0.5, "b": 3, "c": [0, 1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ('{"schema": 1', "not valid JSON"),
        ("[]", "no field 'schema'"),
        ("{}", "no field 'schema'"),
        ('{"schema": 99}', "layout 99"),
        ('{"schema": 1}', "a field is missing"),
    ],
)
def test_what_is_no_record_is_named(text, message):
    with pytest.raises(LedgerError, match=message) as caught:
        Record.from_json(text, source="results/linear/x.json")
    assert "results/linear/x.json" in str(caught.value)


def test_an_unknown_field_is_refused():
    content = json.loads(Record.example().to_json())
    content["surprise"] = 1
    with pytest.raises(LedgerError, match="missing or unknown"):
        Record.from_json(json.dumps(content))


def test_config_hash_is_the_sha256_of_sorted_compact_json():
    config = {"b": [1, 2.5], "a": {"y": None, "x": True}}
    text = '{"a":{"x":true,"y":null},"b":[1,2.5]}'
    assert config_hash(config) == hashlib.sha256(text.encode()).hexdigest()[:16]
    assert config_hash({"a": (1, 2)}) == config_hash({"a": [1, 2]})
    assert config_hash({"a": 1}) != config_hash({"a": 2})


def test_array_hash_sees_values_shape_and_type_but_not_the_layout():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    digest = array_hash(array)
    assert len(digest) == 64
    assert array_hash(np.asfortranarray(array)) == digest
    assert array_hash(array.astype(">f4")) == digest
    assert array_hash(np.repeat(array, 2, axis=0)[::2]) == digest
    others = [array.reshape(3, 2), array.astype(np.float64), array + 1, array.view(np.int32)]
    assert len({digest, *map(array_hash, others)}) == 5
    assert array_hash(np.zeros((0, 3))) != array_hash(np.zeros((3, 0)))


def test_series_are_read_as_curves():
    names = {"accuracy_missing_100": 0.5, "accuracy_missing_0": 1.0, "accuracy_missing_50": 0.8}
    metrics = {k: Estimate(v, None, None, 1, "none") for k, v in names.items()}
    record = full_record(metrics={**metrics, "accuracy_left_missing_100": metrics.popitem()[1]})
    curve = record.series("accuracy_missing_")
    assert [share for share, _ in curve] == [0.0, 50.0, 100.0]
    assert [estimate.mean for _, estimate in curve] == [1.0, 0.8, 0.5]
    with pytest.raises(KeyError, match="no metric recall<number>"):
        record.series("recall")
