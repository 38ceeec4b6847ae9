"""How clips are decoded when a corpus is prepared: sample rate, channels, picture size. Part of the index."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ascstream.sources.base import AudioWants, FrameSchedule, VideoWants
from engines.inputs import VideoInput
from engines.schema import encode, rule
from trainer.errors import ConfigError, DataError
from trainer.inputs import Inputs

FRAME_RATE = 5.0
"""Default number of frames kept per second."""


@dataclass(frozen=True, slots=True)
class SoundSettings:
    """How sound is stored: as 16-bit samples."""

    sample_rate: int = rule("an integer in Hz", minimum=1000, maximum=384000)
    """Sample rate in Hz."""
    n_channels: int = rule("1 or 2", minimum=1, maximum=2)
    """1: the mean of left and right · 2: left and right."""
    refuse_mono: bool = rule("true or false", default=False)
    """Whether mono clips were left out instead of copied to both channels."""

    @property
    def wants(self) -> AudioWants:
        """The request to the decoder."""
        return AudioWants(self.sample_rate, self.n_channels, refuse_mono=self.refuse_mono)


@dataclass(frozen=True, slots=True)
class PictureSettings:
    """How pictures are stored: as JPEG."""

    width: int = rule("an integer number of pixels", minimum=8, maximum=4096)
    """In pixels."""
    height: int = rule("an integer number of pixels", minimum=8, maximum=4096)
    """In pixels."""
    fit: Literal["crop", "squash"] = rule('"crop" or "squash"')
    """As in the manifest."""
    interpolation: Literal["bilinear", "bicubic", "area", "lanczos"] = rule("an interpolation")
    """As in the manifest."""
    short_side: int | None = rule("an integer number of pixels, or null", default=None)
    """As in the manifest."""
    frame_rate: float = rule("a positive number", above=0, maximum=240, default=FRAME_RATE)
    """Frames kept per second: the newest at 0, 1/rate, 2/rate … seconds."""

    @property
    def wants(self) -> VideoWants:
        """The request to the decoder: at each time of the grid the newest frame, however old."""
        step = 1 / Fraction(str(self.frame_rate))
        schedule = FrameSchedule(step, (Fraction(0),), float("inf"))
        return VideoWants(self.width, self.height, self.fit, self.short_side, self.interpolation, schedule)


@dataclass(frozen=True, slots=True)
class Settings:
    """What is kept of a clip; at least one of the two is set."""

    sound: SoundSettings | None = rule("an object, or null", default=None)
    """None: no sound."""
    picture: PictureSettings | None = rule("an object, or null", default=None)
    """None: no picture."""

    def differences(self, other: Settings) -> list[str]:
        """The settings that differ, as text: "sound.sample_rate: 44100 and 48000"."""
        ours, theirs = encode(self), encode(other)
        lines = []
        for part in ("sound", "picture"):
            mine, its = ours.get(part), theirs.get(part)
            if mine is None or its is None:
                if mine is not its:
                    lines.append(
                        f"{part}: {'none' if mine is None else 'some'} and {'none' if its is None else 'some'}"
                    )
                continue
            keys = sorted(mine.keys() | its.keys())
            lines += [
                f"{part}.{key}: {mine.get(key)} and {its.get(key)}" for key in keys if mine.get(key) != its.get(key)
            ]
        return lines


def settings_for(inputs: Inputs, frame_rate: float = FRAME_RATE) -> Settings:
    """The settings that a network's inputs require.

    Args:
        inputs: The network's inputs.
        frame_rate: Frames to keep per second.

    Raises:
        ConfigError: The frame rate is invalid, or too low for the inputs.
    """
    video = inputs.video
    if video is not None:
        if not 0 < frame_rate <= 240:
            raise ConfigError(f"--frame-rate: expected a number above 0 and at most 240, got {frame_rate:g}")
        if not _often_enough(frame_rate, video):
            raise ConfigError(
                f"--frame-rate: expected at least {1 / video.max_age_seconds:g} frames a second, as "
                f"video.max_age_seconds = {video.max_age_seconds:g} wants, got {frame_rate:g}"
            )
    return _settings(inputs, frame_rate)


def _settings(inputs: Inputs, frame_rate: float) -> Settings:
    """Sound and picture settings that the inputs require."""
    sound = picture = None
    if inputs.sound is not None:
        entries = [entry for entry in (inputs.audio, inputs.waveform) if entry is not None]
        refuse = any(entry.mono_source == "refuse" for entry in entries)
        sound = SoundSettings(inputs.sample_rate, inputs.n_source_channels, refuse)
    video = inputs.video
    if video is not None:
        size = (video.width, video.height)
        picture = PictureSettings(*size, video.fit, video.interpolation, video.short_side, frame_rate)
    return Settings(sound, picture)


def check_settings(where: str, settings: Settings, inputs: Inputs) -> None:
    """Check that clips decoded with these settings can provide these inputs; stereo sound can also provide mono.

    Raises:
        DataError: They cannot; the message names what is needed and what there is.
    """
    wanted = _settings(inputs, FRAME_RATE)
    faults = []
    if wanted.sound is not None:
        faults += _sound_faults(settings.sound, wanted.sound)
    if wanted.picture is not None and inputs.video is not None:
        faults += _picture_faults(settings.picture, wanted.picture, inputs.video)
    if faults:
        raise DataError(
            f"{where}: expected {faults[0]}; decode the corpus for this configuration, into a new folder: "
            "trainer prepare CORPUS OUT --config CONFIG"
        )


def _sound_faults(kept: SoundSettings | None, wanted: SoundSettings) -> list[str]:
    if kept is None:
        return ["sound, got a corpus that was prepared without"]
    if kept.sample_rate != wanted.sample_rate:
        return [f"sound at {wanted.sample_rate} Hz, got one prepared at {kept.sample_rate} Hz"]
    if kept.n_channels < wanted.n_channels:
        return ["sound on left and right, got one prepared in mono"]
    return []


def _picture_faults(kept: PictureSettings | None, wanted: PictureSettings, video: VideoInput) -> list[str]:
    if kept is None:
        return ["pictures, got a corpus that was prepared without"]
    if (kept.width, kept.height) != (wanted.width, wanted.height):
        return [f"pictures of {wanted.width}×{wanted.height}, got them prepared at {kept.width}×{kept.height}"]
    for name in ("fit", "interpolation", "short_side"):
        if getattr(kept, name) != getattr(wanted, name):
            return [f"pictures of {name} {getattr(wanted, name)}, got them prepared with {getattr(kept, name)}"]
    if not _often_enough(kept.frame_rate, video):
        return [
            f"a picture every {video.max_age_seconds:g} s (video.max_age_seconds), got one prepared every "
            f"{1 / kept.frame_rate:g} s"
        ]
    return []


def _often_enough(frame_rate: float, video: VideoInput) -> bool:
    """Whether a grid at this rate always has a frame that is recent enough."""
    return 1 / frame_rate <= video.max_age_seconds + 1e-9
