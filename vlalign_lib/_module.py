"""Modules around functions: the settings are checked when the module is made, and kept in it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from torch import Tensor, nn

from vlalign_lib._tensors import as_scalar
from vlalign_lib._validate import as_number, as_whole, check_settings

Positive = Annotated[float, functools.partial(as_number, above=0)]
NotNegative = Annotated[float, functools.partial(as_number, low=0)]
Share = Annotated[float, functools.partial(as_number, low=0, high=1)]
ShareBelowOne = Annotated[float, functools.partial(as_number, low=0, below=1)]
Count = Annotated[int, as_whole]
Scalar = Annotated[float | Tensor, as_scalar]
PositiveScalar = Annotated[float | Tensor, functools.partial(as_scalar, above=0)]
"""Annotations of settings that say what is allowed; any ``check(value, name)`` can stand there."""


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
