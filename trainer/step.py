"""One epoch of steps: batches to the device, a loss, gradients, an optimiser; nothing waits for the device."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainer.data.batch import Batch
from trainer.distil import Lesson, Teacher, distillation
from trainer.distributed import Group
from trainer.errors import DataError
from trainer.models.freezing import training_mode
from trainer.optim import Average, set_rates
from trainer.schedules import rates
from trainer.stages import Stage
from trainer.systems import System, training_loss

_IN_FLIGHT = 2
"""Steps that a GPU may have before it; more would only hold memory, and hide how long batches are waited for."""


class Passed(NamedTuple):
    """What an epoch came to."""

    loss: float
    """Mean over its steps, and over all processes."""
    learning_rate: float
    """Of the last step."""
    seconds: float
    """What it took."""
    data_wait: float
    """Part of that spent waiting for batches."""


class StageLoss(nn.Module):
    """A network together with the loss of a stage: one module, so that processes may share it."""

    def __init__(self, system: System, network: nn.Module, stage: Stage) -> None:
        super().__init__()
        self.network = network
        self._system = system
        self._stage = stage

    def forward(self, inputs: dict[str, Tensor], targets: Tensor, lesson: tuple[Tensor, Tensor] | None) -> Tensor:
        """The loss of a batch; in float32, whatever the activations are."""
        train, answer = self._stage.config.train, self._stage.answer
        with torch.autocast(targets.device.type, torch.bfloat16, enabled=train.mixed_precision):
            loss, logits = training_loss(self._system, self.network, inputs, targets, train, answer)
        if lesson is None or train.distil is None:
            return loss
        temperature, weight = train.distil.temperature, train.distil.weight
        gain = distillation(Lesson(*lesson), logits[answer], targets, temperature, train.label_smoothing)
        return loss + weight * gain


class Feed:
    """Batches on their way to the device, with what the teacher says of them."""

    def __init__(self, batches: Iterable[Batch], device: torch.device, teacher: Teacher | None) -> None:
        """Take an epoch's batches."""
        self._batches = batches
        self._device = device
        self._teacher = teacher
        self.waited = 0.0
        """Seconds that batches were waited for so far."""

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor, tuple[Tensor, Tensor] | None]]:
        batches = iter(self._batches)
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - begun
            if batch is None:
                return
            inputs = {name: torch.from_numpy(values) for name, values in batch.inputs.items()}
            lesson = None
            if self._teacher is not None:
                said = self._teacher(inputs)
                lesson = (said.logits, said.weights)
            moved = {name: self._move(values) for name, values in inputs.items()}
            yield moved, self._move(torch.from_numpy(batch.targets)), lesson

    def _move(self, values: Tensor) -> Tensor:
        """To the device; a GPU fetches it by itself, from memory that stays where it is."""
        if self._device.type == "cpu":
            return values
        return values.pin_memory().to(self._device, non_blocking=True)


def train_epoch(
    module: nn.Module,
    network: nn.Module,
    stage: Stage,
    optimizer: torch.optim.Optimizer,
    average: Average,
    feed: Feed,
    group: Group,
    *,
    epoch: int,
    peak: float,
) -> Passed:
    """One pass.

    Args:
        module: The network with its loss, spread over the processes.
        network: The network itself.
        stage: What is trained, and how.
        optimizer: Of its weights.
        average: Follows them.
        feed: This process's part of every batch.
        group: The processes.
        epoch: Passes that this stage has done before.
        peak: Learning rate at the schedule's highest.

    Raises:
        DataError: There was no batch.
    """
    training_mode(network)
    begun, train = time.perf_counter(), stage.config.train
    total = torch.zeros((), dtype=torch.float64, device=group.device)
    flying: deque[torch.cuda.Event] = deque()
    rate, n_done = 0.0, 0
    for inputs, targets, lesson in feed:
        step = epoch * stage.n_steps + n_done
        rate = set_rates(optimizer, rates(train.schedule, step, train.epochs * stage.n_steps), peak)
        loss = module(inputs, targets, lesson)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.follow(step, train.average_decay)
        total += loss.detach()
        n_done += 1
        _wait_for_older(flying, group.device)
    if n_done == 0:
        raise DataError("expected a batch of training windows at least, got none; lower train.batch_size")
    mean = group.mean(total / n_done)
    seconds = time.perf_counter() - begun
    return Passed(mean if math.isfinite(mean) else math.nan, rate, seconds, feed.waited / seconds)


def _wait_for_older(flying: deque[torch.cuda.Event], device: torch.device) -> None:
    """Let a GPU fall no more than a few steps behind; it has work all the while."""
    if device.type != "cuda":
        return
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    flying.append(event)
    if len(flying) > _IN_FLIGHT:
        flying.popleft().synchronize()
