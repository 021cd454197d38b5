"""What holds for every figure, however it is drawn."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb


def contrast(first, second):
    """The contrast ratio of two colours, 1 to 21, as WCAG defines it."""

    def luminance(shade):
        parts = np.array(to_rgb(shade))
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return np.array([0.2126, 0.7152, 0.0722]) @ linear

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def check_frame(figure):
    """The figure is closed and as wide as a page, and nothing drawn leaves it."""
    assert plt.get_fignums() == []
    assert figure.get_figwidth() == 7.0
    FigureCanvasAgg(figure).draw()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0) > -0.01
    assert box.x1 < width + 0.01
    assert box.y1 < height + 0.01
