"""The model behind a record is that model."""

import dataclasses

import numpy as np
import pytest

from vlalign_lib.data import load_digit_halves
from vlalign_lib.experiments import Record, refit, run
from vlalign_lib.experiments._scores import mean_map


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLALIGN_RESULTS", str(folder / "results"))
        patch.setenv("VLALIGN_CACHE", str(folder / "cache"))
        settings = {"datasets": "digits", "methods": "kcca,dcca", "epochs": "2", "hidden": "16"}
        report = run("retrieval", seeds=2, settings=settings, progress=False)
    return {record.method: record for record in report.records}


@pytest.mark.parametrize("method", ["kcca", "dcca"])
@pytest.mark.parametrize("part", ["0", "1"])
def test_it_has_the_numbers_of_its_record(records, method, part):
    record = records[method]
    test = load_digit_halves(seed=int(part)).split("test")
    model = refit(record, part)
    found = mean_map(model.embed_images(test.images), model.embed_texts(test.texts), test.labels)
    assert found == pytest.approx(record.per_seed["map_mean"][int(part)], abs=1e-12)
    other = record.per_seed["map_mean"][1 - int(part)]
    assert not np.isclose(found, other, atol=1e-6)


def test_what_cannot_be_fitted_again(records):
    with pytest.raises(ValueError, match="'retrieval'"):
        refit(Record.example())
    with pytest.raises(ValueError, match=r"no part 'official'; it has \['0', '1'\]"):
        refit(records["kcca"], "official")
    with pytest.raises(ValueError, match="somebody's own"):
        refit(dataclasses.replace(records["kcca"], method_version="own"))
