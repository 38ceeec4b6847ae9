"""The training loop: one network on one split, an epoch at a time, resumable to the same numbers."""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines.manifest import AudioInput
from engines.schema import decode, encode
from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.config import Config, TrainConfig
from trainer.data.augment import Floats
from trainer.data.windows import Batch, WindowSampler
from trainer.errors import RunError
from trainer.files import write_whole
from trainer.models import build_model
from trainer.models.subspectral import Answers, SubSpectral, summed_loss

CHECKPOINT = "checkpoint.pt"
LOG = "log.csv"
_AHEAD = 3
"""Batches prepared ahead."""
_MEASURE, _TRAIN = 0, 1
"""Streams of random numbers: measuring the input, training."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A network and the input it was trained for."""

    model: nn.Module
    """With averaged weights, in evaluation mode, answering with logits alone."""
    audio: AudioInput
    """Its input, normalisation included."""
    losses: tuple[float, ...]
    """Mean training loss of each epoch."""

    def logits(self, features: Floats) -> Floats:
        """[n, 1, n_mels, n_hops] to [n, n_labels]."""
        with torch.inference_mode():
            parts = [self.model(torch.from_numpy(part)) for part in np.array_split(features, len(features) // 256 + 1)]
            return np.asarray(torch.cat(parts).numpy())


def fit_network(
    sampler: WindowSampler,
    n_labels: int,
    config: Config,
    folder: Path,
    *,
    on_epoch: Callable[[int, float], object] = lambda _epoch, _loss: None,
) -> Trained:
    """Train a network, going on from the folder's checkpoint if there is one.

    Every epoch draws from random numbers of its own, so that a run that was stopped ends with the same weights.

    Args:
        sampler: Gives the windows.
        n_labels: Length of the answer.
        config: Everything else.
        folder: Where checkpoint and log are kept; its name takes part in the seed.
        on_epoch: Called with the number of epochs done and the last one's mean loss.
    """
    torch.set_num_threads(config.train.threads)
    seed = (config.seed, zlib.crc32(folder.name.encode()))
    torch.manual_seed(_torch_seed(*seed, 0))
    model = build_model(config.model, n_labels, config.audio.n_channels)
    optimizer = _optimizer(model, config.train)
    average = {name: value.clone() for name, value in model.state_dict().items()}
    audio, losses = None, []
    if (folder / CHECKPOINT).exists():
        state = load_checkpoint(folder / CHECKPOINT)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        average, losses = state["average"], list(state["losses"])
        audio = decode(AudioInput, state["audio"])
    if audio is None:
        audio = sampler.measure(np.random.default_rng((*seed, _MEASURE)))
    for epoch in range(len(losses), config.train.epochs):
        torch.manual_seed(_torch_seed(*seed, epoch + 1))
        batches = _prepared(sampler, audio, config.train, np.random.default_rng((*seed, _TRAIN, epoch)))
        losses.append(_train_epoch(model, average, optimizer, batches, epoch, config.train))
        state = {"model": model.state_dict(), "average": average, "optimizer": optimizer.state_dict()}
        save_checkpoint(folder / CHECKPOINT, {**state, "losses": losses, "audio": encode(audio)})
        _write_log(folder / LOG, losses)
        on_epoch(epoch + 1, losses[-1])
    model.load_state_dict(average)
    return Trained(_deployed(model), audio, tuple(losses))


def load_trained(folder: Path, n_labels: int, config: Config) -> Trained:
    """A network that `fit_network` finished.

    Raises:
        RunError: There is none, or it is not finished.
    """
    state = load_checkpoint(folder / CHECKPOINT)
    losses = tuple(state["losses"])
    if len(losses) < config.train.epochs:
        raise RunError(
            f"{folder}: expected {config.train.epochs} epochs, got {len(losses)}; type: trainer fit … --resume"
        )
    model = build_model(config.model, n_labels, config.audio.n_channels)
    model.load_state_dict(state["average"])
    return Trained(_deployed(model), decode(AudioInput, state["audio"]), losses)


def _train_epoch(
    model: nn.Module,
    average: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    epoch: int,
    config: TrainConfig,
) -> float:
    """One epoch; gives its mean loss."""
    model.train()
    n_steps = _n_steps(config)
    total = 0.0
    for index, batch in enumerate(batches):
        done = (epoch * n_steps + index) / (config.epochs * n_steps)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(done)
        answer = model(torch.from_numpy(batch.features))
        loss = _loss(model, answer, torch.from_numpy(batch.targets), config.label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        _follow(average, model, _decay(epoch * n_steps + index, config.average_decay))
        total += loss.item()
    return total / n_steps


def _loss(model: nn.Module, answer: Tensor | Answers, targets: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy with smoothed targets; subspectral's, of all its answers, and what its recipe adds."""
    if isinstance(answer, Answers):
        smoothed = targets * (1 - smoothing) + smoothing / targets.shape[1]
        loss = summed_loss(answer, smoothed)
        return loss + model.penalty() if isinstance(model, SubSpectral) else loss
    return nn.functional.cross_entropy(answer, targets, label_smoothing=smoothing)


def _deployed(model: nn.Module) -> nn.Module:
    """The network in evaluation mode, in the form it is exported in where that is another."""
    form: nn.Module = model.deployed() if isinstance(model, SubSpectral) else model.eval()
    return form


def _follow(average: dict[str, Tensor], model: nn.Module, decay: float) -> None:
    """Move the averaged weights a little towards the current ones; counters are copied."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 1 - decay)
            else:
                average[name].copy_(value)


def _decay(step: int, longest: float) -> float:
    """Decay of the average: short memory at first, or the fresh weights would stay in it."""
    return min(longest, (1 + step) / (10 + step))


def _schedule(done: float) -> float:
    """Learning rate by its peak: up over the first tenth, then half a cosine to zero."""
    return done / 0.1 if done < 0.1 else 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))


def _optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW; biases and normalisations do not decay."""
    parameters = list(model.parameters())
    decayed = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay}
    free = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}
    return torch.optim.AdamW([decayed, free], lr=config.learning_rate)


def _prepared(
    sampler: WindowSampler, audio: AudioInput, config: TrainConfig, rng: np.random.Generator
) -> Iterator[Batch]:
    """An epoch's batches, prepared by one other thread, in order."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[Batch]] = deque()
        for _ in range(_n_steps(config)):
            waiting.append(pool.submit(sampler.draw, config.batch_size, audio, rng))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _n_steps(config: TrainConfig) -> int:
    """Steps an epoch, at least one."""
    return max(1, config.windows_per_epoch // config.batch_size)


def _torch_seed(*numbers: int) -> int:
    """One number of several."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _write_log(path: Path, losses: list[Any]) -> None:
    """The losses as CSV."""
    text = "epoch,loss\n" + "".join(f"{epoch},{loss:.6f}\n" for epoch, loss in enumerate(losses, start=1))
    write_whole(path, lambda file: file.write(text.encode()))
