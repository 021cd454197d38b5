"""What all losses of a batch have in common, said once: checks, gathering, precision, reduction."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Literal, ParamSpec, cast

from torch import Tensor

from vlalign_lib._gather import gather_rows
from vlalign_lib._module import check_settings
from vlalign_lib._tensors import as_classes, as_views, reduce_loss, without_autocast

P = ParamSpec("P")


def objective(
    *,
    views: Callable[..., tuple[Tensor, Tensor]] | None = as_views,
    same_width: bool = False,
    gathers: Literal["rows", "values", "nothing"] = "rows",
    autocast: bool = False,
) -> Callable[[Callable[P, Any]], Callable[P, Tensor]]:
    """Make a loss of a function that returns one value a row.

    The function sees two views as tensors of one dtype, its settings as their annotations want
    them (see ``vlalign_lib._module``), and ``labels``, where it has them, as class indices or None.
    It returns the values (B,), or a pair with how many terms each value sums up; one number
    is the loss itself. With ``return_statistics`` what it returns last goes out beside the loss.
    With its arguments

    - ``gather``, rows of all processes come in: ``"rows"`` where the loss compares rows with each
      other; ``"values"`` gathers what comes out, where each row stands for itself;
    - ``reduction``, the values are reduced.

    Mixed precision is kept out, unless ``autocast`` lets it in.

    Args:
        views: what checks x and y; None where the function does it itself.
        same_width: whether the views need as many columns.
        gathers: what ``gather=True`` gathers; ``"nothing"`` where the function does it itself.
        autocast: whether the function runs under the precision of its caller.
    """
    check = functools.partial(as_views, same_width=True) if same_width else views

    def decorate(body: Callable[P, Any]) -> Callable[P, Tensor]:
        known = inspect.signature(body).parameters
        places = [n for n, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
        needed = {name for name, each in known.items() if each.default is each.empty}

        @functools.wraps(body)
        def loss(*args: Any, **kwargs: Any) -> Any:
            placed = dict(zip(places, args, strict=False))
            twice = len(args) > len(places) or placed.keys() & kwargs.keys()
            if twice or not needed <= placed.keys() | kwargs.keys() <= known.keys():
                return body(*args, **kwargs)  # a TypeError: Python says what is wrong
            given = check_settings(body, placed | kwargs)
            gather = given.get("gather", False)
            if check is not None:
                given["x"], given["y"] = check(given["x"], given["y"])
                numbers = {n: v for n, v in given.items() if isinstance(v, Tensor) and v.ndim == 0}
                given |= {name: value.to(given["x"]) for name, value in numbers.items()}
                labels, x = given.get("labels"), given["x"]
                if labels is not None or "labels" in needed:
                    given["labels"] = as_classes(labels, len(x), x.device)
                if gather and gathers == "rows":
                    rows = [n for n in ("x", "y", "labels") if given.get(n) is not None]
                    given |= zip(rows, gather_rows(*(given[n] for n in rows)), strict=True)
            first = given["y"] if given["x"] is None else given["x"]
            mixed = autocast or not isinstance(first, Tensor)
            with nullcontext() if mixed else without_autocast(first.device):
                found = body(**given)  # type: ignore[call-arg]
                values, *counts = found if isinstance(found, tuple) else (found,)
                seen = counts.pop() if given.get("return_statistics") else None
                if gather and gathers == "values":
                    values, *counts = gather_rows(values, *counts)
                if values.ndim:
                    values = reduce_loss(values, given.get("reduction", "mean"), *counts)
                return (values, seen) if seen is not None else values

        return cast("Callable[P, Tensor]", loss)

    return decorate
