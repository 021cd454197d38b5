"""Arrows between the parts of the library point one way, and importing costs little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "vlalign_lib"

# What each part may import from the others. `linear` needs `metrics` for an estimator's score.
ALLOWED = {
    "engine": set(),
    "data": set(),
    "metrics": set(),
    "linear": {"metrics"},
    "similarity": set(),
    "temporal": set(),
    "losses": {"similarity", "temporal"},
    "models": set(),
    "training": {"models", "losses", "metrics"},
    "methods": {"linear", "losses", "metrics", "models", "training"},
    "experiments": {"data", "metrics", "linear", "methods", "models", "training"},
    "viz": {"metrics", "data"},
    "course": {"experiments", "metrics", "data", "viz", "linear", "losses", "methods", "models"},
}


def parts():
    return sorted(p.name for p in LIBRARY.iterdir() if (p / "__init__.py").exists())


def imported_parts(path):
    """The parts of the library that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folder = path.relative_to(LIBRARY.parent).parent.parts
            base = ".".join([*folder[: len(folder) - node.level + 1], node.module or ""])
            names = [f"{base.rstrip('.')}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            words = name.split(".")
            if words[0] == "vlalign_lib" and len(words) > 1:
                found.add(words[1])
    return found & set(parts())


def test_every_part_is_named_here():
    assert set(parts()) == set(ALLOWED)


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_arrows(part):
    wrong = {
        str(path.relative_to(LIBRARY)): sorted(imported_parts(path) - ALLOWED[part] - {part})
        for path in (LIBRARY / part).rglob("*.py")
    }
    assert not {name: parts for name, parts in wrong.items() if parts}


def test_the_check_sees_every_kind_of_import(tmp_path, monkeypatch):
    (tmp_path / "vlalign_lib" / "data").mkdir(parents=True)
    (tmp_path / "vlalign_lib" / "viz").mkdir()
    for part in ("data", "viz"):
        (tmp_path / "vlalign_lib" / part / "__init__.py").touch()
    path = tmp_path / "vlalign_lib" / "data" / "x.py"
    monkeypatch.setattr(sys.modules[__name__], "LIBRARY", tmp_path / "vlalign_lib")
    for line in (
        "import vlalign_lib.viz",
        "from vlalign_lib import viz",
        "from vlalign_lib.viz import style",
        "from ..viz import style",
        "from .. import viz",
        "def f():\n    from vlalign_lib.viz.style import x",
    ):
        path.write_text(line)
        assert imported_parts(path) == {"viz"}, line


def import_seconds_and_modules(module):
    code = (
        "import sys, time; t = time.perf_counter(); "
        f"import {module}; print(time.perf_counter() - t, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, torch = done.stdout.split()
    return float(seconds), torch == "True"


def test_importing_the_library_is_quick_and_leaves_torch_alone():
    seconds, torch = min(import_seconds_and_modules("vlalign_lib") for _ in range(3))
    assert seconds < 0.5
    assert not torch


@pytest.mark.parametrize("part", ["data", "metrics", "linear", "viz", "course", "experiments"])
def test_parts_without_networks_do_not_import_torch(part):
    assert not import_seconds_and_modules(f"vlalign_lib.{part}")[1]
