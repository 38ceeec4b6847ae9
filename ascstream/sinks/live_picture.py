"""The picture of a live stream: `picture.py` with a recent timeline, devices, a thumbnail; `view.py` shows it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import datetime

from rich.text import Text

from ascstream.live.health import DeviceHealth, Health
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sinks.console import lost_for
from ascstream.sinks.drawing import Legend, beside, clock, shorten, to_ascii
from ascstream.sinks.frame import BOX_HEIGHT, BOX_WIDTH, MARGIN, Piece, compose, frame
from ascstream.sinks.gauges import device_row, machine_row, measures_row
from ascstream.sinks.history import History
from ascstream.sinks.letters import large_width
from ascstream.sinks.output import printable
from ascstream.sinks.parts import Canvas, heads, score_bars
from ascstream.sinks.selection import Selection
from ascstream.sinks.thermal import Readings, Thermometer
from ascstream.sinks.thumbnail import n_columns, note, thumbnail, too_dark
from ascstream.sinks.timeline import axis, key, strip
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary

_SPAN_SECONDS = 300.0
"""Time span of the timeline."""
_EVENT_SECONDS = 600.0
"""How long an event is shown."""
_KEPT_EVENTS, _SHOWN_EVENTS = 8, 2
"""Number of events shown if there is room, and if there is little."""
_MEASURE_SECONDS = 2.0
"""Least time between two computations of the percentiles."""
_IMAGE_SECONDS = 0.5
"""Least time between two redraws of an unchanged thumbnail."""
_LATE_STEPS = 3
"""Steps without an answer, and at least two seconds, after which the view says so."""
_BESIDE_WIDTH = 64
"""Least width, in columns, at which a thumbnail is shown beside the bars."""
_BESIDE_ROWS = 5
"""Fewest rows of a thumbnail."""
_MOST_ROWS = 16
"""Most rows of a thumbnail."""
_SPINNER, _ASCII_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "|/-\\"
_ORDER = (
    "head", "gap 0", "bars", "gap 1", "strip", "thick", "axis", "key", "gap 2", "devices", "alarm", "measures",
    "machine", "gap 3", "older", "notes",
)  # fmt: skip
"""The parts of the picture from top to bottom."""


class LivePicture:
    """The view's state of a live stream; `draw` turns it into rows of text."""

    def __init__(
        self,
        info: SourceInfo,
        stats: StreamStats,
        legend: Legend,
        *,
        selection: Selection | None = None,
        about: str = "",
        thermometer: Thermometer | None = None,
        wall_clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        """Begin without data.

        Args:
            info: The stream.
            stats: Provides percentiles.
            legend: The marks of answers.
            selection: Which scenes get a bar.
            about: What is running: bundle, engine, precision.
            thermometer: Provides the machine's temperature; None: this machine's.
            wall_clock: Local time, for the corner and for events.
        """
        self.info = info
        self.legend = legend
        self._stats = stats
        self._selection = Selection() if selection is None else selection
        self._about = about
        self._thermometer = Thermometer() if thermometer is None else thermometer
        self._wall_clock = wall_clock
        self._history = History(_SPAN_SECONDS)
        self._latest: Prediction | None = None
        self._latest_at = 0.0
        self._begun_at: float | None = None
        self._health: Health | None = None
        self._image: Image | None = None
        self._drawn_image: tuple[object, ...] = ()
        self._drawn_rows: list[Text] = []
        self._drawn_at = -math.inf
        self._measured: StreamSummary | None = None
        self._measured_at = 0.0
        self._events: deque[tuple[float, str, StreamEvent]] = deque(maxlen=_KEPT_EVENTS)
        self._shape: tuple[int, ...] = (1, 1)

    def add(self, prediction: Prediction, now: float) -> None:
        """Add a prediction that arrived at the moment `now` of `Clock.monotonic`."""
        if self._latest is None:
            for label in sorted(prediction.scores):
                self.legend.mark(label)
        self._latest, self._latest_at = prediction, now
        self._history.add(prediction)

    def event(self, event: StreamEvent, now: float) -> None:
        """Add an event."""
        self._events.append((now, f"{self._wall_clock():%H:%M:%S}", event))

    def tick(self, health: Health, image: Image | None) -> None:
        """Update the devices' health and the newest frame."""
        self._health, self._image = health, image
        if image is not None:
            self._shape = image.shape[:2]

    def draw(self, canvas: Canvas, now: float) -> list[Text]:
        """The picture in rows, never more or longer than the canvas has room for."""
        return compose(self.pieces(canvas, now), canvas.height)

    def pieces(self, canvas: Canvas, now: float) -> list[Piece]:
        """The picture in pieces, each of them within the canvas."""
        if self._begun_at is None:
            self._begun_at = now
        box = canvas.width >= BOX_WIDTH and canvas.height >= BOX_HEIGHT
        left, top = (MARGIN, 1) if box else (0, 0)
        width, height = canvas.width - 2 * left, canvas.height - 2 * top
        side = self._side_columns(width, height)
        room = width - side - 3 if side else width
        lines, n_beside = self._lines(width, room, height, canvas, now)
        picture = self._picture_rows(side, n_beside, canvas, now) if side and n_beside >= _BESIDE_ROWS else []
        spinner = _ASCII_SPINNER if canvas.ascii_only else _SPINNER
        sign = spinner[int(now * 5) % len(spinner)]
        time = f"{self._wall_clock():%H:%M:%S}"
        if not box and lines[0].cell_len + 12 <= width:
            lines[0] = Text().append_text(lines[0]).append(" " * (width - lines[0].cell_len - 10) + f"{time} {sign}")
        for line in (*lines, *picture):
            if canvas.ascii_only:
                to_ascii(line)
        pieces = []
        for index, line in enumerate(lines):
            columns = room if index < n_beside else width
            line.truncate(columns, overflow="crop")
            pieces.append(Piece(top + index, left, columns, line))
        pieces += [Piece(top + index, left + room + 3, side, row) for index, row in enumerate(picture)]
        if box:
            running = f"running {clock(now - self._begun_at)} {sign}"
            title = printable(self.info.name)
            pieces += frame(title, time, running, canvas.width, canvas.height, ascii_only=canvas.ascii_only)
        return pieces

    def _lines(self, width: int, room: int, height: int, canvas: Canvas, now: float) -> tuple[list[Text], int]:
        """The parts from top to bottom; optional ones are included as far as there are rows.

        Returns:
            The rows, and how many of them, from the top, are only `room` columns wide.
        """
        letters = canvas.letters or canvas.ascii_only
        big, head = self._heads(room, canvas, now)
        cells = self._history.cells(self._stream_time(now), width)
        scores = {} if self._latest is None else self._selection.scores(self._latest)
        n_bars, empty = self._n_bars(), Text()
        older, notes = self._notes(now, width)
        ribbon = strip(cells, self.legend, letters=letters)
        parts = {
            "head": head,
            "strip": [ribbon],
            "devices": self._devices(now, width),
        }
        meaning = [key(cells, self.legend, letters=letters)]
        spare = height - sum(len(lines) for lines in parts.values())
        for name, lines in (
            ("few bars", [empty] * min(n_bars, 3)),
            ("alarm", self._alarm(width)),
            ("measures", [measures_row(self._summary(now), self._health, width)]),
            ("large", [empty] * (len(big) - len(head))),
            *((("key", meaning),) if letters else ()),
            ("more bars", [empty] * max(0, n_bars - 3)),
            ("axis", [axis(_SPAN_SECONDS, width)] if self._latest is not None else []),
            ("machine", self._machine(now, width, canvas)),
            ("notes", notes),
            *((f"gap {index}", [empty]) for index in (1, 2)),
            *(() if letters else (("key", meaning),)),
            ("gap 0", [empty]),
            ("thick", [ribbon]),
            ("gap 3", [empty] if older or notes else []),
            ("older", older),
        ):
            fits = len(lines) <= spare or name != "large"
            parts[name] = lines[: max(spare, 0)] if fits else []
            spare -= len(parts[name])
        if parts["large"]:
            parts["head"] = big
        chosen = "" if self._latest is None else self._latest.label
        n_rows = len(parts["few bars"]) + len(parts["more bars"])
        bars = score_bars(scores, chosen, self.legend, room, n_rows)
        parts["bars"] = [*bars, *[empty] * (min(n_rows, n_bars) - len(bars))]
        n_beside = sum(len(parts[name]) for name in ("head", "gap 0", "bars"))
        lines = [line for name in _ORDER for line in parts.get(name, ())][: max(height, 1)]
        return lines, min(n_beside, len(lines)) if room < width else 0

    def _heads(self, width: int, canvas: Canvas, now: float) -> tuple[list[Text], list[Text]]:
        """The answer in large letters, and in two plain lines; or a note that there is none yet."""
        latest = self._latest
        if latest is None:
            waited = now - (self._begun_at or now)
            waiting = [Text("listening …", "bold"), Text(f"no answer yet, {lost_for(waited)}", "dim")]
            return waiting, waiting
        since = f"for {clock(latest.end - (self._history.since or 0.0))}"
        big, small = heads(latest, since, self.legend, width, canvas)
        others = any((large_width(label) or width + 1) <= width for label in latest.scores)
        if big is small and others and not canvas.ascii_only:  # as high as the others, so that nothing jumps
            big = [Text(), small[0], Text(), small[1]]
        quiet = now - self._latest_at
        if quiet >= max(2.0, _LATE_STEPS * latest.step_seconds):
            late = beside([Text(f"no answer for {lost_for(quiet)}", "bold red"), big[-1]], width)
            big, small = [*big[:-1], late], [*small[:-1], late]
        return big, small

    def _devices(self, now: float, width: int) -> list[Text]:
        if self._health is None:
            return [Text("opening the devices …", "dim")]
        return [device_row(device, now, width) for device in self._health.devices]

    def _alarm(self, width: int) -> list[Text]:
        """The engine's problem, or the fact that it has been replaced by its fallback."""
        problem = None if self._health is None else self._health.engine_problem
        if problem is not None:
            return [Text(shorten(f"! engine: {printable(problem)}", width), "bold red")]
        why = None if self._latest is None else self._latest.fallback
        return [] if why is None else [Text(shorten(f"! fallback to ONNX Runtime: {printable(why)}", width), "yellow")]

    def _machine(self, now: float, width: int, canvas: Canvas) -> list[Text]:
        readings = self._thermometer.read(now)
        if not self._about and readings == Readings():
            return []
        return [machine_row(self._about, readings, width, ascii_only=canvas.ascii_only)]

    def _notes(self, now: float, width: int) -> tuple[list[Text], list[Text]]:
        """The recent events, the newest last: those shown only if there is room, and those shown always."""
        rows = [
            Text(shorten(f"! {when}  {printable(event.message)}", width), "yellow")
            for at, when, event in self._events
            if now - at < _EVENT_SECONDS
        ]
        return rows[:-_SHOWN_EVENTS], rows[-_SHOWN_EVENTS:]

    def _n_bars(self) -> int:
        """Number of rows reserved for bars, whatever the current scores."""
        n_scores = 0 if self._latest is None else len(self._latest.scores)
        return n_scores if self._selection.top is None else min(n_scores, self._selection.top)

    def _seeing(self) -> DeviceHealth | None:
        """The device that provides pictures."""
        devices = () if self._health is None or not self.info.has_video else self._health.devices
        return next((device for device in devices if device.device in ("camera", "source")), None)

    def _side_columns(self, width: int, height: int) -> int:
        """Width of the thumbnail beside the answer in columns; 0 if there is none or no room."""
        if width < _BESIDE_WIDTH or height < BOX_HEIGHT - 2 or self._seeing() is None:
            return 0
        return n_columns(self._shape, min(_MOST_ROWS, height // 2 - 2), width // 3)

    def _picture_rows(self, width: int, most_rows: int, canvas: Canvas, now: float) -> list[Text]:
        """The newest frame, or why there is none; redrawn at most twice a second unless the layout changes."""
        n_rows = max(min(round(width * self._shape[0] / (2 * self._shape[1])), _MOST_ROWS, most_rows), 2)
        camera, image = self._seeing(), self._image
        lost = camera is not None and camera.state != "running"
        what = (width, n_rows, canvas, lost, image is None)
        if what == self._drawn_image and now - self._drawn_at < _IMAGE_SECONDS:
            return self._drawn_rows
        self._drawn_image, self._drawn_at = what, now
        if lost or image is None:
            self._drawn_rows = note("no camera" if lost else "no picture yet", width, n_rows)
        elif too_dark(image):
            self._drawn_rows = note("lens covered or too dark", width, n_rows)
        else:
            columns = n_columns(image.shape, n_rows, width)
            rows = thumbnail(image, columns, n_rows, colours=canvas.many_colours and not canvas.ascii_only)
            self._drawn_rows = [Text(" " * ((width - columns) // 2)).append_text(row) for row in rows]
        return self._drawn_rows

    def _stream_time(self, now: float) -> float:
        """The current time in seconds since the stream began, with or without answers."""
        return 0.0 if self._latest is None else self._latest.end + max(now - self._latest_at, 0.0)

    def _summary(self, now: float) -> StreamSummary:
        """The statistics so far, recomputed at most every `_MEASURE_SECONDS`."""
        if self._measured is None or now - self._measured_at >= _MEASURE_SECONDS:
            self._measured, self._measured_at = self._stats.summary(), now
        return self._measured
