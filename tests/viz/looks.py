"""What holds for every figure, however it is drawn."""

from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text


def contrast(first, second):
    """The contrast ratio of two colours, 1 to 21, as WCAG defines it."""

    def luminance(shade):
        parts = np.array(to_rgb(shade))
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return np.array([0.2126, 0.7152, 0.0722]) @ linear

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def check_frame(figure):
    """It is closed, white, as wide as a page and legible, and nothing leaves it."""
    assert plt.get_fignums() == []
    assert figure.get_figwidth() == 7.0
    assert figure.get_facecolor() == (1, 1, 1, 1)
    FigureCanvasAgg(figure).draw()
    shown = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert min((text.get_fontsize() for text in shown), default=9) >= 9
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0) > -0.01
    assert box.x1 < width + 0.01
    assert box.y1 < height + 0.01


class Page(HTMLParser):
    """Tags in order, with their attributes; complains of what is not closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def of_class(self, name):
        return [a for _, a in self.tags if name in (a.get("class") or "").split()]
