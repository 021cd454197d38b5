"""Figures and sliders in one style, for the notebooks and for whoever likes them.

Every figure comes back closed: a cell that ends in it shows it once. Matplotlib is imported
when the first figure is drawn.
"""

from vlalign_lib.viz._live import is_live
from vlalign_lib.viz.circle import paired_circles, unrolled_circle
from vlalign_lib.viz.clouds import paired_clouds, variates_scatter
from vlalign_lib.viz.corners import class_corners
from vlalign_lib.viz.coupling import coupling_curves
from vlalign_lib.viz.difference_matrix import difference_matrix
from vlalign_lib.viz.dots import dot_rows
from vlalign_lib.viz.drawing import Drawing, drawing
from vlalign_lib.viz.gallery import gallery_curves
from vlalign_lib.viz.glyph_maps import glyph_maps
from vlalign_lib.viz.intervals import interval_plot
from vlalign_lib.viz.missing_view import digit_halves, missing_view_curves
from vlalign_lib.viz.palette import CYCLE, MARKERS, PALETTE, colour, has_colour
from vlalign_lib.viz.rank_lines import rank_lines
from vlalign_lib.viz.ranking import margin_rings, space_forming
from vlalign_lib.viz.results_table import results_table
from vlalign_lib.viz.retrieval import retrieval_grid
from vlalign_lib.viz.scatter import embedding_scatter
from vlalign_lib.viz.search import GlyphSearch, glyph_search
from vlalign_lib.viz.slider import FrameSlider, frame_slider
from vlalign_lib.viz.spectrum import correlation_spectrum
from vlalign_lib.viz.style import WIDTH, canvas, style, use_style
from vlalign_lib.viz.trade_off import trade_off
from vlalign_lib.viz.wall import pairs_wall

__all__ = [
    "CYCLE",
    "MARKERS",
    "PALETTE",
    "WIDTH",
    "Drawing",
    "FrameSlider",
    "GlyphSearch",
    "canvas",
    "class_corners",
    "colour",
    "correlation_spectrum",
    "coupling_curves",
    "difference_matrix",
    "digit_halves",
    "dot_rows",
    "drawing",
    "embedding_scatter",
    "frame_slider",
    "gallery_curves",
    "glyph_maps",
    "glyph_search",
    "has_colour",
    "interval_plot",
    "is_live",
    "margin_rings",
    "missing_view_curves",
    "paired_circles",
    "paired_clouds",
    "pairs_wall",
    "rank_lines",
    "results_table",
    "retrieval_grid",
    "space_forming",
    "style",
    "trade_off",
    "unrolled_circle",
    "use_style",
    "variates_scatter",
]
