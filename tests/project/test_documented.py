"""Every public name is documented, typed, shown by an example that runs, and in the API pages."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import vlalign_lib

ROOT = Path(__file__).resolve().parents[2]


def parts():
    """The parts of the library, one level deeper where a part only holds others."""
    for found in pkgutil.iter_modules(vlalign_lib.__path__):
        if not found.ispkg or found.name.startswith("_") or found.name == "engine":
            continue
        module = importlib.import_module(f"vlalign_lib.{found.name}")
        if hasattr(module, "__all__"):
            yield found.name
        else:
            inside = pkgutil.iter_modules(module.__path__)
            yield from (f"{found.name}.{m.name}" for m in inside if not m.name.startswith("_"))


PARTS = sorted(parts())


def public():
    for part in PARTS:
        module = importlib.import_module(f"vlalign_lib.{part}")
        for name in module.__all__:
            yield part, name, getattr(module, name)


CALLABLES = [(p, n, o) for p, n, o in public() if inspect.isfunction(o) or inspect.isclass(o)]
IDS = [f"{p}.{n}" for p, n, _ in CALLABLES]


def is_error(thing):
    return inspect.isclass(thing) and issubclass(thing, BaseException)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_says_what_it_is_for_and_has_a_page(part):
    module = importlib.import_module(f"vlalign_lib.{part}")
    assert module.__doc__
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    assert f"vlalign_lib.{part}" in (ROOT / f"book/api/{part.split('.')[0]}.md").read_text()


@pytest.mark.parametrize(("part", "name", "thing"), CALLABLES, ids=IDS)
def test_docstring(part, name, thing):
    text = inspect.getdoc(thing) or ""
    assert text.split("\n")[0].endswith((".", "?", ":")), "one sentence first"
    if is_error(thing):
        return
    assert re.search(r"Chapter:", text), "which chapter teaches it"
    parameters = [
        p
        for p in inspect.signature(thing).parameters.values()
        if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    missing = [p.name for p in parameters if not re.search(rf"\b{p.name}\b", text)]
    assert not missing, f"parameters that the docstring does not name: {missing}"


@pytest.mark.parametrize(("part", "name", "thing"), CALLABLES, ids=IDS)
def test_type_hints(part, name, thing):
    if is_error(thing) or getattr(thing, "__init__", None) is object.__init__:
        return
    function = thing.__init__ if inspect.isclass(thing) else thing
    signature = inspect.signature(function)
    bare = [
        p.name
        for p in signature.parameters.values()
        if p.name != "self" and p.annotation is inspect.Parameter.empty
    ]
    assert not bare
    if not inspect.isclass(thing):
        assert signature.return_annotation is not inspect.Signature.empty


def modules():
    return sorted(
        m.name for m in pkgutil.walk_packages(vlalign_lib.__path__, "vlalign_lib.")
        if "_records" not in m.name and not m.name.endswith("__main__")
    )  # fmt: skip


@pytest.mark.parametrize("module", modules())
def test_examples_run(module):
    if module.endswith("._triton"):
        pytest.importorskip("triton", reason="the CUDA kernels need triton to be imported")
    outcome = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert outcome.failed == 0


def test_nearly_every_function_has_an_example():
    without = [
        f"{part}.{name}"
        for part, name, thing in CALLABLES
        if inspect.isfunction(thing) and ">>>" not in (inspect.getdoc(thing) or "")
    ]
    assert not without
