"""Measurements of a device while it delivers: level, frame rate, delay."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

import numpy as np

from ascstream.capture.messages import Opened, Seen, Sound
from ascstream.live.health import DeviceHealth
from ascstream.live.supervisor import Supervisor
from ascstream.records import Samples

_DELAYS = 50
"""Number of delays the median is taken over."""
_RATE_SECONDS = 3.0
"""Time span over which the frame rate is measured."""
_LOWEST_DBFS = -120.0


class Measures:
    """Measurements of one device; written and read by one thread."""

    def __init__(self) -> None:
        self._samples: Samples | None = None
        self._sound_delays: deque[float] = deque(maxlen=_DELAYS)
        self._picture_delays: deque[float] = deque(maxlen=_DELAYS)
        self._seen: deque[tuple[float, int]] = deque()

    def clear(self) -> None:
        """Forget everything: the device was lost."""
        self._samples = None
        self._sound_delays.clear()
        self._picture_delays.clear()
        self._seen.clear()

    def hear(self, sound: Sound, now: float) -> None:
        """Note a chunk of sound."""
        self._samples = sound.samples
        self._sound_delays.append(now - sound.stamp)

    def see(self, seen: Seen, now: float) -> None:
        """Note a report of pictures."""
        self._picture_delays.append(now - seen.stamp)
        self._seen.append((seen.stamp, seen.n_frames))
        while self._seen[0][0] < seen.stamp - _RATE_SECONDS:
            self._seen.popleft()

    @property
    def offset_seconds(self) -> float | None:
        """How much later pictures arrive than sound; None unless both have arrived."""
        if not self._sound_delays or not self._picture_delays:
            return None
        return median(self._picture_delays) - median(self._sound_delays)

    def health(self, supervisor: Supervisor, drift_ppm: float | None) -> DeviceHealth:
        """The device's current health."""
        delays = self._sound_delays or self._picture_delays
        return DeviceHealth(
            device=supervisor.device,
            name=supervisor.name,
            state=supervisor.state,
            since=supervisor.since,
            lost_since=supervisor.lost_since,
            problem=supervisor.problem,
            n_losses=supervisor.n_losses,
            details=_details(supervisor.opened),
            drift_ppm=drift_ppm,
            level_dbfs=self._level(),
            frame_rate=self._frame_rate(),
            delay_seconds=median(delays) if delays else None,
        )

    def _level(self) -> float | None:
        if self._samples is None or not self._samples.size:
            return None
        power = float(np.mean(np.square(self._samples, dtype=np.float64)))
        return max(10 * math.log10(power), _LOWEST_DBFS) if power > 0 else _LOWEST_DBFS

    def _frame_rate(self) -> float | None:
        if len(self._seen) < 2 or self._seen[-1][0] <= self._seen[0][0]:
            return None
        n_frames = sum(n for _, n in self._seen) - self._seen[0][1]
        return n_frames / (self._seen[-1][0] - self._seen[0][0])


def _details(opened: Opened | None) -> str:
    """Sample rate, channels, picture size, and the details the recording process reports."""
    if opened is None:
        return ""
    parts = []
    if opened.sample_rate is not None:
        parts.append(f"{opened.sample_rate} Hz, {opened.n_channels} channel{'s' if opened.n_channels != 1 else ''}")
    if opened.width is not None:
        parts.append(f"{opened.width}×{opened.height}")
    if opened.details:
        parts.append(opened.details)
    return ", ".join(parts)
