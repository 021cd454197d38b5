"""The wheel holds what it should, and installing it on Colab changes nothing there."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
RUNTIMES = sorted((Path(__file__).parent / "colab").glob("*.txt"))


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*command, "-w", str(folder), str(ROOT)], check=True)
    (path,) = folder.glob("*.whl")
    return path


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return archive.read(name).decode()


def requirements(text):
    return [Requirement(line.split(":", 1)[1]) for line in text.splitlines()
            if line.startswith("Requires-Dist:")]  # fmt: skip


def installed(runtime):
    lines = [line for line in runtime.read_text().splitlines() if line[0] != "#"]
    return {canonicalize_name(n): Version(v) for n, v in (line.split("==") for line in lines)}


def test_the_wheel_holds_the_library_the_ledger_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "vlalign_lib").rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    records = {
        "vlalign_lib/_records/" + str(p.relative_to(ROOT / "results"))
        for p in (ROOT / "results").rglob("*.json")
    }
    assert "vlalign_lib/py.typed" in names
    assert len(records) > 10
    assert source | records <= names
    rest = {n for n in names - source - records if ".dist-info/" not in n}
    assert not {n for n in rest if not n.startswith("vlalign_lib/_records/")}


def test_the_wheel_carries_both_licences(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = [Path(n).name for n in archive.namelist() if "licenses" in n]
    assert sorted(names) == ["LICENSE", "LICENSE-TEXT"]


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda p: p.stem)
def test_nothing_changes_on_colab(wheel, runtime):
    """Each requirement, the extras included, is met by what is preinstalled."""
    there = installed(runtime)
    assert len(there) >= 9
    for requirement in requirements(metadata(wheel)):
        version = there.get(canonicalize_name(requirement.name))
        if requirement.name in ("torchvision", "distributed") and "gpu" not in runtime.stem:
            continue  # VGG-19 and clusters are for GPUs; the other runtime comes without them
        assert version is not None, f"{requirement.name} would be installed"
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement} would replace {version}"
        )


def test_the_recorded_runtimes_would_show_a_change(wheel):
    there = installed(RUNTIMES[0])
    assert not Requirement("numpy>=2.4").specifier.contains(there["numpy"])


def test_the_pins_lie_within_the_ranges():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = project["dependencies"] + project["optional-dependencies"]["notebooks"]
    pins = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "requirements.txt").read_text()))
    for requirement in map(Requirement, ranges):
        assert requirement.specifier.contains(pins[requirement.name])


def test_the_pins_agree_with_the_constraints():
    pins = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "requirements.txt").read_text()))
    all_pins = dict(re.findall(r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text()))
    all_pins = {canonicalize_name(name): version for name, version in all_pins.items()}
    for name, version in pins.items():
        assert all_pins[canonicalize_name(name)] == version
    assert pins["torch"] == "2.13.0"
