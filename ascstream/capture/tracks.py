"""The wanted tracks of an open medium (sound, picture, or both), each with its decoder."""

from __future__ import annotations

from fractions import Fraction

import av
from av.stream import Discard

from ascstream.capture.child import Outbox
from ascstream.capture.decoders import Decoder
from ascstream.capture.frames import Frames
from ascstream.capture.messages import Opened
from ascstream.capture.opening import Medium
from ascstream.capture.report import Report
from ascstream.capture.requests import MediaRequest
from ascstream.capture.sound import SoundTrack
from ascstream.sources.packets import Stamped


class Tracks:
    """Chooses the wanted tracks and holds what decodes them; the caller stamps and passes on what comes out."""

    def __init__(self, request: MediaRequest, medium: Medium, outbox: Outbox) -> None:
        """Choose the tracks, and report that the medium is open.

        Args:
            request: What is wanted.
            medium: The open medium.
            outbox: Where to send messages.
        """
        self._wanted = request
        self._live = not medium.plays
        self._choose(medium)
        self.report = Report(outbox, _opened(medium, self.audio, self.video))
        """Sends the medium's reports and other messages."""
        self._load()
        self.frames: Frames | None = None
        """Keeps pictures and answers requests for them; None if no picture is wanted or there is none."""
        if request.picture is not None and self.decoder is not None and self.video is not None:
            aspect = self.video.sample_aspect_ratio or Fraction(1)
            self.frames = Frames(request.picture, self.decoder, aspect, self.report)
        self.report.begin()

    def use(self, medium: Medium) -> None:
        """Continue with the same medium after it was reopened."""
        self._choose(medium)
        self._load()

    def _choose(self, medium: Medium) -> None:
        self.audio: av.AudioStream | None = medium.opened.audio if self._wanted.sound else None
        """The sound track, if wanted and present."""
        self.video: av.VideoStream | None = medium.opened.video if self._wanted.picture is not None else None
        """The picture track, if wanted and present."""
        for stream in medium.opened.container.streams:
            if stream.index not in (track.index for track in self.streams):
                stream.discard = Discard.all

    def _load(self) -> None:
        self.sound = None if self.audio is None else SoundTrack(self.audio, self.report)
        """Decodes the sound."""
        beside = [] if self.audio is None else [self.audio.codec_context.name]
        self.decoder = None if self.video is None else Decoder(self.video, self.report, beside, hardware=self._live)
        """Decodes the picture."""
        self._begun = False

    @property
    def streams(self) -> list[av.AudioStream | av.VideoStream]:
        """The chosen tracks: both, or the only one."""
        return [stream for stream in (self.audio, self.video) if stream is not None]

    def decode_picture(self, packet: Stamped | None) -> list[av.VideoFrame]:
        """The pictures that a packet completes; None flushes the decoder at the end."""
        if self.decoder is None:
            return []
        try:
            frames = self.decoder.decode(packet)
        except av.EOFError:
            return []
        except av.FFmpegError:
            if self._begun:  # a stream joined between key frames cannot be decoded before the next one
                self.report.corrupt("a picture")
            return []
        self._begun |= bool(frames)
        return frames


def _opened(medium: Medium, audio: av.AudioStream | None, video: av.VideoStream | None) -> Opened:
    """What is known of the format before anything is decoded."""
    rate = video.average_rate if video is not None and medium.stamped else None
    n_channels = 0 if audio is None else audio.codec_context.layout.nb_channels
    return Opened(
        name=medium.opened.name,
        sample_rate=None if audio is None else audio.codec_context.sample_rate or None,
        n_channels=min(n_channels, 2) or None,
        n_device_channels=n_channels or None,
        width=None if video is None else video.codec_context.width or None,
        height=None if video is None else video.codec_context.height or None,
        frame_rate=float(rate) if rate else None,
        details="" if audio is None else audio.codec_context.name,
    )
