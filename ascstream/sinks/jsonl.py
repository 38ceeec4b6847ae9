"""JSON Lines: every window, event and summary as one object a line. The schema is at `prediction_record`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ascstream.records import Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sinks.output import Destination
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary

SCHEMA_VERSION = 1
"""Version of the records, first in each of them; raised when a key changes its meaning or goes."""
_DECIMALS = 6
"""Seconds to the microsecond, probabilities to a millionth."""


class JsonlSink(Sink):
    """Writes a line for each prediction, event and summary; several inputs follow each other and differ in `source`."""

    def __init__(self, target: str) -> None:
        self._destination = Destination(target)
        self._source = ""

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:  # noqa: ARG002 - a line needs no running totals
        """A new input starts."""
        self._source = info.name
        self._destination.begin(info.name)

    def emit(self, prediction: Prediction) -> None:
        """Write a prediction."""
        self._destination.write(to_line(prediction_record(prediction)))

    def event(self, event: StreamEvent) -> None:
        """Write an event."""
        self._destination.write(to_line(event_record(self._source, event)), keep=False)

    def end(self, summary: StreamSummary, error: str | None) -> None:
        """Write the summary."""
        self._destination.write(to_line(summary_record(summary, error)), keep=summary.n_windows > 0 or error is None)
        self._destination.end()

    def close(self) -> None:
        """Place the file."""
        self._destination.close()


def prediction_record(prediction: Prediction) -> dict[str, Any]:
    """A prediction as the object of its line.

    `start` and `end` are seconds since the stream began, `time` the UTC time of `end` (live streams only), `scores`
    smoothed and `raw_scores` the window's own; numbers that are not finite become null.
    """
    time = {} if prediction.time is None else {"time": prediction.time}
    return {
        "schema": SCHEMA_VERSION,
        "type": "prediction",
        "source": prediction.source,
        **time,
        "start": _number(prediction.start),
        "end": _number(prediction.end),
        "label": prediction.label,
        "level": prediction.level,
        "reason": prediction.reason,
        "score": _number(prediction.score),
        "scores": _numbers(prediction.scores),
        "raw_scores": _numbers(prediction.raw_scores),
        "modalities": list(prediction.modalities),
        "degraded": bool(prediction.degraded),
        "lost_seconds": _number(prediction.lost_seconds),
        "padded_seconds": _number(prediction.padded_seconds),
        "latency_seconds": _number(prediction.latency_seconds),
    }


def event_record(source: str, event: StreamEvent) -> dict[str, Any]:
    """An event as the object of its line; `start` is when it happened, `seconds` how much time it concerns."""
    return {
        "schema": SCHEMA_VERSION,
        "type": "event",
        "source": source,
        "start": _number(event.time),
        "kind": event.kind,
        "message": event.message,
        "seconds": _number(event.seconds),
    }


def summary_record(summary: StreamSummary, error: str | None) -> dict[str, Any]:
    """A summary as the object of its line; `error` is null where the input was read to its end."""
    latency = summary.latency
    return {
        "schema": SCHEMA_VERSION,
        "type": "summary",
        "source": summary.source,
        "start": _number(summary.start),
        "seconds": _number(max(summary.end - summary.start, 0.0)),
        "complete": bool(summary.complete),
        "error": error,
        "shares": _numbers(summary.shares),
        "unknown_reasons": _numbers(summary.unknown_reasons),
        "n_windows": summary.n_windows,
        "n_degraded": summary.n_degraded,
        "n_padded": summary.n_padded,
        "n_unknown": summary.n_unknown,
        "lost_seconds": _number(summary.lost_seconds),
        "dropped_tail_seconds": _number(summary.dropped_tail_seconds),
        "wall_seconds": _number(summary.wall_seconds),
        "realtime_factor": _number(summary.realtime_factor),
        "latency_seconds": {
            "p50": _number(latency.p50),
            "p95": _number(latency.p95),
            "p99": _number(latency.p99),
            "n": latency.n,
        },
    }


def to_line(record: Mapping[str, Any]) -> str:
    """A record as one line of JSON, newline included."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def _number(value: float) -> float | None:
    """Rounded, and null where there is no such number."""
    return round(float(value), _DECIMALS) if math.isfinite(value) else None


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {label: _number(value) for label, value in values.items()}
