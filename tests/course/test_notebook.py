"""In a kernel: glue as MyST-NB reads it, one picture a figure, and checks that stop nothing."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = {
    "setup": "from vlalign_lib import course, viz\nimport numpy as np\n"
    "found = course.setup('ch01')",
    "setup last": "course.setup('ch01')",
    "glue": "\n".join(
        [
            "course.glue('two', 0.3, '.2f')",
            "course.glue('share', np.float64(0.314), '.0%')",
            "course.glue('big', 1234567, ',')",
            "course.glue('raw', np.float64(0.2512))",
            "course.glue('word', 'CCA & kin')",
            "course.glue('picture', viz.correlation_spectrum([0.9], [0.8]))",
        ]
    ),
    "claim": "course.claim('{r:.2f} is above chance', bool(found.seed == 0), r=0.314)",
    "figure": "viz.correlation_spectrum([0.9, 0.5], [0.8, 0.1])",
    "wrong": "course.check('ch01.recall_at_k', lambda *a, **k: 'nonsense')",
    "raises": "course.check('ch01.recall_at_k', lambda *a, **k: 1 / 0)",
    "exits": "def leave(*a, **k):\n    import sys; sys.exit(1)\n"
    "course.check('ch01.recall_at_k', leave)",
    "untouched": "course.check('ch01.recall_at_k', ...)",
    "hint": "course.hint('ch01.recall_at_k')",
    "quiz": "course.quiz([course.Question('Which?', [course.Option('a', 'Yes.', right=True),\n"
    "    course.Option('b', 'No.')])])",
    "budget": "course.budget('ch01')",
    "slider": "def draw(k):\n    figure, axes = viz.canvas(height=2)\n    axes.plot([0, k])\n"
    "    return figure\n"
    "viz.frame_slider(draw, [1, 2], label='slope', alt='A line of slope {value}.')",
    "still here": "print('still here')",
}
PROSE = (
    "# A page\n\nTwo {glue:text}`two`, share {glue:text}`share`, big {glue:text}`big`, "
    "raw {glue:text}`raw:.1f`, word {glue:text}`word`, any {glue:}`two`.\n\n"
    "```{glue:figure} picture\nA glued picture.\n```"
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook above, executed as the book executes it."""
    folder = tmp_path_factory.mktemp("book")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell(PROSE)]
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    environment = dict(os.environ, VLALIGN_RESULTS=str(folder / "results"), MPLBACKEND="")
    for name in ("VLALIGN_LIVE", "JPY_SESSION_NAME", "MPLBACKEND"):
        environment.pop(name, None)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute(env=environment)
    nbformat.write(notebook, folder / "page.ipynb")
    return folder / "page.ipynb"


@pytest.fixture(scope="module")
def outputs(executed):
    cells = nbformat.read(executed, as_version=4).cells[1:]
    return dict(zip(CELLS, (cell.outputs for cell in cells), strict=True))


def texts(found):
    return "".join(o.get("text", "") or o.get("data", {}).get("text/plain", "") for o in found)


def test_setup_shows_itself_once_wherever_it_stands(outputs):
    for name in ("setup", "setup last"):
        assert len(outputs[name]) == 1
        assert texts(outputs[name]).startswith("ch01 · vlalign_lib")


def test_wrong_attempts_stop_nothing(outputs):
    assert texts(outputs["still here"]) == "still here\n"
    for name in ("wrong", "raises", "exits"):
        assert [o.output_type for o in outputs[name]] == ["display_data"]
        assert "✗ Not yet" in texts(outputs[name])
    assert "not attempted" in texts(outputs["untouched"])
    assert "raised ZeroDivisionError in line 1" in texts(outputs["raises"])


@pytest.mark.parametrize("name", ["claim", "hint", "quiz", "budget", "slider", "wrong", "setup"])
def test_what_is_shown_has_html_and_text_and_no_widget(outputs, name):
    (output,) = outputs[name]
    assert set(output.data) == {"text/html", "text/plain"}
    assert not output.data["text/plain"].startswith("<")


def test_a_figure_is_shown_once(outputs):
    (output,) = outputs["figure"]
    assert set(output.data) == {"image/png", "text/plain"}


def test_glue_is_invisible_in_jupyter(outputs):
    assert len(outputs["glue"]) == 6
    for output in outputs["glue"]:
        assert output.output_type == "display_data"
        assert all(kind.startswith("application/papermill.record/") for kind in output.data)


def test_myst_nb_finds_what_was_glued(executed):
    from myst_nb.ext.glue import extract_glue_data_cell

    notebook = nbformat.read(executed, as_version=4)
    found = dict(extract_glue_data_cell(notebook.cells[1 + list(CELLS).index("glue")]))
    assert found["two"]["data"] == {"text/plain": "'0.30'", "text/html": "0.30"}
    assert found["big"]["data"]["text/plain"] == "'1,234,567'"
    assert found["word"]["data"]["text/html"] == "CCA &amp; kin"
    assert "image/png" in found["picture"]["data"]


def test_a_page_built_from_it_shows_the_numbers(executed):
    folder = executed.parent
    (folder / "conf.py").write_text(
        'extensions = ["myst_nb"]\nnb_execution_mode = "off"\nroot_doc = "page"\n'
        'myst_enable_extensions = ["dollarmath"]\nexclude_patterns = ["out", "results"]\n',
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(folder)]
    done = subprocess.run([*command, str(folder / "out")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (folder / "out" / "page.html").read_text(encoding="utf-8")
    plain = " ".join(re.sub(r"<[^>]*>", "", page).split())
    for shown in ("Two 0.30, share 31%, big 1,234,567, raw 0.3", "word CCA &amp; kin, any 0.30."):
        assert shown in plain
    assert "A glued picture." in plain
    assert 'type="range"' in page
    assert "jupyter.widget" not in page
    assert "still here" in plain


def test_where_no_notebook_runs_glue_does_nothing(capsys):
    from vlalign_lib.course import glue

    glue("x", 0.5, ".2f")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "value", "fmt"),
    [("", 1, ""), (" ", 1, ""), (None, 1, ""), ("x", 0.5, "d"), ("x", "word", ".2f"),
     ("x", None, ".1f"), ("x", [1], ".2f")],
)  # fmt: skip
def test_glue_refuses_and_says_why(name, value, fmt):
    from vlalign_lib.course import glue

    with pytest.raises(ValueError, match="glue: "):
        glue(name, value, fmt)


def test_a_false_claim_and_a_broken_solution_fail_the_notebook(tmp_path):
    for source in (
        "course.claim('{r} is large', 0.1 > found.seed + 1, r=0.1)",
        "course.check('ch01.recall_at_k', lambda *a, **k: 0, solution=True)",
        "course.check('ch01.recall_at_k', ..., solution=True)",
    ):
        notebook = nbformat.v4.new_notebook()
        cells = (CELLS["setup"], source)
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
        client = NotebookClient(notebook, timeout=60, kernel_name="python3")
        with pytest.raises(Exception, match=r"ClaimFailed|SolutionFailed"):
            client.execute(cwd=str(tmp_path))
