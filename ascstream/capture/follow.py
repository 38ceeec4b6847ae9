"""Follows a medium that arrives in real time: each packet is stamped on arrival and passed on at once."""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from typing import NoReturn

import av

from ascstream.capture.opening import Medium, explain_device
from ascstream.capture.requests import MediaRequest
from ascstream.capture.stamps import StreamClock
from ascstream.capture.tracks import Tracks
from ascstream.errors import SourceError
from ascstream.sources.packets import Stamped

_MOST_WAITING = 2000
"""Most packets held back while the clock settles; far more than arrive in that time."""


def follow(request: MediaRequest, medium: Medium, tracks: Tracks) -> NoReturn:
    """Pass on what arrives, until the medium ends or fails.

    Raises:
        SourceError: Nothing more arrives.
    """
    follower = _Follower(medium, tracks)
    name = medium.opened.name
    try:
        for packet in medium.opened.container.demux(*tracks.streams):
            if packet.size:  # PyAV marks the end with an empty packet
                follower.take(packet, time.monotonic())
    except (av.error.ExitError, av.error.TimeoutError) as error:
        raise SourceError(f"{name} gave nothing for {request.read_seconds:g} s; check the network") from error
    except av.FFmpegError as error:
        if medium.local and error.errno is not None:
            number = errno.ENODEV if error.errno == errno.EIO else error.errno  # EIO: it was unplugged
            raise explain_device(number, name) from error
        raise SourceError(f"{name} broke off; check that what sends it still runs") from error
    raise SourceError(f"{name} ended; check that what sends it still runs")


class _Follower:
    """Stamps packets and passes them on, after holding them back until its clock has settled."""

    def __init__(self, medium: Medium, tracks: Tracks) -> None:
        self._tracks = tracks
        self._clock = StreamClock(None if tracks.audio is None else tracks.audio.index, monotonic=medium.local)
        self._video = tracks.video if tracks.frames is not None else None
        self._video_tick = _tick(tracks.video)
        self._stamped = medium.stamped
        self._waits = not medium.local and (medium.stamped or tracks.audio is not None)
        self._waiting: list[tuple[Stamped, float, bool]] = []

    def take(self, packet: Stamped, arrival: float) -> None:
        """Take a packet that arrived at this time."""
        anew = False
        if packet.pts is not None and (self._stamped or not self._is_picture(packet)):
            known = packet.pts if self._is_picture(packet) else packet.pts + (packet.duration or 0)
            anew = self._clock.arrive(packet.stream_index, float(known * packet.time_base), arrival)
        self._waiting.append((packet, arrival, anew))
        if self._waits and not self._clock.settled and len(self._waiting) < _MOST_WAITING:
            return
        self._waits = False
        for waiting in self._waiting:
            self._hand_on(*waiting)
        self._waiting.clear()

    def _is_picture(self, packet: Stamped) -> bool:
        return self._video is not None and packet.stream_index == self._video.index

    def _hand_on(self, packet: Stamped, arrival: float, anew: bool) -> None:
        if self._is_picture(packet):
            self._hand_on_picture(packet, arrival)
        elif self._tracks.sound is not None:
            if anew:
                self._tracks.sound.begin_anew()
            for sound in self._tracks.sound.decode(packet):
                if packet.pts is None:  # an unstamped stream: the stamp is a count of samples
                    end = sound.stamp + sound.samples.shape[1] / sound.sample_rate
                    self._clock.arrive(packet.stream_index, end, arrival)
                self._tracks.report.put(replace(sound, stamp=self._clock.moment(packet.stream_index, sound.stamp)))

    def _hand_on_picture(self, packet: Stamped, arrival: float) -> None:
        frames, decoder = self._tracks.frames, self._tracks.decoder
        if frames is None or decoder is None:
            return
        pictures = [packet] if decoder.intra else self._tracks.decode_picture(packet)
        for picture in pictures:
            stamp = arrival
            if self._stamped and self._clock.knows(packet.stream_index):
                if picture.pts is None:
                    continue  # a stream's first picture, or a second field: its neighbours are stamped
                stamp = self._clock.moment(packet.stream_index, picture.pts * self._video_tick)
            frames.add(picture, stamp, time.monotonic())


def _tick(stream: av.VideoStream | None) -> float:
    """Seconds per unit of the stream's timestamps."""
    return float(stream.time_base or 0) if stream is not None else 0.0
