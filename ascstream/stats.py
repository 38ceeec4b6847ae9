"""What a stream measured of itself: windows, losses, latency and speed, in bounded memory."""

from __future__ import annotations

import math
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ascstream.intervals import Interval, IntervalMerger
from ascstream.live.health import Device, DeviceHealth, Health
from ascstream.records import Prediction, StreamEvent

_KEPT_TIMINGS = 16_384
"""Percentiles are of this many newest windows: 128 KiB."""
_KEPT_INTERVALS = 4_096
_KEPT_EVENTS = 256


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A distribution of durations in seconds; zeros where nothing was measured."""

    p50: float
    """Median."""
    p95: float
    """95th percentile."""
    p99: float
    """99th percentile."""
    n: int
    """How many values they rest on."""


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """A stream in numbers, when it is over or so far."""

    source: str
    """Where it came from."""
    start: float
    """Start of the first window: seconds since the stream began."""
    end: float
    """End of the last window, or of the stream where that comes first: seconds since the stream began."""
    n_windows: int
    """Predictions made."""
    n_degraded: int
    """Windows with a modality missing, samples lost or padded."""
    n_padded: int
    """Windows that reach past the stream's end."""
    n_unknown: int
    """Windows answered "unknown"."""
    lost_seconds: float
    """Samples that never came."""
    dropped_tail_seconds: float
    """End of the stream too short for a window."""
    shares: Mapping[str, float]
    """Part of the time each answer held, the largest first."""
    unknown_reasons: Mapping[str, float]
    """Part of the time it was "unknown" for each reason ("silence", "low_confidence" …), the largest first."""
    intervals: tuple[Interval, ...]
    """The answers in order of time; the newest 4,096 of a very long stream."""
    events: tuple[StreamEvent, ...]
    """What happened besides; the newest 256."""
    wall_seconds: float
    """Time it took."""
    realtime_factor: float
    """Wall time by stream time: below 1 is faster than real time."""
    latency: Percentiles
    """From the moment a window was complete to its prediction."""
    complete: bool
    """Whether the stream was read to its end."""
    n_dropped_windows: int = 0
    """Windows that were never judged, because newer ones were there; live streams only."""
    n_losses: int = 0
    """Times a device was lost; live streams only."""
    devices: tuple[DeviceHealth, ...] = ()
    """The devices as they were last; live streams only."""
    device_lost_seconds: Mapping[Device, float] = field(default_factory=dict)
    """How long each device that was ever lost did not deliver, in all; live streams only."""


class _Timings:
    """The newest durations, as a ring."""

    def __init__(self, size: int) -> None:
        self._values = array("d")
        self._size = size
        self._next = 0

    def add(self, seconds: float) -> None:
        if len(self._values) < self._size:
            self._values.append(seconds)
        else:
            self._values[self._next] = seconds
        self._next = (self._next + 1) % self._size

    def percentiles(self) -> Percentiles:
        ordered = sorted(self._values)
        if not ordered:
            return Percentiles(0.0, 0.0, 0.0, 0)

        def at(fraction: float) -> float:
            return ordered[math.ceil(fraction * len(ordered)) - 1]  # nearest rank

        return Percentiles(at(0.50), at(0.95), at(0.99), len(ordered))


class _Losses:
    """How long one device did not deliver."""

    def __init__(self) -> None:
        self._over_seconds = 0.0
        self._lost_since: float | None = None

    def note(self, device: DeviceHealth) -> None:
        if self._lost_since is not None and device.lost_since != self._lost_since:
            back = device.since if device.lost_since is None else device.lost_since  # lost anew: it was back between
            self._over_seconds += max(0.0, back - self._lost_since)
        self._lost_since = device.lost_since

    def total(self, now: float) -> float:
        running = 0.0 if self._lost_since is None else max(0.0, now - self._lost_since)
        return self._over_seconds + running


class StreamStats:
    """Counts while a stream runs; `summary` may be asked at any time."""

    def __init__(self, source: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to count.

        Args:
            source: Where the stream comes from.
            clock: Seconds; for a live stream the clock its devices are stamped by.
        """
        self._source = source
        self._clock = clock
        self._begun = clock()
        self._latency = _Timings(_KEPT_TIMINGS)
        self._merger = IntervalMerger()
        self._intervals: deque[Interval] = deque(maxlen=_KEPT_INTERVALS)
        self._events: deque[StreamEvent] = deque(maxlen=_KEPT_EVENTS)
        self._seconds_by_label: dict[str, float] = {}
        self._seconds_by_reason: dict[str, float] = {}
        self._start: float | None = None
        self._end = 0.0
        self._n_windows = self._n_degraded = self._n_padded = self._n_unknown = 0
        self._lost_seconds = 0.0
        self._dropped_tail_seconds = 0.0
        self._complete = False
        self._n_dropped_windows = 0
        self._devices: tuple[DeviceHealth, ...] = ()
        self._losses: dict[Device, _Losses] = {}

    def add(self, prediction: Prediction) -> None:
        """Count one prediction."""
        self._n_windows += 1
        self._n_degraded += prediction.degraded
        self._n_padded += prediction.padded_seconds > 0
        self._n_unknown += prediction.level == "unknown"
        self._latency.add(prediction.latency_seconds)
        if self._start is None:
            self._start = prediction.start
        self._end = max(self._end, prediction.end - prediction.padded_seconds)
        seconds = prediction.step_seconds - prediction.padded_seconds
        self._seconds_by_label[prediction.label] = self._seconds_by_label.get(prediction.label, 0.0) + seconds
        if prediction.level == "unknown":
            reason = prediction.reason or "unknown"
            self._seconds_by_reason[reason] = self._seconds_by_reason.get(reason, 0.0) + seconds
        closed = self._merger.add(prediction)
        if closed is not None:
            self._intervals.append(closed)

    def event(self, event: StreamEvent) -> None:
        """Keep one event."""
        self._events.append(event)

    def add_lost(self, seconds: float) -> None:
        """Count samples that never came."""
        self._lost_seconds += seconds

    def add_dropped_tail(self, seconds: float) -> None:
        """Count the end of a stream that was too short for a window."""
        self._dropped_tail_seconds += seconds

    def dropped(self, n: int) -> None:
        """Count windows that were never judged."""
        self._n_dropped_windows += n

    def health(self, health: Health) -> None:
        """Take note of how the devices are; as often as there is something new."""
        self._devices = health.devices
        for device in health.devices:
            self._losses.setdefault(device.device, _Losses()).note(device)

    def finish(self) -> None:
        """Say that the stream was read to its end."""
        self._complete = True

    def summary(self) -> StreamSummary:
        """The numbers so far."""
        total = sum(self._seconds_by_label.values())
        start = self._start if self._start is not None else 0.0
        wall = self._clock() - self._begun
        covered = max(self._end - start, 0.0)
        current = self._merger.current
        return StreamSummary(
            source=self._source,
            start=start,
            end=self._end,
            n_windows=self._n_windows,
            n_degraded=self._n_degraded,
            n_padded=self._n_padded,
            n_unknown=self._n_unknown,
            lost_seconds=self._lost_seconds,
            dropped_tail_seconds=self._dropped_tail_seconds,
            shares=_shares(self._seconds_by_label, total),
            unknown_reasons=_shares(self._seconds_by_reason, total),
            intervals=(*self._intervals, *(() if current is None else (current,))),
            events=tuple(self._events),
            wall_seconds=wall,
            realtime_factor=wall / covered if covered > 0 else 0.0,
            latency=self._latency.percentiles(),
            complete=self._complete,
            n_dropped_windows=self._n_dropped_windows,
            n_losses=sum(device.n_losses for device in self._devices),
            devices=self._devices,
            device_lost_seconds=self._device_lost_seconds(),
        )

    def _device_lost_seconds(self) -> dict[Device, float]:
        """How long each device was lost so far, where it ever was."""
        now = self._clock()
        totals = {device: losses.total(now) for device, losses in self._losses.items()}
        return {device: seconds for device, seconds in totals.items() if seconds > 0}


def _shares(seconds: Mapping[str, float], total: float) -> dict[str, float]:
    """Each part of the total, the largest first."""
    ranked = sorted(seconds.items(), key=lambda item: (-item[1], item[0]))
    return {name: part / total for name, part in ranked} if total > 0 else {}
