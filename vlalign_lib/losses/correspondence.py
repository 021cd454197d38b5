"""Correspondence autoencoders: reconstruct, and pull the two codes of a pair together."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from vlalign_lib._module import FunctionModule, Share
from vlalign_lib._tensors import Reduction, as_floats, as_views, check_same_device, objective

Variant = Literal["plain", "cross", "full"]

# How the paper weighs the codes' distance, per variant.
ALPHA: dict[str, float] = {"plain": 0.8, "cross": 0.2, "full": 0.8}


@objective(views=None, gathers="values")
def correspondence_loss(
    u: Tensor,
    v: Tensor,
    x: Tensor,
    y: Tensor,
    *,
    own: tuple[Tensor, Tensor] | None = None,
    crossed: tuple[Tensor, Tensor] | None = None,
    variant: Variant = "plain",
    alpha: Share | None = None,
    reduction: Reduction = "mean",
    gather: bool = False,
) -> Any:
    r"""Return the loss of a correspondence autoencoder: reconstruction plus distance of the codes.

    .. math::

        \mathcal{L} = (1 - \alpha) \sum_{r} \left( \tfrac1p \lVert x - \hat x_r \rVert^2
        + \tfrac1q \lVert y - \hat y_r \rVert^2 \right)
        + \alpha \, \tfrac1k \lVert u - v \rVert^2

    ``"plain"`` reconstructs each view from its own code, :math:`\hat x(u), \hat y(v)`;
    ``"cross"`` from the partner's, :math:`\hat x(v), \hat y(u)`; ``"full"`` from both, four
    reconstructions. Every term is a mean over its dimensions: a sum over thousands of pixels would
    drown the codes' distance, and :math:`\alpha` would mean nothing.

    The two encoders have their own weights; what couples them is the last term alone (slides that
    speak of a shared middle layer describe another model). With :math:`\alpha` near 1 that term
    wins by making all codes equal, which reconstructs nothing: watch ``u.std(dim=0).mean()``, the
    mean standard deviation of the code, which falls towards 0 then.

    Args:
        u: (B, k) codes of the first view.
        v: (B, k) codes of the second one; row i is the partner of row i of ``u``.
        x: (B, …) what is to be reconstructed: the first view.
        y: (B, …) the second view.
        own: :math:`(\hat x(u), \hat y(v))`, as ``x`` and ``y`` in shape; for ``"plain"`` and
            ``"full"``.
        crossed: :math:`(\hat x(v), \hat y(u))`; for ``"cross"`` and ``"full"``.
        variant: ``"plain"``, ``"cross"`` or ``"full"``.
        alpha: :math:`\alpha \in [0, 1]`, the weight of the codes' distance; None for the paper's:
            0.8, 0.2 and 0.8 for the three variants.
        reduction: ``"mean"`` over the pairs, ``"sum"``, or ``"none"`` for one loss a pair.
        gather: reduce over the pairs of all processes of ``torch.distributed``.

    Returns:
        A scalar, or (B,) without reduction; the widest dtype of the inputs, float32 at least.

    Raises:
        ValueError: shapes that do not fit; reconstructions that the variant needs and that are
            missing, or that it does not use; ``alpha`` outside [0, 1].

    Source:
        Feng, Wang and Li, "Cross-modal retrieval with correspondence autoencoder", ACM Multimedia
        2014; there the squared errors are sums over the dimensions.

    Chapter:
        4, Autoencoders.

    Example:
        >>> import torch
        >>> x, y, code = torch.ones(5, 4), torch.zeros(5, 3), torch.zeros(5, 2)
        >>> correspondence_loss(code, code + 1, x, y, own=(x, y)).item()  # 0.8 of the distance
        0.800000011920929
        >>> correspondence_loss(code, code, x, y, own=(x - 1, y), alpha=0.25).item()
        0.75
    """
    u, v, x, y = _as_codes_and_views(u, v, x, y)
    guesses = _guesses(own, "own", variant != "cross", variant, (x, y))
    guesses += _guesses(crossed, "crossed", variant != "plain", variant, (x, y))
    alpha = ALPHA[variant] if alpha is None else alpha
    lost: Any = 0.0
    for target, guess in guesses:
        lost = lost + _mean_square(target, guess)
    return (1 - alpha) * lost + alpha * _mean_square(u, v)


class CorrespondenceLoss(
    FunctionModule,
    function=correspondence_loss,
    inputs=("u", "v", "x", "y", "own", "crossed"),
):
    """``correspondence_loss`` as a module.

    Args:
        variant: ``"plain"``, ``"cross"`` or ``"full"``.
        alpha: the weight of the codes' distance; None for the paper's.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``.
        gather: reduce over the pairs of all processes.

    Raises:
        ValueError: as ``correspondence_loss``, when it is called.

    Chapter:
        4, Autoencoders.

    Example:
        >>> CorrespondenceLoss("cross")
        CorrespondenceLoss(variant='cross', alpha=None, reduction='mean', gather=False)
    """


def _mean_square(a: Tensor, b: Tensor) -> Tensor:
    return torch.square(a - b).mean(dim=1)  # (B,)


def _as_codes_and_views(u: Any, v: Any, x: Any, y: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    u, v = (as_floats(code, name, "(B, k)") for code, name in ((u, "u"), (v, "v")))
    if u.shape != v.shape:
        raise ValueError(
            f"u and v: expected codes of the same shape, got {tuple(u.shape)} and "
            f"{tuple(v.shape)}; row i of one is the partner of row i of the other, and both have "
            "as many dimensions"
        )
    x, y = as_views(_flat(x), _flat(y))
    check_same_device(u, v, x, y)
    if len(x) != len(u) or u.numel() == 0:
        raise ValueError(
            f"u and x: expected as many rows, at least 1, and codes of at least 1 dimension, got "
            f"{tuple(u.shape)} and {tuple(x.shape)}"
        )
    return u, v, x, y


def _flat(view: Any) -> Any:
    """Return pictures and the like as rows."""
    return view.flatten(1) if isinstance(view, Tensor) and view.ndim > 2 else view


def _guesses(
    given: Any, name: str, needed: bool, variant: str, views: tuple[Tensor, Tensor]
) -> list[tuple[Tensor, Tensor]]:
    """Return what is to be reconstructed beside what was, for one kind of reconstructions."""
    codes = "(x from u, y from v)" if name == "own" else "(x from v, y from u)"
    if not needed:
        if given is not None:
            raise ValueError(f'{name}: variant="{variant}" does not use it; pass None')
        return []
    if not isinstance(given, tuple | list) or len(given) != 2:
        got = "None" if given is None else type(given).__name__
        raise ValueError(
            f'{name}: variant="{variant}" needs two reconstructions, {codes}, got {got}'
        )
    pairs = []
    for target, guess, part in zip(views, given, "xy", strict=True):
        guess = as_floats(_flat(guess), f"{name}, {part}", "(B, d)")
        check_same_device(target, guess)
        if guess.shape != target.shape:
            raise ValueError(
                f"{name}: expected {codes}; the reconstruction of {part} has shape "
                f"{tuple(guess.shape)} and {part} has {tuple(target.shape)}"
            )
        pairs.append((target, guess))
    return pairs
