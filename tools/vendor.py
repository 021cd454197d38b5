"""Bring in what the pages need offline: MathJax, one file, checked by its sha256.

Tried in order: the copy already there, npm, a download. Where none works the book still
builds; its pages then load MathJax from a content delivery network, and the build says so.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path

VERSION = "3.2.2"
SHA256 = "a4354ff94fd868aea0cc6eaaa79a57fda0588646fc46ee3700a349ee0a11cbe6"
MEMBER = "package/es5/tex-svg-full.js"
CDN = f"https://cdn.jsdelivr.net/npm/mathjax@{VERSION}/es5/tex-svg-full.js"
TARGET = Path(__file__).resolve().parent.parent / "book/_assets/vendor/tex-svg-full.js"


def ensure_mathjax(target: Path = TARGET) -> bool:
    """Put MathJax at ``target`` unless it is there; return whether it is there now."""
    if target.exists() and is_right(target.read_bytes()):
        return True
    for bring in (from_npm, from_network):
        content = bring()
        if content is not None and is_right(content):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_suffix(".part")
            partial.write_bytes(content)
            partial.replace(target)
            return True
    return False


def is_right(content: bytes) -> bool:
    """Whether ``content`` is the very file that this version of the book was tested with."""
    return hashlib.sha256(content).hexdigest() == SHA256


def from_npm() -> bytes | None:
    """The file out of npm's package, or None where there is no npm or no registry."""
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", "--silent", f"mathjax@{VERSION}"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, timeout=180)
        except (OSError, subprocess.TimeoutExpired):
            return None
        packages = list(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or not packages:
            return None
        return read_member(packages[0].read_bytes())


def read_member(package: bytes) -> bytes | None:
    """The one file we need out of npm's package, read without unpacking anything else."""
    try:
        with tarfile.open(fileobj=io.BytesIO(package)) as archive:
            member = archive.extractfile(MEMBER)
            return None if member is None else member.read()
    except (tarfile.TarError, KeyError, EOFError, OSError):
        return None


def from_network() -> bytes | None:
    """The file from the content delivery network, or None without a network."""
    try:
        with urllib.request.urlopen(CDN, timeout=30) as answer:
            return bytes(answer.read())
    except OSError:
        return None


if __name__ == "__main__":
    print("MathJax is in place" if ensure_mathjax() else "MathJax could not be had")
