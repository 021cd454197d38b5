"""A correlation spectrum: train above, test below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_numbers
from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@in_style
def correlation_spectrum(train: Any, test: Any, *, title: str = "") -> Figure:
    """Return bars of the correlation of each component: on train upwards, on test downwards.

    Where both halves mirror each other the correlation is real; where only the upper half
    stands it was learnt by heart.

    Args:
        train: correlations ρ (k,) on the training pairs, from −1 to 1.
        test: correlations (k,) of the same components on held-out pairs.
        title: a line above.

    Returns:
        The figure, closed; its scale is always 0 to 1, so that figures can be compared.

    Raises:
        ValueError: different lengths, no component, or numbers that are no correlations.

    Chapter:
        Chapter 03, and every chapter that correlates.

    Example:
        >>> figure = correlation_spectrum([0.9, 0.7], [0.8, 0.2])
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['ρ on train', 'ρ on test']
    """
    above, below = _as_correlations(train, "train"), _as_correlations(test, "test")
    if above.shape != below.shape:
        raise ValueError(
            f"train has {above.size} components and test has {below.size}: expected the same ones"
        )
    figure, (upper, lower) = canvas(2, 1, sharex=True)
    components = np.arange(1, above.size + 1)
    floor = min(0.0, float(above.min()), float(below.min()))
    for axes, values, name in ((upper, above, "train"), (lower, below, "test")):
        axes.bar(components, values, color=colour(name), width=0.8)
        axes.axhline(0, color="#6E6E6E", linewidth=0.8)
        axes.set_ylim(min(floor * 1.1, 0.0), 1.02)
        axes.set_yticks([0, 0.5, 1])
        axes.set_ylabel(f"ρ on {name}")
        axes.grid(False, axis="x")
    lower.invert_yaxis()
    for axes in (upper, lower):
        axes.spines["bottom"].set_visible(False)
    lower.tick_params(axis="x", length=0)
    upper.tick_params(axis="x", length=0)
    lower.set_xlabel("component")
    lower.set_xlim(0.4, above.size + 0.6)
    lower.xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    if title:
        upper.set_title(title)
    return figure


def _as_correlations(values: Any, name: str) -> NDArray[Any]:
    array = as_numbers(values, name)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name}: expected one correlation a component, got shape {array.shape}")
    if not (np.abs(array) <= 1 + 1e-6).all():
        raise ValueError(f"{name}: correlations lie between -1 and 1, got {array.tolist()[:5]}")
    return array
