"""Decode a clip to the form kept in shards, with the runtime's own decoder: 16-bit samples and JPEG pictures."""

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
"""Assumed duration of a still picture: one second without movement."""
_AT_ONCE = 100
"""Number of blocks, of a tenth of a second each, that are converted to integers together."""

Integers = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class DecodedClip:
    """The stored form of a clip."""

    samples: Integers
    """[n_samples, n_channels] little-endian, −1…1 scaled to −32768…32767; zero samples if no sound is kept."""
    n_clipped: int
    """Number of samples that were beyond ±1 and were clipped."""
    frame_times: tuple[float, ...]
    """Seconds since the start of the clip, ascending."""
    pictures: tuple[bytes, ...]
    """One JPEG per frame."""
    seconds: float
    """Length of the sound or, without sound, of the picture."""


def decode_clip(clip: Clip, settings: Settings) -> DecodedClip:
    """Decode a clip whose sound and picture are in one file or in two.

    Missing sound (a late start, a gap in the timestamps) becomes zeros, as in a stream, but is cut off at the end.

    Raises:
        DataError: Part of the clip cannot be decoded, or it lacks sound or picture although it is required.
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
    """Samples [n_channels, n] as 16-bit integers [n, n_channels], and how many were beyond ±1.

    Rounded without dither: the error is at most half a step and lies 98 dB below a full-scale sine.
    """
    scaled = samples.T * _FULL_SCALE
    np.rint(scaled, out=scaled)
    n_clipped = 0
    if scaled.size and (scaled.max() > 32767 or scaled.min() < -32768):
        n_clipped = int(np.count_nonzero((samples > 1) | (samples < -1)))
        np.clip(scaled, -32768, 32767, out=scaled)
    return scaled.astype("<i2"), n_clipped


class _Sound:
    """Collects blocks as integers, which halves the memory of a long recording."""

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
        """[n_samples, n_channels] up to the last sample that was received."""
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
    """Collects frames as JPEG."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.pictures: list[bytes] = []

    def add(self, frame: VideoFrame) -> None:
        self.times.append(frame.time)
        self.pictures.append(encode_picture(frame.image))


def whole_items(path: Path, wants: Wants) -> Iterator[StreamItem]:
    """Yield what a file contains, provided all of it can be decoded.

    Raises:
        DataError: Part of it cannot be decoded.
    """
    try:
        with open_media(path) as source:
            for item in source.items(wants):
                if isinstance(item, StreamEvent) and item.kind == "corrupt":
                    raise DataError(f"{path}: expected a whole recording, got: {item.message}")
                yield item
    except SourceError as error:
        raise DataError(f"{path}: expected a recording, got: {error}") from None
