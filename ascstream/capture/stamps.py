"""When something was really heard or seen: maps a stream's timestamps to the machine's clock. Pure arithmetic."""

from __future__ import annotations

import math
from collections import deque

_MEMORY_SECONDS = 10.0
"""How long a promptly delivered packet is remembered: clocks drift apart by less than a millisecond in that time."""
_ONE_CLOCK_SECONDS = 1.0
"""Tracks whose offsets differ by less than this were stamped by the same clock."""
_JUMP_SECONDS = 0.5
"""Timestamps restart if one goes back by more than this; if packets arrive late by more than this, they may have."""
_LATE_SECONDS = 2.0
"""If every packet is that late for longer than this, the timestamps have restarted. A network stall is shorter: what
it held up then arrives all at once."""
_SETTLING_SECONDS = 0.25
"""By then, the backlog that a server sends to a new client has arrived."""
_DRIVER_SECONDS = 1.0
"""The longest that a driver takes to deliver what it has stamped."""


class StreamClock:
    """Converts the timestamps of a stream's tracks (seconds from an arbitrary origin) to times of `time.monotonic`.

    A packet cannot arrive before its content has ended, and now and then one arrives without delay. A track's offset is
    therefore the smallest difference between arrival and stamp in the last ten seconds: jitter and bursts, which only
    delay packets, do not affect it, while it follows slow drift of the sender's clock.

    Sound and picture of one source are stamped by one clock, and stay in sync only if the same offset applies to both.
    It is the sound's, so that no sample is stamped after its arrival or long before it. That is usually the larger
    offset, since a packet of sound is sent only once its last sample was heard. Pictures that a sender delivers early
    are then stamped in the future, and kept until then; those that it encodes slowly still get the time of capture.

    Stamps that jump forward give a smaller difference, and so a new offset, at once. Stamps that go back restart the
    track, as do stamps that stay late for longer than a network stall: the sender's clock was set, or it paused.
    """

    def __init__(self, leader: int | None = None, *, monotonic: bool = False) -> None:
        """Start without any packets.

        Args:
            leader: The track (the sound) whose offset applies to all tracks while it delivers; None: each has its own.
            monotonic: Whether a local driver stamps, perhaps by `time.monotonic` itself. This is assumed if stamps
                are less than a second before arrival, and they are then used as they are.
        """
        self._leader = leader
        self._monotonic = monotonic
        self._tracks: dict[int, _Track] = {}
        self._first = math.inf
        self._now = -math.inf

    def arrive(self, track: int, stamp: float, arrival: float) -> bool:
        """Register an arrival.

        Args:
            track: Any number that identifies the track.
            stamp: Timestamp by the stream, in seconds: of a picture, or of the end of a piece of sound.
            arrival: Time of arrival; never decreases from call to call.

        Returns:
            Whether the track's timestamps restarted, so that they cannot be compared with earlier ones.
        """
        self._first = min(self._first, arrival)
        self._now = arrival
        known = self._tracks.get(track)
        if known is None or known.begins_anew(stamp, arrival):
            self._tracks[track] = _Track(stamp, arrival)
            return known is not None
        known.learn(stamp, arrival)
        return False

    def moment(self, track: int, stamp: float) -> float:
        """The time of `time.monotonic` that corresponds to a stamp.

        Raises:
            KeyError: Nothing has arrived on this track yet.
        """
        own = self._tracks[track].offset(self._now)
        if self._monotonic and -0.001 <= own <= _DRIVER_SECONDS:
            return stamp
        leader = None if self._leader is None else self._tracks.get(self._leader)
        if leader is None or not leader.is_current(self._now):
            return stamp + own
        offset = leader.offset(self._now)
        return stamp + (offset if abs(offset - own) < _ONE_CLOCK_SECONDS else own)

    def knows(self, track: int) -> bool:
        """Whether anything has arrived on this track."""
        return track in self._tracks

    @property
    def settled(self) -> bool:
        """Whether the offset can be relied on, even if the server began with a backlog."""
        return self._now - self._first >= _SETTLING_SECONDS


class _Track:
    """Sliding minimum of one track: differences that may still become the smallest, ascending, with arrival times."""

    def __init__(self, stamp: float, arrival: float) -> None:
        self._smallest: deque[tuple[float, float]] = deque()
        self._newest = stamp
        self._late_since = math.inf
        self._add(arrival - stamp, arrival)

    def begins_anew(self, stamp: float, arrival: float) -> bool:
        """Whether a stamp does not continue the earlier ones."""
        if stamp < self._newest - _JUMP_SECONDS:
            return True
        if arrival - stamp <= self.offset(arrival) + _JUMP_SECONDS:
            self._late_since = math.inf
        else:
            self._late_since = min(self._late_since, arrival)
        return arrival - self._late_since > _LATE_SECONDS

    def learn(self, stamp: float, arrival: float) -> None:
        self._newest = max(self._newest, stamp)
        self._add(arrival - stamp, arrival)

    def _add(self, difference: float, arrival: float) -> None:
        while self._smallest and self._smallest[-1][0] >= difference:
            self._smallest.pop()
        self._smallest.append((difference, arrival))

    def offset(self, now: float) -> float:
        """The smallest recent difference; if nothing arrived recently, the newest one."""
        while len(self._smallest) > 1 and self._smallest[0][1] < now - _MEMORY_SECONDS:
            self._smallest.popleft()
        return self._smallest[0][0]

    def is_current(self, now: float) -> bool:
        """Whether anything arrived recently."""
        return self._smallest[-1][1] >= now - _MEMORY_SECONDS
