"""A stage of training: batches to the device, a loss, gradients, an optimiser; nothing waits for the device."""

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
"""Steps that a GPU may have before it; more would only hold memory, and hide how long batches are waited for."""
_NORM_WINDOWS = 1024
"""Windows of an epoch's end that the averaged weights' normalisations are measured by."""


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


class StageTraining:
    """A stage under way: the optimiser, the averaged weights, the best ones so far."""

    def __init__(self, system: System, network: nn.Module, stage: Stage, group: Group) -> None:
        """Begin with the network's weights of now.

        Raises:
            ConfigError: The stage names a part that the network has not.
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
        """Weights of the lowest validation loss; None: they are not asked for, or there is none yet."""

    def epoch(self, feed: Feed, n_done: int, peak: float) -> Passed:
        """One pass.

        Args:
            feed: This process's part of every batch.
            n_done: Passes of this stage before.
            peak: Learning rate at the schedule's highest.

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
        """Fit the averaged weights' normalisations to those weights; in every process, as they may be synchronised."""
        network, answer = self.average.network, self._stage.answer
        passes = (partial(run_network, self._system, network, inputs, answer) for inputs in batches)
        measure_norms(network, trained_norms(self._network), passes)

    def answer(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        """What the averaged weights say of windows; the output that the stage is about stands for the fused one."""
        heads = answer_with(self._system, self.average.network, inputs, self._stage.answer)
        return {**heads, "fused": heads[self._stage.answer]}

    def kept(self) -> dict[str, Tensor]:
        """Weights that this stage leaves."""
        return self.average.network.state_dict() if self.best is None else self.best

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs to go on."""
        state = {"network": self._network.state_dict(), "average": self.average.network.state_dict()}
        best = {} if self.best is None else {"best": self.best}
        return {**state, "optimizer": self._optimizer.state_dict(), **best}

    def load(self, state: Mapping[str, Any], path: Path) -> None:
        """Go on where a checkpoint was made.

        Raises:
            RunError: Its weights are another network's.
        """
        load_weights(self._network, state["network"], path)
        load_weights(self.average.network, state["average"], path)
        self._optimizer.load_state_dict(state["optimizer"])
        self.best = state.get("best")


def _wait_for_older(flying: deque[torch.cuda.Event], device: torch.device) -> None:
    """Let a GPU fall no more than a few steps behind; it has work all the while."""
    if device.type != "cuda":
        return
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record()
    flying.append(event)
    if len(flying) > _IN_FLIGHT:
        flying.popleft().synchronize()
