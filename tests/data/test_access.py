"""Cards, checks, the command line, and what importing costs."""

import argparse
import hashlib
import re
import subprocess
import sys

import numpy as np
import pytest

from vlalign_lib.data import (
    DATASETS,
    access,
    available,
    card,
    fetch,
    glyphs,
    load_digit_halves,
    load_glyphs,
    load_wikipedia,
    synthetic_twin,
    verify,
)
from vlalign_lib.data import _glyph_manifest as manifest
from vlalign_lib.data._registry import SETS
from vlalign_lib.data._tfidf import words
from vlalign_lib.experiments._data import add_parser


@pytest.fixture(autouse=True)
def _cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path / "cache"))


def number(text):
    return int(text.replace(",", ""))


def table(text, first):
    """Rows of the table whose head begins with ``first``, as lists of cells."""
    lines = text.split(f"| {first} |", 1)[1].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("name", DATASETS)
def test_card_says_what_a_card_must_say(name):
    shown = card(name)
    assert shown.text.startswith("## ")
    assert str(shown) == shown.text == shown._repr_markdown_()
    for needed in ("| Name |", "Made by", "Licence", "sha256", "On disk", "Splits", "Cite"):
        assert needed in shown.text
    assert "Known problems" in shown.text
    assert re.search(r"Source|Original page", shown.text)
    assert SETS[name].citation.split(".")[0] in shown.text
    assert not re.search(r"^# ", shown.text, flags=re.MULTILINE)


def test_unknown_card():
    with pytest.raises(ValueError, match="digits, glyphs, wikipedia"):
        card("coco")


def test_digits_card_has_the_loaders_numbers():
    text, ds = card("digits").text, load_digit_halves()
    assert "| Pairs | 1,797: 800 train, 200 val, 797 test |" in text
    assert [len(rows) for rows in ds.splits.values()] == [800, 200, 797]
    assert access.DIGITS_SHA256 in text


def test_glyphs_card_has_the_loaders_numbers():
    text, ds = card("glyphs").text, load_glyphs()
    assert f"| Pairs | {len(ds):,}, of which {(ds.labels >= 0).sum():,} in 17 families |" in text
    assert f"−1 for the {(ds.labels < 0).sum():,} other" in text
    families = {}
    for row in table(text, "family"):
        families |= {row[i]: int(row[i + 1]) for i in (0, 2, 4) if row[i]}
    counts = np.bincount(ds.labels[ds.labels >= 0])
    assert families == dict(zip(ds.label_names, counts.tolist(), strict=True))
    shipped = manifest.load_manifest()
    for digest in shipped.facts["fonts"].values():
        assert digest in text
    assert f"off by at most {shipped.facts['ink_tolerance']} grey levels" in text
    assert f"more than {manifest.ALIKE_LEVELS} of 255" in text
    _, sizes = np.unique(shipped.alike, return_counts=True)
    shared = sizes[sizes > 1]
    assert f"{shared.sum()} characters have such a partner, in {len(shared)} groups" in text
    assert f"up to {shared.max()} in a group" in text
    left_out = (shipped.splits["compositional"] == "-").sum()
    assert f"{left_out} characters that look exactly like a held-out one" in text
    assert words("HORIZONTAL-03-05") == ["HORIZONTAL", "03", "05"]


def test_glyphs_card_has_the_sizes_of_all_splits():
    rows = table(card("glyphs").text, "split")
    assert len(rows) == 6
    for name, pairs, train, val, test, _ in rows:
        ds = load_glyphs(name.split("`")[1], families_only="families_only" in name)
        assert len(ds) == number(pairs)
        sizes = [len(ds.splits[part]) for part in ("train", "val", "test")]
        assert sizes == [number(train), number(val), number(test)]
    serif, mono = re.search(r"([\d,]+) pictures in Serif, ([\d,]+) in Mono", str(rows)).groups()
    ds = load_glyphs("typeface")
    assert len(ds.splits["serif"]) == number(serif)
    assert len(ds.splits["mono"]) == number(mono)


def test_wikipedia_card_has_the_registered_files():
    text, entry = card("wikipedia").text, SETS["wikipedia"]
    assert f"{entry.size:,} bytes in {len(entry.files)} files" in text
    rows = [[cell.strip("`") for cell in row] for row in table(text, "file")]
    assert rows == [[f.path, f"{f.size:,}", f.sha256] for f in entry.files]
    commit = re.search(r"commit `(\w{40})`", text)[1]
    assert all(commit in url for file in entry.files for url in file.urls)


def test_wikipedia_card_has_the_sizes_of_all_splits(tmp_path):
    text = card("wikipedia").text
    ds = load_wikipedia(root=synthetic_twin("wikipedia", tmp_path))
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in ds.splits.items())
    assert f"| Pairs | {len(ds):,}: {sizes} |" in text
    rows = table(text, "category")
    columns = np.array([[int(cell) for cell in row[1:]] for row in rows])
    assert columns.sum(axis=0).tolist() == [1942, 231, 693]


def test_wikipedia_card_has_the_facts_of_the_real_files(monkeypatch):
    monkeypatch.delenv("VLALIGN_CACHE")
    if not available("wikipedia"):
        pytest.skip("the files are neither in the cache nor in a mirror that is a folder")
    ds = load_wikipedia()
    for label, row in enumerate(table(card("wikipedia").text, "category")):
        found = [(ds.split(part).labels == label).sum() for part in ("train", "val", "test")]
        assert row == [ds.label_names[label], *map(str, found)]
    assert np.linalg.matrix_rank(ds.texts.astype(float) - ds.texts.mean(axis=0), tol=1e-4) == 9
    _, group = np.unique(ds.images, axis=0, return_inverse=True)
    part = np.empty(len(ds), dtype=object)
    for name, rows in ds.splits.items():
        part[rows] = name
    twice = [
        sorted(part[group.ravel() == g]) for g in np.flatnonzero(np.bincount(group.ravel()) > 1)
    ]
    assert len(twice) == 10
    assert twice.count(["test", "train"]) == 3
    assert twice.count(["train", "val"]) == 2


def test_sets_inside_dependencies_are_here_and_need_no_download():
    for name in ("digits", "glyphs"):
        assert available(name)
        assert fetch(name) == ()
        assert {file.state for file in verify(name)} == {"ok"}


def test_verify_sees_other_digits(monkeypatch):
    monkeypatch.setattr(access, "DIGITS_SHA256", "0" * 64)
    (state,) = verify("digits")
    assert state.state == "damaged"
    assert "other digits than recorded" in state.detail
    assert state.path.name == "digits.csv.gz"


def test_verify_sees_a_wrong_picture_in_the_cache(monkeypatch):
    drawn = glyphs.draw_pictures("mono")
    file, _ = glyphs.cached_pictures("mono")
    monkeypatch.setattr(access, "draw_pictures", lambda face: drawn)
    monkeypatch.setattr(manifest, "FONTS", {"mono": manifest.FONTS["mono"]})
    file.parent.mkdir(parents=True)
    np.savez(file, pictures=drawn)
    assert [state.state for state in verify("glyphs")] == ["ok", "ok"]
    changed = drawn.copy()
    changed[7, 3, 3] ^= 1
    np.savez(file, pictures=changed)
    font, cache = verify("glyphs")
    assert (font.state, cache.state) == ("ok", "damaged")
    assert cache.path == file
    file.write_text("rubbish")
    assert verify("glyphs")[1].state == "damaged"


@pytest.mark.parametrize(("levels", "state"), [(64, "ok"), (65, "damaged")])
def test_verify_accepts_other_rounding_within_the_recorded_tolerance(monkeypatch, levels, state):
    drawn = glyphs.draw_pictures("mono")
    off = drawn.copy()
    room = np.flatnonzero(off[20].ravel() < 255)[:levels]
    off[20].reshape(-1)[room] += 1
    monkeypatch.setattr(access, "draw_pictures", lambda face: off)
    monkeypatch.setattr(manifest, "FONTS", {"mono": manifest.FONTS["mono"]})
    (found,) = verify("glyphs")
    assert found.state == state
    shipped = manifest.load_manifest()
    character = chr(shipped.codes[shipped.ink["mono"] >= 0][20])
    assert ("within tolerance" if state == "ok" else repr(character)) in found.detail


@pytest.fixture
def run():
    def call(*arguments):
        parser = argparse.ArgumentParser()
        add_parser(parser.add_subparsers())
        parsed = parser.parse_args(["data", *arguments])
        return parsed.run(parsed)

    return call


@pytest.fixture
def away(monkeypatch):
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    monkeypatch.delenv("VLALIGN_MIRROR", raising=False)


def test_command_list(run, away, capsys):
    assert run("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["digits", "here"],
        ["glyphs", "here"],
        ["wikipedia", "away"],
    ]
    assert "1.3 MB" in lines[2]
    for name, line in zip(DATASETS[3:], lines[3:], strict=False):
        assert line.split()[:5] == [name, "away", "to", "be", "made"]
    assert "cache" in lines[len(DATASETS)]


def test_command_card(run, capsys):
    assert run("card", "digits", "wikipedia") == 0
    out = capsys.readouterr().out
    assert out.count("## ") == 2
    assert out.endswith("\n")


def test_command_fetch_says_why_it_cannot(run, away, capsys):
    assert run("fetch", "wikipedia", "digits") == 1
    out, err = capsys.readouterr()
    assert "nothing to download" in out
    assert "VLALIGN_OFFLINE=1 forbids" in err
    assert "Traceback" not in err


def test_commands_fetch_and_verify(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_MIRROR", str(tmp_path / "mirror"))
    content = b"a line\n"
    digest = hashlib.sha256(content).hexdigest()
    entry = SETS["wikipedia"]
    file = type(entry.files[0])("a.list", len(content), digest, ("https://localhost/a.list",))
    monkeypatch.setitem(SETS, "wikipedia", type(entry)("wikipedia", "t", "l", "c", (file,)))
    (tmp_path / "mirror" / "wikipedia").mkdir(parents=True)
    (tmp_path / "mirror" / "wikipedia" / "a.list").write_bytes(content)
    assert run("verify", "wikipedia") == 1
    assert "missing" in capsys.readouterr().out
    assert run("fetch", "wikipedia") == 0
    assert capsys.readouterr().out.strip().endswith("a.list")
    assert run("verify", "wikipedia") == 0
    (tmp_path / "cache" / "wikipedia" / "a.list").write_bytes(b"b line\n")
    assert run("verify", "wikipedia") == 1
    assert "altered" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["fetch"], ["card", "coco"], ["verify", "coco"]])
def test_bad_commands_explain_themselves(run, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_importing_touches_nothing_heavy():
    heavy = ["torch", "matplotlib", "sklearn", "scipy", "pooch", "requests", "tqdm"]
    code = f"import sys, vlalign_lib.data; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
