"""Small networks that several modules are built from, and the check of their widths."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from vlalign_lib._validate import as_whole, is_one_of

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def check_dims(**dims: int) -> None:
    """Raise a ValueError unless every named width is a whole number of at least 1."""
    for name, value in dims.items():
        as_whole(value, name)


def check_share(value: float, name: str) -> None:
    """Raise a ValueError unless ``value`` is a number in [0, 1)."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and 0 <= value < 1):
        raise ValueError(f"{name}: expected a number from 0 to below 1, got {value!r}")


def check_widths(hidden: Sequence[int]) -> None:
    """Raise a ValueError unless ``hidden`` is a sequence of whole numbers of at least 1."""
    if isinstance(hidden, str) or not isinstance(hidden, Sequence):
        raise ValueError(f"hidden: expected a sequence of widths such as (64,), got {hidden!r}")
    check_dims(**{f"hidden[{i}]": width for i, width in enumerate(hidden)})


def mlp(
    dim_in: int,
    hidden: Sequence[int],
    dim_out: int,
    *,
    activation: str = "relu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """Return linear layers ``dim_in → hidden… → dim_out`` with an activation between any two."""
    check_widths(hidden)
    if not is_one_of(activation, tuple(ACTIVATIONS)):
        raise ValueError(
            f"activation: expected one of {', '.join(ACTIVATIONS)}; got {activation!r}"
        )
    check_share(dropout, "dropout")
    *between, last = pairwise([dim_in, *hidden, dim_out])
    layers: list[nn.Module] = []
    for left, right in between:
        layers += [nn.Linear(left, right), ACTIVATIONS[activation]()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(*last))
