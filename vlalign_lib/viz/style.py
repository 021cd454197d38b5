"""The one style of every figure: matplotlib's settings, which seaborn follows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from vlalign_lib._validate import as_number
from vlalign_lib.viz._live import is_live
from vlalign_lib.viz.palette import CYCLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")
R = TypeVar("R")

WIDTH = 7.0
"""Width of a figure in inches: 700 CSS pixels, the column of a page."""


def style() -> dict[Any, Any]:
    """Return the settings of :func:`use_style`, for ``matplotlib.rc_context``.

    Chapter:
        Every chapter draws in it.

    Example:
        >>> style()["figure.facecolor"]
        'white'
    """
    import matplotlib as mpl
    from cycler import cycler

    sheet = files("vlalign_lib.viz") / "assets" / "book.mplstyle"
    with as_file(sheet) as path:
        settings = mpl.rc_params_from_file(path, use_default_template=False)
    return {**settings, "axes.prop_cycle": cycler(color=list(CYCLE))}


def use_style() -> None:
    """Give every figure that follows the style of the book, seaborn's included.

    Where a reader sits in front of the notebook, figures come at twice the pixels and half
    the size; in the built book they come at 200 dpi and shrink to the column.

    Chapter:
        Called by the first cell of every chapter.

    Example:
        >>> use_style()
    """
    import sys

    import matplotlib as mpl

    settings = style()
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is not None and not is_live():
        settings["figure.dpi"] = 200
    mpl.rcParams.update(settings)
    if shell is not None and hasattr(shell, "kernel"):
        import matplotlib.pyplot as plt
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        plt.close()  # the inline backend registers its formats when it is first used
        # with another backend, chosen in MPLBACKEND say, a figure would show its name alone
        set_matplotlib_formats("retina" if is_live() else "png")


def canvas(
    nrows: int = 1, ncols: int = 1, *, height: float = 3.4, **kwargs: Any
) -> tuple[Figure, Any]:
    """Return a figure in the book's style and its axes, as ``plt.subplots`` does.

    The figure is already closed, so that a cell that returns it shows it once.

    Args:
        nrows: rows of axes.
        ncols: columns of axes.
        height: height of the figure in inches.
        **kwargs: passed on to ``Figure.subplots``.

    Returns:
        The figure, and one axes or an array of them.

    Raises:
        ValueError: a height that is not positive.

    Chapter:
        Every chapter draws on it.

    Example:
        >>> figure, axes = canvas(1, 2, height=2.0)
        >>> len(axes)
        2
    """
    height = as_number(height, "canvas: height in inches", above=0)
    from vlalign_lib.viz._figure import StyledFigure

    with whole_style():
        # without pyplot: no window opens and no backend is needed, whichever is set
        figure = StyledFigure(figsize=(WIDTH, height))
        return figure, figure.subplots(nrows, ncols, **kwargs)


def in_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Make ``draw`` draw the same picture whatever matplotlib's settings are: a dark theme, say."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> R:
        with whole_style():
            return draw(*args, **kwargs)

    return styled


def whole_style() -> AbstractContextManager[None]:
    """Return a context of matplotlib's defaults and the book's style, at the present resolution."""
    import matplotlib as mpl
    import matplotlib.style

    resolution = {"figure.dpi": mpl.rcParams["figure.dpi"]}
    context: AbstractContextManager[None] = mpl.style.context(
        ["default", {**style(), **resolution}]
    )
    return context
