"""One training stage: moves batches to the device, computes loss and gradients, and steps without synchronising."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainer.data.augment import Floats
from trainer.data.batch import Batch
from trainer.errors import DataError
from trainer.fit.distil import Lesson, Teacher, distillation
from trainer.fit.distributed import Group
from trainer.fit.norms import measure_norms, trained_norms
from trainer.fit.optim import Average, make_optimizer, set_rates
from trainer.fit.schedules import rates
from trainer.fit.stages import Stage
from trainer.fit.trained import answer_with, load_weights
from trainer.models.freezing import training_mode
from trainer.models.systems import System, run_network, training_loss

_IN_FLIGHT = 2
"""Most steps queued on a GPU; more would only use memory and hide the time spent waiting for batches."""
_NORM_WINDOWS = 1024
"""Number of windows at an epoch's end on which the averaged weights' normalisation statistics are measured."""


class Passed(NamedTuple):
    """Result of one epoch."""

    loss: float
    """Mean over the steps and over all processes."""
    learning_rate: float
    """Learning rate of the last step."""
    seconds: float
    """Duration of the epoch."""
    data_wait: float
    """Fraction of that time spent waiting for batches."""


class StageLoss(nn.Module):
    """A network and its stage's loss in one module, so that DistributedDataParallel can wrap it."""

    def __init__(self, system: System, network: nn.Module, stage: Stage) -> None:
        super().__init__()
        self.network = network
        self._system = system
        self._stage = stage

    def forward(self, inputs: dict[str, Tensor], targets: Tensor, lesson: tuple[Tensor, Tensor] | None) -> Tensor:
        """Compute a batch's loss, in float32 whatever the activations' type."""
        train, answer = self._stage.config.train, self._stage.answer
        with torch.autocast(targets.device.type, torch.bfloat16, enabled=train.mixed_precision):
            loss, logits = training_loss(self._system, self.network, inputs, targets, train, answer)
        if lesson is None or train.distil is None:
            return loss
        temperature, weight = train.distil.temperature, train.distil.weight
        gain = distillation(Lesson(*lesson), logits[answer], targets, temperature, train.label_smoothing)
        return loss + weight * gain


class Feed:
    """Iterates over batches on the device, together with the teacher's answers."""

    def __init__(self, batches: Iterable[Batch], device: torch.device, teacher: Teacher | None) -> None:
        """Wrap the batches of one epoch."""
        self._batches = batches
        self._device = device
        self._teacher = teacher
        self.waited = 0.0
        """Seconds spent waiting for batches so far."""

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
        """Move a tensor to the device; for a GPU it is copied asynchronously from pinned memory."""
        if self._device.type == "cpu":
            return values
        return values.pin_memory().to(self._device, non_blocking=True)


class StageTraining:
    """State of a running stage: the optimiser, the averaged weights and the best weights so far."""

    def __init__(self, system: System, network: nn.Module, stage: Stage, group: Group) -> None:
        """Start from the network's current weights.

        Raises:
            ConfigError: The stage names a part that the network does not have, or nothing in the network is trainable.
        """
        stage.prepare(network)
        self._system = system
        self._network = network
        self._stage = stage
        self._group = group
        self._optimizer = make_optimizer(network, stage.config.train)
        self._module = group.spread(StageLoss(system, network, stage))
        self.average = Average(network)
        self.best: dict[str, Tensor] | None = None
        """Weights with the lowest validation loss; None: not requested, or no epoch has finished yet."""

    def epoch(self, feed: Feed, n_done: int, peak: float) -> Passed:
        """Train for one epoch.

        Args:
            feed: This process's part of every batch.
            n_done: Number of epochs that this stage has already done.
            peak: The schedule's peak learning rate.

        Raises:
            DataError: There was no batch.
        """
        training_mode(self._network)
        begun, train, n_steps = time.perf_counter(), self._stage.config.train, self._stage.n_steps
        total = torch.zeros((), dtype=torch.float64, device=self._group.device)
        flying: deque[torch.cuda.Event] = deque()
        rate, n_batches = 0.0, 0
        last: deque[dict[str, Tensor]] = deque(maxlen=max(1, _NORM_WINDOWS // train.batch_size))
        for inputs, targets, lesson in feed:
            step = n_done * n_steps + n_batches
            rate = set_rates(self._optimizer, rates(train.schedule, step, train.epochs * n_steps), peak)
            loss = self._module(inputs, targets, lesson)
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()
            self.average.follow(step, train.average_decay)
            total += loss.detach()
            last.append(inputs)
            n_batches += 1
            _wait_for_older(flying, self._group.device)
        if n_batches == 0:
            raise DataError("expected a batch of training windows at least, got none; lower train.batch_size")
        self._measure_norms(last)
        mean = self._group.mean(total / n_batches)
        seconds = time.perf_counter() - begun
        return Passed(mean, rate, seconds, feed.waited / seconds)

    def _measure_norms(self, batches: Iterable[dict[str, Tensor]]) -> None:
        """Re-estimate the averaged network's running statistics; on every rank, as norms may be synchronised."""
        network, answer = self.average.network, self._stage.answer
        passes = (partial(run_network, self._system, network, inputs, answer) for inputs in batches)
        measure_norms(network, trained_norms(self._network), passes)

    def answer(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        """Logits of the averaged weights; "fused" is replaced by the output that the stage trains."""
        heads = answer_with(self._system, self.average.network, inputs, self._stage.answer)
        return {**heads, "fused": heads[self._stage.answer]}

    def kept(self) -> dict[str, Tensor]:
        """The weights this stage ends with: the best ones if tracked, otherwise the average."""
        return self.average.network.state_dict() if self.best is None else self.best

    def state(self) -> dict[str, Any]:
        """State that a checkpoint needs to resume."""
        state = {"network": self._network.state_dict(), "average": self.average.network.state_dict()}
        best = {} if self.best is None else {"best": self.best}
        return {**state, "optimizer": self._optimizer.state_dict(), **best}

    def load(self, state: Mapping[str, Any], path: Path) -> None:
        """Resume from a checkpoint's state.

        Raises:
            RunError: The weights do not fit the network.
        """
        load_weights(self._network, state["network"], path)
        load_weights(self.average.network, state["average"], path)
        self._optimizer.load_state_dict(state["optimizer"])
        self.best = state.get("best")


def _wait_for_older(flying: deque[torch.cuda.Event], device: torch.device) -> None:
    """Let the CPU run at most a few steps ahead of the GPU, which stays busy all the while."""
    if device.type != "cuda":
        return
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    flying.append(event)
    if len(flying) > _IN_FLIGHT:
        flying.popleft().synchronize()
