"""The commands around the book: links that were lost, an old Python, MathJax, stamping."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import stamp
import tasks
import vendor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def unzipped(tmp_path, monkeypatch):
    """A checkout whose symbolic links became small files, as some archives leave them."""
    for name in ("book", "notebooks", "tools"):
        (tmp_path / name).mkdir()
    (tmp_path / "_toc.yml").write_text("root: intro\n")
    (tmp_path / "notebooks" / "a.ipynb").touch()
    (tmp_path / "book" / "_toc.yml").write_text("../_toc.yml")
    (tmp_path / "book" / "notebooks").write_text("../notebooks")
    shutil.copy(ROOT / "tools/tasks.py", tmp_path / "tools/tasks.py")
    monkeypatch.setattr(tasks, "ROOT", str(tmp_path))
    return tmp_path


def test_the_links_of_this_checkout_are_whole():
    assert tasks.broken_links() == []


def test_lost_links_are_named_and_one_command_mends_them(unzipped):
    command = [sys.executable, str(unzipped / "tools/tasks.py")]
    told = subprocess.run([*command, "book"], capture_output=True, text=True)
    assert told.returncode == 1
    assert "book/_toc.yml, book/notebooks" in told.stderr
    assert "tools/tasks.py links" in told.stderr
    subprocess.run([*command, "links"], check=True, capture_output=True)
    assert (unzipped / "book/_toc.yml").read_text() == "root: intro\n"
    assert (unzipped / "book/notebooks/a.ipynb").exists()
    assert tasks.broken_links() == []


def test_copies_in_place_of_links_are_found_and_mended(unzipped):
    os.remove(unzipped / "book/notebooks")
    (unzipped / "book/notebooks").mkdir()
    assert "book/notebooks" in tasks.broken_links()
    tasks.mend_links()
    assert (unzipped / "book/notebooks").is_symlink()


def test_where_links_are_forbidden_something_else_serves(unzipped, monkeypatch):
    def forbidden(*_, **__):
        raise OSError("a required privilege is not held by the client")

    made = []
    monkeypatch.setattr(tasks.os, "symlink", forbidden)
    monkeypatch.setattr(tasks.subprocess, "check_call", lambda command: made.append(command))
    with pytest.raises(SystemExit, match="Could not mend book/notebooks"):
        tasks.mend_links()
    assert made[0][:4] == ["cmd", "/c", "mklink", "/J"]
    assert (unzipped / "book/_toc.yml").samefile(unzipped / "_toc.yml")


def test_an_old_python_gets_a_clear_message(monkeypatch):
    monkeypatch.setattr(tasks.sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed"):
        tasks.check_python()


def test_make_says_when_there_is_no_python():
    done = subprocess.run(
        ["make", "-C", str(ROOT), "setup", "PYTHON="], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "No Python 3.11 or newer was found" in done.stdout


def test_make_works_from_another_folder(tmp_path):
    done = subprocess.run(
        ["make", "-C", str(ROOT), "help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "book" in done.stdout


def package(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(vendor.MEMBER)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def mathjax(monkeypatch):
    """A stand-in for MathJax with a checksum of its own."""
    import hashlib

    content = b"window.MathJax = {};"
    monkeypatch.setattr(vendor, "SHA256", hashlib.sha256(content).hexdigest())
    return content


def test_mathjax_comes_from_npm_first(mathjax, tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "from_npm", lambda: vendor.read_member(package(mathjax)))
    monkeypatch.setattr(vendor, "from_network", lambda: pytest.fail("npm had it"))
    assert vendor.ensure_mathjax(tmp_path / "vendor/tex.js")
    assert (tmp_path / "vendor/tex.js").read_bytes() == mathjax


def test_mathjax_is_downloaded_where_there_is_no_npm(mathjax, tmp_path, monkeypatch):
    monkeypatch.setattr(vendor.shutil, "which", lambda name: None)
    monkeypatch.setattr(vendor, "from_network", lambda: mathjax)
    assert vendor.ensure_mathjax(tmp_path / "tex.js")


@pytest.mark.parametrize("bad", [b"altered", b"", None])
def test_a_wrong_file_is_never_kept(bad, mathjax, tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "from_npm", lambda: bad)
    monkeypatch.setattr(vendor, "from_network", lambda: bad)
    assert not vendor.ensure_mathjax(tmp_path / "tex.js")
    assert not list(tmp_path.iterdir())


def test_an_altered_copy_is_replaced(mathjax, tmp_path, monkeypatch):
    (tmp_path / "tex.js").write_bytes(b"altered")
    monkeypatch.setattr(vendor, "from_npm", lambda: mathjax)
    assert vendor.ensure_mathjax(tmp_path / "tex.js")
    assert (tmp_path / "tex.js").read_bytes() == mathjax


@pytest.mark.parametrize(
    "content",
    [b"", b"not an archive", package(b"x")[:40]],
    ids=["empty", "no archive", "cut off"],  # an archive holds the time, an id must not
)
def test_a_broken_package_is_no_package(content):
    assert vendor.read_member(content) is None


def test_everything_is_stamped():
    assert stamp.main(["--check"]) == 0


def test_another_address_is_written_everywhere():
    new = ("https://github.com/someone/course-of-hers", "trunk")
    for path, _, text in stamp.stamped(ROOT, *new):
        assert "someone/course-of-hers" in text, path.name
        old = stamp.address(ROOT)[0].removeprefix("https://github.com/")
        assert old not in text, path.name
        if path.suffix == ".ipynb":
            json.loads(text)


def test_a_stale_stamp_is_found():
    url, branch = stamp.address(ROOT)
    assert any(old != new for _, old, new in stamp.stamped(ROOT, url, branch + "x"))


def test_check_finds_the_tests_of_what_changed():
    found = tasks.tests_of(
        ["vlalign_lib/losses/cca.py", "tests/metrics/test_ranks.py", "notebooks/ch05_dcca.ipynb"]
    )
    assert "tests/losses/test_cca.py" in found
    assert "tests/metrics/test_ranks.py" in found
    assert "tests/notebooks/test_structure.py" in found
    assert "tests/losses" not in found
    assert tasks.tests_of(["vlalign_lib/losses/_unknown.py"]) == ["tests/losses"]
    assert tasks.tests_of(["README.md"]) == []


def test_check_says_which_commit_it_does_not_know():
    with pytest.raises(SystemExit, match="cannot compare with no-such-commit"):
        tasks.changed_files("no-such-commit")
