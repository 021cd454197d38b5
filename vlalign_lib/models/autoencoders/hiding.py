"""Hide views at random, any number of them, and never all."""

from __future__ import annotations

import torch
from torch import Tensor

from vlalign_lib._validate import as_number
from vlalign_lib.models.encoders import check_dims


def hide_views(
    n_items: int, n_views: int, share: float = 0.5, generator: torch.Generator | None = None
) -> Tensor:
    r"""Return which views of which items are shown, at least one of each item.

    Each view of each item is hidden with probability :math:`\delta`, independently; an item that
    would lose all of them shows one, drawn evenly:

    .. math:: P(\text{view } j \text{ shown}) = (1 - \delta) + \delta^V / V

    With :math:`\delta = 1/2` and two views, half of the items show one view only.

    Args:
        n_items: items B.
        n_views: views V.
        share: :math:`\delta \in [0, 1]`; 0 hides nothing, 1 leaves exactly one view.
        generator: source of randomness; None takes torch's global one.

    Returns:
        Booleans (B, V), true where a view is shown, on the generator's device.

    Raises:
        ValueError: fewer than one item or view, or ``share`` outside [0, 1].

    Chapter:
        04, where it lets one code answer queries of any views.

    Example:
        >>> shown = hide_views(4, 3, 1.0, torch.Generator().manual_seed(0))
        >>> shown.sum(dim=1).tolist()
        [1, 1, 1, 1]
    """
    check_dims(n_items=n_items, n_views=n_views)
    share = as_number(share, "share", low=0, high=1)
    if not (generator is None or isinstance(generator, torch.Generator)):
        raise ValueError(f"generator: expected a torch.Generator or None, got {generator!r}")
    where = None if generator is None else generator.device
    draw = torch.rand(n_items, n_views, generator=generator, device=where)
    left = torch.randint(n_views, (n_items,), generator=generator, device=where)
    shown = draw >= share
    empty = ~shown.any(dim=1)
    shown[empty, left[empty]] = True
    return shown
