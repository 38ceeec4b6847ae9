"""The sound of a live medium: decoded at its own sample rate to one or two channels, stamped, with gaps marked."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np

from ascstream.capture.messages import Sound
from ascstream.capture.report import Report
from ascstream.records import Samples
from ascstream.sources.mixing import Mixer, read_samples

_TOLERANCE_SECONDS = 0.01
"""Rounded timestamps jitter by less than this; the shortest packet that can be lost is longer."""
_HIGHEST_RATE = 1 << 24
"""Hz: only a damaged stream announces a higher sample rate."""
_LOUDEST = 1e6
"""120 dB above full scale: a louder, infinite or NaN value is not a valid sample."""


class SoundTrack:
    """Decodes one stream; times are in seconds by the stream's own timestamps."""

    def __init__(self, stream: av.AudioStream, report: Report) -> None:
        """Prepare for the first packet.

        Args:
            stream: The stream whose packets will be decoded.
            report: Receives the format of the sound, and what cannot be decoded.
        """
        self._codec = stream.codec_context
        self._tick = float(stream.time_base or Fraction(1, 1000))
        self._report = report
        self._mixers = {n_channels: Mixer(n_channels) for n_channels in (1, 2)}
        self._end: float | None = None
        self._broken = False

    def decode(self, packet: av.Packet[av.AudioStream] | None) -> list[Sound]:
        """Decode a packet; None flushes the decoder at the end. Each `stamp` is by the stream's own timestamps."""
        try:
            frames = self._codec.decode(packet)
        except av.EOFError:
            return []
        except av.FFmpegError:
            self._report.corrupt("a part of the sound")
            return []
        return [sound for frame in frames if (sound := self._convert(frame)) is not None]

    def begin_anew(self) -> None:
        """Declare that timestamps restart: later ones cannot be compared with earlier ones, so sound may be missing."""
        self._broken = self._end is not None
        self._end = None

    def _convert(self, frame: av.AudioFrame) -> Sound | None:
        rate, n_samples = frame.sample_rate, frame.samples
        if not 0 < rate <= _HIGHEST_RATE or n_samples == 0:
            return None
        start = self._end or 0.0 if frame.pts is None else frame.pts * self._tick
        lost = self._broken or (self._end is not None and start - self._end > _TOLERANCE_SECONDS)
        samples = read_samples(frame)
        if not (samples.max() <= _LOUDEST and samples.min() >= -_LOUDEST):  # also true if one is NaN
            self._report.corrupt("a part of the sound")
            return None
        self._end, self._broken = start + n_samples / rate, False
        n_inputs = samples.shape[0]
        n_channels = min(n_inputs, 2)
        self._report.update(sample_rate=rate, n_channels=n_channels, n_device_channels=n_inputs)
        mixed: Samples = self._mixers[n_channels].mix(samples, frame)
        return Sound(start, np.ascontiguousarray(mixed), rate, lost)
