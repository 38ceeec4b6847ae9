"""Pretrain slim_audio: it learns YAMNet's embedding of recordings and mixtures before it learns any scene.

    pip install ai-edge-litert
    python benchmarks/ear.py DATA WORK

DATA holds `scenes_audio/`, `esc10/`, `mic_irs/` and `weights/yamnet/` (Google, Apache-2.0; its embedding of 1,024
values is a training target here, none of its weights is copied). WORK receives `windows.npz` and one checkpoint for
each network that `trainer fit configs/slim_audio.toml` will train. A fold's checkpoint has not been trained on the
fold's recordings, alone or mixed; that of the final network has not been trained on its held-out "none" recordings.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from torch import nn
from torch.nn import functional

from ascstream.frontend import audio_tensor
from engines.manifest import AudioInput
from trainer.config import Config, load_config
from trainer.data.audio import Mono, decode, load_responses
from trainer.data.recordings import load_corpus
from trainer.data.splits import Split
from trainer.fit.recordings import plan_splits
from trainer.models.slim_audio import SlimAudio

CONFIG = Path(__file__).parents[1] / "configs/slim_audio.toml"
_TEACHER_RATE, _TEACHER_SAMPLES = 16000, 15600
_EMBEDDING = "yamnet_frames/global_average_pooling2d/Mean"
_LEVEL = 0.05
"""RMS level of the teacher's input: slim_audio removes the level, so it could not learn what depends on level alone."""
_N_MIXTURES = 42_000
_N_COMPONENTS = 128
"""Principal components of the standardised embedding; they explain 95 % of its variance."""
_BATCH, _N_WINDOWS, _RATE = 64, 120_000, 4e-3
_N_NORM_BATCHES = 24


@dataclass(frozen=True, slots=True)
class Sound:
    """One audio file, decoded at both sample rates."""

    student: Mono
    """Samples at the student's rate."""
    teacher: Mono
    """Samples at the teacher's rate."""
    event: bool
    """Whether it is a sound event from ESC-10 rather than a scene."""

    def seconds(self, rate: int) -> float:
        """Duration that both versions cover."""
        return min(len(self.student) / rate, len(self.teacher) / _TEACHER_RATE)


@dataclass(frozen=True, slots=True)
class Windows:
    """The pretraining data: features, target embeddings and where each window comes from."""

    features: NDArray[np.float16]
    """[n, 64, 48], the student's input."""
    embeddings: NDArray[np.float16]
    """[n, 1024], the teacher's output."""
    first: NDArray[np.int64]
    """[n] number of the file."""
    second: NDArray[np.int64]
    """[n] number of the file mixed in; −1: none."""
    plain: NDArray[np.bool_]
    """[n] whether the window is unaltered, as recorded."""


def main() -> int:
    """Parse the command line and do the steps that are not done yet."""
    parser = argparse.ArgumentParser(description="Pretrain slim_audio on YAMNet's embedding.")
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    config = load_config(CONFIG)
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    corpus = load_corpus(options.data, config.data)
    if not (work / "windows.npz").exists():
        recordings = [item.path for item in (*corpus.recordings, *corpus.none)]
        events = sorted((options.data / "esc10").rglob("*.ogg"))
        _write_windows(work / "windows.npz", options.data, config, recordings, events)
    splits = [split for split in plan_splits(corpus, config) if not (work / f"{split.name}.pt").exists()]
    n_scenes = len(corpus.recordings)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for line in pool.map(_pretrain, [work] * len(splits), splits, [n_scenes] * len(splits)):
            print(line, flush=True)
    return 0


def _write_windows(path: Path, data: Path, config: Config, recordings: Sequence[Path], events: Sequence[Path]) -> None:
    """Write features and target embeddings of unaltered windows and of mixtures."""
    audio = config.audio
    assert audio is not None
    rate = audio.sample_rate
    sounds = [
        Sound(decode(file, rate), decode(file, _TEACHER_RATE), event)
        for files, event in ((recordings, False), (events, True))
        for file in files
    ]
    responses = data / "mic_irs"
    microphones = list(zip(load_responses(responses, rate), load_responses(responses, _TEACHER_RATE), strict=True))
    teacher = _teacher(data)
    rows = [
        (first, second, plain, _features(student, heard, audio), teacher(heard))
        for first, second, plain, student, heard in _cuts(sounds, rate, microphones)
    ]
    first, second, plain, features, embeddings = (np.array(column) for column in zip(*rows, strict=True))
    draft = path.with_name("draft.npz")
    np.savez(draft, features=features, embeddings=embeddings, first=first, second=second, plain=plain)
    draft.rename(path)


def _cuts(
    sounds: Sequence[Sound], rate: int, microphones: Sequence[tuple[Mono, Mono]]
) -> Iterator[tuple[int, int, bool, Mono, Mono]]:
    """Yield the numbers of both files, whether the window is unaltered, and one second of samples at both rates.

    First the unaltered windows, every 0.1 s in scenes and every 0.5 s in events, then random mixtures.
    """
    long = [number for number, sound in enumerate(sounds) if sound.seconds(rate) > 1.01]
    for number in long:
        sound = sounds[number]
        for at in np.arange(0, sound.seconds(rate) - 1.001, 0.5 if sound.event else 0.1):
            yield number, -1, True, *_cut(sound, rate, at)
    rng = np.random.default_rng(5)
    scenes = [number for number in long if not sounds[number].event]
    events = [number for number in long if sounds[number].event]

    def draw(number: int) -> tuple[Mono, Mono]:
        return _cut(sounds[number], rate, rng.random() * (sounds[number].seconds(rate) - 1.001))

    for _ in range(_N_MIXTURES):
        first = int(rng.choice(scenes if rng.random() < 0.9 else events))
        student, heard = draw(first)
        second = -1
        if rng.random() < 0.7:
            second = int(rng.choice(scenes if rng.random() < 0.4 else events))
            others = draw(second)
            scale = np.sqrt(np.mean(student**2) / (np.mean(others[0] ** 2) + 1e-12) + 1e-12)
            scale = np.float32(scale * 10 ** (-rng.uniform(-4, 14) / 20))
            student, heard = student + scale * others[0], heard + scale * others[1]
        if rng.random() < 0.35:
            responses = microphones[rng.integers(len(microphones))]
            student = fftconvolve(student, responses[0])[: len(student)].astype(np.float32)
            heard = fftconvolve(heard, responses[1])[: len(heard)].astype(np.float32)
        yield first, second, False, student, heard


def _cut(sound: Sound, rate: int, at: float) -> tuple[Mono, Mono]:
    """Cut one second from that time on, at both sample rates."""
    student, heard = round(at * rate), round(at * _TEACHER_RATE)
    return sound.student[student : student + rate], sound.teacher[heard : heard + _TEACHER_RATE]


def _features(student: Mono, heard: Mono, audio: AudioInput) -> NDArray[np.float16]:
    """The student's features, from samples scaled by the teacher's gain."""
    samples = np.resize(student, audio.sample_rate) * _gain(heard)
    features: NDArray[np.float16] = audio_tensor(samples[np.newaxis], audio)[0].astype(np.float16)
    return features


def _gain(heard: Mono) -> np.float32:
    """The gain that brings a window to the level `_LEVEL`."""
    return np.float32(min(_LEVEL / np.sqrt(np.mean(heard**2) + 1e-10), 1e3))


def _teacher(data: Path):
    """Load YAMNet; return a function from one second at 16 kHz to its embedding [1024]."""
    from ai_edge_litert.interpreter import Interpreter

    model = next((data / "weights/yamnet").glob("*.tflite"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that intermediate tensors are kept, as requested
        network = Interpreter(str(model), num_threads=1, experimental_preserve_all_tensors=True)
    network.allocate_tensors()
    given = network.get_input_details()[0]
    embedding = next(entry["index"] for entry in network.get_tensor_details() if entry["name"] == _EMBEDDING)

    def embed(heard: Mono) -> NDArray[np.float16]:
        samples = np.resize(heard, _TEACHER_SAMPLES) * _gain(heard)
        network.set_tensor(given["index"], samples.astype(np.float32).reshape(given["shape"]))
        network.invoke()
        values: NDArray[np.float16] = network.get_tensor(embedding).reshape(-1).astype(np.float16)
        return values

    return embed


def _pretrain(work: Path, split: Split, n_scenes: int) -> str:
    """Train one network and save its checkpoint; return a line of results."""
    torch.set_num_threads(1)
    with np.load(work / "windows.npz") as file:
        windows = Windows(*(file[name] for name in Windows.__slots__))
    heard = ~np.isin(windows.first, split.test) & ~np.isin(windows.second, split.test)
    targets = _components(windows.embeddings, np.flatnonzero(heard))
    torch.manual_seed(0)
    network = SlimAudio(2, relative=True).to(memory_format=torch.channels_last)
    project = nn.Linear(network.embedding_size, _N_COMPONENTS)
    parameters = [*network.parameters(), *project.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=_RATE, weight_decay=0.01)
    n_steps = _N_WINDOWS // _BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=n_steps, pct_start=0.1)
    rng = np.random.default_rng(0)
    pick = _picker(windows, heard, n_scenes, rng)
    losses = []
    for _ in range(n_steps):
        chosen = pick(_BATCH // 3)
        answer = project(network.embed(_altered(windows.features[chosen], rng)))
        loss = functional.mse_loss(answer, torch.from_numpy(targets[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    _measure_norms(network, windows.features, pick, rng)
    draft = work / f"{split.name}.draft"
    torch.save(network.state_dict(), draft)
    draft.rename(work / f"{split.name}.pt")
    return f"{split.name}: {int(heard.sum()):,} windows, loss {np.mean(losses[-200:]):.3f}"


def _components(embeddings: NDArray[np.float16], heard: NDArray[np.int64]) -> NDArray[np.float32]:
    """[n, 128] principal components, fitted on training windows; scaled only by the root of their spread.

    Strong components therefore count more than weak ones.
    """
    known = embeddings[heard].astype(np.float32)
    mean, spread = known.mean(axis=0), known.std(axis=0) + 0.05
    some = (known[np.random.default_rng(1).permutation(len(known))[:8000]] - mean) / spread
    _, scales, axes = np.linalg.svd(some, full_matrices=False)
    axes = axes[:_N_COMPONENTS].T / np.sqrt(scales[:_N_COMPONENTS])
    components = ((embeddings.astype(np.float32) - mean) / spread) @ axes
    scaled: NDArray[np.float32] = (components / components[heard].std()).astype(np.float32)
    return scaled


def _picker(windows: Windows, heard: NDArray[np.bool_], n_scenes: int, rng: np.random.Generator):
    """Return a function that draws a batch: n unaltered scene windows, each recording equally likely, then any others.

    The others are drawn uniformly from all other training windows: mixtures, events and "none" recordings.
    """
    mine = heard & windows.plain & (windows.first < n_scenes)
    members = [np.flatnonzero(mine & (windows.first == number)) for number in np.unique(windows.first[mine])]
    rest = np.flatnonzero(heard & ~mine)

    def pick(n: int) -> NDArray[np.int64]:
        scenes = [rng.choice(members[number]) for number in rng.integers(len(members), size=n)]
        return np.concatenate([scenes, rng.choice(rest, _BATCH - n)])

    return pick


def _altered(features: NDArray[np.float16], rng: np.random.Generator) -> torch.Tensor:
    """[n, 1, 64, 48] as if through other microphones: half with a random frequency response, some with less treble."""
    n_windows, n_mels, _ = features.shape
    bent = rng.random(n_windows) < 0.5
    knots = rng.normal(0, 0.5, (n_windows, 5))
    curve = np.stack([np.interp(np.linspace(0, 4, n_mels), np.arange(5), row) for row in knots]) * bent[:, np.newaxis]
    altered = features.astype(np.float32) + curve[:, :, np.newaxis].astype(np.float32)
    for window in np.flatnonzero(rng.random(n_windows) < 0.15):
        altered[window, rng.integers(38, n_mels) :] -= 2 * rng.random()
    return torch.from_numpy(altered)[:, np.newaxis]


@torch.no_grad()
def _measure_norms(network: nn.Module, features: NDArray[np.float16], pick, rng: np.random.Generator) -> None:
    """Recompute the batch norms' running statistics for the final weights, on augmented scene windows."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    for _ in range(_N_NORM_BATCHES):
        network.embed(_altered(features[pick(_BATCH)], rng))


if __name__ == "__main__":
    sys.exit(main())
