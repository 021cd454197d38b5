"""A slider that moves in the printed page, and recomputes where a kernel runs."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vlalign_lib.viz._checks import place_of
from vlalign_lib.viz._live import is_live
from vlalign_lib.viz._png import as_figure, asset, data_uri, fill, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 160  # 1,120 pixels across: sharp on most screens, and small
_SLOW = 0.25  # seconds; a drawing that takes longer waits until the handle is let go


class FrameSlider:
    """Pre-rendered frames and a range input: what :func:`frame_slider` gives a printed page.

    Args:
        frames: PNG images, one a position.
        said: what the output says at each position.
        alts: alternative text of each frame.
        label: what the handle changes.
        start: index of the first position shown.

    Chapter:
        Every chapter has one; chapter 01 is the first.
    """

    def __init__(
        self,
        frames: Sequence[bytes],
        said: Sequence[str],
        alts: Sequence[str],
        label: str,
        start: int,
    ) -> None:
        self.frames = tuple(frames)
        self.said = tuple(said)
        self.alts = tuple(alts)
        self.label = label
        self.start = start

    def _repr_html_(self) -> str:
        said = [html.escape(each) for each in self.said]
        frames = "".join(
            fill("slider_frame.html", on=" vl-on" if i == self.start else "",
                 address=data_uri(frame), alt=html.escape(alt), said=said[i])
            for i, (frame, alt) in enumerate(zip(self.frames, self.alts, strict=True))
        )  # fmt: skip
        # The label holds the input, so that nothing needs an id and nothing can clash. The input
        # stands before the output, which a label would otherwise name in its place.
        return fill(
            "slider.html", label=html.escape(self.label), css=asset("slider.css"), frames=frames,
            start=self.start, last=len(said) - 1, shown=said[self.start], first_end=said[0],
            last_end=said[-1], js=asset("slider.js"),
        )  # fmt: skip

    def __repr__(self) -> str:
        """Return the slider in words, for terminals."""
        return (
            f"{self.label}: {len(self.frames)} frames, {self.said[0]} … {self.said[-1]}; shown "
            f"{self.said[self.start]}: {self.alts[self.start]}"
        )


def frame_slider(
    render: Callable[[Any], Figure],
    values: Sequence[Any],
    *,
    label: str,
    alt: str | Callable[[Any], str],
    start: Any = None,
    unit: str = "",
    format: str | Callable[[Any], str] = "",
) -> Any:
    """Return a figure with a slider under it, which moves with no kernel and with no network.

    In the built book every frame is drawn beforehand and an ordinary range input shows one of
    them. Where a kernel runs (Jupyter, Colab, VS Code) the same call gives a control that
    draws anew; ``VLALIGN_LIVE`` set to 0 or 1 chooses by hand.

    Args:
        render: draws the figure for one value; give all of them the same size and axes.
        values: the positions, at least two, in order; numbers or words.
        label: what the slider changes, in words: "relative regularisation κ".
        alt: what a frame shows, for readers who cannot see it: a format string with
            ``{value}``, or a function of the value.
        start: the value shown first; None is the first one.
        unit: written behind the value: "pairs"; "%" and "°" follow without a space.
        format: how a value is written: a format specification such as ``".2f"``, or a
            function of the value.

    Returns:
        A :class:`FrameSlider`, or an ipywidgets box; shown when it is the last expression of
        a cell.

    Raises:
        ValueError: fewer than two values, a start that is not among them, no label, an
            alternative text that does not depend on the value, or a ``render`` that returns
            no figure.

    Chapter:
        Every chapter has one; chapter 01 is the first.

    Example:
        >>> from vlalign_lib.viz import canvas
        >>> def draw(k):
        ...     figure, axes = canvas(height=2)
        ...     _ = axes.plot([0, 1], [0, k])
        ...     return figure
        >>> frame_slider(draw, [1, 2, 3], label="slope", alt="A line of slope {value}.")
        slope: 3 frames, 1 … 3; shown 1: A line of slope 1.
    """
    positions = list(values)
    if len(positions) < 2:
        raise ValueError(f"frame_slider: needs at least two values, got {len(positions)}")
    if not isinstance(label, str) or not label.strip():
        raise ValueError("frame_slider: the label says what the slider changes; got none")
    said = [_said(value, unit, format) for value in positions]
    if len(set(said)) < len(said):
        twice = next(text for text in said if said.count(text) > 1)
        raise ValueError(
            f"frame_slider: two positions are both written {twice!r}; give more digits in format"
        )
    alts = [_alt(alt, value) for value in positions]
    if len(set(alts)) == 1:
        raise ValueError(
            "frame_slider: alt says what each frame shows, so it must depend on the value: write "
            "{value} into it, or pass a function of the value"
        )
    place = place_of(start, positions, "start") or 0
    if is_live():
        control = _live_control(render, positions, said, alts, label, place)
        if control is not None:
            return control
    frames = [png(as_figure(render(value), "frame_slider"), dpi=_DPI) for value in positions]
    return FrameSlider(frames, said, alts, label, place)


def _said(value: Any, unit: str, how: str | Callable[[Any], str]) -> str:
    try:
        text = how(value) if callable(how) else f"{value:{how}}"
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"frame_slider: format={how!r} does not fit the value {value!r}: {error}"
        ) from error
    if not unit:
        return str(text)
    return f"{text}{unit}" if unit in ("%", "°") else f"{text} {unit}"


def _alt(alt: str | Callable[[Any], str], value: Any) -> str:
    if callable(alt):
        text = alt(value)
    else:
        try:
            text = alt.format(value, value=value)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ValueError(
                f"frame_slider: alt={alt!r} cannot be filled with {value!r} ({error}); it takes "
                "{value}, and nothing else in braces"
            ) from error
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"frame_slider: alt is empty for the value {value!r}")
    return text


def wide(widgets: Any) -> dict[str, Any]:
    """Return the looks of a control that is as wide as a page, whatever its description."""
    layout = widgets.Layout(width="auto", max_width="47rem")
    return {"style": {"description_width": "initial"}, "layout": layout}


def _live_control(
    render: Callable[[Any], Figure],
    values: Sequence[Any],
    said: Sequence[str],
    alts: Sequence[str],
    label: str,
    start: int,
) -> Any:
    """Return an ipywidgets control that draws anew, or None where ipywidgets is missing."""
    try:
        import ipywidgets as widgets
    except ImportError:
        return None

    def drawn(place: int) -> str:
        image = png(as_figure(render(values[place]), "frame_slider"), dpi=_DPI)
        return (
            f'<img src="{data_uri(image)}" alt="{html.escape(alts[place])}" '
            'style="max-width:100%;width:47rem;height:auto;background:#fff">'
        )

    picture = widgets.HTML(value=drawn(start))
    options = [(text, place) for place, text in enumerate(said)]
    control = widgets.SelectionSlider(
        options=options, value=start, description=label, continuous_update=False, **wide(widgets)
    )

    def moved(change: Any) -> None:
        began = time.perf_counter()
        try:
            picture.value = drawn(change["new"])
        except Exception as error:
            problem = html.escape(f"{type(error).__name__}: {error}")
            picture.value = f"<pre>{problem}</pre>"
        control.continuous_update = time.perf_counter() - began < _SLOW

    control.observe(moved, names="value")
    return widgets.VBox([picture, control])
