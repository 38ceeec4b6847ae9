"""Recordings to what a network takes: balanced, augmented batches to train on, every window to be judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ascstream.frontend import audio_tensor
from engines.manifest import AudioInput, Normalisation
from trainer.config import Config
from trainer.data.audio import Mono
from trainer.data.augment import Floats, SampleAugmenter, mask, mix_in, mix_styles, mix_up

_MEASURED_WINDOWS = 768
"""Windows the normalisation is measured on: a band's mean is then known to a twentieth of its spread."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step trains on."""

    features: Floats
    """[n, 1, n_mels, n_hops]."""
    targets: Floats
    """[n, n_labels], each row sums to 1."""


class WindowSampler:
    """Draws windows: every scene equally often, within it every recording equally often, then a random place."""

    def __init__(
        self, recordings: Sequence[Mono], targets: Sequence[int], config: Config, responses: Sequence[Mono] = ()
    ) -> None:
        """Take the training recordings.

        Args:
            recordings: Samples of each.
            targets: Scene of each.
            config: Window, input and augmentation.
            responses: Impulse responses of microphones.
        """
        self._recordings = list(recordings)
        self._by_label = [np.flatnonzero(np.asarray(targets) == label) for label in range(max(targets) + 1)]
        self._config = config
        self._n_samples = config.n_window_samples
        self._lead = self._n_samples // 8
        total = self._n_samples + self._lead
        self._augment = SampleAugmenter(config.augment, config.audio.sample_rate, total, self._lead, responses)

    def draw(self, n: int, audio: AudioInput, rng: np.random.Generator) -> Batch:
        """Draw `n` windows and treat them; `audio` says how they are normalised."""
        config = self._config.augment
        labels, samples = self._draw_samples(n, rng)
        features = _features(samples, audio)
        targets = np.eye(len(self._by_label), dtype=np.float32)[labels]
        features = mix_styles(features, config.style_probability, rng)
        features, targets = mix_up(features, targets, config.mixup, rng)
        mask(features, config, rng)
        return Batch(features, targets)

    def measure(self, rng: np.random.Generator) -> AudioInput:
        """The input with each band's mean and standard deviation over augmented windows, if it says nothing else."""
        plain = self._config.audio
        if plain.normalisation.kind != "none":
            return plain
        _, samples = self._draw_samples(_MEASURED_WINDOWS, rng)
        features = _features(samples, plain).astype(np.float64)
        mean, std = features.mean(axis=(0, 1, 3)), features.std(axis=(0, 1, 3))
        numbers = [tuple(float(f"{value:.6g}") for value in values) for values in (mean, np.maximum(std, 1e-3))]
        return replace(plain, normalisation=Normalisation(kind="per_bin", mean=numbers[0], std=numbers[1]))

    def _draw_samples(
        self, n: int, rng: np.random.Generator
    ) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], Floats]:
        """Labels [n] and augmented samples [n, n_samples]."""
        labels = rng.permutation(np.resize(rng.permutation(len(self._by_label)), n))
        stretches = np.stack([self._stretch(label, rng) for label in labels])
        return labels, self._augment(stretches, rng)

    def _stretch(self, label: int, rng: np.random.Generator) -> Mono:
        """[lead + n_samples] of a scene, sometimes with another recording of it on top."""
        samples = self._cut(label, rng)
        if rng.random() < self._config.augment.mix_probability:
            samples = mix_in(samples, self._cut(label, rng), rng)
        return samples

    def _cut(self, label: int, rng: np.random.Generator) -> Mono:
        """[lead + n_samples] from a random place of a random recording; the lead may reach before its start."""
        members = self._by_label[label]
        recording = self._recordings[members[rng.integers(members.size)]]
        start = int(rng.integers(recording.size - self._n_samples + 1))
        stretch = np.zeros(self._lead + self._n_samples, np.float32)
        part = recording[max(0, start - self._lead) : start + self._n_samples]
        stretch[stretch.size - part.size :] = part
        return stretch


def recording_features(samples: Mono, audio: AudioInput, n_samples: int, step: int) -> Floats:
    """Every whole window of a recording: [n_windows, 1, n_mels, n_hops]."""
    starts = range(0, samples.size - n_samples + 1, step)
    return np.stack([audio_tensor(samples[None, start : start + n_samples], audio) for start in starts])


def _features(samples: Floats, audio: AudioInput) -> Floats:
    """[n, n_samples] to [n, 1, n_mels, n_hops]."""
    return np.stack([audio_tensor(window[None], audio) for window in samples])
