"""When something was really heard or seen: a stream's own stamps, set on the machine's clock. Pure arithmetic."""

from __future__ import annotations

import math
from collections import deque

_MEMORY_SECONDS = 10.0
"""How long a packet that came fast is remembered: clocks drift apart by less than a millisecond in that time."""
_ONE_CLOCK_SECONDS = 1.0
"""Tracks whose offsets differ by less were stamped by one clock."""
_JUMP_SECONDS = 0.5
"""Stamps that go back by more, or are later than they should be by more, may have begun anew."""
_LATE_SECONDS = 2.0
"""How long packets may all be late by that much before this is taken for a new beginning: after a stall of the network
what was held up comes at once."""
_SETTLING_SECONDS = 0.25
"""What a server had kept ready for a newcomer is through by then."""
_DRIVER_SECONDS = 1.0
"""The longest that a driver takes to hand on what it has stamped."""


class StreamClock:
    """Turns the stamps of a stream's tracks (seconds from anywhere) into moments of `time.monotonic`.

    A packet cannot come before what is in it was over, and now and then one comes through without delay. The offset of
    a track is therefore the smallest difference between arrival and stamp of the last ten seconds: jitter and bursts,
    which only make packets later, do not move it, and slow drift of the sender's clock is followed.

    Sound and picture of one source are stamped by one clock and stay together only if one offset moves both. It is that
    of the sound, so that no sample is stamped after it came, nor long before: it is usually the later one, since its
    packets are sent when their last sample was heard. Pictures that a sender hands over ahead of their time are then
    stamped in the future, and are kept until then; those that it encodes slowly are stamped when they were seen.

    Stamps that jump forward make a smaller difference, and so a new offset, at once. Stamps that go back begin anew, as
    do those that come late for longer than a network stalls: the sender's clock was set, or it stopped for a while.
    """

    def __init__(self, leader: int | None = None, *, monotonic: bool = False) -> None:
        """Start without any knowledge.

        Args:
            leader: The track whose offset moves all of them, while it comes: the sound. None: each has its own.
            monotonic: Whether a driver on this machine stamps, perhaps by `time.monotonic` itself; that is seen when
                stamps lie less than a second before their arrival, and they are then taken as they are.
        """
        self._leader = leader
        self._monotonic = monotonic
        self._tracks: dict[int, _Track] = {}
        self._first = math.inf
        self._now = -math.inf

    def arrive(self, track: int, stamp: float, arrival: float) -> bool:
        """Learn that something came.

        Args:
            track: Any number that stands for the track.
            stamp: The stream's own, in seconds: of a picture, or of the end of a piece of sound.
            arrival: Moment at which it came; never before an earlier one.

        Returns:
            Whether the track's stamps begin anew: what it says of time cannot be compared with what it said before.
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
        """The moment of a stamp.

        Raises:
            KeyError: Nothing came on this track yet.
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
        """Whether something came on this track."""
        return track in self._tracks

    @property
    def settled(self) -> bool:
        """Whether enough was seen to know the offset, even where a server begins with what it had kept ready."""
        return self._now - self._first >= _SETTLING_SECONDS


class _Track:
    """The differences of one track that may still be the smallest: ascending, with the moments they were seen at."""

    def __init__(self, stamp: float, arrival: float) -> None:
        self._smallest: deque[tuple[float, float]] = deque()
        self._newest = stamp
        self._late_since = math.inf
        self._add(arrival - stamp, arrival)

    def begins_anew(self, stamp: float, arrival: float) -> bool:
        """Whether a stamp does not go on where the others were."""
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
        """The smallest difference of late; the newest of all where nothing came of late."""
        while len(self._smallest) > 1 and self._smallest[0][1] < now - _MEMORY_SECONDS:
            self._smallest.popleft()
        return self._smallest[0][0]

    def is_current(self, now: float) -> bool:
        """Whether something came of late."""
        return self._smallest[-1][1] >= now - _MEMORY_SECONDS
