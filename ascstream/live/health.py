"""How the devices of a live stream are: what views, JSON and services show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Device: TypeAlias = Literal["microphone", "camera", "source"]
"""What a device is for: hearing, seeing, or both at once."""
State: TypeAlias = Literal["opening", "running", "waiting"]
"""opening: until the first sample or picture · running · waiting: lost, until the next attempt."""


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """One device, now."""

    device: Device
    """What it is for."""
    name: str
    """For people, credentials removed."""
    state: State
    """Whether it delivers."""
    since: float
    """Moment (`Clock.monotonic`) at which it came into this state."""
    lost_since: float | None = None
    """Moment of the last sample or picture, where it does not deliver; None where it does."""
    problem: str | None = None
    """What was last wrong; None while it delivers."""
    n_losses: int = 0
    """Times it was lost so far: stalled, ended, unplugged."""
    details: str = ""
    """Rate, size, codec."""
    drift_ppm: float | None = None
    """How much faster its clock goes than the machine's, in millionths; None where that is not known yet."""
    level_dbfs: float | None = None
    """Level of the newest sound, RMS; None without sound."""
    frame_rate: float | None = None
    """Pictures a second, measured; None without picture."""
    delay_seconds: float | None = None
    """From the air, or the light, to this process: the median of late."""


@dataclass(frozen=True, slots=True)
class Health:
    """A live stream, now."""

    devices: tuple[DeviceHealth, ...]
    """What was asked for."""
    n_dropped_windows: int = 0
    """Windows that were never judged, because newer ones were there."""
    n_waiting_windows: int = 0
    """Windows that wait to be judged."""
    engine_problem: str | None = None
    """What is wrong with the engine; None while it answers."""
    offset_seconds: float | None = None
    """How much later pictures are than sound where one source has both; None otherwise."""

    @property
    def lost(self) -> tuple[DeviceHealth, ...]:
        """The devices that do not deliver."""
        return tuple(device for device in self.devices if device.state != "running")
