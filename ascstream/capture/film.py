"""Plays a recording in real time, in a loop, as if it came from a camera and a microphone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import NoReturn, TypeAlias

import av

from ascstream.capture.messages import Sound
from ascstream.capture.opening import Medium, open_medium
from ascstream.capture.requests import MediaRequest
from ascstream.capture.tracks import Tracks
from ascstream.errors import DecodeError
from ascstream.sources.packets import Absence, PacketReader

_PATIENCE_SECONDS = 10.0
"""How far apart matching sound and picture may lie in a file."""
_LATE_SECONDS = 1.0
"""If this process was suspended for longer, playback resumes where it stopped, with a gap, instead of catching up."""
_SAME_END_SECONDS = 0.5
"""A picture that outlasts the sound by less than this is cut off, so that the sound loops without a gap."""
_USUAL_FRAME_SECONDS = 0.04

_Item: TypeAlias = "tuple[float, Callable[[float], None]]"
"""When something is due, in seconds since the film's start, and what passes it on, given the time of that start."""


def play(request: MediaRequest, medium: Medium, tracks: Tracks) -> NoReturn:
    """Pass on a file's sound and pictures as they fall due, and start over at its end.

    Raises:
        SourceError: The file cannot be read, or is empty.
    """
    begin = time.monotonic()
    while True:
        player = _Player(medium, tracks)
        begin = player.play(begin)
        if player.seconds <= 0:
            raise DecodeError(f"{medium.opened.name} holds 0 s that can be decoded; record or copy it again")
        begin += player.seconds
        medium.opened.close()
        medium = open_medium(request)
        tracks.use(medium)


class _Player:
    """Plays the file once."""

    def __init__(self, medium: Medium, tracks: Tracks) -> None:
        opened = medium.opened
        self._tracks = tracks
        self._zero = float(opened.zero)
        self._reader = PacketReader(
            opened.container, tracks.streams, begin=opened.zero, patience_seconds=_PATIENCE_SECONDS
        )
        self._sound_end = self._picture_end = 0.0

    @property
    def seconds(self) -> float:
        """Length of the file, known once it was played."""
        longer = self._picture_end - self._sound_end
        return self._sound_end if self._sound_end > 0 and longer < _SAME_END_SECONDS else self._picture_end

    def play(self, begin: float) -> float:
        """Play the file as if started at time `begin`; returns `begin`, postponed by any time this process missed."""
        tracks = [self._sounds(), self._pictures()]
        heads: list[_Item | None] = [None] * len(tracks)
        ended = [False] * len(tracks)
        while True:
            for number, track in enumerate(tracks):
                if heads[number] is None and not ended[number]:
                    try:
                        heads[number] = next(track)
                    except StopIteration:
                        ended[number] = True
            dues = [math.inf if head is None else head[0] for head in heads]
            number = dues.index(min(dues))
            head = heads[number]
            if head is None:
                if all(ended):
                    break
                continue
            begin = self._wait(begin, head[0])
            head[1](begin)
            heads[number] = None
        if self._reader.error is not None:
            self._tracks.report.corrupt("the end")
        return begin

    def _wait(self, begin: float, due: float) -> float:
        early = begin + due - time.monotonic()
        if early < -_LATE_SECONDS:
            if self._tracks.sound is not None:
                self._tracks.sound.begin_anew()
            return begin - early
        time.sleep(max(0.0, early))
        return begin

    def _sounds(self) -> Iterator[_Item | None]:
        """The sound, each piece due at its end; None where the picture must advance first."""
        stream, track = self._tracks.audio, self._tracks.sound
        if stream is None or track is None:
            return
        packet = None
        while packet is not Absence.ENDED:
            packet = self._reader.take(stream.index)
            if packet is Absence.FAR:
                yield None
                continue
            if packet is not Absence.ENDED:
                self._reader.straighten(packet)
            for sound in track.decode(None if packet is Absence.ENDED else packet):
                start = sound.stamp - self._zero
                self._sound_end = max(self._sound_end, start + sound.samples.shape[1] / sound.sample_rate)
                yield self._sound_end, self._hearing(sound, start)

    def _pictures(self) -> Iterator[_Item | None]:
        """The pictures, each due at its timestamp; None where the sound must advance first."""
        stream = self._tracks.video
        if stream is None:
            return
        tick, packet = float(stream.time_base or Fraction(1, 1000)), None
        usual = float(1 / stream.average_rate) if stream.average_rate else _USUAL_FRAME_SECONDS
        while packet is not Absence.ENDED:
            packet = self._reader.take(stream.index)
            if packet is Absence.FAR:
                yield None
                continue
            if packet is not Absence.ENDED:
                self._reader.straighten(packet)
            for frame in self._tracks.decode_picture(None if packet is Absence.ENDED else packet):
                time_in_film = self._picture_end if frame.pts is None else frame.pts * tick - self._zero
                self._picture_end = max(self._picture_end, time_in_film + usual)
                yield time_in_film, self._showing(frame, time_in_film)

    def _hearing(self, sound: Sound, start: float) -> Callable[[float], None]:
        return lambda begin: self._tracks.report.put(replace(sound, stamp=begin + start))

    def _showing(self, frame: av.VideoFrame, start: float) -> Callable[[float], None]:
        frames = self._tracks.frames
        return lambda begin: None if frames is None else frames.add(frame, begin + start, time.monotonic())
