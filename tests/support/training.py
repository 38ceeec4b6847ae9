"""Training without recordings: a tiny configuration, and batches whose scenes differ in which bands are loud."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from engines.manifest import InputSpec, Normalisation, input_shape
from trainer.config import Config, load_config
from trainer.data.batch import Batch, Process
from trainer.fit.loop import Answer, Validate
from trainer.inputs import Inputs

N_LABELS = 3
N_BANDS = 16
CONFIG = f"""
name = "tiny"
[data]
prepared = "corpus"
[audio]
sample_rate = 8000
channels = "mono"
[audio.feature]
kind = "logmel"
n_fft = 256
window_length = 256
hop_length = 128
n_mels = {N_BANDS}
f_min = 0
f_max = 4000
[window]
seconds = 0.256
default_step_seconds = 0.256
[train]
epochs = 3
windows_per_epoch = 48
batch_size = 16
learning_rate = 0.01
device = "cpu"
"""


def tiny_config(folder: Path, *settings: str, text: str = CONFIG) -> Config:
    """A configuration whose network sees 16 bands by 15 hops."""
    path = folder / "tiny.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return load_config(path, settings)


def worker_command(folder: Path, mode: str, *settings: str) -> list[str]:
    """What runs `training_worker.py` with this interpreter."""
    return [sys.executable, str(Path(__file__).with_name("training_worker.py")), str(folder), mode, *settings]


def worker_environment(**more: str) -> dict[str, str]:
    """Where it finds the packages."""
    tests = Path(__file__).parents[1]
    return {**os.environ, "PYTHONPATH": f"{tests.parent}:{tests}", "OMP_NUM_THREADS": "1", **more}


def run_worker(folder: Path, mode: str, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Train in another process, until it ends."""
    command = worker_command(folder, mode, *settings)
    environment = worker_environment(**environment)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200, env=environment)


class TinyData:
    """Batches from random numbers: a scene is louder in bands of its own. Any epoch, any process, at any time."""

    def __init__(
        self,
        n_labels: int = N_LABELS,
        *,
        contrast: float = 1.5,
        label_noise: float = 0.0,
        before_batch: Callable[[int, int], object] = lambda _epoch, _batch: None,
    ) -> None:
        """Choose how hard it is.

        Args:
            n_labels: Scenes.
            contrast: How much louder a scene's bands are.
            label_noise: Part of the labels that are drawn anew.
            before_batch: Called before each batch with the numbers of the epoch and of the batch.
        """
        self.n_labels = n_labels
        self._contrast = contrast
        self._label_noise = label_noise
        self._before_batch = before_batch

    def measure(self, rng: np.random.Generator) -> Inputs:
        """Statistics that follow from the random numbers that are given."""
        self.measured = float(rng.uniform(0.1, 0.2))
        normalisation = Normalisation("per_bin", mean=(self.measured,) * N_BANDS, std=(2.0,) * N_BANDS)
        return Inputs(audio=replace(self._config_audio, normalisation=normalisation))

    def batches(self, inputs: Inputs, epoch: int, config: Config, process: Process) -> Iterator[Batch]:
        """This process's rows of each batch."""
        size = config.train.batch_size
        for number in range(max(1, config.train.windows_per_epoch // size)):
            self._before_batch(epoch, number)
            features, targets = self.windows(size, config, (config.seed, epoch, number))
            part = slice(process.rank * size // process.count, (process.rank + 1) * size // process.count)
            yield Batch({"features": features[part]}, targets[part])

    def windows(self, n: int, config: Config, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """[n, 1, 16, 15] features and [n, n_labels] targets."""
        rng = np.random.default_rng(seed)
        labels = rng.integers(self.n_labels, size=n)
        shape = input_shape(InputSpec("features", audio=config.audio), config.window)
        features = rng.standard_normal((n, *shape), dtype=np.float32)
        for row, label in zip(features, labels, strict=True):
            row[:, label :: self.n_labels] += self._contrast
        drawn = rng.random(n) < self._label_noise
        labels = np.where(drawn, rng.integers(self.n_labels, size=n), labels)
        return features, np.eye(self.n_labels, dtype=np.float32)[labels]

    def for_config(self, config: Config) -> TinyData:
        """Itself, knowing which input to measure."""
        self._config_audio = config.audio
        return self

    def validate(self, config: Config) -> Validate:
        """Mean log loss on 64 windows that are never trained on."""
        features, targets = self.windows(64, config, (99, 0, 0))

        def judge(answer: Answer, _inputs: Inputs) -> float:
            logits = answer({"features": features})["fused"].astype(np.float64)
            log_likelihood = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
            return float(-(log_likelihood * targets).sum(axis=1).mean())

        return judge
