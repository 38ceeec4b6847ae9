"""The machine's clock and the sound's: which moment is which second of a live stream. Pure arithmetic.

A stream's seconds are counted by the sound, whose crystal is some millionths off. Stamps of sound are right or late,
never early, so the truth is a line below them all: the lower hull of each second's least late stamp says its slope,
the least late of the newest minute where it lies.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import pairwise

_MEMORY = 600
"""Seconds of sound that are remembered."""
_RECENT_SECONDS = 60.0
"""What the line's place rests on; its slope rests on all that is remembered."""
_ENOUGH_SECONDS = 30.0
"""A slope is believed after this."""
_STEEPEST = 5e-4
"""No crystal is off by more; what is, are samples that are missing."""
_EARLY_SECONDS = 0.05
"""A second whose stamps lie below the line by more is an error, or, where the next one does too, a new clock."""
_LATE_SECONDS = 0.02
"""So many seconds in a row that all lie above the line by more are a new line: something was delayed for good."""
_LATE = 15
_RAW, _SETTLED = 3, 10
"""What a device says of its delay settles in the first seconds: these are forgotten once so many others are there."""
_JOIN_SECONDS = 1.0
"""How long the map takes to join a new line."""
_GENTLEST = 0.5
"""The map is never slower or faster than time by more than this share while it joins."""
_BENDS = 120
"""Bends that are remembered: two a second."""


@dataclass(frozen=True, slots=True)
class ClockMap:
    """Moments ↔ stream seconds: a line with bends, along which both grow."""

    moments: tuple[float, ...]
    """Where it bends, ascending: seconds of the monotonic clock."""
    seconds: tuple[float, ...]
    """Stream seconds there, ascending."""
    slope: float
    """Stream seconds a second after the last bend, and before the first."""

    def to_stream(self, moment: float) -> float:
        """Stream seconds at a moment."""
        return _along(self.moments, self.seconds, self.slope, moment)

    def to_moment(self, seconds: float) -> float:
        """The moment of a stream second."""
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
        """Begin at stream second 0, with a clock that is exact as far as is known."""
        self._origin = moment
        self._map = ClockMap((moment,), (0.0,), 1.0)
        self._lateness: deque[tuple[float, float]] = deque(maxlen=_MEMORY)
        """The least late observation of each second: stream seconds, and stamp less origin less stream seconds."""
        self._raw = _RAW
        """Seconds still to be forgotten."""
        self._n_late = 0
        """Seconds in a row that were clearly late."""
        self._least: tuple[float, float] | None = None
        self._suspect: tuple[float, float] | None = None
        self._slope = 0.0
        self._offset = 0.0
        self._known = False

    @property
    def map(self) -> ClockMap:
        """The map as it is now: frozen, so that any thread may use it."""
        return self._map

    @property
    def drift_ppm(self) -> float | None:
        """How much faster the sound's clock goes than the machine's, in millionths; None before 33 s of sound."""
        return (1 / (1 + self._slope) - 1) * 1e6 if self._known else None

    def to_stream(self, moment: float) -> float:
        """Stream seconds at a moment."""
        return self._map.to_stream(moment)

    def to_moment(self, seconds: float) -> float:
        """The moment of a stream second."""
        return self._map.to_moment(seconds)

    def restart(self, *, same_clock: bool) -> None:
        """Sound comes from a device that was opened anew: its stamps may lie elsewhere.

        Args:
            same_clock: Whether it is the device it was, whose drift is then expected again.
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
        """Learn that the sample at stream second `seconds` was in the air at `stamp`, or a little before.

        Args:
            stamp: Moment, right or late.
            seconds: Stream seconds, by the count of samples.
            now: The moment of learning it: what the map said up to now stays.
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
        if len(self._lateness) < 3:  # the first seconds: every stamp helps
            self._follow(now)

    def _keep(self, least: tuple[float, float]) -> None:
        """Remember a second, unless its stamps are too early to be true."""
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
        """Fit the line anew, and let the map join it."""
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
        """From what the map says now to the new line, within a second, at a slope that is never near 0."""
        moment = max(now, self._map.moments[0])
        here = self._map.to_stream(moment)
        join = max(_JOIN_SECONDS, abs(self._line(moment) - here) / _GENTLEST)
        kept = bisect_right(self._map.moments, moment - 1e-9)
        moments = (*self._map.moments[:kept], moment, moment + join)
        seconds = (*self._map.seconds[:kept], here, self._line(moment + join))
        if kept and moments[kept - 1] >= moment - 1e-9:  # twice at one moment
            moments, seconds = moments[: kept - 1] + moments[kept:], seconds[: kept - 1] + seconds[kept:]
        self._map = ClockMap(moments[-_BENDS:], seconds[-_BENDS:], 1 / (1 + self._slope))


def _slope_below(points: list[tuple[float, float]]) -> float:
    """Slope of the line that lies below all points and is closest to them: the lower hull's edge at their middle.

    The least sum of distances, by linear programming: S. Moon, P. Skelly, D. Towsley, "Estimation and removal of clock
    skew from network delay measurements", INFOCOM 1999.
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
