"""How hot a Linux machine is and how fast it runs, as far as it tells: a Jetson slows down when it gets warm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_READ_SECONDS = 5.0
"""Time between two readings at least."""
_GPUS = ("*.gpu", "*.ga10b", "*.gb10b", "*.gv11b", "*.gp10b", "*.gm20b")
"""Names of a Jetson's graphics processor among the devices whose frequency can be scaled."""
_FIXED = ("pmic",)
"""Zones that report a constant: the power controller's limit on a Jetson."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What could be read."""

    celsius: float | None = None
    """The hottest zone."""
    cpu_hz: float | None = None
    """Clock of the first processor."""
    gpu_hz: float | None = None
    """Clock of a Jetson's graphics processor."""


class Thermometer:
    """Reads at most every five seconds; what cannot be read is None, on other systems everything."""

    def __init__(self, root: Path = Path("/sys")) -> None:
        self._root = root
        self._readings = Readings()
        self._read_at = -math.inf

    def read(self, now: float) -> Readings:
        """What it is now, or was a moment ago.

        Args:
            now: Seconds that only go forward.
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
    """What stands in a file of the kernel; empty where it cannot be read: some answer with an error at times."""
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
