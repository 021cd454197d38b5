"""Posteriors of two networks as points between the same corners, one corner a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_labels, as_matrix
from vlalign_lib.viz._checks import as_views
from vlalign_lib.viz.palette import colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_JITTER = 0.07


@in_style
def class_corners(images: Any, texts: Any, labels: Any, *, axes: Axes | None = None) -> Figure:
    r"""Return what two networks believe: each item a point between the corners of the classes.

    .. math:: \text{point} = \sum_c p_c \, \text{corner}_c

    The C corners stand on a circle. An item that a network is sure of lies on the corner of the
    class; one it knows nothing about lies in the middle, and so may one that is torn between
    opposite corners. Points are spread a little, or those on a corner would hide each other.

    Args:
        images: posteriors of the image network (n, C), rows that sum to 1.
        texts: posteriors of the text network (n, C), row i the partner of row i.
        labels: the true class of each pair (n,), from 0 to C − 1.
        axes: draw both views into these axes, of a figure made with :func:`canvas`; None makes a
            figure with a panel for each view.

    Returns:
        The figure, closed.

    Raises:
        ValueError: shapes that do not fit, rows that are no probabilities, fewer than three
            classes, or labels that are no class.

    Chapter:
        Chapter 06 opens with it.

    Example:
        >>> import numpy as np
        >>> sure = np.eye(3)[[0, 1, 2, 2]]
        >>> figure = class_corners(sure, sure, [0, 1, 2, 2])
        >>> [panel.get_title(loc="left") for panel in figure.axes]
        ['image network', 'text network']
    """
    p, q = as_views(_posteriors(images, "images"), _posteriors(texts, "texts"))
    n_classes = p.shape[1]
    if q.shape[1] != n_classes or n_classes < 3:
        raise ValueError(
            "images and texts: expected posteriors over the same classes, three or more, got "
            f"{n_classes} and {q.shape[1]}"
        )
    classes = as_labels(labels, len(p))
    if classes.min() < 0 or classes.max() >= n_classes:
        raise ValueError(
            f"labels: expected classes from 0 to {n_classes - 1}, got {classes.min()} to "
            f"{classes.max()}"
        )
    views = {"image": p, "text": q}
    if axes is not None:
        _draw(axes, views, classes)
        return cast("Figure", axes.get_figure())
    figure, panels = canvas(1, 2, height=3.6)
    for panel, (name, view) in zip(panels, views.items(), strict=True):
        _draw(panel, {name: view}, classes)
        panel.set_title(f"{name} network", loc="left", color=colour(name))
    return figure


def _posteriors(values: Any, name: str) -> NDArray[np.float64]:
    rows = as_matrix(values, name).astype(np.float64)
    if rows.min() < 0 or np.abs(rows.sum(axis=1) - 1).max() > 1e-6:
        raise ValueError(
            f"{name}: expected probabilities, rows that are not negative and sum to 1; apply a "
            "softmax to logits first"
        )
    return rows


def _draw(axes: Axes, views: dict[str, NDArray[np.float64]], classes: NDArray[np.int64]) -> None:
    n_classes = next(iter(views.values())).shape[1]
    angles = np.pi / 2 - 2 * np.pi * np.arange(n_classes) / n_classes
    corners = np.column_stack([np.cos(angles), np.sin(angles)])  # (C, 2), clockwise from the top
    around = np.vstack([corners, corners[:1]])
    axes.plot(around[:, 0], around[:, 1], color="#B0B0B0", linewidth=0.8, zorder=1)
    for number, corner in enumerate(corners):
        x, y = 1.27 * corner
        axes.text(x, y, str(number), ha="center", va="center", fontsize=10, fontweight="bold")
    rng = np.random.default_rng(0)
    for view, posteriors in views.items():
        angle, radius = rng.uniform(0, 2 * np.pi, len(classes)), rng.uniform(0, 1, len(classes))
        spread = _JITTER * np.sqrt(radius)[:, None]
        points = posteriors @ corners + spread * np.column_stack([np.cos(angle), np.sin(angle)])
        for number in np.unique(classes):
            across, up = points[classes == number].T
            axes.scatter(across, up, s=30, alpha=0.75, marker=f"${number}$", color=colour(view),
                         linewidths=0, zorder=2)  # fmt: skip
    axes.set(xlim=(-1.45, 1.45), ylim=(-1.45, 1.45), aspect="equal")
    axes.set_axis_off()
