#!/usr/bin/env python3
"""Set up, build, test: what `make` calls, and what to call where there is no make.

python tools/tasks.py book | test | check | lint | bench | checks | times | peers | setup | links

Only the standard library is used, and the syntax stays old enough for an old Python to get
as far as the message that it is too old.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
BIN = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin")
PYTHON = os.path.join(BIN, "python.exe" if os.name == "nt" else "python")
STAMP = os.path.join(VENV, "installed.sha256")
MEASURED = ("linear", "losses", "metrics", "similarity", "temporal")
LINKS = {
    "book/_toc.yml": "../_toc.yml",
    "book/notebooks": "../notebooks",
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = {
        "book": book,
        "test": test,
        "check": lambda: check(since),
        "lint": lint,
        "bench": bench,
        "checks": checks,
        "times": times,
        "peers": peers,
        "setup": setup,
        "links": mend_links,
    }
    parser.add_argument("task", choices=sorted(tasks))
    parser.add_argument("--since", default="HEAD", help="the commit that check compares with")
    arguments = parser.parse_args(argv)
    task, since = arguments.task, arguments.since
    os.chdir(ROOT)
    if task != "links":
        check_python()
        check_links()
    if task not in ("links", "setup"):
        setup()
    tasks[task]()


def check_python():
    if sys.version_info < (3, 11):
        stop(
            f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}, {sys.executable}.\n"
            "Install a newer one, or name it: make book PYTHON=/path/to/python3"
        )


def broken_links():
    """The symbolic links of book/ that do not lead where they should (a zip loses them)."""
    broken = []
    for link, target in LINKS.items():
        here = os.path.join(ROOT, link)
        there = os.path.join(ROOT, os.path.dirname(link), target)
        if not (os.path.exists(here) and os.path.samefile(here, there)):
            broken.append(link)
    return broken


def check_links():
    broken = broken_links()
    if broken:
        stop(
            "These should be symbolic links and are not: {}.\n"
            "Some archives and Windows settings lose them. To mend them:\n\n"
            "    {} tools/tasks.py links\n".format(
                ", ".join(broken), os.path.basename(sys.executable)
            )
        )


def mend_links():
    for link in broken_links():
        here = os.path.join(ROOT, link)
        if os.path.isdir(here) and not os.path.islink(here):
            shutil.rmtree(here)
        elif os.path.lexists(here):
            os.remove(here)
        there = os.path.normpath(os.path.join(ROOT, os.path.dirname(link), LINKS[link]))
        try:
            os.symlink(LINKS[link], here, target_is_directory=os.path.isdir(there))
        except OSError:  # Windows without the right to make symbolic links
            link_without_privilege(there, here)
        print(f"linked {link} to {LINKS[link]}")
    if broken_links():
        stop("Could not mend {}: is this folder writable?".format(", ".join(broken_links())))
    print("All links of book/ lead where they should.")


def link_without_privilege(there, here):
    """Windows needs no privilege for a junction (folders) or a hard link (files)."""
    if os.path.isdir(there):
        subprocess.check_call(["cmd", "/c", "mklink", "/J", here, there])
    else:
        os.link(there, here)


def setup():
    """Create .venv and install the pinned requirements, once per change of them."""
    wanted = fingerprint()
    if os.path.exists(STAMP):
        with open(STAMP) as handle:
            if handle.read() == wanted and works(PYTHON):
                return
    if not works(PYTHON):
        shutil.rmtree(VENV, ignore_errors=True)
        print(f"Creating .venv with {sys.executable} {sys.version.split()[0]}")
        if subprocess.call([sys.executable, "-m", "venv", VENV]) != 0:
            shutil.rmtree(VENV, ignore_errors=True)
            stop(
                "Python could not create a virtual environment. On Debian and Ubuntu: "
                "apt install python3-venv"
            )
    print("Installing requirements.txt into .venv (the first time takes some minutes)", flush=True)
    started = time.time()
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.call([*command, "-r", "requirements.txt"]) != 0:
        stop(
            "The installation failed; the lines above say why. Run the same command again to retry."
        )
    with open(STAMP, "w") as handle:
        handle.write(wanted)
    print(f"Installed in {time.time() - started:.0f} s")


def fingerprint():
    """Changes when what should be installed, or where, has changed."""
    digest = hashlib.sha256((ROOT + sys.version).encode())
    for name in ("requirements.txt", "constraints.txt", "pyproject.toml"):
        with open(os.path.join(ROOT, name), "rb") as handle:
            digest.update(handle.read())
    return digest.hexdigest()


def works(python):
    return os.path.exists(python) and subprocess.call([python, "-c", "pass"]) == 0


def run(*command, **variables):
    """Run a command of .venv from the root; stop with its exit code if it fails."""
    environment = dict(os.environ, **variables)
    environment["PATH"] = BIN + os.pathsep + environment.get("PATH", "")
    environment["VIRTUAL_ENV"] = VENV
    environment.pop("PYTHONHOME", None)
    code = subprocess.call(command, cwd=ROOT, env=environment)
    if code != 0:
        sys.exit(code)


def python(*arguments, **variables):
    run(PYTHON, *arguments, **variables)


def book():
    started = time.time()
    run(os.path.join(BIN, "jupyter-book"), "build", "book/", "-W", "--keep-going")
    page = os.path.join(ROOT, "_build", "html", "index.html")
    print(f"\nThe book is built ({time.time() - started:.0f} s). Open it:\n\n    {page}\n")


def pytest(*arguments, **variables):
    workers = str(min(os.cpu_count() or 1, 8))
    variables = dict(variables, OMP_NUM_THREADS="1")
    python("-m", "pytest", "-q", "-n", workers, "--dist", "loadgroup", *arguments, **variables)


def test():
    pytest("tests")
    pytest("--nbmake", "--nbmake-timeout=300", "notebooks/")


def check(since):
    """Lint, types, and the tests of what has changed since a commit: two minutes at most."""
    lint()
    tests = tests_of(changed_files(since))
    if tests:
        pytest("-x", *tests)
    else:
        print(f"Nothing that has tests of its own changed since {since}.")


def changed_files(since):
    """The files that differ from a commit, with those that git does not know yet."""
    found = []
    for command in (
        ["git", "diff", "--name-only", since, "--"],
        ["git", "ls-files", "--others", "--exclude-standard"],
    ):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            stop(f"git cannot compare with {since}: {done.stderr.strip()}")
        found += done.stdout.splitlines()
    return sorted(set(found))


def tests_of(files):
    """The tests that carry the same word as a changed file, or its folder where none does."""
    tests = set()
    for name in files:
        parts = name.split("/")
        word = os.path.splitext(parts[-1])[0]
        if parts[0] == "tests":
            own = name if word.startswith("test_") else os.path.dirname(name)
            tests.add("tests/project" if own == "tests" else own)
        elif parts[0] == "notebooks":
            tests.update(("tests/notebooks/test_structure.py", "tests/book/test_prose.py"))
        elif parts[0] == "vlalign_lib" and len(parts) > 2:
            folder = "tests/exercises" if "exercises" in parts else f"tests/{parts[1]}"
            same = [f"{folder}/test_{word}.py", f"{folder}/test_contract.py"]
            tests.update(filter(os.path.exists, same) if os.path.exists(same[0]) else [folder])
        elif parts[0] in ("vlalign_lib", "tools", "pyproject.toml", "Makefile"):
            tests.add("tests/project/test_architecture.py")
            tests.add("tests/project/test_tasks.py")
    existing = {test for test in tests if os.path.exists(os.path.join(ROOT, test))}
    return sorted(t for t in existing if os.path.dirname(t) not in existing)


def lint():
    python("-m", "ruff", "check", ".")
    python("-m", "ruff", "format", "--check", ".")
    python("-m", "mypy")
    python("tools/stamp.py", "--check")


def peers():
    python("-m", "pip", "install", "--quiet", "-r", "requirements-bench.txt")


def bench():
    peers()
    for name in sorted(os.listdir(os.path.join(ROOT, "benchmarks"))):
        if name.startswith("bench_") and name.endswith(".py"):
            python(os.path.join("benchmarks", name))


def checks():
    peers()
    with tempfile.TemporaryDirectory() as folder:
        pytest(
            *(f"tests/{part}" for part in MEASURED),
            "tests/experiments/test_compare.py",
            VLALIGN_PEERS="1",
            VLALIGN_RECORD_CHECKS=folder,
        )
        python("tools/collect_checks.py", folder)


def times():
    python("tools/measure_times.py")


def stop(message):
    sys.exit("\n" + message)


if __name__ == "__main__":
    main()
