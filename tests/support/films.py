"""Pictures that show when they were made, and films that clap: what cameras.py shows, and what is read from it."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from ascstream.capture.messages import Sound
from ascstream.records import Image

Draw = Callable[[float, int, int], Image]
"""Makes the picture of a moment (`time.monotonic`) at a width and height: [height, width, 3] RGB."""

_CELLS = 5
"""The moment stands in 5 × 5 black or white cells in the centred square: 24 bits of milliseconds, and their parity."""
_TURN_SECONDS = 2**24 / 1000


@functools.lru_cache(maxsize=4)
def _noise(width: int, height: int) -> Image:
    """A picture that is as much work as a real one."""
    random = np.random.default_rng(7)
    coarse = random.integers(40, 200, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    fine = random.integers(0, 16, (height, width, 3), dtype=np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1)[:height, :width] + fine


def show_moment(moment: float, width: int, height: int) -> Image:
    """A picture from which `read_moment` reads when it was made."""
    image = _noise(width, height).copy()
    number = round(moment * 1000) % 2**24
    bits = [number >> place & 1 for place in range(24)]
    cell = min(width, height) // _CELLS
    left, top = (width - _CELLS * cell) // 2, (height - _CELLS * cell) // 2
    for place, bit in enumerate([*bits, sum(bits) % 2]):
        row, column = divmod(place, _CELLS)
        y, x = top + row * cell, left + column * cell
        image[y : y + cell, x : x + cell] = 255 * bit
    return image


def read_moment(image: Image, near: float) -> float | None:
    """When a picture of `show_moment` was made, within 1 ms; None where it is none.

    Args:
        image: Scaled and cut in any way that keeps its shape and its centred square.
        near: A moment less than two hours from it.
    """
    height, width = image.shape[:2]
    cell = min(width, height) / _CELLS
    left, top = (width - _CELLS * cell) / 2, (height - _CELLS * cell) / 2
    grey, bits = image.mean(axis=2), []
    for place in range(_CELLS**2):
        row, column = divmod(place, _CELLS)
        y, x = top + (row + 0.25) * cell, left + (column + 0.25) * cell
        bits.append(int(grey[round(y) : round(y + cell / 2), round(x) : round(x + cell / 2)].mean() > 127))
    if sum(bits[:24]) % 2 != bits[24]:
        return None
    moment = sum(bit << place for place, bit in enumerate(bits[:24])) / 1000
    return moment + round((near - moment) / _TURN_SECONDS) * _TURN_SECONDS


def plain(red: int, green: int, blue: int) -> Draw:
    """Always the same colour."""
    return lambda _, width, height: np.full((height, width, 3), (red, green, blue), np.uint8)


def encode_jpeg(image: Image) -> bytes:
    """A picture with even sides as JPEG."""
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = image.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
    encoder.options = {"qmin": "4", "qmax": "4"}
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuvj420p")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def need_ffmpeg() -> None:
    """Skip where there is no `ffmpeg`."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is missing; install it: sudo apt-get install ffmpeg")


def clap_film(
    path: Path, *, seconds: int = 20, width: int = 320, height: int = 240, frame_rate: int = 25, sound: str = "aac"
) -> Path:
    """A film that claps at every whole second: for 0.2 s it is white, and 1 kHz is heard; black and silent otherwise.

    Args:
        path: Where to; its suffix says which container.
        seconds: Length.
        width: Pixels.
        height: Pixels.
        frame_rate: Pictures a second.
        sound: FFmpeg's name of the sound's codec.
    """
    need_ffmpeg()
    picture = f"color=black:s={width}x{height}:r={frame_rate}:d={seconds}"
    picture += ",drawbox=color=white:t=fill:enable='lt(mod(t,1),0.199)'"
    tone = f"aevalsrc='0.5*sin(2*PI*1000*t)*lt(mod(t,1),0.2)':s=48000:c=stereo:d={seconds}"
    command = [
        "ffmpeg",
        "-nostdin",
        "-loglevel",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        picture,
        "-f",
        "lavfi",
        "-i",
        tone,
    ]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(frame_rate)]
    command += ["-pix_fmt", "yuv420p", "-c:a", sound, "-shortest", str(path)]
    subprocess.run(command, check=True, timeout=120)
    return path


def claps_heard(sounds: Sequence[Sound]) -> list[float]:
    """Moments at which the tone of a `clap_film` begins."""
    moments, loud_until = [], -1e9
    for sound in sounds:
        for place in np.flatnonzero(np.abs(sound.samples[0]) > 0.1):
            moment = sound.stamp + float(place) / sound.sample_rate
            if moment > loud_until + 0.2:
                moments.append(moment)
            loud_until = moment
    return moments[1:] if moments and sounds and moments[0] < sounds[0].stamp + 0.25 else moments


def claps_seen(pictures: Sequence[tuple[float, Image]]) -> list[float]:
    """Stamps of the first white pictures of a `clap_film`'s flashes (25 a second); needs the one before as well."""
    moments = []
    for (last, before), (stamp, image) in pairwise(pictures):
        if before.mean() < 100 < image.mean() and stamp - last < 0.06:
            moments.append(stamp)
    return moments
