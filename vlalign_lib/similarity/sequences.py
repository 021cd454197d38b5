"""Rows to compare from two sequences of unequal length."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from vlalign_lib._tensors import (
    as_number,
    as_tensor,
    check_choice,
    check_same_device,
    without_autocast,
)
from vlalign_lib._validate import as_whole
from vlalign_lib.similarity._views import as_mask, as_sequences, came_as_arrays

How = Literal["pool", "attended", "aligned", "resample"]


def pair_sequences(
    x: Any,
    y: Any,
    *,
    how: How = "pool",
    x_mask: Any = None,
    y_mask: Any = None,
    attention: Any = None,
    scale: float = 10.0,
    x_times: Any = None,
    y_times: Any = None,
    length: int | None = None,
) -> tuple[Any, Any]:
    r"""Turn frames and tokens into rows that belong together, as HSIC and CKA need them.

    CKA compares what two views say of the *same* items, and L frames and M tokens are not the
    same items. Four answers, of which the first is the one to begin with:

    * ``"pool"``: one row a pair of sequences, the means
      :math:`\bar x_b = \frac{1}{L_b} \sum_l x_{bl}` and
      :math:`\bar y_b = \frac{1}{M_b} \sum_m y_{bm}`.
    * ``"attended"``: one row a token, beside the frames it attends to,
      :math:`\sum_l \operatorname{softmax}_l(\tau \cos(y_{bm}, x_{bl})) \, x_{bl}`, or with
      weights of your own. The tokens choose their partners, so that the similarity is in part
      made by the attention.
    * ``"aligned"``: one row a frame in whose time there are tokens, beside their mean; a token
      belongs to the frame nearest in time, the earlier of two.
    * ``"resample"``: both interpolated linearly at as many evenly spaced times; right only for
      sequences that begin, proceed and end together.

    Args:
        x: (B, L, p) frames, say; a tensor or an array.
        y: (B, M, q) tokens, say; sequence b belongs to sequence b of ``x``.
        how: Which of the four.
        x_mask: (B, L) booleans, True where a frame is real; None for all. What the others hold
            does not matter.
        y_mask: (B, M) booleans, True where a token is real.
        attention: ``"attended"``: (B, M, L) weights of the frames, not negative; what lies on
            frames that are not real is dropped and the rest divided by its sum. None for the
            softmax of scaled cosines, which needs p = q.
        scale: ``"attended"``: :math:`\tau` of that softmax.
        x_times: ``"aligned"``: (B, L) when a frame is shown; None for 0, 1, …, L − 1.
        y_times: ``"aligned"``: (B, M) when a token is said, in the same unit.
        length: ``"resample"``: how many times; None for the length of the shorter sequence of
            each pair.

    Returns:
        Two tensors (N, p) and (N, q), or arrays for arrays: N = B for ``"pool"``, the number of
        real tokens for ``"attended"``, else the number of rows described above. Gradients flow
        through; half precision becomes float32.

    Raises:
        ValueError: different numbers of sequences, a sequence without anything real, a mask that
            is not boolean, a missing ``y_times``, widths that differ where cosines are taken.

    Source:
        Yun, Kim and Jung, "Modality alignment between deep representations for effective
        video-and-language learning", LREC 2022, compares sequences so, and does not say which
        rows are paired; the softmax of ten times the cosine is that of Lei et al., "TVQA+:
        spatio-temporal grounding for video question answering", ACL 2020.

    Chapter:
        10, CKA as a regulariser.

    Example:
        >>> import numpy as np
        >>> frames = np.arange(12.0).reshape(2, 3, 2)
        >>> tokens = np.ones((2, 4, 5))
        >>> real = np.array([[True, True, False], [True, True, True]])
        >>> x, y = pair_sequences(frames, tokens, x_mask=real)
        >>> x
        array([[1., 2.], [8., 9.]])
        >>> x, y = pair_sequences(frames, tokens, how="resample")
        >>> x.shape, y.shape
        ((6, 2), (6, 5))
    """
    check_choice(how, "how", get_args(How))
    arrays = came_as_arrays(x, y)
    x, y = as_sequences(x, "x", "(B, L, p)"), as_sequences(y, "y", "(B, M, q)")
    if len(x) != len(y):
        raise ValueError(
            f"x has {len(x)} sequences and y has {len(y)}: sequence b of one must be the partner "
            "of sequence b of the other"
        )
    check_same_device(x, y)
    dtype = torch.promote_types(x.dtype, y.dtype)
    x, real_x = _real(x.to(dtype), x_mask, "x")
    y, real_y = _real(y.to(dtype), y_mask, "y")
    with without_autocast(x.device):
        if how == "pool":
            rows = _mean(x, real_x), _mean(y, real_y)
        elif how == "attended":
            rows = _attended(x, y, real_x, real_y, attention, scale)
        elif how == "aligned":
            rows = _aligned(x, y, real_x, real_y, x_times, y_times)
        else:
            rows = _resampled(x, y, real_x, real_y, length)
    return tuple(view.numpy() for view in rows) if arrays else rows  # type: ignore[return-value]


def _real(values: Tensor, mask: Any, name: str) -> tuple[Tensor, Tensor]:
    """Return the sequences with 0 where nothing is real, and the mask."""
    shape = tuple(values.shape[:2])
    if 0 in shape or values.shape[2] == 0:
        raise ValueError(f"{name}: is empty, shape {tuple(values.shape)}")
    if mask is None:
        return values, torch.ones(shape, dtype=torch.bool, device=values.device)
    mask = as_mask(mask, shape, values, f"{name}_mask")
    empty = (~mask.any(dim=1)).nonzero().flatten().tolist()
    if empty:
        raise ValueError(
            f"{name}_mask: {len(empty)} sequence(s) have nothing real, the first is sequence "
            f"{empty[0]}; leave such pairs out of both views"
        )
    return values.masked_fill(~mask[:, :, None], 0.0), mask


def _mean(values: Tensor, real: Tensor) -> Tensor:
    return values.sum(dim=1) / real.sum(dim=1, keepdim=True)


def _attended(
    x: Tensor, y: Tensor, real_x: Tensor, real_y: Tensor, attention: Any, scale: float
) -> tuple[Tensor, Tensor]:
    gone = ~real_x[:, None, :]
    if attention is None:
        if x.shape[2] != y.shape[2]:
            raise ValueError(
                f"x has {x.shape[2]} columns and y has {y.shape[2]}: no cosines between them; give "
                "the weights of your model as attention="
            )
        scale = as_number(scale, "scale", low=0.0)
        unit_x, unit_y = (torch.nn.functional.normalize(v, dim=2) for v in (x, y))
        scores = scale * unit_y @ unit_x.mT  # (B, M, L)
        weights = scores.masked_fill(gone, -torch.inf).softmax(dim=2)
    else:
        weights = as_sequences(attention, "attention", "(B, M, L)").to(x)
        if weights.shape != (len(x), y.shape[1], x.shape[1]):
            raise ValueError(
                f"attention: expected {(len(x), y.shape[1], x.shape[1])}, one weight a sequence, "
                f"token and frame, got {tuple(weights.shape)}"
            )
        weights = weights.masked_fill(gone, 0.0).masked_fill(~real_y[:, :, None], 0.0)
        total = weights.sum(dim=2, keepdim=True)
        if not bool(((weights >= 0).all(dim=2) & (total[:, :, 0] > 0))[real_y].all()):
            raise ValueError(
                "attention: expected weights of at least 0, not all 0 over the real frames of a "
                "token; pass probabilities, not scores"
            )
        weights = weights / total.masked_fill(total == 0, 1.0)
    return (weights @ x)[real_y], y[real_y]


def _aligned(
    x: Tensor, y: Tensor, real_x: Tensor, real_y: Tensor, x_times: Any, y_times: Any
) -> tuple[Tensor, Tensor]:
    if y_times is None:
        raise ValueError('y_times: how="aligned" needs to know when each token is said')
    if x_times is None:
        x_times = torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])
    times_x = _times(x_times, real_x, "x_times")
    times_y = _times(y_times, real_y, "y_times")
    apart = (times_y[:, :, None] - times_x[:, None, :]).abs()  # (B, M, L)
    nearest = apart.masked_fill(~real_x[:, None, :], torch.inf).argmin(dim=2, keepdim=True)
    belongs = torch.zeros(apart.shape, dtype=x.dtype, device=x.device).scatter(2, nearest, 1.0)
    belongs = belongs.masked_fill(~real_y[:, :, None], 0.0)
    heard = belongs.sum(dim=1)  # tokens of each frame
    means = belongs.mT @ y / heard.clamp(min=1.0)[:, :, None]
    return x[heard > 0], means[heard > 0]


def _times(times: Any, real: Tensor, name: str) -> Tensor:
    times = as_tensor(times, name, f"numbers {tuple(real.shape)}", real.device)
    if times.shape != real.shape or times.is_complex():
        raise ValueError(f"{name}: expected {tuple(real.shape)}, got {tuple(times.shape)}")
    times = times.double().masked_fill(~real, 0.0)
    if not bool(times.isfinite().all()):
        raise ValueError(f"{name}: NaN or infinity where something is real")
    return times


def _resampled(
    x: Tensor, y: Tensor, real_x: Tensor, real_y: Tensor, length: int | None
) -> tuple[Tensor, Tensor]:
    counts = real_x.sum(dim=1), real_y.sum(dim=1)
    if length is None:
        wanted = torch.minimum(*counts)
    else:
        wanted = torch.full_like(counts[0], as_whole(length, "length"))
    steps = torch.arange(int(wanted.max()), device=x.device)
    kept = steps < wanted[:, None]
    rows = []
    for values, real, count in ((x, real_x, counts[0]), (y, real_y, counts[1])):
        order = real.int().argsort(dim=1, descending=True, stable=True)  # what is real comes first
        # Both ends included; a single time is the middle.
        last = (count - 1).double()[:, None]
        place = steps * last / (wanted[:, None] - 1).clamp(min=1)
        place = torch.where(wanted[:, None] == 1, last / 2, place.minimum(last))
        below = place.floor()
        share = (place - below).to(values.dtype)[:, :, None]
        ends = [
            values.take_along_dim(order.take_along_dim(index.long(), dim=1)[:, :, None], dim=1)
            for index in (below, place.ceil())
        ]
        rows.append(torch.lerp(ends[0], ends[1], share)[kept])
    return rows[0], rows[1]
