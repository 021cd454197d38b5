"""Every public name says what it computes, shows it, and the examples run."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from vlalign_lib import metrics

MODULES = sorted(
    module.name for module in pkgutil.iter_modules(metrics.__path__, "vlalign_lib.metrics.")
)
FUNCTIONS = [name for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    assert module.__doc__
    assert doctest.testmod(module).failed == 0


def test_public_names_are_sorted_and_there():
    assert list(metrics.__all__) == sorted(metrics.__all__)
    assert {"mean_average_precision", "recall_at_k", "median_rank"} <= set(FUNCTIONS)
    assert len(FUNCTIONS) >= 12


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented_in_full(name):
    function = getattr(metrics, name)
    text = inspect.getdoc(function)
    for part in (".. math::", "Args:", "Returns:", "Raises:", "Chapter:", "Example:", ">>> "):
        assert part in text, f"{name} lacks {part}"
    first = text.split("\n\n")[0]
    assert first.endswith(".")
    for parameter in inspect.signature(function).parameters:
        assert f"    {parameter}: " in text, f"{name} does not explain {parameter}"
