"""What a source is: something that gives time-stamped samples and frames. Each kind has a file of its own."""

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
    """What the bundle needs to hear."""

    sample_rate: int
    """Rate to deliver, in Hz."""
    n_channels: int
    """1: the mean of left and right · 2: left and right."""
    refuse_mono: bool = False
    """Whether a mono source on two channels is an error rather than copied and announced."""


@dataclass(frozen=True, slots=True)
class FrameSchedule:
    """The moments at which windows look at the picture: `k·step + offset`, k = 0, 1, 2, and so on."""

    step_seconds: Fraction
    """Time between two windows."""
    offsets_seconds: tuple[Fraction, ...]
    """The manifest's `frame_times_seconds`, ascending."""
    max_age_seconds: float
    """A frame older than this is not taken."""

    def wants(self, time: float, until: float) -> bool:
        """Whether some window takes a frame that is the newest one during [time, until)."""
        return self.reaches(self.next_slot(time), time, until)

    def reaches(self, slot: float, time: float, until: float) -> bool:
        """Whether the frame that is the newest one during [time, until) is still there, and young enough, at `slot`."""
        return slot < min(until, time + self.max_age_seconds + 1e-9)

    def next_slot(self, time: float) -> float:
        """The first moment at or after `time` at which some window looks."""
        slots = []
        for offset in self.offsets_seconds:
            # offset + k·step is (first + k·stride) / scale: whole numbers, a tenth of the time that fractions take
            scale = offset.denominator * self.step_seconds.denominator
            first = offset.numerator * self.step_seconds.denominator
            stride = self.step_seconds.numerator * offset.denominator
            # one too early rather than too late: the division is rounded, the slots are not
            k = max(0, int((time * scale - first) // stride) - 1)
            while (first + k * stride) / scale < time:
                k += 1
            slots.append((first + k * stride) / scale)
        return min(slots, default=math.inf)


@dataclass(frozen=True, slots=True)
class VideoWants:
    """What the bundle needs to see."""

    width: int
    """Width of the image to deliver, in pixels."""
    height: int
    """Height of the image to deliver, in pixels."""
    fit: Fit
    """crop: short side scaled to `short_side`, centre cut out · squash: both sides scaled."""
    short_side: int | None
    """With crop: length of the short side before the cut; None: max(width, height)."""
    interpolation: Interpolation
    """How FFmpeg scales."""
    schedule: FrameSchedule
    """Which frames are needed: the others are never scaled."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What a stream asks of its source."""

    audio: AudioWants | None
    """None: the sound is not decoded."""
    video: VideoWants | None
    """None: the picture is not decoded."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source knows about itself when it is open."""

    name: str
    """Path, URL or device, credentials removed."""
    has_audio: bool
    """Whether there is a sound track that can be decoded."""
    has_video: bool
    """Whether there is a picture track that can be decoded; a cover picture is none."""
    duration_seconds: float | None
    """Length, if the container says."""
    offset_seconds: float = 0.0
    """Where in the medium the stream begins (`--start`): added to every time that is reported."""
    live: bool = False
    """Whether time passes by itself: windows may be dropped, a late frame is not waited for long."""


class Source(Protocol):
    """Gives one stream. Entered by `with`; `items` may be called once."""

    @property
    def info(self) -> SourceInfo:
        """What is known of the source."""
        ...

    def items(self, wants: Wants) -> Iterator[StreamItem]:
        """Yield blocks and frames in step: neither modality runs far ahead of the other.

        Blocks follow each other without a hole, from time 0; what never came is a lost block. Frames come in the order
        of their times; a file's wanted frame comes before the block that reaches its time, and where the stream begins
        in the middle of a frame, that frame has a time below 0. `EndOfVideo` once, when the picture ends before or with
        the sound (also where there is none although it was wanted).

        Raises:
            SourceError: Nothing (more) can be read; what was yielded before stays valid.
        """
        ...

    def close(self) -> None:
        """Give everything back; may be called twice."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(self, *exc: object) -> None: ...
