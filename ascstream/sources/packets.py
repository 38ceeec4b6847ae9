"""Reads the compressed packets of a container, queues them per track, and removes jumps from their timestamps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer

MAX_QUEUED_BYTES = 64 << 20
"""Size of one track's packets that may be queued while looking for a packet of the other track."""
_TS_DISCONTINUOUS = 0x0200
"""AVFMT_TS_DISCONT: timestamps of this format may restart."""
_JUMP_BACK_SECONDS = 0.25
_JUMP_SECONDS = 60
"""A longer step forward is a restart of the clock, in formats where that happens."""
_ABSURD_SECONDS = 3600
"""The same for all other formats."""
_SAME_JUMP_SECONDS = 5
"""Jumps of sound and picture that differ by less than this are the same jump."""

JUMP_MESSAGE = "the clock of the time stamps starts anew; the stream goes on without a hole"
"""The message of a jump's event."""

Stamped = Any
"""av.Packet of an audio or a video stream."""


class Absence(Enum):
    """Why there is no packet."""

    ENDED = "ended"
    """No more packets will come."""
    FAR = "far"
    """The next one lies too far ahead in the file: the other track's packets must be taken first."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A step in the timestamps during which no time passed."""

    seconds: float
    """Size of the step; negative if backwards."""
    first: bool
    """Whether this track is the first to reach it."""


@dataclass(slots=True)
class _Track:
    """State of one stream's packets."""

    time_base: Fraction
    """Seconds per tick."""
    tick: float
    """Seconds per tick as a float, where speed matters more than the last digit."""
    is_audio: bool
    """Whether packets are presented in decoding order."""
    queue: deque[tuple[Stamped, float]] = field(default_factory=deque)
    """Waiting packets, each with its distance from the previous one in seconds, capped at 1."""
    queued_bytes: int = 0
    """Size of the queued packets."""
    queued_seconds: float = 0.0
    """Time that the queue spans: the sum of the distances."""
    newest: int | None = None
    """Newest decoding timestamp queued, unshifted, in ticks."""
    expected: int | None = None
    """Decoding timestamp that the next packet should have, unshifted, in ticks."""
    shift: int = 0
    """Added to every timestamp, in ticks, to undo the jumps so far."""
    jumps_taken: int = 0
    """How many of the container's jumps were undone on this track."""

    def order_stamp(self, packet: Stamped) -> int | None:
        """The timestamp that increases from packet to packet: the decoding one, since pictures may be reordered."""
        stamp: int | None = packet.pts if packet.dts is None and self.is_audio else packet.dts
        return stamp


class PacketReader:
    """Reads a container once, in file order, and queues each track's packets until they are taken."""

    def __init__(
        self,
        container: InputContainer,
        streams: Sequence[av.AudioStream | av.VideoStream],
        *,
        begin: Fraction,
        patience_seconds: float,
    ) -> None:
        """Prepare to read the packets of some streams.

        Args:
            container: The container, positioned where reading begins.
            streams: The streams to read.
            begin: Container time near which the first timestamps are expected; earlier ones are not a jump.
            patience_seconds: How far apart matching packets of the tracks may lie in the file.
        """
        self._packets: Iterator[Stamped] = container.demux(*streams)
        self._tracks: dict[int, _Track] = {}
        for stream in streams:
            tick = stream.time_base or Fraction(1, 1000)
            self._tracks[stream.index] = _Track(tick, float(tick), stream.type == "audio")
        self._begin = begin
        self._patience = patience_seconds
        self._jump_limit = _JUMP_SECONDS if container.format.flags & _TS_DISCONTINUOUS else _ABSURD_SECONDS
        self._jumps: list[Fraction] = []
        self._ended = False
        self.error: av.FFmpegError | None = None
        """The error that broke off reading; None at a proper end."""

    @property
    def jumped(self) -> bool:
        """Whether the timestamps have jumped, so that the container's announced times do not match the stream's."""
        return bool(self._jumps)

    def take(self, index: int) -> Stamped | Absence:
        """The next packet of the stream with this index, as it is in the file."""
        track = self._tracks[index]
        while not track.queue:
            if self._ended:
                return Absence.ENDED
            if any(
                other.queued_seconds > self._patience or other.queued_bytes > MAX_QUEUED_BYTES
                for other in self._tracks.values()
            ):
                return Absence.FAR
            self._read()
        packet, distance = track.queue.popleft()
        track.queued_bytes -= packet.size
        track.queued_seconds = track.queued_seconds - distance if track.queue else 0.0
        return packet

    def straighten(self, packet: Stamped) -> Jump | None:
        """Shift the timestamps of the packet just taken, to undo jumps; returns a jump that happens at this packet."""
        track = self._tracks[packet.stream_index]
        jump = None
        raw = track.order_stamp(packet)
        if raw is not None:
            if track.expected is None:
                step = max(raw - math.floor(self._begin / track.time_base), 0)
            else:
                step = raw - track.expected
            if not -_JUMP_BACK_SECONDS <= step * track.tick <= self._jump_limit:
                jump = self._undo(track, step * track.time_base)
            shown = packet.duration or 0
            track.expected = raw + (shown if 0 < shown * track.tick <= self._jump_limit else 0)
        if track.shift:
            packet.pts = _shifted(packet.pts, track.shift)
            packet.dts = _shifted(packet.dts, track.shift)
        return jump

    def _undo(self, track: _Track, step: Fraction) -> Jump:
        """Undo a jump on a track; by the other track's step if that reached it first, so that both stay in sync."""
        known = self._jumps[track.jumps_taken :]
        first = not known or abs(known[0] - step) > _SAME_JUMP_SECONDS
        if first:
            self._jumps[track.jumps_taken :] = [step]
        track.shift -= round(self._jumps[track.jumps_taken] / track.time_base)
        track.jumps_taken += 1
        return Jump(float(step), first)

    def _read(self) -> None:
        try:
            packet = next(self._packets, None)
        except av.FFmpegError as error:
            self.error = error
            packet = None
        if packet is None:
            self._ended = True
            return
        if packet.dts is None and packet.size == 0:
            return  # PyAV's marker for the end of a stream
        track = self._tracks[packet.stream_index]
        stamp = track.order_stamp(packet)
        distance = 0.0
        if stamp is not None:
            if track.newest is not None:
                distance = min(max((stamp - track.newest) * track.tick, 0.0), 1.0)
            track.newest = stamp
        track.queue.append((packet, distance))
        track.queued_bytes += packet.size
        track.queued_seconds += distance


def _shifted(stamp: int | None, shift: int) -> int | None:
    """A shifted timestamp; None if it exceeds FFmpeg's range: 64 bits, without the value that means "none"."""
    return stamp + shift if stamp is not None and abs(stamp + shift) < 1 << 63 else None
