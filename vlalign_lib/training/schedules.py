"""Learning rates as functions of the step."""

from __future__ import annotations

import math

from vlalign_lib._validate import as_number


def warmup_cosine(step: int, total: int, *, warmup: int = 0, start: float = 0.0) -> float:
    r"""Return the share of the learning rate that a step uses: up in a line, down in a cosine.

    .. math::
        f(t) = \begin{cases}
            f_0 + (1 - f_0)\, t / T_w & t < T_w \\
            \tfrac{1}{2} \big(1 + \cos \pi \tfrac{t - T_w}{T - T_w}\big) & T_w \le t \le T
        \end{cases}

    Args:
        step: t, the number of updates that were made before; in [0, T].
        total: T, the number of updates of the whole training.
        warmup: :math:`T_w`, the steps of the line; 0 begins at the top.
        start: :math:`f_0`, the share at the very first step, in [0, 1].

    Returns:
        A factor between 0 and 1.

    Raises:
        ValueError: a step outside [0, T], a warm-up longer than T, a share outside [0, 1].

    Chapter:
        13, where weak temporal alignment is trained.

    Example:
        >>> [warmup_cosine(t, 8, warmup=4, start=0.01) for t in (0, 4, 8)]
        [0.01, 1.0, 0.0]
    """
    _check_steps(step, total, warmup, start)
    if step < warmup:
        return warmup_constant(step, total, warmup=warmup, start=start)
    if total == warmup:
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def warmup_constant(step: int, total: int, *, warmup: int = 0, start: float = 0.0) -> float:
    r"""Return the share of the learning rate that a step uses: up in a line, then constant.

    .. math:: f(t) = \min\big(1,\; f_0 + (1 - f_0)\, t / T_w\big)

    Args:
        step: t, the number of updates that were made before; in [0, T].
        total: T, the number of updates of the whole training.
        warmup: :math:`T_w`, the steps of the line; 0 gives 1 throughout.
        start: :math:`f_0`, the share at the very first step, in [0, 1].

    Returns:
        A factor between 0 and 1.

    Raises:
        ValueError: a step outside [0, T], a warm-up longer than T, a share outside [0, 1].

    Chapter:
        13, where weak temporal alignment is trained.

    Example:
        >>> [warmup_constant(t, 8, warmup=4) for t in (0, 2, 4, 8)]
        [0.0, 0.5, 1.0, 1.0]
    """
    _check_steps(step, total, warmup, start)
    if step >= warmup:
        return 1.0
    return start + (1.0 - start) * step / warmup


def _check_steps(step: int, total: int, warmup: int, start: float) -> None:
    if not 0 <= step <= total:
        raise ValueError(f"step: expected 0 to {total}, the number of all steps, got {step!r}")
    if not 0 <= warmup <= total:
        raise ValueError(
            f"warmup: {warmup!r} steps, but training has {total}; use fewer, or more epochs"
        )
    if not 0 <= as_number(start, "start") <= 1:
        raise ValueError(f"start: expected a share between 0 and 1, got {start!r}")
