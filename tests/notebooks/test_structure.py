"""Each chapter has all its parts, in order, and keeps the promises that can be read off it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import stamp

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHAPTERS = [p for p in NOTEBOOKS if not p.stem.startswith("ch00")]
PARTS = [
    "The problem in one picture",
    "The idea",
    "The mathematics",
    "Ten lines, then the library",
    "Move it",
    "Break it",
    "The experiment",
    "The paper says, we measure",
    "Exercises",
    "Quiz",
    "What to take away",
    "Traps",
    "Further reading",
    "Next",
]
BOILERPLATE = {"badge", "setup"}


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [c for c in notebook.cells if c.cell_type == "code"]


def calls(notebook, name):
    """The calls of `name`, or of anything's attribute `name`, in a notebook's code."""
    found = []
    for cell in code_cells(notebook):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call):
                function = node.func
                called = getattr(function, "attr", getattr(function, "id", None))
                if called == name:
                    found.append(node)
    return found


def first_text(call):
    return call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else None


def is_computed(node):
    """Whether a condition depends on anything: it names a variable and is no mere constant."""
    return any(isinstance(n, ast.Name) for n in ast.walk(node)) and not (
        isinstance(node, ast.Call) and getattr(node.func, "id", "") == "bool" and not node.args
    )


parametrize = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
parametrize_chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)


@parametrize
def test_it_is_stripped(path):
    for cell in code_cells(read(path)):
        assert not cell.outputs
        assert cell.execution_count is None


def test_nbstripout_agrees():
    command = [sys.executable, "-m", "nbstripout", "--keep-id", "--verify"]
    extra = ["--extra-keys", "metadata.language_info"]
    done = subprocess.run([*command, *extra, *map(str, NOTEBOOKS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@parametrize
def test_it_opens_with_title_badge_and_setup(path):
    cells = read(path).cells
    assert re.match(rf"# {path.stem[2:4]} \S", cells[0].source)
    assert [c.get("id") for c in cells[:6] if c.get("id") in BOILERPLATE] == ["badge", "setup"]


@parametrize
def test_its_stamped_cells_are_current(path):
    text = path.read_text(encoding="utf-8")
    assert stamp.stamp_notebook(text, path, *stamp.address(ROOT)) == text, "run tools/stamp.py"


@parametrize_chapters
def test_it_has_every_part_in_order(path):
    text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    headings = re.findall(r"(?m)^#{2,3} (.+?)\s*$", text)
    assert [h for h in headings if h in PARTS] == PARTS


@parametrize_chapters
def test_it_asks_before_it_shows(path):
    text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    assert "Predict before you run" in text
    assert re.search(r"(?m)^\$\$ \(eq-", text) or "\\label{" in text, "numbered equations"


@parametrize
def test_it_shows_its_budget(path):
    assert [first_text(c) for c in calls(read(path), "budget")] == [path.stem.split("_")[0]]


@parametrize_chapters
def test_it_has_a_slider(path):
    assert calls(read(path), "frame_slider")


@parametrize
def test_its_claims_are_computed(path):
    claims = calls(read(path), "claim")
    assert len(claims) >= (3 if path in CHAPTERS else 1)
    for claim in claims:
        assert len(claim.args) == 2
        assert is_computed(claim.args[1]), ast.unparse(claim)


@pytest.mark.parametrize("source", ["claim('x', True)", "claim('x', 1 > 0)", "claim('x', bool())"])
def test_a_claim_that_cannot_fail_is_found(source):
    assert not is_computed(ast.parse(source).body[0].value.args[1])


@parametrize
def test_each_exercise_has_hint_check_and_solution(path):
    from vlalign_lib.course.exercises import of_chapter

    notebook = read(path)
    chapter = path.stem.split("_")[0]
    registered = set(of_chapter(chapter))
    hints = {first_text(c) for c in calls(notebook, "hint")}
    checks = calls(notebook, "check")
    solved = {first_text(c) for c in checks if any(k.arg == "solution" for k in c.keywords)}
    tried = {first_text(c) for c in checks if not c.keywords}
    assert registered == hints == solved == tried
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert len(re.findall(r"(?m)^### Exercise \d", text)) >= (4 if path in CHAPTERS else 2)


@parametrize
def test_solutions_are_folded_everywhere(path):
    """In the book, in JupyterLab and on Colab."""
    for cell in code_cells(read(path)):
        titled = cell.source.startswith("# @title Solution\n")
        assert titled == ("solution=True" in cell.source), cell.source
        if titled:
            assert cell.metadata.get("tags", []) == ["hide-cell"]
            assert cell.metadata.get("jupyter", {}).get("source_hidden")
            assert cell.metadata.get("cellView") == "form"


@parametrize
def test_the_quiz_does_not_show_its_answers(path):
    """Questions stand in the library; the notebook only names its chapter."""
    assert [first_text(c) for c in calls(read(path), "quiz")] == [path.stem.split("_")[0]]


@parametrize
def test_cells_are_short(path):
    for cell in code_cells(read(path)):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 25, cell.source


@parametrize
def test_cells_that_draw_are_described(path):
    """A cell that draws through the library's figures or pyplot carries alt text."""
    for cell in code_cells(read(path)):
        if not cell.source.strip() or "frame_slider" in cell.source:
            continue
        last = ast.parse(cell.source).body[-1]
        if isinstance(last, ast.Expr) and re.match(
            r"(viz\.|plt\.|fig\b|figure\b)", ast.unparse(last)
        ):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) > 20, cell.source


@parametrize
def test_the_tone(path):
    text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    text = re.sub(r"(?s)<[^>]*>|!\[", "", text)
    assert not re.search(r"(?i)\b(simply|obviously|trivially|of course)\b", text)
    assert not re.search(r"\w![\s\"*)]", text), "no exclamation marks"
