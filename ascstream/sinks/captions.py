"""Captions: decided intervals as WebVTT, SRT or Audacity labels, merged, never overlapping, written as they close.

A cue gives the answer and its score, "street_traffic 0.87"; time without an answer gets a cue too, "unknown", without
a score, since the score of a scene that was not chosen would mislead. The cues cover exactly the decided time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape

from ascstream.intervals import Interval, IntervalMerger
from ascstream.records import Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sinks.growing import Growth
from ascstream.sinks.output import Destination, printable
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary


class CaptionSink(Sink):
    """Writes one cue per interval; a file describes one input."""

    def __init__(self, target: str, format: str, *, growth: Growth | None = None) -> None:  # noqa: A002
        """Prepare the sink.

        Args:
            target: A path, containing `{stem}` if there are several inputs, or "-".
            format: "vtt", "srt" or "audacity".
            growth: How a live stream's file grows; cues are written when their interval has ended. A file from an
                earlier run is set aside, because its times began at another moment.
        """
        self._cue = _CUES[format]
        self._header = "WEBVTT\n\n" if format == "vtt" else ""
        self._destination = Destination(target, one_input_a_file=True, growth=growth)
        self._merger = IntervalMerger()
        self._n_cues = 0

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:  # noqa: ARG002 - cues need no running totals
        """Begin a new input.

        Raises:
            UsageError: It is not the first, and the path has no `{stem}`.
        """
        self._destination.begin(info.name)
        self._merger = IntervalMerger()
        self._n_cues = 0
        if self._header:
            self._destination.write("", header=self._header, keep=False)

    def emit(self, prediction: Prediction) -> None:
        """Add a prediction; write the interval it closes, if any."""
        self._write(self._merger.add(prediction))

    def event(self, event: StreamEvent) -> None:
        """Ignored: events have no cue."""

    def reopen(self) -> None:
        """Continue in a file of the same name."""
        self._destination.reopen()

    def end(self, summary: StreamSummary, error: str | None) -> None:  # noqa: ARG002 - a summary has no cue
        """Write the last interval."""
        self._write(self._merger.finish())
        self._destination.end()

    def close(self) -> None:
        """Write what is still open, for example after an interrupt, and put the file in place."""
        try:
            self._write(self._merger.finish())
        finally:
            self._destination.close()

    def _write(self, interval: Interval | None) -> None:
        if interval is None:
            return
        if self._destination.fresh:  # the first cue, or the file was rotated
            self._n_cues = 0
        text = self._cue(interval, self._n_cues + 1)
        if text:
            self._destination.write(text, header=self._header)
            self._n_cues += 1


def cue_text(interval: Interval) -> str:
    """The text of a cue: "street_traffic 0.87", or "unknown"."""
    label = printable(interval.label)
    return label if interval.level == "unknown" else f"{label} {interval.score:.2f}"


def vtt_cue(interval: Interval, number: int) -> str:  # noqa: ARG001 - WebVTT cues need no number
    """A WebVTT cue; empty if the interval is too short for the format's milliseconds."""
    start, end = _milliseconds(interval)
    if end <= start:
        return ""
    return f"{_clock(start, '.')} --> {_clock(end, '.')}\n{escape(cue_text(interval), quote=False)}\n\n"


def srt_cue(interval: Interval, number: int) -> str:
    """An SRT cue, numbered from 1; empty if the interval is too short for the format's milliseconds."""
    start, end = _milliseconds(interval)
    if end <= start:
        return ""
    return f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{cue_text(interval)}\n\n"


def audacity_label(interval: Interval, number: int) -> str:  # noqa: ARG001 - labels have no number
    """A line of an Audacity label track: start and end in seconds, and text, separated by tabs."""
    return f"{max(interval.start, 0.0):.6f}\t{interval.end:.6f}\t{cue_text(interval)}\n"


_CUES: Mapping[str, Callable[[Interval, int], str]] = {"audacity": audacity_label, "srt": srt_cue, "vtt": vtt_cue}


def _milliseconds(interval: Interval) -> tuple[int, int]:
    """Start and end in milliseconds, rounded alike so that adjacent intervals stay adjacent."""
    return round(max(interval.start, 0.0) * 1000), round(interval.end * 1000)


def _clock(milliseconds: int, point: str) -> str:
    """`01:02:03.456`; hours may have more than two digits."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{point}{milliseconds:03d}"
