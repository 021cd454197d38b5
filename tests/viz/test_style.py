"""The style: what every figure has in common, and who counts as a reader with a kernel."""

import os
import subprocess
import sys
import types

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from vlalign_lib.viz import CYCLE, WIDTH, canvas, interval_plot, is_live, style, use_style

mpl.use("agg")


@pytest.fixture(autouse=True)
def _settings_restored():
    with mpl.rc_context():
        yield


def test_no_text_below_nine_points_and_an_opaque_white_card():
    settings = style()
    sizes = [value for name, value in settings.items() if name.endswith(("size", "fontsize"))]
    sizes = [size for size in sizes if isinstance(size, (int, float)) and size != 6]
    assert len(sizes) >= 8
    assert min(sizes) >= 9
    assert settings["figure.facecolor"] == settings["savefig.facecolor"] == "white"
    assert settings["savefig.transparent"] is False


def test_use_style_sets_what_style_says_and_seaborn_follows():
    use_style()
    for name, value in style().items():
        found = mpl.rcParams[name]
        assert (tuple(found) if isinstance(value, tuple) else found) == value, name
    seaborn = pytest.importorskip("seaborn")
    figure, axes = plt.subplots()
    seaborn.lineplot(x=[0, 1], y=[0, 1], ax=axes)
    plt.close(figure)
    assert axes.lines[0].get_color().lower() == CYCLE[0].lower()
    assert not axes.spines["top"].get_visible()


def test_canvas_is_closed_styled_and_leaves_the_settings_alone():
    before = dict(mpl.rcParams)
    figure, axes = canvas(2, 3, height=2.5, sharex=True)
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
    assert axes.shape == (2, 3)
    assert figure.get_size_inches() == pytest.approx([WIDTH, 2.5])
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert not axes[0, 0].spines["right"].get_visible()


@pytest.mark.parametrize("size", [{"height": 0}, {"height": -1}])
def test_canvas_refuses_impossible_sizes(size):
    with pytest.raises(ValueError, match="height in inches: expected a"):
        canvas(**size)


@pytest.mark.parametrize(("said", "meant"), [("0", False), ("1", True)])
def test_live_can_be_chosen(monkeypatch, said, meant):
    monkeypatch.setenv("VLALIGN_LIVE", said)
    assert is_live() is meant


def test_live_is_false_here_even_inside_jupyters_terminal(monkeypatch):
    monkeypatch.delenv("VLALIGN_LIVE", raising=False)
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    assert is_live() is False  # pytest is no kernel


def test_live_refuses_other_words(monkeypatch):
    monkeypatch.setenv("VLALIGN_LIVE", "yes")
    with pytest.raises(ValueError, match="0 or 1"):
        is_live()


class FakeShell:
    def __init__(self, kernel, **names):
        self.user_ns = names
        if kernel:
            self.kernel = object()


@pytest.mark.parametrize(
    ("kernel", "names", "variables", "modules", "live"),
    [
        (True, {}, {}, {}, False),  # the build of the book
        (True, {}, {"JPY_SESSION_NAME": "x.ipynb"}, {}, True),  # Jupyter
        (True, {"__vsc_ipynb_file__": "x"}, {}, {}, True),  # VS Code
        (True, {}, {}, {"google.colab": object()}, True),  # Colab
        (False, {}, {"JPY_SESSION_NAME": "x.ipynb"}, {}, False),  # IPython in a terminal
    ],
)
def test_who_counts_as_live(monkeypatch, kernel, names, variables, modules, live):
    monkeypatch.delenv("VLALIGN_LIVE", raising=False)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name, value in modules.items():
        monkeypatch.setitem(sys.modules, name, value)
    shell = FakeShell(kernel, **names)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert is_live() is live


CELL = """
import vlalign_lib.viz as viz
viz.use_style()
def draw(slope):
    figure, axes = viz.canvas(height=1.5)
    axes.plot([0, 1], [0, slope])
    return figure
from IPython.display import display
display(draw(1))
viz.frame_slider(draw, [1, 2], label="slope", alt="A line of slope {value}.")
"""
EXECUTE = """
import nbclient, nbformat
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell({cell!r})])
nbclient.NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
for output in notebook.cells[0].outputs:
    print(*sorted(output["data"]))
"""


@pytest.mark.parametrize("start", ["a shell", "a cell's subprocess", "a cell"])
def test_a_notebook_that_a_notebook_executes_has_the_form_for_a_page(start):
    """nbclient, nbmake, papermill and jupyter-book hand the variables of a cell down.

    Whatever matplotlib's backend is, a figure is shown as a picture.
    """
    pytest.importorskip("ipykernel")
    code = EXECUTE.format(cell=CELL)
    if start == "a cell":  # as papermill.execute_notebook does: the starter is a kernel itself
        outer = EXECUTE.replace('print(*sorted(output["data"]))', 'print(output["text"])')
        code = outer.format(cell=code)
    environment = {k: v for k, v in os.environ.items() if k not in ("VLALIGN_LIVE", "MPLBACKEND")}
    environment["MPLBACKEND"] = "agg"
    if start != "a shell":
        environment["JPY_SESSION_NAME"] = "/course.ipynb"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True,
                          text=True, timeout=300)  # fmt: skip
    figure, slider = done.stdout.split("\n")[:2]
    assert "image/png" in figure, done.stderr
    assert slider == "text/html text/plain"


def test_other_settings_of_matplotlib_change_no_figure():
    def pixels():
        results = {"CCA": (0.3, 0.2, 0.4), "SM": (0.5, 0.4, 0.6)}
        figure = interval_plot(results, xlabel="mAP", reference={"chance": 0.1}, title="T")
        canvas_of = FigureCanvasAgg(figure)
        canvas_of.draw()
        return bytes(canvas_of.buffer_rgba())

    before = pixels()
    with plt.style.context(["dark_background", {"font.size": 25, "lines.linewidth": 9}]):
        assert pixels() == before
