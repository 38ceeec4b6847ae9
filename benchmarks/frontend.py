"""Time the front-end against torchaudio, librosa, a bare FFT and naive NumPy, in one run on one thread.

    python benchmarks/frontend.py [--json] [--rounds 200]

Needs the `train` and `dev` extras. The candidates of a table are timed in turns, five calls each, so that a busy
machine slows all of them down alike: read the ratios.
"""

# ruff: noqa: E402 (libraries read the number of threads when they are loaded)

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable

import numpy as np

from ascstream.features.gammatone import centre_frequencies
from ascstream.frontend import FrontEnd, Gammatone, LogMel, image_tensor
from engines.manifest import (
    AudioInput,
    FileSpec,
    GammatoneFeature,
    GraphSpec,
    InputSpec,
    LogMelFeature,
    Manifest,
    OutputSpec,
    VideoInput,
    WindowSpec,
)

RECIPES = {
    "44.1 kHz, n_fft 1764, hop 882, 64 mel": (
        44_100,
        LogMelFeature("logmel", 1764, 1764, 882, 64, 0.0, 22_050.0),
    ),
    "24 kHz, n_fft 1024, hop 480, 64 mel, 50 Hz to 11 kHz": (
        24_000,
        LogMelFeature("logmel", 1024, 1024, 480, 64, 50.0, 11_000.0),
    ),
}


def measure(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median time of each candidate in microseconds; they are timed in turns."""
    for run in candidates.values():
        for _ in range(5):
            run()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            for _ in range(5):
                begun = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - begun)
    return {name: float(np.median(values)) * 1e6 for name, values in times.items()}


def manifest_of(audio: AudioInput) -> Manifest:
    """A manifest with one audio input and windows of 1 s."""
    return Manifest(
        schema=1,
        name="benchmark",
        version="0",
        description="One audio input.",
        licence="Apache-2.0",
        labels=("a", "b"),
        window=WindowSpec(1.0, 0.1),
        inputs=(InputSpec("audio", audio=audio),),
        outputs=(OutputSpec("fused"),),
        graphs=(GraphSpec("scene", {"float32": "scene.onnx"}),),
        files={"scene.onnx": FileSpec("0" * 64, 0)},
    )


class Stream:
    """Windows of an endless signal, `n_hops` hops apart, passed through one front-end."""

    def __init__(self, sample_rate: int, feature: LogMelFeature, n_hops: int) -> None:
        audio = AudioInput(sample_rate, "mono", feature)
        self._front_end = FrontEnd(manifest_of(audio))
        rng = np.random.default_rng(0)
        self._signal = (0.1 * rng.standard_normal((1, 20 * sample_rate))).astype(np.float32)
        self._step = n_hops * feature.hop_length
        self._rate = sample_rate
        self._start = 0

    def __call__(self) -> None:
        """Process the next window; start over at the end of the signal."""
        if self._start + self._rate > self._signal.shape[1]:
            self._start = 0
        self._front_end(self._signal[:, self._start : self._start + self._rate], self._start)
        self._start += self._step


def logmel_candidates(sample_rate: int, feature: LogMelFeature) -> dict[str, Callable[[], object]]:
    """Different ways to compute the log-mel spectrogram of one second of noise."""
    warnings.filterwarnings("ignore")
    import librosa
    import torch
    import torchaudio

    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    samples = (0.1 * rng.standard_normal((1, sample_rate))).astype(np.float32)
    tensor = torch.from_numpy(samples)
    transform = torchaudio.transforms.MelSpectrogram(
        sample_rate,
        feature.n_fft,
        feature.window_length,
        feature.hop_length,
        feature.f_min,
        feature.f_max,
        n_mels=feature.n_mels,
        center=False,
    )
    ours = LogMel(feature, sample_rate)
    frames = np.lib.stride_tricks.sliding_window_view(samples, feature.n_fft, axis=1)[:, :: feature.hop_length]
    frames = np.ascontiguousarray(frames)
    few = np.ascontiguousarray(samples[:, : 4 * feature.hop_length + feature.n_fft])

    def with_torchaudio() -> object:
        with torch.inference_mode():
            return torch.log(torch.clamp(transform(tensor), min=1e-10))

    def with_librosa() -> object:
        mel = librosa.feature.melspectrogram(
            y=samples[0],
            sr=sample_rate,
            n_fft=feature.n_fft,
            hop_length=feature.hop_length,
            center=False,
            n_mels=feature.n_mels,
            fmin=feature.f_min,
            fmax=feature.f_max,
            htk=True,
            norm=None,
        )
        return np.log(np.maximum(mel, 1e-10))

    return {
        "ours": lambda: ours(samples),
        "torchaudio": with_torchaudio,
        "librosa": with_librosa,
        "bare rfft": lambda: np.fft.rfft(frames),
        "ours, five hops": lambda: ours(few),
        "front-end, a whole window": Stream(sample_rate, feature, 60),
        "front-end, a window with five new hops": Stream(sample_rate, feature, 5),
    }


def gammatone_candidates() -> dict[str, Callable[[], object]]:
    """A gammatone spectrogram of 50 hops and 64 bands at 44.1 kHz: ours, and the biquads it approximates."""
    import scipy.signal

    sample_rate = 44_100
    spec = GammatoneFeature("gammatone", "fft", 1764, 882, 64, 0.0, 22_050.0)
    samples = (0.1 * np.random.default_rng(3).standard_normal((1, 44_982))).astype(np.float32)
    ours = Gammatone(spec, sample_rate)
    bank = []
    for centre in centre_frequencies(spec):
        decay = np.exp(-1.019 * 2 * np.pi * (centre / 9.26449 + 24.7) / sample_rate)
        phase = 2 * np.pi * centre / sample_rate
        roots = (3 + 2**1.5) ** 0.5, (3 - 2**1.5) ** 0.5
        zeros = [decay * (np.cos(phase) + g * np.sin(phase)) for g in (roots[0], -roots[0], roots[1], -roots[1])]
        bank.append(np.array([[1, -zero, 0, 1, -2 * np.cos(phase) * decay, decay**2] for zero in zeros]))
    signal = samples[0].astype(np.float64)

    def with_biquads() -> object:
        rows = []
        for sections in bank:
            energy = np.concatenate(([0.0], np.cumsum(np.square(scipy.signal.sosfilt(sections, signal)))))
            rows.append(energy[1764::882] - energy[:-1764:882])
        return 10 * np.log10(np.maximum(rows, 1e-20))

    return {"ours": lambda: ours(samples), "biquads, scipy": with_biquads}


def image_candidates() -> dict[str, Callable[[], object]]:
    """Different ways to normalise one 224×224 image."""
    video = VideoInput(224, 224, "crop", (0.5,), 1.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    image = np.random.default_rng(2).integers(0, 256, (224, 224, 3), np.uint8)
    mean, std = np.array(video.mean, np.float32), np.array(video.std, np.float32)

    def naive() -> object:
        scaled = (image.astype(np.float32) * np.float32(video.scale) - mean) / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    return {"ours": lambda: image_tensor(image, video), "naive numpy": naive}


def main() -> None:
    """Print one table per recipe, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--rounds", type=int, default=200, help="turns of every candidate, five calls each")
    options = parser.parse_args()
    tables = {name: measure(logmel_candidates(*recipe), options.rounds) for name, recipe in RECIPES.items()}
    tables["gammatone, 44.1 kHz, 50 hops of 40 ms, 64 bands"] = measure(
        gammatone_candidates(), options.rounds // 20 + 1
    )
    tables["image 224×224"] = measure(image_candidates(), options.rounds)
    if options.json:
        print(json.dumps({"machine": platform.machine(), "numpy": np.__version__, "microseconds": tables}, indent=2))
        return
    for title, table in tables.items():
        print(f"\n{title}")
        for name, microseconds in table.items():
            print(f"  {name:<48} {microseconds:9.1f} µs   {microseconds / table['ours']:6.2f} × ours")


if __name__ == "__main__":
    main()
