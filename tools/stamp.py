"""Write the repository's address, which `_config.yml` holds, everywhere it is needed.

python tools/stamp.py           write it
python tools/stamp.py --check   only say where it is not as it should be; exit code 1 if so

Stamped are the first two cells of every notebook (the Colab badge and the set-up cell), and in
the README, the citation file and the package's metadata the links that name the repository.
Solutions, the cells that open with `# @title Solution`, are folded on the way: on Colab, in
JupyterLab and in the book.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
from pathlib import Path

import nbformat
import yaml

ROOT = Path(__file__).resolve().parent.parent
BADGE, SETUP = "badge", "setup"  # the ids of the two stamped cells

# Folds a cell on Colab, in JupyterLab and in the book.
FOLDED = {
    "cellView": "form",
    "jupyter": {"source_hidden": True},
    "mystnb": {
        "code_prompt_show": "Show the solution",
        "code_prompt_hide": "Hide the solution",
    },
    "tags": ["hide-cell"],
}

SETUP_SOURCE = """\
# Install the library behind this book, on Colab and only if it is missing.
import importlib.util
import subprocess
import sys

missing = importlib.util.find_spec("vlalign_lib") is None
if missing and "google.colab" in sys.modules:
    source = "git+{url}@{branch}"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"vlalign-lib @ {{source}}"], check=True)

from vlalign_lib import course

course.setup("{chapter}")"""


def main(argv: list[str] | None = None) -> int:
    """Stamp, or check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(argv).check
    url, branch = address(ROOT)
    different = []
    for path, old, new in stamped(ROOT, url, branch):
        if old != new:
            different.append(path.relative_to(ROOT))
            if not check:
                path.write_text(new, encoding="utf-8")
    for name in different:
        print(f"{'differs' if check else 'stamped'}: {name}")
    if check and different:
        print("Run: python tools/stamp.py")
    return 1 if check and different else 0


def address(root: Path) -> tuple[str, str]:
    """The repository's address and branch, from the one place that holds them."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"].rstrip("/"), config["repository"]["branch"]


def stamped(root: Path, url: str, branch: str) -> list[tuple[Path, str, str]]:
    """Each stamped file with its text as it is and as it should be."""
    files = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        old = path.read_text(encoding="utf-8")
        files.append((path, old, stamp_notebook(old, path, url, branch)))
    for name in ("README.md", "CITATION.cff", "pyproject.toml"):
        path = root / name
        old = path.read_text(encoding="utf-8")
        files.append((path, old, stamp_text(old, url, branch)))
    return files


def stamp_notebook(text: str, path: Path, url: str, branch: str) -> str:
    """The notebook with its badge cell and set-up cell written anew."""
    notebook = nbformat.reads(text, as_version=4)
    cells = {cell.get("id"): cell for cell in notebook.cells}
    for name in (BADGE, SETUP):
        if name not in cells:
            raise SystemExit(f"{path.name}: no cell has the id {name!r}")
    chapter = path.stem.split("_")[0]
    cells[BADGE].source = badge(url, branch, path.name)
    cells[SETUP].source = SETUP_SOURCE.format(url=url, branch=branch, chapter=chapter)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("# @title Solution\n"):
            cell.metadata.update(FOLDED)
    return nbformat.writes(notebook, indent=1) + "\n"


def badge(url: str, branch: str, name: str) -> str:
    """The link that opens a notebook on Colab; its picture is inside it and needs no network."""
    picture = base64.b64encode((ROOT / "book/_assets/badge-colab.svg").read_bytes()).decode()
    return (
        f'<a href="{colab(url, branch, name)}">'
        f'<img alt="Open this chapter in Colab" src="data:image/svg+xml;base64,{picture}"></a>'
    )


def colab(url: str, branch: str, name: str) -> str:
    """Colab's address of a notebook of a repository on GitHub."""
    repository = url.removeprefix("https://github.com/")
    return f"https://colab.research.google.com/github/{repository}/blob/{branch}/notebooks/{name}"


def stamp_text(text: str, url: str, branch: str) -> str:
    """The text with its links to the repository, in their four shapes, written anew."""
    repository = r"https://github\.com/[\w.-]+/[\w.-]+"
    text = re.sub(
        r"https://colab\.research\.google\.com/github/[\w.-]+/[\w.-]+/blob/[\w.-]+/notebooks/([\w.]+)",
        lambda found: colab(url, branch, found[1]),
        text,
    )
    text = re.sub(rf"git\+{repository}?@[\w.-]+", f"git+{url}@{branch}", text)
    text = re.sub(rf"git clone {repository}", f"git clone {url}", text)
    text = re.sub(rf"(?m)^(repository-code|url): \"{repository}\"", rf'\1: "{url}"', text)
    return re.sub(rf"(?m)^(Repository|Issues) = \"{repository}(/\w+)?\"", rf'\1 = "{url}\2"', text)


if __name__ == "__main__":
    sys.exit(main())
