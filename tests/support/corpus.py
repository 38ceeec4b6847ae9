"""A corpus for tests of the trainer: three scenes that differ in timbre, as WAV files with a list beside them."""

from __future__ import annotations

import csv
import wave
from pathlib import Path

import numpy as np

RATE = 24_000
SCENES = ("hiss", "hum", "whistle")


def scene_samples(scene: str, seconds: float, seed: int) -> np.ndarray:
    """[n_samples] float64: noise above 4 kHz, a chord below 400 Hz, or a wavering tone near 2 kHz."""
    rng = np.random.default_rng([seed, SCENES.index(scene)])
    time = np.arange(round(seconds * RATE)) / RATE
    noise = rng.standard_normal(time.size)
    if scene == "hiss":
        samples = np.diff(noise, n=3, prepend=np.zeros(3)) / 4
    elif scene == "hum":
        base = rng.uniform(80, 130)
        samples = sum(np.sin(2 * np.pi * base * k * time) / k for k in (1, 2, 3)) + 0.05 * noise
    else:
        samples = np.sin(2 * np.pi * 2000 * time + 20 * np.sin(2 * np.pi * rng.uniform(1, 3) * time)) + 0.05 * noise
    return 0.1 * samples / np.abs(samples).max() * 10 ** rng.uniform(-0.3, 0.5)


def write_wav(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    """Mono, 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def write_corpus(root: Path, n_recordings: int = 4, seconds: float = 3.0) -> Path:
    """Recordings from two sources, one of no scene, and `labels.csv`; gives its path."""
    rows = []
    for scene in SCENES:
        for index in range(n_recordings):
            file = f"{'north' if index % 2 else 'south'}/{scene}-{index}.wav"
            write_wav(root / file, scene_samples(scene, seconds, index))
            rows.append((file, scene, "sure", "CC0"))
    write_wav(root / "south/white.wav", 0.05 * np.random.default_rng(0).standard_normal(round(seconds * RATE)))
    rows.append(("south/white.wav", "none", "sure", "CC0"))
    write_list(root / "labels.csv", rows)
    return root / "labels.csv"


def write_list(path: Path, rows: list[tuple[str, ...]], head: tuple[str, ...] = ()) -> None:
    """A CSV of recordings."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head or ("file", "scene_label", "confidence", "licence"))
        writer.writerows(rows)


CONFIG = """
name = "toy"
[data]
labels = "labels.csv"
[data.groups]
steady = ["hiss", "hum"]
lively = ["whistle", "tram"]
[data.sources.north]
title = "North"
url = "https://example.org/north"
licence = "CC0"
credit = "Recorded by nobody"
[audio]
sample_rate = 24000
channels = "mono"
[audio.feature]
kind = "logmel"
n_fft = 1024
window_length = 1024
hop_length = 480
n_mels = 64
f_min = 50
f_max = 11000
[window]
seconds = 1.0
default_step_seconds = 0.5
[train]
epochs = 2
windows_per_epoch = 480
batch_size = 24
learning_rate = 0.005
[augment]
style_probability = 0.0
mixup = 0.0
tilt_probability = 0.2
lowpass_probability = 0.1
[evaluate]
folds = 2
"""


def write_config(path: Path, text: str = CONFIG) -> Path:
    """The configuration of a quick run over `write_corpus`."""
    path.write_text(text, encoding="utf-8")
    return path
