"""What every fusion module does with its two views: check them."""

from __future__ import annotations

import torch
from torch import Tensor


def check_tensor(values: object, name: str) -> None:
    """Raise a ValueError unless ``values`` is a dense floating-point tensor."""
    if not isinstance(values, Tensor):
        raise ValueError(
            f"{name}: expected a tensor, got {type(values).__name__}; an array becomes one with "
            "torch.tensor(array)"
        )
    if values.layout != torch.strided:
        raise ValueError(f"{name}: expected a dense tensor, got a sparse one; use .to_dense()")
    if not values.is_floating_point():
        raise ValueError(
            f"{name}: expected floating-point numbers, got {values.dtype}; use .float()"
        )


def check_mask(mask: object, n: int, name: str, what: str) -> None:
    """Raise a ValueError unless ``mask`` is a boolean tensor (``n``,)."""
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (n,):
        got = (
            f"{mask.dtype} of shape {tuple(mask.shape)}"
            if isinstance(mask, Tensor)
            else type(mask).__name__
        )
        raise ValueError(
            f"{name}: expected booleans of shape ({n},), true where {what} is there, got {got}"
        )


def check_view(view: Tensor, dim: int, name: str) -> Tensor:
    """Return ``view`` after checking that it is a floating-point (B, ``dim``) tensor."""
    check_tensor(view, name)
    if view.ndim != 2 or view.shape[1] != dim:
        raise ValueError(
            f"{name}: expected (B, {dim}), one row an item, got {tuple(view.shape)}; "
            "flatten pictures with x.flatten(1)"
        )
    return view


def resolve_views(
    x: Tensor | None,
    y: Tensor | None,
    has_x: Tensor | None,
    has_y: Tensor | None,
    dims: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return both views as tensors, with a boolean mask (B,) each that says what is there.

    A view that is None is missing for every item; a mask that is None means "all there". The
    rows that are not there are replaced by zeros before anything is computed from them, so
    that whatever they hold (NaN, say) reaches neither the output nor a gradient.

    Raises:
        ValueError: both views None, wrong shapes, a mask that is not boolean or of the wrong
            length, or an item with neither view.
    """
    if x is not None:
        given = check_view(x, dims[0], "x")
    elif y is not None:
        given = check_view(y, dims[1], "y")
    else:
        raise ValueError("both views are None: at least one of x and y must be given")
    n = given.shape[0]
    views, masks = [], []
    for name, view, mask, dim in (("x", x, has_x, dims[0]), ("y", y, has_y, dims[1])):
        if view is None:
            if mask is not None:
                check_mask(mask, n, f"has_{name}", name)
            if mask is not None and bool(mask.any()):
                raise ValueError(f"has_{name} says that some items have {name}, but {name} is None")
            views.append(torch.zeros(n, dim, dtype=given.dtype, device=given.device))
            masks.append(torch.zeros(n, dtype=torch.bool, device=given.device))
            continue
        check_view(view, dim, name)
        if view.shape[0] != n:
            raise ValueError(
                f"x has {n} rows and y has {view.shape[0]}: row i of one must be the partner of "
                f"row i of the other; mark missing ones in has_{name} instead of dropping rows"
            )
        if mask is None:
            mask = torch.ones(n, dtype=torch.bool, device=view.device)
        else:
            check_mask(mask, n, f"has_{name}", name)
        views.append(torch.where(mask[:, None], view, 0.0))
        masks.append(mask)
    lost = ~(masks[0] | masks[1])
    if bool(lost.any()):
        first = int(lost.nonzero()[0])
        raise ValueError(
            f"{int(lost.sum())} item(s) have neither view, the first is item {first}: nothing "
            "can be said about them; leave them out"
        )
    return views[0], views[1], masks[0], masks[1]
