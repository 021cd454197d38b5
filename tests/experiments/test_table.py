"""Tables: the printed rows beside ours, as text, markdown and HTML."""

import csv
import dataclasses
from html.parser import HTMLParser

import pytest

from vlalign_lib.experiments import EXPERIMENTS, Estimate, Record, config_hash, table
from vlalign_lib.experiments.fusion import METHODS as WIRINGS
from vlalign_lib.experiments.linear import METHODS
from vlalign_lib.experiments.paper_tables import CLASSIC_ROWS, FEATURES, LINEAR_ROWS, SOURCES


def invented(experiment, method, dataset, metrics, official=None):
    chosen = EXPERIMENTS[experiment]
    case = next(
        c
        for c in chosen.cases(chosen.settings("cpu"))
        if (c.method, c.dataset) == (method, dataset)
    )
    return dataclasses.replace(
        Record.example(),
        experiment=experiment,
        key=case.key,
        method=method,
        dataset=dataset,
        config=dict(case.config),
        config_hash=config_hash(case.config),
        method_version=case.version,
        per_seed=metrics,
        metrics={name: Estimate.from_values(values) for name, values in metrics.items()},
        official={
            k: Estimate(v, v - 0.01, v + 0.01, 693, "b") for k, v in (official or {}).items()
        },
    )


def maps(i2t, t2i):
    mean = tuple((a + b) / 2 for a, b in zip(i2t, t2i, strict=True))
    return {"map_i2t": i2t, "map_t2i": t2i, "map_mean": mean}


@pytest.fixture
def linear_records():
    return [
        invented("linear", "cca", "digits", maps((0.41, 0.43), (0.45, 0.45))),
        invented(
            "linear",
            "cca",
            "wikipedia",
            maps((0.25, 0.25), (0.19, 0.19)),
            {"map_i2t": 0.246, "map_t2i": 0.201, "map_mean": 0.2235},
        ),
    ]


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.scope = dict(attributes).get("scope")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def rows_of(page):
    parser = Cells()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser.rows


def test_printed_rows_and_ours_stand_side_by_side(linear_records):
    rows = rows_of(table("linear", "html", records=linear_records))
    assert len({len(row) for row in rows}) == 1
    ours = [row for row in rows if row[:2] == ["CCA", "digits (halves)"]]
    assert ours == [
        ["CCA", "digits (halves)", "–", "–", "–", "0.420 ± 0.127", "0.450 ± 0.000", "0.435 ± 0.064",
         "Student's t over 2 seeds"]
    ]  # fmt: skip
    wikipedia = [row for row in rows if row[:2] == ["CCA", "Wikipedia, classic"]]
    assert [row[5] for row in wikipedia] == ["0.246 ± 0.010", "0.250 ± 0.000"]
    assert [row[4] for row in wikipedia] == ["0.223", "–"]  # beside the official split alone
    assert "bootstrap" in wikipedia[0][8]


def test_every_printed_number_is_shown_and_what_was_not_measured_says_so():
    rows = rows_of(table("linear", "html", records=[]))
    for printed in LINEAR_ROWS:
        (row,) = [
            row
            for row in rows
            if row[1] == f"{printed.dataset}, network features"
            and row[2:5] == [f"{x:.3f}" for x in (printed.i2t, printed.t2i, printed.mean)]
        ]
        assert row[5:8] == ["not measured"] * 3
    assert sum("network features" in row[1] for row in rows) == len(LINEAR_ROWS) == 9
    for printed in CLASSIC_ROWS:
        assert any(row[4] == f"{printed.mean:.3f}" and "classic" in row[1] for row in rows)


def test_the_quoted_averages_are_the_printed_ones():
    """The source rounds each average by itself: within one unit of the last place."""
    for row in LINEAR_ROWS:
        assert abs((row.i2t + row.t2i) / 2 - row.mean) <= 0.00051
        assert row.dataset in FEATURES
    assert all(row.source in SOURCES for row in (*LINEAR_ROWS, *CLASSIC_ROWS))


def test_the_table_says_why_the_printed_wikipedia_numbers_differ():
    text = table("linear", records=[])
    assert "0.298/0.273" in text
    assert "4096-d" in text
    assert "128-d" in text
    assert "Semedo" in text


def test_no_records_says_how_to_make_them():
    assert "vlalign run linear --tier colab" in table("linear", tier="colab", records=[])


def test_stale_records_are_named(linear_records):
    stale = dataclasses.replace(linear_records[0], method_version="0")
    text = table("linear", records=[stale])
    now = METHODS["cca"].version
    assert f"Stale: digits-cca, cca is now version {now}, the record is of 0." in text
    assert "Stale" not in table("linear", records=linear_records)


def test_text_columns_are_aligned(linear_records):
    lines = table("linear", records=linear_records).splitlines()
    rule = next(line for line in lines if line.startswith("─"))
    starts = [i for i, c in enumerate(rule) if c == "─" and (i == 0 or rule[i - 1] == " ")]
    body = lines[lines.index(rule) + 1 :]
    for line in body[: body.index("")]:
        for start in starts[1:]:
            assert line[start - 2 : start] == "  "
            assert line[start] != " "


def test_markdown_has_one_bar_more_than_columns(linear_records):
    text = table("linear", "markdown", records=linear_records)
    bars = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert bars == {10}


def fusion_accuracies(missing, none=0.9):
    values = {f"accuracy_missing_{s}": (none, none - 0.1) for s in (0, 50)}
    return {**values, "accuracy_missing_100": missing}


def test_fusion_is_compared_with_the_control_seed_by_seed():
    left = invented("fusion", "left", "digits", fusion_accuracies((0.8, 0.7)))
    early = invented("fusion", "early", "digits", fusion_accuracies((0.6, 0.52)))
    rows = rows_of(table("fusion", "html", records=[early, left]))
    assert [row[0] for row in rows[1:]] == [WIRINGS["left"].label, WIRINGS["early"].label]
    assert rows[2][3] == "56.0 ± 50.8"
    assert rows[2][5] == "-19.0 ± 12.7"
    assert rows[1][5] == "–"
    alone = rows_of(table("fusion", "html", records=[early]))
    assert alone[1][5] == "–"


def test_html_is_escaped():
    record = invented("fusion", "left", "digits", fusion_accuracies((0.8, 0.7)))
    hostile = dataclasses.replace(record, key="<b>&", method_version="<script>")
    page = table("fusion", "html", records=[hostile])
    assert "<script>" not in page
    assert "&lt;b&gt;&amp;" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("linear", "pdf"), "unknown format 'pdf'"),
        (("lineer",), "Did you mean 'linear'"),
    ],
)
def test_what_does_not_exist_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        table(*arguments)


def test_a_tier_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="unknown tier 'gpu'"):
        table("linear", tier="gpu")


def test_a_table_wider_than_the_terminal_is_folded_and_printed_in_blocks():
    record = invented("retrieval", "sam", "glyphs", maps((0.6, 0.62), (0.6, 0.62)))
    whole = table("retrieval", records=[record])
    narrow = table("retrieval", records=[record], width=60)
    assert max(map(len, whole.splitlines())) > 200
    assert max(map(len, narrow.splitlines())) <= 60
    (head,) = (line for line in whole.splitlines() if line.startswith("method "))
    body, notes = narrow.split("\nClass mAP")
    blocks = body.split("\n\n")[1:]
    assert len(blocks) > 1
    for block in blocks:
        assert block.count("\nSAM, reconstructed") == 1
    left_out = notes.replace("\n", " ").split("left out: ")[1].removesuffix(".").split("; ")
    assert "digits (halves), ours" in left_out
    assert "not measured" in body, "where a column has another number"
    shown = " ".join(body.split())
    for word in head.split():
        assert word.rstrip(",") in shown or any(word in name for name in left_out)


def test_a_terminal_too_narrow_for_one_column_still_shows_each(linear_records):
    cells = [table("linear", records=linear_records, width=w).split() for w in (5, None)]
    assert cells[0].count("0.420") == cells[1].count("0.420") == 1


def test_rows_and_columns_are_chosen_by_name_or_label(linear_records):
    mine = dataclasses.replace(
        invented("retrieval", "sam", "digits", maps((0.6, 0.62), (0.6, 0.62))), method="mine"
    )
    chosen = {"methods": ["CCA", "mine", "Triplet"], "datasets": ["digits", "glyph names, random"]}
    rows = rows_of(table("retrieval", "html", records=[mine], **chosen))
    assert rows[0] == ["method", "digits (halves), ours", "glyph names, random, R@10"]
    assert [row[:2] for row in rows[1:]] == [
        ["CCA", "not measured"],
        ["Triplet, semi-hard", "not measured"],
        ["mine", "0.610 ± 0.127"],
    ]
    rows = rows_of(table("linear", "html", records=linear_records, datasets=["wikipedia"]))
    assert {row[1] for row in rows[1:]} == {"Wikipedia, classic"}
    with pytest.raises(ValueError, match="Did you mean 'wikipedia'"):
        table("linear", datasets=["wikpedia"])


def test_csv_and_latex_hold_the_same_cells(linear_records):
    whole = rows_of(table("linear", "html", records=linear_records))
    assert [*csv.reader(table("linear", "csv", records=linear_records).splitlines())] == whole
    text = table("linear", "latex", records=linear_records)
    assert r"method & data & paper I$\to$T" in text
    assert r"CCA & digits (halves) & -- & -- & -- & 0.420 $\pm$ 0.127 & " in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == len(whole)
    assert {line.count(" & ") for line in rows} == {8}
    sam = invented("retrieval", "sam", "digits", maps((0.6, 0.62), (0.6, 0.62)))
    odd = dataclasses.replace(sam, method="50% & a_b")
    assert r"50\% \& a\_b & 0.610 $\pm$" in table("retrieval", "latex", records=[odd])
