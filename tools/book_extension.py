"""What the book needs beyond Jupyter Book, as a Sphinx extension, so that the plain command
`jupyter-book build book/` does everything:

- MathJax and the data sets are brought in once, so that pages need no network;
- notebooks whose outputs are not cached are executed side by side, one process each, and
  the cache is emptied when the library, the ledger or the pinned packages have changed;
- the directives ``ledger-table``, ``benchmark-table``, ``checked-against`` and
  ``measured-times`` show records, and ``wall-of-glyphs`` draws the picture of the front page.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
from checked_against import CheckedAgainst
from docutils import nodes
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from traitlets.config import Config
from vendor import CDN, ensure_mathjax

from vlalign_lib.data import DATASETS, DataUnavailable, fetch

ROOT = Path(__file__).resolve().parent.parent
LOGGER = logging.getLogger(__name__)
# what every page looks like
LOOKS = ("book/_assets/*.css", "tools/book_extension.py", "tools/checked_against.py")
# what the outputs of a notebook depend on besides its own cells
INPUTS = ("vlalign_lib/**/*", "results/**/*.json", "constraints.txt")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    disconnect(app, "sphinx_thebe")  # it prepares pages for a remote kernel, twice
    app.connect("config-inited", prepare_mathjax)
    app.connect("env-get-outdated", forget_outdated)
    os.environ["VLALIGN_LIVE"] = "0"  # a page has no kernel, wherever its build was started
    app.connect("env-before-read-docs", execute_side_by_side)
    app.connect("doctree-resolved", require_alt_text)
    app.connect("autodoc-skip-member", skip_inherited_plumbing)
    app.add_directive("ledger-table", LedgerTable)
    app.add_directive("benchmark-table", BenchmarkTable)
    app.add_directive("checked-against", CheckedAgainst)
    app.add_directive("measured-times", MeasuredTimes)
    app.add_directive("wall-of-glyphs", WallOfGlyphs)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}


def disconnect(app: Sphinx, extension: str) -> None:
    """Take an extension that Jupyter Book always loads out of the build, and its style sheet."""
    for listeners in app.events.listeners.values():
        listeners[:] = [each for each in listeners if each.handler.__module__ != extension]
    sheet = extension.replace("_", "-") + ".css"
    app.registry.css_files[:] = [each for each in app.registry.css_files if each[0] != sheet]


def prepare_mathjax(app: Sphinx, config: Any) -> None:
    """Bring MathJax in; without it, let the pages load it and say so."""
    if not ensure_mathjax():
        config.mathjax_path = CDN
        LOGGER.info("MathJax could not be brought in: the pages will load it from the network")


def fingerprint(patterns: tuple[str, ...], *more: object) -> str:
    """A hash of the files that fit the patterns, and of whatever else matters."""
    digest = hashlib.sha256(repr(more).encode())
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def bring_data() -> list[str]:
    """Fetch what the chapters download, once and before they run; return what is there now."""
    there = []
    for name in DATASETS:
        try:
            fetch(name, progress=False)
            there.append(name)
        except DataUnavailable:
            LOGGER.info(f"{name} cannot be had here: its chapters show recorded numbers instead")
    return there


def forget_outdated(
    app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]
) -> set[str]:
    """Empty the cache of outputs, and read every page again, when what they show has changed."""
    folder = Path(env.mystnb_config.execution_cache_path)
    mark = folder / "fingerprints.json"
    before = json.loads(mark.read_text()) if mark.exists() else {}
    now = {"outputs": fingerprint(INPUTS, bring_data()), "looks": fingerprint(LOOKS)}
    if before == now:
        return set()
    if before.get("outputs") != now["outputs"]:
        get_cache(str(folder)).clear_cache()
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(now))
    return set(env.found_docs)


def execute_side_by_side(app: Sphinx, env: Any, docnames: list[str]) -> None:
    """Execute the notebooks about to be read whose outputs are not cached, in parallel."""
    cache = get_cache(env.mystnb_config.execution_cache_path)
    waiting = []
    for docname in docnames:
        path = Path(env.doc2path(docname)).resolve()
        if path.suffix != ".ipynb":
            continue
        notebook = nbformat.read(path, as_version=4)
        try:
            cache.match_cache_notebook(notebook)
        except KeyError:
            waiting.append((path, notebook))
    if not waiting:
        return
    cores = os.cpu_count() or 1
    workers = min(cores, len(waiting))
    LOGGER.info(f"executing {len(waiting)} notebook(s), {workers} at a time")
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = threads or str(max(1, cores // workers))
    os.environ.setdefault("TQDM_DISABLE", "1")  # a page has no use for progress bars
    try:
        with ThreadPoolExecutor(workers) as pool:
            runs = [
                pool.submit(execute, notebook, path.parent, app.config.nb_execution_timeout)
                for path, notebook in waiting
            ]
            results = [run.result() for run in runs]
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]
    failures = []
    for (path, notebook), result in zip(waiting, results, strict=True):
        if result.err is not None:
            failures.append(f"{path.name} failed:\n{result.err}")
            continue
        LOGGER.info(f"{path.name}: {result.time:.0f} s")
        cache.cache_notebook_bundle(
            CacheBundleIn(notebook, str(path), data={"execution_seconds": result.time}),
            check_validity=False,
            overwrite=True,
        )
    if failures:
        raise ExtensionError("\n".join(failures))


def execute(notebook: nbformat.NotebookNode, folder: Path, timeout: int) -> ExecutionResult:
    """Execute a notebook in place; what stopped it is in the result."""
    with tempfile.TemporaryDirectory() as sockets:
        config = Config()
        if os.name != "nt":  # sockets that are files: nothing listens on a port
            config.KernelManager = Config(transport="ipc", ip=f"{sockets}/kernel")
        return single_nb_execution(
            notebook, cwd=str(folder), timeout=timeout, allow_errors=False, config=config
        )


def skip_inherited_plumbing(
    app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any
) -> bool | None:
    """Leave scikit-learn's metadata routing out of the API pages: no estimator here uses it."""
    routing = name.startswith("set_") and name.endswith("_request")
    return True if routing or name == "get_metadata_routing" else None


def require_alt_text(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Warn, which fails the build, about every picture that nobody described."""
    for picture in doctree.findall(nodes.image):
        if not picture.get("alt", "").strip():
            LOGGER.warning(
                "%s: a picture without alt text (%s); set mystnb.image.alt in its cell's metadata",
                docname,
                picture.get("uri"),
            )


def raw_html(content: str) -> list[nodes.Node]:
    return [nodes.raw("", content, format="html")]


class LedgerTable(SphinxDirective):
    """The paper says, we measure: the table of one experiment."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Read the records and lay the table out."""
        from vlalign_lib.experiments import table

        return raw_html(
            f'<div class="table-scroll">{table(self.arguments[0], format="html")}</div>'
        )


class BenchmarkTable(SphinxDirective):
    """Our times beside the peers' from results/benchmarks/NAME.json."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Read the record and lay the table out."""
        path = ROOT / "results/benchmarks" / f"{self.arguments[0]}.json"
        return raw_html(benchmark_html(json.loads(path.read_text(encoding="utf-8"))))


def benchmark_html(record: dict[str, Any]) -> str:
    """Lay a benchmark record out: a row for each operation and each peer."""
    head = ("operation", "size", "ours", "peer", "its time", "ratio", "goal")
    rows = []
    for case in record["cases"]:
        first = (case["operation"], case["size"])
        if case["kind"] == "memory":
            limit = f"at most {case['limit_mb']:,.0f} MB"
            rows.append((*first, f"{case['peak_mb']:,.0f} MB", "", "", "", limit))
            continue
        for peer in case["peers"]:
            counts = peer["name"] == case["best_peer"] and case["goal"] is not None
            times = (seconds(case["ours"]["median_s"]), peer["name"], seconds(peer["median_s"]))
            goal = f"{case['goal']:g}×" if counts else ""
            rows.append((*first, *times, f"{peer['ratio']:.1f}×", goal))
    machine = record["machine"]
    caption = (
        f"{machine['cpu']}, {machine['threads']} thread(s), {machine['date']}. Medians of "
        "interleaved runs; the goal counts against the fastest peer."
    )
    return html_table(head, rows, caption)


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"


class MeasuredTimes(SphinxDirective):
    """What each chapter took when it was measured, from results/budgets/."""

    def run(self) -> list[nodes.Node]:
        """Read the records and lay the table out."""
        head = ("chapter", "tier", "time", "memory", "slowest part", "measured on")
        rows = []
        for path in sorted((ROOT / "results/budgets").glob("*.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            for tier, cost in record["tiers"].items():
                slowest = max(cost["slow"].items(), key=lambda item: item[1], default=("", 0))
                where = f"{cost['device']}, {cost['date']}"
                size = f"{cost['memory_mb']:.0f} MB"
                rows.append(
                    (record["chapter"], tier, seconds(cost["seconds"]), size, slowest[0], where)
                )
        return raw_html(html_table(head, rows, "One run each, from a cold start."))


class WallOfGlyphs(SphinxDirective):
    """The question of the book as a picture: characters, their names shuffled, two threads."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw the characters whose names are listed, one a line."""
        import matplotlib as mpl

        from vlalign_lib import viz
        from vlalign_lib.data import load_glyphs

        glyphs = load_glyphs()
        names = [line.strip() for line in self.content if line.strip()]
        rows = [glyphs.captions.index(name) for name in names]
        picture = io.BytesIO()
        with mpl.rc_context(viz.style()):
            viz.pairs_wall(glyphs.images[rows], names, threads=(0, 6)).savefig(picture)
        uri = "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
        alt = (
            f"{len(names)} characters on the left, {len(names)} names in another order on the "
            f"right. Threads join two of them: {names[0]} and {names[6]}."
        )
        return [nodes.image(uri=uri, alt=alt, classes=["figure-card"])]


def html_table(head: tuple[str, ...], rows: list[tuple[str, ...]], caption: str) -> str:
    """A table in a box that scrolls by itself on a narrow screen."""
    top = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="table-scroll"><table><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )
