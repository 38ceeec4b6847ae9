"""Compressed packets of one container, dealt out to the track that asks, on one time line without jumps."""

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
"""Packets of one track that may wait while the other track's are looked for."""
_TS_DISCONTINUOUS = 0x0200
"""AVFMT_TS_DISCONT: stamps of this format may start anew."""
_JUMP_BACK_SECONDS = 0.25
_JUMP_SECONDS = 60
"""A longer step forward is a new start of the clock in formats where that happens."""
_ABSURD_SECONDS = 3600
"""The same in all other formats."""
_SAME_JUMP_SECONDS = 5
"""Jumps of sound and picture that differ by less are one."""

JUMP_MESSAGE = "the clock of the time stamps starts anew; the stream goes on without a hole"
"""What a user reads of a jump."""

Stamped = Any
"""av.Packet of an audio or a video stream."""


class Absence(Enum):
    """Why there is no packet."""

    ENDED = "ended"
    """None will come any more."""
    FAR = "far"
    """The next one is further away in the file than the other track may wait."""


@dataclass(frozen=True, slots=True)
class Jump:
    """A step of the stamps that is no time passing."""

    seconds: float
    """How far the stamps stepped; negative backwards."""
    first: bool
    """Whether this track met it first."""


@dataclass(slots=True)
class _Track:
    """What is known of one stream's packets."""

    time_base: Fraction
    """Seconds a tick."""
    tick: float
    """The same, rounded, where speed counts more than the last digit."""
    is_audio: bool
    """Whether packets are presented in the order of decoding."""
    queue: deque[tuple[Stamped, float]] = field(default_factory=deque)
    """Packets that wait, each with its distance to the one before, in seconds; a second at most."""
    queued_bytes: int = 0
    """Size of the queue."""
    queued_seconds: float = 0.0
    """Time the queue spans: the sum of the distances."""
    newest: int | None = None
    """Newest decoding stamp queued, raw, in ticks."""
    expected: int | None = None
    """Decoding stamp that the next packet should have, raw, in ticks."""
    shift: int = 0
    """Added to every stamp, in ticks: undoes the jumps so far."""
    jumps_taken: int = 0
    """How many of the container's jumps are undone."""

    def order_stamp(self, packet: Stamped) -> int | None:
        """The stamp that grows from packet to packet; a picture's presentation stamp does not."""
        stamp: int | None = packet.pts if packet.dts is None and self.is_audio else packet.dts
        return stamp


class PacketReader:
    """Reads a container once, in the order of the file, and keeps each track's packets until they are taken."""

    def __init__(
        self,
        container: InputContainer,
        streams: Sequence[av.AudioStream | av.VideoStream],
        *,
        begin: Fraction,
        patience_seconds: float,
    ) -> None:
        """Read the packets of some streams.

        Args:
            container: Where from, at the place where reading begins.
            streams: Whose packets.
            begin: Container time near which the first stamps are expected; earlier ones are no surprise.
            patience_seconds: How far apart the tracks may lie in the file.
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
        """What broke the reading off; None at a proper end."""

    @property
    def jumped(self) -> bool:
        """Whether the stamps have jumped, so that times by the container's header are not those of the stream."""
        return bool(self._jumps)

    def take(self, index: int) -> Stamped | Absence:
        """The next packet of the stream with this index, as the file has it."""
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
        """Shift the stamps of a packet just taken so that they never jump; says if it is the first after a jump."""
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
        """Shift a track back by a jump; by the other track's, if that met it before, so that both stay together."""
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
            return  # PyAV's own mark for the end of a stream
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
    """A stamp, shifted; none where FFmpeg cannot hold it, in 64 bits less the value that means none."""
    return stamp + shift if stamp is not None and abs(stamp + shift) < 1 << 63 else None
