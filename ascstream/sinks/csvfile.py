"""CSV: one row per window, for spreadsheets and data frames. `columns` documents the columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

from ascstream.records import Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sinks.growing import Growth
from ascstream.sinks.output import Destination
from ascstream.sinks.selection import Selection
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary


class CsvSink(Sink):
    """Writes one row per prediction, in UTF-8, after one header; several inputs follow on and differ in `source`."""

    def __init__(self, target: str, *, growth: Growth | None = None, selection: Selection | None = None) -> None:
        """Prepare the sink.

        Args:
            target: A path, or "-" for standard output.
            growth: How a live stream's file grows; it is continued if its header is the same.
            selection: Which scores to report; the cells of the others are empty.
        """
        self._destination = Destination(target, growth=growth)
        self._selection = Selection() if selection is None else selection
        self._labels: tuple[str, ...] | None = None
        self._header = ""

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:  # noqa: ARG002 - a row needs no running totals
        """Begin a new input."""
        self._destination.begin(info.name)

    def emit(self, prediction: Prediction) -> None:
        """Write a row, preceded by the header if it is the first."""
        if self._labels is None or self._destination.fresh:
            self._labels = tuple(sorted(prediction.scores))
            self._header = _line(columns(self._labels))
        told = self._selection.scores(prediction)
        self._destination.write(_line(row(prediction, self._labels, told)), header=self._header)

    def event(self, event: StreamEvent) -> None:
        """Ignored: events have no row."""

    def reopen(self) -> None:
        """Continue in a file of the same name."""
        self._destination.reopen()

    def end(self, summary: StreamSummary, error: str | None) -> None:  # noqa: ARG002 - a summary has no row
        """End the input."""
        self._destination.end()

    def close(self) -> None:
        """Put the file in place."""
        self._destination.close()


def columns(labels: Sequence[str]) -> list[str]:
    """The header.

    source · time (UTC of the end, live streams only) · start, end (seconds since the stream began) · label · level
    (scene, group, unknown) · reason (why unknown) · score · modalities ("audio+video") · degraded (0 or 1) ·
    lost_seconds · padded_seconds · latency_seconds · `score_LABEL` for each scene, smoothed, in alphabetical order.
    """
    fixed = ["source", "time", "start", "end", "label", "level", "reason", "score", "modalities", "degraded"]
    return [*fixed, "lost_seconds", "padded_seconds", "latency_seconds", *(f"score_{label}" for label in labels)]


def row(prediction: Prediction, labels: Sequence[str], scores: Mapping[str, float] | None = None) -> list[str]:
    """A prediction as the cells of its row; values that are absent or not finite become empty cells.

    Args:
        prediction: The answer.
        labels: The score columns.
        scores: The scores to report; None: all.
    """
    scores = prediction.scores if scores is None else scores
    return [
        prediction.source,
        prediction.time or "",
        _number(prediction.start),
        _number(prediction.end),
        prediction.label,
        prediction.level,
        prediction.reason or "",
        _number(prediction.score),
        "+".join(prediction.modalities),
        str(int(prediction.degraded)),
        _number(prediction.lost_seconds),
        _number(prediction.padded_seconds),
        _number(prediction.latency_seconds),
        *(_number(scores.get(label, math.nan)) for label in labels),
    ]


def _number(value: float) -> str:
    """Six decimals, a decimal point, no exponent; empty if not finite."""
    return f"{value:.6f}" if math.isfinite(value) else ""


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
