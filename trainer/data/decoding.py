"""A clip of a corpus to what shards keep of it, through the runtime's own decoder: 16-bit samples and JPEG pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ascstream import SourceError, open_media
from ascstream.records import AudioBlock, EndOfVideo, StreamEvent, StreamItem, VideoFrame
from ascstream.sources.base import Wants
from trainer.data.clips import Clip
from trainer.data.pictures import encode_picture
from trainer.data.recordings import STILLS
from trainer.data.settings import Settings
from trainer.data.store import Samples
from trainer.errors import DataError

_FULL_SCALE = np.float32(32768)
STILL_SECONDS = 1.0
"""What a picture of its own is taken for: a second in which nothing moves."""
_AT_ONCE = 100
"""Blocks, of a tenth of a second, that become integers together."""

Integers = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class DecodedClip:
    """What is kept of a clip."""

    samples: Integers
    """[n_samples, n_channels] little-endian, −32768…32767 for −1…1; no samples where no sound is kept."""
    n_clipped: int
    """Samples that were beyond ±1."""
    frame_times: tuple[float, ...]
    """Seconds since the clip began, ascending."""
    pictures: tuple[bytes, ...]
    """JPEG, one a frame."""
    seconds: float
    """Length: of its sound, or, without, of its picture."""


def decode_clip(clip: Clip, settings: Settings) -> DecodedClip:
    """Decode a clip whose sound and picture lie in one file or in two.

    Sound that never came (a late start, a hole in the stamps) is zeros, as in a stream; what follows its end is not.

    Raises:
        DataError: A part of it cannot be decoded, or it has no sound or picture although one is wanted.
    """
    audio = None if settings.sound is None else settings.sound.wants
    video = None if settings.picture is None else settings.picture.wants
    pictured = clip.video or clip.audio
    sound, frames, end = _Sound(), _Frames(), 0.0
    if pictured == clip.audio:
        readings = [(clip.audio, Wants(audio, video))]
    else:
        readings = [(clip.audio, Wants(audio, None))] if audio else []
        readings += [(pictured, Wants(None, video))] if video else []
    for path, wants in readings:
        for item in whole_items(path, wants):
            if isinstance(item, AudioBlock):
                sound.add(item)
            elif isinstance(item, VideoFrame):
                frames.add(item)
            elif isinstance(item, EndOfVideo):
                end = item.time
    samples = sound.join()
    if settings.sound is not None:
        if not samples.size:
            raise DataError(f"{clip.audio}: expected sound, got none")
        end = len(samples) / settings.sound.sample_rate
    if pictured.suffix.lower() in STILLS:
        end = max(end, STILL_SECONDS)
    if settings.picture is not None and not frames.times:
        raise DataError(f"{pictured}: expected a picture, got none")
    return DecodedClip(samples, sound.n_clipped, tuple(frames.times), tuple(frames.pictures), end)


def to_integers(samples: Samples) -> tuple[Integers, int]:
    """Samples [n_channels, n] as [n, n_channels] of 16 bits, and how many were beyond ±1.

    Rounded, without dither: the error is half a step at most, and lies 98 dB below a full-scale sine.
    """
    scaled = samples.T * _FULL_SCALE
    np.rint(scaled, out=scaled)
    n_clipped = 0
    if scaled.size and (scaled.max() > 32767 or scaled.min() < -32768):
        n_clipped = int(np.count_nonzero((samples > 1) | (samples < -1)))
        np.clip(scaled, -32768, 32767, out=scaled)
    return scaled.astype("<i2"), n_clipped


class _Sound:
    """Gathers blocks as integers, so that an hour takes half the memory."""

    def __init__(self) -> None:
        self._pending: list[Samples] = []
        self._parts: list[Integers] = []
        self._n_samples = 0
        self._end = 0
        self.n_clipped = 0

    def add(self, block: AudioBlock) -> None:
        self._pending.append(block.samples)
        self._n_samples += block.n_samples
        if not block.lost:
            self._end = self._n_samples
        if len(self._pending) == _AT_ONCE:
            self._convert()

    def join(self) -> Integers:
        """[n_samples, n_channels] up to the last sample that came."""
        self._convert()
        if not self._parts:
            return np.zeros((0, 1), "<i2")
        joined = self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        return joined[: self._end]

    def _convert(self) -> None:
        if self._pending:
            integers, n_clipped = to_integers(np.concatenate(self._pending, axis=1))
            self._parts.append(integers)
            self._pending.clear()
            self.n_clipped += n_clipped


class _Frames:
    """Gathers frames as JPEG."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.pictures: list[bytes] = []

    def add(self, frame: VideoFrame) -> None:
        self.times.append(frame.time)
        self.pictures.append(encode_picture(frame.image))


def whole_items(path: Path, wants: Wants) -> Iterator[StreamItem]:
    """What a file gives, as long as all of it can be decoded.

    Raises:
        DataError: A part of it cannot.
    """
    try:
        with open_media(path) as source:
            for item in source.items(wants):
                if isinstance(item, StreamEvent) and item.kind == "corrupt":
                    raise DataError(f"{path}: expected a whole recording, got: {item.message}")
                yield item
    except SourceError as error:
        raise DataError(f"{path}: expected a recording, got: {error}") from None
