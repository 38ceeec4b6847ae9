"""Generates the clip `ascstream bench` uses by default: changing noise as picture and sound.

python -m ascstream.cli.bench_clip PATH SECONDS
"""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.stream import VideoStream

_SAMPLE_RATE = 48_000
_FRAME_RATE = 25
_WIDTH, _HEIGHT = 640, 360
_BLOCK = 1024
_SEED = 7


def write_clip(path: str, seconds: int) -> None:
    """Write a clip whose sound and picture change every second.

    Args:
        path: File to write; its suffix determines the container.
        seconds: Duration.
    """
    random = np.random.default_rng(_SEED)
    pictures = [_picture(random, number) for number in range(_FRAME_RATE)]
    codec = "libx264" if "libx264" in av.codec.codecs_available else "mpeg4"
    with av.open(path, "w") as container:
        video = cast("VideoStream", container.add_stream(codec, rate=_FRAME_RATE))
        video.width, video.height, video.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        video.options = {"preset": "ultrafast"}
        audio = container.add_stream("aac", rate=_SAMPLE_RATE, layout="stereo")
        position = 0
        for number in range(seconds * _FRAME_RATE):
            image = pictures[(number + number // _FRAME_RATE) % len(pictures)]
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="gray")))
            while position * _FRAME_RATE < (number + 1) * _SAMPLE_RATE:
                block = av.AudioFrame.from_ndarray(_noise(random, position), format="fltp", layout="stereo")
                block.sample_rate, block.pts, block.time_base = _SAMPLE_RATE, position, Fraction(1, _SAMPLE_RATE)
                container.mux(audio.encode(block))
                position += _BLOCK
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _picture(random: np.random.Generator, number: int) -> NDArray[np.uint8]:
    """[height, width]: a gradient that moves with `number`, plus sensor noise."""
    ramp = (np.arange(_WIDTH) * 255 // _WIDTH + 8 * number) % 256
    noisy = ramp + random.integers(-8, 9, (_HEIGHT, _WIDTH))
    return noisy.clip(0, 255).astype(np.uint8)


def _noise(random: np.random.Generator, position: int) -> NDArray[np.float32]:
    """[2, n_samples]: noise, louder every other second."""
    level = 0.05 if position // _SAMPLE_RATE % 2 else 0.2
    samples = random.standard_normal((2, _BLOCK)) * level
    return samples.clip(-1, 1).astype(np.float32)


def main() -> None:
    """Write the clip with the path and duration given on the command line."""
    write_clip(sys.argv[1], int(sys.argv[2]))
