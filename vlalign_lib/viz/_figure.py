"""The figure that every drawing is made on; imported where matplotlib is."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from vlalign_lib.viz.style import whole_style


class StyledFigure(Figure):
    """A figure that keeps the book's style: matplotlib makes ticks and grids as it is rendered."""

    def draw(self, renderer: Any) -> None:
        """Render in the style in which the figure was made, whatever is set by now."""
        with whole_style():
            super().draw(renderer)
