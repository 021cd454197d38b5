"""The shared space as a scatter, coloured by modality or by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from vlalign_lib._validate import as_labels
from vlalign_lib.viz._checks import as_embeddings, as_label_names
from vlalign_lib.viz._project import flatten
from vlalign_lib.viz.palette import CYCLE, colour
from vlalign_lib.viz.style import canvas, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHAPES = {"image": "o", "text": "^"}


@in_style
def embedding_scatter(
    images: Any,
    texts: Any,
    *,
    labels: Any = None,
    label_names: Sequence[str] | None = None,
    by: Literal["modality", "label"] = "modality",
    title: str = "",
    axes: Axes | None = None,
) -> Figure:
    """Return a scatter of both views in the shared space, each with its own shape.

    More than two dimensions are turned onto the two directions of greatest variance of both
    views together, with deterministic signs. Coloured by modality the figure answers "are
    there two islands?", coloured by label "do families gather?".

    Args:
        images: embedded images (n, k), k ≥ 2.
        texts: embedded texts (n, k), row i the partner of row i.
        labels: a class an item (n,); −1 is drawn in grey. Needed for ``by="label"``.
        label_names: the names of the classes; None writes their numbers.
        by: what colour stands for.
        title: a line above.
        axes: draw into these axes, of a figure made with :func:`canvas`; None makes a figure.

    Returns:
        The figure, closed. The seven most frequent classes have a colour, others are grey.

    Raises:
        ValueError: shapes that do not fit, one dimension, labels missing, or NaN.

    Chapter:
        Chapter 03, and every chapter that aligns.

    Example:
        >>> import numpy as np
        >>> points = np.random.default_rng(0).normal(size=(20, 3))
        >>> embedding_scatter(points, points + 1).axes[0].get_xlabel()[:9]
        'direction'
    """
    u, v = as_embeddings(images, texts)
    if by not in ("modality", "label"):
        raise ValueError(f"by: expected 'modality' or 'label', got {by!r}")
    n = len(u)
    points, names = flatten(np.vstack([u, v]).astype(np.float64))
    u, v = points[:n], points[n:]
    drawn = canvas(height=4.2)[1] if axes is None else axes
    size = 26 if n <= 400 else 12
    views = (("image", u), ("text", v))
    if by == "modality":
        for name, view in views:
            look: Any = {"marker": _SHAPES[name], "color": colour(name), "linewidths": 0}
            drawn.scatter(view[:, 0], view[:, 1], s=size, alpha=0.65, label=name, **look)
    else:
        classes = as_labels(labels, n)
        _by_label(drawn, views, classes, label_names, size)
    drawn.set_aspect("equal", adjustable="datalim")
    drawn.set_xlabel(names[0])
    drawn.set_ylabel(names[1])
    drawn.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.2)
    if title:
        drawn.set_title(title)
    return cast("Figure", drawn.get_figure())


def _by_label(
    axes: Axes,
    views: Sequence[tuple[str, NDArray[Any]]],
    classes: NDArray[np.int64],
    label_names: Sequence[str] | None,
    size: float,
) -> None:
    present, counts = np.unique(classes[classes >= 0], return_counts=True)
    shown = np.sort(present[np.argsort(-counts, kind="stable")][: len(CYCLE) - 1])
    names = as_label_names(label_names, present)
    rest = ~np.isin(classes, shown)
    for view_name, view in views:
        look: dict[str, Any] = {"marker": _SHAPES[view_name], "s": size, "linewidths": 0}
        if rest.any():
            axes.scatter(*view[rest].T, color="#C4C4C4", **look)
        for i, label in enumerate(shown):
            axes.scatter(*view[classes == label].T, alpha=0.75, color=CYCLE[i], **look)
    for i, label in enumerate(shown):
        axes.scatter([], [], marker="s", color=CYCLE[i], label=names[int(label)])
    if rest.any():
        axes.scatter([], [], marker="s", color="#C4C4C4", label="other")
    for view_name, _ in views:
        axes.scatter([], [], marker=_SHAPES[view_name], color="#3A3A3A", label=view_name)
