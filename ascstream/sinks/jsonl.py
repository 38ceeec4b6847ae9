"""JSON Lines: every window, event and summary as one object per line; for live streams also the devices' health.

The schema: each object has `schema` (1), `type` and `source`; the other keys are documented at `prediction_record`,
`event_record`, `health_record`, `device_record` and `summary_record`. Seconds are rounded to the microsecond,
probabilities to a millionth; a number that is not finite or not known is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ascstream.explain import gate
from ascstream.live.clock import Clock, utc_text
from ascstream.live.health import DeviceHealth, Health
from ascstream.records import Image, Prediction, StreamEvent
from ascstream.sinks.base import Sink
from ascstream.sinks.growing import Growth
from ascstream.sinks.output import Destination
from ascstream.sinks.selection import Selection
from ascstream.sources.base import SourceInfo
from ascstream.stats import Percentiles, StreamStats, StreamSummary

SCHEMA_VERSION = 1
"""Version of the records, the first key of each; raised when a key is removed or changes its meaning."""
_HEALTH_SECONDS = 60.0
"""Time between two health lines."""
_DECIMALS = 6
"""Seconds to the microsecond, probabilities to a millionth."""


class JsonlSink(Sink):
    """Writes a line per prediction, event and summary; several inputs follow each other and differ in `source`.

    For a live stream, the devices' health is also written every minute and at the end.
    """

    def __init__(
        self,
        target: str,
        *,
        growth: Growth | None = None,
        selection: Selection | None = None,
        explained: bool = False,
        clock: Clock | None = None,
    ) -> None:
        """Prepare the sink.

        Args:
            target: A path, or "-" for standard output.
            growth: How a live stream's file grows.
            selection: Which scores to report.
            explained: Whether predictions include `by_output` and `gate`.
            clock: Tells when an event was reported, and when a minute is over.
        """
        self._destination = Destination(target, growth=growth)
        self._selection = Selection() if selection is None else selection
        self._explained = explained
        self._clock = Clock() if clock is None else clock
        self._info: SourceInfo | None = None
        self._stats: StreamStats | None = None
        self._health: Health | None = None
        self._health_due = math.inf

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:
        """Begin a new input."""
        self._info, self._stats, self._health = info, stats, None
        self._health_due = self._clock.monotonic() + _HEALTH_SECONDS
        self._destination.begin(info.name)

    def emit(self, prediction: Prediction) -> None:
        """Write a prediction."""
        self._destination.write(to_line(prediction_record(prediction, self._selection, explained=self._explained)))

    def event(self, event: StreamEvent) -> None:
        """Write an event."""
        info = self._info
        when = utc_text(self._clock.utc()) if info is not None and info.live else None
        record = event_record("" if info is None else info.name, event, when)
        self._destination.write(to_line(record), keep=False)

    def tick(self, health: Health, picture: Image | None = None) -> None:  # noqa: ARG002 - pictures are not stored
        """Write the devices' health once a minute."""
        self._health = health
        if self._clock.monotonic() >= self._health_due:
            self._health_due = self._clock.monotonic() + _HEALTH_SECONDS
            self._write_health(health)

    def reopen(self) -> None:
        """Continue in a file of the same name."""
        self._destination.reopen()

    def end(self, summary: StreamSummary, error: str | None) -> None:
        """Write the devices' last health, and the summary."""
        if self._health is not None:
            self._write_health(self._health)
            self._health = None
        record = summary_record(summary, error, self._clock.monotonic())
        self._destination.write(to_line(record), keep=summary.n_windows > 0 or error is None)
        self._destination.end()

    def close(self) -> None:
        """Put the file in place."""
        self._destination.close()

    def _write_health(self, health: Health) -> None:
        if self._info is None or self._stats is None:
            raise RuntimeError("tick before begin")
        when = utc_text(self._clock.utc())
        latency = self._stats.summary().latency
        record = health_record(self._info.name, health, latency, when, self._clock.monotonic())
        self._destination.write(to_line(record), keep=False)


def prediction_record(
    prediction: Prediction, selection: Selection | None = None, *, explained: bool = False
) -> dict[str, Any]:
    """The JSON object of a prediction.

    `time` (live streams only) is the UTC time of `end`; `start` and `end` are seconds since the stream began; `label`
    is a scene, a group of scenes or "unknown", as `level` says; `reason` says why it is unknown and is null otherwise;
    `score` is the probability of `label`. `scores` are smoothed, `raw_scores` those of this window alone: of every
    scene, or those `selection` keeps. `modalities` lists what they are based on, `degraded` says whether something was
    missing, `lost_seconds` and `padded_seconds` how much sound was lost or padded. `lost` (only while a live stream's
    device is lost) maps each such device to how many seconds it has been lost. `fallback` (only if ONNX Runtime scored
    the window because TensorRT had failed) says why. `latency_seconds` is how long after its end the window was
    answered. If `explained`, `by_output` has the scores of each head, "audio", "video" and "fused", for this window
    alone, and `gate` the weights of the first two in the third, or null if they cannot be determined; `missing` says of
    each of the bundle's modalities that was not used why not; `never_learnt` (only if there are such) lists the scenes
    that a head has not learnt, which makes its scores of them mere priors.
    """
    time = {} if prediction.time is None else {"time": prediction.time}
    lost = {"lost": _numbers(prediction.lost)} if prediction.lost else {}
    fallback = {} if prediction.fallback is None else {"fallback": prediction.fallback}
    scores, raw = prediction.scores, prediction.raw_scores
    if selection is not None and not selection.everything:
        scores = selection.scores(prediction)
        raw = {label: score for label, score in raw.items() if label in scores}
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
        "scores": _numbers(scores),
        "raw_scores": _numbers(raw),
        "modalities": list(prediction.modalities),
        "degraded": bool(prediction.degraded),
        "lost_seconds": _number(prediction.lost_seconds),
        "padded_seconds": _number(prediction.padded_seconds),
        **lost,
        **fallback,
        "latency_seconds": _number(prediction.latency_seconds),
        **(_explained(prediction) if explained else {}),
    }


def _explained(prediction: Prediction) -> dict[str, Any]:
    weights = gate(prediction.by_output)
    never_learnt = {name: list(labels) for name, labels in prediction.never_learnt.items()}
    return {
        "by_output": {name: _numbers(scores) for name, scores in prediction.by_output.items()},
        "gate": None if weights is None else {"audio": _number(weights[0]), "video": _number(weights[1])},
        "missing": dict(prediction.missing),
        **({"never_learnt": never_learnt} if never_learnt else {}),
    }


def event_record(source: str, event: StreamEvent, time: str | None = None) -> dict[str, Any]:
    """The JSON object of an event.

    `time` (live streams only) is the UTC time at which it was reported; `start` when it happened, in seconds since the
    stream began; `kind` is a word, `message` a sentence, `seconds` how much time it concerns.
    """
    return {
        "schema": SCHEMA_VERSION,
        "type": "event",
        "source": source,
        **({} if time is None else {"time": time}),
        "start": _number(event.time),
        "kind": event.kind,
        "message": event.message,
        "seconds": _number(event.seconds),
    }


def health_record(source: str, health: Health, latency: Percentiles, time: str, now: float) -> dict[str, Any]:
    """The JSON object of a live stream's health.

    `time` is UTC; `devices` lists the devices asked for, see `device_record`; `n_dropped_windows` counts the windows
    dropped without being scored, `n_waiting_windows` those that wait; `engine_problem` is null while the engine
    answers; `offset_seconds` is how much later pictures arrive than sound if one source provides both, else null;
    `latency_seconds` has percentiles over the newest `n` windows.

    Args:
        source: The stream's name.
        health: The health to report.
        latency: Latency of the answers so far.
        time: The current time, UTC.
        now: The same moment by `Clock.monotonic`.
    """
    return {
        "schema": SCHEMA_VERSION,
        "type": "health",
        "source": source,
        "time": time,
        "devices": [device_record(device, now) for device in health.devices],
        "n_dropped_windows": health.n_dropped_windows,
        "n_waiting_windows": health.n_waiting_windows,
        "engine_problem": health.engine_problem,
        "offset_seconds": _number(health.offset_seconds),
        "latency_seconds": _percentiles(latency),
    }


def device_record(device: DeviceHealth, now: float) -> dict[str, Any]:
    """The JSON object of a device, within `devices`.

    `device` is microphone, camera or source (both); `name` and `details` are for display; `state` is opening, running
    or waiting, and has been for `seconds`; `lost_seconds` is how long it has not delivered, null while it does;
    `problem` is the last problem; `n_losses` is how often it was lost; `drift_ppm` is how much faster its clock runs
    than the machine's, in ppm; `level_dbfs` is the level of the newest sound; `frame_rate` is in frames per second;
    `delay_seconds` is the delay from the sound in the air or the light at the camera to this process.

    Args:
        device: The health to report.
        now: The current moment, `Clock.monotonic`.
    """
    return {
        "device": device.device,
        "name": device.name,
        "state": device.state,
        "seconds": _number(max(now - device.since, 0.0)),
        "lost_seconds": None if device.lost_since is None else _number(max(now - device.lost_since, 0.0)),
        "problem": device.problem,
        "n_losses": device.n_losses,
        "details": device.details,
        "drift_ppm": _number(device.drift_ppm),
        "level_dbfs": _number(device.level_dbfs),
        "frame_rate": _number(device.frame_rate),
        "delay_seconds": _number(device.delay_seconds),
    }


def summary_record(summary: StreamSummary, error: str | None, now: float | None = None) -> dict[str, Any]:
    """The JSON object of a summary.

    `start` is that of the first window, `seconds` how much was classified; `complete` says whether the input was read
    to its end, `error` why it failed, else null; `shares` has each answer's share of the time, `unknown_reasons` each
    reason's; `n_…` count windows; `lost_seconds` is sound that never came, `dropped_tail_seconds` a tail too short for
    a window; `realtime_factor` is `wall_seconds` divided by stream time; `latency_seconds` is as in `health_record`.
    Live streams only: `n_dropped_windows` were never scored, `n_losses` counts losses of devices, `device_lost_seconds`
    has how long each was lost in total, `devices` is their last health, see `device_record`.

    Args:
        summary: The summary to report.
        error: Why the stream failed; None if it did not.
        now: The current moment, `Clock.monotonic`; live streams only.
    """
    live: dict[str, Any] = {}
    if summary.devices and now is not None:
        live = {
            "n_dropped_windows": summary.n_dropped_windows,
            "n_losses": summary.n_losses,
            "device_lost_seconds": _numbers({str(name): lost for name, lost in summary.device_lost_seconds.items()}),
            "devices": [device_record(device, now) for device in summary.devices],
        }
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
        "latency_seconds": _percentiles(summary.latency),
        **live,
    }


def _percentiles(latency: Percentiles) -> dict[str, Any]:
    return {"p50": _number(latency.p50), "p95": _number(latency.p95), "p99": _number(latency.p99), "n": latency.n}


def to_line(record: Mapping[str, Any]) -> str:
    """Encode a record as one line of JSON, newline included."""
    return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"


def _number(value: float | None) -> float | None:
    """Round a number; None if it is None or not finite."""
    return round(float(value), _DECIMALS) if value is not None and math.isfinite(value) else None


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {label: _number(value) for label, value in values.items()}
