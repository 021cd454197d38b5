"""The slider: its page form, its live form, and what it refuses."""

import base64
import io
import re
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from looks import Page
from PIL import Image

from vlalign_lib.viz import canvas, colour, frame_slider

mpl.use("agg")


def wave(frequency):
    figure, axes = canvas(height=2.5)
    x = np.linspace(0, 6, 200)
    axes.plot(x, np.sin(frequency * x), color=colour("image"))
    axes.plot(x, np.cos(frequency * x), color=colour("text"))
    axes.set(xlabel="time (s)", ylabel="signal (V)", ylim=(-1.1, 1.1))
    return figure


def slider(values=(1.0, 1.5, 2.0), **changes):
    options = {
        "label": "frequency",
        "alt": "Two waves of {value} Hz.",
        "unit": "Hz",
        "format": ".1f",
    }
    return frame_slider(wave, values, **{**options, **changes})


def html_of(control):
    return control._repr_html_()


def test_one_frame_a_value_each_with_its_own_text():
    page = Page(html_of(slider()))
    assert page.open == []
    frames = page.all("img")
    assert [frame["alt"] for frame in frames] == [f"Two waves of {v} Hz." for v in (1.0, 1.5, 2.0)]
    assert [frame["data-value"] for frame in frames] == ["1.0 Hz", "1.5 Hz", "2.0 Hz"]
    assert len({frame["src"] for frame in frames}) == 3
    assert ["vl-on" in frame["class"].split() for frame in frames] == [True, False, False]


def test_a_native_range_with_label_and_output():
    (control,) = Page(html_of(slider(start=1.5))).all("input")
    assert control["type"] == "range"
    assert (control["min"], control["max"], control["value"]) == ("0", "2", "1")
    assert control["aria-label"] == "frequency"
    assert control["aria-valuetext"] == "1.5 Hz"
    text = html_of(slider(start=1.5))
    assert re.search(r"<label>.*frequency.*<input.*<output[^>]*>1.5 Hz</output></label>", text)


def test_no_ids_no_requests_no_widgets():
    text = html_of(slider())
    for tag, attributes in Page(text).tags:
        assert "id" not in attributes, tag
        assert not {"href", "srcset", "onload"} & set(attributes)
        assert attributes.get("src", "data:").startswith("data:")
    assert not re.search(r"https?://|@import|url\(|fetch\(|application/vnd", text)


def test_the_same_bytes_on_every_run():
    assert html_of(slider()) == html_of(slider())


def test_frames_are_small_sharp_and_of_one_size():
    control = slider()
    sizes = [Image.open(io.BytesIO(frame)).size for frame in control.frames]
    assert sizes == [(1120, 400)] * 3
    assert max(map(len, control.frames)) < 25_000


def test_colours_survive_the_palette():
    picture = Image.open(io.BytesIO(slider().frames[0])).convert("RGB")
    present = {shade for _, shade in picture.getcolors(1 << 16)}
    for name in ("image", "text"):
        wanted = tuple(int(colour(name)[i : i + 2], 16) for i in (1, 3, 5))
        nearest = min(max(abs(a - b) for a, b in zip(wanted, s, strict=True)) for s in present)
        assert nearest <= 6, f"{name} is off by {nearest}"
    assert picture.getpixel((0, 0)) == (255, 255, 255)


def test_what_readers_type_is_escaped():
    text = html_of(slider(label='<b>"x" & y</b>', alt='say "{value}" <i>'))
    assert "<b>" not in text
    assert "<i>" not in text
    page = Page(text)
    assert page.all("input")[0]["aria-label"] == '<b>"x" & y</b>'
    assert page.all("img")[0]["alt"] == 'say "1.0" <i>'


def test_words_functions_and_units():
    control = frame_slider(
        lambda word: wave(len(word)), ["a", "bb"], label="word", alt=lambda v: f"Word {v}.",
        format=str.upper,
    )  # fmt: skip
    assert control.said == ("A", "BB")
    assert control.alts == ("Word a.", "Word bb.")
    assert slider(unit="%", format=".0f", values=(1, 2)).said == ("1%", "2%")
    assert slider(unit="", format="", values=(1, 2)).said == ("1", "2")
    assert slider(values=(1, 2), alt="at {:.2f}").alts == ("at 1.00", "at 2.00")


def test_in_a_terminal_it_says_what_it_shows():
    shown = "frequency: 3 frames, 1.0 Hz … 2.0 Hz; shown 1.0 Hz: Two waves of 1.0 Hz."
    assert repr(slider()) == shown


def test_no_figure_is_left_open():
    def careless(value):
        figure = plt.figure()
        figure.gca().plot([0, value])
        return figure

    frame_slider(careless, [1, 2], label="x", alt="{value}")
    assert plt.get_fignums() == []


def test_axes_will_do_as_well():
    assert frame_slider(lambda v: wave(v).axes[0], [1, 2], label="x", alt="{value}").frames


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": [1]}, "at least two"),
        ({"label": " "}, "what the slider changes"),
        ({"label": None}, "what the slider changes"),
        ({"alt": "Two waves."}, "depend on the value"),
        ({"alt": "{frequency}"}, "cannot be filled"),
        ({"alt": "{"}, "cannot be filled"),
        ({"alt": lambda value: ""}, "alt is empty"),
        ({"start": 7}, "start: expected one of .* got 7"),
        ({"format": "d"}, "does not fit the value"),
        ({"format": ".0f", "values": [1.1, 1.2]}, "both written '1 Hz'"),
    ],
)
def test_it_refuses_and_says_why(changes, message):
    with pytest.raises(ValueError, match=message):
        slider(**changes)


def test_a_render_without_a_figure_teaches():
    with pytest.raises(ValueError, match="must return a matplotlib Figure, got NoneType"):
        frame_slider(lambda value: None, [1, 2], label="x", alt="{value}")


# the live form


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setenv("VLALIGN_LIVE", "1")
    return pytest.importorskip("ipywidgets")


def parts(box):
    return box.children


def picture_in(widget):
    encoded = re.search(r"base64,([^\"]+)", widget.value).group(1)
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def test_live_it_draws_one_frame_and_another_on_each_move(live):
    drawn = []

    def counting(value):
        drawn.append(value)
        return wave(value)

    box = frame_slider(counting, [1.0, 1.5, 2.0], label="frequency", alt="{value} Hz", start=1.5)
    picture, control = parts(box)
    assert drawn == [1.5]
    assert control.description == "frequency"
    assert 'alt="1.5 Hz"' in picture.value
    before = picture_in(picture).tobytes()
    control.value = 2
    assert drawn == [1.5, 2.0]
    assert 'alt="2.0 Hz"' in picture.value
    assert picture_in(picture).tobytes() != before
    assert plt.get_fignums() == []


def test_live_it_recomputes_with_what_the_kernel_knows_now(live):
    gain = {"value": 1}
    box = frame_slider(lambda v: wave(v * gain["value"]), [1, 2], label="x", alt="{value}")
    picture, control = parts(box)
    first = picture_in(picture).tobytes()
    gain["value"] = 3
    control.value = 1
    control.value = 0
    assert picture_in(picture).tobytes() != first


def test_live_a_slow_drawing_waits_until_the_handle_is_let_go(live, monkeypatch):
    clock = iter([0.0, 0.01, 1.0, 3.0])
    module = sys.modules["vlalign_lib.viz.slider"]
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    _, control = parts(frame_slider(wave, [1, 2, 3], label="x", alt="{value}"))
    assert control.continuous_update is False
    control.value = 1
    assert control.continuous_update is True
    control.value = 2
    assert control.continuous_update is False


def test_live_an_error_is_shown_and_the_next_move_works(live):
    def sometimes(value):
        if value == 2:
            raise RuntimeError("no <luck>")
        return wave(value)

    picture, control = parts(frame_slider(sometimes, [1, 2, 3], label="x", alt="{value}"))
    control.value = 1
    assert "RuntimeError: no &lt;luck&gt;" in picture.value
    control.value = 2
    assert 'alt="3"' in picture.value


def test_live_without_ipywidgets_the_page_form_does(monkeypatch):
    monkeypatch.setenv("VLALIGN_LIVE", "1")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert len(slider().frames) == 3
