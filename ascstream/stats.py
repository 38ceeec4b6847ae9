"""Statistics of a running stream in bounded memory: windows, losses, latency and speed."""

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
"""Percentiles are taken over this many of the newest windows, which fill 128 KiB."""
_KEPT_INTERVALS = 4_096
_KEPT_EVENTS = 256


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles of a set of durations, in seconds; zeros if nothing was measured."""

    p50: float
    """Median."""
    p95: float
    """95th percentile."""
    p99: float
    """99th percentile."""
    n: int
    """Number of durations."""


@dataclass(frozen=True, slots=True)
class StreamSummary:
    """A stream in numbers, at its end or so far."""

    source: str
    """Path, URL or device of the stream."""
    start: float
    """Start of the first window: seconds since the stream began."""
    end: float
    """End of the last window, or of the stream if that is earlier: seconds since the stream began."""
    n_windows: int
    """Predictions made."""
    n_degraded: int
    """Windows with a missing modality, or with lost or padded samples."""
    n_padded: int
    """Windows that extend past the stream's end."""
    n_unknown: int
    """Windows answered "unknown"."""
    lost_seconds: float
    """Duration of samples that never came."""
    dropped_tail_seconds: float
    """Length of the stream's end that was too short for a window."""
    shares: Mapping[str, float]
    """Fraction of the time that each answer held, largest first."""
    unknown_reasons: Mapping[str, float]
    """Fraction of the time that was "unknown" for each reason ("silence", "low_confidence" …), largest first."""
    intervals: tuple[Interval, ...]
    """The answers in time order; in a very long stream, the newest 4,096."""
    events: tuple[StreamEvent, ...]
    """The stream's events; the newest 256."""
    wall_seconds: float
    """Wall-clock time so far, or until the end."""
    realtime_factor: float
    """Wall time divided by stream time: below 1 is faster than real time."""
    latency: Percentiles
    """Time from a window's completion to its prediction."""
    complete: bool
    """Whether the stream was read to its end."""
    n_dropped_windows: int = 0
    """Windows skipped because newer ones were already waiting; live streams only."""
    n_losses: int = 0
    """How many times a device was lost; live streams only."""
    devices: tuple[DeviceHealth, ...] = ()
    """Latest state of the devices; live streams only."""
    device_lost_seconds: Mapping[Device, float] = field(default_factory=dict)
    """For each device that was ever lost, how long it did not deliver in total; live streams only."""


class _Timings:
    """A ring buffer of the newest durations."""

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
    """Adds up how long one device did not deliver."""

    def __init__(self) -> None:
        self._over_seconds = 0.0
        self._lost_since: float | None = None

    def note(self, device: DeviceHealth) -> None:
        if self._lost_since is not None and device.lost_since != self._lost_since:
            back = device.since if device.lost_since is None else device.lost_since  # lost again: back in between
            self._over_seconds += max(0.0, back - self._lost_since)
        self._lost_since = device.lost_since

    def total(self, now: float) -> float:
        running = 0.0 if self._lost_since is None else max(0.0, now - self._lost_since)
        return self._over_seconds + running


class StreamStats:
    """Collects statistics while a stream runs; `summary` may be called at any time."""

    def __init__(self, source: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start counting.

        Args:
            source: Path, URL or device of the stream.
            clock: Clock in seconds; for a live stream, the one that stamps its devices' health.
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
        """Count windows that were skipped."""
        self._n_dropped_windows += n

    def health(self, health: Health) -> None:
        """Record the devices' health; to be called whenever it changes."""
        self._devices = health.devices
        for device in health.devices:
            self._losses.setdefault(device.device, _Losses()).note(device)

    def finish(self) -> None:
        """Record that the stream was read to its end."""
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
        """Total lost time of each device that was ever lost."""
        now = self._clock()
        totals = {device: losses.total(now) for device, losses in self._losses.items()}
        return {device: seconds for device, seconds in totals.items() if seconds > 0}


def _shares(seconds: Mapping[str, float], total: float) -> dict[str, float]:
    """Each entry as a fraction of the total, largest first."""
    ranked = sorted(seconds.items(), key=lambda item: (-item[1], item[0]))
    return {name: part / total for name, part in ranked} if total > 0 else {}
