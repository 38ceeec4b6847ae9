"""Small labelled clips with sound and picture, and what is to be kept of them: for tests of prepared corpora."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from ascstream import open_media
from ascstream.records import AudioBlock
from ascstream.sources.base import AudioWants, Wants
from trainer.data.clips import Clip, Corpus
from trainer.data.settings import PictureSettings, Settings, SoundSettings

RATE = 16_000
STEREO = SoundSettings(RATE, 2)
SMALL = PictureSettings(32, 24, "squash", "bilinear")
BOTH = Settings(STEREO, SMALL)
CONFIG = f"""
name = "small"
[data]
prepared = "out"
[audio]
sample_rate = {RATE}
channels = "left,right"
[audio.feature]
kind = "logmel"
n_fft = 512
window_length = 512
hop_length = 256
n_mels = 32
f_min = 50
f_max = 8000
[video]
width = 32
height = 24
fit = "squash"
frame_times_seconds = [0.1, 0.3, 0.5, 0.7, 0.9]
max_age_seconds = 0.5
[window]
seconds = 1.0
default_step_seconds = 1.0
[model]
name = "slim_av"
"""
"""Asks for `BOTH`."""


def noise(seconds: float, rate: int = RATE, n_channels: int = 2, seed: int = 0) -> NDArray[np.int16]:
    """[n_samples, n_channels] of white noise at −12 dBFS or so."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(0, 8000, (round(seconds * rate), n_channels)), -32768, 32767).astype(np.int16)


def shade(number: int) -> int:
    """How bright the frame of this number is, 0…255: neighbours differ by far more than a codec's error."""
    return 20 + 37 * number % 200


def write_media(
    path: Path,
    *,
    samples: NDArray[np.int16] | None = None,
    rate: int = RATE,
    n_frames: int = 0,
    frame_rate: int = 25,
) -> Path:
    """Write lossless sound, or MPEG-4 frames of growing number and known shade, or both.

    Args:
        path: Its name decides the container: .wav, .mp4, .mkv.
        samples: [n_samples, n_channels]; None: no sound.
        rate: Of the sound, in Hz.
        n_frames: Of 96×72; 0: no picture.
        frame_rate: Of the picture.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        audio = video = None
        if samples is not None:
            layout = "mono" if samples.shape[1] == 1 else "stereo"
            audio = container.add_stream("pcm_s16le", rate=rate, layout=layout)
        if n_frames:
            video = container.add_stream("mpeg4", rate=frame_rate, options={"qscale": "2", "g": "5"})
            video.width, video.height, video.pix_fmt = 96, 72, "yuv420p"
            for number in range(n_frames):
                image = np.full((72, 96, 3), shade(number), np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, frame_rate)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        if audio is not None and samples is not None:
            block = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
            block.sample_rate, block.pts, block.time_base = rate, 0, Fraction(1, rate)
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


def clip_of(audio: Path, video: Path | None = None, label: str = "park", place: str = "1", split: str = "") -> Clip:
    """A clip of those files."""
    return Clip(audio, video, label, "", place, "1", split)


def small_corpus(
    root: Path, n_clips: int = 8, seconds: float = 1.2, n_frames: int = 30, samples: Sequence[int] = ()
) -> Corpus:
    """Clips of two scenes with sound and picture in files of their own; half of them to evaluate.

    Args:
        root: Its folder.
        n_clips: A multiple of four.
        seconds: Length of their sound.
        n_frames: Length of their picture; 0: none.
        samples: Instead of `seconds`, how many samples the first clips have.
    """
    clips = []
    for number in range(n_clips):
        sound = noise(seconds, seed=number)
        if number < len(samples):
            sound = np.resize(sound, (samples[number], 2))
        audio = write_media(root / f"audio/clip-{number}.wav", samples=sound)
        video = write_media(root / f"video/clip-{number}.mp4", n_frames=n_frames) if n_frames else None
        label, split = ("park", "tram")[number % 2], ("train", "evaluate")[number // 2 % 2]
        clips.append(clip_of(audio, video, label, str(number), split))
    return Corpus("small", root, ("park", "tram"), tuple(clips), "CC0-1.0")


def heard(path: Path, rate: int = RATE, n_channels: int = 2) -> NDArray[np.float32]:
    """[n_channels, n_samples] as the runtime decodes a file."""
    with open_media(path) as source:
        items = list(source.items(Wants(AudioWants(rate, n_channels), None)))
    return np.concatenate([item.samples for item in items if isinstance(item, AudioBlock)], axis=1)
