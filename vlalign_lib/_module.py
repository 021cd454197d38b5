"""Modules around functions: the settings are checked when the module is made, and kept in it."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union

from torch import Tensor, nn

from vlalign_lib._tensors import as_scalar
from vlalign_lib._validate import Rule, as_flag, as_number, as_whole, check_choice, optional

Positive = Annotated[float, functools.partial(as_number, above=0)]
NotNegative = Annotated[float, functools.partial(as_number, low=0)]
Share = Annotated[float, functools.partial(as_number, low=0, high=1)]
ShareBelowOne = Annotated[float, functools.partial(as_number, low=0, below=1)]
Count = Annotated[int, as_whole]
Scalar = Annotated[float | Tensor, as_scalar]
PositiveScalar = Annotated[float | Tensor, functools.partial(as_scalar, above=0)]
"""Annotations of settings that say what is allowed; any ``check(value, name)`` can stand there."""


@functools.cache
def checks_of(function: Callable[..., Any]) -> dict[str, Rule]:
    """Return for each setting the check that its annotation stands for.

    ``Annotated[type, check]`` is checked by ``check(value, name)``, which returns the value to
    use or raises a ValueError; ``Literal`` takes one of its words, ``bool`` True or False,
    ``float`` a finite number. Beside ``None`` in a union, None passes. Everything else is left
    to the function.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    found = {name: _check_for(hint) for name, hint in hints.items() if name != "return"}
    return {name: check for name, check in found.items() if check is not None}


def check_settings(function: Callable[..., Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings as the annotations of ``function`` want them.

    Raises:
        ValueError: a setting that is not allowed.
    """
    checks = checks_of(function)
    return {
        name: checks[name](value, name) if name in checks else value
        for name, value in settings.items()
    }


def _check_for(hint: Any) -> Rule | None:
    origin = typing.get_origin(hint)
    if origin is Annotated:
        check: Rule = hint.__metadata__[0]
        return check
    if origin is Literal:
        return functools.partial(check_choice, choices=typing.get_args(hint))
    if origin in (Union, UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not NoneType]
        inner = _check_for(kinds[0]) if len(kinds) == 1 else None
        return inner and optional(inner)
    return as_flag if hint is bool else as_number if hint is float else None


class FunctionModule(nn.Module):
    """A function as a module: settings when it is made, inputs when it is called.

    A subclass says which function, and which of its parameters are inputs, in the order in which
    ``forward`` takes them; all the others are settings, with the defaults of the function::

        class TripletLoss(FunctionModule, function=triplet_loss, inputs=("x", "y", "labels")):
            ...

    Settings become attributes of the same name, which may be set anew at every step. A setting
    that is itself a module is registered as one.

    Raises:
        ValueError: a setting that the function does not allow, when the module is made.
        TypeError: a setting that the function does not know.
    """

    function: ClassVar[Callable[..., Any]]
    inputs: ClassVar[tuple[str, ...]]
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(
        cls,
        *,
        function: Callable[..., Any] | None = None,
        inputs: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        if function is not None:
            known = inspect.signature(function).parameters
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            cls.function, cls.inputs = staticmethod(function), inputs
            cls.__signature__ = inspect.Signature(
                [each.replace(kind=kind) for name, each in known.items() if name not in inputs]
            )

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__()
        given = type(self).__signature__.bind(*args, **settings)
        given.apply_defaults()
        for name, value in check_settings(self.function, given.arguments).items():
            setattr(self, name, value)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as they are now, by name."""
        return {name: getattr(self, name) for name in type(self).__signature__.parameters}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function makes of the inputs with these settings."""
        if len(args) > len(self.inputs):
            raise TypeError(
                f"{type(self).__name__}: expected {', '.join(self.inputs)}, got {len(args)} inputs"
            )
        named = dict(zip(self.inputs, args, strict=False))
        return self.function(**named, **kwargs, **self.settings)

    def extra_repr(self) -> str:
        """Return the settings, as ``print`` shows them."""
        shown = {n: v for n, v in self.settings.items() if not isinstance(v, nn.Module)}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


def keep_number(module: nn.Module, name: str, value: Tensor, learnable: bool) -> None:
    """Keep a number as a parameter of the module where it is learnt, as a buffer where not."""
    if learnable:
        module.register_parameter(name, nn.Parameter(value))
    else:
        module.register_buffer(name, value)
