"""The health of a live stream's devices, as views, JSON and services show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Device: TypeAlias = Literal["microphone", "camera", "source"]
"""A device's role: sound, pictures, or both at once."""
State: TypeAlias = Literal["opening", "running", "waiting"]
"""opening: until the first sound or picture · running · waiting: lost, until the next attempt."""


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """The health of one device."""

    device: Device
    """Its role."""
    name: str
    """Name for display, without credentials."""
    state: State
    """Whether it delivers."""
    since: float
    """Moment (`Clock.monotonic`) at which it entered this state."""
    lost_since: float | None = None
    """Moment of the last sound or picture if it does not deliver; None if it does."""
    problem: str | None = None
    """The last problem; None while it delivers."""
    n_losses: int = 0
    """How often it was lost so far: stalled, ended, unplugged."""
    details: str = ""
    """Sample rate, channels, picture size, codec."""
    drift_ppm: float | None = None
    """How much faster its clock runs than the machine's, in ppm; None while unknown."""
    level_dbfs: float | None = None
    """RMS level of the newest sound in dBFS; None without sound."""
    frame_rate: float | None = None
    """Measured frames per second; None without picture."""
    delay_seconds: float | None = None
    """Median recent delay from capture (sound in the air, light at the camera) to this process, in seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a live stream."""

    devices: tuple[DeviceHealth, ...]
    """The devices that were asked for."""
    n_dropped_windows: int = 0
    """Number of windows dropped without being scored, because newer ones had arrived."""
    n_waiting_windows: int = 0
    """Number of windows waiting to be scored."""
    engine_problem: str | None = None
    """What is wrong with the engine; None while it answers."""
    offset_seconds: float | None = None
    """How much later pictures arrive than sound if one source provides both; None otherwise."""

    @property
    def lost(self) -> tuple[DeviceHealth, ...]:
        """The devices that do not deliver."""
        return tuple(device for device in self.devices if device.state != "running")
