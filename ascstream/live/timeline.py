"""Maps moments of the machine's clock to seconds of a live stream, which the sound's clock counts. Pure arithmetic.

Stream seconds are counted in samples of the sound, whose crystal is off by some ppm. Timestamps of sound are right or
late, never early, so the true line lies below all of them: its slope comes from the lower hull of each second's least
late timestamp, its offset from the least late one of the newest minute.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

_MEMORY = 600
"""Seconds of sound that are remembered."""
_RECENT_SECONDS = 60.0
"""Time span that determines the line's offset; its slope is determined by all that is remembered."""
_ENOUGH_SECONDS = 30.0
"""Least time span of sound from which a slope is estimated."""
_STEEPEST = 5e-4
"""Steepest slope: no crystal is off by more, so a greater deviation means missing samples."""
_EARLY_SECONDS = 0.05
"""A second whose timestamps lie below the line by more is an error or, if the next one's do too, a new clock."""
_LATE_SECONDS = 0.02
"""After `_LATE` seconds in a row above the line by more than this, something was delayed for good: a new line."""
_LATE = 15
_RAW, _SETTLED = 3, 10
"""The first `_RAW` seconds, in which a device's reported delay settles, are forgotten after `_SETTLED` others."""
_JOIN_SECONDS = 1.0
"""How long the map takes, at least, to join a new line."""
_GENTLEST = 0.5
"""Most that the map's rate may deviate from real time while it joins a line, as a fraction."""
_BENDS = 120
"""Number of the map's bends that are remembered; at most two are added per second."""


@dataclass(frozen=True, slots=True)
class ClockMap:
    """Moments ↔ stream seconds: a continuous, increasing, piecewise linear map."""

    moments: tuple[float, ...]
    """Where it bends, ascending, in seconds of the monotonic clock."""
    seconds: tuple[float, ...]
    """Stream seconds at the bends, ascending."""
    slope: float
    """Stream seconds per second after the last bend and before the first."""

    def to_stream(self, moment: float) -> float:
        """Convert a moment to stream seconds."""
        return _along(self.moments, self.seconds, self.slope, moment)

    def to_moment(self, seconds: float) -> float:
        """Convert stream seconds to a moment."""
        return _along(self.seconds, self.moments, 1 / self.slope, seconds)


def _along(xs: tuple[float, ...], ys: tuple[float, ...], slope: float, x: float) -> float:
    index = bisect_right(xs, x) - 1
    if 0 <= index < len(xs) - 1:
        share = (x - xs[index]) / (xs[index + 1] - xs[index])
        return ys[index] + share * (ys[index + 1] - ys[index])
    index = max(index, 0)
    return ys[index] + slope * (x - xs[index])


class Timeline:
    """Follows the sound's clock. The map is continuous and never steps back."""

    def __init__(self, moment: float) -> None:
        """Begin at stream second 0, assuming that the clock is exact until shown otherwise."""
        self._origin = moment
        self._map = ClockMap((moment,), (0.0,), 1.0)
        self._lateness: deque[tuple[float, float]] = deque(maxlen=_MEMORY)
        """The least late observation of each second: (stream seconds, timestamp − origin − stream seconds)."""
        self._raw = _RAW
        """Number of the first seconds that are still to be forgotten."""
        self._n_late = 0
        """Number of consecutive seconds that were clearly late."""
        self._least: tuple[float, float] | None = None
        self._suspect: tuple[float, float] | None = None
        self._slope = 0.0
        self._offset = 0.0
        self._known = False

    @property
    def map(self) -> ClockMap:
        """The current map: immutable, so that any thread may use it."""
        return self._map

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the sound's clock runs than the machine's, in ppm; None before 33 s of sound."""
        return (1 / (1 + self._slope) - 1) * 1e6 if self._known else None

    def to_stream(self, moment: float) -> float:
        """Convert a moment to stream seconds."""
        return self._map.to_stream(moment)

    def to_moment(self, seconds: float) -> float:
        """Convert stream seconds to a moment."""
        return self._map.to_moment(seconds)

    def restart(self, *, same_clock: bool) -> None:
        """Prepare for sound from a reopened device, whose timestamps may be offset differently.

        Args:
            same_clock: Whether it is the same device as before, so that its drift is expected again.
        """
        self._lateness.clear()
        self._raw = _RAW
        self._n_late = 0
        self._least = self._suspect = None
        self._known = False
        if not same_clock:
            self._offset += self._slope * self._map.seconds[-1]
            self._slope = 0.0

    def observe(self, stamp: float, seconds: float, now: float) -> None:
        """Note that the sample at stream second `seconds` was in the air at `stamp` or slightly earlier.

        Args:
            stamp: Moment: right, or late.
            seconds: Stream seconds by the sample count.
            now: The current moment; the map up to it does not change.
        """
        late = (seconds, stamp - self._origin - seconds)
        if self._least is None:
            self._least = late
        elif int(seconds) == int(self._least[0]):
            if late[1] >= self._least[1]:
                return
            self._least = late
        else:
            self._keep(self._least)
            self._least = late
            self._follow(now)
            return
        if len(self._lateness) < 3:  # in the first seconds, every timestamp helps
            self._follow(now)

    def _keep(self, least: tuple[float, float]) -> None:
        """Remember a second's observation, unless it is implausibly early."""
        if self._lateness and least[1] < self._offset + self._slope * least[0] - _EARLY_SECONDS:
            if self._suspect is None:
                self._suspect = least
                return
            self._lateness.clear()
            self._lateness.append(self._suspect)
            self._known = False
        self._suspect = None
        self._lateness.append(least)
        self._n_late = self._n_late + 1 if least[1] > self._offset + self._slope * least[0] + _LATE_SECONDS else 0
        if self._n_late == _LATE:
            while len(self._lateness) > _LATE:
                self._lateness.popleft()
            self._n_late, self._known = 0, False
        while self._raw and len(self._lateness) >= _SETTLED + self._raw:
            self._lateness.popleft()
            self._raw -= 1

    def _follow(self, now: float) -> None:
        """Fit the line again, and let the map join it."""
        points = list(self._lateness)
        if self._least is not None and len(points) < 3:
            points.append(self._least)
        newest = points[-1][0]
        if newest - points[0][0] >= _ENOUGH_SECONDS and (len(points) < 100 or int(newest) % 10 == 0):
            self._slope = min(max(_slope_below(points), -_STEEPEST), _STEEPEST)
            self._known = True
        self._offset = min(late - self._slope * at for at, late in points if newest - at <= _RECENT_SECONDS)
        self._bend(now)

    def _line(self, moment: float) -> float:
        return (moment - self._origin - self._offset) / (1 + self._slope)

    def _bend(self, now: float) -> None:
        """Lead the map from its current value to the new line, in a second or more, with a slope well above 0."""
        moment = max(now, self._map.moments[0])
        here = self._map.to_stream(moment)
        join = max(_JOIN_SECONDS, abs(self._line(moment) - here) / _GENTLEST)
        kept = bisect_right(self._map.moments, moment - 1e-9)
        moments = (*self._map.moments[:kept], moment, moment + join)
        seconds = (*self._map.seconds[:kept], here, self._line(moment + join))
        if kept and moments[kept - 1] >= moment - 1e-9:  # two bends at one moment
            moments, seconds = moments[: kept - 1] + moments[kept:], seconds[: kept - 1] + seconds[kept:]
        self._map = ClockMap(moments[-_BENDS:], seconds[-_BENDS:], 1 / (1 + self._slope))


def _slope_below(points: list[tuple[float, float]]) -> float:
    """Slope of the line below all points and closest to them: the edge of the lower hull at the points' mean abscissa.

    This minimises the sum of distances, a linear program: S. Moon, P. Skelly, D. Towsley, "Estimation and removal of
    clock skew from network delay measurements", INFOCOM 1999.
    """
    hull: list[tuple[float, float]] = []
    for point in points:
        while len(hull) > 1 and _turn(hull[-2], hull[-1], point) <= 0:
            hull.pop()
        hull.append(point)
    middle = sum(at for at, _ in points) / len(points)
    for (start, low), (stop, high) in pairwise(hull):
        if stop >= middle:
            return (high - low) / (stop - start)
    return 0.0


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
