"""How the devices of a live stream are, and a clock that is set by hand, for the tests of what shows them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ascstream.live.clock import Clock
from ascstream.live.health import DeviceHealth, Health
from ascstream.sources.base import SourceInfo


class HandClock(Clock):
    """Stands still until it is told to go on; the time on the wall may be set apart."""

    def __init__(self, wall: datetime = datetime(2026, 11, 21, 15, 59, 58, tzinfo=timezone.utc)) -> None:
        self.now = 1000.0
        self.wall = wall

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return self.wall

    def go_on(self, seconds: float) -> None:
        self.now += seconds
        self.wall += timedelta(seconds=seconds)


def make_microphone(**changes: object) -> DeviceHealth:
    """A microphone that works, or does not."""
    fields: dict[str, object] = {
        "device": "microphone",
        "name": "USB Microphone",
        "state": "running",
        "since": 990.0,
        "details": "44.1 kHz · 1 channel",
        "drift_ppm": 12.4,
        "level_dbfs": -31.6,
        "delay_seconds": 0.021,
    }
    return DeviceHealth(**{**fields, **changes})  # type: ignore[arg-type]


def make_camera(**changes: object) -> DeviceHealth:
    """A camera that works, or does not."""
    fields: dict[str, object] = {
        "device": "camera",
        "name": "USB Camera",
        "state": "running",
        "since": 990.0,
        "details": "640×480 mjpeg",
        "frame_rate": 29.97,
        "delay_seconds": 0.048,
    }
    return DeviceHealth(**{**fields, **changes})  # type: ignore[arg-type]


def lost(device: DeviceHealth, since: float, **changes: object) -> DeviceHealth:
    """The same device, lost since a moment."""
    fields = {name: getattr(device, name) for name in ("device", "name", "details")}
    return DeviceHealth(  # type: ignore[arg-type]
        **{**fields, "state": "waiting", "since": since, "lost_since": since, "n_losses": 1, **changes}
    )


def make_health(**changes: object) -> Health:
    """Microphone and camera work."""
    return Health(**{"devices": (make_microphone(), make_camera()), **changes})  # type: ignore[arg-type]


def make_live_info(*, video: bool = True) -> SourceInfo:
    """A live stream."""
    return SourceInfo("mic 0 · camera 0", has_audio=True, has_video=video, duration_seconds=None, live=True)
