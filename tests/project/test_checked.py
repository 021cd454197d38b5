"""Every function of the numerics was compared with something, and the page shows it."""

import importlib
import json

import checked_against
import collect_checks
import pytest

PARTS = ("losses", "similarity", "temporal", "metrics", "linear", "experiments")
ORACLES = {"loop", "closed form", "derivation"}


def recorded(part):
    path = collect_checks.CHECKS / f"{part}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", PARTS)
def test_every_function_has_an_oracle(part):
    proven = {e["function"] for e in recorded(part) if e["kind"] in ORACLES}
    names = {f"{part}.{name}" for name in checked_against.functions(part)}
    assert names - proven == set()


@pytest.mark.parametrize("part", PARTS)
def test_every_entry_is_about_a_public_name(part):
    public = {f"{part}.{name}" for name in importlib.import_module(f"vlalign_lib.{part}").__all__}
    assert {e["function"] for e in recorded(part)} <= public


@pytest.mark.parametrize("part", PARTS)
def test_every_error_is_allowed(part):
    assert all(e["error"] <= e["tolerance"] for e in recorded(part))


@pytest.mark.parametrize("part", PARTS)
def test_no_printed_error_is_above_its_printed_limit(part):
    for e in recorded(part):
        error, limit = (float(checked_against.number(e[name])) for name in ("error", "tolerance"))
        assert error <= limit, e


def entry(error, function="losses.a", against="a loop"):
    return {
        "function": function, "kind": "loop", "against": against, "tolerance": 1e-9, "error": error
    }  # fmt: skip


def test_the_largest_error_of_several_counts(tmp_path):
    for worker, errors in (("gw0", [1e-12, 3.14159e-11]), ("gw1", [2e-12])):
        lines = [json.dumps(entry(error)) for error in errors]
        (tmp_path / f"{worker}.jsonl").write_text("\n".join(lines) + "\n")
    (found,) = collect_checks.collect(tmp_path)["losses"]
    assert (found["error"], found["comparisons"]) == (3.1e-11, 3)


def test_the_page_shows_what_was_compared_and_what_was_not():
    speed = {"best_peer": "x", "operation": "o", "size": "9", "ratio": 2.5}
    text = checked_against.checked_html(
        "losses", ["a", "b"], [entry(1e-12, against="<loop>")], {"losses.a": [speed]}
    )
    assert "&lt;loop&gt;" in text
    assert "1.0e-12" in text
    assert "2.5× as fast" in text
    assert text.count("<tr>") == 1 + 3 + 2
    assert "nothing recorded" in text
