"""Temperature and clock rates of a Linux machine, as far as it reports them: a Jetson slows down when it gets warm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_READ_SECONDS = 5.0
"""Least time between two readings."""
_GPUS = ("*.gpu", "*.ga10b", "*.gb10b", "*.gv11b", "*.gp10b", "*.gm20b")
"""Names of a Jetson's GPU among the devices with scalable frequency."""
_FIXED = ("pmic",)
"""Zones that report a constant: on a Jetson, the power controller's limit."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What could be read."""

    celsius: float | None = None
    """Temperature of the hottest zone."""
    cpu_hz: float | None = None
    """Clock rate of the first CPU core."""
    gpu_hz: float | None = None
    """Clock rate of a Jetson's GPU."""


class Thermometer:
    """Reads at most every five seconds; what cannot be read is None, on other systems everything."""

    def __init__(self, root: Path = Path("/sys")) -> None:
        self._root = root
        self._readings = Readings()
        self._read_at = -math.inf

    def read(self, now: float) -> Readings:
        """The current readings, up to five seconds old.

        Args:
            now: Monotonic seconds.
        """
        if now - self._read_at >= _READ_SECONDS:
            self._read_at = now
            self._readings = Readings(self._celsius(), self._cpu(), self._gpu())
        return self._readings

    def _celsius(self) -> float | None:
        zones = (
            zone
            for zone in (self._root / "class/thermal").glob("thermal_zone*")
            if not _text(zone / "type").lower().startswith(_FIXED)
        )
        degrees = (_number(zone / "temp", 1e-3) for zone in zones)
        return max((value for value in degrees if value is not None and -40 < value < 150), default=None)

    def _cpu(self) -> float | None:
        return _number(self._root / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1e3)

    def _gpu(self) -> float | None:
        folder = self._root / "class/devfreq"
        places = (place / "cur_freq" for name in _GPUS for place in folder.glob(name))
        return _first(_number(place, 1.0) for place in places)


def _text(path: Path) -> str:
    """Read a kernel file; empty if it cannot be read: some fail now and then."""
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def _number(path: Path, unit: float) -> float | None:
    try:
        return int(_text(path)) * unit
    except ValueError:
        return None


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)
