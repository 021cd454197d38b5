"""A small jitter of pictures, so that a network does not learn single pixels by heart."""

from __future__ import annotations

import torch
from torch import Tensor


def random_shift(x: Tensor, most: int, generator: torch.Generator | None = None) -> Tensor:
    r"""Move each picture by its own random step, up to ``most`` pixels each way.

    .. math:: x'_{b,i,j} = x_{b,\, [i - s_b],\, [j - t_b]}, \qquad
              s_b, t_b \sim \mathcal U\{-\text{most}, \dots, \text{most}\},

    where [·] is the nearest row or column that there is: the picture's own edge is what enters
    at the border, in whatever units the picture has.

    Args:
        x: pictures (B, height, width); not written to.
        most: largest step in pixels, smaller than both sides; 0 returns ``x`` itself.
        generator: where the steps are drawn from; on the CPU. None takes torch's own.

    Returns:
        (B, height, width), same dtype and device.

    Raises:
        ValueError: no pictures, or a step as large as a side.

    Chapter:
        07, where encoders of pictures are trained.

    Example:
        >>> x = torch.eye(3)[None]
        >>> random_shift(x, 1, torch.Generator().manual_seed(3)).shape
        torch.Size([1, 3, 3])
    """
    if x.ndim != 3:
        raise ValueError(f"x: expected pictures (B, height, width), got {tuple(x.shape)}")
    count, height, width = x.shape
    if isinstance(most, bool) or not isinstance(most, int) or not 0 <= most < min(height, width):
        raise ValueError(
            f"most: expected whole pixels from 0 to below {min(height, width)}, got {most!r}"
        )
    if most == 0:
        return x
    steps = torch.randint(-most, most + 1, (2, count, 1), generator=generator).to(x.device)
    rows = (torch.arange(height, device=x.device) - steps[0]).clamp(0, height - 1)  # (B, height)
    columns = (torch.arange(width, device=x.device) - steps[1]).clamp(0, width - 1)  # (B, width)
    items = torch.arange(count, device=x.device)
    return x[items[:, None, None], rows[:, :, None], columns[:, None, :]]
