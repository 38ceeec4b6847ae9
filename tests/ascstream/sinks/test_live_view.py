"""The view of a live stream: what it shows, that it fits, that it goes on, and what it costs."""

import io
import re
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from support.health import HandClock, lost, make_camera, make_health, make_live_info, make_microphone
from support.predictions import LABELS, make_prediction
from support.terminal import shown_on_terminal

from ascstream.live.health import Health
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sinks import SinkGroup
from ascstream.sinks.drawing import Legend
from ascstream.sinks.live_picture import LivePicture
from ascstream.sinks.parts import Canvas
from ascstream.sinks.selection import Selection
from ascstream.sinks.thermal import Thermometer
from ascstream.sinks.view import ViewSink
from ascstream.stats import StreamStats

GREY = np.full((90, 120, 3), 128, np.uint8)
WALL = datetime(2026, 11, 21, 15, 4, 5)
NOWHERE = Thermometer(Path("/nowhere"))


def live_prediction(end: float, label: str = "park", score: float = 0.8, **changes: object) -> Prediction:
    return make_prediction(end, label, score, **{"modalities": ("audio", "video"), **changes})


def make_picture(predictions: list[Prediction], clock: HandClock, **options: object) -> LivePicture:
    """A picture of a stream that has been given these, each at its end."""
    stats = StreamStats("mic 0", clock=clock.monotonic)
    options = {"thermometer": NOWHERE, "wall_clock": lambda: WALL, **options}
    picture = LivePicture(make_live_info(), stats, Legend(), **options)  # type: ignore[arg-type]
    begun = clock.now
    picture.draw(Canvas(80, 24), begun)
    for prediction in predictions:
        clock.now = begun + prediction.end
        stats.add(prediction)
        picture.add(prediction, clock.now)
    return picture


def show(picture: LivePicture, clock: HandClock, width: int = 80, height: int = 24, **canvas: bool) -> list[str]:
    return [row.plain for row in picture.draw(Canvas(width, height, **canvas), clock.now)]


def many(n_labels: int = 10) -> list[Prediction]:
    labels = [f"some_scene_{index:02d}" for index in range(n_labels)]
    return [
        live_prediction(end / 5, labels[end // 20 % n_labels], 0.6, labels=labels, step=0.2, degraded=end % 50 > 40)
        for end in range(5, 300)
        if not 100 < end < 130
    ]


@pytest.fixture(scope="module")
def states() -> list[tuple[LivePicture, HandClock]]:
    """Pictures in every state there is."""
    made = []
    message = "a message that is longer than most terminals are wide, and has 漢字 in it " * 3
    for health, image in (
        (make_health(), GREY),
        (make_health(), GREY // 64),
        (make_health(devices=(lost(make_microphone(), 990.0, problem=message), make_camera(level_dbfs=-3.0))), None),
        (make_health(devices=(make_microphone(), lost(make_camera(), 0.0)), engine_problem=message), GREY),
        (
            make_health(n_dropped_windows=123456, n_waiting_windows=2, offset_seconds=-0.04),
            np.zeros((1, 500, 3), np.uint8),
        ),
        (Health((make_camera(device="source", level_dbfs=-200.0, name=message),)), GREY),
        (None, None),
    ):
        for predictions in (
            [],
            many(),
            many(2),
            [make_prediction(1.0, "unknown", level="unknown", labels=("unknown", *LABELS))],
        ):
            clock = HandClock()
            picture = make_picture(predictions, clock, about=message)
            for _ in range(3):
                picture.event(StreamEvent(1.0, "device_lost", message), clock.now)
            if health is not None:
                picture.tick(health, image)
            made.append((picture, clock))
    return made


@settings(max_examples=150, deadline=None)
@given(
    state=st.integers(0, 27),
    width=st.integers(20, 140),
    height=st.integers(5, 45),
    kind=st.sampled_from(["colours", "few", "none", "ascii"]),
)
def test_the_picture_fits_every_terminal(states, state, width, height, kind):
    picture, clock = states[state]
    canvas = Canvas(width, height, kind == "ascii", kind in ("none", "ascii"), many_colours=kind == "colours")
    pieces = picture.pieces(canvas, clock.now)
    taken = np.zeros((height, width), int)
    for piece in pieces:
        assert piece.text.cell_len <= piece.width
        assert piece.column + piece.width <= width
        taken[piece.row, piece.column : piece.column + piece.width] += 1
    assert taken.max() == 1
    rows = picture.draw(canvas, clock.now)
    assert len(rows) <= height
    assert max(row.cell_len for row in rows) <= width
    text = "\n".join(row.plain for row in rows)
    assert re.search(r"park|some_scene|unknown|listening", text)
    if kind == "ascii":
        assert text.isascii()


def test_the_picture_says_what_there_is_to_know():
    clock = HandClock()
    predictions = [live_prediction(end, "bus" if end <= 10 else "park", 0.87) for end in range(1, 16)]
    picture = make_picture(predictions, clock, about="slim-av 1.0 · onnxruntime, float32")
    picture.event(StreamEvent(12.0, "overflow", "0.35 s of sound never came"), clock.now)
    picture.tick(make_health(n_dropped_windows=3), GREY)
    text = "\n".join(show(picture, clock, 80, 30, many_colours=True))
    assert "mic 0 · camera 0" in text
    assert "█▀▄ ▄▀▄ █▀▄ █ █" in text
    assert "87 %  scene  for 0:05" in text
    assert re.search(r"park +━+╸?─+ +87 %", text)
    assert "● microphone   −32 dBFS ━━━━━━━━────────   +12 ppm   delay 21 ms" in text
    assert "● camera       30.0 fps   delay 48 ms   640×480 mjpeg · USB Camera" in text
    assert "latency p50 4 ms  p95 4 ms  p99 4 ms   3 dropped   0.0 s lost" in text
    assert "slim-av 1.0 · onnxruntime, float32" in text
    assert "! 15:04:05  0.35 s of sound never came" in text
    assert "─ 15:04:05 ─╮" in text
    assert re.search(r"running 0:15 .─╯", text.replace(" ─╯", "─╯"))
    assert "▀▀▀▀▀▀" in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (50, 16)])
def test_what_matters_is_there_at_usual_sizes(width, height):
    clock = HandClock()
    picture = make_picture([live_prediction(end, lost={"camera": 12.0}, degraded=True) for end in range(1, 16)], clock)
    picture.tick(make_health(devices=(make_microphone(), lost(make_camera(), clock.now - 12))), None)
    text = "\n".join(show(picture, clock, width, height))
    assert "degraded" in text
    assert "lost 12 s  waiting for it" in text
    assert "−32 dBFS" in text
    assert "p50 4 ms" in text
    assert "▒▒▒" in text
    if width >= 80:
        assert "degraded: camera lost 12 s" in text
        assert "no camera" in text


def test_forty_columns_and_ten_rows_look_like_this():
    clock = HandClock()
    picture = make_picture([live_prediction(end, score=0.6) for end in range(1, 400)], clock)
    picture.tick(make_health(), GREY)
    lines = [line.rstrip() for line in show(picture, clock, 40, 10)]
    assert lines[0].startswith("park                          15:04:05 ")
    assert lines[1:] == [
        "60 %  scene  for 6:39",
        "airport         ━╸────────────────   8 %",
        "bus             ━╸────────────────   8 %",
        "metro           ━╸────────────────   8 %",
        "park            ━━━━━━━━━━━───────  60 %",
        "█" * 40,
        "● mic     −32 dBFS ━━━━────   +12 ppm",
        "● camera  30.0 fps   delay 48 ms",
        "latency p50 4 ms  p95 4 ms   0 dropped",
    ]


def test_gaps_and_the_time_before_the_stream_are_seen():
    clock = HandClock()
    ends = [end for end in range(1, 151) if not 60 < end <= 90]
    picture = make_picture([live_prediction(end, degraded=end > 120, step=1.0) for end in ends], clock)
    strip = next(line for line in show(picture, clock, 100, 9) if "█" in line)
    assert re.fullmatch(r" {50}█{20}─{10}█{10}▒{10}", strip)
    strip = next(line for line in show(picture, clock, 100, 9, letters=True) if "PPP" in line)
    assert re.fullmatch(r" {50}P{20}─{10}P{10}p{10}", strip)


def test_the_timeline_scrolls_on_without_answers():
    clock = HandClock()
    picture = make_picture([live_prediction(end) for end in range(1, 301)], clock)
    clock.now += 150
    strip = next(line for line in show(picture, clock, 100, 9) if "█" in line)
    assert re.fullmatch(r"█{50}─{50}", strip)
    assert "no answer for 2:30" in "\n".join(show(picture, clock))


def test_hours_later_only_minutes_are_kept():
    clock = HandClock()
    picture = make_picture([], clock)
    for index in range(3 * 3600):
        picture.add(live_prediction(index + 1.0, LABELS[index % 6]), 1000.0 + index)
    clock.now = 1000.0 + 3 * 3600
    assert "running 3:00:00" in "\n".join(show(picture, clock))
    assert len(picture._history._answers) <= 601


def test_a_dead_stream_is_seen_to_be_alive():
    clock = HandClock()
    picture = make_picture([], clock)
    picture.tick(make_health(devices=(make_microphone(state="opening", level_dbfs=None),)), None)
    pictures = set()
    for _ in range(5):
        clock.go_on(0.2)
        pictures.add("\n".join(show(picture, clock)))
    assert len(pictures) == 5
    assert all("listening …" in text and "◌ microphone  trying to open it" in text for text in pictures)


def test_an_engine_that_hangs_is_told():
    clock = HandClock()
    picture = make_picture([live_prediction(1.0, step=0.2)], clock)
    clock.go_on(7.0)
    picture.tick(make_health(engine_problem="no answer for 7 s"), GREY)
    text = "\n".join(show(picture, clock, 50, 16))
    assert "! engine: no answer for 7 s" in text
    assert "no answer for 7 s   80 %  scene" in text


@pytest.mark.parametrize(
    ("image", "health", "words"),
    [
        (GREY // 64, make_health(), "lens covered or"),
        (None, make_health(), "no picture yet"),
        (GREY, make_health(devices=(lost(make_camera(), 0.0),)), "no camera"),
    ],
)
def test_why_there_is_no_picture(image, health, words):
    clock = HandClock()
    picture = make_picture([live_prediction(1.0)], clock)
    picture.tick(health, image)
    assert words in "\n".join(show(picture, clock, many_colours=True))


def test_without_a_camera_there_is_no_room_for_one():
    clock = HandClock()
    picture = make_picture([live_prediction(1.0)], clock)
    picture.tick(make_health(devices=(make_microphone(),)), None)
    assert "no picture" not in "\n".join(show(picture, clock))


def test_an_old_event_goes():
    clock = HandClock()
    picture = make_picture([live_prediction(1.0)], clock)
    picture.event(StreamEvent(1.0, "overflow", "an overflow"), clock.now)
    assert "an overflow" in "\n".join(show(picture, clock))
    clock.go_on(700)
    assert "an overflow" not in "\n".join(show(picture, clock))


def test_only_the_best_scenes_get_a_bar_and_rows_do_not_jump():
    clock = HandClock()
    picture = make_picture([], clock, selection=Selection(top=3, min_score=0.05))
    rows = []
    for index, score in enumerate((0.5, 0.99)):
        picture.add(live_prediction(index + 1.0, score=score), clock.now)
        lines = show(picture, clock, 80, 30)
        assert sum(line.count("%  │") for line in lines) == (3 if score == 0.5 else 1)
        rows.append(next(index for index, line in enumerate(lines) if "−5:00" in line))
    assert rows[0] == rows[1]


def test_labels_too_long_for_large_letters_leave_everything_in_its_place():
    clock = HandClock()
    labels = ("park", "a_scene_with_a_name_that_is_much_too_long")
    rows = []
    for label in labels:
        picture = make_picture([live_prediction(1.0, label, labels=labels)], clock)
        rows.append(next(index for index, line in enumerate(show(picture, clock)) if "%  scene" in line))
    assert rows[0] == rows[1]


class Screen:
    """A terminal: obeys the codes the view uses."""

    def __init__(self, width: int, height: int) -> None:
        self.rows = [[" "] * width for _ in range(height)]

    def feed(self, text: str) -> None:
        row = column = 0
        for code, place, plain in re.findall(r"\x1b\[([0-9;?]*)([A-Za-z])|([^\x1b]+)", text):
            if place == "H":
                row, column = (int(part) - 1 for part in code.split(";"))
            elif place == "J":
                self.rows = [[" "] * len(line) for line in self.rows]
            for character in plain:
                self.rows[row][column] = character
                column += 1

    def lines(self) -> list[str]:
        return ["".join(row) for row in self.rows]


def make_sink(clock: HandClock, width: int = 80, height: int = 24) -> tuple[ViewSink, io.StringIO, Console]:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=height, color_system="truecolor")
    sink = ViewSink(console, clock=clock.monotonic, wall_clock=lambda: WALL, thermometer=NOWHERE)
    return sink, file, console


def test_the_screen_shows_what_was_drawn_though_only_changes_are_written():
    clock = HandClock()
    sink, file, _ = make_sink(clock)
    sink.begin(make_live_info(), StreamStats("mic 0", clock=clock.monotonic))
    screen, shown, sizes = Screen(80, 24), 0, []
    for index in range(60):
        clock.go_on(0.2)
        if index > 5:
            sink.emit(live_prediction(index / 5, LABELS[index // 20], 0.3 + index / 100, step=0.2))
        if index == 30:
            sink.event(StreamEvent(6.0, "device_lost", "camera lost"))
        gone = lost(make_camera(), clock.now)
        sink.tick(make_health(devices=(make_microphone(), gone if index > 30 else make_camera())), GREY)
        clock.go_on(0.001)
        sizes.append(len(file.getvalue()) - shown)
        screen.feed(file.getvalue()[shown:])
        shown = len(file.getvalue())
    clock.go_on(0.2)
    sink.tick(make_health(devices=(make_microphone(), gone)), GREY)
    screen.feed(file.getvalue()[shown:])
    picture = sink._picture
    assert isinstance(picture, LivePicture)
    wanted = [row.plain.ljust(80) for row in picture.draw(Canvas(80, 24, many_colours=True), clock.now)]
    assert screen.lines() == wanted
    assert sorted(sizes)[30] < max(sizes) / 2
    sink.close()


def test_the_terminal_is_given_back_and_the_summary_stays():
    clock = HandClock()
    sink, file, _ = make_sink(clock)
    stats = StreamStats("mic 0", clock=clock.monotonic)
    sink.begin(make_live_info(), stats)
    stats.add(live_prediction(1.0))
    stats.health(make_health(devices=(lost(make_microphone(), clock.now - 3, n_losses=2), make_camera())))
    stats.dropped(1)
    sink.emit(live_prediction(1.0))
    sink.end(stats.summary(), None)
    sink.close()
    before, after = file.getvalue().split("\x1b[?1049l")
    assert before.startswith("\x1b[?1049h\x1b[?25l")
    screen = Screen(80, 24)
    screen.feed(before)  # what remains if the terminal has no other screen to return to
    assert "".join(screen.lines()).isspace()
    assert before.endswith("\x1b[1;1H\x1b[?7h\x1b[?25h")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", after)
    assert plain.startswith("mic 0 · 1.0 s · 1 window\n")
    assert "real time" not in plain
    assert "missing  1 window dropped" in plain
    assert "lost     microphone 3 s in 2 times" in plain


def test_the_terminal_is_given_back_for_a_while_and_then_drawn_anew():
    clock = HandClock()
    sink, file, _ = make_sink(clock)
    group = SinkGroup([sink])
    group.begin(make_live_info(), StreamStats("mic 0"))
    group.tick(make_health(), GREY)
    group.pause()
    before = file.getvalue()
    assert before.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
    group.pause()
    assert file.getvalue() == before
    clock.go_on(0.3)
    group.tick(make_health(), GREY)
    after = file.getvalue().removeprefix(before)
    assert after.startswith("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J")
    screen = Screen(80, 24)
    screen.feed(after)
    assert any("microphone" in line for line in screen.lines())
    group.pause()
    given_back = file.getvalue()
    group.close()
    assert file.getvalue() == given_back


def test_a_changed_size_is_drawn_anew():
    clock = HandClock()
    sink, file, console = make_sink(clock)
    sink.begin(make_live_info(), StreamStats("mic 0"))
    for width, height in ((60, 20), (30, 8), (120, 40)):
        clock.go_on(0.3)
        sink.tick(make_health(), GREY)
        shown = len(file.getvalue())
        console.size = (width, height)  # type: ignore[assignment]
        clock.go_on(0.3)
        sink.tick(make_health(), GREY)
        drawn = file.getvalue()[shown:]
        assert drawn.startswith("\x1b[?1049h")
        screen = Screen(width, height)
        screen.feed(drawn)
        assert "microphone" in "".join(screen.lines()) or "mic" in "".join(screen.lines())
    sink.close()


def test_it_is_drawn_five_times_a_second_at_most():
    clock = HandClock()
    sink, file, _ = make_sink(clock)
    sink.begin(make_live_info(), StreamStats("mic 0"))
    n_drawn = 0
    for index in range(1000):
        clock.go_on(0.001)
        before = len(file.getvalue())
        sink.emit(live_prediction(index / 100, step=0.01))
        sink.tick(make_health(), GREY)
        n_drawn += len(file.getvalue()) > before
    assert 4 <= n_drawn <= 6
    sink.close()


def test_without_colours_nothing_is_coloured():
    clock = HandClock()
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24, no_color=True, color_system="truecolor")
    sink = ViewSink(console, clock=clock.monotonic, thermometer=NOWHERE)
    sink.begin(make_live_info(), StreamStats("mic 0"))
    clock.go_on(1.0)
    sink.tick(make_health(), GREY)
    sink.emit(live_prediction(1.0))
    sink.close()
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9][0-9;]*m", file.getvalue())


def test_a_minute_costs_less_than_a_fiftieth_of_a_core():
    clock = HandClock()
    sink, _, _ = make_sink(clock, 120, 40)
    stats = StreamStats("mic 0", clock=clock.monotonic)
    sink.begin(make_live_info(), stats)
    rng = np.random.default_rng(0)
    images: list[Image] = [rng.integers(0, 255, (224, 224, 3), np.uint8) for _ in range(8)]
    n_seconds = 20
    begun = time.process_time()
    for index in range(5 * n_seconds):
        clock.go_on(0.2)
        prediction = live_prediction(index / 5 + 1, score=0.3 + 0.6 * rng.random(), step=0.2)
        stats.add(prediction)
        sink.tick(
            make_health(devices=(make_microphone(level_dbfs=-40 * rng.random()), make_camera())), images[index % 8]
        )
        sink.emit(prediction)
    spent = time.process_time() - begun
    sink.close()
    assert spent / n_seconds <= 0.06, "seconds of CPU a second of stream: 0.01 measured"


def test_a_picture_for_a_page_is_svg():
    clock = HandClock()
    sink, _, _ = make_sink(clock)
    sink.begin(make_live_info(), StreamStats("mic 0"))
    sink.emit(live_prediction(1.0))
    sink.tick(make_health(), GREY)
    root = ElementTree.fromstring(sink.svg(width=96, height=28, title="ascstream live"))  # noqa: S314 - ours
    text = "".join(root.itertext()).replace("\xa0", " ")
    assert "ascstream live" in text
    assert "running 0:00" in text
    sink.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables", [{}, {"NO_COLOR": "1"}, {"PYTHONIOENCODING": "ascii"}, {"COLORTERM": "truecolor"}]
)
def test_the_view_on_a_real_terminal(variables):
    code = (
        "import sys, time; sys.path.insert(0, 'tests')\n"
        "from support.health import make_health, make_live_info\n"
        "from support.predictions import make_prediction\n"
        "from ascstream.sinks import open_sink\n"
        "from ascstream.stats import StreamStats\n"
        "import numpy as np\n"
        "sink, stats = open_sink('-', live=True), StreamStats('mic 0')\n"
        "sink.begin(make_live_info(), stats)\n"
        "for index in range(4):\n"
        "    stats.add(make_prediction(float(index + 1), 'bus')); sink.emit(make_prediction(float(index + 1), 'bus'))\n"
        "    sink.tick(make_health(), np.full((90, 120, 3), 10 * index + 90, np.uint8)); time.sleep(0.25)\n"
        "sink.end(stats.summary(), None); sink.close()\n"
    )
    text = shown_on_terminal(code, variables)
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1
    assert text.rindex("4 windows") > text.index("\x1b[?1049l")
    assert bool(re.findall(r"\x1b\[[0-9;]*38;[0-9;]*m", text)) == ("NO_COLOR" not in variables)
    assert ("\x1b[38;2;" in text) == ("COLORTERM" in variables)
    if "PYTHONIOENCODING" in variables:
        assert text.isascii()
    if "NO_COLOR" in variables:
        assert "BBB" in text


def test_a_hostile_name_cannot_steer_the_terminal():
    clock = HandClock()
    evil = "a\x1b[2J\x07"
    picture = make_picture([live_prediction(1.0, evil, labels=(evil, "b"), lost={})], clock, about=evil)
    picture.info = replace(picture.info, name=evil)
    picture.event(StreamEvent(1.0, "note", evil), clock.now)
    picture.tick(
        make_health(devices=(make_microphone(name=evil), lost(make_camera(), 0.0, problem=evil)), engine_problem=evil),
        None,
    )
    text = "\n".join(show(picture, clock, 120, 40))
    assert "\x1b" not in text
    assert "\x07" not in text
