"""The picture of one input that is not live: the scene in large letters, bars, the time strip; `view.py` shows it."""

from __future__ import annotations

from collections import deque

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from ascstream.intervals import Interval, IntervalMerger
from ascstream.records import Prediction, StreamEvent
from ascstream.sinks.drawing import Legend, axis, beside, cells, clock, key, percentiles, speed, strip, to_ascii
from ascstream.sinks.frame import BOX_HEIGHT, BOX_WIDTH
from ascstream.sinks.output import printable
from ascstream.sinks.parts import Canvas, heads, score_bars
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary

_MEASURE_SECONDS = 1.0
"""Least time between two computations of the percentiles."""
_KEPT_INTERVALS = 2_048
_ORDER = (
    "gap 0", "head", "gap 1", "bars", "gap 2", "strip", "axis", "key", "gap 3", "status", "measures", "notes"
)  # fmt: skip
"""The parts of the picture from top to bottom."""


class Picture:
    """The view's state of one input; `draw` turns it into text."""

    def __init__(self, info: SourceInfo, stats: StreamStats, legend: Legend) -> None:
        self.info = info
        self.legend = legend
        self._stats = stats
        self._measured: StreamSummary | None = None
        self._measured_at = 0.0
        self._latest: Prediction | None = None
        self._merger = IntervalMerger()
        self._intervals: deque[Interval] = deque(maxlen=_KEPT_INTERVALS)
        self._events: deque[StreamEvent] = deque(maxlen=2)
        self._perceived: set[str] = set()

    def add(self, prediction: Prediction) -> None:
        """Add a prediction."""
        if self._latest is None:
            for label in sorted(prediction.scores):
                self.legend.mark(label)
        self._latest = prediction
        self._perceived.update(prediction.modalities)
        closed = self._merger.add(prediction)
        if closed is not None:
            self._intervals.append(closed)

    def event(self, event: StreamEvent) -> None:
        """Add an event."""
        self._events.append(event)

    def draw(self, canvas: Canvas, now: float) -> RenderableType:
        """The picture, never larger than the canvas."""
        framed = canvas.width >= BOX_WIDTH and canvas.height >= BOX_HEIGHT
        width = canvas.width - 6 if framed else canvas.width
        height = canvas.height - 2 if framed else canvas.height
        lines = (
            [Text("listening …", "dim")]
            if self._latest is None
            else self._lines(self._latest, width, height, canvas, now)
        )
        for line in lines:
            if canvas.ascii_only:
                to_ascii(line)
            line.no_wrap = True
            line.truncate(width, overflow="crop")
        if not framed:
            return Group(*lines)
        title, place = Text(printable(self.info.name), "bold default"), Text(self._place(), "default")
        title.truncate(canvas.width - 12, overflow="ellipsis")
        if canvas.ascii_only:
            to_ascii(title)
        return Panel(
            Group(*lines),
            box=box.ASCII if canvas.ascii_only else box.ROUNDED,
            border_style="bright_black",
            padding=(0, 2),
            title=title,
            title_align="left",
            subtitle=place,
            subtitle_align="right",
            width=canvas.width,
        )

    def _lines(self, latest: Prediction, width: int, height: int, canvas: Canvas, now: float) -> list[Text]:
        """The parts from top to bottom; optional ones are included as far as there are rows."""
        current = self._merger.current
        since = "" if current is None else f"since {clock(current.start)}"
        large_head, head = heads(latest, since, self.legend, width, canvas)
        strip_of_time, clock_row, meaning = self._timeline(width, canvas)
        n_labels, empty = len(latest.scores), Text()
        parts = {"head": head, "strip": [strip_of_time], "status": [self._status(latest, width, now)]}
        spare = height - sum(len(lines) for lines in parts.values())
        for name, lines in (
            ("few bars", [empty] * min(n_labels, 4)),
            ("notes", self._notes()),
            ("axis", [clock_row]),
            ("key", [meaning]),
            ("more bars", [empty] * max(0, n_labels - 4)),
            ("large", [empty] * (len(large_head) - len(head))),
            *((f"gap {index}", [empty]) for index in (1, 2, 3, 0)),
            ("measures", [self._measures(width, now)]),
        ):
            fits = len(lines) <= spare or name != "large"
            parts[name] = lines[: max(spare, 0)] if fits else []
            spare -= len(parts[name])
        if parts["large"]:
            parts["head"] = large_head
        parts["bars"] = score_bars(
            latest.scores, latest.label, self.legend, width, len(parts["few bars"]) + len(parts["more bars"])
        )
        return [line for name in _ORDER for line in parts[name]][: max(height, 1)]

    def _timeline(self, width: int, canvas: Canvas) -> list[Text]:
        """The strip of the time so far, its axis, and the key to its marks."""
        current = self._merger.current
        intervals = [*self._intervals, *(() if current is None else (current,))]
        start, end = self._span(intervals)
        held = cells(intervals, start, end, width)
        names = list(dict.fromkeys(label for label in held if label is not None))
        letters = canvas.letters or canvas.ascii_only
        return [
            strip(held, self.legend, letters=letters),
            axis(start, end, width),
            key(names, self.legend, letters=letters),
        ]

    def _span(self, intervals: list[Interval]) -> tuple[float, float]:
        """The time range of the strip: the whole input if its length is known, otherwise what was decided so far."""
        start = intervals[0].start if intervals else 0.0
        end = intervals[-1].end if intervals else 0.0
        whole = self.info.duration_seconds
        return start, end if whole is None else max(end, self.info.offset_seconds + whole)

    def _status(self, latest: Prediction, width: int, now: float) -> Text:
        """Modalities, speed, time left and lost sound; as much of that as fits."""
        parts = []
        for name, there in (("audio", self.info.has_audio), ("video", self.info.has_video)):
            if name in latest.modalities:
                state, style = "✓", "bold green"
            elif name in self._perceived:
                state, style = "✗ lost", "bold red"
            else:
                state, style = "–" if there else "none", "dim"
            parts.append(Text(f"{name} ").append(state, style))
        if latest.fallback is not None:
            parts.append(Text("fallback: ONNX Runtime", "yellow"))
        summary = self._summary(now)
        lost = summary.lost_seconds
        if lost > 0:
            parts.append(Text(f"{lost:.1f} s lost", "red"))
        if summary.realtime_factor > 0:
            parts.append(Text(f"{speed(summary.realtime_factor)} real time"))
            left = self._seconds_left(summary)
            if left is not None:
                parts.append(Text(f"{clock(left)} left"))
        if lost == 0:
            parts.append(Text("0.0 s lost", "dim"))
        return beside(parts, width)

    def _seconds_left(self, summary: StreamSummary) -> float | None:
        """How long the rest will take at the speed so far; None if the length is unknown."""
        if self.info.duration_seconds is None:
            return None
        rest = self.info.offset_seconds + self.info.duration_seconds - summary.end
        return max(rest, 0.0) * summary.realtime_factor

    def _measures(self, width: int, now: float) -> Text:
        name = "latency   "
        return Text(name + percentiles(self._summary(now).latency, width - len(name), "   "), "dim")

    def _notes(self) -> list[Text]:
        return [Text(f"! {clock(event.time)}  {printable(event.message)}", "yellow") for event in self._events]

    def _place(self) -> str:
        """The current position in the input."""
        end = 0.0 if self._latest is None else self._latest.end
        whole = self.info.duration_seconds
        return clock(end) if whole is None else f"{clock(end)} / {clock(self.info.offset_seconds + whole)}"

    def _summary(self, now: float) -> StreamSummary:
        """The statistics so far, recomputed at most every `_MEASURE_SECONDS`."""
        if self._measured is None or now - self._measured_at >= _MEASURE_SECONDS:
            self._measured, self._measured_at = self._stats.summary(), now
        return self._measured
