"""No result is typed into prose: numbers come from a cell or a record, through glue."""

from pathlib import Path

import nbformat
import pytest
from prose import typed_results

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PAGES = sorted(p for p in (ROOT / "book").rglob("*.md") if "notebooks" not in p.parts)


def is_quoted(cell):
    """A cell tagged `quoted` repeats a paper's table, and must say which paper's."""
    quoted = "quoted" in cell.metadata.get("tags", [])
    if quoted:
        assert "{cite" in cell.source, "a quoted table names its source"
    return quoted


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_result_is_typed_into_a_chapter(path):
    notebook = nbformat.read(path, as_version=4)
    cells = [c for c in notebook.cells if c.cell_type == "markdown" and not is_quoted(c)]
    assert not [line for cell in cells for line in typed_results(cell.source)]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_no_result_is_typed_into_a_page(path):
    assert not typed_results(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "CCA reaches 0.31 here.",
        "It reaches .31 here.",
        "About 31 % of the queries",
        "About 31% of the queries",
        "31 percent of the queries",
        "`code` and then 0.5",
        "| CCA | 0.31 |",
        "a $x$ formula, 0.5, and $y$ another",
        "from 0.2 to 95 % intervals",
        "it was 95 % of them",
    ],
)
def test_a_typed_result_is_found(text):
    assert typed_results(text)


@pytest.mark.parametrize(
    "text",
    [
        "`reg=0.5` is code",
        "$\\kappa = 0.5$ is mathematics",
        "$$\n0.5\n$$",
        "```python\nx = 0.5\n```",
        "{glue:text}`map:.2f` is glue, and so is {glue:text}`a/b::c:.1f`",
        "[a link](https://x.org/1.2/3.4)",
        "means with 95 % intervals",
        "in 2010, on 5,000 pairs, in chapter 03.",
        "1. a list\n2. of steps",
        "```{figure} a.png\n:width: 50%\n```",
    ],
)
def test_what_is_no_result_is_left_alone(text):
    assert not typed_results(text)
