"""The live view and the summary: what they show, that they fit, and what they cost."""

import io
import re
import time
from dataclasses import replace
from itertools import chain, repeat
from xml.etree import ElementTree

import pytest
from rich.console import Console
from support.predictions import LABELS, feed, make_info, make_prediction
from support.terminal import shown_on_terminal

from ascstream.records import Prediction, StreamEvent
from ascstream.sinks.drawing import Legend
from ascstream.sinks.parts import Canvas
from ascstream.sinks.picture import Picture
from ascstream.sinks.summary import render_summary
from ascstream.sinks.view import ViewSink
from ascstream.stats import StreamStats

SIZES = [(80, 24), (40, 10), (200, 60), (120, 40), (50, 16), (49, 15), (20, 5), (1, 1)]
STREET_TO_PARK = [make_prediction(end, "street_traffic" if end <= 10 else "park", 0.87) for end in range(1, 16)]


def make_picture(predictions: list[Prediction], name: str = "clip.mp4", duration: float | None = 20.0) -> Picture:
    stats = StreamStats(name)
    picture = Picture(make_info(name, duration), stats, Legend())
    for prediction in predictions:
        stats.add(prediction)
        picture.add(prediction)
    return picture


def show(picture: Picture, width: int, height: int, **canvas: bool) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, height=height).print(picture.draw(Canvas(width, height, **canvas), 0.0))
    return file.getvalue().splitlines()


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("n_labels", [2, 6, 10, 50])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_picture_fits_its_canvas(width, height, n_labels, ascii_only):
    labels = [f"some_scene_{index:02d}" for index in range(n_labels)]
    picture = make_picture([make_prediction(end, labels[end % 2], 0.6, labels=labels) for end in range(1, 30)])
    for _ in range(2):
        picture.event(StreamEvent(12.0, "gap", "a message that is longer than most terminals are wide " * 4))
    lines = show(picture, width, height, ascii_only=ascii_only)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    if ascii_only:
        assert "".join(lines).isascii()


def test_the_picture_says_what_there_is_to_know():
    picture = make_picture(STREET_TO_PARK)
    picture.event(StreamEvent(12.0, "gap", "0.35 s of sound never came", 0.35))
    text = "\n".join(show(picture, 80, 30))
    assert "█▀▄ ▄▀▄ █▀▄ █ █" in text
    assert "87 %  scene  since 0:10" in text
    assert re.search(r"park +━+╸?─+ +87 %", text)
    assert "audio ✓   video –" in text
    assert "0:15 / 0:20" in text
    assert "■ street_traffic  ■ park" in text
    assert "! 0:12  0.35 s of sound never came" in text
    assert "real time" in text
    assert "latency   p50 4 ms   p95 4 ms   p99 4 ms" in text


def test_bars_stay_where_they_are():
    orders = []
    for label in LABELS:
        lines = show(make_picture([make_prediction(1.0, label, 0.9)]), 80, 24)
        orders.append([line.split()[1] for line in lines if "%" in line and "─" in line and line.split()[1] in LABELS])
    assert all(order == list(LABELS) for order in orders)


def test_the_strip_is_as_long_as_the_file_and_filled_as_far_as_it_is_known():
    lines = show(make_picture(STREET_TO_PARK), 86, 24, letters=True)
    strip = next(line for line in lines if "TTTT" in line).strip("│ ")
    assert strip == strip[:60].replace("─", "") + "─" * 20
    assert strip.count("T") == 40
    assert strip.count("P") == 20


def test_a_modality_that_went_is_told_from_one_that_never_came():
    both = make_prediction(1.0, modalities=("audio", "video"))
    lost = make_prediction(2.0, modalities=("audio",), degraded=True)
    text = "\n".join(show(make_picture([both, lost]), 80, 24))
    assert "video ✗ lost" in text
    assert "degraded: no picture" in text
    assert "video –" in "\n".join(show(make_picture([make_prediction(1.0)]), 80, 24))


def test_an_unknown_answer_says_why():
    unknown = make_prediction(1.0, "unknown", 0.4, level="unknown", reason="silence")
    assert "silence" in "\n".join(show(make_picture([unknown]), 80, 24))


def test_a_hostile_name_cannot_steer_the_terminal():
    lines = show(make_picture([make_prediction(1.0)], "a\x1b[2J\x07.mp4"), 80, 24)
    assert "\x1b" not in "".join(lines)
    assert "\x07" not in "".join(lines)
    assert "a\ufffd[2J\ufffd.mp4" in lines[0]


def test_a_drawing_costs_less_than_a_fiftieth_of_a_core_when_live():
    now = [0.0]
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40, color_system="truecolor")
    sink = ViewSink(console, clock=lambda: now[0])
    sink.begin(make_info(duration=None), StreamStats("mic"))
    begun = time.process_time()
    for index in range(100):
        now[0] = index + 1.0
        sink.emit(make_prediction(now[0], "park" if index % 7 else "bus"))
    spent = time.process_time() - begun
    sink.close()
    assert spent / 100 <= 0.02, "seconds of CPU a second of stream, at one answer a second"


def test_answers_in_quick_succession_are_not_all_drawn():
    now = [0.0]
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24)
    sink = ViewSink(console, clock=lambda: now[0])
    sink.begin(make_info(duration=None), StreamStats("mic"))
    for index in range(1000):
        now[0] += 0.001
        sink.emit(make_prediction(index + 1.0))
    drawn = file.getvalue().count("╭")
    sink.close()
    assert 6 <= drawn <= 8


def test_a_changed_size_starts_on_a_clean_screen():
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24)
    now = [0.0]
    sink = ViewSink(console, clock=lambda: now[0])
    sink.begin(make_info(), StreamStats("clip.mp4"))
    sink.emit(make_prediction(1.0))
    assert "\x1b[2J" not in file.getvalue()
    console.size = (60, 20)
    now[0] = 1.0
    sink.emit(make_prediction(2.0))
    sink.close()
    assert "\x1b[2J" in file.getvalue()


def test_the_view_leaves_the_summary_and_the_cursor(capsys):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24, color_system="truecolor")
    sink = ViewSink(console)
    feed(sink, STREET_TO_PARK)
    sink.close()
    text = file.getvalue()
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "clip.mp4 · 15.0 s · 15 windows" in plain


def test_a_picture_for_a_page_is_svg():
    sink = ViewSink(Console(file=io.StringIO(), force_terminal=True))
    feed(sink, STREET_TO_PARK)
    root = ElementTree.fromstring(sink.svg(width=96, height=28, title="ascstream file clip.mp4"))  # noqa: S314 - ours
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = "".join(root.itertext()).replace("\xa0", " ")
    assert "ascstream file clip.mp4" in text
    assert "since 0:10" in text


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"PYTHONIOENCODING": "ascii"}])
def test_the_view_on_a_real_terminal(variables):
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from support.predictions import feed, make_prediction\n"
        "from ascstream.sinks import open_sink\n"
        "sink = open_sink('-')\n"
        "feed(sink, [make_prediction(float(end), 'bus' if end < 9 else 'park') for end in range(1, 16)])\n"
        "sink.close()\n"
    )
    text = shown_on_terminal(code, variables)
    assert "clip.mp4" in text
    assert "\x1b[?25h" in text
    colours = re.findall(r"\x1b\[[0-9;]*38;[0-9;]*m", text)
    assert bool(colours) == ("NO_COLOR" not in variables)
    if "NO_COLOR" in variables:
        assert "BBBBBBBB" in text
    if "PYTHONIOENCODING" in variables:
        assert text.isascii()


def test_a_summary_has_the_scenes_in_order_and_every_number():
    stats = StreamStats("clip.mp4", clock=chain([0.0], repeat(0.3)).__next__)
    for prediction in STREET_TO_PARK:
        stats.add(prediction)
    stats.add(make_prediction(16, "unknown", level="unknown", padded_seconds=0.5, degraded=True))
    stats.add_lost(0.35)
    stats.add_dropped_tail(0.2)
    stats.event(StreamEvent(12.0, "gap", "0.35 s of sound never came", 0.35))
    text = render_summary(stats.summary(), "clip.mp4: broke off").plain
    lines = [line.rstrip() for line in text.splitlines()]
    assert lines[0] == "clip.mp4 · 15.5 s · 16 windows · broke off"
    assert lines[2:5] == [
        "       0:00.0 – 0:10.0    S street_traffic  87 %",
        "       0:10.0 – 0:15.0    P park  87 %",
        "       0:15.0 – 0:15.5    ? unknown",
    ]
    assert "  share    street_traffic " in lines[5]
    assert lines[5].endswith(" 65 %")
    assert lines[8:] == [
        "  unknown  low confidence 3 %",
        "  speed    52× real time (factor 0.0194, 300 ms)",
        "  latency  p50 4 ms · p95 4 ms · p99 4 ms",
        "  missing  0.35 s lost · 1 window degraded · 1 padded · last 0.20 s left out",
        "  note     0:12.0  0.35 s of sound never came",
    ]


def test_scenes_of_all_inputs_are_aligned_with_tenths_and_without():
    rows = []
    for seconds in (13.0, 12.5):
        stats = StreamStats("clip.mp4")
        stats.add(make_prediction(seconds, "park", step=seconds))
        rows.append(render_summary(stats.summary()).plain.splitlines()[2])
    whole, tenths = rows
    assert ("0:13 " in whole, "0:12.5 " in tenths) == (True, True)
    assert (whole.index("0:"), whole.index(" P park")) == (tenths.index("0:"), tenths.index(" P park"))


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_a_summary_is_short_and_no_wider_than_asked(width, ascii_only):
    stats = StreamStats("a name that is long enough to be cut on most terminals " * 3)
    for end in range(1, 200):
        stats.add(make_prediction(end, LABELS[end % 6]))
    for _ in range(20):
        stats.event(StreamEvent(3.0, "corrupt", "a packet could not be decoded"))
    lines = render_summary(stats.summary(), width=width, ascii_only=ascii_only).plain.splitlines()
    assert max(len(line) for line in lines) <= width
    assert len(lines) <= (70 if width == 20 else 45)
    assert any("and 180" in line for line in lines)
    assert any("and 15" in line for line in lines)
    if ascii_only:
        assert "".join(lines).isascii()


def test_a_summary_of_nothing_says_so():
    text = render_summary(StreamStats("empty.wav").summary(), "empty.wav: no sound").plain
    assert text.splitlines()[0] == "empty.wav · 0.0 s · 0 windows · broke off"


def forty_columns_of(error: str | None, width: int = 40) -> list[str]:
    stats = StreamStats("recordings/a_long_name_of_a_clip.mp4", clock=chain([0.0], repeat(12.0)).__next__)
    for end in range(1, 16):
        label = "street_traffic" if end <= 10 else "a_scene_whose_name_is_longer_than_a_phone_is_wide"
        stats.add(make_prediction(end, label, 0.87, latency_seconds=0.00723))
    stats.add(make_prediction(16, "unknown", level="unknown", reason="silence"))
    stats.add(make_prediction(17, "unknown", level="unknown"))
    stats.add(make_prediction(18, "unknown", level="unknown"))
    return render_summary(stats.summary(), error, width=width).plain.splitlines()


@pytest.mark.parametrize("width", [30, 36, 40, 44, 50, 60, 80])
@pytest.mark.parametrize("error", [None, "broke"])
def test_a_narrow_summary_cuts_no_number(width, error):
    lines = forty_columns_of(error, width)
    assert max(map(len, lines)) <= width
    assert lines[0].endswith("stopped early" if error is None else "broke off")
    scenes = [line for line in lines if " – " in line]
    assert [line.endswith("  87 %") for line in scenes] == [True, True, False]
    share = next(index for index, line in enumerate(lines) if line.startswith("  share"))
    assert [line.rstrip()[-4:] for line in lines[share : share + 3]] == ["56 %", "28 %", "17 %"]
    assert re.search(r"p50 7\.23 ms( · p95 7\.23 ms)?( · p99 7\.23 ms)?$", "\n".join(lines), re.MULTILINE)


def test_forty_columns_look_like_this():
    lines = forty_columns_of("broke")
    assert lines[0] == "recordings/a_long_… · 18.0 s · broke off"
    assert lines[-1] == "  latency  p50 7.23 ms · p95 7.23 ms"
    text = " ".join(" ".join(lines).split())
    assert "unknown low confidence 11 % · silence 6 %" in text


@pytest.mark.parametrize("width", [30, 40, 49, 50, 60, 80])
def test_a_narrow_view_cuts_no_number(width):
    labels = ("a_scene_whose_name_is_longer_than_a_phone_is_wide", "park", "bus")
    picture = make_picture([make_prediction(1.0, labels[0], 0.61, labels=labels, latency_seconds=0.00723)])
    lines = [line.strip("│ ") for line in show(picture, width, 30)]
    assert [line[-4:] for line in lines if "─" in line and "%" in line] == ["61 %", "20 %", "20 %"]
    measures = next(line for line in lines if line.startswith("latency"))
    assert re.fullmatch(r"latency   p50 7\.23 ms(   p95 7\.23 ms)?(   p99 7\.23 ms)?", measures)


def test_an_input_that_gave_nothing_leaves_nothing_on_the_screen():
    file = io.StringIO()
    sink = ViewSink(Console(file=file, force_terminal=True, width=80, height=24))
    feed(sink, [], error="clip.mp4: expected sound or pictures, got 0 s of them")
    sink.close()
    assert "window" not in file.getvalue()
    assert "p50" not in file.getvalue()


def test_under_a_narrow_answer_what_has_no_room_is_left_out_whole():
    labels = ("street_traffic", "park")
    unknown = make_prediction(1.0, "unknown", 0.41, level="unknown", labels=("unknown", *labels))
    unknown = replace(unknown, scores={"street_traffic": 0.41, "park": 0.3})
    assert "low confidence  since 0:00" in [line.rstrip() for line in show(make_picture([unknown]), 40, 10)]
    lost = make_prediction(1.0, "park", 0.87, degraded=True, lost_seconds=0.25, padded_seconds=0.5)
    assert "87 %  scene  degraded" in [line.rstrip() for line in show(make_picture([lost]), 40, 10)]
    lost = make_prediction(1.0, "park", 0.87, degraded=True, lost_seconds=0.25)
    assert "87 %  scene  degraded: 0.25 s lost" in [line.rstrip() for line in show(make_picture([lost]), 40, 10)]
    assert "since 0:00  degraded: 0.25 s lost" in "\n".join(show(make_picture([lost]), 80, 30))
