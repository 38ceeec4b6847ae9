"""Real media for tests, made by the `ffmpeg` command once a session, and what a stream asks of them."""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ascstream.records import AudioBlock, EndOfVideo, StreamEvent, VideoFrame
from ascstream.sources.base import AudioWants, FrameSchedule, Source, VideoWants, Wants

FIVE_A_SECOND = FrameSchedule(Fraction(1), tuple(Fraction(slot, 5) for slot in range(1, 6)), 0.5)


@dataclass
class Heard:
    """Everything a source gave, sorted by kind."""

    blocks: list[AudioBlock] = field(default_factory=list)
    frames: list[VideoFrame] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    events: list[StreamEvent] = field(default_factory=list)

    @property
    def samples(self) -> NDArray[np.float32]:
        """[n_channels, n_samples]."""
        return np.concatenate([block.samples for block in self.blocks], axis=1)

    @property
    def lost(self) -> list[tuple[float, float]]:
        """Start and end of each lost stretch, in seconds."""
        stretches: list[tuple[float, float]] = []
        for block in self.blocks:
            if block.lost and stretches and abs(stretches[-1][1] - block.start) < 1e-9:
                stretches[-1] = (stretches[-1][0], block.end)
            elif block.lost:
                stretches.append((block.start, block.end))
        return stretches

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]


def audio_wants(sample_rate: int = 24000, n_channels: int = 1, *, refuse_mono: bool = False) -> Wants:
    return Wants(AudioWants(sample_rate, n_channels, refuse_mono), None)


def video_wants(
    width: int = 32, height: int = 32, fit: str = "squash", schedule: FrameSchedule = FIVE_A_SECOND
) -> VideoWants:
    return VideoWants(width, height, fit, None, "bilinear", schedule)


def both_wants(sample_rate: int = 24000, n_channels: int = 1) -> Wants:
    return Wants(AudioWants(sample_rate, n_channels), video_wants())


def hear(source: Source, wants: Wants, into: Heard | None = None) -> Heard:
    """Read a source to its end, and check what every source promises."""
    heard = Heard() if into is None else into
    n_samples = 0
    with source:
        for item in source.items(wants):
            if isinstance(item, AudioBlock):
                assert wants.audio is not None
                assert item.start == n_samples / wants.audio.sample_rate
                assert item.samples.shape[0] == wants.audio.n_channels
                assert item.samples.dtype == np.float32
                assert np.isfinite(item.samples).all()
                assert not item.lost or not item.samples.any()
                n_samples += item.n_samples
                heard.blocks.append(item)
            elif isinstance(item, VideoFrame):
                assert wants.video is not None
                assert not heard.ends
                assert item.index == len(heard.frames)
                assert item.image.shape == (wants.video.height, wants.video.width, 3)
                assert not heard.frames or heard.frames[-1].until <= item.time < item.until
                assert not heard.blocks or item.time >= heard.blocks[-1].end - 1e-9 or item.index == 0
                heard.frames.append(item)
            elif isinstance(item, EndOfVideo):
                heard.ends.append(item.time)
            else:
                heard.events.append(item)
    return heard


def write_wav(path: Path, samples: NDArray[np.int16], sample_rate: int) -> Path:
    """Write [n_samples] or [n_samples, n_channels] as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())
    return path


class Clips:
    """Makes clips by the `ffmpeg` command; each name once a session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def make(self, name: str, *arguments: str | Path) -> Path:
        """Run `ffmpeg ARGUMENTS name`."""
        path = self.folder / name
        if not path.exists():
            self._run(*arguments, path)
        return path

    def _run(self, *arguments: str | Path) -> None:
        command = ["ffmpeg", "-v", "error", "-y", "-threads", "1", *map(str, arguments)]
        subprocess.run(command, check=True, cwd=self.folder, timeout=120)

    def tone(self, name: str, seconds: float = 2.0, *options: str, rate: int = 48000, hz: float = 440) -> Path:
        assert seconds > 0, "ffmpeg takes 0 s for ever"
        return self.make(name, "-f", "lavfi", "-i", f"sine={hz}:sample_rate={rate}:duration={seconds}", *options)

    def clip(self, name: str, seconds: float = 3.0, *options: str, size: str = "320x240") -> Path:
        """A moving picture at 30 frames a second, with B-frames, and a tone."""
        assert seconds > 0
        return self.make(
            name,
            *("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=30:duration={seconds}"),
            *("-f", "lavfi", "-i", f"sine=440:sample_rate=48000:duration={seconds}"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p", "-c:a", "aac"),
            *options,
        )

    def copy(self, name: str, source: Path, *options: str) -> Path:
        return self.make(name, "-i", source, "-c", "copy", *options)

    def cut(self, name: str, source: Path, share: float) -> Path:
        """The first part of a file's bytes."""
        path = self.folder / name
        data = source.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path


def quadrants(path: Path, clips: Clips, *options: str, size: Sequence[int] = (64, 48)) -> Path:
    """A still clip: red at the top left, green top right, blue bottom left, white bottom right; 1 s."""
    width, height = size
    colours = ("red", "lime", "blue", "white")
    places = [(0, 0), (width // 2, 0), (0, height // 2), (width // 2, height // 2)]
    boxes = ",".join(
        f"drawbox=x={x}:y={y}:w={width // 2}:h={height // 2}:color={colour}:t=fill"
        for (x, y), colour in zip(places, colours, strict=True)
    )
    source = f"color=black:size={width}x{height}:rate=10:duration=1,format=rgb24,{boxes}"
    return clips.make(path.name, "-f", "lavfi", "-i", source, *options)
