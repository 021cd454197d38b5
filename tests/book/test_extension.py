"""The Sphinx extension behind the build: what must fail fails, what changed is run again."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import book_extension
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
PLOT = "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\nplt.close()\nfigure"


def notebook(*sources, alt=None):
    cells = [nbformat.v4.new_markdown_cell("# A chapter")]
    cells += [nbformat.v4.new_code_cell(source) for source in sources]
    if alt:
        cells[-1].metadata["mystnb"] = {"image": {"alt": alt}}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture
def small_book(tmp_path):
    """A book of two pages with this book's configuration and extension."""
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    shutil.copytree(ROOT / "book/_assets", tmp_path / "book/_assets")
    (tmp_path / "book/references.bib").touch()
    (tmp_path / "book/intro.md").write_text("# Front\n\n{doc}`chapter`\n")
    toc = "format: jb-book\nroot: intro\nchapters:\n  - file: chapter\n"
    (tmp_path / "book/_toc.yml").write_text(toc)

    def build(content):
        nbformat.write(content, tmp_path / "book/chapter.ipynb")
        command = [Path(sys.executable).parent / "jupyter-book", "build", "book/", "-W"]
        done = subprocess.run(
            [*command, "--keep-going"], cwd=tmp_path, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr

    return build


def test_a_book_that_holds_builds_and_does_not_run_twice(small_book, tmp_path):
    content = notebook("print('ran')", PLOT, alt="An empty pair of axes")
    code, said = small_book(content)
    assert code == 0, said
    assert "executing 1 notebook(s)" in said
    assert "ran" in (tmp_path / "_build/html/chapter.html").read_text()
    code, said = small_book(content)
    assert code == 0
    assert "executing" not in said


def test_started_in_a_notebook_the_page_still_has_its_slider(small_book, tmp_path, monkeypatch):
    """A drawing is a file of its own there, with its words as alternative text."""
    monkeypatch.setenv("JPY_SESSION_NAME", "/course.ipynb")
    monkeypatch.setenv("VLALIGN_LIVE", "1")
    draw = "def draw(k):\n    figure, axes = viz.canvas(height=1)\n    return figure"
    slider = 'viz.frame_slider(draw, [1, 2], label="k", alt="Empty at {value}.")'
    cell = f"import vlalign_lib.viz as viz\n{draw}\n{slider}"
    code, said = small_book(notebook(cell, 'viz.drawing("book_map")', alt="A map of the book"))
    assert code == 0, said
    page = (tmp_path / "_build/html/chapter.html").read_text()
    assert 'type="range"' in page
    assert "widget-view" not in page
    assert re.search(r'<img alt="A map of the book"[^>]* src="_images/[^"]*[.]svg"', page)


def test_a_failing_cell_fails_the_build_and_is_named(small_book):
    code, said = small_book(notebook("1 / 0"))
    assert code != 0
    assert "chapter.ipynb failed" in said
    assert "ZeroDivisionError" in said


def test_a_false_claim_fails_the_build(small_book):
    claim = "from vlalign_lib import course\nx = 1\ncourse.claim('x is two', x == 2)"
    code, said = small_book(notebook(claim))
    assert code != 0
    assert "ClaimFailed" in said


def test_a_picture_without_alt_text_fails_the_build(small_book):
    code, said = small_book(notebook(PLOT))
    assert code != 0
    assert "a picture without alt text" in said


def test_words_on_stderr_fail_the_build(small_book):
    code, said = small_book(notebook("import warnings\nwarnings.warn('unexpected')"))
    assert code != 0
    assert "stderr" in said


def test_the_fingerprint_follows_library_ledger_and_data(tmp_path, monkeypatch):
    for name in ("vlalign_lib/a.py", "results/linear/b.json", "constraints.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    monkeypatch.setattr(book_extension, "ROOT", tmp_path)
    seen = {fingerprint_of_outputs(["digits"])}
    for name in ("vlalign_lib/a.py", "results/linear/b.json", "constraints.txt"):
        (tmp_path / name).write_text("2")
        seen.add(fingerprint_of_outputs(["digits"]))
    seen.add(fingerprint_of_outputs(["digits", "wikipedia"]))
    assert len(seen) == 5
    (tmp_path / "README.md").write_text("no part of any output")
    assert fingerprint_of_outputs(["digits", "wikipedia"]) in seen


def fingerprint_of_outputs(data):
    return book_extension.fingerprint(book_extension.INPUTS, data)


def test_a_new_look_is_shown_without_running_anything_again(small_book, tmp_path):
    content = notebook("print('ran')")
    assert small_book(content)[0] == 0
    (tmp_path / "book/_assets/course.css").write_text("body { color: teal }")
    code, said = small_book(content)
    assert code == 0
    assert "executing" not in said
    assert "teal" in (tmp_path / "_build/html/_static/course.css").read_text()


def test_data_that_cannot_be_had_does_not_stop_the_build(monkeypatch, tmp_path):
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path))
    monkeypatch.delenv("VLALIGN_MIRROR", raising=False)
    assert book_extension.bring_data() == ["digits", "glyphs"]


def test_benchmarks_become_a_row_a_peer():
    peers = [
        {"name": "a & b", "median_s": 2.0, "ratio": 20.0},
        {"name": "c", "median_s": 0.5, "ratio": 5.0},
    ]
    timed = {
        "kind": "time", "operation": "mAP", "size": "9×9", "goal": 12.0,
        "ours": {"median_s": 0.1}, "peers": peers, "best_peer": "c",
    }  # fmt: skip
    weighed = {
        "kind": "memory", "operation": "ranks", "size": "9×9", "peak_mb": 372, "limit_mb": 2000
    }  # fmt: skip
    machine = {"cpu": "chip", "threads": 1, "date": "2026-01-01"}
    text = book_extension.benchmark_html({"cases": [timed, weighed], "machine": machine})
    assert text.count("<tr>") == 1 + 3
    assert "a &amp; b" in text
    assert text.count("12×") == 1, "the goal counts against the fastest peer"
    assert "100 ms" in text
    assert "372 MB" in text


def test_times_are_said_in_a_unit_that_suits_them():
    said = [book_extension.seconds(value) for value in (12.345, 1.0, 0.0123)]
    assert said == ["12.35 s", "1.00 s", "12.3 ms"]
