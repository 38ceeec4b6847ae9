"""Files as they should not be, and as they rarely are: written with PyAV and, where it will not lie, byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RED, GREEN = (255, 0, 0), (0, 255, 0)
BLOCK = 1024


def tone(seconds: float, hz: float = 500.0, sample_rate: int = 44_100) -> NDArray[np.float32]:
    """[n_samples] float32: a sine of −10 dBFS."""
    times = np.arange(round(seconds * sample_rate)) / sample_rate
    return (0.3 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def write_clip(
    path: Path,
    *,
    samples: NDArray[np.float32] | None = None,
    sample_rate: int = 44_100,
    layout: str = "mono",
    audio_codec: str = "aac",
    picture: tuple[int, int] | None = None,
    colour: tuple[int, int, int] = RED,
    frame_times: Sequence[Fraction] = (),
    video_codec: str = "mpeg4",
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip.

    Args:
        path: Its name decides the container.
        samples: [n_samples]: what every channel plays; None: no sound.
        sample_rate: Rate of the sound, in Hz.
        layout: FFmpeg's name of the channels.
        audio_codec: FFmpeg's name.
        picture: Width and height; None: no picture.
        colour: RGB of every frame.
        frame_times: When frames are shown, in seconds.
        video_codec: FFmpeg's name.
        options: The muxer's.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        audio = None if samples is None else container.add_stream(audio_codec, rate=sample_rate, layout=layout)
        video = None if picture is None else container.add_stream(video_codec, rate=1000)
        if video is not None and picture is not None:
            video.width, video.height = picture
            video.pix_fmt = "rgb24" if video_codec == "png" else "yuv420p"
            image = np.ascontiguousarray(np.broadcast_to(np.array(colour, np.uint8), (picture[1], picture[0], 3)))
            for time in frame_times:
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=video.pix_fmt)
                frame.pts, frame.time_base = int(time * 1000), Fraction(1, 1000)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None and samples is not None:
            n_channels = audio.codec_context.layout.nb_channels
            for start in range(0, len(samples), BLOCK):
                planes = np.tile(samples[start : start + BLOCK], (n_channels, 1))
                block = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
                block.sample_rate, block.pts, block.time_base = sample_rate, start, Fraction(1, sample_rate)
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


def every(seconds: Fraction, until: Fraction) -> list[Fraction]:
    """Times 0, `seconds`, 2·`seconds` … before `until`."""
    return [number * seconds for number in range(int(until / seconds) + 1) if number * seconds < until]


def float_wav(path: Path, samples: NDArray[np.float32], sample_rate: int = 44_100) -> Path:
    """A mono WAV of 32-bit floats, with whatever values are in them, NaN too."""
    data = samples.astype("<f4").tobytes()
    header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, sample_rate, sample_rate * 4, 4, 32)
    body = b"WAVE" + header + struct.pack("<4sI", b"data", len(data)) + data
    path.write_bytes(struct.pack("<4sI", b"RIFF", len(body)) + body)
    return path


def with_cover(mp3: Path, colour: tuple[int, int, int] = GREEN) -> Path:
    """Put an ID3v2.3 tag with a cover picture before an MP3."""
    codec = av.CodecContext.create("png", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = 64, 64, "rgb24", Fraction(1, 25)
    image = np.ascontiguousarray(np.broadcast_to(np.array(colour, np.uint8), (64, 64, 3)))
    packets = [*codec.encode(av.VideoFrame.from_ndarray(image, format="rgb24")), *codec.encode(None)]
    picture = b"\0image/png\0\x03\0" + b"".join(bytes(packet) for packet in packets)
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = bytes((len(frame) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    mp3.write_bytes(b"ID3\x03\0\0" + size + frame + mp3.read_bytes())
    return mp3


def rotated(mp4: Path, height: int) -> Path:
    """Turn an MP4's first track by 90° the way phones do: in the matrix of the track's header."""
    data = bytearray(mp4.read_bytes())
    track = data.index(b"tkhd")
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, height << 16, 0, 1 << 30)
    data[track + 44 : track + 44 + len(matrix)] = matrix
    mp4.write_bytes(data)
    return mp4


def cut(path: Path, keep: float) -> Path:
    """Keep only the first part of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    return path
