"""What a source is: something that delivers time-stamped samples and frames. Each kind has a file of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

from ascstream.records import StreamItem

Fit = Literal["crop", "squash"]
Interpolation = Literal["bilinear", "bicubic", "area", "lanczos"]


@dataclass(frozen=True, slots=True)
class AudioWants:
    """The sound that the bundle needs."""

    sample_rate: int
    """Sample rate to deliver, in Hz."""
    n_channels: int
    """1: the mean of left and right · 2: left and right."""
    refuse_mono: bool = False
    """Whether a mono source is an error if two channels are wanted, rather than duplicated with an event."""


@dataclass(frozen=True, slots=True)
class FrameSchedule:
    """The slots, i.e. times at which windows take a frame: `k·step + offset`, for k = 0, 1, 2, and so on."""

    step_seconds: Fraction
    """Time from one window to the next."""
    offsets_seconds: tuple[Fraction, ...]
    """The manifest's `frame_times_seconds`, ascending."""
    max_age_seconds: float
    """A frame that is older than this at a slot does not fill it."""

    def wants(self, time: float, until: float) -> bool:
        """Whether some window takes the frame that is the newest one during [time, until)."""
        return self.reaches(self.next_slot(time), time, until)

    def reaches(self, slot: float, time: float, until: float) -> bool:
        """Whether the frame that is the newest one during [time, until) is still so, and recent enough, at `slot`."""
        return slot < min(until, time + self.max_age_seconds + 1e-9)

    def next_slot(self, time: float) -> float:
        """The first slot at or after `time`."""
        slots = []
        for offset in self.offsets_seconds:
            # offset + k·step is (first + k·stride) / scale: integers take a tenth of the time of fractions
            scale = offset.denominator * self.step_seconds.denominator
            first = offset.numerator * self.step_seconds.denominator
            stride = self.step_seconds.numerator * offset.denominator
            # start one slot early, since the division is rounded while the slots are exact
            k = max(0, int((time * scale - first) // stride) - 1)
            while (first + k * stride) / scale < time:
                k += 1
            slots.append((first + k * stride) / scale)
        return min(slots, default=math.inf)


@dataclass(frozen=True, slots=True)
class VideoWants:
    """The picture that the bundle needs."""

    width: int
    """Width of the image to deliver, in pixels."""
    height: int
    """Height of the image to deliver, in pixels."""
    fit: Fit
    """crop: scale the short side to `short_side`, then crop the centre · squash: scale both sides, ignoring aspect."""
    short_side: int | None
    """With crop: length of the short side before cropping; None: max(width, height)."""
    interpolation: Interpolation
    """FFmpeg's scaling method."""
    schedule: FrameSchedule
    """Which frames are needed: others are never scaled."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What a stream needs from its source."""

    audio: AudioWants | None
    """The wanted sound; None: it is not decoded."""
    video: VideoWants | None
    """The wanted picture; None: it is not decoded."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known about a source once it is open."""

    name: str
    """Path, URL or device, credentials removed."""
    has_audio: bool
    """Whether there is a decodable sound track."""
    has_video: bool
    """Whether there is a decodable picture track; cover art does not count."""
    duration_seconds: float | None
    """Length, if the container gives it."""
    offset_seconds: float = 0.0
    """Where in the medium the stream begins (`--start`): added to every reported time."""
    live: bool = False
    """Whether the source delivers in real time: windows may be dropped, and a late frame is not awaited for long."""


class Source(Protocol):
    """Delivers one stream. A context manager; `items` may be called once."""

    @property
    def info(self) -> SourceInfo:
        """What is known about the source."""
        ...

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        """Yield blocks and frames in step: neither modality runs far ahead of the other.

        Blocks follow each other without gaps, from time 0; samples that never came are a lost block. Frames come in
        time order. A file's wanted frame comes before the block that reaches its time; if the stream begins partway
        through a frame, that frame has a negative time. `EndOfVideo` comes once, when the picture ends before or with
        the sound, or at once if a wanted picture is missing.

        Raises:
            SourceError: Nothing (more) can be read; what was yielded before stays valid.
        """
        ...

    def close(self) -> None:
        """Release everything; may be called twice."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(self, *exc: object) -> None: ...
