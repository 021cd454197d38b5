"""The report: its numbers are the metrics', its table stands on any background."""

import copy
import dataclasses
import json
import pickle
from html.parser import HTMLParser

import numpy as np
import pytest

from vlalign_lib.metrics import (
    average_precisions,
    bootstrap_interval,
    chance_average_precision,
    mean_average_precision,
    mean_reciprocal_rank,
    median_rank,
    precision_recall_curve,
    ranks,
    recall_at_k,
    retrieval_report,
)


def two_views(n=120, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    shared = np.eye(4)[labels] + 0.5 * rng.standard_normal((n, 4))
    return (
        shared + 0.4 * rng.standard_normal((n, 4)),
        shared + 0.6 * rng.standard_normal((n, 4)),
        labels,
    )


def test_estimates_are_the_metrics():
    images, texts, labels = two_views()
    report = retrieval_report(images, texts, labels, k=(1, 3), top_k=50, normalise="hits")
    for way, (queries, gallery) in {
        "image → text": (images, texts),
        "text → image": (texts, images),
    }.items():
        row = report[way]
        assert list(row) == ["R@1", "R@3", "MedR", "MRR", "mAP@50"]
        recall = recall_at_k(queries, gallery, (1, 3))
        assert row["R@1"].estimate == pytest.approx(recall[1], rel=1e-12)
        assert row["R@3"].estimate == pytest.approx(recall[3], rel=1e-12)
        assert row["MedR"].estimate == median_rank(queries, gallery)
        assert row["MRR"].estimate == pytest.approx(
            mean_reciprocal_rank(queries, gallery), rel=1e-12
        )
        assert row["mAP@50"].estimate == pytest.approx(
            mean_average_precision(queries, gallery, labels, labels, top_k=50, normalise="hits"),
            rel=1e-12,
        )
    for name in report["mean"]:
        ways = [report[way][name].estimate for way in ("image → text", "text → image")]
        assert report["mean"][name].estimate == pytest.approx(np.mean(ways), rel=1e-12)


def test_intervals_are_the_bootstrap_of_the_values(agrees):
    images, texts, labels = two_views()
    report = retrieval_report(images, texts, labels, level=0.9, n_resamples=500, seed=3)
    options = {"level": 0.9, "n_resamples": 500, "seed": 3}
    there = average_precisions(images, texts, labels, labels)
    back = average_precisions(texts, images, labels, labels)
    for row, values in (
        ("image → text", there),
        ("text → image", back),
        ("mean", (there + back) / 2),
    ):
        expected = bootstrap_interval(values, **options)
        got = report[row]["mAP"]
        ends = (got.low, got.high), (expected.low, expected.high)
        agrees("metrics.retrieval_report", *ends, "derivation", "its metrics, one by one", 1e-12)
        assert got.level == 0.9
    expected = bootstrap_interval(ranks(images, texts), statistic="median", **options)
    assert report["image → text"]["MedR"] == expected


def test_a_collapsed_space_has_the_row_of_chance():
    labels = np.arange(60) % 3
    report = retrieval_report(np.ones((60, 5)), np.ones((60, 5)), labels)
    assert report.chance["mAP"] == chance_average_precision(labels, labels)
    for row in report.rows.values():
        for name, interval in row.items():
            assert interval.estimate == pytest.approx(report.chance[name], rel=1e-12)


def test_swapped_views_swap_rows():
    images, texts, labels = two_views()
    one, other = retrieval_report(images, texts, labels), retrieval_report(texts, images, labels)
    assert dict(one["image → text"]) == dict(other["text → image"])
    for name, interval in one["mean"].items():
        assert interval.low == pytest.approx(other["mean"][name].low, rel=1e-12)


def test_without_labels_there_is_no_map():
    images, texts, _ = two_views(20)
    report = retrieval_report(images, texts)
    assert list(report.chance) == ["R@1", "R@5", "R@10", "MedR", "MRR"]
    assert "mAP" not in report.protocol


def test_a_function_is_called_with_the_querying_view_first():
    images, texts = np.eye(3)[[0, 1, 2]], 2 * np.eye(3)
    firsts = []

    def similarity(queries, gallery):
        firsts.append(float(queries.max()))
        return queries @ gallery.T

    report = retrieval_report(images, texts, k=1, similarity=similarity)
    assert firsts == [1.0, 2.0]
    assert "own similarity" in report.protocol


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.rows, self.scopes = [], [], 0

    def handle_starttag(self, tag, attributes):
        if tag != "br":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self.scopes += ("scope", "row") in attributes or ("scope", "col") in attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def test_html_table():
    images, texts, labels = two_views()
    report = retrieval_report(images, texts, labels)
    page = report._repr_html_()
    cells = Cells()
    cells.feed(page)
    assert cells.open == []
    assert [row[0] for row in cells.rows] == [
        "",
        "image → text",
        "text → image",
        "mean",
        "chance",
    ]
    assert cells.rows[0][1:] == ["R@1", "R@5", "R@10", "MedR", "MRR", "mAP"]
    assert {len(row) for row in cells.rows} == {7}
    assert cells.scopes == 6 + 4
    assert f"{report['mean']['mAP'].estimate:.3f}" in cells.rows[3][6]
    # Legible in dark mode: no colour of its own.
    assert "color" not in page
    assert "background" not in page
    assert "#" not in page


def test_text_table_lines_up():
    images, texts, labels = two_views()
    report = retrieval_report(images, texts, labels)
    *table, protocol = str(report).splitlines()
    assert len({len(line) for line in table}) == 1
    assert table[-1].startswith("chance")
    assert protocol == (
        "120 pairs, cosine similarity; mAP over the whole gallery, divided by the relevant items; "
        "95 % bootstrap intervals over pairs"
    )


def test_goes_into_json():
    images, texts, labels = two_views(30)
    report = retrieval_report(images, texts, labels)
    back = json.loads(json.dumps(report.to_dict()))
    assert back["rows"]["mean"]["mAP"]["estimate"] == report["mean"]["mAP"].estimate
    assert back["pairs"] == 30


def test_a_list_length_counts_once():
    views = two_views(30)
    twice = retrieval_report(*views, k=(5, 1, 5), n_resamples=100)
    assert twice.to_dict() == retrieval_report(*views, k=(5, 1), n_resamples=100).to_dict()


AGAIN = {
    "pickle": lambda result: pickle.loads(pickle.dumps(result)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "replace": dataclasses.replace,
}


@pytest.mark.parametrize("again", AGAIN)
def test_results_can_be_sent_copied_and_compared(again):
    images, texts, labels = two_views(20)
    for result in (
        retrieval_report(images, texts, labels),
        bootstrap_interval(images[:, 0]),
        precision_recall_curve(images[:, 0], labels == labels[0]),
    ):
        other = AGAIN[again](result)
        assert other == result
        assert other != dataclasses.replace(result, **CHANGES[type(result).__name__])
        assert str(other) == str(result)
    with pytest.raises(TypeError):
        AGAIN[again](retrieval_report(images, texts)).rows["mean"] = {}


CHANGES = {
    "RetrievalReport": {"pairs": 3},
    "Interval": {"low": -9.0},
    "PrecisionRecall": {"hits": np.zeros(20)},
}


def test_results_as_dictionaries():
    images, texts, labels = two_views(20)
    report = retrieval_report(images, texts, labels)
    assert dataclasses.asdict(report)["rows"] == report.to_dict()["rows"]
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    curve = dataclasses.asdict(precision_recall_curve([2, 1], [0, 1]))
    assert curve["hits"].tolist() == [0, 1]


def test_cannot_be_changed():
    images, texts, _ = two_views(20)
    report = retrieval_report(images, texts)
    with pytest.raises(TypeError):
        report.rows["mean"] = {}
    with pytest.raises(TypeError):
        report["mean"].update(report["mean"])
    with pytest.raises(AttributeError):
        report.pairs = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"texts": np.ones((9, 2))}, "images has 10 rows and texts has 9"),
        ({"k": 11}, "k=11, but the gallery has 10 items"),
        ({"labels": np.full(10, -1)}, "10 of 10 labels are negative"),
        ({"labels": [0, 1]}, r"^labels: expected shape \(10,\)"),
        ({"top_k": 11}, "top_k=11"),
        ({"level": 0}, "level: expected"),
        ({"images": np.ones((1, 2)), "texts": np.ones((1, 2))}, "at least 2 queries"),
    ],
)
def test_errors_teach(change, message):
    case = {"images": np.ones((10, 2)), "texts": np.ones((10, 2)), "k": 1} | change
    with pytest.raises(ValueError, match=message):
        retrieval_report(**case)
