"""The training loop: trains one network, stage by stage and epoch by epoch; resuming reproduces the same weights."""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from engines.schema import decode, encode
from trainer.config import SPLIT, Config
from trainer.data.augment import Floats
from trainer.data.batch import TrainingData
from trainer.errors import RunError, TrainerError
from trainer.fit.checkpoint import VERSION, check_same, checkpoint_bytes, describe, parse_checkpoint, save_checkpoint
from trainer.fit.curves import draw_curves, has_matplotlib
from trainer.fit.distil import Teacher, open_teacher
from trainer.fit.distributed import Group, join_group, synchronise_norms
from trainer.fit.history import Epoch, TensorBoard, from_plain, to_plain, write_log
from trainer.fit.optim import copied
from trainer.fit.schedules import best_epoch, has_stopped, plateau_rate
from trainer.fit.stage_training import Feed, Passed, StageTraining
from trainer.fit.stages import Stage, stages_of
from trainer.fit.trained import CHECKPOINT, Trained, load_trained, load_weights, restore
from trainer.inputs import Inputs
from trainer.models.systems import System, build_network, check_inputs

__all__ = ["CHECKPOINT", "LOG", "Answer", "Trained", "Validate", "fit_network", "load_trained"]

LOG, CURVES, TENSORBOARD = "log.csv", "curves.png", "tensorboard"
_MEASURE = 0
"""Random stream used to measure the input statistics."""
_DRAW_SECONDS = 60.0
"""Minimum time between redraws of the curves; they are always drawn at the end."""

Answer: TypeAlias = Callable[[Mapping[str, Floats]], dict[str, Floats]]
"""Maps the inputs of n windows to logits [n, n_labels] per head."""
Validate: TypeAlias = Callable[[Answer, Inputs], float]
"""Returns the mean log loss on the validation split."""


def fit_network(
    config: Config,
    n_labels: int,
    data: TrainingData,
    folder: Path,
    *,
    validate: Validate | None = None,
    root: Path | None = None,
    labels: Sequence[str] = (),
    on_epoch: Callable[[int, float], object] = lambda _epoch, _loss: None,
    on_stage: Callable[[Stage, nn.Module], object] = lambda _stage, _network: None,
) -> Trained:
    """Train a network, resuming from the folder's checkpoint if there is one.

    Each epoch has its own random seed, so an interrupted and resumed run ends with the same weights. With several
    processes, only rank 0 touches the folder, validates and calls `on_epoch`.

    Args:
        config: The run's configuration.
        n_labels: Number of labels.
        data: Provides the batches.
        folder: Folder of the checkpoint, log and curves; its name is part of the random seed.
        validate: Computes the validation loss of the averaged weights after each epoch, on clips that are used neither
            for training nor in the report.
        root: The data folder, which holds pretrained weights and teachers; None: the working directory.
        labels: Label names, compared with the teacher's.
        on_epoch: Called with the number of epochs done and the last epoch's mean loss.
        on_stage: Called in every process before the first epoch that this call trains in a stage, with the network, its
            parts frozen as the stage requires.

    Returns:
        The network, on its training device.

    Raises:
        ConfigError: The configuration cannot be satisfied; the message names the key.
        RunError: The checkpoint is unreadable or of another configuration, or the loss is not finite.
        TrainerError: The disk cannot be written; the last checkpoint is intact.
    """
    torch.set_num_threads(config.train.threads)
    system = check_inputs(config)
    path = folder / CHECKPOINT
    with join_group(config.train.device) as group:
        stages = stages_of(config, group.process.count, validated=validate is not None)
        kept = group.share(lambda: _read(path))
        state = parse_checkpoint(kept, path) if kept else {}
        if state:
            check_same(state, config, n_labels, path)
        if "weights" not in state:
            with TensorBoard(folder / TENSORBOARD) as board:
                fit = _Fit(config, n_labels, system, folder, group, validate, board, on_epoch, on_stage)
                state = fit.run(stages, data, state, root, labels)
        trained = restore(state, n_labels, config, path)
        trained.network.to(group.device)
        return trained


class _Fit:
    """State of one `fit_network` call."""

    def __init__(
        self,
        config: Config,
        n_labels: int,
        system: System,
        folder: Path,
        group: Group,
        validate: Validate | None,
        board: TensorBoard,
        on_epoch: Callable[[int, float], object],
        on_stage: Callable[[Stage, nn.Module], object],
    ) -> None:
        self._config = config
        self._n_labels = n_labels
        self._system = system
        self._folder = folder
        self._group = group
        self._validate = validate
        self._board = board
        self._on_epoch = on_epoch
        self._on_stage = on_stage
        self._seed = (config.seed, zlib.crc32(folder.name.encode()))
        self._inputs = Inputs()
        self._history: list[Epoch] = []
        self._drawn = time.monotonic()

    def run(
        self,
        stages: Sequence[Stage],
        data: TrainingData,
        state: Mapping[str, Any],
        root: Path | None,
        labels: Sequence[str],
    ) -> dict[str, Any]:
        """Train all unfinished stages; returns the final checkpoint's state."""
        group, path = self._group, self._folder / CHECKPOINT
        self._history = list(from_plain(state.get("history", [])))
        self._inputs = self._measure(data, state)
        torch.manual_seed(_torch_seed(*self._seed, 0))
        config = _begun_with(self._config, self._folder.name)
        network = build_network(config, self._n_labels, None if state else root or Path()).to(group.device)
        if group.device.type == "cpu" or self._config.train.mixed_precision:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if group.process.count > 1 and group.device.type == "cuda":
            synchronise_norms(network)
        begun = self._history[-1].stage if self._history else None
        first = [stage.name for stage in stages].index(begun) if begun is not None else 0
        with open_teacher(self._config, self._inputs, self._n_labels, labels, root, group.device) as teacher:
            for stage in stages[first:]:
                training = StageTraining(self._system, network, stage, group)
                if stage.name == begun:
                    training.load(state, path)
                if not self._is_over(stage):
                    self._on_stage(stage, network)
                while not self._is_over(stage):
                    self._epoch(training, stage, data, teacher)
                load_weights(network, self._shared(training.kept), path)
        finished = {**self._common(), "weights": copied(network)}
        group.share(lambda: self._finish(finished))
        return finished

    def _measure(self, data: TrainingData, state: Mapping[str, Any]) -> Inputs:
        """Return the inputs with their statistics: from the checkpoint, or measured by rank 0 and shared."""
        if state:
            return decode(Inputs, state["inputs"])
        rng = np.random.default_rng((*self._seed, _MEASURE))
        measured = self._group.share(lambda: json.dumps(encode(data.measure(rng))).encode())
        return decode(Inputs, json.loads(measured))

    def _losses(self, stage: Stage) -> list[float]:
        """Validation losses of a stage's epochs so far; NaN for epochs without one."""
        mine = [epoch.validation_loss for epoch in self._history if epoch.stage == stage.name]
        return [math.nan if loss is None else loss for loss in mine]

    def _is_over(self, stage: Stage) -> bool:
        """Whether a stage has trained all its epochs or has stopped early."""
        losses, train = self._losses(stage), stage.config.train
        return len(losses) >= train.epochs or has_stopped(losses, train.stop_epochs)

    def _epoch(self, training: StageTraining, stage: Stage, data: TrainingData, teacher: Teacher | None) -> None:
        """Train one epoch, then record it."""
        number, losses, group = len(self._history), self._losses(stage), self._group
        train, process = stage.config.train, group.process
        torch.manual_seed(_torch_seed(*self._seed, number + 1, *((process.rank,) if process.rank else ())))
        peak = train.learning_rate
        if train.schedule == "plateau":
            peak *= plateau_rate(losses, train.plateau_epochs, train.plateau_factor)
        feed = Feed(data.batches(self._inputs, number, stage.config, process), group.device, teacher)
        passed = training.epoch(feed, len(losses), peak)
        told = group.share(lambda: self._close_epoch(training, stage, passed))
        if not group.is_first:
            self._history.append(Epoch(**json.loads(told)))

    def _close_epoch(self, training: StageTraining, stage: Stage, passed: Passed) -> bytes:
        """Validate, save the checkpoint and report: what only rank 0 does after an epoch. Returns the epoch as JSON."""
        number = len(self._history) + 1
        if not math.isfinite(passed.loss):
            raise RunError(
                f"{self._folder}: expected a loss that is a number in epoch {number}, got none; "
                "lower train.learning_rate and begin again with a new --out"
            )
        loss = None if self._validate is None else float(self._validate(training.answer, self._inputs))
        epoch = Epoch(number, stage.name, passed.learning_rate, passed.loss, loss, passed.seconds, passed.data_wait)
        self._history.append(epoch)
        losses = self._losses(stage)
        if stage.config.train.select == "best" and best_epoch(losses) == len(losses) - 1:
            training.best = copied(training.average.network)
        save_checkpoint(self._folder / CHECKPOINT, {**self._common(), **training.state()})
        self._record(epoch)
        self._on_epoch(number, passed.loss)
        return json.dumps(asdict(epoch)).encode()

    def _record(self, epoch: Epoch) -> None:
        """Update the log, TensorBoard and, if enough time has passed, the curves."""
        try:
            write_log(self._folder / LOG, self._history)
            self._board.add(epoch)
            if time.monotonic() - self._drawn >= _DRAW_SECONDS:
                self._draw()
        except OSError as error:
            raise _refused(error, self._folder) from None

    def _finish(self, state: Mapping[str, Any]) -> bytes:
        """Write the log and the curves, then the final checkpoint with the finished network."""
        try:
            write_log(self._folder / LOG, self._history)
            self._draw()
        except OSError as error:
            raise _refused(error, self._folder) from None
        save_checkpoint(self._folder / CHECKPOINT, state)
        return b""

    def _draw(self) -> None:
        """Draw the curves so far, if matplotlib is installed."""
        if not has_matplotlib():
            return
        kept = None
        if self._config.train.select == "best":
            last = [epoch for epoch in self._history if epoch.stage == self._history[-1].stage]
            best = best_epoch([math.nan if e.validation_loss is None else e.validation_loss for e in last])
            kept = last[best].epoch
        draw_curves(self._folder / CURVES, self._history, kept)
        self._drawn = time.monotonic()

    def _shared(self, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Broadcast rank 0's weights to all processes."""
        if self._group.process.count == 1:
            return make()
        data = self._group.share(lambda: checkpoint_bytes(make()))
        return parse_checkpoint(data, self._folder / CHECKPOINT)

    def _common(self) -> dict[str, Any]:
        """Entries common to all checkpoints."""
        return {
            "version": VERSION,
            "of": describe(self._config, self._n_labels),
            "inputs": encode(self._inputs),
            "history": to_plain(self._history),
        }


def _begun_with(config: Config, split: str) -> Config:
    """The configuration with the split's name filled into the paths of the weight files."""
    weights = {
        part: replace(given, file=given.file.replace(SPLIT, split)) for part, given in config.model.weights.items()
    }
    return replace(config, model=replace(config.model, weights=weights))


def _read(path: Path) -> bytes:
    """Read a checkpoint's bytes; empty if there is no such file.

    Raises:
        RunError: The file cannot be read or is empty.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise RunError(f"{path}: expected a checkpoint, got: {error.strerror}") from None
    if not data:
        raise RunError(f"{path}: expected a checkpoint, got an empty file; delete it and type: trainer fit … --resume")
    return data


def _refused(error: OSError, folder: Path) -> TrainerError:
    """The error for a failed write of the log or the curves."""
    return TrainerError(
        f"{error.filename or folder}: expected to write the training's log and curves, got: {error.strerror}; "
        "the checkpoint is whole: make room, then go on with: trainer fit … --resume"
    )


def _torch_seed(*numbers: int) -> int:
    """Derive one seed for PyTorch from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
